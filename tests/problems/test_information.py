"""What variables and parts of a tree tell about each other, against closed forms; models as bytes;
rows that are no longer held out."""

import math

import jax
import numpy as np
import pytest

from tests.helpers import by_precision
from tests.problems.test_density_model import COUPLING, SPINS, binary_entropy, ising
from tnjax import Density, Supervised
from tnjax.features import Categorical, Codebook
from tnjax.problems import TableDensity, model_from_bytes, model_to_bytes
from tnjax.problems.ablation import ablation, host_link
from tnjax.problems.information import bond_information, least_likely, shared_information

KEY = jax.random.key(0)
TO_NEIGHBOR = math.log(2) - binary_entropy(math.exp(COUPLING) / (2 * math.cosh(COUPLING)))


def all_rows() -> np.ndarray:
    grid = np.indices((2,) * SPINS).reshape(SPINS, -1)
    return grid.T.astype(np.int32)


@pytest.fixture(scope="module", params=["nonnegative", "born"])
def spins(request):
    return ising(request.param)


def test_the_sides_of_a_bond_of_spins_tell_what_its_ends_do(spins):
    found = bond_information(spins, spins.sample(KEY, 4000))
    assert set(found) == {(k, k + 1) for k in range(SPINS - 1)}
    assert np.allclose(list(found.values()), TO_NEIGHBOR, atol=0.02)


def test_a_spin_tells_about_its_neighbors(spins):
    rows = all_rows()
    weights = np.exp(spins.log_prob(rows))
    found = shared_information(spins, rows, weights)
    assert found[0] == pytest.approx(TO_NEIGHBOR, abs=by_precision(1e-6, 1e-4))
    between = spins.entropy([4]) + spins.entropy([3, 5]) - spins.entropy([3, 4, 5])
    assert found[4] == pytest.approx(between, abs=by_precision(1e-6, 1e-4))


def test_the_spin_that_is_turned_is_least_likely(spins):
    rows = np.zeros((SPINS - 2, SPINS), np.int32)
    rows[np.arange(SPINS - 2), np.arange(1, SPINS - 1)] = 1
    assert least_likely(spins, rows).tolist() == list(range(1, SPINS - 1))


def test_a_hidden_variable_of_several_columns_has_a_total_correlation():
    rng = np.random.default_rng(0)
    rows = np.repeat(rng.integers(2, size=(2000, 1)), 4, 1)
    density = Density(rows, (2, 2, 2, 2))
    model = density.model(density.named_start(None))
    found = bond_information(model, model.sample(KEY, 500))
    assert len(found) < 3  # of three children on one bond
    for edge, nats in found.items():
        parts = len(edge)
        assert nats == pytest.approx((parts - 1) * math.log(2), abs=0.1)


def test_rows_that_were_held_out_are_learned_from_with_their_weights():
    rng = np.random.default_rng(0)
    rows, weights = rng.integers(-1, 2, size=(40, 3)), rng.random(40) + 0.1
    whole = Density(rows, (2, 2, 2), weights=weights)
    split = Density(rows, (2, 2, 2), weights=weights, validation=0.3, key=KEY).everything()
    assert split.held_out is None
    order = lambda found: np.lexsort(np.asarray(found.values).T)
    first, second = order(whole.rows), order(split.rows)
    assert (np.asarray(whole.rows.values)[first] == np.asarray(split.rows.values)[second]).all()
    weights = [np.asarray(x.rows.weights)[o] for x, o in ((whole, first), (split, second))]
    assert np.allclose(*weights, atol=by_precision(1e-12, 1e-6))
    assert whole.rows.complete == split.rows.complete


def some_table(rows=30):
    rng = np.random.default_rng(0)
    return {
        "a": rng.integers(3, size=rows).astype(float),
        "b": np.asarray(["x", "y"])[rng.integers(2, size=rows)],
        "c": rng.integers(2, size=rows).astype(float),
    }


@pytest.fixture(scope="module")
def learned():
    table = some_table()
    y = np.stack([table["a"] * (table["b"] == "x"), table["a"]], 1)
    maps = {name: Categorical() for name in table}
    problem = Supervised(table, y, maps=maps)
    return table, y, problem.model(problem.named_start(None))


def test_links_on_the_host_are_those_of_the_model(learned):
    table, _, model = learned
    expected = np.asarray(model.link(table))
    assert np.allclose(host_link(model, table), expected, atol=by_precision(1e-12, 1e-5))


def test_a_column_is_worth_what_the_loss_rises_without_it(learned):
    table, y, model = learned
    weights = np.random.default_rng(1).random(30)
    found = ablation(model, table, y, weights)
    assert found["a"] > found["b"] > 5 * found["c"]
    features = list(model.columns(table))
    average = np.average(features[0], axis=0, weights=weights)
    without = np.broadcast_to(average, features[0].shape)
    dense = np.asarray(model.network.to_dense(), np.float64)
    of = lambda first: np.einsum("oabc,sa,sb,sc->so", dense, first, *features[1:]) + model.offset
    risk = lambda first: weights @ ((of(first) - y) ** 2).sum(1) / weights.sum()
    rise = risk(without) - risk(features[0])
    assert found["a"] == pytest.approx(rise, rel=by_precision(1e-9, 1e-4))


def test_models_survive_a_file(learned):
    table, _, model = learned
    again = model_from_bytes(model_to_bytes(model))
    assert (host_link(again, table) == host_link(model, table)).all()
    codes = Codebook.fit(table)
    density = Density(codes.encode(table), codes.dims)
    whole = density.model(density.named_start(None))
    first = TableDensity(whole.conditional({2: 1}), codes)
    second = model_from_bytes(model_to_bytes(first))
    assert (second.log_prob(table) == first.log_prob(table)).all()
    assert np.isneginf(first.log_prob(table)).sum() == (table["c"] == 0).sum()


@pytest.mark.parametrize(
    "change", [lambda data: data[:40], lambda data: b"", lambda data: b"x" * 99]
)
def test_other_files_are_no_models(learned, change):
    with pytest.raises(ValueError, match="Not a model"):
        model_from_bytes(change(model_to_bytes(learned[2])))


def test_gaps_are_filled_by_what_is_likely():
    rng = np.random.default_rng(0)
    x = rng.normal(size=400)
    table = {"x": x, "sign": np.where(x > 0, "plus", "minus").astype(object)}
    codes = Codebook.fit(table)
    density = Density(codes.encode(table), codes.dims)
    model = TableDensity(density.model(density.named_start(None)), codes)
    gaps = {
        "x": np.asarray([1.5, np.nan, np.nan]),
        "sign": np.asarray([None, "minus", "plus"], object),
    }
    filled = model.filled(gaps)
    assert filled["sign"].tolist() == ["plus", "minus", "plus"]
    assert filled["x"][0] == 1.5
    assert filled["x"][1] < 0 < filled["x"][2]
