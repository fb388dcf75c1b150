"""Arrays in the format `.npy`, alone or in an `.npz`, every size checked before it is used."""

import math
import zipfile
from pathlib import Path
from typing import IO

import numpy as np

from ._mat import MOST_DEFLATED

_LONGEST_HEADER = 2048  # that of an array of numbers; Python's parser runs out on long nonsense
_CHUNK = 2**20


def read_array(file: IO[bytes] | zipfile.ZipExtFile, size: int, limit: int) -> np.ndarray:
    """The array in the format `.npy` that `file`, of `size` bytes, holds."""
    shape, fortran, dtype = read_header(file, size)
    count = math.prod(shape)
    needed = count * dtype.itemsize
    if needed > limit:
        raise ValueError(f"{needed} bytes, more than max_bytes={limit}")
    array = np.empty(count, dtype)
    view = array.view(np.uint8).data
    while len(view):
        part = file.read(min(len(view), _CHUNK))
        if not part:
            raise ValueError("the data are cut")
        view[: len(part)] = part
        view = view[len(part) :]
    file.read(1)  # at its end the member of an archive compares the check sum
    return array.reshape(shape[::-1]).T if fortran else array.reshape(shape)


def read_header(
    file: IO[bytes] | zipfile.ZipExtFile, size: int
) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, whether the last mode is the slowest, and dtype of an `.npy`; the data come next.

    Raises:
        ValueError: if it is damaged, holds no numbers, or less data than it claims.
    """
    version = np.lib.format.read_magic(file)
    readers = {
        (1, 0): (2, np.lib.format.read_array_header_1_0),
        (2, 0): (4, np.lib.format.read_array_header_2_0),
    }
    if version not in readers:
        raise ValueError(f"format version {version} is for arrays of records")
    width, read_header = readers[version]
    place = file.tell()
    length = int.from_bytes(file.read(width), "little")
    if length > min(_LONGEST_HEADER, size - place):
        raise ValueError(f"the header claims {length} bytes")
    file.seek(place)
    shape, fortran, dtype = read_header(file)
    if dtype.kind not in "fciub":
        raise ValueError(f"expected an array of numbers, got {dtype}")
    if any(isinstance(n, bool) or n < 0 for n in shape):
        raise ValueError(f"the shape {shape} is impossible")
    needed, left = math.prod(shape) * dtype.itemsize, size - file.tell()
    if needed > left:
        raise ValueError(f"the shape {shape} needs {needed} bytes, the file holds {left}")
    return shape, fortran, dtype


def npz_members(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """What an `.npz` holds, by the names under which NumPy shows it."""
    return {info.filename.removesuffix(".npy"): info for info in archive.infolist()}


def read_member(
    path: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo, limit: int
) -> np.ndarray:
    """One array of an `.npz`. Raises almost anything if it is damaged."""
    name = info.filename.removesuffix(".npy")
    if not info.filename.endswith(".npy"):
        raise ValueError(f"{name} is no array")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"{name} is compressed in a way that NumPy does not write")
    held = min(info.compress_size, path.stat().st_size)
    if info.file_size > MOST_DEFLATED * held:
        raise ValueError(f"{held} compressed bytes claim to hold {info.file_size}")
    with archive.open(info) as file:
        return read_array(file, info.file_size, limit)
