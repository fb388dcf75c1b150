"""Evolution of networks in time."""

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from .._network import TensorNetwork
from .._structure import Edge
from ..operators import SumOfProducts
from ._operators import operator_cores
from ._step import step
from ._tree import Cores, Tree, promoted, rooted, to_cores, to_network


class Evolution(NamedTuple):
    """A network at the end of some steps, and what they were like.

    Attributes:
        network: at the end.
        norms: after each step, before a truncation and before it is normalized, shape [steps].
        ranks: for each step the ranks that the tolerance asks for, by bonds of the tree; 1 for a
            bond that the structure does not hold.
        discarded: for each step the norm of what was cut off, as a share, at most: shape [steps].

    Example:
        >>> import jax.numpy as jnp
        >>> from tnjax import Structure, TensorNetwork
        >>> from tnjax.dynamics import evolve
        >>> from tnjax.operators import transverse_ising
        >>> start = TensorNetwork(Structure.rank_one((2, 2)), [jnp.array([1.0 + 0j, 0])] * 2)
        >>> hamiltonian = transverse_ising([(0, 1)])
        >>> after = evolve(start, -1j * hamiltonian, 0.1, 3, tree=[(0, 1)])
        >>> after.ranks[-1], bool(abs(after.norms[-1] - 1) < 1e-5)
        ({(0, 1): 2}, True)
    """

    network: TensorNetwork
    norms: Float[np.ndarray, " steps"]
    ranks: tuple[dict[Edge, int], ...]
    discarded: Float[np.ndarray, " steps"]


def evolve(
    network: TensorNetwork,
    operator: SumOfProducts | TensorNetwork,
    dt: float,
    steps: int,
    *,
    tolerance: float = 1e-8,
    max_rank: int | None = None,
    tree: Iterable[Sequence[int]] | None = None,
    normalize: bool = False,
) -> Evolution:
    r"""Solve $dA/dt = O A$ on the manifold of tree tensor networks, with ranks that follow.

    The rank-adaptive basis-update and Galerkin integrator. Each step updates the bases from the
    leaves to the root, joins them with the old ones, solves for the core of the root in the joined
    bases, and cuts the ranks back by the tolerance. It is at least of first order in `dt`, its
    error does not depend on small singular values, and it keeps the norm where the operator is
    skew-Hermitian. A Schroedinger equation has the operator `-1j * hamiltonian` (real cores become
    complex), the way to a ground state (imaginary time) `-hamiltonian` with `normalize`.

    Args:
        network: the start, a tree; nodes without legs are allowed, also product states.
        operator: a linear operator: a sum of products, or a network on the same tree whose node
            with the modes m has the modes m (what it gives) and n + m (what it takes), n modes in
            all.
        dt: length of a step.
        steps: how many.
        tolerance: for each step and bond, the norm of what may be cut off, as a share of the norm.
        max_rank: the largest rank that is kept.
        tree: bonds of the tree, needed where the network has bonds of rank 1, which a structure
            does not hold.
        normalize: make the norm 1 after every step.

    Returns:
        The network at the end, with what happened on the way. Between steps ranks are held at
        powers of two, so that steps share their programs; the result has those of the tolerance.

    Raises:
        ValueError: if the bonds are no tree, the operator does not fit, or an option is out of
            range.
        FloatingPointError: if the norm leaves the range of numbers.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from tnjax import Structure, TensorNetwork
        >>> from tnjax.dynamics import evolve
        >>> from tnjax.operators import lattice_edges, transverse_ising
        >>> chain = lattice_edges(4)
        >>> up = TensorNetwork(Structure.rank_one((2,) * 4), [jnp.array([1.0, 0.0])] * 4)
        >>> cooled = evolve(up, -transverse_ising(chain), 0.2, 40, tree=chain, normalize=True)
        >>> round(float(jnp.log(cooled.norms[-1])) / -0.2, 2)  # the energy of the ground state
        -4.76

    Reference:
        Ceruti, Lubich, Sulz, "Rank-adaptive time integration of tree tensor networks", SIAM J.
        Numer. Anal. 61 (2023), arXiv 2201.10291.
    """
    _check(dt, steps, tolerance, max_rank)
    rooted_tree = rooted(network.structure, tree)
    dtype = promoted(*network.cores, *jax.tree.leaves(operator))
    cores = to_cores(rooted_tree, network.astype(dtype))
    factors = operator_cores(rooted_tree, operator, dtype)
    time = jnp.asarray(dt, cores[0].real.dtype)
    needed: dict[int, int] = {}
    norms, ranks, discarded = [], [], []
    for _ in range(steps):
        cores, values, norm = step(rooted_tree, cores, factors, time)
        found = {node: np.asarray(s, float) for node, s in values.items()}
        norms.append(float(norm))
        if not math.isfinite(norms[-1]) or norms[-1] == 0:
            raise FloatingPointError(
                f"evolve: the norm is {norms[-1]} after {len(norms)} of {steps} steps. Shorten dt, "
                "normalize, or scale the operator."
            )
        needed = {node: _rank(s, tolerance * norms[-1], max_rank) for node, s in found.items()}
        kept = {node: _capacity(rank, max_rank) for node, rank in needed.items()}
        cores = _cut(rooted_tree, cores, kept)
        lost = sum(float((s[kept[node] :] ** 2).sum()) for node, s in found.items())
        discarded.append(math.sqrt(lost) / norms[-1])
        ranks.append({rooted_tree.edge(node): rank for node, rank in needed.items()})
        if normalize:
            cores = tuple(
                x / norm.astype(x.dtype) if k == rooted_tree.root else x
                for k, x in enumerate(cores)
            )
    cores = _cut(rooted_tree, cores, needed)
    return Evolution(
        to_network(rooted_tree, cores), np.asarray(norms), tuple(ranks), np.asarray(discarded)
    )


def _check(dt: float, steps: int, tolerance: float, max_rank: int | None) -> None:
    if not math.isfinite(dt) or dt <= 0 or steps < 1:
        raise ValueError(
            f"evolve: dt={dt}, steps={steps}; expected a positive length and one step or more. "
            "Time goes backward with the negative operator."
        )
    if tolerance < 0 or (max_rank is not None and max_rank < 1):
        raise ValueError(
            f"evolve: tolerance={tolerance}, max_rank={max_rank}; expected a tolerance of at least "
            "0 and a positive rank."
        )


def _rank(values: np.ndarray, allowed: float, most: int | None) -> int:
    """The smallest rank, 1 at least, whose other singular values have no larger norm."""
    tails = np.sqrt(np.cumsum(values[::-1] ** 2)[::-1])
    rank = max(1, int((tails > allowed).sum()))
    return rank if most is None else min(rank, most)


def _capacity(rank: int, most: int | None) -> int:
    """The next power of two, so that programs are shared."""
    capacity = 1 << (rank - 1).bit_length()
    return capacity if most is None else min(capacity, most)


def _cut(tree: Tree, cores: Cores, ranks: dict[int, int]) -> Cores:
    """The first few of each bond (those that are there, where there are fewer)."""
    out = []
    for node, core in enumerate(cores):
        bonds = [ranks[child] for child in tree.children[node]]
        bonds.append(ranks.get(node, 1))
        out.append(core[(slice(None), *(slice(rank) for rank in bonds))])
    return tuple(out)
