"""The damping of Gauss-Newton steps: eased after a good one, raised after a rejected one."""

import dataclasses
from collections.abc import Callable

import jax.numpy as jnp
from jax.typing import ArrayLike, DTypeLike
from jaxtyping import Array, Float

from .._tuned import tuned


@dataclasses.dataclass(frozen=True)
class DampingRule:
    """The damping of Gauss-Newton steps.

    Attributes:
        raised: factor of the damping after a step that gave NaN or infinity.
    """

    raised: int = 100


DAMPING = tuned("damping", DampingRule(), traced=True)


Damping = tuple[Float[Array, ""], Float[Array, ""]]


def first_damping(damping: Array | float, dtype: DTypeLike) -> Damping:
    """The damping of the first step, and the factor by which a rejection raises it."""
    real = jnp.finfo(dtype).dtype
    return jnp.asarray(damping, real), jnp.asarray(2.0, real)


def next_damping(
    state: Damping, ratio: Array, accept: Array, *, ease: float, least: ArrayLike
) -> Damping:
    """Nielsen's rule.

    Args:
        ratio: of the actual to the predicted decrease of the loss.
        accept: whether the step was taken.
        ease: smallest factor of an accepted step.
        least: damping never falls below it.

    Reference:
        Madsen, Nielsen, Tingleff, Methods for Non-Linear Least Squares Problems, section 3.2.
    """
    damping, factor = state
    eased = damping * jnp.clip(1 - (2 * ratio - 1) ** 3, ease, 2)
    damping = jnp.where(accept, jnp.maximum(eased, least), damping * factor)
    return damping, jnp.where(accept, 2.0, factor * 2).astype(factor.dtype)


def damped_step(
    state: Damping,
    x: Array,
    change: Array,
    loss: Callable[[Array], Array],
    value: Array,
    predicted: Array,
    *,
    ease: float,
    least,
) -> tuple[Array, Damping]:
    """A step that is taken if it lowers the loss.

    Args:
        state: the damping that it was made with.
        x, change: where it begins, and how it goes.
        loss, value: the loss, and its value at `x`.
        predicted: by how much the parabola falls along the step.
        ease, least: see `next_damping`.

    Returns:
        where the fit goes on from, and the next damping.
    """
    new_value = loss(x + change)
    ratio = (value - new_value) / jnp.where(predicted > 0, predicted, jnp.inf)
    accept = jnp.isfinite(new_value) & (new_value < value)
    state = next_damping(state, ratio, accept, ease=ease, least=least)
    return jnp.where(accept, x + change, x), state


def raised_damping(state: Damping) -> Damping:
    """What answers a step that gave NaN or infinity."""
    damping, factor = state
    return DAMPING().raised * damping, factor
