"""Sparse arrays as SciPy and PyData's `sparse` write them to `.npz`."""

import io
import zipfile
from collections.abc import Set
from pathlib import Path

import numpy as np

from ._npy import npz_members, read_member

_LONGEST_WORD = 1024  # bytes of an array that holds one word


def is_sparse(names: Set[str]) -> bool:
    """Whether the arrays of these names are those of a sparse array."""
    return {"data", "shape"} <= names and ("format" in names or "fill_value" in names)


def read_sparse(
    path: Path, archive: zipfile.ZipFile, limit: int
) -> tuple[np.ndarray, np.ndarray, tuple[int, ...]]:
    """Indices [entries, modes], values and shape.

    Raises:
        ValueError: for a layout other than coordinates and compressed rows or columns, a fill value
            that is not zero, and arrays that do not fit each other; on damaged files almost
            anything.
    """
    members = npz_members(archive)
    read = lambda name: read_member(path, archive, members[name], limit)
    shape, values = tuple(map(int, read("shape").ravel())), read("data")
    layout = _word(archive, members["format"]) if "format" in members else "coo"
    if "fill_value" in members and np.any(read("fill_value") != 0):
        raise ValueError("its fill value is not zero")
    if "coords" in members:
        return _whole(read("coords")).T, values, shape
    if layout == "coo" and {"row", "col"} <= set(members):
        return np.stack([_whole(read("row")), _whole(read("col"))], axis=1), values, shape
    if layout not in ("csr", "csc") or not {"indices", "indptr"} <= set(members):
        raise ValueError(f"sparse arrays of the layout {layout!r} are not read; save it .tocoo()")
    starts, minor = _whole(read("indptr")), _whole(read("indices"))
    counts = np.diff(starts)
    if starts.ndim != 1 or not len(starts) or starts[0] or np.any(counts < 0):
        raise ValueError("its rows do not begin one after another")
    if starts[-1] != len(minor):
        raise ValueError(f"its rows end at {starts[-1]}, but there are {len(minor)} entries")
    major = np.repeat(np.arange(len(counts)), counts)
    both = (major, minor) if layout == "csr" else (minor, major)
    return np.stack(both, axis=1), values, shape


def _whole(array: np.ndarray) -> np.ndarray:
    if array.dtype.kind not in "iu":
        raise ValueError(f"its indices must be integers, got {array.dtype}")
    return array.astype(np.int64)


def _word(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> str:
    if info.file_size > _LONGEST_WORD:
        raise ValueError("its format is no word")
    word = np.load(io.BytesIO(archive.read(info)), allow_pickle=False)
    found = word.item() if word.size == 1 and word.dtype.kind in "SU" else ""
    return found.decode("latin1") if isinstance(found, bytes) else str(found)
