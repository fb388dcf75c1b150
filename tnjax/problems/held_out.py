"""Which observed entries to hold out, so that they are like the missing ones.

A fiber fixes the indices of some modes and holds all entries along the others. Where missing
entries lie in fibers of which nothing is observed, single entries that are held out say nothing
about them: their own fiber is seen. Whole fibers are held out then.
"""

import dataclasses
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import PRNGKeyArray

from .._tuned import tuned
from .coordinates import entry_keys, leaving_one_each, split_entries


@dataclasses.dataclass(frozen=True)
class HoldingOut:
    """What is held out, and how it is found to be like what is missing.

    Attributes:
        share: of the observed entries that is held out.
        known: of fewer of all cells nothing is said about the others (ratings): single entries
            are held out, unless the entries to predict are given.
        telling: part of the missing entries that must lie in unseen fibers, beyond what a single
            entry that is held out meets by chance.
        most_cells: cells up to which all missing entries are looked at; of more a sample.
        sample: missing entries that are looked at, at most.
        most_kinds: kinds of fibers (sets of modes) that are looked at.
        runs: how many times longer than by chance unseen fibers must follow each other along a
            mode for runs of them to be held out.
        least: smaller shares are left out, and not spoken of.
        longest: no run is longer than this part of its mode.
    """

    share: float = 0.1
    known: float = 0.05
    telling: float = 0.05
    most_cells: int = 2 * 10**7
    sample: int = 200_000
    most_kinds: int = 60
    runs: float = 1.5
    least: float = 0.02
    longest: float = 0.25


HOLDING = tuned("held_out", HoldingOut())

# Fibers are numbered by 64-bit integers.
_MOST_KEYS = 2**62


class Fibers(NamedTuple):
    """A kind of fibers that is held out whole.

    Attributes:
        modes: whose indices are fixed.
        free: the other modes; a fiber holds all entries along them (none: single entries, in runs).
        share: of the held-out entries.
        runs: for modes along which missing fibers follow each other: the lengths of these runs.
    """

    modes: tuple[int, ...]
    free: tuple[int, ...]
    share: float
    runs: dict[int, np.ndarray]

    def describe(self, name: Callable[[int], str]) -> str:
        """What is held out together, in words."""
        text = "single entries"
        if self.free:
            text = f"all entries along {' and '.join(map(name, self.free))} together"
        about = lambda lengths: round(float(np.mean(lengths)))
        runs = [f"about {about(lengths)} along {name(mode)}" for mode, lengths in self.runs.items()]
        return text + (f", in runs of {' by '.join(runs)}" if runs else "")


class HeldOut(NamedTuple):
    """What is held out, and why.

    Attributes:
        numbers: of the entries, ascending.
        fibers: the kinds of fibers; what they leave are single entries.
        unseen: share of the entries to predict in slices of which nothing is observed.
        where: modes of such slices.

    Example:
        >>> import numpy as np, jax
        >>> from tnjax import held_out_like
        >>> seen = np.random.default_rng(0).random((20, 30, 1)) < 0.6
        >>> indices = np.argwhere(np.broadcast_to(seen, (20, 30, 8)))
        >>> found = held_out_like(indices, (20, 30, 8), key=jax.random.key(0))
        >>> found.describe(("place", "day", "hour"))
        'all entries along hour together'
    """

    numbers: np.ndarray
    fibers: tuple[Fibers, ...]
    unseen: float
    where: tuple[int, ...]

    def describe(self, names: Sequence[str] | None = None) -> str:
        """What is held out, in words.

        Args:
            names: of the modes; their numbers by default.
        """
        name = lambda mode: f"mode {mode}" if names is None else str(names[mode])
        parts = [(kind.share, kind.describe(name)) for kind in self.fibers]
        single = 1 - sum(kind.share for kind in self.fibers)
        if single > HOLDING().least or not parts:
            parts.append((single, "single entries"))
        if len(parts) == 1:
            return parts[0][1]
        return "; ".join(f"{100 * share:.0f} % {text}" for share, text in parts)

    def warning(self, names: Sequence[str] | None = None) -> str | None:
        """What to know of entries to predict that nothing tells of, or None."""
        if self.unseen < HOLDING().least:
            return None
        name = lambda mode: f"mode {mode}" if names is None else str(names[mode])
        return (
            f"{100 * self.unseen:.3g} % of the entries to predict lie in slices of "
            f"{', '.join(map(name, self.where))} of which nothing is observed: nothing but offsets "
            "and smoothness tells about them, and no held-out entry is like them."
        )


def held_out_like(
    indices: np.ndarray,
    shape: Sequence[int],
    *,
    key: PRNGKeyArray,
    share: float | None = None,
    predict: np.ndarray | None = None,
    ordered: Sequence[int] = (),
) -> HeldOut:
    """Choose entries to hold out that are like the missing ones.

    For every set of modes it is asked how many of the missing entries lie in fibers of which
    nothing is observed, beyond what single entries that are held out would meet by chance. Kinds
    of fibers that hold a good part of the missing entries are held out in the same shares, the
    coarsest first; where missing fibers follow each other along a mode, in such runs. What no kind
    holds are single entries. No slice loses all of its entries (but those of `ordered` modes).

    Args:
        indices: observed entries, integers [entries, modes].
        shape: of the tensor.
        key: `jax.random.key(seed)`.
        share: of the observed entries to hold out; a tenth by default.
        predict: the entries to predict [entries, modes], which count as the missing ones. By
            default all that is not observed, if at least a twentieth of the tensor is.
        ordered: modes along which the tensor is smooth: of their slices whole ones are held out as
            well, where whole ones are missing, since neighbors tell of them.

    Returns:
        The numbers of the entries, for `Completion(..., validation=...)`, and what they are.

    Raises:
        ValueError: for a share that is not between 0 and 1, or so few entries that none can be
            held out.

    Example:
        >>> import numpy as np, jax
        >>> from tnjax import held_out_like
        >>> indices = np.argwhere(np.random.default_rng(0).random((9, 8, 7)) < 0.5)
        >>> held_out_like(indices, (9, 8, 7), key=jax.random.key(0)).describe()
        'single entries'
    """
    share = HOLDING().share if share is None else share
    if not 0 < share < 1:
        raise ValueError(f"held_out_like: share={share!r}; expected a share between 0 and 1.")
    shape, indices = tuple(int(n) for n in shape), np.asarray(indices)
    seed = np.asarray(jax.random.key_data(key)).ravel()
    rng = np.random.default_rng([*seed, 2])
    missing = _missing(indices, shape, predict, rng)
    unseen, where = _unseen(indices, shape, missing, ordered)
    fibers = _kinds(indices, shape, missing, share, ordered, rng)
    if fibers:
        held = _drawn(indices, shape, fibers, share, rng)
    else:
        _, held = split_entries(len(indices), (1 - share, share), key=key)
        held = leaving_one_each(indices, held, key)
    if not len(held):
        raise ValueError(
            f"held_out_like: none of the {len(indices)} entries can be held out, since that would "
            "empty a slice. Learn without validation."
        )
    return HeldOut(held, fibers, unseen, where)


def _missing(
    indices: np.ndarray,
    shape: tuple[int, ...],
    predict: np.ndarray | None,
    rng: np.random.Generator,
) -> np.ndarray:
    """Missing entries [entries, modes], a sample of many."""
    if predict is not None:
        predict = np.unique(np.asarray(predict), axis=0)
        first, second = _keys((predict, indices), range(len(shape)), shape)
        known = np.isin(first, second)
        missing = predict[~known]
    else:
        cells = math.prod(shape)
        if len(indices) < HOLDING().known * cells:
            return indices[:0]
        if cells <= HOLDING().most_cells:
            seen = np.zeros(cells, bool)
            seen[np.ravel_multi_index(tuple(indices.T), shape)] = True
            places = np.flatnonzero(~seen)
            return np.stack(np.unravel_index(places, shape), 1)
        drawn = np.stack([rng.integers(0, n, HOLDING().sample) for n in shape], 1)
        first, second = _keys((drawn, indices), range(len(shape)), shape)
        missing = drawn[~np.isin(first, second)]
    return missing


def _keys(parts: Sequence[np.ndarray], modes: Any, shape: Sequence[int]) -> list[np.ndarray]:
    """The fibers of several sets of entries, numbered alike."""
    modes = list(modes)
    keys = entry_keys(np.concatenate(parts)[:, modes], [shape[m] for m in modes])
    return np.split(keys, np.cumsum([len(part) for part in parts])[:-1])


def _unseen(
    indices: np.ndarray, shape: tuple[int, ...], missing: np.ndarray, ordered: Sequence[int]
) -> tuple[float, tuple[int, ...]]:
    """The share of missing entries in slices never seen, and the modes of these; not of ordered
    ones."""
    lost, where = np.zeros(len(missing), bool), []
    for mode in (m for m in range(len(shape)) if m not in ordered):
        here = np.bincount(indices[:, mode], minlength=shape[mode])[missing[:, mode]] == 0
        lost |= here
        where += [mode] if here.any() else []
    return float(lost.mean()) if len(lost) else 0.0, tuple(where)


def _kinds(
    indices: np.ndarray,
    shape: tuple[int, ...],
    missing: np.ndarray,
    share: float,
    ordered: Sequence[int],
    rng: np.random.Generator,
) -> tuple[Fibers, ...]:
    """Kinds of fibers that missing entries lie in and single entries would not, coarsest first."""
    if not len(missing):
        return ()
    looked = missing
    if len(missing) > HOLDING().sample:
        looked = missing[rng.choice(len(missing), HOLDING().sample, replace=False)]
    left, found = np.ones(len(looked), bool), []
    for modes in _sets_of_modes(shape, ordered):
        here = left & _lost(indices, looked, modes, shape)
        if here.mean() < HOLDING().telling:
            continue
        counts = np.unique(_keys((indices,), modes, shape)[0], return_counts=True)[1]
        chance = float(np.sum(counts * share ** (counts - 1.0)) / len(indices))
        if here.mean() - chance < HOLDING().telling:
            continue
        left &= ~here
        found.append((modes, float(here.mean())))
    found.append((tuple(range(len(shape))), float(left.mean())))
    kinds = []
    for modes, part in found:
        free = tuple(m for m in range(len(shape)) if m not in modes)
        runs = _runs(indices, missing, modes, shape, rng)
        if free or runs:
            kinds.append(Fibers(modes, free, part, runs))
    return tuple(kind for kind in kinds if kind.share >= HOLDING().least)


def _lost(
    indices: np.ndarray, missing: np.ndarray, modes: Sequence[int], shape: tuple[int, ...]
) -> np.ndarray:
    """Which missing entries lie in a fiber of which nothing is observed."""
    wanted, seen = _keys((missing, indices), modes, shape)
    return ~np.isin(wanted, seen)


def _sets_of_modes(shape: tuple[int, ...], ordered: Sequence[int]) -> list[tuple[int, ...]]:
    """Modes whose indices a fiber fixes: those with the longest fibers first. Of single modes only
    ordered ones: of other slices that are not observed nothing that is held out can tell."""
    order = len(shape)
    sets: list[tuple[int, ...]] = [(mode,) for mode in ordered] if order > 1 else []
    for size in range(order - 1, 1, -1):
        more = list(itertools.combinations(range(order), size))
        if len(sets) + len(more) > HOLDING().most_kinds:
            break
        sets += more
    length = lambda modes: math.prod(n for m, n in enumerate(shape) if m not in modes)
    few = lambda modes: math.prod(shape[mode] for mode in modes) < _MOST_KEYS
    sets = [modes for modes in sets if length(modes) > 1 and few(modes)]
    return sorted(sets, key=lambda modes: (-length(modes), modes))


def _runs(
    indices: np.ndarray,
    missing: np.ndarray,
    modes: tuple[int, ...],
    shape: tuple[int, ...],
    rng: np.random.Generator,
) -> dict[int, np.ndarray]:
    """Lengths of the runs of missing fibers, along modes where they are longer than by chance."""
    dims = [shape[mode] for mode in modes]
    if math.prod(dims) > HOLDING().most_cells or len(missing) < 2:
        return {}
    gaps = np.zeros(dims, bool)
    missing = missing[_lost(indices, missing, modes, shape)]
    gaps[tuple(missing[:, modes].T)] = True
    found = {}
    for axis, mode in enumerate(modes):
        lengths = _lengths(gaps, axis)
        shuffled = np.take(gaps, rng.permutation(dims[axis]), axis)
        typical = lambda x: float(np.sum(x**2) / max(1, np.sum(x)))
        if typical(lengths) > HOLDING().runs * typical(_lengths(shuffled, axis)):
            most = max(2, int(HOLDING().longest * dims[axis]))
            found[mode] = np.minimum(lengths, most)
    return found


def _lengths(gaps: np.ndarray, axis: int) -> np.ndarray:
    """Lengths of the runs of true values along an axis."""
    lines = np.moveaxis(gaps, axis, -1).reshape(-1, gaps.shape[axis])
    padded = np.pad(lines, ((0, 0), (1, 1))).astype(np.int8)
    steps = np.diff(padded, axis=1).ravel()
    return np.flatnonzero(steps == -1) - np.flatnonzero(steps == 1)


def _drawn(
    indices: np.ndarray,
    shape: tuple[int, ...],
    fibers: tuple[Fibers, ...],
    share: float,
    rng: np.random.Generator,
) -> np.ndarray:
    """Entries of randomly chosen fibers of each kind, and single ones for what is left."""
    held, wanted = np.zeros(len(indices), bool), share * len(indices)
    left = [np.bincount(column, minlength=n) for column, n in zip(indices.T, shape, strict=True)]

    def hold(ids: np.ndarray, slices: Sequence[int] = ()) -> int:
        """Hold entries out, unless another slice than of the modes `slices` would lose its last
        ones; returns how many."""
        ids = ids[~held[ids]]
        lost = [np.unique(indices[ids, mode], return_counts=True) for mode in range(len(shape))]
        if not len(ids) or any(
            m not in slices and (left[m][k] <= n).any() for m, (k, n) in enumerate(lost)
        ):
            return 0
        held[ids] = True
        for mode, (places, counts) in enumerate(lost):
            left[mode][places] -= counts
        return len(ids)

    for kind in fibers:
        dims = [shape[mode] for mode in kind.modes]
        rows = indices[:, kind.modes]
        keys = entry_keys(rows, dims)
        order = np.argsort(keys, kind="stable")
        keys, quota = keys[order], kind.share * wanted
        for start in rng.permutation(len(rows)):
            if quota <= 0:
                break
            names = entry_keys(_block(rows[start], kind, dims, rng), dims)
            ends = zip(np.searchsorted(keys, names), np.searchsorted(keys, names, "right"))
            ids = np.concatenate([order[a:b] for a, b in ends])
            quota -= hold(ids, kind.modes if len(kind.modes) == 1 else ())
    single = (1 - sum(kind.share for kind in fibers)) * wanted
    for entry in rng.permutation(len(indices)) if round(single) else ():
        if single < 1:
            break
        single -= hold(np.asarray([entry]))
    return np.flatnonzero(held)


def _block(
    fiber: np.ndarray, kind: Fibers, dims: Sequence[int], rng: np.random.Generator
) -> np.ndarray:
    """A fiber, and those around it in a run of a length that missing ones have: [fibers, modes]."""
    ranges = []
    for place, mode, dim in zip(fiber, kind.modes, dims, strict=True):
        length = int(rng.choice(kind.runs[mode])) if mode in kind.runs else 1
        first = int(place) - int(rng.integers(length))
        ranges.append(range(max(0, first), min(dim, first + length)))
    return np.asarray(list(itertools.product(*ranges)), np.int64)
