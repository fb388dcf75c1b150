"""Alternating least squares."""

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from .._network import TensorNetwork, balance
from ..objectives import LeastSquares, Problem
from ._solver import Solver


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

    Args:
        max_steps: sweeps at the most.
        rtol: a sweep that lowers the error by less than this fraction ends the fit.
        patience: so many such sweeps in a row.
        ridge: relative to the mean diagonal of G; by default 1e-12 in double and 1e-6 in
            single precision.

    Reference:
        arXiv 2008.05437, section 3.2; the proximal form: Li, Kindermann, Navasca, Numer.
        Linear Algebra Appl. 20 (2013).
    """

    max_steps: int = 20
    rtol: float = 1e-4
    patience: int = 1
    ridge: float | None = None

    def check(self, problem: Problem) -> None:
        if not isinstance(problem, LeastSquares):
            raise ValueError(
                f"ALS needs a least squares problem, got {type(problem).__name__}. Use an optax "
                "transformation, e.g. solver=optax.lbfgs(), or GaussNewton()."
            )

    def init(self, problem: Problem, network: TensorNetwork) -> Float[Array, ""]:
        real = jnp.finfo(problem.dtype).dtype
        ridge = self.ridge
        if ridge is None:
            ridge = 1e-12 if jnp.finfo(real).bits == 64 else 1e-6
        return jnp.asarray(ridge, real)

    def step(
        self, problem: LeastSquares, network: TensorNetwork, state: Float[Array, ""]
    ) -> tuple[TensorNetwork, Float[Array, ""]]:
        for node in range(network.structure.num_nodes):
            cores = list(network.cores)
            gram, rhs = problem.normal_equations(network, node)
            core = cores[node].reshape(rhs.shape)
            cores[node] = (core + solve_rows(gram, rhs, core, state)).reshape(cores[node].shape)
            network = TensorNetwork(network.structure, cores)
        return TensorNetwork(network.structure, balance(network.cores)), state

    def recover(self, state: Float[Array, ""]) -> Float[Array, ""]:
        return 100 * state


def solve_rows(gram: Array, rhs: Array, x: Array, ridge: Array | float) -> Array:
    """The step d of every row: (G + ridge tr(G)/n I) d = rhs - G x.

    Args:
        gram: [rows or 1, n, n], Hermitian.
        rhs, x: [rows, n].
    """
    size = gram.shape[-1]
    mean = jnp.trace(gram, axis1=-2, axis2=-1).real / size
    shift = jnp.maximum(ridge * mean, jnp.finfo(mean.dtype).tiny).astype(gram.dtype)
    system = gram + shift[:, None, None] * np.eye(size, dtype=gram.dtype)
    factor = lax.linalg.cholesky(system, symmetrize_input=False)
    residual = rhs - (gram @ x[..., None])[..., 0]
    if gram.shape[0] == 1:  # one Gram matrix for all rows
        factor, residual = factor[0], residual.T
    else:
        residual = residual[..., None]
    lower = dict(left_side=True, lower=True)
    half = lax.linalg.triangular_solve(factor, residual, **lower)
    step = lax.linalg.triangular_solve(
        factor, half, **lower, transpose_a=True, conjugate_a=jnp.iscomplexobj(factor)
    )
    return step.T if gram.shape[0] == 1 else step[..., 0]
