r"""Search on a small core tensor in place of a large one with the same structure.

Every mode is projected on its leading singular vectors U_k (HOSVD) at a small part of the target
error. For the core tensor C, the projected tensor and any network T of the core's shape,

$$\|X - (U_1, \ldots, U_d) T\|^2 = \|X\|^2 - \|C\|^2 + \|C - T\|^2,$$

so that the error on the whole data is known exactly from the core's. Structures, costs and budgets
count parameters with the original sizes. In the end the orthonormal factors U_k are multiplied
into the cores that carry the modes, and the error is computed on the whole data. Where that does
not meet the target, the network is fitted once to them.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import opt_einsum
from jaxtyping import Array, Float

from .._contract.equation import dense_equation
from .._contract.path import plan
from .._network import TensorNetwork, scaled
from .._structure import Structure
from ..objectives import Decomposition
from ..solve import fit
from ._archive import Archive
from ._result import SearchResult, Step
from ._spectra import unfold

# The part of the target error that the projection may use up.
_SHARE = 0.1
# "auto": only where the core has at most this part of the entries.
_WORTH = 0.5
# A mode of more than this is sketched first.
_SKETCH = 400
# Sweeps of a final fit.
_FINAL_STEPS = 20
# Entries of the whole that are looked at together for the final error.
_SLAB = 2**22


class CoreDecomposition(Decomposition):
    """The decomposition of a tensor by its HOSVD core: errors are those on the whole tensor, and
    parameters are counted with its sizes."""

    lost: Float[Array, ""]
    whole_shape: tuple[int, ...] = eqx.field(static=True)

    def __init__(self, core: np.ndarray, lost: float, whole: Decomposition):
        self.target = jnp.asarray(core, whole.dtype)
        self._scale = np.asarray(whole.scale)
        self.lost = jnp.asarray(lost, jnp.finfo(whole.dtype).dtype)
        self.whole_shape = tuple(whole.shape)

    @property
    def counted_shape(self) -> tuple[int, ...]:
        return self.whole_shape

    def loss(self, network: TensorNetwork) -> Array:
        return super().loss(network) + self.lost**2

    def error(self, network: TensorNetwork) -> Array:
        return jnp.hypot(super().error(network), self.lost)

    def perturbed_loss(self, point: Array, delta: TensorNetwork) -> Array:
        return super().perturbed_loss(point, delta) + self.lost**2


class Compression(NamedTuple):
    """A problem, the smaller one that stands for it, and the factors [n_k, m_k] between them
    (None for a mode that keeps its size)."""

    whole: Decomposition
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
            return _multiplied(start, factors, tuple(self.problem.shape))
        return start

    def outside(self, network: TensorNetwork) -> TensorNetwork:
        """The network of the whole shape."""
        return _multiplied(network, self.factors, tuple(self.whole.shape))

    def structure(self, structure: Structure) -> Structure:
        return dataclasses.replace(structure, dims=tuple(self.whole.shape))

    def step(self, step: Step) -> Step:
        return dataclasses.replace(step, structure=self.structure(step.structure))

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
        self, found: SearchResult, target_error: float, solver, memory_limit: int | None
    ) -> SearchResult:
        """The result for the whole data, its error computed on them. A network that does not meet
        the target is fitted to them once, if there is memory to do so."""
        network = self.outside(found.network)
        error, compile_seconds = _error(self.whole, network), 0.0
        needed = self.whole.fit_peak_bytes(network.structure)
        if error > target_error and (memory_limit is None or needed <= memory_limit):
            final = fit(
                self.whole,
                network,
                solver=solver,
                target_error=target_error,
                max_steps=_FINAL_STEPS,
            )
            network, error, compile_seconds = final.network, final.error, final.compile_seconds
        path = tuple(map(self.step, found.path))
        path = (*path[:-1], dataclasses.replace(path[-1], error=error))
        return dataclasses.replace(
            found,
            network=network,
            error=error,
            path=path,
            archive=self.archive(found.archive),
            compile_seconds=found.compile_seconds + compile_seconds,
        )


def compress_problem(
    problem: Decomposition, target_error: float, *, share: float = _SHARE
) -> Compression | None:
    """The problem of the HOSVD core, or None if no mode can be made smaller.

    Args:
        problem: what is to be decomposed.
        target_error: of the search; the projections together lose at most `share` of it.
        share: see there.
    """
    work = np.asarray(problem.target)
    work = work.astype(_wide(work), copy=False)  # what is lost is a small difference
    total = float(np.linalg.norm(work.ravel()))
    factors: list[np.ndarray | None] = [None] * work.ndim
    budget = (share * target_error) ** 2 / work.ndim
    # Small modes first would gain nothing for those after them.
    for mode in sorted(range(work.ndim), key=lambda k: -work.shape[k]):
        basis = _basis(work, mode, budget)
        if basis.shape[1] < work.shape[mode]:
            factors[mode] = basis
            rest = np.tensordot(basis.conj(), work, axes=(0, mode))
            work = np.moveaxis(rest, 0, mode)
    if all(basis is None for basis in factors):
        return None
    kept = float(np.linalg.norm(work.ravel()))
    lost = math.sqrt(max(total**2 - kept**2, 0.0))
    return Compression(problem, CoreDecomposition(work, lost, problem), tuple(factors))


def worthwhile(compression: Compression | None) -> bool:
    """Whether the core is so much smaller that the detour pays."""
    if compression is None:
        return False
    return math.prod(compression.problem.shape) <= _WORTH * math.prod(compression.whole.shape)


def _basis(work: np.ndarray, mode: int, budget: float) -> np.ndarray:
    """Orthonormal columns that hold a mode up to a squared error."""
    matrix = unfold(work, (mode,))
    if matrix.shape[0] > _SKETCH:
        matrix, start = _sketched(matrix, budget)
    else:
        start = None
    squares, vectors = np.linalg.eigh(matrix @ matrix.conj().T)
    tails = np.cumsum(np.maximum(squares, 0.0))  # ascending: what the first so many would lose
    dropped = int(np.searchsorted(tails, budget / (1 if start is None else 2), side="right"))
    basis = vectors[:, min(dropped, len(squares) - 1) :][:, ::-1]
    if start is not None:
        basis = start @ basis
    return np.ascontiguousarray(basis)


def _sketched(matrix: np.ndarray, budget: float) -> tuple[np.ndarray, np.ndarray | None]:
    """The matrix in a random range that misses at most half the budget, and that range; the
    matrix itself if there is no small one."""
    total = float(np.linalg.norm(matrix)) ** 2
    rng, size = np.random.default_rng(matrix.shape), 32
    while 4 * size <= matrix.shape[0]:
        draw = rng.standard_normal((matrix.shape[1], size))
        start = np.linalg.qr(matrix @ draw)[0]
        inside = start.conj().T @ matrix
        if total - float(np.linalg.norm(inside)) ** 2 <= budget / 2:
            return inside, start
        size *= 2
    return matrix, None


def _error(problem: Decomposition, network: TensorNetwork) -> float:
    """The relative error of a network, slab by slab of the first mode and without a program."""
    target, network = np.asarray(problem.target), scaled(network, 1 / problem.scale)
    structure = network.structure
    cores = [np.asarray(core) for core in network.cores]
    node = next(k for k, legs in enumerate(structure.legs) if 0 in legs)
    axis = structure.legs[node].index(0)
    rows = max(1, _SLAB * target.shape[0] // target.size)
    total = 0.0
    for first in range(0, target.shape[0], rows):
        slab = target[first : first + rows]
        part = dataclasses.replace(structure, dims=slab.shape)
        equation = dense_equation(part)
        operands = list(cores)
        operands[node] = cores[node].take(range(first, first + len(slab)), axis)
        words = [item for pair in zip(operands, equation.inputs, strict=True) for item in pair]
        path = [(step.left, step.right) for step in plan(equation).steps]
        guess = opt_einsum.contract(*words, equation.output, optimize=path)
        total += float(np.linalg.norm((slab - guess).ravel())) ** 2
    return math.sqrt(total)


def _wide(array: np.ndarray):
    return np.complex128 if np.iscomplexobj(array) else np.float64


def _multiplied(
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
