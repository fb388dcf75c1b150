"""What all dense tensors that stay on disk have in common."""

import abc
import contextlib
import importlib
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from .._install import install_hint
from ._labels import Mode

NUMBERS = "fciub"


class TensorFile(abc.ABC):
    """A tensor in a file, of which slabs are read.

    Attributes:
        path: of the file.
        shape: of the tensor.
        dtype: of its numbers, in the byte order of this machine.
        fortran: whether the last mode is the slowest in the file, not the first.
        modes: names of the modes and labels of their indices, where the file has them.
        notes: what was done to the numbers, for people.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> from tnjax.io import open_tensor
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     np.save(f"{folder}/x.npy", np.ones((4, 3)))
        ...     file = open_tensor(f"{folder}/x.npy")
        ...     file.row_bytes, [slab.shape for slab in file.slabs(max_bytes=48)]
        (24, [(2, 3), (2, 3)])
    """

    path: Path
    shape: tuple[int, ...]
    dtype: np.dtype
    fortran: bool = False
    modes: tuple[Mode, ...] | None = None
    notes: tuple[str, ...] = ()

    @property
    def stored_shape(self) -> tuple[int, ...]:
        """The shape with the slowest mode first."""
        return self.shape[::-1] if self.fortran else self.shape

    @property
    def nbytes(self) -> int:
        """Bytes of all numbers."""
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def row_bytes(self) -> int:
        """Bytes of the smallest slab: one index of the slowest mode."""
        return math.prod(self.stored_shape[1:]) * self.dtype.itemsize

    def slabs(self, max_bytes: int) -> Iterator[np.ndarray]:
        """The tensor from beginning to end, in slabs along its slowest mode.

        Args:
            max_bytes: of a slab; one index of the slowest mode if that needs more.

        Yields:
            arrays [rows, *stored_shape[1:]]; one may be overwritten by the next.

        Raises:
            ValueError: if the file is damaged.
            OSError: if it cannot be read.
        """
        count, rows = self.stored_shape[0], max(1, max_bytes // max(1, self.row_bytes))
        rows = self._aligned(rows)
        with self._opened() as read:
            for first in range(0, count, rows):
                yield read(first, min(first + rows, count))

    def read(self) -> np.ndarray:
        """The whole tensor, of shape `shape`."""
        with self._opened() as read:
            array = read(0, self.stored_shape[0])
        return array.T if self.fortran else array

    def _aligned(self, rows: int) -> int:
        """How many rows to read in one go: these, or somewhat fewer."""
        return rows

    @abc.abstractmethod
    def _opened(self) -> contextlib.AbstractContextManager[Any]:
        """A function (first, last) -> array, while the file is open."""


def load_module(name: str, path: Path) -> Any:
    """h5py or zarr. Raises `ImportError` with how to install it."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ImportError(f"{path}: reading it needs {name}: {install_hint('arrays')}.") from error
