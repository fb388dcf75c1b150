"""The exponential of a linear map applied to an array."""

from collections.abc import Callable

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Real

# Terms of a Taylor series may grow by this factor, which costs one digit, before it is halved.
_GROWTH = 10.0


def flow(apply: Callable[[Array], Array], start: Array, time: Real[Array, ""]) -> Array:
    r"""$e^{t A} x$ to the precision of the dtype, for a linear A.

    Taylor series over parts of the time. A part is halved where terms grow, since large terms that
    cancel cost digits.

    Args:
        apply: the map A.
        start: x.
        time: t, a real number.

    Returns:
        An array as x; not numbers where a million parts are not enough.
    """

    def attempt(carry):
        x, left, part = carry
        part = jnp.minimum(part, left)
        new, grown = _series(apply, x, time * part)
        fine, hopeless = ~(grown > _GROWTH), part < 2.0**-20
        return (
            jnp.where(fine, new, jnp.where(hopeless, jnp.nan, x)),
            jnp.where(fine, left - part, jnp.where(hopeless, 0, left)),
            jnp.where(fine, part, part / 2),
        )

    one = jnp.ones_like(time)
    return lax.while_loop(lambda carry: carry[1] > 0, attempt, (start, one, one))[0]


def _series(apply: Callable[[Array], Array], x: Array, time: Array) -> tuple[Array, Array]:
    """The series, and the largest term as a multiple of the first one."""
    first, eps = jnp.linalg.norm(x.ravel()), jnp.finfo(x.dtype).eps

    def goes_on(carry) -> Array:
        total, _, size, largest, _ = carry
        whole = jnp.linalg.norm(total.ravel())
        return (size > eps * whole) & (largest <= _GROWTH * first)

    def add(carry):
        total, term, _, largest, count = carry
        term = (time / count).astype(term.dtype) * apply(term)
        size = jnp.linalg.norm(term.ravel())
        return total + term, term, size, jnp.maximum(largest, size), count + 1

    start = x, x, first, first, jnp.ones_like(first)
    total, _, _, largest, _ = lax.while_loop(goes_on, add, start)
    return total, largest / jnp.where(first > 0, first, 1)
