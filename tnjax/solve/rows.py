"""Small systems of normal equations, one for each row of a core."""

import dataclasses

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array

from .._tuned import tuned


@dataclasses.dataclass(frozen=True)
class Rows:
    """Rows of a core that must not be negative.

    Attributes:
        passes: passes of coordinate descent over the unknowns of a row; the next sweep goes on.
    """

    passes: int = 5


ROWS = tuned("rows", Rows(), traced=True)


def row_steps(gram: Array, rhs: Array, x: Array, ridge: Array | float, nonnegative: bool) -> Array:
    """The step of every row towards the solution of its normal equations.

    Args:
        gram: [rows or 1, n, n], Hermitian.
        rhs, x: [rows, n].
        ridge: relative to the mean diagonal, on the step.
        nonnegative: the rows must stay without a negative entry (as x must be).
    """
    if nonnegative:
        return nonnegative_rows(gram, rhs, x) - x
    return solve_rows(gram, rhs, x, ridge)


def solve_rows(gram: Array, rhs: Array, x: Array, ridge: Array | float) -> Array:
    """The step d of every row: (G + ridge tr(G)/n I) d = rhs - G x."""
    size = gram.shape[-1]
    unit = np.eye(size, dtype=gram.dtype)[None]  # a constant: nothing to trace
    mean = jnp.sum(gram * unit, (-2, -1), keepdims=True).real / size
    shift = jnp.maximum(ridge * mean, jnp.finfo(mean.dtype).tiny).astype(gram.dtype)
    system = gram + shift * unit
    factor = lax.linalg.cholesky(system, symmetrize_input=False)
    return cholesky_rows(factor, rhs - (gram @ x[..., None])[..., 0])


def cholesky_rows(factor: Array, rows: Array) -> Array:
    """The solutions y of L L^H y = row, for every row.

    Args:
        factor: L, lower triangular [rows or 1, n, n].
        rows: [rows, n].
    """
    shared = factor.shape[0] == 1  # one matrix for all rows
    factor, columns = (factor[0], rows.T) if shared else (factor, rows[..., None])
    lower = dict(left_side=True, lower=True)
    half = lax.linalg.triangular_solve(factor, columns, **lower)
    full = lax.linalg.triangular_solve(
        factor, half, **lower, transpose_a=True, conjugate_a=jnp.iscomplexobj(factor)
    )
    return full.T if shared else full[..., 0]


def nonnegative_rows(gram: Array, rhs: Array, x: Array) -> Array:
    """Rows that lower x'Gx - 2 x'b within x >= 0, by passes over their entries.

    Each entry in turn is set to its exact optimum, so that no pass raises the loss.

    Reference:
        Cichocki, Phan, IEICE Trans. Fundamentals E92-A (2009): hierarchical ALS.
    """
    size = gram.shape[-1]
    gram = jnp.broadcast_to(gram, (x.shape[0], size, size))

    def update(n, x):
        column = n % size
        row = lax.dynamic_index_in_dim(gram, column, 1, keepdims=False)
        diagonal = lax.dynamic_index_in_dim(row, column, 1, keepdims=False)
        old = lax.dynamic_index_in_dim(x, column, 1, keepdims=False)
        slope = lax.dynamic_index_in_dim(rhs, column, 1, keepdims=False) - jnp.sum(row * x, 1)
        safe = jnp.where(diagonal > 0, diagonal, 1)
        new = jnp.where(diagonal > 0, jnp.maximum(old + slope / safe, 0), old)
        return lax.dynamic_update_index_in_dim(x, new, column, 1)

    return lax.fori_loop(0, ROWS().passes * size, update, x)
