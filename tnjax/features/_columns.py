"""Tables to features: one map for each column."""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from ._base import FeatureMap, Fitted
from ._saved import from_json, to_json


@dataclasses.dataclass(frozen=True)
class Columns:
    """The fitted maps of the columns of a table, by name, in their order.

    Attributes:
        names: of the columns.
        maps: one fitted map for each.

    Example:
        >>> import numpy as np
        >>> from tnjax.features import Categorical, Columns, Polynomial
        >>> table = {"age": np.arange(6.0), "sex": list("fmfmfm")}
        >>> columns = Columns.fit(table, {"age": Polynomial(2), "sex": Categorical()})
        >>> [part.shape for part in columns(table)]
        [(6, 3), (6, 2)]
    """

    names: tuple[str, ...]
    maps: tuple[Fitted, ...]

    @classmethod
    def fit(cls, table: Any, maps: Mapping[str, FeatureMap | Fitted]) -> "Columns":
        """Fit maps to a table of training data.

        Args:
            table: columns by name, such as a dict of arrays or a pandas data frame.
            maps: by the name of the column; columns without one are not looked at.

        Raises:
            ValueError: for a column that is not there or does not suit its map, columns of
                different lengths, or an empty table.
        """
        if not maps:
            raise ValueError("Columns: expected a map for at least one column, got none.")
        columns = _read(table, maps)
        fitted = [
            chosen if isinstance(chosen, Fitted) else chosen.fit(columns[name], _title(name))
            for name, chosen in maps.items()
        ]
        return cls(tuple(map(str, maps)), tuple(fitted))

    def __call__(self, table: Any) -> tuple[np.ndarray, ...]:
        """The features of a table.

        Args:
            table: with these columns, and maybe others.

        Returns:
            for each column an array [rows, features].

        Raises:
            ValueError: as of `fit`, and for values that the maps were not made for.
        """
        columns = _read(table, self.names)
        return tuple(fit(columns[name]) for name, fit in zip(self.names, self.maps, strict=True))

    def to_json(self) -> dict[str, Any]:
        """Values of JSON, which `from_json` reads."""
        return {"names": list(self.names), "maps": [to_json(fitted) for fitted in self.maps]}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Columns":
        """From what `to_json` made.

        Args:
            data: values of JSON.
        """
        maps = tuple(from_json(item) for item in data["maps"])
        return cls(tuple(map(str, data["names"])), maps)


def _title(name: Any) -> str:
    return f"column {name!s}"


def _read(table: Any, names: Iterable[Any]) -> dict[Any, Any]:
    """The columns of a table that are meant, of equal length."""
    found = {}
    for name in names:
        try:
            found[name] = np.asarray(table[name])
        except (KeyError, IndexError, TypeError, ValueError):
            raise ValueError(
                f"The table has no column {name!s}; give one that has the columns "
                f"{', '.join(map(str, names))}."
            ) from None
    lengths = {name: len(column) for name, column in found.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"The columns of a table have one length, got {lengths}.")
    if not next(iter(lengths.values()), 0):
        raise ValueError("The table is empty: there is no row to learn from or to predict.")
    return found
