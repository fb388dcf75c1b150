"""The derivative of an optimum by the data, its gauge fixed."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jax.flatten_util import ravel_pytree
from jax.scipy.sparse.linalg import cg
from jaxtyping import Array

from .._network import TensorNetwork
from ..problems import Problem
from .real import from_real, to_real


@eqx.filter_custom_jvp
def at_optimum(
    problem: Problem,
    network: TensorNetwork,
    *,
    dense: int,
    rcond: float,
    cg_steps: int,
    tol: float,
) -> TensorNetwork:
    """The network, which is an optimum of the problem and moves as one when its data do. See
    `Implicit` for the arguments."""
    return network


@at_optimum.def_jvp
def _moves(primals, tangents, *, dense: int, rcond: float, cg_steps: int, tol: float):
    problem, network = primals
    change, _ = tangents
    rebuild = from_real(network.structure, network.dtype)
    x, unravel = ravel_pytree(to_real(network))
    whole = lambda x: rebuild(unravel(x))
    gradient = lambda problem, x: jax.grad(lambda x: problem.loss(whole(x)))(x)

    slope, hessian = jax.linearize(lambda x: gradient(problem, x), x)
    if x.size <= dense:
        solve = _pseudo_inverse(hessian, x, rcond)
    else:
        solve = _conjugate_gradients(hessian, cg_steps, rcond * tol)
    _, forced = eqx.filter_jvp(lambda problem: gradient(problem, x), (problem,), (change,))
    gain = jnp.vdot(slope, solve(slope)) / 2  # of one Newton step
    least = jnp.finfo(x.dtype).eps
    converged = gain <= tol * jnp.abs(problem.loss(network)) + least
    moved = -solve(forced) * jnp.where(converged, 1, jnp.nan)
    return network, jax.jvp(whole, (x,), (moved,))[1]


def _pseudo_inverse(product: Callable, x: Array, rcond: float) -> Callable:
    matrix = jax.vmap(product)(jnp.eye(x.size, dtype=x.dtype))
    values, vectors = jnp.linalg.eigh((matrix + matrix.T) / 2)
    sizes = jnp.abs(values)
    kept = sizes > rcond * sizes.max()
    inverse = jnp.where(kept, 1 / jnp.where(kept, values, 1), 0)
    return lambda v: vectors @ (inverse * (vectors.T @ v))


def _conjugate_gradients(product: Callable, steps: int, tol: float) -> Callable:
    """Solves in the range of the matrix; NaN for what does not lie in it."""

    def solve(matrix, right):
        found, _ = cg(matrix, right, maxiter=steps, tol=tol)
        left = jnp.linalg.norm(matrix(found) - right)
        return jnp.where(left <= tol**0.5 * jnp.linalg.norm(right), found, jnp.nan)

    return lambda v: lax.custom_linear_solve(product, v, solve, symmetric=True)
