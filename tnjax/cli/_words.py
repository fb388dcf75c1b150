"""Messages of the library in the words of the command line and of the user's table."""

from __future__ import annotations

import contextlib
import re
import warnings
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..io import Mode

_OPTIONS = (
    ("`variable`", "--variable"),
    ('Pass duplicates="sum" or "mean" to merge them, or "keep"', "Pass --duplicates sum or mean to "
     "merge them, or keep"),
    ("name it among the modes", "name it in --modes"),
    ("name the columns that are modes and values", "name columns with --modes and --value"),
    ("name the other columns as modes; if these are the values, name it as the value column",
     "name the other columns in --modes; if these are the values, name it with --value"),
    ("or name the column as one of words", "or name the column in --words"),
    ("max_bytes=", "the limit of "),
)  # fmt: skip
_ENTRY = re.compile(r"for example \(([0-9, ]+)\)")
_SLICES = re.compile(r"in mode ([0-9]+) \(([0-9, ]+)(, \.\.\.)?\)")
_LONGEST_LINE = 300


def in_options(text: str) -> str:
    """With options as the command line spells them."""
    for old, new in _OPTIONS:
        text = text.replace(old, new)
    return text


def in_labels(text: str, modes: Sequence[Mode] | None) -> str:
    """With names and labels where a message of `Completion` has numbers of modes and indices."""
    if modes is None:
        return text

    def entry(match: re.Match[str]) -> str:
        places = [int(word) for word in match.group(1).split(",") if word.strip()]
        if len(places) != len(modes):
            return match.group(0)
        words = (f"{m.name} {m.labels[k]!r}" for m, k in zip(modes, places, strict=True))
        return f"for example {', '.join(words)}"

    def slices(match: re.Match[str]) -> str:
        mode = modes[int(match.group(1))]
        words = ", ".join(mode.labels[int(k)] for k in match.group(2).split(","))
        return f"in {mode.name} ({words[:_LONGEST_LINE]}{match.group(3) or ''})"

    return _SLICES.sub(slices, _ENTRY.sub(entry, text))


@contextlib.contextmanager
def warned_in_labels(modes: Sequence[Mode] | None) -> Iterator[None]:
    """Within it, warnings name the user's labels."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    for found in caught:
        warnings.warn(in_labels(str(found.message), modes), found.category, stacklevel=3)
