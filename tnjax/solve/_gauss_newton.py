"""Gauss-Newton with Levenberg-Marquardt damping, solved by conjugate gradients."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jax.scipy.sparse.linalg import cg
from jaxtyping import Array

from .. import _lean as lean
from .._network import TensorNetwork
from .._tuned import tuned
from ..problems import Problem
from ._damping import Damping, damped_step, first_damping, raised_damping
from .real import from_real, to_real
from .solver import Solver


@dataclasses.dataclass(frozen=True)
class GaussNewtonStep:
    """Gauss-Newton steps.

    Attributes:
        cg_rtol: relative residual at which conjugate gradients end.
        ease: smallest factor of the damping after an accepted step: Nielsen's.
    """

    cg_rtol: float = 1e-6
    ease: float = 1 / 3


GAUSS_NEWTON = tuned("gauss_newton", GaussNewtonStep(), traced=True)


class GaussNewton(Solver):
    r"""All cores at once: $(H + \mu I)\, d = -g$ by conjugate gradients, never forming H.

    H is the Gauss-Newton matrix $2 J^T J$ of a least squares problem (and of the parabola that
    stands for another loss of sampled entries) and the Hessian of any other loss. A step is
    accepted if it lowers the loss; the damping follows the ratio of the actual to the predicted
    decrease (Nielsen's rule).

    Args:
        max_steps: outer iterations at the most.
        rtol, patience: end after `patience` iterations that each lower the best error by less
            than the fraction `rtol`.
        cg_steps: conjugate gradient iterations in one step.
        damping: of the first step.

    Example:
        >>> import jax, jax.numpy as jnp, tnjax
        >>> x = jnp.outer(jnp.arange(1.0, 4.0), jnp.arange(1.0, 5.0))
        >>> problem, rank_one = tnjax.Decomposition(x), tnjax.Structure.rank_one((3, 4))
        >>> solver = tnjax.GaussNewton(cg_steps=10)
        >>> tnjax.fit(problem, rank_one, key=jax.random.key(0), solver=solver).error < 1e-3
        True

    Reference:
        Nocedal and Wright, Numerical Optimization, sections 7.1 and 10.3; Madsen, Nielsen,
        Tingleff, Methods for Non-Linear Least Squares Problems, section 3.2.
    """

    max_steps: int = 50
    rtol: float = 1e-4
    patience: int = 5
    cg_steps: int = eqx.field(static=True, default=30)
    damping: float = 1e-3

    def check(self, problem: Problem) -> None:
        if problem.nonnegative:
            raise ValueError(
                "GaussNewton cannot keep cores nonnegative; use ALS() or an optax transformation."
            )

    def init(self, problem: Problem, network: TensorNetwork) -> Damping:
        return first_damping(self.damping, problem.dtype)

    def step(
        self, problem: Problem, network: TensorNetwork, state: Damping
    ) -> tuple[TensorNetwork, Damping]:
        damping, _ = state
        rebuild = from_real(network.structure, network.dtype)
        network = problem.balanced(network)
        x, unravel = ravel_pytree(to_real(network))
        loss = lambda x: problem.loss(rebuild(unravel(x)))
        value, gradient = jax.value_and_grad(loss)(x)
        squares = problem.least_squares
        if squares is not None:
            residual = lambda x: to_real_vector(squares.tangent(rebuild(unravel(x)), network))
            _, forward = jax.linearize(residual, x)
            backward = jax.linear_transpose(forward, x)
            product = lambda v: 2 * backward(forward(v))[0]
        else:
            _, product = jax.linearize(jax.grad(loss), x)
        matrix = lambda v: product(v) + damping * v
        change, _ = cg(matrix, -gradient, maxiter=self.cg_steps, tol=GAUSS_NEWTON().cg_rtol)
        predicted = -(lean.inner(gradient, change) + lean.inner(change, product(change)) / 2)
        tiny = jnp.finfo(damping.dtype).eps ** 2
        x, state = damped_step(
            state, x, change, loss, value, predicted, ease=GAUSS_NEWTON().ease, least=tiny
        )
        return rebuild(unravel(x)), state

    def recover(self, state: Damping) -> Damping:
        return raised_damping(state)


def to_real_vector(x: Array) -> Array:
    """A real vector with the same sum of squares."""
    if jnp.iscomplexobj(x):
        return jnp.concatenate([x.real.ravel(), x.imag.ravel()])
    return x.ravel()
