"""Evaluation of all growth candidates together, old cores frozen."""

import abc
import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from jax.sharding import Mesh
from jaxtyping import Array, Float

from ... import _lean as lean
from ... import _mesh
from ..._network import TensorNetwork, safe_norm
from ..._structure import Edge
from ..._tuned import tuned
from ...problems import LeastSquares, Problem
from ...solve.gradients import descend
from ...solve.real import from_real, to_real
from ...solve.rows import applied, row_steps
from .candidates import candidate_networks, on_edge, stacked

Cores = tuple[Array, ...]


@dataclasses.dataclass(frozen=True)
class Screening:
    """Screens of candidates.

    Attributes:
        ridge: ridge of the slices' normal equations in double precision, relative to their
            diagonal.
        ridge_single: the same in single precision.
        lengths: multiples of the best step by slope and curvature that are tried: that step may
            overshoot where the loss is no parabola.
    """

    ridge: float = 1e-10
    ridge_single: float = 1e-6
    lengths: tuple[float, ...] = (0.0, 1.0, 0.25, 0.0625)


SCREENING = tuned("screens", Screening(), traced=True)


class Screened(eqx.Module):
    """The outcome for every edge: how much the loss falls, and the slices that do it.

    Attributes:
        gain: decrease of the loss, old cores frozen; 0 where the evaluation was not finite.
        slices: for each of the increments and nodes, slices embedded in the core's shape, stacked
            over edges.

    Example:
        >>> import numpy as np
        >>> from tnjax.screens import Screened
        >>> found = Screened(np.array([0.5, 0.0]), ((np.ones((2, 3)), np.ones((2, 4))),))
        >>> int(found.gain.argmax())
        0
    """

    gain: Float[Array | np.ndarray, " edges"]
    slices: tuple[tuple[Array | np.ndarray, ...], ...]


class Screen(eqx.Module):
    """How candidates are evaluated: a pure function of all of them at once.

    A screen of your own is a subclass with `improve`; pass it as `Greedy(screen=...)`.

    Example:
        >>> from tnjax import Greedy, Screen, Spectral
        >>> class Reluctant(Screen):
        ...     def improve(self, problem, point, old, edges, slices, batch_size):
        ...         given = (problem, point, old, edges, slices, batch_size)
        ...         gain, slices = Spectral().improve(*given)
        ...         return gain / 2, slices
        >>> isinstance(Greedy(screen=Reluctant()).screen, Screen)
        True
    """

    @abc.abstractmethod
    def improve(
        self,
        problem: Problem,
        point: Any,
        old: TensorNetwork,
        edges: tuple[Edge, ...],
        slices: Cores,
        batch_size: int,
    ) -> tuple[Float[Array, " edges"], Cores]:
        """Gains and better slices of all edges.

        Args:
            point: the problem linearized at `old`, for `over_candidates`: one for all edges, or
                one for each.
            slices: starts: for each node an array [edges, *core], zero where an edge does not
                touch the node.
            batch_size: candidates to hold at a time.
        """

    def __call__(
        self,
        problem: Problem,
        network: TensorNetwork,
        edges: tuple[Edge, ...],
        starts: Cores,
        *,
        batch_size: int | None = None,
    ) -> Screened:
        """Evaluate all edges.

        Args:
            problem: gives the loss along an added network.
            network: the current one, fitted.
            edges: candidates; any nodes of the network.
            starts: from `draw_slices`; its leading axis counts the slices to add to an edge, each
                of which sees what the ones before it left.
            batch_size: candidates to hold in memory at a time; all by default.
        """
        size = len(edges) if batch_size is None else min(batch_size, len(edges))
        point = _Shared(problem.linearize(network))
        total = jnp.zeros(len(edges), jnp.finfo(network.dtype).dtype)
        found = []
        increment = starts[0].shape[0]
        if problem.nonnegative:
            starts = tuple(jnp.abs(part) for part in starts)
        for n in range(increment):
            gain, slices = self.improve(
                problem, point, network, edges, tuple(part[n] for part in starts), size
            )
            if problem.judges:
                judge = lambda point, delta: problem.judged(point, delta)
                deltas = candidate_networks(network, edges, slices)
                judged = over_candidates(judge, problem.mesh, point, edges, size)(deltas)
                # Where no candidate stands the test by itself, the refit may still make one do.
                gain = jnp.where(jnp.any(judged > 0), judged, gain)
            good = jnp.isfinite(gain) & (gain > 0)
            total += jnp.where(good, gain, 0)
            found.append(jax.tree.map(lambda x: jnp.where(jnp.isfinite(x), x, 0), slices))
            if n + 1 < increment:
                deltas = candidate_networks(network, edges, found[-1])
                shift = lambda point, delta: problem.shifted(point, delta)
                point = _PerEdge(over_candidates(shift, problem.mesh, point, edges, size)(deltas))
        return Screened(total, tuple(found))


class Spectral(Screen):
    r"""Screening by the best pair of slices in each edge's two-node environment (default).

    The environment is taken of the residual, or of the functional gradient for other losses.
    Least squares: alternating exact solutions of the slices with the Gram matrix of the other
    cores; the gain is the exact decrease of the loss. That is a power iteration for the top
    singular pair in the metric of the network, and needs no singular vectors to start.
    Other losses: alternating power steps by autodiff, then a line search with the curvature,
    gain slope² / (2 curvature), checked against the loss itself.

    Args:
        sweeps: each updates every slice of every edge once.

    Example:
        >>> from tnjax import Greedy, Spectral
        >>> Greedy(screen=Spectral(sweeps=5)).screen.sweeps
        5

    Reference:
        Evci et al., "GradMax", arXiv 2201.05125, in the form for tensor networks.
    """

    sweeps: int = eqx.field(static=True, default=3)

    def improve(
        self,
        problem: Problem,
        point: Any,
        old: TensorNetwork,
        edges: tuple[Edge, ...],
        slices: Cores,
        batch_size: int,
    ) -> tuple[Float[Array, " edges"], Cores]:
        squares = problem.least_squares
        if squares is not None:
            return _alternate(squares, point, old, edges, slices, batch_size, self.sweeps)

        def one(point, delta, order):
            delta = _power_steps(problem, point, delta, order, self.sweeps * max(map(len, edges)))
            return _line_search(problem, point, delta, order)

        deltas = candidate_networks(old, edges, slices)
        gain, deltas = over_candidates(one, problem.mesh, point, edges, batch_size)(
            deltas, _turns(old, edges)
        )
        return gain, slices_only(deltas, edges)


class Trial(Screen):
    """The paper's own evaluation: train only the new slices for a few steps.

    Least squares problems alternate exact solutions of the slices, whose start matters in its
    direction alone. Any other loss, or any loss if `transformation` is given, is trained by
    optax, after one power step, since two slices near zero are a saddle for gradient methods.

    Args:
        steps: sweeps over the slices, or optax updates.
        std: norm of the new term where optax begins.
        transformation: an optax transformation; by default ALS where the loss allows it and
            `optax.adam(1e-2)` elsewhere.

    Example:
        >>> import optax
        >>> from tnjax import Greedy, Trial
        >>> Greedy(screen=Trial(steps=20, transformation=optax.adam(1e-2))).screen.steps
        20

    Reference:
        arXiv 2008.05437, algorithm 1 and section 4.1.
    """

    steps: int = eqx.field(static=True, default=5)
    std: float = eqx.field(static=True, default=0.01)
    transformation: Any = eqx.field(static=True, default=None)

    def improve(
        self,
        problem: Problem,
        point: Any,
        old: TensorNetwork,
        edges: tuple[Edge, ...],
        slices: Cores,
        batch_size: int,
    ) -> tuple[Float[Array, " edges"], Cores]:
        squares = problem.least_squares
        if self.transformation is None and squares is not None:
            return _alternate(squares, point, old, edges, slices, batch_size, self.steps)
        deltas = candidate_networks(old, edges, slices)
        gain, deltas = over_candidates(
            lambda point, delta, order: self._train(problem, point, delta, order),
            problem.mesh,
            point,
            edges,
            batch_size,
        )(deltas, _turns(old, edges))
        return gain, slices_only(deltas, edges)

    def _train(self, problem, point, delta, order):
        transformation = self.transformation or optax.adam(1e-2)
        rebuild = from_real(delta.structure, delta.dtype)
        support = tuple((core != 0).astype(core.dtype) for core in delta.cores)
        delta = _power_steps(problem, point, delta, order, 1)
        delta = _scaled(delta, jnp.asarray(self.std, jnp.finfo(delta.dtype).dtype), order)

        def network(x):
            return _replaced(delta, _masked(rebuild(x).cores, support), order, order >= 0)

        def loss(x):
            return problem.perturbed_loss(point, network(x))

        x = to_real(delta)
        x, _ = descend(transformation, loss, x, transformation.init(x), self.steps)
        before = problem.perturbed_loss(point, delta * 0)
        return before - loss(x), network(x)


# Least squares ------------------------------------------------------------------------------


def _alternate(problem: LeastSquares, point, old, edges, slices, batch_size, sweeps: int):
    """Sweeps over the nodes; at each, the slices of all its edges are solved for together.

    The zeros of a candidate (other positions of its edge, room past the ranks) need no mask:
    their rows of the normal equations are zero.
    """
    member = on_edge(old.structure, edges)
    rows = [np.flatnonzero(member[:, node]) for node in range(member.shape[1])]
    double = jnp.finfo(old.dtype).bits == 64
    ridge = SCREENING().ridge if double else SCREENING().ridge_single

    def sweep(_, carry):
        gain, cores = carry
        for node, picked in enumerate(rows):
            if not len(picked):
                continue

            def solve(point, delta, node=node):
                gram, rhs = problem.normal_equations(delta, node, point)
                x = lean.reshape(delta.cores[node], rhs.shape)
                x = lax.add(x, row_steps(gram, rhs, x, ridge, problem.nonnegative))
                # 2 <x, rhs> - <x, G x>
                rest = lax.sub(lax.add(rhs, rhs), applied(gram, x))
                gain = lean.real(lean.inner(x, rest))
                return gain, lean.reshape(x, delta.cores[node].shape)

            deltas = stacked(old.structure, [_take(core, picked) for core in cores])
            new_gain, new = over_candidates(
                solve, problem.mesh, point.take(picked), picked, batch_size
            )(deltas)
            gain = _put(gain, picked, new_gain)
            core = _put(cores[node], picked, new)
            cores = (*cores[:node], core, *cores[node + 1 :])
        return gain, cores

    cores = candidate_networks(old, edges, slices).cores
    gain = jnp.zeros(len(edges), jnp.finfo(old.dtype).dtype)
    gain, cores = lax.fori_loop(0, sweeps, sweep, (gain, cores))
    return gain, slices_only(stacked(old.structure, cores), edges)


# Rows whose numbers are known while tracing, ascending: `x.at[rows]` would trace ten operations.
_SURE = {
    "unique_indices": True,
    "indices_are_sorted": True,
    "mode": lax.GatherScatterMode.PROMISE_IN_BOUNDS,
}


def _take(x: Array, rows: np.ndarray) -> Array:
    if len(rows) == x.shape[0]:
        return x
    numbers = lax.GatherDimensionNumbers(
        offset_dims=tuple(range(1, x.ndim)), collapsed_slice_dims=(0,), start_index_map=(0,)
    )
    return lax.gather(x, rows[:, None].astype(np.int32), numbers, (1, *x.shape[1:]), **_SURE)


def _put(x: Array, rows: np.ndarray, values: Array) -> Array:
    """`x` with other rows."""
    if len(rows) == x.shape[0]:
        return values
    numbers = lax.ScatterDimensionNumbers(
        update_window_dims=tuple(range(1, x.ndim)),
        inserted_window_dims=(0,),
        scatter_dims_to_operand_dims=(0,),
    )
    return lax.scatter(x, rows[:, None].astype(np.int32), values, numbers, **_SURE)


# Any loss -----------------------------------------------------------------------------------


def _turns(old: TensorNetwork, edges: Sequence[Edge]) -> np.ndarray:
    """[edges, nodes]: the position of a node on an edge, -1 off it."""
    nodes = range(old.structure.num_nodes)
    return np.asarray([[edge.index(k) if k in edge else -1 for k in nodes] for edge in edges])


def _power_steps(problem, point, delta, order, turns: int) -> TensorNetwork:
    """Each slice in turn becomes the normalized descent direction of the slope along ΔT."""
    support = tuple((core != 0).astype(core.dtype) for core in delta.cores)
    count = order.max() + 1

    def half_step(t, delta):
        slope = lambda network: problem.slope(point, network)
        descent = [-g.conj() for g in jax.grad(slope)(delta).cores]
        chosen = order == t % count
        return _normalized(_replaced(delta, _masked(descent, support), order, chosen), order)

    return lax.fori_loop(0, turns, half_step, _normalized(delta, order))


def _line_search(problem, point, delta, order) -> tuple[Array, TensorNetwork]:
    """The best multiple of ΔT by slope and curvature, and parts of it as a safeguard."""
    slope = problem.slope(point, delta)
    curvature = problem.curvature(point, delta)
    length = -slope / jnp.where(curvature > 0, curvature, jnp.abs(slope))
    length = jnp.where(slope == 0, 0, length)
    lengths = length * jnp.asarray(SCREENING().lengths, length.dtype)
    after = lax.map(lambda t: problem.perturbed_loss(point, _scaled(delta, t, order)), lengths)
    after = jnp.where(jnp.isfinite(after), after, jnp.inf)
    best = jnp.argmin(after)
    return after[0] - after[best], _scaled(delta, lengths[best], order)


def _masked(cores, support) -> list[Array]:
    return [core * mask for core, mask in zip(cores, support, strict=True)]


def _replaced(delta: TensorNetwork, cores, order, chosen) -> TensorNetwork:
    new = [
        jnp.where(chosen[k], fresh, core)
        for k, (fresh, core) in enumerate(zip(cores, delta.cores, strict=True))
    ]
    return TensorNetwork(delta.structure, new)


def _normalized(delta: TensorNetwork, order) -> TensorNetwork:
    """Every slice at unit norm."""
    units = []
    for core in delta.cores:
        norm = safe_norm(core)
        units.append(core / jnp.where(norm > 0, norm, jnp.ones_like(norm)).astype(core.dtype))
    return _replaced(delta, units, order, order >= 0)


def _scaled(delta: TensorNetwork, factor, order) -> TensorNetwork:
    """ΔT times a real factor, spread over the slices, the sign on the first."""
    count = (order.max() + 1).astype(factor.dtype)
    root = jnp.abs(factor) ** (1 / count)
    cores = []
    for node, core in enumerate(delta.cores):
        sign = jnp.where(order[node] == 0, jnp.sign(factor), jnp.ones_like(factor))
        cores.append(core * (root * sign).astype(core.dtype))
    return _replaced(delta, cores, order, order >= 0)


# Batches ------------------------------------------------------------------------------------


class _Shared(eqx.Module):
    """A linearization that all candidates share."""

    value: Any
    shared: bool = eqx.field(static=True, default=True)

    def take(self, rows) -> "_Shared":
        return self


class _PerEdge(eqx.Module):
    """Linearizations with a leading axis of edges."""

    value: Any
    shared: bool = eqx.field(static=True, default=False)

    def take(self, rows) -> "_PerEdge":
        return _PerEdge(jax.tree.map(lambda x: _take(x, rows), self.value))


def over_candidates(
    function: Callable[..., Any],
    mesh: Mesh | None,
    point: Any,
    edges: Sequence[Edge] | np.ndarray,
    batch_size: int,
) -> Callable[..., Any]:
    """`function(point, *args)` over the leading axis of args, `batch_size` at a time on each
    device along the mesh's `candidates`; candidates that fill up a round are repeated ones.

    Args:
        function: of the problem's own point (as `linearize` and `shifted` make it) and what
            belongs to one candidate.
        mesh: of the problem.
        point, edges, batch_size: as `Screen.improve` gets them.

    Returns:
        a function of args, pytrees of arrays [edges, ...], to arrays [edges, ...].

    Example:
        >>> import jax, jax.numpy as jnp, numpy as np
        >>> from tnjax import Decomposition, Greedy, search
        >>> from tnjax.screens import Screen, candidate_networks, over_candidates, slices_only
        >>> class Steep(Screen):
        ...     def improve(self, problem, point, old, edges, slices, batch_size):
        ...         deltas = candidate_networks(old, edges, slices)
        ...         slope = lambda point, delta: problem.slope(point, delta)
        ...         looked = over_candidates(slope, problem.mesh, point, edges, batch_size)
        ...         return jnp.abs(looked(deltas)), slices_only(deltas, edges)
        >>> problem = Decomposition(np.random.default_rng(0).standard_normal((8, 8)))
        >>> greedy = Greedy(screen=Steep(), infer=False)
        >>> search(problem, key=jax.random.key(0), strategy=greedy, max_steps=1).structure.ranks
        (2,)
    """
    width = min(len(edges), batch_size * _mesh.size(mesh, _mesh.CANDIDATES))
    width = _mesh.rounded_up(width, _mesh.size(mesh, _mesh.CANDIDATES))

    def mapped(*args):
        if point.shared:
            one = lambda *args: function(point.value, *args)
        else:
            one, args = function, (point.value, *args)
        together = _mesh.vmapped(one, mesh)
        if width >= len(edges):
            found = together(*_mesh.filled_up(args, width))
        else:
            count = _mesh.rounded_up(len(edges), width)
            rounds = lambda x: x.reshape(count // width, width, *x.shape[1:])
            flat = lambda x: x.reshape(count, *x.shape[2:])
            args = jax.tree.map(rounds, _mesh.filled_up(args, count))
            found = jax.tree.map(flat, lax.map(lambda args: together(*args), args))
        return jax.tree.map(lambda x: x[: len(edges)], found)

    return mapped


def slices_only(deltas: TensorNetwork, edges: Sequence[Edge]) -> Cores:
    """The cores of candidate networks, zero where an edge does not touch a node: what
    `Screen.improve` gives back.

    Args:
        deltas: what the candidates add, as `candidate_networks` makes it.
        edges: one for each candidate.

    Returns:
        for each node an array [edges, *core].

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from tnjax import Structure, TensorNetwork
        >>> from tnjax.screens import candidate_networks, slices_only
        >>> old = TensorNetwork.random(Structure.rank_one((2, 2, 2)), key=jax.random.key(0))
        >>> slices = (jnp.ones((1, 2)), jnp.ones((1, 2)), jnp.zeros((1, 2)))
        >>> deltas = candidate_networks(old, ((0, 1),), slices)
        >>> [float(part.sum()) for part in slices_only(deltas, ((0, 1),))]
        [2.0, 2.0, 0.0]
    """
    member = on_edge(deltas.structure, edges)
    return tuple(
        lax.mul(core, lean.along_first(member[:, node], core))
        for node, core in enumerate(deltas.cores)
    )
