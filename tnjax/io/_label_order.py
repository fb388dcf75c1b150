"""What labels are (numbers, dates, names of months, text) and the order that this gives them."""

import datetime as dt
import re
from collections.abc import Callable, Hashable, Iterable
from decimal import Decimal
from typing import Any

Key = Hashable
Reader = Callable[[str], Any]  # the key of a word, or None if it is none of the kind

_NUMBER = re.compile(r"[+-]?(0|[1-9][0-9]{0,17})(\.[0-9]{0,18})?([eE][+-]?[0-9]{1,2})?", re.ASCII)
_TIME = r"(?:[T ]\s*(\d{1,2}):(\d{2})(?::(\d{2})(?:[.,](\d{1,9}))?)?\s*Z?)?"
_YEAR_FIRST = re.compile(rf"(\d{{4}})([-/.])(\d{{1,2}})(?:\2(\d{{1,2}}){_TIME})?", re.ASCII)
_YEAR_LAST = re.compile(rf"(\d{{1,2}})([-/.])(\d{{1,2}})\2(\d{{4}}){_TIME}", re.ASCII)
_SHORT_YEAR = re.compile(r"\d{1,2}([-/.])\d{1,2}\1\d{2}", re.ASCII)
_CLOCK = re.compile(r"(\d{1,2}):(\d{2})(?::(\d{2}))?", re.ASCII)
_NAMED = (
    re.compile(r"(?P<d>\d{1,2})\.?[ -]?(?P<m>[A-Za-z]{3,9})\.?[ ,-]+(?P<y>\d{4})", re.ASCII),
    re.compile(r"(?P<m>[A-Za-z]{3,9})\.?[ -]?(?P<d>\d{1,2})[ ,]+(?P<y>\d{4})", re.ASCII),
    re.compile(r"(?P<m>[A-Za-z]{3,9})\.?[ -]+(?P<y>\d{4})", re.ASCII),
    re.compile(r"(?P<y>\d{4})[ -]+(?P<m>[A-Za-z]{3,9})\.?", re.ASCII),
)
_MONTHS = ("january", "february", "march", "april", "may", "june", "july", "august")
_MONTHS += ("september", "october", "november", "december")
_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


def reader_of(name: str, words: Iterable[str]) -> Reader:
    """How all of these words are to be read; words with equal keys mean the same.

    - numbers, without leading zeros: by size;
    - dates with the year first (`2024-1-5`, `2024/01/05 13:00`), with the year last and dots, which
      are day first (`5.1.2024`), with the year last and slashes or dashes, day first or month first
      as the words allow it, with names of months (`5 Jan 2024`), times of day: by time;
    - English names of months or of days of the week: as in the calendar, weeks from Monday on;
    - anything else: by letters, numbers within them by size (`week 2` before `week 10`).

    Raises:
        ValueError: for dates that may be day first or month first and are in another order then,
            and for dates with two digits for the year.
    """
    words = list(words)
    fixed: tuple[Reader, ...] = (_number, _year_first, _named, _clock, _month, _weekday)
    for reader in fixed:
        if words and all(reader(word) is not None for word in words):
            return reader
    if words and all(_SHORT_YEAR.fullmatch(word) for word in words):
        raise ValueError(
            f"the labels of {name!r} are dates with two digits for the year, such as {words[0]!r}, "
            "whose order is not known. Write them as 2024-01-31."
        )
    if words and all(_YEAR_LAST.fullmatch(word) for word in words):
        return _year_last(name, words)
    return _natural


def in_order(name: str, words: Iterable[str]) -> list[str]:
    """The distinct words in the order of what they are; of words that mean the same (`1`, `1.0`)
    the shortest. Raises `ValueError` as `reader_of`."""
    distinct = sorted(set(words), key=lambda word: (len(word), word))
    read = reader_of(name, distinct)
    first: dict[Key, str] = {}
    for word in distinct:
        first.setdefault(read(word), word)
    return [first[key] for key in sorted(first)]  # pyright: ignore[reportArgumentType]


def is_number(word: str) -> bool:
    """Whether a word is a number, without leading zeros."""
    return _number(word) is not None


def is_fraction(word: str) -> bool:
    """Whether a word is a number that is not whole."""
    value = _number(word)
    return value is not None and value != value.to_integral_value()


def _number(word: str) -> Decimal | None:
    return Decimal(word) if _NUMBER.fullmatch(word) else None


def _moment(year, month, day, hour, minute, second, fraction) -> dt.datetime | None:
    micro = int((fraction or "0").ljust(6, "0")[:6])
    try:
        return dt.datetime(
            int(year),
            int(month),
            int(day or 1),
            int(hour or 0),
            int(minute or 0),
            int(second or 0),
            micro,
        )
    except ValueError:
        return None


def _year_first(word: str) -> dt.datetime | None:
    match = _YEAR_FIRST.fullmatch(word)
    if match is None:
        return None
    year, _, month, day, *clock = match.groups()
    return _moment(year, month, day, *clock)


def _day_first(word: str) -> dt.datetime | None:
    match = _YEAR_LAST.fullmatch(word)
    if match is None:
        return None
    day, _, month, year, *clock = match.groups()
    return _moment(year, month, day, *clock)


def _month_first(word: str) -> dt.datetime | None:
    match = _YEAR_LAST.fullmatch(word)
    if match is None or match.group(2) == ".":
        return None
    month, _, day, year, *clock = match.groups()
    return _moment(year, month, day, *clock)


def _year_last(name: str, words: list[str]) -> Reader:
    fits = [r for r in (_day_first, _month_first) if all(r(word) is not None for word in words)]
    if not fits:
        return _natural
    if len(fits) == 2:
        orders = [sorted(words, key=reader) for reader in fits]  # pyright: ignore
        if orders[0] != orders[1]:
            raise ValueError(
                f"the labels of {name!r} are dates that may be day first or month first, such as "
                f"{words[0]!r}. Write them as 2024-01-31, or with dots for day first (31.1.2024)."
            )
    return fits[0]


def _named(word: str) -> dt.datetime | None:
    for pattern in _NAMED:
        match = pattern.fullmatch(word)
        if match is not None:
            parts = match.groupdict()
            month = _month(parts["m"])
            if month is None:
                return None
            return _moment(parts["y"], month, parts.get("d"), None, None, None, None)
    return None


def _clock(word: str) -> tuple[int, ...] | None:
    match = _CLOCK.fullmatch(word)
    if match is None:
        return None
    hour, minute, second = (int(part or 0) for part in match.groups())
    return (hour, minute, second) if hour <= 24 and minute < 60 and second < 60 else None


def _month(word: str) -> int | None:
    return _place(word, _MONTHS)


def _weekday(word: str) -> int | None:
    return _place(word, _DAYS)


def _place(word: str, names: tuple[str, ...]) -> int | None:
    """Where in the calendar a name or its first letters stand, from 1."""
    word = word.lower().rstrip(".")
    if len(word) < 3:
        return None
    found = [k for k, full in enumerate(names, 1) if full == word or full[:3] == word]
    if word == "sept" and names is _MONTHS:
        return 9
    return found[0] if found else None


def _natural(word: str) -> tuple:
    parts: list[Any] = re.split(r"([0-9]+)", word)
    for k in range(1, len(parts), 2):
        digits = parts[k].lstrip("0")
        parts[k] = (len(digits), digits)
    return (tuple(parts), word)
