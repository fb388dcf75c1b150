"""Tensors from files: images, `.npy`, `.npz`, `.mat`. Nothing in a file is ever executed."""

import dataclasses
import os
import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from ._mat import check_mat

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
_ARRAY_SUFFIXES = (".npy", ".npz", ".mat")


@dataclasses.dataclass(frozen=True)
class TensorData:
    """A tensor read from a file.

    Attributes:
        array: the numbers; an image is [height, width] or [height, width, channels].
        is_image: whether it came from an image file.
        white: for an image, the value that stands for full intensity.
    """

    array: np.ndarray
    is_image: bool = False
    white: float = 1.0


def read_tensor(path: str | os.PathLike, variable: str | None = None) -> TensorData:
    """Read a dense tensor of numbers.

    Args:
        path: an image (grey or color), `.npy`, `.npz` or `.mat` (up to version 7).
        variable: which array of an `.npz` or `.mat` that holds several.

    Raises:
        FileNotFoundError: if there is no such file.
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
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path}: there is no such file.")
    if not path.is_file():
        raise ValueError(f"{path}: expected a file, this is a folder or a device.")
    suffix = path.suffix.lower()
    if suffix in _IMAGE_SUFFIXES:
        return _read_image(path)
    if suffix not in _ARRAY_SUFFIXES:
        known = ", ".join((*_ARRAY_SUFFIXES, *_IMAGE_SUFFIXES))
        raise ValueError(f"{path}: cannot read files of kind {suffix!r}; known are {known}.")
    reader = {".npy": _read_npy, ".npz": _read_npz, ".mat": _read_mat}[suffix]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            array = reader(path, variable)
    except ValueError as error:
        if str(error).startswith(str(path)):
            raise
        raise ValueError(f"{path}: damaged, or not a {suffix} file ({error}).") from error
    except Exception as error:  # on damaged files the libraries raise almost anything
        raise ValueError(f"{path}: damaged, or not a {suffix} file ({error}).") from error
    if array.dtype.kind not in "fciub":
        raise ValueError(f"{path}: expected an array of numbers, got {array.dtype}.")
    return TensorData(array)


def _read_image(path: Path) -> TensorData:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                if image.mode in ("1", "P", "CMYK", "YCbCr", "LAB", "HSV", "LA", "PA"):
                    image = image.convert("L" if image.mode in ("1", "LA") else "RGB")
                elif image.mode == "RGBA":
                    image = image.convert("RGB")
                array = np.asarray(image)
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, EOFError) as error:
        raise ValueError(f"{path}: not an image, or a damaged one ({error}).") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ValueError(f"{path}: the image is too large ({error}).") from error
    white = 65535.0 if array.dtype in (np.uint16, np.int32) else 255.0
    return TensorData(array, is_image=True, white=white)


def _read_npy(path: Path, variable: str | None) -> np.ndarray:
    del variable
    try:
        with open(path, "rb") as file:
            return np.lib.format.read_array(file, allow_pickle=False)
    except ValueError as error:
        raise ValueError(
            f"{path}: not an .npy file of numbers, or a damaged one ({error})."
        ) from error


def _read_npz(path: Path, variable: str | None) -> np.ndarray:
    try:
        with open(path, "rb") as file, np.lib.npyio.NpzFile(file, allow_pickle=False) as archive:
            name = _choose(path, {key: None for key in archive.files}, variable)
            array = archive[name]
            if not isinstance(array, np.ndarray):
                raise ValueError(f"{name} is no array")
            return array
    except ValueError as error:
        if str(error).startswith(str(path)):
            raise
        raise ValueError(
            f"{path}: not an .npz file of numbers, or a damaged one ({error})."
        ) from error


def _read_mat(path: Path, variable: str | None) -> np.ndarray:
    import scipy.io
    from scipy.io.matlab import MatReadError

    try:
        check_mat(path)
        names = {n: s for n, s, _ in scipy.io.whosmat(path)}
        name = _choose(path, names, variable)
        array = scipy.io.loadmat(path, variable_names=[name])[name]
    except MatReadError as error:
        raise ValueError(f"{path}: not a .mat file, or a damaged one ({error}).") from error
    except NotImplementedError as error:
        raise ValueError(
            f"{path}: a MATLAB 7.3 file. Save it with `save -v7`, or convert it to .npy."
        ) from error
    except ValueError as error:
        if str(error).startswith(str(path)):
            raise
        raise ValueError(f"{path}: not a .mat file, or a damaged one ({error}).") from error
    return np.asarray(array)


def _choose(path: Path, names: Mapping[str, object], variable: str | None) -> str:
    found = ", ".join(sorted(names)) or "none"
    if variable is None:
        if len(names) != 1:
            raise ValueError(f"{path}: choose one of its arrays with `variable`: {found}.")
        return next(iter(names))
    if variable not in names:
        raise ValueError(f"{path}: there is no array {variable!r}; it holds {found}.")
    return variable


def write_image(path: str | os.PathLike, array: np.ndarray, white: float) -> None:
    """Write [height, width] or [height, width, 3] as an 8-bit image; values past the range are
    clipped."""
    scaled = np.clip(np.rint(np.asarray(array, np.float64) * (255 / white)), 0, 255)
    Image.fromarray(scaled.astype(np.uint8)).save(path)
