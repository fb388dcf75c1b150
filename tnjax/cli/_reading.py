"""Data on disk that tell a display how far they have been read."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from ._progress import Display

if TYPE_CHECKING:
    from ..io import SampleFile, TensorFile


class ToldTensor:
    """A tensor in slabs, for a `StreamedDecomposition`."""

    def __init__(self, file: TensorFile, display: Display):
        self.shape, self.dtype, self.fortran = file.shape, file.dtype, file.fortran
        self._file, self._display = file, display

    def slabs(self, max_bytes: int) -> Iterator[np.ndarray]:
        rows = self._file.stored_shape[0]
        return _told(self._file.slabs(max_bytes), self._display, "slab", rows, len)


class ToldSamples:
    """Entries in chunks, for a `StreamedCompletion`."""

    def __init__(self, file: SampleFile, display: Display):
        self.shape, self.dtype, self.count = file.shape, file.dtype, file.count
        self._file, self._display = file, display

    def chunks(self, rows: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        size = lambda chunk: len(chunk[1])
        return _told(self._file.chunks(rows), self._display, "chunk", self.count, size)


def _told(
    pieces: Iterator[Any], display: Display, word: str, total: int, size: Callable[[Any], int]
) -> Iterator[Any]:
    count = None
    display.status(f"reading the first {word}")
    for number, piece in enumerate(pieces, 1):
        if count is None:  # all have the size of the first one, but maybe the last
            count = math.ceil(total / max(1, size(piece)))
        display.status(f"reading {word}s, {number} of {count}")
        yield piece
