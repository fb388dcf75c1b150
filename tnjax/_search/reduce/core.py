r"""Search on a small core tensor in place of a large one with the same structure.

Every mode is projected on its leading singular vectors U_k (HOSVD) at a small part of the target
error. For the core tensor C, the projected tensor and any network T of the core's shape,

$$\|X - (U_1, \ldots, U_d) T\|^2 = \|X\|^2 - \|C\|^2 + \|C - T\|^2,$$

so that the error on the whole data is known exactly from the core's. Structures, costs and budgets
count parameters with the original sizes. In the end the orthonormal factors U_k are multiplied
into the cores that carry the modes, and the error is computed on the whole data. Where that does
not meet the target, the network is fitted once to them.
"""

import contextlib
import dataclasses
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ... import _interrupt
from ..._network import TensorNetwork, scaled
from ..._structure import Structure
from ..._tracing import traced
from ..._tuned import tuned
from ...contract.host import dense_slab
from ...problems import Decomposition, Problem, StreamedDecomposition
from ...problems.streamed import squared_norm
from ...solve import fit
from ..archive import Archive
from ..result import Progress, SearchResult, Step
from ..spectra.unfoldings import leading_basis, unfold
from .project import project_slabs


@dataclasses.dataclass(frozen=True)
class Reduction:
    """Search on the HOSVD core.

    Attributes:
        share: the part of the target error that the projection may use up; in the square it is 1 %.
        worth: "auto": only where the core has at most this part of the entries.
        final_steps: sweeps of a final fit to the whole data.
        slab: entries of the whole that are looked at together for the final error: they stay in the
            cache.
    """

    share: float = 0.1
    worth: float = 0.5
    final_steps: int = 20
    slab: int = 2**22


REDUCTION = tuned("reduction", Reduction())


class CoreDecomposition(Decomposition):
    """The decomposition of a tensor by its HOSVD core: errors are those on the whole tensor, and
    parameters are counted with its sizes.

    Args:
        core: of the tensor divided by its norm.
        lost: by the projections, relative to that.
        whole: the tensor.
        norm: of the tensor.
    """

    lost: Float[Array, ""]
    whole_shape: tuple[int, ...] = eqx.field(static=True)

    def __init__(
        self,
        core: np.ndarray,
        lost: float,
        whole: Problem | StreamedDecomposition,
        norm: float,
    ):
        self.target = jnp.asarray(core, whole.dtype)
        self._scale = np.asarray(norm)
        self.lost = jnp.asarray(lost, jnp.finfo(whole.dtype).dtype)
        self.whole_shape = tuple(whole.shape)

    @property
    def counted_shape(self) -> tuple[int, ...]:
        return self.whole_shape

    @property
    def error_floor(self) -> Any:
        return self.lost if traced(self.lost) else float(self.lost)

    def loss(self, network: TensorNetwork) -> Array:
        return super().loss(network) + self.lost**2

    def error(self, network: TensorNetwork) -> Array:
        return jnp.sqrt(super().error(network) ** 2 + self.lost**2)

    def perturbed_loss(self, point: Array, delta: TensorNetwork) -> Array:
        return super().perturbed_loss(point, delta) + self.lost**2


class Compression(NamedTuple):
    """A problem, the smaller one that stands for it, and the factors [n_k, m_k] between them
    (None for a mode that keeps its size)."""

    whole: Problem | StreamedDecomposition
    problem: CoreDecomposition
    factors: tuple[np.ndarray | None, ...]

    # Structures and networks ------------------------------------------------------------

    def inside(
        self, start: Structure | TensorNetwork | str | None
    ) -> Structure | TensorNetwork | str | None:
        """A start for the small problem from one for the whole: of a network, the projection."""
        if isinstance(start, Structure):
            return dataclasses.replace(start, dims=tuple(self.problem.shape))
        if isinstance(start, TensorNetwork):
            factors = [None if u is None else u.conj().T for u in self.factors]
            return multiplied(start, factors, tuple(self.problem.shape))
        return start

    def outside(self, network: TensorNetwork) -> TensorNetwork:
        """The network of the whole shape."""
        return multiplied(network, self.factors, tuple(self.whole.shape))

    def structure(self, structure: Structure) -> Structure:
        return dataclasses.replace(structure, dims=tuple(self.whole.shape))

    def step(self, step: Step) -> Step:
        return dataclasses.replace(step, structure=self.structure(step.structure))

    def progress(self, progress: Progress) -> Progress:
        return dataclasses.replace(progress, structure=self.structure(progress.structure))

    def archive(self, archive: Archive) -> Archive:
        """The same fits as structures of the whole shape, with what they cost there."""
        records = []
        for record in archive:
            structure = self.structure(record.structure)
            records.append(
                dataclasses.replace(
                    record,
                    structure=structure,
                    flops=self.whole.flops(structure),
                    peak_bytes=self.whole.fit_peak_bytes(structure),
                    network=None if record.network is None else self.outside(record.network),
                )
            )
        return Archive(tuple(records))

    def result(
        self, found: SearchResult, target_error: float, solver: Any, memory_limit: int | None
    ) -> SearchResult:
        """The result for the whole data, its error computed on them. A network that does not meet
        the target is fitted to them once, if there is memory and time to do so."""
        network, compile_seconds = self.outside(found.network), 0.0
        if not isinstance(self.whole, Problem):  # on disk
            error, able = self.whole.relative_error(network), False
        else:
            with _interrupt.suspended():
                error = host_error(self.whole, scaled(network, 1 / self.whole.scale))
                needed = self.whole.fit_peak_bytes(network.structure)
            able = memory_limit is None or needed <= memory_limit
        if error > target_error and able and isinstance(self.whole, Problem):
            with contextlib.suppress(_interrupt.Stopped):  # no time is left for it
                final = fit(
                    self.whole,
                    network,
                    solver=solver,
                    target_error=target_error,
                    max_steps=REDUCTION().final_steps,
                )
                network, error, compile_seconds = final.network, final.error, final.compile_seconds
        path = tuple(map(self.step, found.path))
        path = (*path[:-1], dataclasses.replace(path[-1], error=error))
        with _interrupt.suspended():
            archive = self.archive(found.archive)
        return dataclasses.replace(
            found,
            network=network,
            error=error,
            path=path,
            archive=archive,
            compile_seconds=found.compile_seconds + compile_seconds,
        )


def compress_problem(
    problem: Problem, target_error: float, *, share: float | None = None
) -> Compression | None:
    """The problem of the HOSVD core, or None if no mode can be made smaller.

    Args:
        problem: what is to be decomposed, a `projectable` one.
        target_error: of the search; the projections together lose at most `share` of it.
        share: of the target error, for the projections; that of `REDUCTION` by default.
    """
    share = REDUCTION().share if share is None else share
    work = problem.dense_target
    work = work.astype(_wide(work), copy=False)  # what is lost is a small difference
    core, factors, lost = _projected(work, (share * target_error) ** 2)
    if all(basis is None for basis in factors):
        return None
    return Compression(problem, CoreDecomposition(core, lost, problem, problem.scale), factors)


def compress_stream(
    problem: StreamedDecomposition, target_error: float, *, share: float | None = None
) -> Compression:
    """The same for a tensor on disk, which is projected as it is read.

    Raises:
        ValueError: if the file is damaged, or holds NaN, infinity or nothing but zeros.
        MemoryLimitError: (a `ValueError`) if the tensor does not become small enough.
    """
    share = REDUCTION().share if share is None else share
    read = project_slabs(problem, share * target_error / math.sqrt(2))
    half = (share * target_error) ** 2 / 2
    core, inner, lost = _projected(read.core / read.norm, half)
    factors = tuple(map(_composed, read.factors, inner))
    lost = math.hypot(lost, read.lost / read.norm)
    small = CoreDecomposition(core, lost, problem, read.norm)
    return Compression(problem, small, factors)


def _composed(outer: np.ndarray | None, inner: np.ndarray | None) -> np.ndarray | None:
    """Two factors of a mode, one after the other."""
    if outer is None or inner is None:
        return inner if outer is None else outer
    return outer @ inner


def _projected(
    work: np.ndarray, allowed: float
) -> tuple[np.ndarray, tuple[np.ndarray | None, ...], float]:
    """The HOSVD core of a tensor in double precision, the factors, and what is lost.

    Args:
        work: the tensor.
        allowed: squared norm that may be lost.
    """
    lost = 0.0
    factors: list[np.ndarray | None] = [None] * work.ndim
    # Small modes first would gain nothing for those after them.
    for mode in sorted(range(work.ndim), key=lambda k: -work.shape[k]):
        matrix = unfold(work, (mode,))
        basis = leading_basis(matrix, allowed / work.ndim)
        if basis.shape[1] < work.shape[mode]:
            factors[mode] = basis
            inside = basis.conj().T @ matrix
            lost += _left_out(matrix, basis, inside)
            others = (*work.shape[:mode], *work.shape[mode + 1 :])
            work = np.moveaxis(inside.reshape(-1, *others), 0, mode)
    return work, tuple(factors), math.sqrt(lost)


def _left_out(matrix: np.ndarray, basis: np.ndarray, inside: np.ndarray) -> float:
    """The squared norm of what a projection on orthonormal columns, `inside` in their coordinates,
    leaves out: as it stands, since the difference of two norms near one is known to 1e-8 only."""
    columns, total = max(1, REDUCTION().slab // len(matrix)), 0.0
    for first in range(0, matrix.shape[1], columns):
        part = slice(first, first + columns)
        total += squared_norm(matrix[:, part] - basis @ inside[:, part])
    return total


def worthwhile(compression: Compression | None) -> bool:
    """Whether the core is so much smaller that the detour pays."""
    if compression is None:
        return False
    entries = math.prod(compression.whole.shape)
    return math.prod(compression.problem.shape) <= REDUCTION().worth * entries


def host_error(problem: Problem, network: TensorNetwork) -> float:
    """The relative error of a network in units of a dense problem, slab by slab of the first mode
    and without a program."""
    target = problem.dense_target
    rows = max(1, REDUCTION().slab * target.shape[0] // target.size)
    cores = [np.asarray(core) for core in network.cores]
    total = 0.0
    for first in range(0, target.shape[0], rows):
        _interrupt.checkpoint()
        slab = target[first : first + rows]
        where = {0: slice(first, first + len(slab))}
        guess = dense_slab(network.structure, cores, where)
        total += squared_norm(slab - guess)
    return math.sqrt(total + problem.error_floor**2)


def _wide(array: np.ndarray):
    return np.complex128 if np.iscomplexobj(array) else np.float64


def multiplied(
    network: TensorNetwork, factors: Sequence[np.ndarray | None], dims: tuple[int, ...]
) -> TensorNetwork:
    """The factors on the legs of the cores, [new, old] each."""
    cores = []
    for core, legs in zip(network.cores, network.structure.legs, strict=True):
        array = np.asarray(core)
        for axis, mode in enumerate(legs):
            factor = factors[mode]
            if factor is not None:
                array = np.tensordot(factor.astype(array.dtype), array, axes=(1, axis))
                array = np.moveaxis(array, 0, axis)
        cores.append(array)
    return TensorNetwork(dataclasses.replace(network.structure, dims=dims), cores)
