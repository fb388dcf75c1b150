"""Regression."""

import dataclasses
from typing import Any

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, column_or_1d

from ..features.kinds import chosen_maps
from ._learner import FunctionLearner
from ._tables import merged, read


@dataclasses.dataclass(eq=False, repr=False, kw_only=True)
class TNRegressor(RegressorMixin, FunctionLearner):
    """A tensor network that predicts numbers from a table; its structure is learned.

    It begins with the best sum of functions of one column each, grows bonds where held-out rows say
    that columns act together, and is fitted to all rows at last. Columns of words, categories and
    booleans are categories; all others are numbers, of which smooth functions are taken. Missing
    values are treated as such. Constant columns are not looked at.

    Args:
        maps: "auto", a map of `tnjax.features` for all columns of numbers, or maps by the name of
            the column (columns without names are x0, x1, ...).
        max_moves: bonds that may grow, one after the other.
        ridge: in units of one row, or "auto": held-out rows choose.
        validation: share of the rows that is held out to choose structure and ridge; from 40
            different rows on. Where nothing is held out, the best sum of functions of one column
            each is the model.
        random_state: an integer for the split and the start; None draws one.

    Attributes:
        model_: a `SupervisedModel`; None if no column tells anything.
        feature_importances_: the rise of the loss where a column is taken out, as shares of 1.
        n_features_in_, feature_names_in_: as scikit-learn says.

    Example:
        >>> import numpy as np
        >>> from tnjax.sklearn import TNRegressor
        >>> rng = np.random.default_rng(0)
        >>> X = rng.uniform(-1, 1, (30, 2))
        >>> regressor = TNRegressor(random_state=0).fit(X, X[:, 0] + X[:, 1] ** 2)
        >>> regressor.score(X, X[:, 0] + X[:, 1] ** 2) > 0.9
        True
    """

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "TNRegressor":
        """Learn from a table.

        Args:
            X: a data frame, or an array [rows, columns].
            y: numbers [rows].
            sample_weight: one for each row, 0 or more.

        Returns:
            The estimator itself.

        Raises:
            ValueError: for tables and targets that do not fit each other, no row, NaN in the
                targets.
        """
        table = read(self, X, reset=True)
        y = _numbers(y)
        rows = len(next(iter(table.values())))
        if len(y) != rows:
            raise ValueError(f"Found {rows} rows in X and {len(y)} targets in y; expected as many.")
        weights = _check_sample_weight(sample_weight, y[:, None], ensure_non_negative=True)
        table, y, weights = merged(table, y, np.asarray(weights, np.float64))
        if not len(y):
            raise ValueError("sample_weight: all weights are zero; there is nothing to learn from.")
        maps = chosen_maps(table, self.maps)
        self.constant_ = float(np.average(y, weights=weights))
        self._learn(table, y, weights, maps if len(np.unique(y)) > 1 else {}, "squared")
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Numbers for the rows of a table.

        Args:
            X: with the columns that it was fitted to.

        Returns:
            [rows].

        Raises:
            ValueError: for other columns.
        """
        check_is_fitted(self)
        return self._link(read(self, X, reset=False))


def _numbers(y: Any) -> np.ndarray:
    """Targets as floats [rows]."""
    if y is None:
        raise ValueError("This estimator requires y to be passed, but the target y is None.")
    y = column_or_1d(y, warn=True)
    try:
        y = y.astype(np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"y: expected numbers, got {y.dtype} with {y[0]!r} in it.") from None
    if not np.isfinite(y).all():
        count = int((~np.isfinite(y)).sum())
        raise ValueError(
            f"Input y contains NaN or infinity: {count} of {len(y)} targets; leave out their rows."
        )
    return y
