"""Random starts whose scale does not depend on the graph."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, PRNGKeyArray

from ._structure import Structure


def random_cores(structure: Structure, *, key: PRNGKeyArray, dtype: DTypeLike) -> tuple[Array, ...]:
    r"""Gaussian cores with $E\|T\|^2 = 1$.

    Every term of the sum over bonds is independent, so cores of unit variance would give
    $E\|T\|^2 = \prod_m n_m \prod_b r_b$; the standard deviation of each of the $K$ cores is that
    number to the power $-1/(2K)$. Complex cores have independent real and imaginary parts.
    """
    std = core_std(structure)
    keys = jax.random.split(key, structure.num_nodes)
    return tuple(
        jnp.asarray(std, dtype) * jax.random.normal(k, structure.core_shape(node), dtype)
        for node, k in enumerate(keys)
    )


def host_cores(
    structure: Structure, rng: np.random.Generator, dtype: DTypeLike
) -> tuple[np.ndarray, ...]:
    """The same distribution, drawn on the host: nothing is compiled for it."""
    cores = []
    for node in range(structure.num_nodes):
        core = np.asarray(rng.standard_normal(structure.core_shape(node)))
        if jnp.issubdtype(dtype, jnp.complexfloating):
            core = (core + 1j * rng.standard_normal(core.shape)) / math.sqrt(2)
        cores.append(np.asarray(core_std(structure) * core, dtype))
    return tuple(cores)


def core_std(structure: Structure) -> float:
    """Standard deviation of core entries for which the tensor has unit mean square norm."""
    power = math.fsum(map(math.log, (*structure.dims, *structure.ranks)))
    return math.exp(-power / (2 * structure.num_nodes))
