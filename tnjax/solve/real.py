"""Real coordinates for complex networks, so that every gradient method serves both."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from .._network import TensorNetwork
from .._structure import Structure

Coordinates = tuple[jax.Array, ...]


def to_real(network: TensorNetwork) -> Coordinates:
    """The cores; complex ones as a stack of real and imaginary part."""
    if not jnp.iscomplexobj(network.cores[0]):
        return network.cores
    return tuple(jnp.stack([core.real, core.imag]) for core in network.cores)


def from_real(structure: Structure, dtype: DTypeLike) -> Callable[[Coordinates], TensorNetwork]:
    """The inverse of `to_real` for networks of one structure and dtype."""
    if not jnp.issubdtype(dtype, jnp.complexfloating):
        return lambda x: TensorNetwork(structure, x)
    return lambda x: TensorNetwork(structure, [jax.lax.complex(c[0], c[1]) for c in x])
