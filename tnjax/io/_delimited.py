"""Text tables: what separates their cells and whether a line names the columns; a reader of the
standard library."""

import csv
import dataclasses
import io
import re

TEXT_SUFFIXES = (".csv", ".tsv")
DELIMITERS = {".csv": ",", ".tsv": "\t"}
_LOOKED_AT = 20  # lines
_LONGEST_LINE = 2**20
_WORDS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
_POINT = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?", re.ASCII)
_COMMA = re.compile(r"[+-]?([0-9]+,[0-9]*|,[0-9]+)([eE][+-]?[0-9]+)?", re.ASCII)
_THOUSANDS = re.compile(r"[+-]?[1-9][0-9]{0,2}(,[0-9]{3})+", re.ASCII)
_NAMED = ("nan", "inf", "infinity")
_SHOWN = 40


@dataclasses.dataclass(frozen=True)
class Layout:
    """How a text table is laid out: what separates cells, the names as they stand in the first
    line, and what there is to say about it."""

    delimiter: str
    names: tuple[str, ...]
    notes: tuple[str, ...]


def layout_of(data: bytes, suffix: str) -> Layout:
    """The layout of a table, from its first lines.

    The separator that `suffix` stands for is taken if it divides all of these lines into equally
    many cells, two or more; else the one of comma, semicolon, tab, bar that does so and makes
    most cells.

    Raises:
        ValueError: if the file is empty, is not text in UTF-8, or its first line names no columns.
    """
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise ValueError("it is text in UTF-16; save it as UTF-8")
    head = _head(data)
    if not head.strip():
        raise ValueError("the file is empty; expected names of columns and rows")
    usual = DELIMITERS[suffix]
    counts = {d: _cells(head, d) for d in (usual, *(d for d in _WORDS if d != usual))}
    best = max(counts, key=lambda d: counts[d])  # the first of equal ones
    delimiter = usual if counts[usual] >= 2 or counts[best] < 2 else best
    rows = _rows(head, delimiter)
    names, below = rows[0], [row for row in rows[1:] if len(row) == len(rows[0])]
    _check_names(names, below)
    notes = () if delimiter == usual else (f"its cells are separated by {_WORDS[delimiter]}",)
    return Layout(delimiter, tuple(names), notes)


def _head(data: bytes) -> str:
    """The first lines that are not blank, as text; without a last row that may be cut within
    quotes."""
    lines, start = [], 3 if data[:3] == b"\xef\xbb\xbf" else 0
    while start < len(data) and len(lines) < _LOOKED_AT:
        end = data.find(b"\n", start, start + _LONGEST_LINE + 1)
        if end < 0:
            end = len(data)
        if end - start > _LONGEST_LINE:
            raise ValueError(f"a line has more than {_LONGEST_LINE} bytes")
        if data[start:end].strip(b"\r\n"):
            lines.append(data[start:end].strip(b"\r\n"))
        start = end + 1
    if start < len(data):
        while len(lines) > 1 and b"\n".join(lines).count(b'"') % 2:
            lines.pop()
    return b"\n".join(lines).decode("utf-8")


def _rows(text: str, delimiter: str) -> list[list[str]]:
    return [row for row in csv.reader(io.StringIO(text), delimiter=delimiter, strict=False) if row]


def _cells(text: str, delimiter: str) -> int:
    """Into how many cells a separator divides every line; 0 if they are not equally many."""
    counts = {len(row) for row in _rows(text, delimiter)}
    return counts.pop() if len(counts) == 1 else 0


def _check_names(names: list[str], below: list[list[str]]) -> None:
    """Refuse a first line that is a row of data: it has numbers where numbers stand below it."""
    for place, name in enumerate(names):
        cells = [row[place] for row in below]
        same = bool(cells) and all(is_plain_number(cell) for cell in cells)
        if is_plain_number(name) and (same or all(map(is_plain_number, names))):
            raise ValueError(
                "the first line must name the columns, but it holds the number "
                f"{name.strip()[:_SHOWN]!r} as the lines below it do. Put a line of names before it"
            )


def read_columns(data: bytes, layout: Layout) -> list[list[str]]:
    """The cells of each column, as they stand in the file.

    Raises:
        ValueError: if a line has more or fewer cells than the first one, or the text is damaged.
    """
    text = io.StringIO(data.decode("utf-8-sig"), newline="")
    csv.field_size_limit(2**31 - 1)
    reader = csv.reader(text, delimiter=layout.delimiter, strict=True)
    rows = (row for row in reader if row)
    next(rows)
    columns: list[list[str]] = [[] for _ in layout.names]
    for row in rows:
        if len(row) != len(columns):
            raise ValueError(
                f"line {reader.line_num}: expected {len(columns)} columns, got {len(row)}"
            )
        for column, cell in zip(columns, row, strict=True):
            column.append(cell)
    return columns


def is_plain_number(word: str) -> bool:
    """Whether a word is a number with a decimal point, NaN or infinity."""
    word = word.strip()
    return _POINT.fullmatch(word) is not None or word.lstrip("+-").lower() in _NAMED


def parse_numbers(words: list[str]) -> list[float]:
    """Distinct words as numbers, with decimal points or, in all of them, decimal commas.

    Raises:
        ValueError: with the word that is no number, or if commas may separate thousands.
    """
    words = [word.strip() for word in words]
    if not any("," in word for word in words):
        return [_parsed(word) for word in words]
    with_comma = [word for word in words if "," in word]
    if any("." in word for word in words) or not all(map(_COMMA.fullmatch, with_comma)):
        raise ValueError(next(word for word in words if not is_plain_number(word)))
    if all(map(_THOUSANDS.fullmatch, with_comma)) and len(with_comma) > 1:
        raise ValueError(with_comma[0])
    return [_parsed(word.replace(",", ".")) for word in words]


def _parsed(word: str) -> float:
    if not is_plain_number(word):
        raise ValueError(word)
    return float(word)
