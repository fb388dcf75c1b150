"""The damping of Gauss-Newton steps: eased after a good one, raised after a rejected one."""

import dataclasses

import jax.numpy as jnp
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


def first_damping(damping: Array | float, dtype) -> Damping:
    """The damping of the first step, and the factor by which a rejection raises it."""
    real = jnp.finfo(dtype).dtype
    return jnp.asarray(damping, real), jnp.asarray(2.0, real)


def next_damping(state: Damping, ratio: Array, accept: Array, *, ease: float, least) -> Damping:
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


def raised_damping(state: Damping) -> Damping:
    """What answers a step that gave NaN or infinity."""
    damping, factor = state
    return DAMPING().raised * damping, factor
