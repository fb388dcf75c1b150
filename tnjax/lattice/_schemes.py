"""One step of coarse graining: two sites become one. Tensors have the indices up, right, down,
left; weights stand on the bonds, vertical and horizontal."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from ._svd import better_side, leading_svd, power

# The exponent at which the weights of bonds make the fixed point stationary.
_BOND_WEIGHT = -0.5


class Site(NamedTuple):
    """A tensor with the weights of its vertical and horizontal bonds, diagonal matrices (whose
    derivatives are full ones)."""

    tensor: Float[Array, "up right down left"]
    vertical: Float[Array, "up down"]
    horizontal: Float[Array, "right left"]


def trg(site: Site, chi: int) -> Site:
    """Levin, Nave, arXiv cond-mat/0611687. The lattice turns by an eighth of a circle."""
    return _around_plaquettes(site, chi, 0.0)


def btrg(site: Site, chi: int) -> Site:
    """Bond-weighted: Adachi, Okubo, Todo, arXiv 2011.01679."""
    return _around_plaquettes(site, chi, _BOND_WEIGHT)


def _around_plaquettes(site: Site, chi: int, weight: float) -> Site:
    """Each tensor is split along one of its diagonals; the four parts around a plaquette make a new
    tensor. Each part holds its share of the singular values, the bond between the rest."""
    tensor = site.tensor
    up, right = tensor.shape[:2]
    # (left, up) from (right, down), and (up, right) from (down, left).
    first = jnp.transpose(tensor, (3, 0, 1, 2)).reshape(right * up, right * up)
    second = tensor.reshape(up * right, up * right)
    rank = min(chi, up * right)
    u, s, v = leading_svd(first, rank)
    share = power(s, (1 - weight) / 2)
    upper_left = (u @ share).reshape(right, up, rank)
    lower_right = (v @ share).reshape(right, up, rank)
    p, t, q = leading_svd(second, rank)
    share = power(t, (1 - weight) / 2)
    upper_right = (p @ share).reshape(up, right, rank)
    lower_left = (q @ share).reshape(up, right, rank)
    # Around a plaquette: x to the north, y east, z south, w west. Bonds carry their weights.
    if weight:
        h, w = site.horizontal, site.vertical
        lower_right = jnp.einsum("xwa,xX,wW->XWa", lower_right, h, w)
        upper_left = jnp.einsum("zyc,zZ,yY->ZYc", upper_left, h, w)
    north = jnp.einsum("xwa,yxb->waby", lower_right, lower_left)
    south = jnp.einsum("zyc,wzd->wycd", upper_left, upper_right)
    new = jnp.einsum("waby,wycd->abcd", north, south)
    if weight:
        return Site(new, power(s, weight), power(t, weight))
    one = jnp.eye(rank, dtype=tensor.dtype)
    return Site(new, one, one)


def hotrg(site: Site, chi: int) -> Site:
    """Xie, Chen, Qin, Zhu, Yang, Xiang, arXiv 1201.1144: one site and the one below it, their
    horizontal bonds projected together. The lattice turns by a quarter of a circle."""
    tensor = site.tensor
    right = tensor.shape[1]
    rank = min(chi, right * right)
    # Products of all indices but those of one side, of the upper site and of the lower.
    left_upper = jnp.einsum("urkl,urmn->klmn", tensor, tensor)
    left_lower = jnp.einsum("krdl,mrdn->klmn", tensor, tensor)
    right_upper = jnp.einsum("urkl,usml->krms", tensor, tensor)
    right_lower = jnp.einsum("krdl,msdl->krms", tensor, tensor)
    gram = lambda upper, lower: jnp.einsum("kamb,kcmd->acbd", upper, lower).reshape(
        right**2, right**2
    )
    grams = gram(left_upper, left_lower), gram(right_upper, right_lower)
    first, second = (leading_svd(matrix, rank) for matrix in grams)
    isometry = better_side(first, second, grams).reshape(right, right, rank)
    half = jnp.einsum("urkl,lma->urkma", tensor, isometry)
    half = jnp.einsum("urkma,ksdm->ursda", half, tensor)
    new = jnp.einsum("ursda,rsb->ubda", half, isometry)
    turned = jnp.transpose(new, (3, 0, 1, 2))  # left is up now
    return Site(turned, jnp.eye(rank, dtype=tensor.dtype), site.vertical)


SCHEMES = {"trg": trg, "hotrg": hotrg, "btrg": btrg}
