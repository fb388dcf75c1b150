"""The largest singular values of a square matrix, with derivatives where they are degenerate."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from .._tuned import tuned


@dataclasses.dataclass(frozen=True)
class Lattices:
    """The leading singular vectors of large matrices.

    Attributes:
        more: vectors that are iterated beside those that are kept, at least; as many as are kept
            if these are more.
        iterations: of the subspace, with twice the vectors that are kept. At a critical point one
            or two are enough; more change no digit.
    """

    more: int = 8
    iterations: int = 4


LATTICES = tuned("lattices", Lattices(), traced=True)

Factors = tuple[Array, Array, Array]


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def leading_svd(matrix: Float[Array, "n n"], rank: int) -> Factors:
    r"""The leading factors $U S V^T$ of a real square matrix.

    Large matrices go by subspace iteration from a fixed start, small ones by a full decomposition.

    The derivative is for functions that stay the same when the new bond is rotated, $U \to U R$,
    $S \to R^T S R$, $V \to V R$, as those of a network do. It keeps the bond unrotated and lets S
    become a full matrix instead, so that no difference of kept singular values is divided by and
    degenerate ones do no harm. What is cut off is in the derivative too; there a difference that
    vanishes, between a value that is kept and one that is not, counts as infinite (as in Liao, Liu,
    Wang, Xiang, arXiv 1903.09650).

    Args:
        matrix: [n, n].
        rank: values to keep, at most n.

    Returns:
        U [n, rank], the diagonal matrix S [rank, rank] in descending order, V [n, rank].
    """
    size = matrix.shape[0]
    block = rank + max(rank, LATTICES().more)
    if size <= 2 * block:
        u, s, vt = jnp.linalg.svd(matrix, full_matrices=False)
        return u[:, :rank], jnp.diag(s[:rank]), vt[:rank].T
    start = np.random.default_rng(0).standard_normal((size, block))
    basis = jnp.asarray(start, matrix.dtype)

    def improved(_, basis: Array) -> Array:
        return jnp.linalg.qr(matrix.T @ (matrix @ basis))[0]

    basis = lax.fori_loop(0, LATTICES().iterations, improved, basis)
    left, _ = jnp.linalg.qr(matrix @ basis)
    u, s, vt = jnp.linalg.svd(left.T @ matrix, full_matrices=False)
    return left @ u[:, :rank], jnp.diag(s[:rank]), vt[:rank].T


def better_side(first: Factors, second: Factors, grams: tuple[Array, Array]) -> Array:
    """The leading singular vectors of that of two Gram matrices of which they leave out less."""
    kept = [jnp.trace(x[1]) / jnp.trace(gram) for x, gram in zip((first, second), grams)]
    return jnp.where(kept[0] >= kept[1], first[0], second[0])


@leading_svd.defjvp
def _leading_svd_jvp(rank: int, primals, tangents) -> tuple[Factors, Factors]:
    (matrix,), (change,) = primals, tangents
    u, diagonal, v = leading_svd(matrix, rank)
    s = jnp.diagonal(diagonal)
    inner = u.T @ change @ v
    sums = s[:, None] + s[None]
    turned = (inner - inner.T) / 2 * jnp.where(sums > 0, 1 / jnp.where(sums > 0, sums, 1), 0)
    du, dv = u @ turned, -v @ turned
    if rank < matrix.shape[0]:
        # Those that were cut off, and the space where the matrix vanishes.
        a, cut, bt = jnp.linalg.svd(matrix - u @ diagonal @ v.T)
        off_u = lambda x: x - u @ (u.T @ x)
        off_v = lambda x: x - v @ (v.T @ x)
        x, y = a.T @ off_u(change @ v), bt @ off_v(change.T @ u)
        gap = s[None] ** 2 - cut[:, None] ** 2
        width = float(jnp.finfo(matrix.dtype).eps) ** 0.75 * jnp.where(s[0] > 0, s[0], 1) ** 2
        across = gap / (gap**2 + width**2)
        du += off_u(a @ (across * (x * s[None] + cut[:, None] * y)))
        dv += off_v(bt.T @ (across * (y * s[None] + cut[:, None] * x)))
    return (u, diagonal, v), (du, (inner + inner.T) / 2, dv)


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def power(diagonal: Float[Array, "n n"], exponent: float) -> Float[Array, "n n"]:
    """A diagonal matrix of singular values to a power; those that are zero but for rounding stay
    zero. Its derivative is that of a function of a symmetric matrix."""
    return jnp.diag(_powers(jnp.diagonal(diagonal), exponent))


def _powers(values: Array, exponent: float) -> Array:
    positive = values > float(jnp.finfo(values.dtype).eps) * values[0]
    return jnp.where(positive, jnp.where(positive, values, 1) ** exponent, 0)


@power.defjvp
def _power_jvp(exponent: float, primals, tangents) -> tuple[Array, Array]:
    (diagonal,), (change,) = primals, tangents
    values = jnp.diagonal(diagonal)
    powers = _powers(values, exponent)
    sums, gaps = values[:, None] + values[None], values[:, None] - values[None]
    # Between close values the derivative at their mean is more exact than the quotient.
    close = jnp.abs(gaps) <= 1e-6 * sums
    mean = jnp.where(sums > 0, sums / 2, 1)
    positive = (powers[:, None] != 0) & (powers[None] != 0)
    at_mean = jnp.where(positive, exponent * mean ** (exponent - 1), 0)
    quotient = (powers[:, None] - powers[None]) / jnp.where(close, 1, gaps)
    return jnp.diag(powers), change * jnp.where(close, at_mean, quotient)
