"""Estimators of scikit-learn: its own checks (a part of them: each fit makes programs), and what
they make of tables."""

import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn.utils import estimator_checks

from tnjax.sklearn import TNClassifier, TNImputer, TNRegressor

RNG = np.random.default_rng(0)
ROWS = 36  # none are held out of so few

# Those whose fits are small: `experiments/benchmarks/estimators.py` runs all of them.
CHECKS = [
    "check_estimator_cloneable",
    "check_estimator_tags_renamed",
    "check_no_attributes_set_in_init",
    "check_estimators_unfitted",
    "check_do_not_raise_errors_in_init_or_set_params",
    "check_mixin_order",
    "check_get_params_invariance",
    "check_set_params",
]


@pytest.mark.parametrize("estimator", [TNRegressor(), TNClassifier(), TNImputer()])
@pytest.mark.parametrize("check", CHECKS)
def test_checks_of_scikit_learn(estimator, check):
    getattr(estimator_checks, check)(type(estimator).__name__, estimator)


def test_an_imputer_passes_the_checks_of_transformers():
    for check in (
        "check_transformer_general",
        "check_estimators_empty_data_messages",
        "check_n_features_in",
        "check_fit1d",
        "check_fit2d_1sample",
        "check_dict_unchanged",
    ):
        getattr(estimator_checks, check)("TNImputer", TNImputer())


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
    ],
)
def test_bad_tables_are_refused(estimator, X, y, words):
    with pytest.raises(ValueError, match=words):
        estimator.fit(X, y)
