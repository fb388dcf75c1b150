"""What kind a column is: numbers, or categories."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from ._base import FeatureMap, is_missing
from ._categorical import Categorical
from ._local import Spline

Table = dict[str, np.ndarray]


def narrowed(column: np.ndarray) -> np.ndarray:
    """A column of Python objects as numbers, if it holds nothing else; missing values are NaN."""
    if column.dtype.kind != "O":
        return column
    out = np.empty(len(column))
    for row, value in enumerate(column.tolist()):
        if is_missing(value):
            out[row] = np.nan
        elif isinstance(value, (int, float, np.number)) and not isinstance(value, bool):
            out[row] = float(value)
        else:
            return column
    return out


def is_words(column: np.ndarray) -> bool:
    """Whether a column is one of categories: words or booleans."""
    return column.dtype.kind in "OUSb"


def missing(column: np.ndarray) -> np.ndarray:
    """Where a column has no value."""
    if column.dtype.kind in "biuUS":
        return np.zeros(len(column), bool)
    if column.dtype.kind == "f":
        return np.isnan(column)
    return np.asarray([is_missing(value) for value in column.tolist()], bool)


def is_constant(column: np.ndarray) -> bool:
    """Whether all values are one, or all are missing."""
    if column.dtype.kind in "biuf":
        return bool((column == column[0]).all() or (column != column).all())
    return len(set(map(str, column.tolist()))) == 1


def chosen_maps(
    table: Mapping[str, np.ndarray],
    maps: FeatureMap | Mapping[str, FeatureMap] | str,
    unseen: Any = "mean",
) -> dict[str, FeatureMap]:
    """A map for each column that tells anything.

    Args:
        table: columns by name.
        maps: "auto", one for all columns of numbers, or by the name of the column.
        unseen: as of `Categorical`.

    Raises:
        ValueError: for a map of a column that is not there.
    """
    found: dict[str, FeatureMap] = {}
    for name, column in table.items():
        if is_constant(column):
            continue
        if isinstance(maps, Mapping) and name in maps:
            found[name] = maps[name]
        elif is_words(column):
            found[name] = Categorical(unseen=unseen, missing="allow")
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
