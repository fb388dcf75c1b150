"""JAX's keys for generators of NumPy, on the host."""

import functools
import warnings
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import jax
import numpy as np
from jaxtyping import PRNGKeyArray

P = ParamSpec("P")
R = TypeVar("R")


def host_seed(key: PRNGKeyArray) -> int:
    """The bits of a key as one integer; `jax.random.key(s)` gives s."""
    words = np.asarray(jax.random.key_data(key), np.uint32).ravel()
    return functools.reduce(lambda value, word: (value << 32) | int(word), words, 0)


def generator(key: PRNGKeyArray | None) -> np.random.Generator:
    """NumPy's generator of a key, of `jax.random.key(0)` for None."""
    return np.random.default_rng(0 if key is None else host_seed(key))


def key_for_seed(function: Callable[P, R]) -> Callable[P, R]:
    """Takes the integer `seed` of version 0.1 as `key=jax.random.key(seed)`, with a warning."""

    @functools.wraps(function)
    def call(*args: P.args, **given: P.kwargs) -> R:
        if "seed" in given:
            seed = given.pop("seed")
            warnings.warn(
                f"{function.__name__}: seed={seed!r} is now key=jax.random.key({seed!r}).",
                DeprecationWarning,
                stacklevel=2,
            )
            given["key"] = jax.random.key(seed)  # pyright: ignore
        return function(*args, **given)

    return call
