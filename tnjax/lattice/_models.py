"""Tensors of classical models on square lattices, and exact partition functions of small ones."""

from typing import Any

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from ..contract import contract


def ising(beta: ArrayLike) -> Float[Array, "2 2 2 2"]:
    r"""The Ising model, weights $e^{\beta s s'}$ of neighbors s, s' = 1, -1, as a tensor of a site.

    Args:
        beta: coupling over temperature, at least 0; may be traced. Critical at
            $\ln(1 + \sqrt 2) / 2$.

    Returns:
        Indices up, right, down, left.

    Example:
        >>> import jax.numpy as jnp
        >>> from tnjax.lattice import ising
        >>> round(float(ising(0.0)[0, 0, 0, 0]), 5)  # a spin has two values
        2.0
    """
    beta = jnp.asarray(beta, float)
    even, odd = jnp.sqrt(2 * jnp.cosh(beta)), _root(2 * jnp.sinh(beta))
    # The square root of the matrix of neighbors, in the basis of its eigenvectors.
    factor = jnp.stack([jnp.stack([even, odd]), jnp.stack([even, -odd])]) / jnp.sqrt(2.0)
    return jnp.einsum("su,sr,sd,sl->urdl", factor, factor, factor, factor)


def potts(states: int, beta: ArrayLike) -> Float[Array, "q q q q"]:
    r"""The Potts model, weights $e^{\beta}$ of equal neighbors and 1 of others, as a tensor of a
    site.

    Args:
        states: that a site may have, at least 2.
        beta: coupling over temperature, at least 0; may be traced. Critical at
            $\ln(1 + \sqrt q)$.

    Returns:
        Indices up, right, down, left.

    Raises:
        ValueError: if there are fewer than two states.

    Example:
        >>> from tnjax.lattice import coarse_grain, potts
        >>> potts(3, 0.5).shape
        (3, 3, 3, 3)
    """
    if states < 2:
        raise ValueError(f"potts: states={states}; expected an integer of 2 or more.")
    beta = jnp.asarray(beta, float)
    alone = _root(jnp.expm1(beta))
    together = (jnp.sqrt(jnp.expm1(beta) + states) - alone) / states
    factor = alone * jnp.eye(states) + together
    return jnp.einsum("su,sr,sd,sl->urdl", factor, factor, factor, factor)


def _root(x: Array) -> Array:
    """The square root, with a derivative of zero at zero."""
    return jnp.where(x > 0, jnp.sqrt(jnp.where(x > 0, x, 1)), 0)


def log_partition(tensor: ArrayLike, rows: int, columns: int) -> Float[Array, ""]:
    """The logarithm of the partition function of a small periodic lattice, contracted exactly.

    Args:
        tensor: of one site; indices up, right, down, left.
        rows, columns: of the lattice, at least 2 each. Costs grow as the size of a bond to the
            power of twice the smaller of them.

    Returns:
        A scalar (of the modulus, for tensors with negative entries).

    Raises:
        ValueError: if the lattice is smaller.

    Example:
        >>> import math
        >>> from tnjax.lattice import ising, log_partition
        >>> round(math.exp(log_partition(ising(0.4), 2, 2)), 1)  # two bonds between neighbors
        61.1
    """
    if min(rows, columns) < 2:
        raise ValueError(f"log_partition: a lattice of {rows} x {columns}; expected 2 x 2 or more.")
    site = lambda i, j: (i % rows) * columns + j % columns
    labels = []
    for i in range(rows):
        for j in range(columns):  # bond 2n goes up from site n, bond 2n + 1 to its right
            up, right = 2 * site(i, j), 2 * site(i, j) + 1
            labels.append((up, right, 2 * site(i + 1, j), 2 * site(i, j - 1) + 1))
    value: Any = contract((labels, ()), *[tensor] * (rows * columns), log=True)
    return jnp.log(jnp.abs(value.mantissa)) + value.log_scale
