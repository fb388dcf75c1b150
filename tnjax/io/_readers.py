"""Tensors from files: images, videos, `.npy`, `.npz`, `.mat`. Nothing in a file is executed."""

import dataclasses
import io
import math
import os
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from ._mat import MOST_DEFLATED, mat_variables
from ._video import VIDEO_SUFFIXES, read_video

_IMAGE_SUFFIXES = (
    ".png",
    ".jpg",
    ".jpeg",
    ".tif",
    ".tiff",
    ".bmp",
    ".gif",
    ".webp",
    ".ppm",
    ".pgm",
)
_IMAGE_FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "GIF", "WEBP", "PPM")  # others run programs
_ARRAY_SUFFIXES = (".npy", ".npz", ".mat")
_LONGEST_HEADER = 2048  # that of an array of numbers; Python's parser runs out on long nonsense
_CHUNK = 2**20


@dataclasses.dataclass(frozen=True)
class TensorData:
    """A tensor read from a file.

    Attributes:
        array: the numbers; an image is [height, width] or [height, width, channels], a video has
            the frames before these modes.
        is_image: whether it came from an image file.
        white: for an image or video, the value that stands for full intensity.
        rate: for a video, frames in a second.
    """

    array: np.ndarray
    is_image: bool = False
    white: float = 1.0
    rate: float | None = None


def read_tensor(
    path: str | os.PathLike, variable: str | None = None, *, max_bytes: int = 2**32
) -> TensorData:
    """Read a dense tensor of numbers.

    Sizes that a file claims are compared with the data that it holds before anything is allocated.

    Args:
        path: an image (grey or color), `.npy`, `.npz`, `.mat` (up to version 7), HDF5 or Zarr (see
            `open_tensor`; the extra `arrays`), or a video (`.mp4`, `.mov`, `.mkv`, `.webm`, `.avi`;
            needs PyAV, the extra `video`).
        variable: which array of a file that holds several.
        max_bytes: compressed data may unpack to so many bytes (4 GiB by default), or to the size
            of the file if that is more: a small file cannot fill the memory.

    Raises:
        FileNotFoundError: if there is no such file.
        ImportError: for videos, HDF5 and Zarr, if the package that reads them is not installed.
        ValueError: if it is not of a known kind, is damaged, or holds no such array of numbers.

    Example:
        >>> import tempfile, pathlib
        >>> import numpy as np
        >>> from tnjax.io import read_tensor
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = pathlib.Path(folder) / "x.npy"
        ...     np.save(file, np.eye(3))
        ...     read_tensor(file).array.shape
        (3, 3)
    """
    from ._slabs import HDF5_SUFFIXES, ZARR_SUFFIX, open_tensor

    suffix = Path(path).suffix.lower()
    if suffix in (*HDF5_SUFFIXES, ZARR_SUFFIX):
        return _read_whole(open_tensor(path, variable), max_bytes)
    path = check_file(path)
    limit = max(max_bytes, path.stat().st_size)
    if suffix in _IMAGE_SUFFIXES:
        return _read_image(path, limit)
    if suffix in VIDEO_SUFFIXES:
        frames, rate = read_video(path, limit)
        return TensorData(frames, white=255.0, rate=rate)
    if suffix not in _ARRAY_SUFFIXES:
        kinds = (*_ARRAY_SUFFIXES, *HDF5_SUFFIXES, ZARR_SUFFIX, *_IMAGE_SUFFIXES, *VIDEO_SUFFIXES)
        known = ", ".join(kinds)
        raise ValueError(f"{path}: cannot read files of kind {suffix!r}; known are {known}.")
    reader = {".npy": _read_npy, ".npz": _read_npz, ".mat": _read_mat}[suffix]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            array = reader(path, variable, limit)
    except ValueError as error:
        if str(error).startswith(str(path)):
            raise
        raise ValueError(f"{path}: damaged, or not a {suffix} file ({error}).") from error
    except Exception as error:  # on damaged files the libraries raise almost anything
        raise ValueError(f"{path}: damaged, or not a {suffix} file ({error}).") from error
    if array.dtype.kind not in "fciub":
        raise ValueError(f"{path}: expected an array of numbers, got {array.dtype}.")
    return TensorData(array)


def _read_whole(file: Any, max_bytes: int) -> TensorData:
    """All of a tensor that could be read in slabs."""
    held = sum(part.stat().st_size for part in (file.path, *file.path.rglob("*")) if part.is_file())
    limit = max(max_bytes, held)
    if file.nbytes > limit:
        raise ValueError(f"{file.path}: {file.nbytes} bytes, more than max_bytes={limit}.")
    return TensorData(file.read())


def check_file(path: str | os.PathLike) -> Path:
    """Raise `FileNotFoundError` or `ValueError` unless there is such a file."""
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path}: there is no such file.")
    if not path.is_file():
        raise ValueError(f"{path}: expected a file, this is a folder or a device.")
    return path


def _read_image(path: Path, limit: int) -> TensorData:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            # Of a file on disk Pillow would ask for as many bytes as a chunk claims to have.
            data = io.BytesIO(path.read_bytes())
            with Image.open(data, formats=_IMAGE_FORMATS) as image:
                needed = math.prod(image.size) * _pixel_bytes(image.mode)
                if needed > limit:
                    raise Image.DecompressionBombError(
                        f"{needed} bytes, more than max_bytes={limit}"
                    )
                if image.mode in ("1", "P", "CMYK", "YCbCr", "LAB", "HSV", "LA", "PA"):
                    image = image.convert("L" if image.mode in ("1", "LA") else "RGB")
                elif image.mode == "RGBA":
                    image = image.convert("RGB")
                array = np.asarray(image)
    except UnidentifiedImageError as error:
        raise ValueError(f"{path}: not an image of a known format.") from error
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise ValueError(f"{path}: not an image, or a damaged one ({error}).") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ValueError(f"{path}: the image is too large ({error}).") from error
    white = 65535.0 if array.dtype in (np.uint16, np.int32) else 255.0
    return TensorData(array, is_image=True, white=white)


def _pixel_bytes(mode: str) -> int:
    """What Pillow holds for a pixel: one, two or four bytes."""
    return {"1": 1, "L": 1, "P": 1}.get(mode, 2 if mode.startswith("I;16") else 4)


def _read_npy(path: Path, variable: str | None, limit: int) -> np.ndarray:
    del variable
    try:
        with open(path, "rb") as file:
            return _read_array(file, path.stat().st_size, limit)
    except ValueError as error:
        raise ValueError(
            f"{path}: not an .npy file of numbers, or a damaged one ({error})."
        ) from error


def _read_array(file: IO[bytes] | zipfile.ZipExtFile, size: int, limit: int) -> np.ndarray:
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


def _read_npz(path: Path, variable: str | None, limit: int) -> np.ndarray:
    try:
        with zipfile.ZipFile(path) as archive:
            members = npz_members(archive)
            return read_member(path, archive, members[choose(path, members, variable)], limit)
    except ValueError as error:
        if str(error).startswith(str(path)):
            raise
        raise ValueError(
            f"{path}: not an .npz file of numbers, or a damaged one ({error})."
        ) from error


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
        return _read_array(file, info.file_size, limit)


def _read_mat(path: Path, variable: str | None, limit: int) -> np.ndarray:
    try:
        variables = mat_variables(path.read_bytes())
        return variables[choose(path, variables, variable)](limit)
    except NotImplementedError as error:
        raise ValueError(
            f"{path}: a MATLAB 7.3 file. Save it with `save -v7`, or convert it to .npy."
        ) from error
    except ValueError as error:
        if str(error).startswith(str(path)):
            raise
        raise ValueError(f"{path}: not a .mat file, or a damaged one ({error}).") from error


def choose(path: Path, names: Mapping[str, object], variable: str | None) -> str:
    """The name of the array that is meant."""
    found = ", ".join(sorted(names)) or "none"
    if variable is None:
        if len(names) != 1:
            raise ValueError(f"{path}: choose one of its arrays with `variable`: {found}.")
        return next(iter(names))
    if variable not in names:
        raise ValueError(f"{path}: there is no array {variable!r}; it holds {found}.")
    return variable


def write_image(file: str | os.PathLike | io.BytesIO, array: np.ndarray, white: float) -> None:
    """Write [height, width] or [height, width, 3] as an 8-bit image, PNG by default; values past
    the range are clipped."""
    scaled = np.clip(np.rint(np.asarray(array, np.float64) * (255 / white)), 0, 255)
    kind = "PNG" if isinstance(file, io.BytesIO) else None
    Image.fromarray(scaled.astype(np.uint8)).save(file, kind)
