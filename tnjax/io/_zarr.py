"""Arrays of Zarr folders, formats 2 and 3."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from .._errors import ReadError
from ._axes import modes_of_axes
from ._checks import choose
from ._packing import packing_of
from ._tensor_file import NUMBERS, TensorFile, load_module

ZARR_SUFFIX = ".zarr"

# What Zarr may run on the data; its registry also knows a codec that executes what it reads.
_CODECS = {
    *("blosc", "zstd", "gzip", "zlib", "bz2", "lzma", "lz4", "shuffle", "delta", "bitround"),
    *("fixedscaleoffset", "quantize", "packbits", "astype", "crc32", "crc32c", "adler32"),
    *("fletcher32", "bytes", "transpose", "sharding_indexed"),
}


class ZarrFile(TensorFile):
    """An array of a Zarr folder, format 2 or 3."""

    def __init__(self, path: Path, variable: str | None):
        self.path = path
        zarr = load_module("zarr", path)
        _check_codecs(path)
        try:
            node = zarr.open(path, mode="r")
        except Exception as error:  # on damaged files the library raises almost anything
            raise ReadError(path, f"damaged, or not a Zarr folder ({error}).") from error
        arrays: dict[str, Any] = {}
        if isinstance(node, zarr.Group):
            arrays = dict(node.arrays())
            about = _coordinate_names(arrays)
            offered = {n: a for n, a in arrays.items() if n not in about} or arrays
            node = arrays[choose(path, offered if variable is None else arrays, variable)]
        dtype = np.dtype(node.dtype)
        if dtype.kind not in NUMBERS:
            raise ReadError(path, f"expected an array of numbers, got {dtype}.")
        self._array: Any = node
        self.shape, self.dtype = tuple(map(int, node.shape)), dtype.newbyteorder("=")
        self._chunk = int(node.chunks[0]) if node.chunks else 1
        try:
            self._packing = packing_of(_attributes(node), dtype)
        except ValueError as error:
            raise ReadError(path, f"{error}.") from error
        if self._packing is not None:
            self.dtype, self.notes = self._packing.dtype, self._packing.notes
        names = _dimensions(node) or (None,) * len(self.shape)

        def coordinate(axis: int) -> tuple[Any, dict[str, Any]] | None:
            found = arrays.get(names[axis] or "")
            if found is None or found.shape != (self.shape[axis],):
                return None
            with contextlib.suppress(Exception):  # a damaged one gives no labels
                return np.asarray(found[:]), _attributes(found)
            return None

        if len(names) == len(self.shape):
            self.modes = modes_of_axes(names, self.shape, coordinate)

    def _aligned(self, rows: int) -> int:
        return rows - rows % self._chunk if rows >= self._chunk else rows

    @contextlib.contextmanager
    def _opened(self):
        def read(first: int, last: int) -> np.ndarray:
            try:
                part = np.asarray(self._array[first:last])
            except Exception as error:
                raise ReadError(self.path, f"damaged ({error}).") from error
            if self._packing is not None:
                return self._packing.decode(part)
            return part.astype(self.dtype, copy=False)

        yield read


def _dimensions(node: Any) -> tuple[str | None, ...] | None:
    """Names of the axes, as format 3 keeps them, or as xarray does in format 2."""
    names = getattr(node.metadata, "dimension_names", None)
    if names is None:
        names = node.attrs.get("_ARRAY_DIMENSIONS")
    if not isinstance(names, (list, tuple)):
        return None
    return tuple(name if isinstance(name, str) else None for name in names)


def _attributes(node: Any) -> dict[str, Any]:
    """What says how numbers are packed. In format 2 xarray keeps `_FillValue` as the array's own
    fill value, which in arrays of others (0, mostly) is a number as any other."""
    found = dict(node.attrs)
    if node.metadata.zarr_format == 2 and "_ARRAY_DIMENSIONS" in found:
        found.setdefault("_FillValue", node.metadata.fill_value)
    return found


def _coordinate_names(arrays: dict[str, Any]) -> set[str]:
    """The arrays that only say where the others are."""
    names = {name for name, array in arrays.items() if _dimensions(array) == (name,)}
    for array in arrays.values():
        for key in ("coordinates", "bounds", "climatology", "grid_mapping"):
            names |= set(str(array.attrs.get(key, "")).split())
    return names


def _check_codecs(path: Path) -> None:
    """Refuse what would be run on the data if it is not known to be harmless."""
    for name in (".zarray", "zarr.json"):
        for file in sorted(path.rglob(name)):
            try:
                found = json.loads(file.read_text(encoding="utf-8"))
            except (ValueError, RecursionError) as error:
                raise ReadError(file, f"damaged ({error}).") from error
            if not isinstance(found, dict):
                raise ReadError(file, "damaged (not an object).")
            chain = [found.get(key) for key in ("filters", "compressor", "codecs")]
            for codec in _codecs(chain):
                word = codec.removeprefix("numcodecs.")
                if word not in _CODECS:
                    raise ReadError(file, f"the codec {codec!r} is not one that is read.")


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
