"""Small systems of normal equations, one for each row of a core."""

import dataclasses
from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.scipy.sparse.linalg import cg
from jaxtyping import Array

from .. import _lean as lean
from .._tuned import tuned


@dataclasses.dataclass(frozen=True)
class Rows:
    """Rows of a core that must not be negative, or are tied to each other.

    Attributes:
        passes: passes of coordinate descent over the unknowns of a row; the next sweep goes on.
        coupled_steps: conjugate gradient iterations for rows that are tied to each other; the next
            sweep goes on.
        coupled_rtol: relative residual at which they end.
    """

    passes: int = 5
    coupled_steps: int = 20
    coupled_rtol: float = 1e-3


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
    unit = lean.widened(unit, gram.shape)
    trace = lean.real(lax.reduce_sum(lax.mul(gram, unit), (1, 2)))
    # Times the unit matrix, ...
    ridge = lax.mul(trace, lean.widened(jnp.asarray(ridge / size, trace.dtype), trace.shape))
    tiny = np.full(trace.shape, jnp.finfo(trace.dtype).tiny, trace.dtype)
    shift = lax.convert_element_type(lax.max(ridge, tiny), gram.dtype)
    shift = lax.broadcast_in_dim(shift, gram.shape, (0,))
    # ... it makes all of the matrix definite.
    system = lax.add(gram, lax.mul(shift, unit))
    factor = lax.linalg.cholesky(system, symmetrize_input=False)
    return cholesky_rows(factor, lax.sub(rhs, applied(gram, x)))


def applied(gram: Array, x: Array) -> Array:
    """G x of every row; shapes as of `row_steps`."""
    precision = lax.Precision.HIGHEST
    if gram.shape[0] == 1:
        shared = lax.squeeze(gram, (0,))
        return lax.dot_general(x, shared, (((1,), (1,)), ((), ())), precision=precision)
    return lax.dot_general(gram, x, (((2,), (1,)), ((0,), (0,))), precision=precision)


def coupled_steps(
    gram: Array,
    tied: Callable[[Array], Array],
    rhs: Array,
    x: Array,
    ridge: Array | float,
) -> Array:
    """The step of all rows towards the solution of G x + tied(x) = rhs, by conjugate gradients with
    the rows by themselves as the preconditioner: each iteration lowers the loss.

    Args:
        gram, rhs, x, ridge: as of `row_steps`.
        tied: rows to rows, what ties them to each other.
    """
    unit = np.eye(gram.shape[-1], dtype=gram.dtype)[None]
    mean = jnp.sum(gram * unit, (-2, -1), keepdims=True).real / gram.shape[-1]
    shift = jnp.maximum(ridge * mean, jnp.finfo(mean.dtype).tiny).astype(gram.dtype)
    factor = lax.linalg.cholesky(gram + shift * unit, symmetrize_input=False)
    product = lambda d: ((gram + shift * unit) @ d[..., None])[..., 0] + tied(d)
    first = rhs - (gram @ x[..., None])[..., 0] - tied(x)
    step, _ = cg(
        product,
        first,
        tol=ROWS().coupled_rtol,
        maxiter=ROWS().coupled_steps,
        M=lambda r: cholesky_rows(factor, r),
    )
    return step


def cholesky_rows(factor: Array, rows: Array) -> Array:
    """The solutions y of L L^H y = row, for every row.

    Args:
        factor: L, lower triangular [rows or 1, n, n].
        rows: [rows, n].
    """
    shared = factor.shape[0] == 1  # one matrix for all rows
    if shared:
        factor, columns = lax.squeeze(factor, (0,)), lax.transpose(rows, (1, 0))
    else:
        columns = lax.expand_dims(rows, (2,))
    lower = dict(left_side=True, lower=True)
    half = lax.linalg.triangular_solve(factor, columns, **lower)
    full = lax.linalg.triangular_solve(
        factor, half, **lower, transpose_a=True, conjugate_a=jnp.iscomplexobj(factor)
    )
    return lax.transpose(full, (1, 0)) if shared else lax.squeeze(full, (2,))


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
