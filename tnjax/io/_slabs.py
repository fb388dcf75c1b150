"""Dense tensors that stay on disk: `.npy`, HDF5 and Zarr, read slab by slab."""

import abc
import contextlib
import json
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from .._install import install_hint
from ._readers import check_file, choose, read_header

HDF5_SUFFIXES = (".h5", ".hdf5", ".he5", ".nc", ".nc4")
ZARR_SUFFIX = ".zarr"
_KINDS = "fciub"

# What Zarr may run on the data; its registry also knows a codec that executes what it reads.
_CODECS = {
    *("blosc", "zstd", "gzip", "zlib", "bz2", "lzma", "lz4", "shuffle", "delta", "bitround"),
    *("fixedscaleoffset", "quantize", "packbits", "astype", "crc32", "crc32c", "adler32"),
    *("fletcher32", "bytes", "transpose", "sharding_indexed"),
}


class TensorFile(abc.ABC):
    """A tensor in a file, of which slabs are read.

    Attributes:
        path: of the file.
        shape: of the tensor.
        dtype: of its numbers, in the byte order of this machine.
        fortran: whether the last mode is the slowest in the file, not the first.
    """

    path: Path
    shape: tuple[int, ...]
    dtype: np.dtype
    fortran: bool = False

    @property
    def stored_shape(self) -> tuple[int, ...]:
        """The shape with the slowest mode first."""
        return self.shape[::-1] if self.fortran else self.shape

    @property
    def nbytes(self) -> int:
        """Of all numbers."""
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def row_bytes(self) -> int:
        """Of the smallest slab: one index of the slowest mode."""
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
        """All of it."""
        with self._opened() as read:
            array = read(0, self.stored_shape[0])
        return array.T if self.fortran else array

    def _aligned(self, rows: int) -> int:
        """So many rows, or somewhat fewer, that are read in one go."""
        return rows

    @abc.abstractmethod
    def _opened(self) -> contextlib.AbstractContextManager[Any]:
        """A function (first, last) -> array, while the file is open."""


def open_tensor(path: str | os.PathLike, variable: str | None = None) -> TensorFile | None:
    """A tensor that can be read slab by slab.

    Args:
        path: `.npy`, HDF5 (`.h5`, `.hdf5`, `.he5`, NetCDF 4 as `.nc` or `.nc4`; needs h5py) or a
            `.zarr` folder (needs zarr). Both are in the extra `arrays`.
        variable: which array of a file or folder that holds several.

    Returns:
        the tensor, or None if files of this kind cannot be read in parts.

    Raises:
        FileNotFoundError: if there is no such file.
        ImportError: if h5py or zarr is needed and not installed.
        ValueError: if it is damaged, or holds no such array of numbers.

    Example:
        >>> import tempfile, pathlib
        >>> import numpy as np
        >>> from tnjax.io import open_tensor
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = pathlib.Path(folder) / "x.npy"
        ...     np.save(file, np.zeros((5, 3, 2)))
        ...     tensor = open_tensor(file)
        ...     [slab.shape for slab in tensor.slabs(max_bytes=96)]
        [(2, 3, 2), (2, 3, 2), (1, 3, 2)]
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix == ZARR_SUFFIX:
        if not path.exists():
            raise FileNotFoundError(f"{path}: there is no such folder.")
        return ZarrFile(path, variable)
    check_file(path)
    if suffix == ".npy":
        return NpyFile(path)
    if suffix in HDF5_SUFFIXES:
        return Hdf5File(path, variable)
    return None


class NpyFile(TensorFile):
    """An `.npy` file. Read into one buffer, not mapped: mapped pages would count as memory."""

    def __init__(self, path: Path):
        self.path = path
        try:
            with open(path, "rb") as file:
                shape, self.fortran, dtype = read_header(file, path.stat().st_size)
                self._offset = file.tell()
        except ValueError as error:
            raise ValueError(
                f"{path}: not an .npy file of numbers, or a damaged one ({error})."
            ) from error
        self.shape = tuple(map(int, shape))
        self._stored, self.dtype = dtype, dtype.newbyteorder("=")

    @contextlib.contextmanager
    def _opened(self):
        row = math.prod(self.stored_shape[1:])
        buffer = np.empty(0, self._stored)
        with open(self.path, "rb", buffering=0) as file:

            def read(first: int, last: int) -> np.ndarray:
                nonlocal buffer
                count = (last - first) * row
                if buffer.size < count:
                    buffer = np.empty(count, self._stored)
                part = buffer[:count]
                file.seek(self._offset + first * row * self._stored.itemsize)
                view = part.view(np.uint8).data
                while len(view):
                    got = file.readinto(view)
                    if not got:
                        raise ValueError(f"{self.path}: the data are cut.")
                    view = view[got:]
                array = part.reshape(last - first, *self.stored_shape[1:])
                return array.astype(self.dtype, copy=False)

            yield read


class Hdf5File(TensorFile):
    """A dataset of an HDF5 file."""

    def __init__(self, path: Path, variable: str | None):
        self.path = path
        h5py = _module("h5py", path)
        try:
            with h5py.File(path, "r") as file:
                names: dict[str, Any] = {}
                file.visititems(
                    lambda name, item: (
                        names.update({name: item}) if isinstance(item, h5py.Dataset) else None
                    )
                )
                numbers = {n: d for n, d in names.items() if d.dtype.kind in _KINDS and d.ndim}
                self._name = choose(path, numbers or names, variable)
                data = names[self._name]
                if data.dtype.kind not in _KINDS:
                    raise ValueError(f"{path}: expected an array of numbers, got {data.dtype}.")
                if data.external or data.is_virtual:
                    raise ValueError(f"{path}: {self._name} is kept in other files.")
                self.shape = tuple(map(int, data.shape))
                self.dtype = np.dtype(data.dtype).newbyteorder("=")
                self._chunk = int(data.chunks[0]) if data.chunks else 1
        except (OSError, RuntimeError, KeyError) as error:
            raise ValueError(f"{path}: damaged, or not an HDF5 file ({error}).") from error

    def _aligned(self, rows: int) -> int:
        return rows - rows % self._chunk if rows >= self._chunk else rows

    @contextlib.contextmanager
    def _opened(self):
        h5py = _module("h5py", self.path)
        with h5py.File(self.path, "r") as file:
            data = file[self._name]

            def read(first: int, last: int) -> np.ndarray:
                try:
                    return np.asarray(data[first:last]).astype(self.dtype, copy=False)
                except (OSError, RuntimeError) as error:
                    raise ValueError(f"{self.path}: damaged ({error}).") from error

            yield read


class ZarrFile(TensorFile):
    """An array of a Zarr folder, format 2 or 3."""

    def __init__(self, path: Path, variable: str | None):
        self.path = path
        zarr = _module("zarr", path)
        _check_codecs(path)
        try:
            node = zarr.open(path, mode="r")
        except Exception as error:  # on damaged files the library raises almost anything
            raise ValueError(f"{path}: damaged, or not a Zarr folder ({error}).") from error
        if isinstance(node, zarr.Group):
            arrays = dict(node.arrays())
            node = arrays[choose(path, arrays, variable)]
        dtype = np.dtype(node.dtype)
        if dtype.kind not in _KINDS:
            raise ValueError(f"{path}: expected an array of numbers, got {dtype}.")
        self._array: Any = node
        self.shape, self.dtype = tuple(map(int, node.shape)), dtype.newbyteorder("=")
        self._chunk = int(node.chunks[0]) if node.chunks else 1

    def _aligned(self, rows: int) -> int:
        return rows - rows % self._chunk if rows >= self._chunk else rows

    @contextlib.contextmanager
    def _opened(self):
        def read(first: int, last: int) -> np.ndarray:
            try:
                return np.asarray(self._array[first:last]).astype(self.dtype, copy=False)
            except Exception as error:
                raise ValueError(f"{self.path}: damaged ({error}).") from error

        yield read


def _check_codecs(path: Path) -> None:
    """Refuse what would be run on the data if it is not known to be harmless."""
    for name in (".zarray", "zarr.json"):
        for file in sorted(path.rglob(name)):
            try:
                found = json.loads(file.read_text(encoding="utf-8"))
            except (ValueError, RecursionError) as error:
                raise ValueError(f"{file}: damaged ({error}).") from error
            if not isinstance(found, dict):
                raise ValueError(f"{file}: damaged (not an object).")
            chain = [found.get(key) for key in ("filters", "compressor", "codecs")]
            for codec in _codecs(chain):
                word = codec.removeprefix("numcodecs.")
                if word not in _CODECS:
                    raise ValueError(f"{file}: the codec {codec!r} is not one that is read.")


def _codecs(node: Any) -> Iterator[str]:
    """The names of all codecs in a part of the metadata, those inside of others too."""
    if isinstance(node, list):
        for part in node:
            yield from _codecs(part)
    elif isinstance(node, dict):
        name = node.get("id", node.get("name"))
        yield str(name)
        inner = node.get("configuration", {})
        if isinstance(inner, dict):
            yield from _codecs([inner.get("codecs"), inner.get("index_codecs")])


def _module(name: str, path: Path) -> Any:
    import importlib

    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ImportError(f"{path}: reading it needs {name}: {install_hint('arrays')}.") from error
