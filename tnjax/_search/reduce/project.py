"""A tensor on disk projected as it is read: slab by slab, on bases that grow where they must."""

from typing import NamedTuple

import numpy as np

from ... import _interrupt
from ...contract.cost import MemoryLimitError, format_bytes
from ...problems.streamed import StreamedDecomposition, squared_norm
from ..spectra.unfoldings import SPECTRA, leading_basis


class Projected(NamedTuple):
    """A tensor on smaller bases.

    Attributes:
        core: the projected tensor, its modes in the order of the problem, double precision.
        factors: orthonormal columns [n_k, m_k] of each mode; None for one that was kept.
        lost: norm of what the projections left out.
        norm: of the whole tensor.
    """

    core: np.ndarray
    factors: tuple[np.ndarray | None, ...]
    lost: float
    norm: float


def project_slabs(problem: StreamedDecomposition, share: float) -> Projected:
    r"""Project all modes but the slowest while the tensor is read once.

    Each slab S goes through the modes one after another, the fastest first. What the basis U of a
    mode leaves, $S - U U^H S$, is computed as it stands, not as a difference of norms, which would
    be lost in single precision. Where it has more than its part of `share` of the slab's own norm,
    U gets its leading singular vectors; slabs read before have zeros there. Every slab, and so the
    tensor, loses at most `share` of its norm, or what rounding in its precision leaves.

    Args:
        problem: what is to be decomposed.
        share: of the norm that may be lost.

    Raises:
        ValueError: if an entry is NaN or infinite, or all are zero.
        MemoryLimitError: (a `ValueError`) if the tensor does not become small enough.
    """
    count = len(problem.shape) - problem.leading
    bases: list[np.ndarray | None] = [None] * count
    parts: list[np.ndarray] = []
    whole = dropped = 0.0
    held, first, limit = 0, 0, problem.plan.core_bytes
    for slab in problem.slabs():
        _interrupt.checkpoint()
        total = squared_norm(slab)
        if not np.isfinite(total):
            _complain(slab, first)
        least = (2 * np.finfo(slab.dtype).eps) ** 2  # what rounding alone leaves
        work, allowed = slab, max(share**2 / max(count, 1), least) * total
        for k in reversed(range(count)):
            work, bases[k], missed = _onto(work, k + 1, bases[k], allowed)
            dropped += missed
        # Without a mode to project, this is a view of a buffer that is read into again.
        parts.append(np.array(work) if work.base is not None or work is slab else work)
        whole, first = whole + total, first + len(slab)
        held += len(slab)
        size = held * int(np.prod([1 if u is None else u.shape[1] for u in bases]))
        if size * np.dtype(_wide(slab.dtype)).itemsize > limit:
            raise MemoryLimitError(
                f"After {held} of {problem.source.shape[-1 if problem.source.fortran else 0]} "
                f"slices the tensor, projected, needs more than the {format_bytes(limit)} that the "
                f"memory limit of {format_bytes(problem.memory_limit or 0)} leaves for it. Raise "
                "the limit or the target error: at this error its modes do not become small."
            )
    if whole == 0:
        raise ValueError("The tensor is zero everywhere, so a relative error has no meaning.")
    sizes = [0 if u is None else u.shape[1] for u in bases]
    core = np.zeros((held, *sizes), _wide(parts[0].dtype))
    place = 0
    for n, part in enumerate(parts):
        where = (slice(place, place + len(part)), *(slice(m) for m in part.shape[1:]))
        core[where] = part
        place += len(part)
        parts[n] = part[:0]
    core = core.reshape(*problem.stored_shape[: problem.leading], *sizes)
    factors: list[np.ndarray | None] = [*([None] * problem.leading), *bases]
    if problem.source.fortran:
        core, factors = core.T, factors[::-1]
    return Projected(core, tuple(factors), float(np.sqrt(dropped)), float(np.sqrt(whole)))


def _onto(
    work: np.ndarray, axis: int, basis: np.ndarray | None, allowed: float
) -> tuple[np.ndarray, np.ndarray, float]:
    """One mode of a slab projected on a basis, which grows until it leaves no more than allowed.

    Returns:
        the projected slab, the basis, and the squared norm of what is left out.
    """
    moved = np.ascontiguousarray(np.moveaxis(work, axis, -1))
    rows = moved.reshape(-1, moved.shape[-1])
    if basis is None:
        basis = np.zeros((rows.shape[1], 0), _wide(work.dtype))
    found = rows @ basis.conj().astype(work.dtype)
    rest = rows - found @ basis.T.astype(work.dtype) if basis.shape[1] else rows
    missed = squared_norm(rest)
    while (missed > allowed and basis.shape[1] < basis.shape[0]) or not basis.shape[1]:
        least = max(allowed, SPECTRA().rounding * missed)  # what a Gram matrix can tell apart
        extra = leading_basis(rest.T.astype(_wide(work.dtype)), least)
        extra = extra[:, : basis.shape[0] - basis.shape[1]]
        extra = np.linalg.qr(extra - basis @ (basis.conj().T @ extra))[0]
        more = rest @ extra.conj().astype(work.dtype)
        rest = rest - more @ extra.T.astype(work.dtype)
        missed = squared_norm(rest)
        basis = np.concatenate([basis, extra], axis=1)
        found = np.concatenate([found, more], axis=1)
    found = found.reshape(*moved.shape[:-1], basis.shape[1])
    return np.moveaxis(found, -1, axis), basis, missed


def _complain(slab: np.ndarray, first: int) -> None:
    bad = int(slab.size - np.isfinite(slab).sum())
    where = f"between the indices {first} and {first + len(slab)} of the slowest mode"
    if bad:
        raise ValueError(f"{bad} entries {where} are NaN or infinite. Replace or crop them first.")
    raise ValueError(f"The entries {where} are too large for {slab.dtype}: their squares overflow.")


def _wide(dtype: np.dtype) -> type:
    return np.complex128 if np.dtype(dtype).kind == "c" else np.float64
