"""Checked coordinates and values, splits by key, and offsets."""

import dataclasses
import itertools
import math
import warnings
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, PRNGKeyArray

from .._tracing import traced
from .._tuned import tuned
from ._dtypes import computed
from ._losses import Loss, on_host

Duplicates = Literal["refuse", "sum", "mean", "keep"]


@dataclasses.dataclass(frozen=True)
class OffsetFit:
    """Means and biases of a completion.

    Attributes:
        shrinkage: pseudo-observations at zero that hold back the bias of a row with few values.
        sweeps: sweeps of coordinate descent.
    """

    shrinkage: float = 3.0
    sweeps: int = 30


OFFSETS = tuned("offsets", OffsetFit())


class Entries(NamedTuple):
    """Observed entries, on the host unless they are traced: indices [entries, modes], values and
    weights [entries]."""

    indices: Any
    values: Any
    weights: Any

    def take(self, rows: Any) -> "Entries":
        return Entries(*(part[rows] for part in self))


def checked_entries(
    indices: Any, values: Any, shape: Sequence[int], weights: Any, duplicates: Duplicates
) -> Entries:
    """The entries of a tensor of `shape`, sorted out.

    Raises:
        ValueError: if there is none, arrays do not fit each other or the shape, an index is not
            an integer in range, a value is not a finite number, a weight is negative, or an
            entry is given twice and `duplicates` is "refuse".
    """
    shape = tuple(int(n) for n in shape)
    if not shape or min(shape) < 1:
        raise ValueError(f"Completion: expected a shape of positive sizes, got {shape}.")
    indices, values = (x if traced(x) else np.asarray(x) for x in (indices, values))
    if values.dtype.kind in "iub":
        values = values.astype(jnp.zeros(()).dtype)
    if values.dtype.kind not in "fcV":
        raise ValueError(f"Completion: expected values that are numbers, got {values.dtype}.")
    values = computed(values, "Completion")
    count = values.size
    if not count:
        raise ValueError("Completion: no entry is observed; there is nothing to learn from.")
    if values.ndim != 1 or indices.shape != (count, len(shape)):
        raise ValueError(
            f"Completion: expected indices [entries, {len(shape)}] and values [entries], got "
            f"{list(indices.shape)} and {list(values.shape)}."
        )
    if indices.dtype.kind not in "iu":
        raise ValueError(f"Completion: indices must be integers, got {indices.dtype}.")
    real = jnp.finfo(jnp.asarray(values[:1]).dtype).dtype
    weights = np.ones(count, real) if weights is None else weights
    weights = weights if traced(weights) else np.asarray(weights)
    if not traced(indices):
        _check_range(indices, shape)
    if not traced(values):
        _check_finite(values)
    if weights.shape != (count,) or weights.dtype.kind not in "iubf":
        raise ValueError(
            f"Completion: expected one weight for each of {count} values, got {weights.dtype} "
            f"of shape {list(weights.shape)}."
        )
    if not traced(weights) and not (
        np.isfinite(weights).all() and (weights >= 0).all() and weights.any()
    ):
        raise ValueError("Completion: weights must be finite, 0 or more, and not all zero.")
    entries = Entries(
        indices.astype(np.int32, copy=False), values, weights.astype(real, copy=False)
    )
    return _without_duplicates(entries, shape, duplicates)


def _check_range(indices: np.ndarray, shape: tuple[int, ...]) -> None:
    bad = (indices < 0) | (indices >= np.asarray(shape))
    if bad.any():
        row, mode = (int(x) for x in np.argwhere(bad)[0])
        raise ValueError(
            f"Completion: indices[{row}, {mode}] = {indices[row, mode]} is outside "
            f"0..{shape[mode] - 1}, the range of mode {mode} (indices count from 0)."
        )


def _check_finite(values: np.ndarray) -> None:
    wrong = values.size - int(np.isfinite(values).sum())
    if wrong:
        raise ValueError(
            f"Completion: {wrong} of {values.size} values are NaN or infinite. Leave out what is "
            "missing."
        )


def checked_mask(tensor: Any, mask: Any) -> tuple[Any, Any]:
    """The tensor and its booleans, by default where it is not NaN; never where it is masked.

    Raises:
        ValueError: if the mask has another shape or is not boolean.
    """
    if traced(tensor, mask):
        return _traced_mask(tensor, mask)
    hidden = np.ma.getmaskarray(tensor) if np.ma.isMaskedArray(tensor) else None
    tensor = np.asarray(tensor)
    if tensor.dtype.kind in "fcV":
        tensor = computed(tensor, "Completion")
    if mask is None:
        if tensor.dtype.kind not in "fciub":
            raise ValueError(f"Completion: expected a tensor of numbers, got {tensor.dtype}.")
        mask = ~np.isnan(tensor)
    mask = np.asarray(mask)
    if mask.shape != tensor.shape or mask.dtype != bool:
        raise ValueError(
            f"Completion: expected a boolean mask of shape {tensor.shape}, got {mask.dtype} "
            f"of shape {mask.shape}."
        )
    return tensor, mask if hidden is None else mask & ~hidden


def _traced_mask(tensor, mask):
    """The same where one of them is traced."""
    tensor = jnp.asarray(tensor)
    if mask is None:
        mask = ~jnp.isnan(tensor)
    mask = mask if traced(mask) else np.asarray(mask)
    if mask.shape != tensor.shape or mask.dtype != bool:
        raise ValueError(
            f"Completion: expected a boolean mask of shape {tensor.shape}, got {mask.dtype} "
            f"of shape {mask.shape}."
        )
    return tensor, mask


def entry_keys(indices: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Integers that are equal for equal rows of indices and only for them."""
    keys, seen = np.zeros(len(indices), np.int64), 1
    for mode, dim in enumerate(shape):
        if seen * dim >= 2**62:
            keys = np.unique(keys, return_inverse=True)[1].ravel()
            seen = len(keys)
        keys, seen = keys * dim + indices[:, mode], seen * dim
    return keys


def _without_duplicates(
    entries: Entries, shape: tuple[int, ...], duplicates: Duplicates
) -> Entries:
    if duplicates not in ("refuse", "sum", "mean", "keep"):
        raise ValueError(
            f'Completion: duplicates={duplicates!r}; expected "refuse", "sum", "mean" or "keep".'
        )
    if duplicates in ("sum", "mean") and traced(entries):
        raise ValueError(
            f'Completion: duplicates="{duplicates}" merges entries, which cannot be done in a '
            'trace; merge them before, or pass duplicates="keep".'
        )
    if duplicates == "keep" or traced(entries.indices):
        return entries
    indices, values, weights = entries
    keys = entry_keys(indices, shape)
    order = np.argsort(keys, kind="stable")
    new = np.ones(len(order), bool)
    new[1:] = np.diff(keys[order]) > 0
    if new.all():
        return entries
    if duplicates == "refuse":
        again = int(order[np.flatnonzero(~new)[0]])
        raise ValueError(
            f"Completion: {int((~new).sum())} entries are given more than once, for example "
            f'{tuple(int(i) for i in indices[again])}. Pass duplicates="sum" or "mean" to merge '
            'them, or "keep".'
        )
    starts = np.flatnonzero(new)
    first = order[starts]
    if duplicates == "sum":
        merged = np.add.reduceat(values[order], starts)
        total = np.maximum.reduceat(weights[order], starts)
    else:
        total = np.add.reduceat(weights[order], starts)
        merged = np.add.reduceat((weights * values)[order], starts) / np.where(total, total, 1)
    back = np.argsort(first)  # in the order in which entries first appear
    return Entries(indices[first][back], merged[back].astype(values.dtype), total[back])


def split_entries(count: int, shares: Sequence[float], *, key: PRNGKeyArray) -> list[np.ndarray]:
    """Numbers of entries, shuffled by a key and dealt out by shares.

    Args:
        count: of entries.
        shares: of the parts, e.g. (0.8, 0.1, 0.1) for training, validation and test.
        key: the same key gives the same split.

    Returns:
        for each share the numbers 0..count-1 that fell to it, ascending; together all of them.

    Raises:
        ValueError: if a share is negative, they do not sum to 1, or a positive one gets no entry.

    Example:
        >>> import jax
        >>> from tnjax import split_entries
        >>> [len(part) for part in split_entries(10, (0.8, 0.2), key=jax.random.key(0))]
        [8, 2]
    """
    shares = [float(share) for share in shares]
    if not shares or min(shares) < 0 or abs(sum(shares) - 1) > 1e-6:
        raise ValueError(f"split_entries: expected shares that sum to 1, got {shares}.")
    ends = np.round(np.cumsum([0.0, *shares]) * count).astype(int)
    if any(share > 0 and b <= a for share, a, b in zip(shares, ends[:-1], ends[1:], strict=True)):
        raise ValueError(f"split_entries: {count} entries are too few for the shares {shares}.")
    seed = np.asarray(jax.random.key_data(key)).ravel()
    order = np.random.default_rng(seed).permutation(count)
    return [np.sort(order[a:b]) for a, b in itertools.pairwise(ends)]


def warn_unseen(indices: np.ndarray, shape: tuple[int, ...], what: str) -> None:
    """Say, in one line, which slices have no observed entry."""
    found = []
    for mode, dim in enumerate(shape):
        unseen = np.flatnonzero(np.bincount(indices[:, mode], minlength=dim) == 0)
        if len(unseen):
            some = ", ".join(map(str, unseen[:5])) + (", ..." if len(unseen) > 5 else "")
            found.append(f"{len(unseen)} of {dim} in mode {mode} ({some})")
    if found:
        warnings.warn(
            f"Slices without an observed entry: {'; '.join(found)}. There {what} is predicted.",
            stacklevel=3,
        )


class Offsets(NamedTuple):
    """A mean and one bias for each index of each mode, added to what the network predicts."""

    mean: np.ndarray
    biases: tuple[np.ndarray, ...]

    def at(self, indices: np.ndarray) -> Any:
        """Their sum at some entries."""
        if traced(self):
            parts = [jnp.asarray(bias)[indices[:, mode]] for mode, bias in enumerate(self.biases)]
            return sum(parts, start=jnp.full(len(indices), self.mean))
        total = np.full(len(indices), float(self.mean))
        for mode, bias in enumerate(self.biases):
            total += bias[indices[:, mode]]
        return total


def fit_offsets(entries: Entries, shape: tuple[int, ...], loss: Loss, kind: str) -> Offsets:
    """The mean ("mean"), and with "modes" the biases, that make a loss small.

    Coordinate descent on the loss's parabolas; a bias is held back as if three more entries of
    its row had none. Rows without an entry have the bias 0.
    """
    if kind not in ("mean", "modes"):
        raise ValueError(f'Completion: offsets={kind!r}; expected None, "mean" or "modes".')
    indices, values, weights = entries
    if np.iscomplexobj(values):
        raise ValueError("Completion: offsets are for real values.")
    prediction, mean = np.zeros(len(values)), 0.0
    biases = [np.zeros(dim) for dim in shape]
    shrinkage = OFFSETS().shrinkage * weights.mean()

    def slope() -> tuple[np.ndarray, np.ndarray]:
        known = np.asarray(values, prediction.dtype)
        of = lambda function: weights * on_host(function, prediction, known)
        return of(loss.gradient), of(loss.weight)

    for _ in range(OFFSETS().sweeps):
        gradient, curvature = slope()
        step = -gradient.sum() / curvature.sum()
        mean, prediction = mean + step, prediction + step
        for mode, dim in enumerate(shape if kind == "modes" else ()):
            gradient, curvature = slope()
            rows = indices[:, mode]
            held = shrinkage * curvature.sum() / weights.sum()
            down = np.bincount(rows, gradient, dim) + held * biases[mode]
            step = -down / (np.bincount(rows, curvature, dim) + held)
            biases[mode] += step
            prediction = prediction + step[rows]
    return Offsets(np.asarray(mean), tuple(biases) if kind == "modes" else ())


def split_held_out(
    entries: Entries,
    validation: float | Sequence[int] | np.ndarray | None,
    key: Any,
    what: str = "Completion",
    each: str = "entries",
) -> tuple[Entries, Entries | None]:
    """Training and held-out entries; of a share, none that is the only one of its slice."""
    if validation is None:
        return entries, None
    count = len(entries.values)
    if isinstance(validation, (int, float)):
        if not 0 < validation < 1:
            raise ValueError(
                f"{what}: validation={validation!r}; expected a share between 0 and 1."
            )
        if key is None:
            raise ValueError(f"{what}: a validation share needs `key=jax.random.key(seed)`.")
        if traced(key):
            raise ValueError(
                f"{what}: a traced key cannot draw the {each} to hold out; pass their numbers."
            )
        _, held = split_entries(count, (1 - validation, validation), key=key)
        if not traced(entries.indices):
            held = leaving_one_each(entries.indices, held, key)
        if not len(held):
            raise ValueError(
                f"{what}: validation={validation!r} cannot be held out: each of the {count} "
                "entries is the only one of its slice along some mode. Learn without validation."
            )
    else:
        held = np.asarray(validation)
        fits = held.ndim == 1 and held.dtype.kind in "iu" and held.size
        if not fits or (held < 0).any() or (held >= count).any() or len(np.unique(held)) == count:
            raise ValueError(
                f"{what}: validation must name some, not all, of the {each} 0..{count - 1}."
            )
    rest = np.ones(count, bool)
    rest[held] = False
    for part, where in ((rest, "left for training"), (~rest, "held out")):
        if not traced(entries.weights) and not entries.weights[part].any():
            raise ValueError(f"{what}: none of the {each} that are {where} has a positive weight.")
    return entries.take(rest), entries.take(~rest)


def leaving_one_each(indices: np.ndarray, held: np.ndarray, key: PRNGKeyArray) -> np.ndarray:
    """The numbers of the held-out entries, exchanged where they would empty a slice along a mode:
    of which nothing could be learned then. Fewer, where there are no others to exchange."""
    rest = np.ones(len(indices), bool)
    rest[held] = False
    columns, missed = indices.T, 0
    for column in columns:
        seen = np.bincount(column[rest], minlength=int(column.max()) + 1) > 0
        lost = np.flatnonzero(~rest & ~seen[column])
        first = lost[np.unique(column[lost], return_index=True)[1]]
        rest[first] = True
        missed += len(first)
    if missed:
        seed = np.asarray(jax.random.key_data(key)).ravel()
        order = np.random.default_rng([*seed, 1]).permutation(np.flatnonzero(rest))
        free = np.ones(len(order), bool)
        for column in columns:  # the first of each slice stays
            free[np.unique(column[order], return_index=True)[1]] = False
        rest[order[free][:missed]] = False
    return np.flatnonzero(~rest)


def split_folds(entries: int, count: int, key: PRNGKeyArray) -> np.ndarray:
    """Numbers of the entries of `count` folds of equal size, [count, size]."""
    if not 2 <= count <= entries:
        raise ValueError(
            f"Completion: expected 2 to {entries} folds of {entries} entries, got {count}."
        )
    seed = np.asarray(jax.random.key_data(key)).ravel()
    order = np.random.default_rng(seed).permutation(entries)
    return order[: entries // count * count].reshape(count, -1)


def traced_root_mean_square(values: Array | np.ndarray, weights: Array | np.ndarray) -> Array:
    """The same in a trace."""
    size = jnp.abs(values)
    largest = lax.stop_gradient(size.max())
    square = jnp.square(size / largest)
    return largest * jnp.sqrt(jnp.sum(weights * square) / jnp.sum(weights))


def root_mean_square(values: np.ndarray, weights: np.ndarray) -> float:
    """The weighted root mean square, without overflow on the way."""
    largest = float(np.abs(values).max())
    if largest == 0:
        return 0.0
    square = np.abs(values / largest).astype(np.float64) ** 2
    return largest * math.sqrt(float(np.average(square, weights=weights)))


def check_ridge(ridge: float | str, what: str = "Completion") -> None:
    """Raise `ValueError` unless it is a finite number of 0 or more."""
    if isinstance(ridge, str) or not np.isfinite(ridge) or ridge < 0:
        raise ValueError(f"{what}: ridge must be 0 or more, got {ridge!r}.")
