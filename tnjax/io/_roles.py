"""Which columns of a table are modes, and which one holds the values."""

import dataclasses
from collections.abc import Sequence

from .._errors import ReadError
from ._tables import Table


@dataclasses.dataclass(frozen=True)
class Roles:
    """The names of the columns for each purpose, and what there is to say about the choice."""

    value: str
    modes: tuple[str, ...]
    weights: str | None
    notes: tuple[str, ...]


def roles_of(
    table: Table, value: str | None, modes: Sequence[str] | None, weights: str | None
) -> Roles:
    """The columns that were named, and a choice for those that were not.

    The value column, if it is not named: of the columns that are left, the last one, if it holds
    numbers; else the only one that does. Modes: all that are left.
    A stored index of pandas without a name, and a first column without a name that holds distinct
    whole numbers, are left out; levels of an index that have names are modes.

    Raises:
        ValueError: if a column is not there, named for two purposes, or no choice can be made.
    """
    table.check([name for name in (value, weights, *(modes or ())) if name is not None])
    named = [name for name in (value, *(modes or ()), weights) if name is not None]
    notes: list[str] = []
    left = [name for name in table.names if name not in named]
    for name in list(left):
        if name in table.nameless_index or (name == "" and name not in (modes or ())):
            if name == "" and modes is None and not _is_counter(table, name):
                raise ReadError(
                    table.path,
                    "a column has no name. Give it one, or name the columns that "
                    "are modes and values.",
                )
            left.remove(name)
            if modes is None:
                shown = f"the column {name!r}" if name else "the column without a name"
                notes.append(f"{shown}, an index of rows, is left out")
    if value is None:
        value = _value_of(table, [name for name in left if name not in table.index])
        left = [name for name in left if name != value]
    if modes is None:
        first = [name for name in table.index if name in left]
        modes = [*first, *(name for name in left if name not in first)]
    names = [value, *modes, *([] if weights is None else [weights])]
    if len(set(names)) != len(names):
        raise ReadError(table.path, f"the columns {', '.join(names)} are not all different.")
    if not modes:
        raise ReadError(table.path, f"no column is left for the modes beside {value!r}.")
    return Roles(value, tuple(modes), weights, tuple(notes))


def _value_of(table: Table, names: Sequence[str]) -> str:
    if not names:
        raise ReadError(table.path, "no column is left for the values.")
    if table.column(names[-1]).is_numeric:
        return names[-1]
    numeric = [name for name in names if table.column(name).is_numeric]
    return numeric[0] if len(numeric) == 1 else names[-1]


def _is_counter(table: Table, name: str) -> bool:
    """Whether a column holds distinct whole numbers, as an index of rows does."""
    column = table.column(name)
    codes, words = column.encoded()
    return len(words) == len(codes) and column.is_numeric and not column.has_fractions
