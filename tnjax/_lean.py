"""Operations that a trace sees as one primitive.

A method of an array or a function of `jax.numpy` is a jitted function of its own: where it meets a
shape for the first time, tracing it takes some ten times as long as the primitive that it wraps. A
search traces programs of hundreds of operations whose shapes are all new. So what is traced for
each core of a network is written by means of these.
"""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array


def conj(x: Array | np.ndarray) -> Any:
    """The complex conjugate; real arrays as they are."""
    return lax.conj(x) if jnp.issubdtype(x.dtype, jnp.complexfloating) else x


def real(x: Array | np.ndarray) -> Any:
    """The real part; real arrays as they are."""
    return lax.real(x) if jnp.issubdtype(x.dtype, jnp.complexfloating) else x


def reshape(x: Array | np.ndarray, shape: Sequence[int]) -> Any:
    """`x` in another shape, without a -1."""
    return x if x.shape == tuple(shape) else lax.reshape(x, tuple(shape))


def widened(x: Array | np.ndarray, shape: Sequence[int]) -> Any:
    """`x`, whose axes are the last ones of `shape`, or one long, broadcast to it."""
    if x.shape == tuple(shape):
        return x
    first = len(shape) - x.ndim
    return lax.broadcast_in_dim(x, tuple(shape), tuple(range(first, len(shape))))


def along_first(values: np.ndarray, like: Array | np.ndarray) -> Any:
    """Numbers known while tracing, one for each index of the first axis of an array, in its shape
    and dtype."""
    return lax.broadcast_in_dim(values.astype(like.dtype), like.shape, (0,))


def inner(x: Array | np.ndarray, y: Array | np.ndarray) -> Any:
    """The sum of conj(x) y over all entries."""
    axes = tuple(range(x.ndim))
    return lax.dot_general(conj(x), y, ((axes, axes), ((), ())), precision=lax.Precision.HIGHEST)


def product(a: Array, b: Array) -> Array:
    """The product of matrices or vectors in full precision."""
    return jnp.matmul(a, b, precision=lax.Precision.HIGHEST)
