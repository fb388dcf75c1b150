"""Tables with named columns: `.csv` and `.tsv`, by Apache Arrow or the standard library, and
`.parquet`."""

import csv
import importlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .._errors import ReadError
from .._install import install_hint
from ._checks import unpacked
from ._columns import ArrowColumn, Column, PlainColumn, are_fractions
from ._delimited import DELIMITERS, TEXT_SUFFIXES, Layout, layout_of, read_columns

TABLE_SUFFIXES = (*TEXT_SUFFIXES, ".parquet")
_SHOWN = 40


def table_suffix(path: Path) -> str:
    """The kind of a file by its name; `x.csv.gz` is a `.csv`."""
    suffixes = [suffix.lower() for suffix in path.suffixes[-2:]]
    if suffixes[-1:] == [".gz"]:
        suffixes = suffixes[:-1]
    return suffixes[-1] if suffixes else ""


class Table:
    """The columns of a file, each as numbers or as words.

    Args:
        path: of a `.csv`, `.tsv` (both may be gzipped, and name their columns in the first line)
            or `.parquet`.
        max_bytes: what compressed data may unpack to.

    Attributes:
        names: of the columns, without blanks around them.
        index: names of the columns that are levels of an index of pandas and have a name.
        nameless_index: the column of an index of pandas without one, if there is a single one.
        notes: what there is to say about how it was read.

    Raises:
        ImportError: for `.parquet`, if pyarrow is not installed.
        ValueError: if the file is damaged or of another kind, or names a column twice.
    """

    def __init__(self, path: Path, max_bytes: int):
        self.path = path
        self.index: tuple[str, ...] = ()
        self.nameless_index: tuple[str, ...] = ()
        self.notes: tuple[str, ...] = ()
        is_parquet = table_suffix(path) == ".parquet"
        arrow = _pyarrow(path) if is_parquet else _pyarrow_if_there()
        try:
            if is_parquet:
                columns = self._read_parquet(arrow, max_bytes)
            else:
                columns = self._read_text(arrow, max_bytes)
        except ReadError:
            raise
        except Exception as error:  # on damaged files the libraries raise almost anything
            line = " ".join(str(error).split())[:300]
            raise ReadError(path, f"not a table, or a damaged one ({line}).") from error
        self.names: tuple[str, ...] = tuple(name.strip() for name, _ in columns)
        if len(set(self.names)) != len(self.names):
            twice = next(name for name in self.names if self.names.count(name) > 1)
            raise ReadError(path, f"the column {twice[:_SHOWN]!r} is there twice.")
        self._columns = dict(zip(self.names, (column for _, column in columns), strict=True))

    def _read_text(self, arrow: Any, max_bytes: int) -> list[tuple[str, Column]]:
        packed = self.path.suffix.lower() == ".gz"
        data = unpacked(self.path, max_bytes) if packed else self.path.read_bytes()
        try:
            layout = layout_of(data, table_suffix(self.path))
        except UnicodeDecodeError:
            raise
        except ValueError as error:
            raise ReadError(self.path, f"{error}.") from error
        self.notes = layout.notes
        if arrow is None:
            columns: list[Column] = [PlainColumn(cells) for cells in read_columns(data, layout)]
        else:
            columns = _columns_of_arrow(arrow, data, layout)
        return list(zip(layout.names, columns, strict=True))

    def _read_parquet(self, arrow: Any, max_bytes: int) -> list[tuple[str, Column]]:
        with arrow.parquet.ParquetFile(self.path, pre_buffer=False) as file:
            meta = file.metadata
            claimed = sum(meta.row_group(k).total_byte_size for k in range(meta.num_row_groups))
            claimed = max(claimed, meta.num_rows * meta.num_columns)
            if claimed > max_bytes:
                raise ValueError(f"{claimed} bytes, more than max_bytes={max_bytes}")
            batches, size = [], 0
            for batch in file.iter_batches(2**16, use_threads=False):
                size += batch.nbytes
                if size > max_bytes:
                    raise ValueError(f"the columns need more than max_bytes={max_bytes}")
                batches.append(batch)
            data = arrow.Table.from_batches(batches, schema=file.schema_arrow)
        names = data.column_names
        levels = _levels(data.schema.metadata or {})
        known = [name for name, label in levels if label is not None and name in names]
        nameless = [name for name, label in levels if label is None and name in names]
        if len(nameless) == 1:
            self.nameless_index = tuple(nameless)
        else:  # levels that tell rows apart together
            known = [name for name, _ in levels if name in names]
        self.index = tuple(name.strip() for name in known)
        return [(name, ArrowColumn(arrow, data[name])) for name in names]

    def __len__(self) -> int:
        return len(next(iter(self._columns.values())).encoded()[0])

    def check(self, names: Sequence[str]) -> None:
        """Raise `ValueError` unless all of these are columns."""
        for name in names:
            if name not in self._columns:
                raise ReadError(
                    self.path, f"there is no column {name!r}; it has {', '.join(self.names)}."
                )

    def column(self, name: str) -> Column:
        """The column of a name. Raises `ValueError` if there is none."""
        self.check([name])
        return self._columns[name]

    def numbers(self, name: str) -> np.ndarray:
        """A column as float64, shape [rows].

        Raises:
            ValueError: if a cell is empty or no number.
        """
        try:
            return self.column(name).numbers()
        except ReadError:
            raise
        except ValueError as error:
            raise ReadError(self.path, f"the column {name!r} {error}.") from None

    def words(self, name: str, *, named: bool = False) -> tuple[np.ndarray, list[str]]:
        """A column as text: codes [rows], and the distinct words that they number.

        Args:
            name: of the column.
            named: whether the user named it as a mode: then fractions are labels if they repeat.

        Raises:
            ValueError: if a cell is empty, or the column holds fractions or lists.
        """
        try:
            codes, words = self.column(name).encoded()
        except ReadError:
            raise
        except ValueError as error:
            raise ReadError(self.path, f"the column {name!r} {error}.") from error
        if (codes < 0).any():
            row = int(np.argmax(codes < 0)) + 1
            raise ReadError(
                self.path,
                f"{int((codes < 0).sum())} rows have nothing in the column {name!r}, "
                f"the first is row {row}; leave them out.",
            )
        if are_fractions(words) and not (named and 2 * len(words) <= len(codes)):
            why = "each distinct one would be a label of its own"
            if not named:
                why += "; if that is meant, name it among the modes"
            raise ReadError(
                self.path,
                f"the column {name!r} holds fractions ({len(words)} different ones in "
                f"{len(codes)} rows), and {why}. Round it or put it into bins, or name the other "
                "columns as modes; if these are the values, name it as the value column.",
            )
        return codes, words


def _levels(metadata: dict[bytes, bytes]) -> list[tuple[str, str | None]]:
    """Columns that are levels of an index of pandas, and their names, None if they have none."""
    try:
        found = json.loads(metadata.get(b"pandas", b"{}"))
        labels = {c["field_name"]: c["name"] for c in found.get("columns", [])}
        fields = [name for name in found.get("index_columns", []) if isinstance(name, str)]
        return [(name, labels.get(name)) for name in fields]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return []


def _columns_of_arrow(arrow: Any, data: bytes, layout: Layout) -> list[Column]:
    table = arrow.csv.read_csv(
        arrow.BufferReader(data),
        read_options=arrow.csv.ReadOptions(use_threads=False),
        parse_options=arrow.csv.ParseOptions(delimiter=layout.delimiter, newlines_in_values=True),
        convert_options=arrow.csv.ConvertOptions(
            column_types=dict.fromkeys(layout.names, arrow.string()), null_values=[]
        ),
    )
    if tuple(table.column_names) != layout.names:
        raise ValueError("the first line is not one of names")
    return [ArrowColumn(arrow, column) for column in table.columns]


def write_table(path: Path, columns: dict[str, Sequence], suffix: str) -> None:
    """Write columns of equal length as a table of the kind that `suffix` names."""
    if suffix == ".parquet":
        arrow = _pyarrow(path)
        arrow.parquet.write_table(arrow.table(columns), path)
        return
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter=DELIMITERS[suffix], lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))


def _pyarrow_if_there() -> Any:
    """pyarrow with its parts, or None."""
    try:
        for part in ("pyarrow.csv", "pyarrow.parquet"):
            importlib.import_module(part)
        return importlib.import_module("pyarrow")
    except ImportError:
        return None


def _pyarrow(path: Path) -> Any:
    arrow = _pyarrow_if_there()
    if arrow is None:
        raise ImportError(
            f"{path.name}: .parquet needs pyarrow: {install_hint('tables')}. Tables of text "
            "(.csv, .tsv) are read without it."
        )
    return arrow
