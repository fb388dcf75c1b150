"""Checks of indices and of folders of entries."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .._errors import ReadError


def check_indices(
    indices: np.ndarray, shape: Sequence[int], error: Callable[[str], ValueError]
) -> None:
    """Raise the error that is made of the reason unless all indices, [entries, order], are inside
    the shape."""
    if indices.ndim != 2 or indices.shape[1] != len(shape):
        raise error(
            f"the indices have the shape {list(indices.shape)}, but the tensor has "
            f"{len(shape)} modes: {in_brackets(shape)}."
        )
    if not len(indices):
        return
    outside = (indices < 0) | (indices >= np.asarray(shape))
    if outside.any():
        row = int(np.argmax(outside.any(axis=1)))
        raise error(
            f"entry {row} has the indices {in_brackets(indices[row])} (from 0), outside of "
            f"the shape {in_brackets(shape)}."
        )


def check_folder(path: Path) -> bool:
    """Raise `ValueError` unless it holds entries."""
    missing = [n for n in ("indices.npy", "values.npy") if not (path / n).is_file()]
    if missing:
        raise ReadError(
            path,
            f"expected a file, or a folder of entries with indices.npy and values.npy; "
            f"{' and '.join(missing)} is not there.",
        )
    if (path / "weights.npy").exists():
        raise ReadError(path, "entries in a folder have no weights; give them in an .npz file.")
    return True


def in_brackets(numbers: Iterable[Any]) -> str:
    return "(" + ", ".join(f"{float(n):.16g}" for n in numbers) + ")"
