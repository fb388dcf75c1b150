"""Tables of rows: every column as numbers or as words."""

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from .._errors import ReadError
from ._checks import check_file
from ._columns import Column
from ._delimited import is_plain_number, parse_numbers
from ._tables import TABLE_SUFFIXES, Table, table_suffix
from ._tables import write_table as write_columns

# Words that stand for a missing value.
_MISSING = ("", "#N/A", "<NA>", "N/A", "n/a", "NA", "NaN", "nan", "NULL", "null", "None")
_SHOWN = 40


@dataclasses.dataclass(frozen=True)
class TableData:
    """The columns of a table.

    Attributes:
        columns: by name: numbers [rows], NaN where a value is missing, or words [rows], None where
            a value is missing.
        notes: what there is to say about how the file was read.

    Example:
        >>> import pathlib, tempfile
        >>> from tnjax.io import read_table
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = pathlib.Path(folder) / "x.csv"
        ...     _ = file.write_text("age,sex\\n31,f\\n,m\\n")
        ...     columns = read_table(file).columns
        >>> columns["age"].tolist(), columns["sex"].tolist()
        ([31.0, nan], ['f', 'm'])
    """

    columns: dict[str, np.ndarray]
    notes: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        """The number of rows."""
        return len(next(iter(self.columns.values()), ()))


def read_table(
    path: str | os.PathLike[str],
    *,
    words: Sequence[str] = (),
    without: Sequence[str] = (),
    max_bytes: int = 2**32,
) -> TableData:
    """Read a table of rows: `.csv`, `.tsv` (or either with `.gz`), `.parquet`.

    A column whose cells are all numbers is one of numbers, any other one of words. Empty cells,
    NA, N/A, NaN, NULL and None are missing values. An index of rows that has no name is left out.

    Args:
        path: of the file; its first line names the columns.
        words: names of columns whose cells are words, though they may look like numbers.
        without: names of columns that are left out.
        max_bytes: bytes that compressed data may unpack to (4 GiB by default).

    Returns:
        The columns by name.

    Raises:
        FileNotFoundError: if there is no such file.
        ImportError: for `.parquet`, if pyarrow is not installed.
        ValueError: if it is no table, is empty, has a column in which words stand among numbers, or
            lacks a column that is named.

    Example:
        >>> import pathlib, tempfile
        >>> from tnjax.io import read_table
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = pathlib.Path(folder) / "x.csv"
        ...     _ = file.write_text("zip;size\\n04109;1,5\\n50667;2,5\\n")
        ...     table = read_table(file, words=["zip"])
        >>> table.columns["zip"].tolist(), table.columns["size"].tolist()
        (['04109', '50667'], [1.5, 2.5])
    """
    path = check_file(path)
    if table_suffix(path) not in TABLE_SUFFIXES:
        known = ", ".join(TABLE_SUFFIXES)
        raise ReadError(path, f"expected a table; known kinds are {known}.")
    table = Table(path, max(max_bytes, path.stat().st_size))
    table.check([*words, *without])
    names, notes = [], list(table.notes)
    for name in table.names:
        if name in without:
            continue
        if name == "" or name in table.nameless_index:
            shown = f"the column {name!r}" if name else "the column without a name"
            notes.append(f"{shown}, an index of rows, is left out")
            continue
        names.append(name)
    if not names:
        raise ReadError(path, "no column is left.")
    columns = {name: _values(path, name, table.column(name), name in words) for name in names}
    if not len(next(iter(columns.values()))):
        raise ReadError(path, "the table is empty: it names columns, but has no row.")
    return TableData(columns, tuple(notes))


def write_table(path: str | os.PathLike[str], columns: dict[str, np.ndarray]) -> None:
    """Write columns as a table of text, missing values as empty cells, whole numbers without a
    decimal point.

    Args:
        path: of the file, `.csv` or `.tsv`.
        columns: by name, of equal length.

    Raises:
        OSError: if it cannot be written.

    Example:
        >>> import numpy as np, pathlib, tempfile
        >>> from tnjax.io import write_table
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = pathlib.Path(folder) / "x.csv"
        ...     columns = {"age": np.asarray([31.0, np.nan]), "sex": np.asarray(["f", "m"])}
        ...     write_table(file, columns)
        ...     file.read_text()
        'age,sex\\n31,f\\n,m\\n'
    """
    path = Path(path)
    written: dict[str, Sequence] = {n: list(map(_cell, c.tolist())) for n, c in columns.items()}
    write_columns(path, written, path.suffix.lower())


def _cell(value: object) -> str:
    if value is None or value != value:
        return ""
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 2**53 else repr(value)
    return str(value)


def _values(path: Path, name: str, column: Column, words: bool) -> np.ndarray:
    """The cells of a column, by what they are."""
    try:
        codes, labels = column.encoded()
    except ValueError as error:
        raise ReadError(path, f"the column {name!r} {error}.") from error
    gone = np.asarray([label in _MISSING for label in labels], bool)
    known = [label for label, missing in zip(labels, gone, strict=True) if not missing]
    places = np.append(np.cumsum(~gone) - 1, -1)  # the last one for empty cells
    places[:-1][gone] = -1
    codes = places[codes]
    if not words and (numbers := _numbers(path, name, known, codes)) is not None:
        return np.append(numbers, np.nan)[codes]
    return np.asarray([*known, None], object)[codes]


def _numbers(path: Path, name: str, words: list[str], codes: np.ndarray) -> np.ndarray | None:
    """Distinct words as numbers; None if they are words."""
    try:
        found = np.asarray(parse_numbers(words), np.float64)
    except ValueError as error:
        plain = np.asarray([is_plain_number(word) for word in words], bool)
        rows = np.append(plain, False)[codes].sum()
        if 2 * rows <= (codes >= 0).sum():
            return None
        wrong = next((k for k, number in enumerate(plain) if not number), None)
        shown = str(error) if wrong is None else words[wrong]
        row = int(np.argmax(codes == words.index(shown))) + 1
        raise ReadError(
            path,
            f"the column {name!r} holds numbers, but row {row} holds {shown[:_SHOWN]!r}; mend it, "
            "or name the column as one of words.",
        ) from None
    if np.isinf(found).any():
        row = int(np.argmax(codes == int(np.argmax(np.isinf(found))))) + 1
        raise ReadError(path, f"the column {name!r} holds an infinite number in row {row}.")
    return found
