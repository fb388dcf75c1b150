"""Errors of the slices along each mode: an error of the whole says little of small slices."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from ..io import Mode
from .sections import Table

# Rows for each mode; of longer modes those slices with the largest errors.
_ROWS = 20


@dataclasses.dataclass(frozen=True)
class SliceSums:
    """Sums over the entries of each slice along one mode, all of shape [slices].

    Attributes:
        entries: their number.
        values: squared sizes of the values, over `unit` squared.
        missed: squared sizes of the differences, over `unit` squared.
        unit: largest value of all, so that no square overflows.
    """

    entries: np.ndarray
    values: np.ndarray
    missed: np.ndarray
    unit: float

    @property
    def size(self) -> np.ndarray:
        """Root mean square of the values; NaN of an empty slice."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return self.unit * np.sqrt(self.values / self.entries)

    @property
    def error(self) -> np.ndarray:
        """Relative error, not squared; NaN of a slice of zeros or without entries."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(self.values > 0, np.sqrt(self.missed / self.values), np.nan)


def dense_sums(guess: np.ndarray, tensor: np.ndarray) -> tuple[SliceSums, ...]:
    """For each mode, of a tensor and what stands for it."""
    unit = _unit(tensor)
    values, missed = _squares(tensor / unit), _squares(guess / unit - tensor / unit)
    found = []
    for mode, count in enumerate(tensor.shape):
        axes = tuple(k for k in range(tensor.ndim) if k != mode)
        entries = np.full(count, tensor.size // count)
        found.append(SliceSums(entries, values.sum(axes), missed.sum(axes), unit))
    return tuple(found)


def entry_sums(
    indices: np.ndarray, guess: np.ndarray, values: np.ndarray, dims: Sequence[int]
) -> tuple[SliceSums, ...]:
    """For each mode, of entries [entries, modes] and what is predicted there."""
    unit = _unit(values)
    squares, misses = _squares(values / unit), _squares(guess / unit - values / unit)
    found = []
    for mode, count in enumerate(dims):
        places = indices[:, mode]
        entries = np.bincount(places, minlength=count)
        held = np.bincount(places, weights=squares, minlength=count)
        missed = np.bincount(places, weights=misses, minlength=count)
        found.append(SliceSums(entries, held, missed, unit))
    return tuple(found)


def slice_table(
    parts: Mapping[str, Sequence[SliceSums]], modes: Sequence[Mode] | None = None
) -> Table:
    """The errors of the slices along each mode.

    Args:
        parts: of each set of entries, the sums along each mode; the first set gives the sizes.
        modes: names and labels, if there are some.
    """
    first = next(iter(parts.values()))
    rows, cut = [], False
    for mode, sums in enumerate(first):
        name = str(mode) if modes is None else modes[mode].name
        labels = range(len(sums.entries)) if modes is None else modes[mode].labels
        errors = [part[mode].error for part in parts.values()]
        shown = _largest(errors)
        cut |= len(shown) < len(sums.entries)
        rows += [
            (name, str(labels[k]), _number(sums.size[k]), *(_number(error[k]) for error in errors))
            for k in shown
        ]
    note = "Relative, not squared: of each slice against its own size (the root mean square)."
    if cut:
        note += f" Of longer modes the {_ROWS} slices with the largest errors."
    return Table("Errors of slices", ("mode", "slice", "size", *parts), rows, note)


def _largest(errors: Sequence[np.ndarray]) -> list[int]:
    """The slices to show, in their order."""
    order = np.argsort(-np.nan_to_num(np.stack(errors), nan=-1.0).max(0), kind="stable")
    return sorted(int(k) for k in order[:_ROWS])


def _unit(values: np.ndarray) -> float:
    return float(np.abs(values).max(initial=0.0)) or 1.0


def _squares(values: np.ndarray) -> np.ndarray:
    return np.square(np.abs(values).astype(np.float64))


def _number(value: np.floating) -> float | None:
    return float(value) if np.isfinite(value) else None
