"""Entries of a tensor that stay on disk: read chunk by chunk, written chunk by chunk."""

import dataclasses
import math
import os
import shutil
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .._atomic import umask
from .._errors import ReadError
from ._indices import check_folder, check_indices
from ._npy import npz_members, read_header

_NAMES = ("indices", "values", "shape")
_KNOWN = (*_NAMES, "weights")
_HEADER = 128  # bytes before the data, with room for any number of entries
_MOST_MODES = 64
_LARGEST = 2**31 - 1  # of a mode: indices are kept as 32-bit integers
# Entries that are looked at together for the shape, where no file tells it.
_ROWS = 2**18


@dataclasses.dataclass(frozen=True)
class _Array:
    """An array in C order inside a file."""

    path: Path
    offset: int
    shape: tuple[int, ...]
    dtype: np.dtype

    def read(self, first: int, last: int) -> np.ndarray:
        """Some rows, read and not mapped: mapped pages would count as memory."""
        rest = self.shape[1:]
        out = np.empty((last - first, *rest), self.dtype)
        view = out.reshape(-1).view(np.uint8).data
        with open(self.path, "rb", buffering=0) as file:
            file.seek(self.offset + first * math.prod(rest) * self.dtype.itemsize)
            while len(view):
                got = file.readinto(view)
                if not got:
                    raise ReadError(self.path, "the data are cut.")
                view = view[got:]
        return out


class SampleFile:
    """Entries on disk, from `open_samples`.

    Attributes:
        path: of the folder or file.
        shape: of the tensor.
        count: of the entries.
        dtype: of their values, in the byte order of this machine.
        nbytes: of all indices and values.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> from tnjax.io import open_samples, write_samples
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     chunk = (np.array([[0, 1], [2, 0]]), np.array([0.5, -2.0]))
        ...     _ = write_samples(f"{folder}/x", [chunk], (3, 2))
        ...     file = open_samples(f"{folder}/x")
        ...     file.count, file.shape, [len(values) for _, values in file.chunks(1)]
        (2, (3, 2), [1, 1])
    """

    def __init__(self, path: Path, indices: _Array, values: _Array, shape: tuple[int, ...] | None):
        self.path: Path = path
        self.count: int = values.shape[0]
        self.dtype: np.dtype = values.dtype.newbyteorder("=")
        self._indices, self._values = indices, values
        arrays = (indices, values)
        self.nbytes: int = sum(math.prod(part.shape) * part.dtype.itemsize for part in arrays)
        self.shape: tuple[int, ...] = self._largest() if shape is None else shape

    def chunks(self, rows: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """All entries from beginning to end, at most `rows` at a time.

        Yields:
            indices [rows, modes] int32 and values [rows].

        Raises:
            ValueError: if an index is outside of the shape, a value is NaN or infinite, or the file
                is cut.
            OSError: if it cannot be read.
        """
        for first in range(0, self.count, rows):
            last = min(first + rows, self.count)
            indices = self._indices.read(first, last)
            values = self._values.read(first, last).astype(self.dtype, copy=False)
            dims = np.asarray(self.shape, np.int64)
            low, high = indices.min(axis=0), indices.max(axis=0)
            if (low < 0).any() or (high >= dims).any():
                check_indices(
                    indices,
                    self.shape,
                    lambda why, first=first: ReadError(self.path, f"from entry {first} on: {why}"),
                )
            if not np.isfinite(values).all():
                bad = first + int(np.argmin(np.isfinite(values)))
                raise ReadError(
                    self.path,
                    f"the value of entry {bad} is NaN or infinite. Leave out entries "
                    "that are missing.",
                )
            yield indices.astype(np.int32, copy=False), values

    def read(self) -> tuple[np.ndarray, np.ndarray]:
        """All of them: indices and values, not looked at."""
        values = self._values.read(0, self.count).astype(self.dtype, copy=False)
        return self._indices.read(0, self.count), values

    def _largest(self) -> tuple[int, ...]:
        """The smallest shape that holds all indices; they are read for it."""
        high = np.zeros(self._indices.shape[1], np.int64)
        for first in range(0, self.count, _ROWS):
            part = self._indices.read(first, min(first + _ROWS, self.count))
            high = np.maximum(high, part.max(axis=0).astype(np.int64))
        if high.max() >= _LARGEST:
            raise ReadError(self.path, f"an index is {high.max()}, more than {_LARGEST - 1}.")
        return tuple(int(n) + 1 for n in high)


def open_samples(path: str | os.PathLike[str]) -> SampleFile | None:
    """Entries that can be read chunk by chunk.

    Args:
        path: a folder that holds `indices.npy` [entries, modes], integers from 0, `values.npy`
            [entries] and, if the tensor is to be larger than they tell, `shape.npy` [modes] (see
            `write_samples`); or an `.npz` file with these arrays that is not compressed, as by
            `np.savez`.

    Returns:
        them, or None for another kind of file, or one that cannot be read in parts.

    Raises:
        FileNotFoundError: if there is no such file or folder.
        ValueError: if an array is damaged or empty, of a wrong kind, or does not fit the others.

    Example:
        >>> import pathlib, tempfile
        >>> import numpy as np
        >>> from tnjax.io import open_samples
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     np.savez(f"{folder}/x.npz", indices=np.eye(3, dtype=int), values=np.arange(3.0))
        ...     found = open_samples(f"{folder}/x.npz")
        ...     chunks = [len(values) for indices, values in found.chunks(2)]
        >>> found.shape, chunks
        ((2, 2, 2), [2, 1])
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path}: there is no such file.")
    if path.is_dir():
        arrays = _files(path)
    else:
        arrays = _members(path) if path.suffix.lower() == ".npz" else {}
    if not {"indices", "values"} <= arrays.keys() or "weights" in arrays:
        return None
    indices, values = arrays["indices"], arrays["values"]
    if indices.dtype.kind not in "iu":
        raise ReadError(path, f"indices must be integers, got {indices.dtype}.")
    if values.dtype.kind not in "fciu":
        raise ReadError(path, f"values must be numbers, got {values.dtype}.")
    if len(indices.shape) != 2 or values.shape != indices.shape[:1]:
        raise ReadError(
            path,
            f"expected indices of shape [entries, modes] and values of shape [entries], "
            f"got {list(indices.shape)} and {list(values.shape)}.",
        )
    if not values.shape[0]:
        raise ReadError(path, "there are no entries.")
    if not 1 <= indices.shape[1] <= _MOST_MODES:
        raise ReadError(path, f"{indices.shape[1]} modes; expected 1 to {_MOST_MODES}.")
    return SampleFile(path, indices, values, _shape(path, arrays.get("shape"), indices.shape[1]))


def write_samples(
    folder: str | os.PathLike[str],
    chunks: Iterable[tuple[Any, Any]],
    shape: Sequence[int] | None = None,
) -> int:
    """Write entries of a tensor to a folder, chunk by chunk; memory holds one of them.

    Args:
        folder: to make; it must not exist, or be empty. It gets `indices.npy`, `values.npy` and
            `shape.npy`, which NumPy can map into memory.
        chunks: pairs of indices [entries, modes], counted from 0, and values [entries]. Values are
            kept in the precision of the first chunk.
        shape: of the tensor; by default just large enough.

    Returns:
        the number of entries.

    Raises:
        ValueError: if there are none, an index is not an integer inside the shape, a value is NaN
            or infinite, or chunks do not fit each other. The folder is then not made.
        FileExistsError: if the folder holds something.

    Example:
        >>> import pathlib, tempfile
        >>> import numpy as np
        >>> from tnjax.io import open_samples, write_samples
        >>> with tempfile.TemporaryDirectory() as base:
        ...     chunks = ((np.full((2, 3), n), np.full(2, 0.5)) for n in range(4))
        ...     write_samples(f"{base}/samples", chunks, (4, 4, 9))
        ...     open_samples(f"{base}/samples").shape
        8
        (4, 4, 9)
    """
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(f"write_samples: {folder} exists and is not an empty folder.")
    work = Path(tempfile.mkdtemp(dir=folder.absolute().parent, prefix=".partial-samples-"))
    try:
        count = _write(work, chunks, None if shape is None else tuple(map(int, shape)))
        work.chmod(0o777 & ~umask())
        os.replace(work, folder)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return count


def _write(work: Path, chunks: Iterable[tuple[Any, Any]], shape: tuple[int, ...] | None) -> int:
    count, modes, dtype, high = 0, 0, np.dtype(float), np.zeros(0, np.int64)
    with open(work / "indices.npy", "wb") as places, open(work / "values.npy", "wb") as numbers:
        for file in (places, numbers):
            file.write(b"\0" * _HEADER)
        for indices, values in chunks:
            indices, values = np.asarray(indices), np.asarray(values)
            if not count:
                modes, dtype = (indices.shape[1] if indices.ndim == 2 else 0), values.dtype
                dtype = np.dtype(float) if dtype.kind in "iub" else dtype
                high = np.zeros(modes, np.int64)
            what = f"write_samples: after {count} entries"
            if indices.ndim != 2 or indices.shape != (len(values), modes) or values.ndim != 1:
                raise ValueError(
                    f"{what}: expected indices [entries, {modes or 'modes'}] and values [entries], "
                    f"got {list(indices.shape)} and {list(values.shape)}."
                )
            if indices.dtype.kind not in "iu" or values.dtype.kind not in "fciub":
                raise ValueError(
                    f"{what}: expected integers and numbers, got {indices.dtype} and "
                    f"{values.dtype}."
                )
            if not len(values):
                continue
            limit = (_LARGEST,) * modes if shape is None else shape
            check_indices(indices, limit, lambda why, what=what: ValueError(f"{what}: {why}"))
            values = values.astype(dtype)
            if not np.isfinite(values).all():
                raise ValueError(f"{what}: a value is NaN or infinite.")
            places.write(np.ascontiguousarray(indices, np.int32).data)
            numbers.write(np.ascontiguousarray(values).data)
            high = np.maximum(high, indices.max(axis=0).astype(np.int64))
            count += len(values)
        if not count:
            raise ValueError("write_samples: there are no entries.")
        _header(places, np.dtype(np.int32), (count, modes))
        _header(numbers, dtype, (count,))
    np.save(work / "shape.npy", np.asarray(high + 1 if shape is None else shape, np.int64))
    return count


def _header(file: Any, dtype: np.dtype, shape: tuple[int, ...]) -> None:
    """The header of an `.npy` file (format 1.0), in the room that was left for it."""
    descr = np.lib.format.dtype_to_descr(dtype)
    words = f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape!r}, }}"
    length = _HEADER - 10
    file.seek(0)
    file.write(b"\x93NUMPY\x01\x00" + length.to_bytes(2, "little"))
    file.write(words.ljust(length - 1).encode("latin1") + b"\n")


def _members(path: Path) -> dict[str, _Array]:
    """The arrays of an `.npz`; none where it holds no entries, or one of them is compressed."""
    try:
        archive = zipfile.ZipFile(path)
    except Exception:  # a damaged one: the reader of whole files will say so
        return {}
    found = {}
    with archive, open(path, "rb") as file:
        infos = {name: info for name, info in npz_members(archive).items() if name in _KNOWN}
        if not {"indices", "values"} <= infos.keys():
            return {}
        if any(info.compress_type != zipfile.ZIP_STORED for info in infos.values()):
            return {}
        for name, info in infos.items():
            try:
                file.seek(info.header_offset + 26)
                lengths = file.read(4)  # of the name and of what comes after it
                begin = info.header_offset + 30
                begin += sum(int.from_bytes(lengths[k : k + 2], "little") for k in (0, 2))
                if begin + info.file_size > path.stat().st_size:
                    raise ValueError("the data are cut")
                with archive.open(info) as data:
                    found[name] = _array(path, path, name, data, info.file_size, begin)
            except ReadError:
                raise
            except Exception as error:  # on damaged files the library raises almost anything
                raise ReadError(path, f"{name}: damaged ({error}).") from error
    return found


def _array(path: Path, file: Path, name: str, data: Any, size: int, begin: int) -> _Array:
    """The array whose header `data` begins with; the data lie in `file` from `begin` on."""
    try:
        shape, fortran, dtype = read_header(data, size)
    except (ValueError, OSError) as error:
        raise ReadError(path, f"{name}: not an array of numbers, or damaged ({error}).") from error
    if fortran and len(shape) > 1:
        raise ReadError(path, f"{name} is stored column by column; save it in C order.")
    return _Array(file, begin + data.tell(), tuple(map(int, shape)), dtype)


def _files(path: Path) -> dict[str, _Array]:
    """The arrays of a folder."""
    check_folder(path)
    found = {}
    for name in _NAMES:
        file = path / f"{name}.npy"
        if file.is_file():
            with open(file, "rb") as data:
                found[name] = _array(path, file, name, data, file.stat().st_size, 0)
    return found


def _shape(path: Path, array: _Array | None, modes: int) -> tuple[int, ...] | None:
    if array is None:
        return None
    if array.dtype.kind not in "iu" or array.shape != (modes,):
        raise ReadError(
            path, f"shape must be {modes} integers, got {array.dtype} of shape {list(array.shape)}."
        )
    shape = tuple(int(n) for n in array.read(0, modes))
    if min(shape) < 1 or max(shape) > _LARGEST:
        raise ReadError(path, f"the shape {shape} is not one of sizes from 1 to {_LARGEST}.")
    return shape
