"""Alternating maximization of a likelihood over networks without negative entries."""

import math
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array

from .. import _compile, _interrupt
from .._network import TensorNetwork
from .._structure import Structure
from ..contract import hypertree, log_rows
from ..moves.cores import Cores
from ..problems import Problem, Rows
from .solver import Solver


class EM(Solver):
    """Expectation and maximization in closed form, for a `Density` of kind "nonnegative".

    On a tree all cores become tables of conditional probabilities at once, from the expected
    counts of the values and bonds at each node. On other graphs one core after the other does, the
    best one as far as the expected counts tell. No step lowers the likelihood (of the training
    rows, with the prior that `smoothing` stands for).

    Args:
        smoothing: pseudo-counts, in rows, spread over each table of a tree (Dirichlet's prior).
        updates: updates in one step, after which the error is looked at.
        max_steps: steps at the most.
        rtol, patience: end after `patience` steps that each lower the best error by less than
            the fraction `rtol`.

    Raises:
        ValueError: if `smoothing` is negative or `updates` is not positive.

    Example:
        >>> import numpy as np, jax, tnjax
        >>> rows = np.random.default_rng(0).integers(2, size=(100, 3))
        >>> tree = tnjax.Structure.tensor_train((2, 2, 2), 2)
        >>> density = tnjax.Density(rows)
        >>> fit = tnjax.fit(density, tree, key=jax.random.key(0), solver=tnjax.EM())
        >>> bool(fit.error < 3 * np.log(2))
        True

    Reference:
        Dempster, Laird, Rubin, J. R. Stat. Soc. B 39 (1977).
    """

    smoothing: float
    updates: int = eqx.field(static=True)
    max_steps: int
    rtol: float
    patience: int

    def __init__(
        self,
        smoothing: float = 0.2,
        updates: int = 5,
        max_steps: int = 60,
        rtol: float = 1e-5,
        patience: int = 3,
    ):
        if not smoothing >= 0:
            raise ValueError(f"EM: smoothing must be 0 or more, got {smoothing!r}.")
        if updates < 1:
            raise ValueError(f"EM: updates must be positive, got {updates!r}.")
        self.smoothing = smoothing
        self.updates = int(updates)
        self.max_steps = max_steps
        self.rtol = rtol
        self.patience = patience

    def check(self, problem: Problem) -> None:
        if problem.likelihood_rows is None:
            raise ValueError(
                'EM maximizes the likelihood of a Density of kind "nonnegative", got '
                f"{type(problem).__name__}; use Optax for it."
            )

    def init(self, problem: Problem, network: TensorNetwork) -> Any:
        return ()

    def step(
        self, problem: Problem, network: TensorNetwork, state: Any
    ) -> tuple[TensorNetwork, Any]:
        rows, structure = problem.likelihood_rows, network.structure
        assert rows is not None
        smoothing = jnp.asarray(self.smoothing, network.dtype)
        again = lambda update, x: lax.fori_loop(0, self.updates, lambda _, y: update(y), x)
        plan = hypertree.layout(structure)
        if plan is not None:
            stack = hypertree.stacked(structure, network.cores)
            update = lambda x: _tables(structure, plan, x, rows, smoothing)
            cores = hypertree.unstacked(structure, again(update, stack))
        elif (tree := hypertree.rooted(structure)) is not None:
            update = lambda x: _tree_cores(structure, tree, x, rows)
            cores = again(update, network.cores)
        else:
            cores = again(lambda x: _one_by_one(structure, x, rows), network.cores)
        return TensorNetwork(structure, cores), state


def _tables(
    structure: Structure, plan: hypertree.Layout, stack: Array, rows: Rows, smoothing: Array
) -> Array:
    """One update of a tree, all cores in one array [nodes, mode, parent's bond, own bond]."""

    def likelihood(stack: Array) -> Array:
        found = log_rows.tree_entries(plan, stack, jnp.asarray(rows.values))
        return jnp.vdot(jnp.asarray(rows.weights), found.log_abs())

    counts = stack * jax.grad(likelihood)(stack) * jnp.asarray(rows.count, stack.dtype)
    allowed = _allowed(structure, plan, stack)
    each = allowed.sum((1, 3), keepdims=True)
    counts = counts + smoothing * allowed / jnp.maximum(each, jnp.ones_like(each))
    sums = counts.sum((1, 3), keepdims=True)
    return jnp.where(sums > 0, counts / jnp.where(sums > 0, sums, jnp.ones_like(sums)), 0)


def _allowed(structure: Structure, plan: hypertree.Layout, stack: Array) -> Array:
    """One where a prior may have mass: at modes that are there, and states of bonds that are not
    empty. (A search fills bonds up by empty states.)"""
    sizes = [structure.dims[mode] if mode >= 0 else 1 for mode in plan.modes]
    modes = np.arange(plan.dim)[None, :] < np.asarray(sizes)[:, None]
    owner = {edge: step for step, edge in enumerate(plan.children) if edge is not None}
    above = np.asarray([-1 if edge is None else owner[edge] for edge in plan.parents])
    corner = np.arange(plan.rank)[None, :] == 0
    leaf = np.asarray([edge is None for edge in plan.children])[:, None]
    own = (stack > 0).any((1, 2))
    own = jnp.where(leaf, jnp.asarray(corner), own)
    parent = jnp.where((above < 0)[:, None], jnp.asarray(corner), own[np.maximum(above, 0)])
    every = jnp.asarray(modes)[:, :, None, None] & parent[:, None, :, None] & own[:, None, None, :]
    return every.astype(stack.dtype)


class FittedTree(NamedTuple):
    """What `fit_tree` found.

    Attributes:
        cores: the best ones.
        error: mean negative log-likelihood of the rows that it was judged by, in nats.
        steps: that were made.
        programs, seconds: made, and how long that took.
    """

    cores: Cores
    error: float
    steps: int
    programs: int
    seconds: float


def fit_tree(
    problem: Problem,
    solver: EM,
    structure: Structure,
    cores: Cores,
    *,
    target_error: float | None = None,
    max_steps: int | None = None,
) -> FittedTree:
    """`EM` on a tree, in programs that do not grow with the number of nodes.

    Args:
        problem: with `likelihood_rows`.
        solver: its options.
        structure: a tree of which `hypertree.layout` knows an order; with room for more states.
        cores: the start.
        target_error: stop at or below it.
        max_steps: the solver's own by default; 0 gives the error of the start.

    Returns:
        the best cores, their error, and what it took.

    Example:
        >>> import numpy as np, tnjax
        >>> from tnjax.solve import EM, fit_tree
        >>> density = tnjax.Density(np.random.default_rng(0).integers(2, size=(50, 3)))
        >>> start = density.named_start(None)
        >>> fit_tree(density, EM(), start.structure, start.cores, max_steps=1).steps
        1
    """
    rows, judging = problem.likelihood_rows, problem.judging_rows
    assert rows is not None
    assert judging is not None
    stack: Any = hypertree.stacked_on_host(structure, cores)
    smoothing = np.asarray(solver.smoothing, stack.dtype)
    work = problem.work * 100
    ran = _compile.run(_judged, (structure,), (stack, judging), work=work)
    best, best_error = stack, float(ran.value)
    programs, seconds, idle, steps = ran.programs, ran.seconds, 0, 0
    target = -math.inf if target_error is None else target_error
    limit = solver.max_steps if max_steps is None else max_steps
    while steps < limit and idle < solver.patience and best_error > target:
        args = (stack, rows, judging, smoothing)
        ran = _compile.run(_advanced, (structure, solver.updates), args, work=work)
        stack, error = ran.value[0], float(ran.value[1])
        programs, seconds, steps = programs + ran.programs, seconds + ran.seconds, steps + 1
        if not math.isfinite(error):
            break
        idle = 0 if error < best_error * (1 - solver.rtol) else idle + 1
        if error < best_error:
            best, best_error = stack, error
        if _interrupt.pending() is not None:
            break
    found = hypertree.unstacked(structure, np.asarray(best))
    return FittedTree(found, best_error, steps, programs, seconds)


def _judged(structure: Structure, stack: Array, rows: Rows) -> Array:
    plan = hypertree.layout(structure)
    assert plan is not None
    stack = jnp.asarray(stack)
    nothing = jnp.full((1, len(structure.dims)), -1, jnp.int32)
    mass = log_rows.tree_entries(plan, stack, nothing).log_abs()[0]
    found = log_rows.tree_entries(plan, stack, jnp.asarray(rows.values))
    return mass - jnp.vdot(jnp.asarray(rows.weights), found.log_abs())


def _advanced(
    structure: Structure, updates: int, stack: Array, rows: Rows, judging: Rows, smoothing: Array
) -> tuple[Array, Array]:
    plan = hypertree.layout(structure)
    assert plan is not None
    update = lambda _, x: _tables(structure, plan, x, rows, smoothing)
    stack = lax.fori_loop(0, updates, update, jnp.asarray(stack))
    return stack, _judged(structure, stack, judging)


def _log_likelihood(structure: Structure, cores: tuple[Array, ...], rows: Rows) -> Array:
    found = log_rows.entries(structure, cores, jnp.asarray(rows.values))
    return jnp.vdot(jnp.asarray(rows.weights), found.log_abs())


def _tree_cores(
    structure: Structure, tree: hypertree.Rooted, cores: tuple[Array, ...], rows: Rows
) -> tuple[Array, ...]:
    """One update of any tree, without a prior."""
    slopes = jax.grad(lambda x: _log_likelihood(structure, x, rows))(cores)
    out = []
    for node, (core, slope) in enumerate(zip(cores, slopes, strict=True)):
        counts, parent = core * slope, tree.parents[node]
        axes = [axis for axis in range(core.ndim)]
        if parent is not None:
            axes.remove(structure.axis(node, parent))
        sums = counts.sum(axes, keepdims=True)
        out.append(jnp.where(sums > 0, counts / jnp.where(sums > 0, sums, jnp.ones_like(sums)), 0))
    return tuple(out)


def _one_by_one(structure: Structure, cores: tuple[Array, ...], rows: Rows) -> tuple[Array, ...]:
    """One update of any graph: each core in turn is a mixture of its entries."""
    nothing = jnp.full((1, len(structure.dims)), -1, jnp.int32)

    def logs(core: Array, cores: Cores, node: int) -> tuple[Array, Array]:
        changed: Any = (*cores[:node], core, *cores[node + 1 :])
        mass = log_rows.entries(structure, changed, nothing).log_abs()[0]
        return _log_likelihood(structure, changed, rows), mass

    for node in range(structure.num_nodes):
        up, down = jax.jacrev(logs)(cores[node], cores, node)
        ratio = jnp.where(down > 0, up / jnp.where(down > 0, down, jnp.ones_like(down)), 0)
        cores = (*cores[:node], cores[node] * ratio, *cores[node + 1 :])
    return cores
