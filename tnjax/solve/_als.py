"""Alternating least squares."""

import dataclasses
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from .. import _lean as lean
from .._network import TensorNetwork
from .._tuned import tuned
from ..problems import Problem
from .rows import coupled_steps, row_steps
from .solver import Solver


@dataclasses.dataclass(frozen=True)
class Als:
    """Steps of alternating least squares.

    Attributes:
        halvings: how often a step that raises a loss is halved (the loss is not quadratic then)
            before it is given up.
        ridge: the default ridge in double precision, relative to the mean diagonal: large enough
            for a Cholesky factor, small enough to change nothing.
        ridge_single: the same in single precision.
        raised: factor of the ridge after a step that gave NaN or infinity.
    """

    halvings: int = 20
    ridge: float = 1e-12
    ridge_single: float = 1e-6
    raised: int = 100


ALS_STEP = tuned("als", Als(), traced=True)


class ALS(Solver):
    r"""Alternating least squares: each core in turn is set to its exact optimum.

    For node k with Gram matrix G of the other cores and right-hand side b, the core moves from
    c to c + d with

    $$(G + \lambda I)\, d = b - G c, \qquad \lambda = \mathrm{ridge} \cdot \mathrm{tr}(G) / n.$$

    The ridge acts on the step and not on the core, so it makes the system solvable without
    moving its fixed point: it does not limit the error that can be reached. In exact
    arithmetic a sweep never raises the loss; in single precision one can, where a Gram matrix
    is singular to rounding (a larger ridge helps), and `fit` keeps the best network. A failed
    Cholesky factorization is answered by a hundred times the ridge.

    For a loss that is not quadratic, the problem puts a parabola in its place and the system is the
    parabola's (iteratively reweighted least squares); a step that raises the loss is halved.
    Where the problem asks for nonnegative cores, rows are solved for by coordinate descent.

    Args:
        max_steps: sweeps at the most.
        rtol: a sweep that lowers the error by less than this fraction ends the fit.
        patience: how many such sweeps in a row end it.
        ridge: relative to the mean diagonal of G; by default 1e-12 in double and 1e-6 in
            single precision.

    Example:
        >>> import jax, jax.numpy as jnp, tnjax
        >>> x = jnp.outer(jnp.arange(1.0, 4.0), jnp.arange(1.0, 5.0))
        >>> problem, rank_one = tnjax.Decomposition(x), tnjax.Structure.rank_one((3, 4))
        >>> solver = tnjax.ALS(max_steps=5)
        >>> tnjax.fit(problem, rank_one, key=jax.random.key(0), solver=solver).error < 1e-3
        True

    Reference:
        arXiv 2008.05437, section 3.2; the proximal form: Li, Kindermann, Navasca, Numer.
        Linear Algebra Appl. 20 (2013).
    """

    max_steps: int = 20
    rtol: float = 1e-4
    patience: int = 1
    ridge: float | None = None

    def check(self, problem: Problem) -> None:
        if problem.least_squares is None:
            raise ValueError(
                f"ALS needs a least squares problem, got {type(problem).__name__}. Use an optax "
                "transformation, e.g. solver=optax.lbfgs(), or GaussNewton()."
            )

    def init(self, problem: Problem, network: TensorNetwork) -> Float[Array, ""]:
        real = jnp.finfo(problem.dtype).dtype
        ridge = self.ridge
        if ridge is None:
            double = jnp.finfo(real).bits == 64
            ridge = ALS_STEP().ridge if double else ALS_STEP().ridge_single
        return jnp.asarray(ridge, real)

    def step(
        self, problem: Problem, network: TensorNetwork, state: Float[Array, ""]
    ) -> tuple[TensorNetwork, Float[Array, ""]]:
        squares = problem.least_squares
        assert squares is not None
        layers = squares.layers(network)

        def swept(network: TensorNetwork, nodes: tuple[int, ...], partial: Any) -> TensorNetwork:
            """All `nodes` in their order; halves of them share what the other cores make."""
            if len(nodes) == 1:
                network = _solved(problem, network, nodes[0], layers, partial, state)
                if layers is not None:
                    core = network.cores[nodes[0]]
                    layers[nodes[0]] = squares.layer(network.structure, nodes[0], core)
                return network
            middle = len(nodes) // 2
            for half in (nodes[:middle], nodes[middle:]):
                shared = partial  # of one node, its normal equations make the rest of the way
                if len(half) > 1:
                    shared = squares.partial(network, half, layers, partial)
                network = swept(network, half, shared)
            return network

        network = swept(network, tuple(range(network.structure.num_nodes)), None)
        return problem.balanced(network), state

    def recover(self, state: Float[Array, ""]) -> Float[Array, ""]:
        return ALS_STEP().raised * state


def _solved(
    problem: Problem,
    network: TensorNetwork,
    node: int,
    layers: list[Array] | None,
    partial: Any,
    ridge: Array,
) -> TensorNetwork:
    """The network with the core of one node at its optimum, or nearer to it."""
    squares, cores = problem.least_squares, list(network.cores)
    assert squares is not None
    gram, rhs, tied = squares.coupled_equations(network, node, layers=layers, partial=partial)
    x = lean.reshape(cores[node], rhs.shape)
    if tied is None:
        step = row_steps(gram, rhs, x, ridge, problem.nonnegative)
    else:
        step = coupled_steps(gram, tied, rhs, x, ridge)

    def moved(step: Array) -> TensorNetwork:
        core = lax.add(cores[node], lean.reshape(step, cores[node].shape))
        return TensorNetwork(network.structure, [*cores[:node], core, *cores[node + 1 :]])

    if squares.exact_core(node):
        return moved(step)
    along = lambda length: moved(length.astype(step.dtype) * step)
    return along(_length(problem, along, jnp.ones((), ridge.dtype)))


def _length(problem: Problem, moved: Callable[[Array], TensorNetwork], full: Array) -> Array:
    """The first of 1, 1/2, 1/4, ... whose loss is not above the loss at 0, else 0.

    Nearby data give the same one: its derivative is zero."""
    arrays, rest = eqx.partition(problem, eqx.is_inexact_array)
    fixed = eqx.combine(lax.stop_gradient(arrays), rest)
    loss = lambda length: fixed.loss(lax.stop_gradient(moved(length)))
    before = loss(jnp.zeros_like(full))

    def failed(state):
        length, tries = state
        return ~(loss(length) <= before) & (tries < ALS_STEP().halvings)

    length, tries = lax.while_loop(failed, lambda s: (s[0] / 2, s[1] + 1), (full, 0))
    return jnp.where(tries < ALS_STEP().halvings, length, 0)
