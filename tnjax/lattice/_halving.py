"""What all schemes of coarse graining share: checks, and the loop in which two sites become one."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike
from jaxtyping import Array, Float

Normalized = Callable[[Any], tuple[Any, Array]]


def halved(site: Any, step: Callable[[Any], Any], normalized: Normalized, steps: int) -> tuple:
    """Coarse graining step by step, in a loop once shapes stay.

    Args:
        site: arrays.
        step: two sites to one.
        normalized: what keeps a site in range, and the logarithm that this takes out.
        steps: to make.

    Returns:
        The last site, what its lattice of one site adds to, and the share of a site in that.
    """
    site, log_scale = normalized(site)

    def one(carry: tuple, _: Any) -> tuple[tuple, None]:
        site, log_z, share = carry
        site, log_scale = normalized(step(site))
        return (site, log_z + share / 2 * log_scale, share / 2), None

    carry, done = (site, log_scale, jnp.asarray(1.0, log_scale.dtype)), 0
    while done < steps:  # until bonds are as large as they get
        shapes = jax.eval_shape(lambda carry: one(carry, None)[0], carry)
        if jax.tree.map(jnp.shape, shapes) == jax.tree.map(jnp.shape, carry):
            break
        carry, done = one(carry, None)[0], done + 1
    # HOTRG changes some sides at a time: another step may change the others.
    return lax.scan(one, carry, length=steps - done)[0] if done < steps else carry


def scale_of(tensor: Array) -> Float[Array, ""]:
    """The largest entry, 1 for zeros. It has no derivative: the tensor keeps all of it."""
    largest = lax.stop_gradient(jnp.abs(tensor).max())
    return jnp.where(largest > 0, largest, jnp.ones_like(largest))


def check(what: str, tensor: ArrayLike, dimensions: int, chi: int, steps: int) -> Array:
    """The tensor of a site, with an index for each axis and then the opposite ones.

    Raises:
        ValueError: if shape, dtype, chi or steps make no lattice.
    """
    array = jnp.asarray(tensor)
    shape = array.shape
    if len(shape) != 2 * dimensions or shape[:dimensions] != shape[dimensions:]:
        names = ("up, right, down, left", "one for each axis, then the opposite ones")
        raise ValueError(
            f"{what}: the tensor has the shape {list(shape)}; expected {2 * dimensions} indices "
            f"({names[dimensions - 2]}), of which opposite ones have one size."
        )
    if not jnp.issubdtype(array.dtype, jnp.floating) or array.dtype.itemsize < 4:
        raise ValueError(f"{what}: the tensor is of {array.dtype}; expected float32 or float64.")
    for name, value in (("chi", chi), ("steps", steps)):
        if value != int(value) or value < 1:
            raise ValueError(f"{what}: {name}={value!r}; expected a positive integer.")
    return array
