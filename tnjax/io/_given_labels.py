"""Labels of a mode that the user gives: ranges of numbers or dates, or a file."""

import datetime as dt
import os
import re
from collections.abc import Mapping
from pathlib import Path

from .._errors import ReadError
from ._checks import check_file

_RANGE = re.compile(r"(-?\d{1,15})\.\.(-?\d{1,15})", re.ASCII)
_DATES = re.compile(r"(\d{4}-\d{2}-\d{2})\.\.(\d{4}-\d{2}-\d{2})", re.ASCII)
_MOST_LABELS = 2**24


def parse_labels(text: str | None) -> Mapping[str, tuple[str, ...]]:
    """Labels for modes, as the command line spells them.

    Args:
        text: `mode=first..last` (whole numbers, or ISO dates for all days) or `mode=FILE` (one
            label on each line, in the order of the indices), several with commas between them.

    Returns:
        For each mode its labels, in the order of the indices.

    Raises:
        ValueError: if it is not of this form, a range is empty, or a file gives a label twice.
        FileNotFoundError: if there is no such file.

    Example:
        >>> from tnjax.io import parse_labels
        >>> labels = parse_labels("week=1..60,day=2024-02-28..2024-03-01")
        >>> len(labels["week"]), labels["day"]
        (60, ('2024-02-28', '2024-02-29', '2024-03-01'))
    """
    found: dict[str, tuple[str, ...]] = {}
    for part in (text or "").split(",") if text is not None else ():
        name, sign, given = part.partition("=")
        name, given = name.strip(), given.strip()
        if not sign or not name or not given:
            raise ValueError(
                f"labels {text!r}: expected mode=first..last or mode=FILE, such as week=1..60."
            )
        if name in found:
            raise ValueError(f"labels {text!r}: the mode {name!r} is there twice.")
        found[name] = _range(given) or _file(given)
    return found


def _range(text: str) -> tuple[str, ...] | None:
    if match := _RANGE.fullmatch(text):
        first, last = map(int, match.groups())
        _check_count(text, last - first + 1)
        return tuple(map(str, range(first, last + 1)))
    if match := _DATES.fullmatch(text):
        try:
            first, last = (dt.date.fromisoformat(day).toordinal() for day in match.groups())
        except ValueError as error:
            raise ValueError(f"labels {text!r}: {error}.") from error
        _check_count(text, last - first + 1)
        days = map(dt.date.fromordinal, range(first, last + 1))
        return tuple(day.isoformat() for day in days)
    return None


def _check_count(text: str, count: int) -> None:
    if not 1 <= count <= _MOST_LABELS:
        raise ValueError(f"labels {text!r}: {max(count, 0)} labels; expected 1 to {_MOST_LABELS}.")


def _file(path: str | os.PathLike[str]) -> tuple[str, ...]:
    file = check_file(Path(path))
    try:
        lines = [line.strip() for line in file.read_text(encoding="utf-8-sig").splitlines()]
    except UnicodeDecodeError as error:
        raise ReadError(path, f"not text in UTF-8 ({error}).") from error
    words = tuple(line for line in lines if line)
    if not words:
        raise ReadError(path, "the file is empty; expected one label on each line.")
    if len(set(words)) != len(words):
        twice = next(word for word in words if words.count(word) > 1)
        raise ReadError(path, f"the label {twice[:40]!r} is there twice.")
    return words
