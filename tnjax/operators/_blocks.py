"""Sums of products as few matrices on several sites: few operations for a dense tensor."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Inexact

from ..contract import kernels

Sites = tuple[int, ...]


class Blocks(eqx.Module):
    """An operator as a sum of matrices on few sites each, and of products for what acts on more.

    `SumOfProducts.blocks` makes it.

    Attributes:
        dims: sizes of the sites.
        sites: for each matrix the sites that it acts on.
        matrices: shape [D, D] each, for D the product of the sizes of its sites, the first one
            slowest.
        product_sites, products: for each product its sites, and a matrix for each of them.

    Example:
        >>> from tnjax.operators import heisenberg, lattice_edges
        >>> chain = heisenberg(lattice_edges(8)).blocks(max_states=16)
        >>> chain.sites
        ((0, 1, 2, 3), (3, 4, 5, 6), (6, 7))
        >>> round(float(chain.lower_bound()), 3)  # the ground state has -3.375
        -3.982
    """

    dims: tuple[int, ...] = eqx.field(static=True)
    sites: tuple[Sites, ...] = eqx.field(static=True)
    matrices: tuple[Any, ...]
    product_sites: tuple[Sites, ...] = eqx.field(static=True)
    products: tuple[tuple[Any, ...], ...]

    def apply(self, tensor: Inexact[Array, "..."]) -> Inexact[Array, "..."]:
        """The operator applied to a dense tensor, shape `dims`, or with more axes behind."""
        out = jnp.zeros_like(tensor)
        for sites, matrix in zip(self.sites, self.matrices, strict=True):
            out = out + applied(matrix, tensor, sites)
        for sites, factors in zip(self.product_sites, self.products, strict=True):
            image = tensor
            for site, factor in zip(sites, factors, strict=True):
                image = applied(factor, image, (site,))
            out = out + image
        return out

    def lower_bound(self) -> Float[Array, ""]:
        """A bound that no energy of a Hermitian operator falls below: the sum of the lowest
        eigenvalues of all matrices, less the norms of all products.

        Reference:
            Anderson, "Limits on the energy of the antiferromagnetic ground state", Phys. Rev. 83
            (1951).
        """
        lowest = [jnp.linalg.eigvalsh(jnp.asarray(matrix))[0] for matrix in self.matrices]
        for factors in self.products:
            norms = [jnp.linalg.norm(jnp.asarray(factor), 2) for factor in factors]
            lowest.append(-jnp.prod(jnp.stack(norms)))
        return jnp.stack(lowest).sum()


def gathered(
    dims: Sequence[int], matrices: Mapping[Sites, Any], most: int
) -> tuple[tuple[Sites, ...], tuple[Any, ...]]:
    """Matrices put together to larger ones of at most `most` states (or as they are where they have
    more): the sites of each block, and its matrix."""
    left = sorted(matrices)
    sites, blocks = [], []
    while left:
        own = _grown(dims, left, most)
        members = [other for other in left if set(own) >= set(other)]
        sites.append(own)
        blocks.append(sum(embedded(dims, matrices[m], m, own) for m in members))
        left = [other for other in left if other not in members]
    return tuple(sites), tuple(blocks)


def _grown(dims: Sequence[int], left: Sequence[Sites], most: int) -> Sites:
    """The first of some sets of sites, enlarged by others as long as there is room: next by those
    that take in the most others for each site that they add."""
    block = set(left[0])
    while True:
        unions = [block | set(other) for other in left]
        fits = lambda union: math.prod(dims[site] for site in union) <= most
        unions = [union for union in unions if len(union) > len(block) and fits(union)]
        if not unions:
            return tuple(sorted(block))
        inside = [sum(union >= set(other) for other in left) for union in (block, *unions)]
        gains = [
            (count - inside[0]) / (len(union) - len(block))
            for union, count in zip(unions, inside[1:], strict=True)
        ]
        block = unions[int(np.argmax(gains))]


def embedded(dims: Sequence[int], matrix: Any, sites: Sites, into: Sites) -> Any:
    """A matrix on some sites as one on more, the identity on the others."""
    rest = [site for site in into if site not in sites]
    order = [*sites, *rest]
    sizes = [dims[site] for site in order]
    rows, columns = matrix.shape[0], math.prod(dims[site] for site in rest)
    one = np.eye(columns, dtype=matrix.dtype)
    both = matrix[:, None, :, None] * one[None, :, None, :]
    axes = [order.index(site) for site in into]
    axes = [*axes, *(len(order) + axis for axis in axes)]
    both = both.reshape(*sizes, *sizes).transpose(axes)
    return both.reshape(rows * columns, rows * columns)


def applied(matrix: Any, tensor: Array, sites: Sequence[int]) -> Array:
    """A matrix on some axes of a tensor."""
    matrix = jnp.asarray(matrix).astype(tensor.dtype)
    if not sites:
        return matrix[0, 0] * tensor
    sizes = [tensor.shape[site] for site in sites]
    factor = matrix.reshape(*sizes, *sizes)
    contracted = tuple(range(len(sites), 2 * len(sites)))
    out = jnp.tensordot(factor, tensor, (contracted, tuple(sites)), precision=kernels.FULL)
    return jnp.moveaxis(out, range(len(sites)), sites)
