"""The user's own names of the indices of a mode, and the file that keeps them."""

import dataclasses
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from .._atomic import atomic_path
from .._errors import ReadError
from .._versioned import read_versioned
from ._label_order import in_order, reader_of

_FORMAT = "tnjax.labels"
_VERSION = 1
_SHOWN = 40


@dataclasses.dataclass(frozen=True)
class Mode:
    """A mode of a tensor as the user knows it.

    Attributes:
        name: of the mode: a column of a table.
        labels: one word for each index, in the order of the indices.

    Example:
        >>> from tnjax.io import Mode
        >>> day = Mode.of("day", ["10", "9", "10"])
        >>> day.labels
        ('9', '10')
        >>> day.encode(["10", "9"]).tolist()
        [1, 0]
    """

    name: str
    labels: tuple[str, ...]

    @classmethod
    def of(cls, name: str, words: Iterable[str]) -> "Mode":
        """The mode of a column, its labels in the order of what they are: numbers by size, dates
        by time, names of months and weekdays as in the calendar, text by letters, with numbers
        inside of it by size. Words that mean the same (`1`, `1.0`) are one label.

        Raises:
            ValueError: for dates whose order cannot be told (day first or month first).
        """
        return cls(name, tuple(in_order(name, words)))

    @property
    def size(self) -> int:
        """Number of labels."""
        return len(self.labels)

    def encode(self, words: Sequence[str]) -> np.ndarray:
        """The index of every word, shape [len(words)]; numbers and dates may be written otherwise
        than in the labels.

        Raises:
            ValueError: for a word that is none of the labels.
        """
        places = {label: index for index, label in enumerate(self.labels)}
        if any(word not in places for word in words):
            read = reader_of(self.name, self.labels)
            by_meaning = {read(label): index for label, index in places.items()}
            for word in words:
                if word not in places and read(word) in by_meaning:
                    places[word] = by_meaning[read(word)]
        try:
            return np.fromiter((places[word] for word in words), np.int64, len(words))
        except KeyError as error:
            known = f"{self.labels[0]!r} to {self.labels[-1]!r}" if self.labels else "none"
            raise ValueError(
                f"{str(error.args[0])[:_SHOWN]!r} is no label of {self.name!r}, which has "
                f"{self.size} ({known})."
            ) from None

    def decode(self, indices: np.ndarray) -> list[str]:
        """The words of indices."""
        return [self.labels[index] for index in np.asarray(indices).tolist()]


def write_labels(path: str | os.PathLike[str], modes: Sequence[Mode]) -> None:
    """Write the labels of all modes as JSON.

    The object is `{"format": "tnjax.labels", "version": 1, "modes": [{"name", "labels"}, ...]}`.

    Args:
        path: of the file; replaced if it exists.
        modes: in order.

    Raises:
        OSError: if the file cannot be written; a file that was there is untouched.

    Example:
        >>> import json, pathlib, tempfile
        >>> from tnjax.io import Mode, write_labels
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = pathlib.Path(folder) / "labels.json"
        ...     write_labels(file, (Mode("user", ("Ann", "Bob")),))
        ...     json.loads(file.read_text())["modes"]
        [{'name': 'user', 'labels': ['Ann', 'Bob']}]
    """
    record = {
        "format": _FORMAT,
        "version": _VERSION,
        "modes": [{"name": mode.name, "labels": list(mode.labels)} for mode in modes],
    }
    with atomic_path(path) as part:
        part.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def read_labels(path: str | os.PathLike[str]) -> tuple[Mode, ...]:
    """Read what `write_labels` wrote.

    Args:
        path: of the file.

    Returns:
        The modes, in order.

    Raises:
        ValueError: if the file is not of this format, is damaged, or is of a newer version.
        OSError: if it cannot be read.

    Example:
        >>> import tempfile, pathlib
        >>> from tnjax.io import Mode, read_labels, write_labels
        >>> modes = (Mode("user", ("Ann", "Bob")), Mode("day", ("2024-01-01",)))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_labels(pathlib.Path(folder) / "labels.json", modes)
        ...     read_labels(pathlib.Path(folder) / "labels.json") == modes
        True
    """
    record = read_versioned(
        path,
        lambda: Path(path).read_text(encoding="utf-8"),
        (_FORMAT, _VERSION),
        damaged="not a file of labels, or a damaged one",
        other="not a file of labels that tnjax wrote.",
    )
    try:
        modes = tuple(_mode(**mode) for mode in record["modes"])
    except (KeyError, TypeError, ValueError) as error:
        raise ReadError(path, f"damaged ({error}).") from error
    return modes


def _mode(name: str, labels: list[str]) -> Mode:
    words = [name, *labels] if isinstance(labels, list) else [None]
    if not all(isinstance(word, str) for word in words):
        raise ValueError("names and labels must be text")
    if len(set(labels)) != len(labels):
        raise ValueError(f"a label of {name[:_SHOWN]!r} is there twice")
    return Mode(name, tuple(labels))
