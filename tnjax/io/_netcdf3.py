"""NetCDF of the classic formats (1 and 2), read as a whole by SciPy."""

import io
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from scipy.io import netcdf_file

from .._errors import ReadError
from ._axes import modes_of_axes
from ._checks import choose
from ._labels import Mode
from ._packing import packing_of

_NAMING = ("coordinates", "bounds", "climatology", "grid_mapping")


def is_netcdf3(path: str | os.PathLike[str]) -> bool:
    """Whether the file begins as the classic formats do (of which 5 is refused later)."""
    with open(path, "rb") as file:
        return file.read(4) in (b"CDF\x01", b"CDF\x02", b"CDF\x05")


def read_netcdf3(
    path: Path, variable: str | None, limit: int
) -> tuple[np.ndarray, tuple[Mode, ...] | None, tuple[str, ...]]:
    """A variable by the conventions: numbers, modes, and what was done to the numbers.

    Raises:
        ValueError: if the file is damaged or of format 5, holds no such variable of numbers, or
            needs more than `limit` bytes.
    """
    data = path.read_bytes()
    if data[3:4] == b"\x05":
        raise ReadError(
            path,
            "NetCDF of the format CDF-5, which is not read. Convert it to NetCDF 4, for "
            "example with nccopy -k nc4.",
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            file = netcdf_file(io.BytesIO(data), "r", mmap=False)
            return _read(path, file, variable, limit)
    except ReadError:
        raise
    except Exception as error:  # on damaged files the library raises almost anything
        raise ReadError(path, f"a damaged NetCDF 3 file ({error}).") from error


def _read(path: Path, file: Any, variable: str | None, limit: int):
    numbers = {n: v for n, v in file.variables.items() if _is_numeric(v) and len(v.shape)}
    about = {name for name, v in numbers.items() if v.dimensions == (name,)}
    for found in numbers.values():
        for key in _NAMING:
            about |= set(_text(_attributes(found).get(key)).split())
    offered = {n: v for n, v in numbers.items() if n not in about} or numbers
    name = choose(path, offered if variable is None else numbers, variable)
    found, attributes = numbers[name], _attributes(numbers[name])
    packing = packing_of(attributes, found.data.dtype, is_netcdf=True)
    dtype = found.data.dtype.newbyteorder("=") if packing is None else packing.dtype
    needed = found.data.size * dtype.itemsize
    if needed > limit:
        raise ReadError(path, f"{needed} bytes, more than max_bytes={limit}.")
    array = found.data.astype(dtype) if packing is None else packing.decode(
        found.data.astype(found.data.dtype.newbyteorder("="))
    )  # fmt: skip

    def coordinate(axis: int) -> tuple[Any, Mapping[str, Any]] | None:
        scale = file.variables.get(found.dimensions[axis])
        if scale is None or not _is_numeric(scale):
            return None
        return scale.data.astype(scale.data.dtype.newbyteorder("=")), _attributes(scale)

    modes = modes_of_axes(found.dimensions, array.shape, coordinate)
    return array, modes, () if packing is None else packing.notes


def _is_numeric(found: Any) -> bool:
    return found.data.dtype.kind in "fiu"


def _attributes(found: Any) -> dict[str, Any]:
    return dict(found._attributes)


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else ""
