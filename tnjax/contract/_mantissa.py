"""Numbers as a mantissa and a power of two: exact, and cheap to keep through long products."""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Int

# Bits of the mantissa, and the bias of the exponent, by the bytes of a real number.
_FORMATS = {4: (jnp.int32, 23, 127), 8: (jnp.int64, 52, 1023)}


def normalized(x: Array, axes: int = 0) -> tuple[Array, Int[Array, "..."]]:
    """Divide by powers of two such that the largest real or imaginary part lies in [0.5, 1).

    Args:
        x: of single or double precision.
        axes: so many leading axes have powers of their own.

    Returns:
        The mantissas, and the exponents of shape `x.shape[:axes]`. Exponents have no derivative.
        Those of zeros are small and say nothing.
    """
    fixed = lax.stop_gradient(x)
    parts = (fixed.real, fixed.imag) if jnp.iscomplexobj(x) else (fixed,)
    rest = tuple(range(axes, x.ndim))
    largest = parts[0]
    sizes = [jnp.abs(part).max(axis=rest, initial=0) for part in parts]
    largest = sizes[0] if len(sizes) == 1 else jnp.maximum(*sizes)
    integer, digits, bias = _FORMATS[largest.dtype.itemsize]
    bits = lax.bitcast_convert_type(largest, integer)
    exponent = (bits >> digits).astype(jnp.int32) - (bias - 1)
    return times_power(x, -exponent.reshape(*exponent.shape, *(1,) * len(rest))), exponent


def times_power(x: Array, exponent: Int[Array, "..."]) -> Array:
    """x times two to a power, rounded only where the result leaves the range of normal numbers."""
    real = x.real.dtype
    half = exponent // 2  # the power itself may be out of range where the result is not
    first, second = _power(half, real), _power(exponent - half, real)
    return x * first.astype(x.dtype) * second.astype(x.dtype)


def _power(exponent: Array, dtype: jnp.dtype) -> Array:
    integer, digits, bias = _FORMATS[dtype.itemsize]
    clipped = jnp.clip(exponent, 1 - bias, bias).astype(integer)
    return lax.bitcast_convert_type((clipped + bias) << digits, dtype)
