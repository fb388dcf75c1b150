"""Coarse graining of cubic lattices."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from ._halving import check, halved, scale_of
from ._svd import better_side, leading_svd


class CubicGrained(NamedTuple):
    """What coarse graining of a cubic lattice gives.

    Attributes:
        log_z: the logarithm of the (modulus of the) partition function per site, a scalar.
        tensor: the last tensor, its largest entry 1; indices as of the first one.

    Example:
        >>> from tnjax.lattice import coarse_grain_cubic, ising
        >>> coarse_grain_cubic(ising(0.1, dimensions=3), chi=2, steps=3).tensor.shape
        (2, 2, 2, 2, 2, 2)
    """

    log_z: Float[Array, ""]
    tensor: Float[Array, "a b c A B C"]


def coarse_grain_cubic(tensor: ArrayLike, chi: int, steps: int) -> CubicGrained:
    """The partition function of a periodic cubic lattice whose every site holds one tensor.

    HOTRG: each step makes one site of two neighbors along one axis, and projects the bonds of the
    two other axes together. Compiled, looped and differentiated as `coarse_grain` is.

    Args:
        tensor: real, of one site: an index for each axis, then the opposite ones.
        chi: largest size of a bond. A step costs O(chi^11) and holds some tensors of chi^8.
        steps: how often two sites become one; three steps double all sides of the lattice.

    Returns:
        `log_z` with the last tensor.

    Raises:
        ValueError: if the tensor is not real with matching sides, or chi or steps are not positive.

    Example:
        >>> import math
        >>> from tnjax.lattice import coarse_grain_cubic, ising
        >>> log_z = coarse_grain_cubic(ising(0.1, dimensions=3), chi=2, steps=12).log_z
        >>> exact = math.log(2 * math.cosh(0.1) ** 3) + 3 * math.tanh(0.1) ** 4  # and smaller terms
        >>> abs(float(log_z) - exact) < 3e-4
        True

    Reference:
        Xie, Chen, Qin, Zhu, Yang, Xiang, arXiv 1201.1144.
    """
    site = check("coarse_grain_cubic", tensor, 3, chi, steps)
    return _coarse_grain_cubic(site, int(chi), int(steps))


@functools.partial(jax.jit, static_argnums=(1, 2))
def _coarse_grain_cubic(tensor: Array, chi: int, steps: int) -> CubicGrained:
    site, log_z, share = halved(tensor, lambda site: _merged(site, chi), _normalized, steps)
    closed = jnp.einsum("abcabc->", site)
    return CubicGrained(log_z + share * jnp.log(jnp.abs(closed)), site)


def _normalized(site: Array) -> tuple[Array, Array]:
    scale = scale_of(site)
    return site / scale, jnp.log(scale)


def _merged(site: Array, chi: int) -> Array:
    """Two sites along the last axis become one. The axes turn, so that the last is another one."""
    u = _isometry(site, chi)
    v = _isometry(jnp.transpose(site, (1, 0, 2, 4, 3, 5)), chi)
    full = functools.partial(jnp.einsum, precision=lax.Precision.HIGHEST)
    # First site [a b c A B k], second [d e k D E C]; bonds ad -> x, AD -> X, be -> y, BE -> Y.
    first = full("abcABk,adx,ADX->bcBkdDxX", site, u, u)
    second = full("dekDEC,bey,BEY->dkDCbByY", site, v, v)
    return full("bcBkdDxX,dkDCbByY->cxyCXY", first, second)


def _isometry(site: Array, chi: int) -> Array:
    """[a, d, x] for the bonds of the first axis, of a site and of the next one along the last."""
    size = site.shape[0]
    rank = min(chi, size * size)
    full = functools.partial(jnp.einsum, precision=lax.Precision.HIGHEST)

    def gram(upper: Array, lower: Array) -> Array:
        return full("kmax,kmdy->adxy", upper, lower).reshape(size**2, size**2)

    # Products over all indices but those of one side and of the bond between the sites.
    grams = (
        gram(full("abcABk,xbcABm->kmax", site, site), full("abkABC,xbmABC->kmax", site, site)),
        gram(full("abcABk,abcXBm->kmAX", site, site), full("abkABC,abmXBC->kmAX", site, site)),
    )
    first, second = (leading_svd(matrix, rank) for matrix in grams)
    return better_side(first, second, grams).reshape(size, size, rank)
