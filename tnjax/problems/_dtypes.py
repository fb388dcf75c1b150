"""In which precision data are computed."""

import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def computed(array: Any, what: str) -> Any:
    """The data in a dtype that networks are fitted in; a sentence says so where that is another.

    Args:
        array: numbers, of NumPy or traced.
        what: whose data they are, for messages.

    Returns:
        the same array where it has single or double precision, real or complex; half precision
        and less in single, extended precision in double.

    Raises:
        ValueError: if these are no floating or complex numbers.
    """
    dtype = array.dtype
    if dtype.kind in "fc" and dtype.char not in "gG" and dtype.itemsize >= 4:
        return array
    if dtype.char in "gG":
        wide: Any = np.complex128 if dtype.char == "G" else np.float64
    elif jnp.issubdtype(dtype, jnp.floating):
        wide = np.float32
    else:
        raise ValueError(f"{what}: expected floating or complex numbers, got {dtype}.")
    warnings.warn(
        f"{what}: the data are {dtype}; they are computed in {np.dtype(wide)}, as is the network. "
        "Convert them with `astype` to say so yourself.",
        stacklevel=3,
    )
    return array.astype(wide)


def check_range(largest: float, dtype: Any, what: str) -> None:
    """Refuse data that are smaller or larger than JAX computes with in their dtype.

    Args:
        largest: absolute value.
        dtype: of the data.
        what: whose data they are.

    Raises:
        ValueError: if the largest value is denormal, or overflows.
    """
    held = jnp.finfo(jax.dtypes.canonicalize_dtype(dtype))
    if not float(held.tiny) <= largest <= float(held.max):
        raise ValueError(
            f"{what}: the largest absolute value is {largest:.3g}, but {held.dtype} holds sound "
            f"numbers from {float(held.tiny):.3g} to {float(held.max):.3g} only. Multiply the data "
            "by a factor first, and divide what is predicted by it."
        )
