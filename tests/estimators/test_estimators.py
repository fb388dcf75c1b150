"""Estimators of scikit-learn: all of its own checks, and what they make of tables."""

import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn.utils.estimator_checks import estimator_checks_generator

from tests.helpers import by_precision
from tnjax.sklearn import TNClassifier, TNDensity, TNImputer, TNRegressor

RNG = np.random.default_rng(0)
ROWS = 36  # none are held out of so few

# With these all checks take half a minute: nothing is held out, so that the start is the model and
# no program is made. `experiments/benchmarks/estimators.py --checks` runs them all at the defaults.
TINY = {"validation": 0, "max_moves": 0}


def every_check():
    for kind in (TNRegressor, TNClassifier, TNImputer, TNDensity):
        for estimator, check in estimator_checks_generator(kind(**TINY)):
            name = getattr(check, "func", check).__name__
            yield pytest.param(estimator, check, id=f"{kind.__name__}-{name}")


@pytest.mark.filterwarnings("ignore:Can't check dok sparse matrix for nan or inf:UserWarning")
@pytest.mark.filterwarnings("ignore:invalid value encountered in cast:RuntimeWarning")
@pytest.mark.parametrize(("estimator", "check"), list(every_check()))
def test_checks_of_scikit_learn(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def frame():
    color = pd.Categorical(RNG.choice(["red", "green"], ROWS))
    x = RNG.uniform(-1, 1, ROWS)
    x[3] = np.nan
    return pd.DataFrame({"x": x, "color": color, "same": 1.0})


@pytest.fixture(scope="module")
def regressor(frame):
    y = np.nan_to_num(frame["x"].to_numpy()) + 3.0 * (frame["color"] == "red")
    return TNRegressor().fit(frame, y), np.asarray(y)


def test_tables_of_pandas_by_the_types_of_their_columns(frame, regressor):
    regressor, y = regressor
    assert regressor.feature_names_in_.tolist() == ["x", "color", "same"]
    assert regressor.score(frame, y) > 0.9
    importances = regressor.feature_importances_
    assert importances.sum() == pytest.approx(1)
    assert importances.argmax() == 1
    assert importances[2] == 0
    new = pd.DataFrame({"x": [0.0], "color": ["blue"], "same": [2.0]})
    between = regressor.predict(new)[0]  # a category that was not seen
    assert y.min() < between < y.max()
    with pytest.raises(ValueError, match="feature names"):
        regressor.predict(frame[["color", "x", "same"]])


def test_pickles_hold_numbers_and_words_only(frame, regressor):
    regressor, _ = regressor
    data = pickle.dumps(regressor)
    assert b"jax" not in data.replace(b"tnjax", b"")
    assert (pickle.loads(data).predict(frame) == regressor.predict(frame)).all()


def test_a_weight_of_two_is_a_row_given_twice(frame, regressor):
    _, y = regressor
    weights = np.where(np.arange(ROWS) < 5, 2, 1)
    weights[10] = 0
    ids = np.repeat(np.arange(ROWS), weights)
    weighed = TNRegressor(maps="auto").fit(frame, y, sample_weight=weights)
    repeated = TNRegressor(maps="auto").fit(frame.iloc[ids[::-1]], y[ids[::-1]])
    assert np.allclose(weighed.predict(frame), repeated.predict(frame), rtol=1e-6, atol=1e-6)


def test_labels_of_several_classes():
    x = RNG.uniform(-1, 1, (ROWS, 2))
    labels = np.asarray(["low", "mid", "high"])[np.digitize(x[:, 0], [-0.3, 0.3])]
    classifier = TNClassifier().fit(x, labels)
    assert classifier.classes_.tolist() == ["high", "low", "mid"]
    assert classifier.score(x, labels) > 0.85
    shares = classifier.predict_proba(x)
    assert np.allclose(shares.sum(1), 1)
    again = pickle.loads(pickle.dumps(classifier))
    assert (again.predict(x) == classifier.predict(x)).all()


def test_gaps_are_filled_by_what_the_other_columns_tell():
    x = np.linspace(-1, 1, ROWS)
    table = pd.DataFrame({"x": x, "twice": 2 * x, "sign": np.where(x > 0, "plus", "minus")})
    table.loc[[4, 30], "twice"] = np.nan
    table.loc[[2, 33], "sign"] = None
    imputer = TNImputer().set_output(transform="pandas")
    filled = imputer.fit_transform(table)
    assert list(filled.columns) == ["x", "twice", "sign"]
    assert imputer.get_feature_names_out().tolist() == ["x", "twice", "sign"]
    assert np.allclose(filled["twice"].astype(float), 2 * x, atol=0.15)
    assert filled["sign"][2] == "minus"
    assert filled["sign"][33] == "plus"


def test_columns_that_fill_the_others_are_worth_most():
    x = RNG.normal(size=(ROWS, 3))
    x[:, 2] = x[:, 0]
    x[::5, 2] = np.nan
    assert TNImputer(**TINY).fit(x).feature_importances_[0] > 0.9


# Densities ----------------------------------------------------------------------------------


def mixed(rows=ROWS, seed=0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=rows)
    sign = np.where(x > 0, "plus", "minus").astype(object)
    sign[3] = None
    return pd.DataFrame({"x": x, "sign": sign, "coin": rng.integers(2, size=rows)})


@pytest.fixture(scope="module")
def density():
    return TNDensity(bins=4, **TINY).fit(mixed(400))


def test_a_density_integrates_to_one(density):
    x = np.linspace(-40, 40, 80_001)
    mass = 0.0
    for sign in ("plus", "minus"):
        for coin in (0, 1):
            table = pd.DataFrame({"x": x, "sign": sign, "coin": coin})
            mass += np.exp(density.score_samples(table)).sum() * (x[1] - x[0])
    assert mass == pytest.approx(1, abs=1e-3)


def test_samples_have_the_shares_of_the_density(density):
    drawn = density.sample(4000, random_state=1)
    assert list(drawn.columns) == ["x", "sign", "coin"]
    assert (density.sample(9, random_state=1)["x"] == density.sample(9, random_state=1)["x"]).all()
    assert np.mean((drawn["x"] > 0) == (drawn["sign"] == "plus")) > 0.95
    assert abs(drawn["x"].mean()) < 0.15
    assert drawn["x"].std() == pytest.approx(mixed(400)["x"].std(), abs=0.25)
    entropy = -density.score(drawn)
    assert entropy == pytest.approx(-density.score(density.sample(4000, random_state=2)), abs=0.1)


def test_scores_of_gaps_and_of_what_was_never_seen(density):
    table = pd.DataFrame({"x": [np.nan] * 3, "sign": ["plus", None, "none"], "coin": [np.nan] * 3})
    plus, nothing, unseen = density.score_samples(table)
    share = np.mean(mixed(400)["sign"] == "plus")
    assert np.exp(plus) == pytest.approx(share, abs=0.01)
    assert nothing == pytest.approx(0, abs=by_precision(1e-9, 1e-5))
    assert unseen == pytest.approx(-np.log(400), abs=by_precision(1e-9, 1e-5))  # 399 seen
    far = table.assign(x=[8.0, 30.0, -30.0], sign="plus")
    assert (np.diff(density.score_samples(far)) < 0).all()


def test_importances_of_a_density_are_informations(density):
    x, sign, coin = density.feature_importances_
    assert density.feature_importances_.sum() == pytest.approx(1)
    assert coin < 0.05
    assert x == pytest.approx(sign, rel=0.1)


def test_weights_of_a_density_are_rows_given_twice(density):
    table = mixed(400)
    weights = np.where(np.arange(400) < 50, 2, 1)
    weights[60] = 0
    ids = np.repeat(np.arange(400), weights)
    weighed = TNDensity(bins=4, **TINY).fit(table, sample_weight=weights)
    repeated = TNDensity(bins=4, **TINY).fit(table.iloc[ids[::-1]])
    expected = repeated.score_samples(table)
    assert np.allclose(weighed.score_samples(table), expected, atol=by_precision(1e-9, 1e-4))
    data = pickle.dumps(weighed)
    assert b"jax" not in data.replace(b"tnjax", b"")
    assert (pickle.loads(data).score_samples(table) == weighed.score_samples(table)).all()


def test_squares_of_amplitudes_begin_with_the_same_distribution(density):
    born = TNDensity(kind="born", bins=4, **TINY).fit(mixed(400))
    expected = density.score_samples(mixed(400))
    assert np.allclose(born.score_samples(mixed(400)), expected, atol=by_precision(1e-8, 1e-3))


def test_a_density_grows_where_a_tree_is_not_enough():
    rng = np.random.default_rng(0)
    state = rng.integers(2, size=500)  # hidden: a naive Bayes model
    x = (rng.random((500, 8)) < np.where(state, 0.9, 0.1)[:, None]).astype(float)
    tree = TNDensity(**TINY).fit(x[:400])
    assert TNDensity(max_moves=1).fit(x[:400]).score(x[400:]) > tree.score(x[400:]) + 0.2


def test_columns_that_tell_nothing_leave_the_average():
    y = np.arange(10.0)
    assert np.allclose(TNRegressor().fit(np.ones((10, 2)), y).predict(np.ones((1, 2))), 4.5)


@pytest.mark.parametrize(
    ("estimator", "X", "y", "words"),
    [
        (TNRegressor(), np.ones((3, 1)), [1.0, np.nan, 2.0], "NaN or infinity: 1 of 3"),
        (TNRegressor(), np.ones((3, 1)), ["a", "b", "c"], "y: expected numbers"),
        (TNRegressor(), np.ones((0, 1)), [], "0 sample"),
        (TNRegressor(), pd.DataFrame({"a": []}), [], "0 sample"),
        (TNRegressor(), np.ones((3, 1)), [1.0, 2.0], "3 rows in X and 2 targets"),
        (TNClassifier(), np.ones((3, 1)), ["a", "a", "a"], "of one class, 'a'"),
        (TNImputer(), np.full((3, 1), np.nan), None, "has no value"),
        (TNDensity(), np.full((3, 1), np.nan), None, "has no value"),
        (TNDensity(bins=1), np.ones((3, 1)), None, "bins"),
        (TNDensity(), np.asarray([["a"], [1]], object), None, "numbers and words"),
    ],
)
def test_bad_tables_are_refused(estimator, X, y, words):
    with pytest.raises(ValueError, match=words):
        estimator.fit(X, y)
