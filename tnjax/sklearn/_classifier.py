"""Classification."""

import dataclasses
from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, column_or_1d

from ..features.kinds import chosen_maps
from ..problems.ablation import probabilities
from ._learner import FunctionLearner
from ._tables import merged, read


@dataclasses.dataclass(eq=False, repr=False, kw_only=True)
class TNClassifier(ClassifierMixin, FunctionLearner):
    """A tensor network that tells classes from a table; its structure is learned.

    Logistic regression of two classes, softmax of several, otherwise as `TNRegressor`.

    Args:
        maps, max_moves, ridge, validation, random_state: as of `TNRegressor`.

    Attributes:
        classes_: the labels, sorted.
        model_: a `SupervisedModel`; None if no column tells anything.
        feature_importances_: the rise of the loss where a column is taken out, as shares of 1.
        n_features_in_, feature_names_in_: as scikit-learn says.

    Example:
        >>> import numpy as np
        >>> from tnjax.sklearn import TNClassifier
        >>> X = np.random.default_rng(0).uniform(-1, 1, (30, 2))
        >>> labels = np.where(X[:, 0] > 0, "yes", "no")
        >>> classifier = TNClassifier(random_state=0).fit(X, labels)
        >>> classifier.score(X, labels) > 0.9, classifier.predict_proba(X).shape
        (True, (30, 2))
    """

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "TNClassifier":
        """Learn from a table.

        Args:
            X: a data frame, or an array [rows, columns].
            y: labels [rows].
            sample_weight: one for each row, 0 or more.

        Returns:
            The estimator itself.

        Raises:
            ValueError: for tables and labels that do not fit each other, no row, one class only.
        """
        table = read(self, X, reset=True)
        if y is None:
            raise ValueError("This estimator requires y to be passed, but the target y is None.")
        check_classification_targets(y)
        labels = column_or_1d(y, warn=True)
        rows = len(next(iter(table.values())))
        if len(labels) != rows:
            raise ValueError(
                f"Found {rows} rows in X and {len(labels)} labels in y; expected as many."
            )
        weights = np.asarray(
            _check_sample_weight(sample_weight, np.zeros((rows, 1)), ensure_non_negative=True)
        )
        self.classes_, numbers = np.unique(labels, return_inverse=True)
        if len(np.unique(numbers[weights > 0])) < 2:
            raise ValueError(
                f"y: all rows are of one class, {str(labels[0])!r}; a classifier needs two classes "
                "or more."
            )
        table, numbers, weights = merged(table, numbers.ravel(), weights.astype(np.float64))
        size = len(self.classes_)
        maps = chosen_maps(table, self.maps)
        eye = np.eye(size)[numbers]
        shares = np.clip(weights @ eye / weights.sum(), 1e-12, None)
        if size == 2:
            targets, loss = numbers.astype(np.float64), "logistic"
            self.constant_ = float(np.log(shares[1] / shares[0]))
        else:
            targets, loss = eye, "softmax"
            self.constant_ = np.log(shares)
        self._learn(table, targets, weights, maps, loss)
        return self

    def decision_function(self, X: Any) -> np.ndarray:
        """Log odds.

        Args:
            X: with the columns that it was fitted to.

        Returns:
            [rows] of the second class where there are two, else [rows, classes].
        """
        check_is_fitted(self)
        return self._link(read(self, X, reset=False))

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities of the classes.

        Args:
            X: with the columns that it was fitted to.

        Returns:
            [rows, classes].
        """
        return probabilities(self.decision_function(X))

    def predict(self, X: Any) -> np.ndarray:
        """The likeliest class of each row.

        Args:
            X: with the columns that it was fitted to.

        Returns:
            labels [rows].
        """
        link = self.decision_function(X)
        best = (link > 0).astype(np.int64) if link.ndim == 1 else link.argmax(1)
        return self.classes_[best]
