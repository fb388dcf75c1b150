"""A column of a table, as numbers or as words, whichever library read it."""

import abc
from typing import Any

import numpy as np

from ._delimited import is_plain_number, parse_numbers
from ._label_order import is_fraction, is_number

_LOOKED_AT = 10_000  # cells, for what kind a column is
_SHOWN = 40


class Column(abc.ABC):
    """The cells of a column.

    Attributes:
        kind: of the cells, in the words of the library.
    """

    kind: str = "text"

    @abc.abstractmethod
    def encoded(self) -> tuple[np.ndarray, list[str]]:
        """Codes [rows], -1 for nothing, and the distinct words that they number, stripped.

        Raises:
            ValueError: if cells cannot be words.
        """

    @abc.abstractmethod
    def head(self) -> list[str]:
        """The first cells as words, those with nothing left out."""

    def fast_numbers(self) -> np.ndarray | None:
        """All cells as float64, NaN for nothing, if the library can tell; else None."""
        return None

    def numbers(self) -> np.ndarray:
        """All cells as float64.

        Raises:
            ValueError: with what is wrong, to come after the name of the column.
        """
        found = self.fast_numbers()
        if found is None:
            codes, words = self.encoded()
            if (codes < 0).any():
                row = int(np.argmax(codes < 0)) + 1
                raise ValueError(f"must hold numbers, but row {row} holds nothing")
            try:
                found = np.array(parse_numbers(words), np.float64)[codes]
            except ValueError as error:
                row = int(np.argmax(codes == words.index(str(error)))) + 1
                hint = "" if "," not in str(error) else (
                    " (a comma is read as the decimal one if no number has a point and not all "
                    "of them may separate thousands)"
                )  # fmt: skip
                raise ValueError(
                    f"must hold numbers, but row {row} holds {str(error)[:_SHOWN]!r}{hint}"
                ) from None
        return found

    @property
    def is_numeric(self) -> bool:
        """Whether the first cells are numbers."""
        words = self.head()
        try:
            parse_numbers(words)
        except ValueError:
            return False
        return bool(words)

    @property
    def has_fractions(self) -> bool:
        """Whether the first cells are numbers, some of them not whole."""
        words = self.head()
        if not self.is_numeric:
            return False
        return any(is_fraction(word.replace(",", ".")) for word in words)


class PlainColumn(Column):
    """Cells that the standard library read."""

    def __init__(self, cells: list[str]):
        self._cells = cells

    def encoded(self) -> tuple[np.ndarray, list[str]]:
        places: dict[str, int] = {}
        codes = np.fromiter(
            (places.setdefault(cell.strip(), len(places)) for cell in self._cells),
            np.int64,
            len(self._cells),
        )
        return without_blank(codes, list(places))

    def head(self) -> list[str]:
        return [cell.strip() for cell in self._cells[:_LOOKED_AT] if cell.strip()]


class ArrowColumn(Column):
    """Cells that Apache Arrow read."""

    def __init__(self, arrow: Any, data: Any):
        self._arrow, self._data = arrow, data
        self.kind = str(data.type)
        if arrow.types.is_string(data.type) or arrow.types.is_large_string(data.type):
            self.kind = "text"

    def fast_numbers(self) -> np.ndarray | None:
        if self.kind == "text" and not all(is_plain_number(word) for word in self.head()):
            return None
        try:
            found = self._data.cast(self._arrow.float64(), safe=False)
        except (ValueError, self._arrow.ArrowException):
            if self.kind == "text" or self._arrow.types.is_dictionary(self._data.type):
                return None
            raise ValueError(f"must hold numbers, but is of kind {self.kind}") from None
        if found.null_count:
            raise ValueError(f"has no value in {found.null_count} rows; leave those rows out")
        return found.to_numpy()

    def encoded(self) -> tuple[np.ndarray, list[str]]:
        column, types = self._data, self._arrow.types
        try:
            if types.is_dictionary(column.type):
                column = column.cast(column.type.value_type)
            if types.is_floating(column.type):
                column = self._of_floats(column)
            encoded = column.cast(self._arrow.string()).dictionary_encode().combine_chunks()
        except (ValueError, self._arrow.ArrowException) as error:
            raise ValueError(
                f"of kind {self.kind} cannot be read as labels; they must be text, numbers or dates"
            ) from error
        if isinstance(encoded, self._arrow.ChunkedArray):  # without a row
            return np.zeros(0, np.int64), []
        codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
        words = encoded.dictionary.to_pylist()
        stripped = [word.strip() for word in words]
        if stripped != words:
            places: dict[str, int] = {}
            known = [places.setdefault(word, len(places)) for word in stripped]
            codes = np.where(codes < 0, -1, np.array([*known, -1])[codes])
            words = list(places)
        return without_blank(codes, words)

    def _of_floats(self, column: Any) -> Any:
        """Whole numbers as integers; the others as Python writes them."""
        values = column.to_numpy()
        empty = np.isnan(values)
        whole = np.abs(values[~empty]) < 2**53
        whole &= values[~empty] == np.floor(values[~empty])
        write = (lambda x: str(int(x))) if whole.all() else str
        return self._arrow.chunked_array(
            [[None if gone else write(x) for x, gone in zip(values, empty, strict=True)]],
            self._arrow.string(),
        )

    def head(self) -> list[str]:
        data = self._data.slice(0, _LOOKED_AT)
        cells = [cell for cell in data.to_pylist() if cell is not None and cell == cell]
        return [word for word in (str(cell).strip() for cell in cells) if word]


def without_blank(codes: np.ndarray, words: list[str]) -> tuple[np.ndarray, list[str]]:
    """With -1 for cells that hold nothing."""
    if "" not in words:
        return codes, words
    gone = words.index("")
    codes = np.where(codes == gone, -1, codes - (codes > gone))
    return codes, words[:gone] + words[gone + 1 :]


def are_fractions(words: list[str]) -> bool:
    """Whether all words are numbers and some are not whole."""
    return all(map(is_number, words)) and any(map(is_fraction, words))
