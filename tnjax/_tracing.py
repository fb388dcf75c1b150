"""What differs inside of a trace (`jit`, `vmap`, `grad`, `shard_map`): values are not known there."""

from typing import Any

import jax
import jax.numpy as jnp
from jax.core import Tracer


def traced(*trees: Any) -> bool:
    """Whether an array in one of the pytrees is traced, so that its entries are not known."""
    return any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(trees))


def refuse_trace(what: str, instead: str, *trees: Any) -> None:
    """Raise `ValueError` where entries are not known: for what works on the host alone.

    Args:
        what: the function that was called.
        instead: what to do, a clause.
        trees: what it was given. Inside of `jit` nothing else has to be traced either.
    """
    if traced(trees) or isinstance(jnp.zeros(()), Tracer):
        raise ValueError(
            f"{what} was called inside of a trace (jit, vmap, grad, ...), where the entries of "
            f"arrays are not known: {instead}."
        )
