"""Structure by sparsity: a diagonal factor on every bond, with a penalty on its entries."""

import dataclasses
import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from ... import _compile, _interrupt
from ..._init import host_cores
from ..._network import TensorNetwork
from ..._status import Status
from ..._storable import storable
from ..._structure import Structure
from ..._tuned import tuned
from ...moves.cores import Cores
from ...problems import LeastSquares, Problem
from ...solve.limits import as_solver, limits_of
from ...solve.programs import LOOKS
from ...solve.rows import solve_rows
from ..fitting.population import Fitted, Group, Start, fit_population
from ..strategy import Budget, Info, MoveRecord, State, Strategy


@dataclasses.dataclass(frozen=True)
class Sparse:
    """Diagonal factors that a penalty makes sparse.

    Attributes:
        max_bonds: largest product of ranks at a node of the full graph.
        shrink_steps: steps of the proximal iteration for one diagonal.
        ridge: ridge of the normal equations in double precision, relative to their diagonal.
        ridge_single: the same in single precision.
    """

    max_bonds: int = 300
    shrink_steps: int = 30
    ridge: float = 1e-10
    ridge_single: float = 1e-6


SPARSE = tuned("sparse_diagonal", Sparse(), traced=True)


Diagonals = tuple[Array, ...]


@storable
@dataclasses.dataclass(frozen=True)
class SparseState(State):
    """The state of `SparseDiagonal`.

    Attributes:
        structure, cores, error, status: see `State`; the best network so far.
        full: the fully connected structure.
        full_cores, diagonals: its cores, and the diagonal of each of its bonds.
        tried: structures fitted so far.
        groups: shapes that fits are compiled for.
        level: of the penalty, from 0.
        misses: levels in a row, the last ones, that missed the target after one had met it.
        finished: whether there is no next level.
    """

    structure: Structure
    cores: Cores
    error: float
    status: Status
    full: Structure
    full_cores: Cores
    diagonals: tuple[Any, ...]
    tried: tuple[Structure, ...]
    groups: tuple[Group, ...]
    level: int = 0
    misses: int = 0
    finished: bool = False

    @property
    def done(self) -> bool:
        return self.finished

    @property
    def tidying(self) -> bool:
        return self.status is Status.TARGET_REACHED


@dataclasses.dataclass(frozen=True, kw_only=True)
class SparseDiagonal(Strategy):
    r"""SVDinsTN: fit all bonds at once, each with a diagonal factor that a penalty makes sparse.

    A fully connected network of cores $G_k$ with a diagonal $s_e$ on each bond minimizes

    $$\|X - T(G, s)\|^2 + \mu \sum_k \|G_k\|^2 + \lambda \sum_e \|s_e\|_1$$

    in the loss of the problem, one block after another: ridge regression for a core, iterated
    soft thresholding for a diagonal. Ranks whose entries are zero are gone. The published method
    takes $\lambda$ as given; here it rises in steps, every structure on the way is fitted without
    penalty, and the best one is kept. Internal nodes and hyperedges of the start are not used.

    Args:
        rank: of all bonds at first; less where nodes have many neighbors.
        penalty: lambda of the first level.
        factor: from level to level.
        levels: at the most. With a target, two levels in a row that miss it after one met it end
            the search.
        sweeps: over all blocks on each level.
        ridge: mu.
        threshold: diagonal entries below this fraction of the largest one are zero.
        solver: for the cores of the sparse structures, as in `fit`.

    Raises:
        ValueError: for an option out of its range, or a problem that is not least squares.

    Example:
        >>> from tnjax import SparseDiagonal
        >>> SparseDiagonal(rank=3).levels
        16

    Reference:
        Zheng et al., "SVDinsTN: A Tensor Network Paradigm for Efficient Structure Search from
        Regularized Modeling Perspective", CVPR 2024, arXiv 2305.14912, section 4.
    """

    rank: int = 6
    penalty: float = 1e-4
    factor: float = 2.0
    levels: int = 16
    sweeps: int = 40
    ridge: float = 1e-4
    threshold: float = 1e-3
    solver: Any = None

    def __post_init__(self) -> None:
        for name, least in (("rank", 2), ("levels", 1), ("sweeps", 1)):
            value = getattr(self, name)
            if isinstance(value, bool) or int(value) != value or value < least:
                raise ValueError(
                    f"SparseDiagonal: {name} must be an integer >= {least}, got {value!r}."
                )
        for name in ("penalty", "ridge", "threshold"):
            value = getattr(self, name)
            if not math.isfinite(value) or value <= 0:
                raise ValueError(f"SparseDiagonal: {name} must be positive, got {value!r}.")
        if not math.isfinite(self.factor) or self.factor <= 1:
            raise ValueError(f"SparseDiagonal: factor must exceed 1, got {self.factor!r}.")

    @property
    def cites(self) -> tuple[str, ...]:
        return ("zheng2024",)

    def check(self, problem: Problem) -> None:
        as_solver(self.solver, problem)
        if problem.least_squares is None:
            raise ValueError(
                f"SparseDiagonal needs a least squares problem, got {type(problem).__name__}. "
                "Use Greedy() or another strategy."
            )

    def init(
        self, problem: Problem, start: TensorNetwork, budget: Budget, *, seed: tuple[int, ...]
    ) -> tuple[SparseState, Info]:
        """Fit the start, and draw the full network."""
        begin = Start(start.structure, tuple(np.asarray(core) for core in start.cores))
        out = self._fit(problem, budget, begin, ())
        (fit,) = out.fits
        full = self._full(problem, budget)
        rng = np.random.default_rng(seed)
        met = budget.meets(fit.error)
        real = jnp.finfo(problem.dtype).dtype
        state = SparseState(
            fit.structure,
            fit.cores,
            fit.error,
            Status.TARGET_REACHED if met else Status.RUNNING,
            full,
            host_cores(full, rng, problem.dtype),
            tuple(np.ones(rank, real) for rank in full.ranks),
            (fit.structure,),
            out.groups,
        )
        if not full.edges or not math.isfinite(fit.error):
            state = self._end(state)
        return state, Info(MoveRecord("start"), out.programs, out.compile_seconds, out.fits)

    def step(
        self, problem: Problem, state: SparseState, budget: Budget
    ) -> tuple[SparseState, Info]:
        """One level: sparsify, and fit what is left without penalty."""
        if state.level >= self.levels:
            return self._end(state), Info()
        real = jnp.finfo(problem.dtype).dtype
        penalty = self.penalty * self.factor**state.level
        numbers = np.asarray([penalty, self.ridge], real)
        args = (problem, state.full_cores, state.diagonals, numbers)
        ran = self._sparsified(state.full, args)
        cores, diagonals = jax.device_get(ran.value)
        info = Info(None, ran.programs, ran.seconds, save=True)
        state = dataclasses.replace(
            state, full_cores=tuple(cores), diagonals=tuple(diagonals), level=state.level + 1
        )
        if not all(np.isfinite(core).all() for core in (*cores, *diagonals)):
            return self._end(state), info
        structure, sparse = self._sparse(state)
        cheaper = problem.num_params(structure) < problem.num_params(state.structure)
        if (
            structure in state.tried
            or budget.forbids(problem, structure) is not None
            or (budget.meets(state.error) and not cheaper)
            or budget.fits_left == 0
        ):
            return (state if structure.edges else self._end(state)), info
        out = self._fit(problem, budget, Start(structure, sparse), state.groups)
        (fit,) = out.fits
        info = info + Info(None, out.programs, out.compile_seconds, out.fits)
        state = dataclasses.replace(state, tried=(*state.tried, structure), groups=out.groups)
        if budget.meets(state.error) and not budget.meets(fit.error):
            state = dataclasses.replace(state, misses=state.misses + 1)
            return (self._end(state) if state.misses >= 2 else state), info
        if not budget.meets(fit.error) and not fit.error < state.error:
            return state, info
        state = dataclasses.replace(
            state,
            structure=fit.structure,
            cores=fit.cores,
            error=fit.error,
            status=Status.TARGET_REACHED if budget.meets(fit.error) else Status.RUNNING,
            misses=0,
        )
        return state, dataclasses.replace(info, move=MoveRecord("sparsify"))

    def _sparsified(self, full: Structure, args: tuple) -> _compile.Ran:
        """All sweeps of a level; some at a time, where they are long and may be stopped."""
        problem = args[0]
        passes = 2 * self.sweeps
        work = passes * full.num_nodes * problem.work
        ran = functools.partial(_compile.run, _sparsify, work=work)
        static = (full, self.sweeps)
        long = self.sweeps * problem.sweep_flops(full) > LOOKS().whole_flops
        if not (_interrupt.watched() and long) or _compile.interpreted(
            _sparsify, static, args, work=work, passes=passes
        ):
            return ran(static, args, passes=passes)
        most = max(2, int(LOOKS().chunk_flops / problem.sweep_flops(full)))
        some = max(n for n in range(1, self.sweeps + 1) if self.sweeps % n == 0 and n <= most)
        made, seconds = 0, 0.0
        for _ in range(self.sweeps // some):
            part = ran((full, some), args, passes=None)
            args = (problem, *part.value, args[-1])
            made, seconds = made + part.programs, seconds + part.seconds
        return _compile.Ran(args[1:3], made, seconds)

    def _end(self, state: SparseState) -> SparseState:
        status = Status.STAGNATED if state.status is Status.RUNNING else state.status
        return dataclasses.replace(state, finished=True, status=status)

    def _fit(self, problem: Problem, budget: Budget, start: Start, groups) -> Fitted:
        solver = as_solver(self.solver, problem)
        limits = limits_of(
            solver, problem, target_error=budget.target_error, max_steps=solver.max_steps
        )
        return fit_population(
            problem, solver, [start], groups, limits=limits, memory_limit=budget.memory_limit
        )

    def _full(self, problem: Problem, budget: Budget) -> Structure:
        """The fully connected structure with the largest ranks that are not too dear."""
        order = len(problem.shape)
        for rank in range(self.rank, 1, -1):
            full = Structure.fully_connected(problem.shape, rank)
            limit = budget.memory_limit
            fits = limit is None or problem.fit_peak_bytes(full) <= limit
            if fits and (rank ** (order - 1) <= SPARSE().max_bonds or rank == 2):
                return full
        return Structure.rank_one(problem.shape)

    def _sparse(self, state: SparseState) -> tuple[Structure, Cores]:
        """The ranks whose diagonal entries are not zero, the diagonals absorbed by the cores."""
        full = state.full
        largest = max(float(np.abs(s).max()) for s in state.diagonals)
        keep = [np.abs(s) > self.threshold * largest for s in state.diagonals]
        structure = Structure(
            full.dims,
            full.legs,
            {e: max(1, int(k.sum())) for e, k in zip(full.edges, keep, strict=True)},
        )
        cores = list(state.full_cores)
        for edge, s, kept in zip(full.edges, state.diagonals, keep, strict=True):
            if not kept.any():
                kept = np.arange(len(s)) == int(np.argmax(np.abs(s)))
            root = np.sqrt(np.abs(s[kept]))
            for node, weight in zip(edge, (root, root * np.sign(s[kept])), strict=True):
                axis = full.axis(node, edge)
                cores[node] = _scaled(np.compress(kept, cores[node], axis), axis, weight)
        return structure, tuple(
            core.reshape(structure.core_shape(node)) for node, core in enumerate(cores)
        )


def _sparsify(
    structure: Structure,
    sweeps: int,
    problem: Problem,
    cores: tuple[Array, ...],
    diagonals: Diagonals,
    numbers: Float[Array, "2"],
) -> tuple[tuple[Array, ...], Diagonals]:
    """Sweeps over all cores and diagonals."""
    squares = problem.least_squares
    assert squares is not None

    def sweep(_, carry):
        cores, diagonals = carry
        for node in range(structure.num_nodes):
            cores, diagonals = _update(structure, squares, node, cores, diagonals, numbers)
        return cores, diagonals

    return lax.fori_loop(0, sweeps, sweep, (tuple(cores), tuple(diagonals)))


def _update(structure: Structure, problem: LeastSquares, node: int, cores, diagonals, numbers):
    """One core, then the diagonals of its bonds: its environment depends on neither."""
    penalty, ridge = numbers
    edges = tuple(structure.edges)
    around = list(cores)
    for edge, s in zip(edges, diagonals, strict=True):
        if node not in edge:
            first = edge[0]
            shape = [
                -1 if n == structure.axis(first, edge) else 1 for n in range(cores[first].ndim)
            ]
            around[first] = around[first] * s.reshape(shape).astype(around[first].dtype)
    gram, rhs = problem.normal_equations(TensorNetwork(structure, around), node)
    own = structure.core_edges(node)
    values = {edge: diagonals[edges.index(edge)] for edge in own}
    weights = _last(_outer([values[edge] for edge in own]).astype(rhs.dtype), rhs)
    x = cores[node].reshape(rhs.shape)
    bits = jnp.finfo(rhs.dtype).bits // (2 if jnp.iscomplexobj(rhs) else 1)
    eye = np.eye(rhs.shape[-1]).reshape((1,) * (gram.ndim - 2) + gram.shape[-2:])
    system = gram * weights[..., :, None] * weights[..., None, :] + ridge.astype(gram.dtype) * eye
    ridge_of_rows = SPARSE().ridge if bits == 64 else SPARSE().ridge_single
    x = x + solve_rows(system, rhs * weights, x, ridge_of_rows)
    ranks = tuple(structure.edges[edge] for edge in own)
    for place, edge in enumerate(own):
        rest = _outer([values[e] if e != edge else jnp.ones_like(values[e]) for e in own])
        parts = (x * _last(rest.astype(x.dtype), x)).reshape(
            -1, *ranks
        )  # core with the other diagonals
        index = np.eye(ranks[place]).reshape(
            ranks[place], 1, *[ranks[place] if p == place else 1 for p in range(len(ranks))]
        )
        terms = (parts[None] * index.astype(parts.dtype)).reshape(ranks[place], *x.shape)
        image = jnp.einsum("...ab,i...b->i...a", gram, terms)
        quadratic = jnp.einsum("iab,jab->ij", terms.conj(), image).real
        linear = jnp.einsum("iab,ab->i", terms.conj(), rhs).real
        values[edge] = _shrink(quadratic, linear, values[edge], penalty)
    cores = (*cores[:node], x.reshape(cores[node].shape), *cores[node + 1 :])
    return cores, tuple(values.get(edge, s) for edge, s in zip(edges, diagonals, strict=True))


def _scaled(core, axis: int, weights):
    """Each slice of a core along an axis times its weight."""
    shape = [-1 if n == axis else 1 for n in range(core.ndim)]
    return core * weights.reshape(shape).astype(core.dtype)


def _outer(vectors: list[Array]) -> Array:
    """All products of one entry of each, in the order of a core's bonds."""
    out = jnp.ones((1,), vectors[0].dtype)
    for vector in vectors:
        out = (out[:, None] * vector[None, :]).reshape(-1)
    return out


def _last(vector: Array, array: Array) -> Array:
    """A vector as an array of the same rank as another one, along its last axis."""
    return vector.reshape((1,) * (array.ndim - 1) + (-1,))


def _shrink(quadratic: Array, linear: Array, s: Array, penalty: Array) -> Array:
    """The minimum of s'Qs - 2q's + penalty |s|_1 by iterated soft thresholding."""
    bound = 2 * jnp.linalg.norm(quadratic) + jnp.finfo(s.dtype).tiny

    def step(_, s):
        moved = s - 2 * (quadratic @ s - linear) / bound
        return jnp.sign(moved) * jnp.maximum(jnp.abs(moved) - penalty / bound, 0)

    return lax.fori_loop(0, SPARSE().shrink_steps, step, s)
