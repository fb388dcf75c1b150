"""`Codebook`: categories by label, bins of equally many rows, densities that integrate to one."""

import json

import numpy as np
import pytest

from tnjax.features import Bins, Codebook, Labels

pytestmark = pytest.mark.quick

RNG = np.random.default_rng(0)
X = RNG.exponential(size=1000)


def test_bins_hold_equally_many_rows():
    codes = Codebook.fit({"x": X}, bins=5)
    assert codes.dims == (5,)
    counts = np.bincount(codes.encode({"x": X})[:, 0])
    assert np.abs(counts - 200).max() <= 1


def test_the_density_of_a_number_integrates_to_one_over_each_bin():
    codes = Codebook.fit({"x": X}, bins=4)
    grid = np.linspace(-20, 60, 800_001)
    density = np.exp(codes.log_density({"x": grid}))
    where = codes.encode({"x": grid})[:, 0]
    mass = np.bincount(where, density) * (grid[1] - grid[0])
    assert np.allclose(mass, 1, atol=1e-3)


@pytest.mark.parametrize("seed", range(3))
def test_drawn_numbers_lie_in_their_bins_and_have_their_means(seed):
    codes = Codebook.fit({"x": X}, bins=4)
    given = np.repeat(np.arange(4), 20_000)[:, None]
    drawn = codes.decode(given, np.random.default_rng(seed))
    assert (codes.encode(drawn) == given).all()
    means = codes.decode(np.arange(4)[:, None])["x"]
    groups = drawn["x"].reshape(4, -1)
    assert np.allclose(groups.mean(1), means, atol=5 * groups.std(1).max() / np.sqrt(20_000))


@pytest.mark.parametrize(
    "x",
    [
        np.concatenate([np.zeros(90), np.arange(1.0, 11)]),  # most of one value
        np.concatenate([np.full(90, 10.0), np.arange(10.0)]),
        np.arange(9.0),
        np.asarray([0.0, 1.0, 1.0, 1.0, 5.0, 9.0]),
    ],
)
@pytest.mark.parametrize("bins", [2, 4, 8])
def test_bins_of_values_that_repeat(x, bins):
    column = Codebook.fit({"x": x}, bins=bins).columns[0]
    codes = column.encode(x)
    if isinstance(column, Labels):
        assert len(np.unique(x)) <= bins
        assert (column.decode(codes) == x).all()
    else:
        assert set(codes.tolist()) == set(range(column.size))
        assert min(column.tails) > 0
        assert np.isfinite(column.log_density(x, codes)).all()


def test_a_weight_of_two_is_a_row_given_twice():
    weights = RNG.integers(3, size=len(X))
    repeated = Codebook.fit({"x": np.repeat(X, weights)}, bins=7)
    weighed = Codebook.fit({"x": X}, bins=7, weights=weights)
    assert repeated.columns[0].edges == weighed.columns[0].edges
    assert np.allclose(repeated.columns[0].tails, weighed.columns[0].tails)


def test_labels_of_every_kind_survive_a_file():
    table = {
        "word": np.asarray(["b", None, "a", "b"], object),
        "number": np.asarray([2.0, 1.0, np.nan, 2.0]),
        "truth": np.asarray([True, False, True, True]),
        "many": np.asarray([0.5, 1.5, 2.5, 3.5]),
    }
    codes = Codebook.fit(table, bins=2)
    assert codes.names == tuple(table)
    expected = [[1, 1, 1, 0], [-1, 0, 0, 0], [0, -1, 1, 1], [1, 1, 1, 1]]
    assert codes.encode(table).tolist() == expected
    again = Codebook.from_json(json.loads(json.dumps(codes.to_json())))
    assert again == codes
    assert isinstance(again.columns[3], Bins)
    decoded = again.decode(np.asarray([[0, 0, 1, 0]]))
    assert [column.tolist()[0] for column in decoded.values()][:3] == ["a", 1.0, True]


def test_what_was_not_seen_is_refused_or_rare():
    codes = Codebook.fit({"color": np.asarray(["red", "blue", "red"])})
    new = {"color": np.asarray(["red", "green"])}
    with pytest.raises(ValueError, match=r"'green' in row 1 was not seen .* 'blue', 'red'"):
        codes.encode(new)
    assert codes.encode(new, unseen="missing").tolist() == [[1], [-1]]
    assert codes.log_density(new).tolist() == [0.0, -np.log(4)]


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({}, "empty"),
        ({"a": np.zeros(0)}, "empty"),
        ({"a": np.asarray([np.nan, np.nan])}, "Column a has no value"),
        ({"a": np.asarray([1.0, np.inf, 2.0])}, "column a: 1 values are infinite"),
        ({"a": np.asarray(["x", 1.0], object)}, "numbers and words, such as 'x'"),
        ({"a": np.asarray([(1,), (2,), None], object)}, "got .* of type tuple"),
    ],
)
def test_columns_without_codes_are_refused(table, words):
    with pytest.raises(ValueError, match=words):
        Codebook.fit(table, bins=2)


def test_other_files_are_refused():
    with pytest.raises(ValueError, match="damaged codes"):
        Codebook.from_json([{"name": "x", "edge": [1]}])
    with pytest.raises(ValueError, match="damaged codes"):
        Codebook.from_json(3)
