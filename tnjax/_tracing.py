"""What differs inside of a trace (`jit`, `vmap`, `grad`, ...): entries are not known there."""

from typing import Any

import jax
import numpy as np
from jax.core import Tracer


def traced(*trees: Any) -> bool:
    """Whether an array in one of the pytrees is traced, so that its entries are not known."""
    return any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(trees))


def new_array() -> Any:
    """An array that is traced inside of `jit`, whatever else is."""
    return jax.device_put(np.zeros(()))


def refuse_trace(what: str, instead: str, *trees: Any) -> None:
    """Raise `ValueError` if an array is traced: for what works on the host alone.

    Args:
        what: the function that was called.
        instead: what to do, a clause.
        trees: what it was given (and a `new_array`, if it makes arrays itself).
    """
    if traced(trees):
        raise ValueError(
            f"{what} was called inside of a trace (jit, vmap, grad, ...), where the entries of "
            f"arrays are not known: {instead}."
        )
