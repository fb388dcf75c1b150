"""JAX's keys for generators of NumPy, on the host."""

import functools

import jax
import numpy as np
from jaxtyping import PRNGKeyArray


def host_seed(key: PRNGKeyArray) -> int:
    """The bits of a key as one integer; `jax.random.key(s)` gives s."""
    words = np.asarray(jax.random.key_data(key), np.uint32).ravel()
    return functools.reduce(lambda value, word: (value << 32) | int(word), words, 0)


def generator(key: PRNGKeyArray | None) -> np.random.Generator:
    """NumPy's generator of a key, of `jax.random.key(0)` for None."""
    return np.random.default_rng(0 if key is None else host_seed(key))
