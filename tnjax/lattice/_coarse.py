"""Coarse graining of square lattices, and what its fixed point tells."""

import functools
import math
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from .._tracing import refuse_trace
from ._halving import check, halved, scale_of
from ._schemes import SCHEMES, Site

Scheme = Literal["trg", "hotrg", "btrg"]


class CoarseGrained(NamedTuple):
    """What coarse graining gives.

    Attributes:
        log_z: the logarithm of the (modulus of the) partition function per site, a scalar.
        tensor: the last tensor, its largest entry 1, indices up, right, down, left.
        vertical, horizontal: weights of its bonds, diagonal matrices (1 but for "btrg").

    Example:
        >>> from tnjax.lattice import coarse_grain, ising
        >>> coarse_grain(ising(0.3), chi=4, steps=4).tensor.shape
        (4, 4, 4, 4)
    """

    log_z: Float[Array, ""]
    tensor: Float[Array, "up right down left"]
    vertical: Float[Array, "up down"]
    horizontal: Float[Array, "right left"]


def coarse_grain(tensor: ArrayLike, chi: int, steps: int, scheme: Scheme = "btrg") -> CoarseGrained:
    """The partition function of a periodic square lattice whose every site holds one tensor.

    Each step makes one site of two, so that `steps` stand for a lattice of 2^steps sites. Pure JAX:
    it compiles as one program, whose steps are a loop once bonds have the size `chi`, and has
    derivatives in both modes, also where singular values are degenerate. Use double precision for
    more than five digits.

    Args:
        tensor: real, of one site; indices up, right, down, left. Up and down have one size, right
            and left another.
        chi: largest size of a bond. One step costs O(chi^6) by "trg" and "btrg", O(chi^7) by
            "hotrg".
        steps: how often two sites become one; an even number keeps the axes of the lattice.
        scheme: "trg" splits tensors by their singular values, "btrg" with weights on the bonds as
            well (its errors are some thirty times smaller), "hotrg" merges neighbors and projects.

    Returns:
        `log_z` with the last tensor.

    Raises:
        ValueError: if the tensor is not real with matching sides, chi or steps are not positive, or
            the scheme is not known.

    Example:
        >>> import jax, math
        >>> from tnjax.lattice import coarse_grain, ising
        >>> critical = math.log(1 + math.sqrt(2)) / 2
        >>> log_z = coarse_grain(ising(critical), chi=8, steps=20).log_z  # exact: 0.92970
        >>> abs(float(log_z) - 0.9296953983) < 1e-4
        True
        >>> energy = -jax.grad(lambda b: coarse_grain(ising(b), chi=4, steps=20).log_z)(0.3)
        >>> round(float(energy), 2)  # exact: -0.70
        -0.7

    Reference:
        Levin and Nave, arXiv cond-mat/0611687; Xie et al., arXiv 1201.1144; Adachi, Okubo and Todo,
        arXiv 2011.01679.
    """
    site = check("coarse_grain", tensor, 2, chi, steps)
    if scheme not in SCHEMES:
        raise ValueError(f"coarse_grain: scheme={scheme!r}; expected one of {sorted(SCHEMES)}.")
    return _coarse_grain(site, int(chi), int(steps), scheme)


@functools.partial(jax.jit, static_argnums=(1, 2, 3))
def _coarse_grain(tensor: Array, chi: int, steps: int, scheme: str) -> CoarseGrained:
    up, right = tensor.shape[:2]
    site = Site(tensor, jnp.eye(up, dtype=tensor.dtype), jnp.eye(right, dtype=tensor.dtype))
    site, log_z, share = halved(site, lambda site: SCHEMES[scheme](site, chi), _normalized, steps)
    closed = jnp.einsum("urdl,ud,rl->", *site)
    return CoarseGrained(log_z + share * jnp.log(jnp.abs(closed)), *site)


def _normalized(site: Site) -> tuple[Site, Array]:
    """The tensor with its largest entry 1 and weights of mean 1, and the logarithm that this takes
    out. That has no derivative: the tensor keeps all of it."""
    scale = scale_of(site.tensor)
    means = [lax.stop_gradient(jnp.trace(x) / len(x)) for x in (site.vertical, site.horizontal)]
    # A torus of one site has one bond of each kind.
    log_scale = jnp.log(scale) + jnp.log(means[0]) + jnp.log(means[1])
    return Site(
        site.tensor / scale, site.vertical / means[0], site.horizontal / means[1]
    ), log_scale


def scaling_dimensions(
    tensor: ArrayLike, chi: int, steps: int, scheme: Scheme = "btrg", *, count: int = 4
) -> Float[np.ndarray, " count"]:
    r"""The lowest scaling dimensions of a critical lattice, from the tensor that stands for it.

    The tensor of a square of sites, closed in one direction, is a transfer matrix whose eigenvalues
    are $\lambda_n \propto e^{-2 \pi x_n}$ (Gu and Wen, arXiv 0903.1069). Too few steps leave
    corrections of the lattice, too many the errors of the scheme: six to ten are right.

    Args:
        tensor: as of `coarse_grain`, at its critical point.
        chi: largest size of a bond.
        steps: an even number, so that the sites make a square.
        scheme: as of `coarse_grain`.
        count: dimensions to give.

    Returns:
        [count] ascending, the first of them 0.

    Raises:
        ValueError: as of `coarse_grain`; if steps are odd; inside of a trace.

    Example:
        >>> import math
        >>> from tnjax.lattice import ising, scaling_dimensions
        >>> critical = ising(math.log(1 + math.sqrt(2)) / 2)
        >>> x = scaling_dimensions(critical, chi=8, steps=8)  # exact: 0, 1/8, 1
        >>> bool(abs(x[1] - 1 / 8) < 0.01)
        True
    """
    refuse_trace("scaling_dimensions", "read the tensor of `coarse_grain`", tensor)
    if steps % 2:
        raise ValueError(f"scaling_dimensions: steps={steps}; expected an even number.")
    site = coarse_grain(tensor, chi, steps, scheme)
    matrix = np.einsum("urdl,rl->ud", np.asarray(site.tensor), np.asarray(site.horizontal))
    values = np.linalg.eigvals(np.asarray(site.vertical) @ matrix)
    sizes = np.sort(np.abs(values))[::-1][:count]
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(sizes[0] / sizes) / (2 * math.pi))
