"""What an estimator is given: the columns of a table, their types, equal rows together."""

from typing import Any

import numpy as np
from sklearn.utils.validation import _check_sample_weight, check_array, validate_data

from ..features.kinds import Table, narrowed


def is_frame(X: Any) -> bool:
    """Whether columns have names and types of their own, as those of pandas and polars do."""
    return hasattr(X, "columns") and hasattr(X, "__getitem__") and hasattr(X, "shape")


def read(estimator: Any, X: Any, *, reset: bool) -> Table:
    """The columns of what `fit` and `predict` get, by name.

    Raises:
        ValueError: as scikit-learn raises it, for another number of columns, other names, no row,
            or infinite values.
    """
    if is_frame(X):
        validate_data(estimator, X, reset=reset, skip_check_array=True)
        rows, columns = X.shape
        if not rows or not columns:
            what = "sample" if not rows else "feature"
            raise ValueError(
                f"Found array with 0 {what}(s) (shape={X.shape}) while a minimum of 1 is required."
            )
        return {str(name): narrowed(np.asarray(X[name])) for name in X.columns}
    X = validate_data(
        estimator, X, reset=reset, dtype=None, ensure_all_finite="allow-nan", accept_sparse=False
    )
    if X.dtype.kind in "US":
        X = X.astype(object)
    if X.dtype.kind == "O":
        columns = [narrowed(column) for column in X.T]
    else:
        columns = list(check_array(X, ensure_all_finite="allow-nan").T)  # type: ignore[arg-type]
    return {f"x{k}": column for k, column in enumerate(columns)}


def weighed(table: Table, sample_weight: Any) -> tuple[Table, np.ndarray]:
    """The rows of a table that have a weight, and their weights.

    Raises:
        ValueError: for weights that are negative, all zero, or of another number.
    """
    rows = len(next(iter(table.values())))
    given = _check_sample_weight(sample_weight, np.zeros((rows, 1)), ensure_non_negative=True)
    weights = np.asarray(given, np.float64)
    if not weights.any():
        raise ValueError("sample_weight: all weights are zero; there is nothing to learn from.")
    keep = weights > 0
    return {name: column[keep] for name, column in table.items()}, weights[keep]


def merged(
    table: Table, y: np.ndarray, weights: np.ndarray
) -> tuple[Table, np.ndarray, np.ndarray]:
    """Rows that are equal, targets included, as one row with the sum of their weights, in an order
    that depends on the rows alone; rows without weight are left out. A row that is given twice is
    then the same as one of twice the weight."""
    keep = weights > 0
    table = {name: column[keep] for name, column in table.items()}
    y, weights = y[keep], weights[keep]
    codes = [np.unique(_comparable(column), return_inverse=True)[1] for column in table.values()]
    codes += [np.unique(part, return_inverse=True)[1] for part in y.reshape(len(y), -1).T]
    rows = np.stack([code.ravel() for code in codes], 1)
    _, first, groups = np.unique(rows, axis=0, return_index=True, return_inverse=True)
    total = np.bincount(groups.ravel(), weights, len(first))
    return {name: column[first] for name, column in table.items()}, y[first], total


def _comparable(column: np.ndarray) -> np.ndarray:
    return column if column.dtype.kind in "biuf" else np.asarray(list(map(str, column.tolist())))
