"""Tables with named columns: `.csv`, `.tsv`, `.parquet`, read by Apache Arrow."""

import csv
import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ._checks import unpacked

TABLE_SUFFIXES = (".csv", ".tsv", ".parquet")
_DELIMITERS = {".csv": ",", ".tsv": "\t"}
_CHUNK = 2**20
_LONGEST_LINE = 2**20
_SHOWN = 40


def table_suffix(path: Path) -> str:
    """The kind of a file by its name, that of `x.csv.gz` being `.csv`."""
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

    Raises:
        ImportError: if pyarrow is not installed.
        ValueError: if the file is damaged or of another kind, or names a column twice.
    """

    def __init__(self, path: Path, max_bytes: int):
        self.path = path
        self._arrow, self._csv, self._parquet = _pyarrow()
        reader = self._read_parquet if table_suffix(path) == ".parquet" else self._read_text
        try:
            self._data = reader(path, max_bytes)
        except Exception as error:  # on damaged files the libraries raise almost anything
            if str(error).startswith(str(path)):
                raise
            line = " ".join(str(error).split())[:300]
            raise ValueError(f"{path}: not a table, or a damaged one ({line}).") from error
        self.names: tuple[str, ...] = tuple(self._data.column_names)
        if len(set(self.names)) != len(self.names):
            twice = next(name for name in self.names if self.names.count(name) > 1)
            raise ValueError(f"{path}: the column {twice[:_SHOWN]!r} is there twice.")

    def _read_text(self, path: Path, max_bytes: int) -> Any:
        packed = path.suffix.lower() == ".gz"
        data = unpacked(path, max_bytes) if packed else path.read_bytes()
        end = data.find(b"\n")
        first = data[: end if end >= 0 else len(data)]
        if not first.strip():
            raise ValueError(f"{path}: the file is empty; expected names of columns and rows.")
        if len(first) > _LONGEST_LINE:
            raise ValueError(f"the first line has {len(first)} bytes")
        delimiter = _DELIMITERS[table_suffix(path)]
        text = first.decode("utf-8-sig").strip("\r\n")
        names = next(csv.reader([text], delimiter=delimiter, strict=True))
        if all(map(_is_number, names)):
            raise ValueError(
                f"{path}: the first line must name the columns, but holds only numbers."
            )
        return self._csv.read_csv(
            self._arrow.BufferReader(data),
            read_options=self._csv.ReadOptions(use_threads=False),
            parse_options=self._csv.ParseOptions(delimiter=delimiter),
            convert_options=self._csv.ConvertOptions(
                column_types=dict.fromkeys(names, self._arrow.string()), null_values=[]
            ),
        )

    def _read_parquet(self, path: Path, max_bytes: int) -> Any:
        with self._parquet.ParquetFile(path, pre_buffer=False) as file:
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
            return self._arrow.Table.from_batches(batches, schema=file.schema_arrow)

    def __len__(self) -> int:
        return self._data.num_rows

    def check(self, names: Sequence[str]) -> None:
        """Raise `ValueError` unless all of these are columns."""
        for name in names:
            if name not in self.names:
                raise ValueError(
                    f"{self.path}: there is no column {name!r}; it has {', '.join(self.names)}."
                )

    def numbers(self, name: str) -> np.ndarray:
        """A column as float64, shape [rows].

        Raises:
            ValueError: if a cell is empty or no number.
        """
        self.check([name])
        column = self._data[name]
        try:
            found = column.cast(self._arrow.float64(), safe=False)
        except (ValueError, self._arrow.ArrowException):
            raise ValueError(f"{self.path}: {self._not_numeric(name)}") from None
        if found.null_count:
            raise ValueError(
                f"{self.path}: {found.null_count} rows have no value in the column {name!r}; "
                "leave those rows out."
            )
        return found.to_numpy()

    def _not_numeric(self, name: str) -> str:
        kind = self._data[name].type
        if self._arrow.types.is_string(kind) or self._arrow.types.is_large_string(kind):
            words = enumerate(self._data[name].to_pylist(), start=1)
            row, word = next((pair for pair in words if not _is_number(str(pair[1]))), (0, ""))
            word = "nothing" if word == "" else repr(str(word)[:_SHOWN])
            return f"the column {name!r} must hold numbers, but row {row} holds {word}."
        return f"the column {name!r} must hold numbers, but is of kind {kind}."

    def words(self, name: str) -> tuple[np.ndarray, list[str]]:
        """A column as text: codes [rows], and the distinct words that they number.

        Raises:
            ValueError: if a cell is empty, or the column holds fractions or lists.
        """
        self.check([name])
        column, types = self._data[name], self._arrow.types
        if types.is_floating(column.type):
            raise ValueError(
                f"{self.path}: the column {name!r} holds fractions ({column.type}); labels must be "
                "text, integers or dates. Round it or put it into bins first."
            )
        try:
            if types.is_dictionary(column.type):
                column = column.cast(column.type.value_type)
            encoded = column.cast(self._arrow.string()).dictionary_encode().combine_chunks()
        except (ValueError, self._arrow.ArrowException) as error:
            raise ValueError(
                f"{self.path}: the column {name!r} of kind {column.type} cannot be read as labels; "
                "they must be text, integers or dates."
            ) from error
        words = encoded.dictionary.to_pylist()
        if encoded.null_count or "" in words:
            raise ValueError(
                f"{self.path}: some rows have nothing in the column {name!r}; leave them out."
            )
        return encoded.indices.to_numpy().astype(np.int64), words


def write_table(path: Path, columns: dict[str, Sequence], suffix: str) -> None:
    """Write columns of equal length as a table of the kind that `suffix` names."""
    if suffix == ".parquet":
        arrow, _, parquet = _pyarrow()
        parquet.write_table(arrow.table(columns), path)
        return
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter=_DELIMITERS[suffix], lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _pyarrow() -> tuple[Any, Any, Any]:
    try:
        load = importlib.import_module
        return load("pyarrow"), load("pyarrow.csv"), load("pyarrow.parquet")
    except ImportError as error:
        raise ImportError(f"Reading tables needs pyarrow: {install_hint('tables')}.") from error
