"""Levenberg-Marquardt for least squares, with what alternating least squares knows."""

import dataclasses
from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.flatten_util import ravel_pytree
from jax.scipy.sparse.linalg import cg
from jaxtyping import Array

from .. import _lean as lean
from .._network import TensorNetwork
from .._tuned import tuned
from ..contract.kernels import FULL
from ..problems import Problem
from ._damping import Damping, damped_step, first_damping, raised_damping
from .real import from_real, to_real
from .solver import Solver


@dataclasses.dataclass(frozen=True)
class Levenberg:
    """Levenberg-Marquardt steps.

    Attributes:
        cg_rtol: relative residual at which conjugate gradients end: the step is damped anyway.
        ease: smallest factor of the damping after an accepted step.
    """

    cg_rtol: float = 1e-3
    ease: float = 0.1


LEVENBERG = tuned("levenberg", Levenberg(), traced=True)


class LevenbergMarquardt(Solver):
    r"""All cores at once: $(J^T J + \mu I)\, d = J^T r$ for the residual r and its Jacobian J.

    Conjugate gradients, preconditioned by the blocks of $J^T J$ that belong to one core each (the
    Gram matrices of alternating least squares); the product with $J^T J$ is the problem's own,
    for a dense tensor a contraction of the network with itself that never touches the data. The
    damping $\mu$ is relative to the mean diagonal of these blocks and follows the ratio of the
    actual to the predicted decrease (Nielsen's rule).

    It converges in some ten to forty steps where alternating least squares creeps (a swamp), and
    from random starts it finds exact solutions that alternating steps rarely do.

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
        >>> solver = tnjax.LevenbergMarquardt(max_steps=20)
        >>> tnjax.fit(problem, rank_one, key=jax.random.key(0), solver=solver).error < 1e-3
        True

    Reference:
        Tichavsky, Phan, Cichocki, SIAM J. Matrix Anal. Appl. 34 (2013) and Sorber, Van Barel, De
        Lathauwer, SIAM J. Optim. 23 (2013), for CP; Nocedal and Wright, Numerical Optimization,
        section 10.3.
    """

    max_steps: int = 60
    rtol: float = 1e-2
    patience: int = 8
    cg_steps: int = eqx.field(static=True, default=40)
    damping: float = 1.0

    def check(self, problem: Problem) -> None:
        if problem.least_squares is None:
            raise ValueError(
                f"LevenbergMarquardt needs a least squares problem, got {type(problem).__name__}. "
                "Use GaussNewton() or an optax transformation, e.g. solver=optax.lbfgs()."
            )
        if problem.nonnegative:
            raise ValueError(
                "LevenbergMarquardt cannot keep cores nonnegative; use ALS() or an optax "
                "transformation."
            )

    def init(self, problem: Problem, network: TensorNetwork) -> Damping:
        return first_damping(self.damping, problem.dtype)

    def step(
        self, problem: Problem, network: TensorNetwork, state: Damping
    ) -> tuple[TensorNetwork, Damping]:
        squares = problem.least_squares
        assert squares is not None
        damping, _ = state
        rebuild = from_real(network.structure, network.dtype)
        network = problem.balanced(network)
        x, unravel = ravel_pytree(to_real(network))
        loss = lambda x: problem.loss(rebuild(unravel(x)))
        value, gradient = jax.value_and_grad(loss)(x)
        grams, product = squares.normal_operator(network)
        square = lambda v: ravel_pytree(to_real(product(rebuild(unravel(v)))))[0]
        traces = sum(jnp.trace(gram, axis1=-2, axis2=-1).real.mean() for gram in grams)
        shift = damping * traces / sum(gram.shape[-1] for gram in grams)
        inverses = _shifted_inverses(grams, shift)

        def precondition(v: Array) -> Array:
            cores = rebuild(unravel(v)).cores
            solved = [
                _solved(inverse, core.reshape(-1, inverse.shape[-1])).reshape(core.shape)
                for inverse, core in zip(inverses, cores, strict=True)
            ]
            return ravel_pytree(to_real(TensorNetwork(network.structure, solved)))[0]

        matrix = lambda v: square(v) + shift * v
        right = -gradient / 2
        change, _ = cg(
            matrix, right, maxiter=self.cg_steps, tol=LEVENBERG().cg_rtol, M=precondition
        )
        predicted = 2 * lean.inner(right, change) - lean.inner(change, square(change))
        tiny = jnp.finfo(damping.dtype).eps
        x, state = damped_step(
            state, x, change, loss, value, predicted, ease=LEVENBERG().ease, least=tiny
        )
        return rebuild(unravel(x)), state

    def recover(self, state: Damping) -> Damping:
        return raised_damping(state)


def _shifted_inverses(grams: Sequence[Array], shift: Array) -> list[Array]:
    """(gram + shift I)^-1 of each: good enough for a preconditioner, and cheap to apply.

    One after the other: under `vmap` they are batched LAPACK calls, which on CPU wait for threads
    of the pool that they run on; as many at once as there are threads wait forever (jaxlib 0.10).
    """
    inverses = []
    for gram in grams:
        unit = np.eye(gram.shape[-1], dtype=gram.dtype)[None]
        shifted = gram + shift.astype(gram.dtype) * unit
        factor = lax.linalg.cholesky(shifted, symmetrize_input=False)
        half = lax.linalg.triangular_solve(
            factor, jnp.broadcast_to(unit, gram.shape), left_side=True, lower=True
        )
        inverses.append(jnp.matmul(half.mT.conj(), half, precision=FULL))
        corner = inverses[-1][0, 0, 0].real
        shift = shift + 0 * jnp.where(jnp.isfinite(corner), corner, 0)  # the next one waits
    return inverses


def _solved(inverse: Array, rows: Array) -> Array:
    """inverse @ row for every row; [rows or 1, n, n] and [rows, n]."""
    if inverse.shape[0] == 1:
        return jnp.matmul(rows, inverse[0].T, precision=FULL)
    return jnp.matmul(inverse, rows[..., None], precision=FULL)[..., 0]
