"""The derivative of an optimum by the data, its gauge fixed."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jax.flatten_util import ravel_pytree
from jax.scipy.sparse.linalg import cg
from jaxtyping import Array

from .. import _lean as lean
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
        solve, guess = _pseudo_inverse(hessian, x, rcond)
    else:
        project = across_gauge(network)
        solve, guess = _conjugate_gradients(hessian, project, cg_steps, rcond * tol)
    _, forced = eqx.filter_jvp(lambda problem: gradient(problem, x), (problem,), (change,))
    gain = jnp.abs(lean.inner(slope, guess(slope))) / 2  # of one Newton step
    least = jnp.finfo(x.dtype).eps
    converged = gain <= tol * jnp.abs(problem.loss(network)) + least
    moved = -solve(forced) * jnp.where(converged, 1, jnp.nan)
    return network, jax.jvp(whole, (x,), (moved,))[1]


def _pseudo_inverse(product: Callable, x: Array, rcond: float) -> tuple[Callable, Callable]:
    """The pseudo-inverses of the matrix and of its modulus (no gain makes up for a loss at a
    saddle)."""
    matrix = jax.vmap(product)(jnp.eye(x.size, dtype=x.dtype))
    values, vectors = jnp.linalg.eigh((matrix + matrix.T) / 2)
    sizes = jnp.abs(values)
    kept = sizes > rcond * sizes.max()
    inverse = jnp.where(kept, 1 / jnp.where(kept, values, 1), 0)
    times = lean.product
    by = lambda inverse: lambda v: times(vectors, inverse * times(vectors.T, v))
    return by(inverse), by(jnp.abs(inverse))


def _conjugate_gradients(
    product: Callable, project: Callable, steps: int, tol: float
) -> tuple[Callable, Callable]:
    """Solves across the gauge: NaN where that does not converge, and whatever comes out."""

    def rough(matrix, right):
        return cg(matrix, right, maxiter=steps, tol=tol)[0]

    def solve(matrix, right):
        found = rough(matrix, right)
        left = jnp.linalg.norm(matrix(found) - right)
        return jnp.where(left <= tol**0.5 * jnp.linalg.norm(right), found, jnp.nan)

    def solved(v):
        return project(lax.custom_linear_solve(product, project(v), solve, symmetric=True))

    return solved, lambda v: project(rough(product, project(v)))


def across_gauge(network: TensorNetwork) -> Callable[[Array], Array]:
    """The orthogonal projection of motions of the cores (in real coordinates, a vector) to those
    that have no part along the gauge.

    Along it the cores move without the tensor: a bond of two nodes by any matrix on one side and
    its inverse on the other, a hyperedge by diagonal ones. It needs the memory of the cores times
    the squared ranks, summed over bonds.
    """
    structure, cores = network.structure, network.cores
    parts = 2 if jnp.iscomplexobj(cores[0]) else 1
    real = cores[0].real.dtype
    generators = [
        jnp.zeros((parts, *((rank, rank) if len(edge) == 2 else (len(edge) - 1, rank))), real)
        for edge, rank in structure.edges.items()
    ]
    flat, unravel = ravel_pytree(generators)

    def along(z: Array) -> Array:
        changes = [jnp.zeros_like(core) for core in cores]
        for edge, pair in zip(structure.edges, unravel(z), strict=True):
            step = pair[0] if parts == 1 else lax.complex(pair[0], pair[1])
            for place, node in enumerate(edge):
                axis = len(structure.legs[node]) + structure.core_edges(node).index(edge)
                core = jnp.moveaxis(cores[node], axis, -1)
                if len(edge) == 2:
                    moved = lean.product(core, step if place == 0 else -step.T)
                else:
                    factor = step.sum(0) if place == 0 else -step[place - 1]
                    moved = core * factor.reshape((1,) * (core.ndim - 1) + (-1,))
                changes[node] += jnp.moveaxis(moved, -1, axis)
        return ravel_pytree(to_real(TensorNetwork(structure, changes)))[0]

    if not flat.size:
        return lambda v: v
    basis = jax.vmap(along)(jnp.eye(flat.size, dtype=real))
    values, vectors = jnp.linalg.eigh(lean.product(basis, basis.T))
    kept = values > values.max() * flat.size * jnp.finfo(real).eps
    inverse = jnp.where(kept, 1 / jnp.where(kept, values, 1), 0)
    times = lean.product

    def rest(v: Array) -> Array:
        inside = times(vectors, inverse * times(vectors.T, times(basis, v)))
        return v - times(inside, basis)

    return rest
