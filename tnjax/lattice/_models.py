"""Tensors of classical models on square lattices, and exact partition functions of small ones."""

from typing import Any

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from ..contract import contract


def ising(beta: ArrayLike, dimensions: int = 2) -> Float[Array, "..."]:
    r"""The Ising model, weights $e^{\beta s s'}$ of neighbors s, s' = 1, -1, as a tensor of a site.

    Args:
        beta: coupling over temperature, at least 0; may be traced. Critical at
            $\ln(1 + \sqrt 2) / 2$ on the square lattice, about 0.22165 on the cubic one.
        dimensions: 2 or 3.

    Returns:
        Indices up, right, down, left, each of size 2; of a cubic lattice six, one for each axis and
        then the opposite ones.

    Raises:
        ValueError: if there are fewer dimensions or more.

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
    return _site(factor, dimensions)


def potts(states: int, beta: ArrayLike, dimensions: int = 2) -> Float[Array, "..."]:
    r"""The Potts model, weights $e^{\beta}$ of equal neighbors and 1 of others, as a tensor of a
    site.

    Args:
        states: that a site may have, at least 2.
        beta: coupling over temperature, at least 0; may be traced. Critical at
            $\ln(1 + \sqrt q)$ on the square lattice.
        dimensions: 2 or 3.

    Returns:
        Indices of size `states`, as of `ising`.

    Raises:
        ValueError: if there are fewer than two states, or not 2 or 3 dimensions.

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
    return _site(factor, dimensions)


def _site(factor: Float[Array, "states bonds"], dimensions: int) -> Array:
    """The tensor of a site: a sum over its states."""
    if dimensions not in (2, 3):
        raise ValueError(f"dimensions={dimensions!r}; expected 2 or 3.")
    letters = "abcdef"[: 2 * dimensions]
    words = ",".join(f"s{letter}" for letter in letters)
    return jnp.einsum(f"{words}->{letters}", *[factor] * len(letters))


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
