"""Rows of a table as the commands that learn from them take them: read, checked, split."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ._common import InputError, check_memory, check_numbers, check_out, exit_status, only_shown
from ._words import in_options

if TYPE_CHECKING:
    from .._network import TensorNetwork
    from .._search.result import SearchResult
    from ..problems import Density, Supervised
    from ._table_options import DensityOptions, FitOptions

    Options = FitOptions | DensityOptions
    Columns = Mapping[str, np.ndarray]

# Words of a column of which more than this share are different name rows, and tell nothing of
# others.
_NAMES = 0.5
_FEW = 20  # rows, of which all may be different


class Rows(NamedTuple):
    """Rows of a table.

    Attributes:
        columns: by name, without the weights.
        weights: of the rows.
        numbers: of the rows in the file, from 1.
    """

    columns: dict[str, np.ndarray]
    weights: np.ndarray
    numbers: np.ndarray

    def take(self, ids: np.ndarray) -> Rows:
        columns = {name: column[ids] for name, column in self.columns.items()}
        return Rows(columns, self.weights[ids], self.numbers[ids])


class Read(NamedTuple):
    """What was read: rows to learn from, those put aside, those of --predict, and what there is to
    say about it."""

    rows: Rows
    test: Rows | None
    asked: dict[str, np.ndarray] | None
    about: str


def check_options(options: Options) -> None:
    """Raise `InputError` for an option that cannot be meant."""
    check_numbers(options, ("max_params", "max_steps", "max_rank", "max_seconds"))
    check_memory(options)
    for name in ("validation", "test"):
        if not 0 <= getattr(options, name) < 1:
            raise InputError(f"--{name} must be a share from 0 to below 1.")
    check_out(options.out, options.resume)


def read_rows(options: Options, target: str | None = None) -> Read:
    """The table of the options, and that of --predict.

    Args:
        options: of the command.
        target: the column that the rows of --predict need not have.

    Raises:
        ValueError: for a file that is no table, and columns that cannot be learned from.
    """
    from ..io import read_table

    words, without = _listed(options.words), _listed(options.without)
    for name in (target, options.weights):
        if name is not None and name in without:
            raise InputError(f"--without {name}: that column is needed.")
    try:
        found = read_table(options.input, words=words, without=without)
    except ValueError as error:
        raise InputError(in_options(str(error))) from error
    columns = found.columns
    for flag, name in (("target", target), ("weights", options.weights)):
        if name is not None and name not in columns:
            raise InputError(
                f"--{flag} {name}: {options.input} has no such column; it has {', '.join(columns)}."
            )
    weights = np.ones(found.count)
    if options.weights is not None:
        weights = _weights(options.input, options.weights, columns.pop(options.weights))
    _check_columns(options.input, columns, target)
    rows = Rows(columns, weights, np.arange(1, found.count + 1))
    kinds = [f"{name} ({kind_of(column)})" for name, column in columns.items()]
    about = f"{options.input.name}: {found.count} rows of {', '.join(kinds)}"
    about = "; ".join((about, *found.notes))
    asked = None
    if options.predict is not None:
        asked = _asked(options, columns, target)
    kept, test = _split(rows, options)
    return Read(kept, test, asked, about)


def kind_of(column: np.ndarray) -> str:
    """The kind of a column in a word."""
    if column.dtype.kind == "f":
        return "numbers"
    return f"{len(set(column.tolist()) - {None})} categories"


def _listed(text: str | None) -> tuple[str, ...]:
    return () if text is None else tuple(filter(None, map(str.strip, text.split(","))))


def _weights(path: Path, name: str, column: np.ndarray) -> np.ndarray:
    numbers = column.dtype.kind == "f"
    if not numbers or not (column >= 0).all() or not (column > 0).any():
        raise InputError(
            f"{path}: the column {name!r} of --weights must hold numbers of 0 or more in every "
            "row, not all of them 0."
        )
    return column


def _check_columns(path: Path, columns: Columns, target: str | None) -> None:
    """Raise `InputError` for columns that nothing can be learned from."""
    from ..features.kinds import is_constant, missing

    rows = len(next(iter(columns.values())))
    features = [name for name in columns if name != target]
    if not features:
        raise InputError(f"{path}: no column is left to learn from.")
    for name in features:
        column = columns[name]
        gone = missing(column)
        if gone.all() or is_constant(column):
            what = "holds no value" if gone.all() else f"is constant ({column[0]} in every row)"
            raise InputError(
                f"{path}: the column {name!r} {what}, which tells nothing; leave it out: "
                f"--without {name}."
            )
        distinct = len(set(column[~gone].tolist())) if column.dtype.kind == "O" else 0
        if rows > _FEW and distinct > _NAMES * rows:
            raise InputError(
                f"{path}: the column {name!r} holds {distinct} different words in {rows} rows, "
                f"which tells nothing about other rows; leave it out: --without {name}."
            )
    if rows < len(features):
        raise InputError(
            f"{path}: {rows} rows are fewer than the {len(features)} columns to learn from; give "
            "more rows, or leave columns out: --without NAME,..."
        )


def _asked(options: Options, columns: Columns, target: str | None) -> dict[str, np.ndarray]:
    """The table of --predict, whose columns are of the kinds of those learned from."""
    from ..io import read_table

    path = options.predict
    assert path is not None
    known = [n for n, column in columns.items() if column.dtype.kind == "O" and n != target]
    try:
        given = read_table(path, words=known).columns
    except ValueError as error:
        raise InputError(in_options(str(error))) from error
    for name, column in columns.items():
        if name == target:
            continue
        if name not in given:
            raise InputError(f"{path}: there is no column {name!r}, which was learned from.")
        here, there = given[name], column
        if there.dtype.kind == "O":
            seen = set(there.tolist())
            row = next((k for k, word in enumerate(here.tolist()) if word not in seen | {None}), -1)
            if row >= 0:
                raise InputError(
                    f"{path}: the column {name!r} holds {here[row]!r} in row {row + 1}, a category "
                    f"that {options.input.name} does not have; mend it, or leave the cell empty."
                )
        elif here.dtype.kind == "O" and any(word is not None for word in here.tolist()):
            word = next(word for word in here.tolist() if word is not None)
            raise InputError(
                f"{path}: the column {name!r} holds {word!r}, but numbers in {options.input.name}."
            )
    return given


def held_out_rows(options: Options, rows: Rows) -> np.ndarray:
    """Whether each row is held out [rows]: the share --validation, drawn with --seed."""
    count = len(rows.weights)
    held = round(options.validation * count)
    order = np.random.default_rng([abs(options.seed), 2]).permutation(count)
    out = np.zeros(count, bool)
    out[order[:held]] = True
    for part, what in ((out, "held out"), (~out, "learned from")):
        if not rows.weights[part].any():
            raise InputError(
                f"--validation {options.validation:g}: of {count} rows, none that has a weight is "
                f"{what}; give more rows or another share."
            )
    return out


def refitted(problem: Supervised | Density, result: SearchResult) -> TensorNetwork:
    """The network found, fitted to all rows, unless the search was cut short."""
    from .. import Status
    from ..solve.tables import finish_table

    if not result.status.ok or result.status in (Status.MAX_SECONDS, Status.INTERRUPTED):
        return result.network
    return finish_table(problem, result.network)


def concluded(options: Options, result: SearchResult, words: str) -> int:
    """Print one line about a finished run; returns the exit status."""
    page = options.out / "report.html"
    with only_shown("the closing line"):
        print(
            f"{words}, {result.num_params} parameters, {result.seconds:.1f} s, "
            f"{result.status.message}; see {page if page.exists() else options.out}",
            flush=True,
        )
    return exit_status(result)


def _split(rows: Rows, options: Options) -> tuple[Rows, Rows | None]:
    """Rows to learn from, and the share --test."""
    count = len(rows.weights)
    aside = round(options.test * count)
    if not options.test:
        return rows, None
    if not 0 < aside < count:
        raise InputError(f"--test {options.test:g} of {count} rows leaves none for one of the two.")
    order = np.random.default_rng([abs(options.seed), 1]).permutation(count)
    return rows.take(np.sort(order[aside:])), rows.take(np.sort(order[:aside]))
