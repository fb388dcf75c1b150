"""Dense tensors from files of all kinds. Nothing in a file is executed."""

import dataclasses
import os
import warnings
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from .._errors import ReadError
from ._checks import check_file, choose
from ._hdf5 import HDF5_SUFFIXES, Hdf5File
from ._images import IMAGE_SUFFIXES, read_image
from ._labels import Mode
from ._mat import mat_variables
from ._netcdf3 import is_netcdf3, read_netcdf3
from ._nifti import NIFTI_SUFFIX, is_nifti, read_nifti
from ._npy import npz_members, read_array, read_member
from ._slabs import open_tensor
from ._tensor_file import TensorFile
from ._video import VIDEO_SUFFIXES, read_video
from ._zarr import ZARR_SUFFIX

_ARRAY_SUFFIXES = (".npy", ".npz", ".mat")


@dataclasses.dataclass(frozen=True)
class TensorData:
    """A tensor read from a file.

    Attributes:
        array: the numbers; an image is [height, width] or [height, width, channels]; a video, and
            an image file of several pages, has the frames before these modes.
        is_image: whether it is a single image.
        white: for an image or video, the value that stands for full intensity.
        rate: for a video, frames in a second.
        is_stack: whether it came from an image file of several pages.
        modes: names of the modes and labels of their indices, where the file has them.
        notes: what was done to what the file holds, for people.

    Example:
        >>> import numpy as np
        >>> from tnjax.io import TensorData
        >>> TensorData(np.zeros((4, 6, 3)), is_image=True, white=255.0).is_picture
        True
    """

    array: np.ndarray
    is_image: bool = False
    white: float = 1.0
    rate: float | None = None
    is_stack: bool = False
    modes: tuple[Mode, ...] | None = None
    notes: tuple[str, ...] = ()

    @property
    def axes(self) -> tuple[str, ...] | None:
        """Names of the axes: of the file, or those of pictures; None where there are none."""
        if self.modes is not None:
            return tuple(mode.name for mode in self.modes)
        if not self.is_picture:
            return None
        known = ("row", "column", "color") if self.is_image else ("frame", "row", "column", "color")
        return known[: self.array.ndim]

    def with_axes(self, names: Sequence[str]) -> "TensorData":
        """The same tensor with other names of its axes; labels of indices stay.

        Args:
            names: one for each axis, all different.

        Raises:
            ValueError: for another number of names, or one that is empty or there twice.
        """
        shape = self.array.shape
        if len(names) != len(shape) or len(set(names)) < len(names) or not all(names):
            raise ValueError(
                f"names: expected {len(shape)} different names for the axes of a tensor of shape "
                f"{list(shape)}, got {', '.join(names) or 'none'}."
            )
        labels = [tuple(map(str, range(size))) for size in shape]
        if self.modes is not None:
            labels = [mode.labels for mode in self.modes]
        return dataclasses.replace(self, modes=tuple(map(Mode, names, labels)))

    @property
    def is_picture(self) -> bool:
        """Whether numbers are intensities from 0 to `white`."""
        return self.is_image or self.is_stack or self.rate is not None


def read_tensor(
    path: str | os.PathLike[str], variable: str | None = None, *, max_bytes: int = 2**32
) -> TensorData:
    """Read a dense tensor of numbers.

    Sizes that a file claims are compared with the data that it holds before anything is allocated.

    Args:
        path: an image (gray or color; of several pages, these are the first mode), `.npy`, `.npz`,
            `.mat`, NetCDF, HDF5 or Zarr (see `open_tensor`; the extra `arrays`), NIfTI (`.nii`,
            `.nii.gz`; the extra `nifti`), or a video (`.mp4`, `.mov`, `.mkv`, `.webm`, `.avi`;
            needs PyAV, the extra `video`). What is honored of each is in `docs/formats.md`.
        variable: which array of a file that holds several.
        max_bytes: bytes that compressed data may unpack to (4 GiB by default), or the size of the
            file if that is more: a small file cannot fill the memory.

    Returns:
        The numbers, with what the file says of them.

    Raises:
        FileNotFoundError: if there is no such file.
        ImportError: for videos, HDF5, Zarr and NIfTI, if what reads them is not installed.
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
    suffix = Path(path).suffix.lower()
    if suffix == ZARR_SUFFIX:
        return _read_whole(open_tensor(path, variable), max_bytes)
    path = check_file(path)
    limit = max(max_bytes, path.stat().st_size)
    if suffix in HDF5_SUFFIXES:
        if is_netcdf3(path):
            array, modes, notes = read_netcdf3(path, variable, limit)
            return TensorData(array, modes=modes, notes=notes)
        return _read_whole(open_tensor(path, variable), max_bytes)
    if suffix in IMAGE_SUFFIXES:
        found = read_image(path, limit)
        several = found.pages > 1
        return TensorData(
            found.array, not several, found.white, is_stack=several, notes=found.notes
        )
    if is_nifti(path):
        array, notes = read_nifti(path, limit)
        return TensorData(array, notes=notes)
    if suffix in VIDEO_SUFFIXES:
        frames, rate = read_video(path, limit)
        return TensorData(frames, white=255.0, rate=rate)
    if suffix not in _ARRAY_SUFFIXES:
        kinds = (*_ARRAY_SUFFIXES, *HDF5_SUFFIXES, ZARR_SUFFIX, NIFTI_SUFFIX)
        kinds = (*kinds, *IMAGE_SUFFIXES, *VIDEO_SUFFIXES)
        known = ", ".join(kinds)
        raise ReadError(path, f"cannot read files of kind {suffix!r}; known are {known}.")
    if suffix == ".mat" and _is_matlab_73(path):
        return _read_whole(_matlab_73(path, variable), max_bytes)
    reader = {".npy": _read_npy, ".npz": _read_npz, ".mat": _read_mat}[suffix]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            array = reader(path, variable, limit)
    except ReadError:
        raise
    except ValueError as error:
        raise ReadError(path, f"damaged, or not a {suffix} file ({error}).") from error
    except Exception as error:  # on damaged files the libraries raise almost anything
        raise ReadError(path, f"damaged, or not a {suffix} file ({error}).") from error
    if array.dtype.kind not in "fciub":
        raise ReadError(path, f"expected an array of numbers, got {array.dtype}.")
    return TensorData(array)


def _read_whole(file: TensorFile | None, max_bytes: int) -> TensorData:
    """All of a tensor that could be read in slabs."""
    assert file is not None
    held = sum(part.stat().st_size for part in (file.path, *file.path.rglob("*")) if part.is_file())
    limit = max(max_bytes, held)
    if file.nbytes > limit:
        raise ReadError(file.path, f"{file.nbytes} bytes, more than max_bytes={limit}.")
    return TensorData(file.read(), modes=file.modes, notes=file.notes)


def _is_matlab_73(path: Path) -> bool:
    with open(path, "rb") as file:
        return file.read(128)[124:] in (b"\x00\x02IM", b"\x02\x00MI")


def _matlab_73(path: Path, variable: str | None) -> TensorFile:
    """A variable of MATLAB 7.3, which is HDF5 behind 512 bytes."""
    try:
        return Hdf5File(path, variable)
    except ImportError as error:
        raise ImportError(f"{error} Or save this MATLAB 7.3 file with `save -v7`.") from error
    except ValueError as error:
        if "not an HDF5 file" not in str(error):
            raise
        raise ReadError(
            path,
            f"a damaged MATLAB 7.3 file. Save it again with `save -v7`, or convert it to "
            f".npy ({error.__cause__}).",
        ) from error


def _read_npy(path: Path, variable: str | None, limit: int) -> np.ndarray:
    del variable
    try:
        with open(path, "rb") as file:
            return read_array(file, path.stat().st_size, limit)
    except ValueError as error:
        raise ReadError(
            path, f"not an .npy file of numbers, or a damaged one ({error})."
        ) from error


def _read_npz(path: Path, variable: str | None, limit: int) -> np.ndarray:
    try:
        with zipfile.ZipFile(path) as archive:
            members = npz_members(archive)
            return read_member(path, archive, members[choose(path, members, variable)], limit)
    except ReadError:
        raise
    except ValueError as error:
        raise ReadError(
            path, f"not an .npz file of numbers, or a damaged one ({error})."
        ) from error


def _read_mat(path: Path, variable: str | None, limit: int) -> np.ndarray:
    try:
        variables = mat_variables(path.read_bytes())
        return variables[choose(path, variables, variable)](limit)
    except NotImplementedError as error:
        raise ReadError(
            path, "a MATLAB 7.3 file. Save it with `save -v7`, or convert it to .npy."
        ) from error
    except ReadError:
        raise
    except ValueError as error:
        raise ReadError(path, f"not a .mat file, or a damaged one ({error}).") from error
