"""Volumes of NIfTI, versions 1 and 2, by nibabel."""

import importlib
import io
import math
from pathlib import Path

import numpy as np

from .._errors import ReadError
from .._install import install_hint
from ._checks import unpacked

NIFTI_SUFFIX = ".nii"
_MAGIC = {b"n+1\0": "Nifti1Image", b"n+2\0": "Nifti2Image"}


def is_nifti(path: Path) -> bool:
    """Whether a file of this name is one: `.nii` or `.nii.gz`."""
    return path.name.lower().removesuffix(".gz").endswith(NIFTI_SUFFIX)


def read_nifti(path: Path, limit: int) -> tuple[np.ndarray, tuple[str, ...]]:
    """The numbers, scaled as the header says, and what was done to them.

    Raises:
        ImportError: if nibabel is not installed.
        ValueError: if the file is damaged or of another kind, needs more than `limit` bytes, or
            holds colors.
    """
    try:
        nibabel = importlib.import_module("nibabel")
    except ImportError as error:
        raise ImportError(f"{path}: reading it needs nibabel: {install_hint('nifti')}.") from error
    try:
        data = unpacked(path, limit) if path.suffix.lower() == ".gz" else path.read_bytes()
        kind = _MAGIC.get(data[344:348]) or _MAGIC.get(data[4:8])
        if kind is None:
            raise ValueError("there is no mark of NIfTI in one file")
        reader = getattr(nibabel, kind)
        header = reader.header_class.from_fileobj(io.BytesIO(data), check=False)
        shape, dtype = header.get_data_shape(), header.get_data_dtype()
        if dtype.kind not in "fciu":
            raise ValueError(f"expected numbers, got {dtype}")
        needed = math.prod(map(int, shape)) * dtype.itemsize
        if min(shape, default=0) < 1 or needed > len(data):
            raise ValueError(f"the shape {shape} needs {needed} bytes, the file holds {len(data)}")
        slope, intercept = header.get_slope_inter()
        if slope is not None and 8 * math.prod(shape) > limit:
            raise ValueError(f"{8 * math.prod(shape)} bytes, more than max_bytes={limit}")
        image = reader.from_bytes(data)
        array = np.asarray(image.dataobj)
    except ReadError:
        raise
    except Exception as error:  # on damaged files the library raises almost anything
        raise ReadError(path, f"not a NIfTI file, or a damaged one ({error}).") from error
    notes = ()
    if slope is not None and (slope, intercept) != (1, 0):
        notes = (f"numbers are scaled as the header says ({slope:.6g} x + {intercept:.6g})",)
    return array.astype(array.dtype.newbyteorder("="), copy=False), notes
