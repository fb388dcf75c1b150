"""Missing values of a table, filled in."""

import dataclasses
from typing import Any

import numpy as np
from sklearn.base import OneToOneFeatureMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from ..features.kinds import Table, is_words, missing
from ._classifier import TNClassifier
from ._learner import FunctionLearner, as_shares
from ._regressor import TNRegressor
from ._tables import is_frame, read, weighed


@dataclasses.dataclass(eq=False, repr=False, kw_only=True)
class TNImputer(OneToOneFeatureMixin, TransformerMixin, FunctionLearner):
    """Fills in what is missing in a table, each column by a tensor network of all others.

    Columns in which something was missing when it was fitted have a network, which treats what is
    missing in the other columns as such; a column in which a value is missing only later gets its
    average, or its most frequent category.

    Args:
        maps, max_moves, ridge, validation, random_state: as of `TNRegressor`, for each column.

    Attributes:
        estimators_: by the name of the column, a `TNRegressor` or a `TNClassifier`.
        fallback_: by the name of the column, its average or most frequent category.
        feature_importances_: of each column for the others, the mean of the importances in their
            estimators.
        n_features_in_, feature_names_in_: as scikit-learn says.

    Example:
        >>> import numpy as np
        >>> from tnjax.sklearn import TNImputer
        >>> x = np.linspace(-1, 1, 30)
        >>> X = np.stack([x, 2 * x], 1)
        >>> X[3, 1] = np.nan
        >>> filled = TNImputer(random_state=0).fit_transform(X)
        >>> bool(abs(filled[3, 1] - 2 * x[3]) < 0.1)
        True
    """

    max_moves: Any = 2

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> "TNImputer":
        """Learn the columns that have gaps.

        Args:
            X: a data frame, or an array [rows, columns].
            y: not looked at.
            sample_weight: one for each row, 0 or more.

        Returns:
            The estimator itself.

        Raises:
            ValueError: for no row, or a column without any value.
        """
        table, weights = weighed(read(self, X, reset=True), sample_weight)
        self.estimators_: dict[str, Any] = {}
        self.fallback_: dict[str, Any] = {}
        for name, column in table.items():
            gone = missing(column)
            if gone.all():
                raise ValueError(f"Column {name} has no value to learn from; leave it out.")
            kept, counts = column[~gone], weights[~gone]
            if is_words(column):
                labels, places = np.unique(kept.astype(str), return_inverse=True)
                by_word = {str(value): value for value in kept.tolist()}
                most = np.bincount(places.ravel(), counts).argmax()
                self.fallback_[name] = by_word[str(labels[most])]
            else:
                self.fallback_[name] = float(np.average(kept.astype(np.float64), weights=counts))
            distinct = len(set(map(str, kept.tolist())))
            if gone.any() and len(table) > 1 and distinct > 1:
                self.estimators_[name] = self._of_column(table, name, gone, weights)
        places = {name: place for place, name in enumerate(table)}
        worth = np.zeros(len(table))
        for name, estimator in self.estimators_.items():
            others = [place for other, place in places.items() if other != name]
            worth[others] += estimator.feature_importances_
        self.feature_importances_ = as_shares(worth)
        return self

    def _of_column(self, table: Table, name: str, gone: np.ndarray, weights: np.ndarray) -> Any:
        """The estimator of one column from all others."""
        kind = TNClassifier if is_words(table[name]) else TNRegressor
        estimator = kind(**self.get_params(deep=False))
        others = {other: column[~gone] for other, column in table.items() if other != name}
        known = table[name][~gone]
        known = known.astype(str) if is_words(known) else known
        return estimator.fit(_Frame(others), known, sample_weight=weights[~gone])

    def transform(self, X: Any) -> Any:
        """The table without gaps.

        Args:
            X: with the columns that it was fitted to.

        Returns:
            an array [rows, columns], of floats if all columns are numbers.
        """
        check_is_fitted(self)
        table = read(self, X, reset=False)
        filled = dict(table)
        for name, column in table.items():
            gone = missing(column)
            if not gone.any():
                continue
            new = column.astype(object) if is_words(column) else column.astype(np.float64)
            if name in self.estimators_:
                others = {o: c[gone] for o, c in table.items() if o != name}
                new[gone] = self.estimators_[name].predict(_Frame(others))
            else:
                new[gone] = self.fallback_[name]
            filled[name] = new
        words = any(is_words(column) for column in filled.values())
        dtype = object if words else np.float64
        if not words and not is_frame(X) and np.asarray(X).dtype == np.float32:
            dtype = np.float32
        return np.stack([column.astype(dtype) for column in filled.values()], 1)


class _Frame:
    """Named columns, read as a data frame is."""

    def __init__(self, columns: Table):
        self._columns = columns
        self.columns = list(columns)
        self.shape = (len(next(iter(columns.values()))), len(columns))

    def __getitem__(self, name: str) -> np.ndarray:
        return self._columns[name]

    def __len__(self) -> int:
        return self.shape[0]
