"""What an estimator is given: the columns of a table, their types, equal rows together."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.utils.validation import check_array, validate_data

from ..features import Categorical, FeatureMap, Spline

Table = dict[str, np.ndarray]


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
        return {str(name): np.asarray(X[name]) for name in X.columns}
    X = validate_data(
        estimator, X, reset=reset, dtype=None, ensure_all_finite="allow-nan", accept_sparse=False
    )
    if X.dtype.kind in "US":
        X = X.astype(object)
    if X.dtype.kind == "O":
        columns = [_narrowed(column) for column in X.T]
    else:
        columns = list(check_array(X, ensure_all_finite="allow-nan").T)  # type: ignore[arg-type]
    return {f"x{k}": column for k, column in enumerate(columns)}


def _narrowed(column: np.ndarray) -> np.ndarray:
    """A column of Python objects as numbers, if it holds nothing else."""
    for value in column.tolist():
        if value is not None and not isinstance(value, (int, float, np.number)):
            return column
    return column.astype(np.float64)


def is_words(column: np.ndarray) -> bool:
    """Whether a column is one of categories."""
    return column.dtype.kind in "OUSb"


def chosen_maps(
    table: Table, maps: FeatureMap | Mapping[str, FeatureMap] | str
) -> dict[str, FeatureMap]:
    """A map for each column that tells anything.

    Args:
        maps: "auto", one for all columns of numbers, or by the name of the column.
    """
    found: dict[str, FeatureMap] = {}
    for name, column in table.items():
        if is_constant(column):
            continue
        if isinstance(maps, Mapping) and name in maps:
            found[name] = maps[name]
        elif is_words(column):
            found[name] = Categorical(unseen="mean", missing="allow")
        elif isinstance(maps, FeatureMap):
            found[name] = maps
        else:
            found[name] = Spline(missing="allow")
    if isinstance(maps, Mapping) and (unknown := set(maps) - set(table)):
        raise ValueError(
            f"maps: the table has no column {', '.join(sorted(unknown))}; it has "
            f"{', '.join(table)}."
        )
    return found


def is_constant(column: np.ndarray) -> bool:
    """Whether all values are one, or all are missing."""
    if column.dtype.kind in "biuf":
        return bool((column == column[0]).all() or (column != column).all())
    return len(set(map(str, column.tolist()))) == 1


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
