"""Datasets of HDF5: NetCDF 4 by its conventions, MATLAB 7.3 with its modes in MATLAB's order."""

import contextlib
from pathlib import Path
from typing import Any

import numpy as np

from .._errors import ReadError
from ._axes import modes_of_axes
from ._checks import choose
from ._labels import Mode
from ._packing import packing_of
from ._tensor_file import NUMBERS, TensorFile, load_module

HDF5_SUFFIXES = (".h5", ".hdf5", ".he5", ".nc", ".nc4")
_NO_VARIABLE = b"This is a netCDF dimension but not a netCDF variable"
_NAMING = ("coordinates", "bounds", "climatology", "grid_mapping")
_NO_NUMBERS = ("char", "cell", "struct", "table", "string", "function_handle")  # of MATLAB


class Hdf5File(TensorFile):
    """A dataset of an HDF5 file."""

    def __init__(self, path: Path, variable: str | None):
        self.path = path
        h5py = load_module("h5py", path)
        try:
            with h5py.File(path, "r") as file:
                self._look(h5py, file, variable)
        except (OSError, RuntimeError, KeyError) as error:
            raise ReadError(path, f"damaged, or not an HDF5 file ({error}).") from error

    def _look(self, h5py: Any, file: Any, variable: str | None) -> None:
        path, names = self.path, _datasets(h5py, file)
        numbers = {n: d for n, d in names.items() if _is_numeric(d) and d.ndim}
        about = _coordinate_names(numbers)
        offered = {n: d for n, d in numbers.items() if n not in about} or numbers or names
        if variable is not None:
            offered = numbers or names
        self._name = choose(path, offered, variable)
        data = names[self._name]
        self._place = data.name  # bytes, where it is not in UTF-8
        if not _is_numeric(data):
            raise ReadError(path, f"expected an array of numbers, got {_kind(data)}.")
        if data.external or data.is_virtual:
            raise ReadError(path, f"{self._name} is kept in other files.")
        matlab = _text(data.attrs, "MATLAB_class")
        if "MATLAB_empty" in data.attrs and int(np.ravel(data.attrs["MATLAB_empty"])[0]):
            raise ReadError(path, f"{self._name} is empty.")
        attributes = {} if matlab else _attributes(data)
        is_netcdf = "_NCProperties" in file.attrs or path.suffix.lower() in (".nc", ".nc4")
        try:
            self._packing = packing_of(attributes, data.dtype, is_netcdf=is_netcdf)
        except ValueError as error:
            raise ReadError(path, f"{self._name}: {error}.") from error
        shape = tuple(map(int, data.shape))
        self.fortran = bool(matlab)
        self.shape = shape[::-1] if matlab else shape
        self._complex = data.dtype.names == ("real", "imag")
        stored = _complex_kind(data.dtype) if self._complex else data.dtype
        self.dtype = np.dtype(stored).newbyteorder("=")
        notes: tuple[str, ...] = ()
        if self._packing is not None:
            self.dtype, notes = self._packing.dtype, self._packing.notes
        if matlab and len(shape) > 1:
            notes = (*notes, "written by MATLAB: modes are in MATLAB's order")
        self.modes, self.notes = None if matlab else _modes(_scales(file, names, data), data), notes
        self._chunk = int(data.chunks[0]) if data.chunks else 1

    def _aligned(self, rows: int) -> int:
        return rows - rows % self._chunk if rows >= self._chunk else rows

    @contextlib.contextmanager
    def _opened(self):
        h5py = load_module("h5py", self.path)
        with h5py.File(self.path, "r") as file:
            data = file[self._place]

            def read(first: int, last: int) -> np.ndarray:
                try:
                    part = np.asarray(data[first:last])
                except (OSError, RuntimeError) as error:
                    raise ReadError(self.path, f"damaged ({error}).") from error
                if self._packing is not None:
                    return self._packing.decode(part)
                if self._complex:
                    whole = np.empty(part.shape, self.dtype)
                    whole.real, whole.imag = part["real"], part["imag"]
                    return whole
                return part.astype(self.dtype, copy=False)

            yield read


def _datasets(h5py: Any, file: Any) -> dict[str, Any]:
    """All of them by their paths, without those that are parts of a sparse or a cell array."""
    names: dict[str, Any] = {}

    def visit(name: str | bytes, item: Any) -> None:
        if isinstance(name, bytes):  # not in UTF-8
            name = name.decode("utf-8", "replace")
        hidden = name.startswith("#") or "MATLAB_sparse" in item.parent.attrs
        if isinstance(item, h5py.Dataset) and not hidden:
            names[name] = item

    file.visititems(visit)
    return names


def _is_numeric(data: Any) -> bool:
    if _text(data.attrs, "MATLAB_class") in _NO_NUMBERS:
        return False
    dtype = data.dtype
    if dtype.names == ("real", "imag"):
        return dtype["real"] == dtype["imag"] and dtype["real"].kind == "f"
    return dtype.kind in NUMBERS


def _kind(data: Any) -> str:
    return _text(data.attrs, "MATLAB_class") or str(data.dtype)


def _complex_kind(dtype: np.dtype) -> np.dtype:
    return np.dtype(np.complex64 if dtype["real"].itemsize <= 4 else np.complex128)


def _attributes(data: Any) -> dict[str, Any]:
    """Those that can be read."""
    out = {}
    for name in data.attrs:
        if name not in ("DIMENSION_LIST", "REFERENCE_LIST"):
            with contextlib.suppress(OSError, TypeError, RuntimeError, KeyError, ValueError):
                out[name] = data.attrs[name]
    return out


def _text(attributes: Any, name: str) -> str:
    try:
        value = attributes.get(name, b"")
    except (OSError, TypeError, RuntimeError, ValueError):
        return ""
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.ravel()[0]
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _is_scale(data: Any) -> bool:
    return _text(data.attrs, "CLASS") == "DIMENSION_SCALE"


def _coordinate_names(numbers: dict[str, Any]) -> set[str]:
    """The datasets that only say where the others are."""
    names = {name for name, data in numbers.items() if _is_scale(data)}
    for name, data in numbers.items():
        folder = name.rpartition("/")[0]
        for key in _NAMING:
            for word in _text(data.attrs, key).split():
                names.add(f"{folder}/{word}" if folder else word)
    return names


def _scales(file: Any, names: dict[str, Any], data: Any) -> dict[int, Any]:
    """The dimension scales of a dataset by its axes.

    The scales tell whose they are. The dataset tells it, too, but the library that reads that ends
    in a crash or never, where a file is damaged.
    """
    out: dict[int, Any] = {}
    for scale in filter(_is_scale, names.values()):
        with contextlib.suppress(OSError, RuntimeError, KeyError, ValueError, TypeError):
            for reference, axis in scale.attrs.get("REFERENCE_LIST", ()):
                if file[reference] == data:
                    out.setdefault(int(axis), scale)
    return out


def _labels(data: Any) -> list[str]:
    """What the axes of a dataset are called beside their scales; "" without a name."""
    with contextlib.suppress(OSError, RuntimeError, KeyError, ValueError, TypeError):
        given = np.ravel(data.attrs.get("DIMENSION_LABELS", ()))
        if len(given) == data.ndim:
            words = [w.decode("utf-8", "replace") if isinstance(w, bytes) else w for w in given]
            return [word if isinstance(word, str) else "" for word in words]
    return [""] * data.ndim


def _modes(scales: dict[int, Any], data: Any) -> tuple[Mode, ...] | None:
    shape = tuple(map(int, data.shape))
    names: list[str | None] = [label or None for label in _labels(data)]
    for axis, scale in scales.items():
        if axis < len(shape):
            names[axis] = str(scale.name).rpartition("/")[2]

    def coordinate(axis: int) -> tuple[Any, dict[str, Any]] | None:
        scale = scales.get(axis)
        if scale is None or _text(scale.attrs, "NAME").encode().startswith(_NO_VARIABLE):
            return None
        with contextlib.suppress(OSError, RuntimeError, ValueError, TypeError):
            if scale.shape == (shape[axis],) and not scale.external and not scale.is_virtual:
                return scale[()], _attributes(scale)
        return None

    return modes_of_axes(names, shape, coordinate)
