"""Feature maps: bases against NumPy's own, bad columns, saving."""

import json

import numpy as np
import pytest

from tnjax.features import (
    Categorical,
    Columns,
    Fourier,
    Polynomial,
    Radial,
    Spline,
    from_json,
    to_json,
)

pytestmark = pytest.mark.quick

RNG = np.random.default_rng(0)
X = RNG.exponential(size=200)
NUMBERS = [Polynomial(4), Fourier(6), Fourier(5, period=3.0), Spline(7), Radial(6)]
named = lambda map: f"{type(map).__name__}{getattr(map, 'period', None) or ''}"


def spans(features: np.ndarray, function: np.ndarray) -> float:
    """Largest distance of a function from what the features span."""
    found = np.linalg.lstsq(features, function, rcond=None)[0]
    return float(np.abs(features @ found - function).max())


@pytest.mark.parametrize("map", NUMBERS, ids=named)
def test_the_constant_is_among_the_features(map):
    assert spans(map.fit(X)(X), np.ones(200)) < 1e-8


@pytest.mark.parametrize("degree", [1, 3])
def test_polynomials_span_powers_and_splines_span_cubics(degree):
    for map in (Polynomial(3), Spline(6)):
        assert spans(map.fit(X)(X), X**degree) < 1e-7 * X.max() ** degree


def test_polynomials_and_splines_are_orthonormal_over_the_data():
    for map in (Polynomial(4, smoothness=0), Spline(7, smoothness=0)):
        features = map.fit(X)(X)
        assert np.allclose(features.T @ features / 200, np.eye(features.shape[1]), atol=1e-6)


def test_fourier_features_come_round_again():
    fitted = Fourier(5, period=3.0, smoothness=0).fit(X)
    angle = 2 * np.pi * X / 3
    root = np.sqrt(2)
    expected = [np.ones(200), root * np.sin(angle), root * np.cos(angle)]
    assert np.allclose(fitted(X)[:, :3], np.stack(expected, 1))
    assert np.allclose(fitted(X), fitted(X + 300.0))


def test_radial_features_are_those_of_a_kernel_machine():
    fitted = Radial(12).fit(X)
    low, high = fitted.centers[0], fitted.centers[-1]
    at = np.asarray(fitted.centers)
    kernel = np.exp(-((at[:, None] - at) ** 2) / (2 * fitted.width**2))
    assert low == X.min()
    assert high == X.max()
    features = fitted(at)[:, 1:]
    assert np.allclose(features @ features.T, kernel, atol=1e-4)


def test_values_beyond_the_range_are_taken_for_its_end():
    fitted = Spline(6).fit(X)
    assert np.allclose(fitted([1e9, -1e9]), fitted([X.max(), X.min()]))


def test_few_distinct_values_give_few_features():
    assert Polynomial(5).fit([0.0, 1.0, 1.0, 0.0]).size == 2
    assert Spline(8).fit([0.0, 1.0, 2.0] * 4).size == 3


def test_missing_values_have_a_feature_of_their_own_where_they_were_seen():
    seen = Polynomial(2, missing="allow").fit([1.0, np.nan, 2.0, 3.0])
    assert seen.names[-1] == "missing"
    assert seen([np.nan]).tolist() == [[0, 0, 0, 1]]
    unseen = Polynomial(2, missing="allow").fit([1.0, 2.0, 4.0])
    average = unseen([1.0, 2.0, 4.0]).mean(0)
    assert np.allclose(unseen([np.nan]), average)


def test_categories_are_one_hot():
    fitted = Categorical(unseen="mean", missing="allow").fit(["b", None, "a", "b"])
    assert fitted.categories == ("a", "b", None)
    assert fitted(["b", "a", None]).tolist() == [[0, 1, 0], [1, 0, 0], [0, 0, 1]]
    assert fitted(["c"]).tolist() == [[0.25, 0.5, 0.25]]


@pytest.mark.parametrize("map", [*NUMBERS, Categorical()], ids=named)
def test_fitted_maps_are_saved_as_json(map):
    column = ["a", "b", "a"] if isinstance(map, Categorical) else X
    fitted = map.fit(column)
    again = from_json(json.loads(json.dumps(to_json(fitted))))
    assert again == fitted
    assert (again(column) == fitted(column)).all()


@pytest.mark.parametrize(
    ("map", "column", "words"),
    [
        (Polynomial(), [2.0, 2.0], "all 2 values are 2; a constant column tells nothing"),
        (Categorical(), ["a", "a"], "all values are 'a'; a constant column tells nothing"),
        (Polynomial(), [1.0, "two", 3.0], "'two' in row 1 is no number"),
        (Spline(), [1.0, np.nan], "1 of 2 values are missing"),
        (Categorical(), ["a", None], "1 of 2 values are missing"),
        (Fourier(), [1.0, np.inf], "1 values are infinite"),
        (Fourier(), np.ones((2, 2)), "expected one column"),
        (Radial(), [], "there is no value"),
        (Polynomial(0), X, "degree must be an integer of 1 or more"),
        (Fourier(4, period=-1.0), X, "period must be a positive number"),
        (Spline(smoothness=-1.0), X, "smoothness must be 0 or more"),
        (Radial(width=0.0), X, "width must be a positive number"),
    ],
)
def test_bad_columns_are_refused(map, column, words):
    with pytest.raises(ValueError, match=words):
        map.fit(column)


def test_tables_are_read_by_name():
    table = {"age": X, "sex": ["m", "f"] * 100}
    columns = Columns.fit(table, {"age": Polynomial(2), "sex": Categorical()})
    assert [part.shape for part in columns(table)] == [(200, 3), (200, 2)]
    assert Columns.from_json(json.loads(json.dumps(columns.to_json()))) == columns
    for bad, words in [
        ({"age": X}, "no column sex"),
        ({"age": X[:3], "sex": ["m"] * 2}, "have one length"),
        ({"age": [], "sex": []}, "The table is empty"),
        ({"age": [1.0], "sex": ["x"]}, "column sex: the category 'x' in row 0 was not seen"),
    ]:
        with pytest.raises(ValueError, match=words):
            columns(bad)
