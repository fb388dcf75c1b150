r"""Tensor rings by truncated singular value decompositions.

The first unfolding's rank is shared by the two bonds of the first node, r_0 r_1; what is left is
a chain that carries r_0 along to its end.
"""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from ... import _interrupt
from ..._structure import Structure
from ..._tuned import tuned
from ...moves.cores import Cores
from .tree_svd import Tree, decompose
from .unfoldings import unfold


@dataclasses.dataclass(frozen=True)
class Ring:
    """Rings by truncated singular value decompositions.

    Attributes:
        closing: ranks of the closing bond that are tried.
    """

    closing: tuple[int, ...] = (1, 2, 3, 4, 6, 8, 12, 16)


RING = tuned("ring", Ring())


def ring_structures(
    tensor: np.ndarray, error: float, dims: Sequence[int] | None = None
) -> list[Structure]:
    """Rings that stay within a relative error, one for each rank of the closing bond, those with
    the fewest parameters (counted with the sizes `dims`) first.

    Reference:
        Zhao et al., arXiv 1606.05535, algorithm 1.
    """
    order = tensor.ndim
    if order < 3:
        return [_chain_structure(tensor, error)]
    share = error / math.sqrt(order - 1)
    left, rest = _first(tensor, None, share)
    rank, found = left.shape[1], []
    for closing in RING().closing:
        if closing > rank:
            break
        _interrupt.checkpoint()
        opening = -(-rank // closing)
        chain = _opened(rest, tensor.shape, closing, opening)
        # What the chain may drop is relative to the tensor; truncation keeps nearly all of it.
        network = decompose(chain, _chain(chain.shape), error=share * math.sqrt(order - 2))
        inner = [network.structure.rank((k, k + 1)) for k in range(order - 2)]
        found.append(Structure.tensor_ring(tensor.shape, (opening, *inner, closing)))
    count = lambda s: dataclasses.replace(s, dims=tuple(dims or s.dims)).num_params
    return sorted(found, key=count)


def ring_svd(tensor: np.ndarray, structure: Structure) -> Cores:
    """Cores of a ring of given ranks (a train, for a tensor of two modes)."""
    order, dims = tensor.ndim, tensor.shape
    if order < 3:
        tree = Tree.of(structure)
        ranks = {edge: structure.rank(edge) for edge in tree.edges}
        return decompose(tensor, tree, ranks=ranks).cores
    closing, opening = structure.rank((0, order - 1)), structure.rank((0, 1))
    left, rest = _first(tensor, closing * opening, 0.0)
    chain = _opened(rest, dims, closing, opening)
    tree = _chain(chain.shape)
    ranks = {(k - 1, k): structure.rank((k, k + 1)) for k in range(1, order - 1)}
    inner = decompose(chain, tree, ranks=ranks)
    bond = [opening, *(inner.structure.rank((k, k + 1)) for k in range(order - 2)), closing]
    cores = [left.reshape(dims[0], closing, opening).transpose(0, 2, 1)]
    for k, core in enumerate(map(np.asarray, inner.cores), start=1):
        if k == 1:
            core = core.reshape(opening, dims[1], -1).transpose(1, 0, 2)
        if k == order - 1:
            core = core.reshape(dims[k], closing, -1)
        cores.append(core)
    out = []
    for node, core in enumerate(cores):
        here, full = structure.core_shape(node), np.zeros(structure.core_shape(node), core.dtype)
        core = core.reshape(_full_shape(dims, bond, node))
        kept = [n for n, size in enumerate(_ring_shape(structure, node)) if n == 0 or size > 1]
        core = core.reshape([core.shape[n] for n in kept])
        full[tuple(slice(min(a, b)) for a, b in zip(core.shape, here, strict=True))] = core
        out.append(full)
    return tuple(out)


def _full_shape(dims, bond, node: int) -> tuple[int, ...]:
    """Leg and both bonds of a node of the ring, in the order of a structure's axes, at the ranks
    found."""
    order = len(dims)
    if node == 0:
        return dims[0], bond[0], bond[-1]
    if node == order - 1:
        return dims[node], bond[-1], bond[node - 1]
    return dims[node], bond[node - 1], bond[node]


def _ring_shape(structure: Structure, node: int) -> tuple[int, ...]:
    order = len(structure.dims)
    bond = [structure.rank((k, k + 1)) for k in range(order - 1)]
    return _full_shape(structure.dims, [*bond, structure.rank((0, order - 1))], node)


def _first(tensor: np.ndarray, rank: int | None, share: float) -> tuple[np.ndarray, np.ndarray]:
    """Left singular vectors of the first unfolding and what they leave, zeros where the rank
    asked for is more than there is."""
    matrix = unfold(tensor, (0,))
    tree = Tree(matrix.shape, ((0,), (1,)), ((0, 1),))
    ranks = None if rank is None else {(0, 1): min(rank, *matrix.shape)}
    pair = decompose(matrix, tree, ranks=ranks, error=share)
    left, right = (np.asarray(core) for core in pair.cores)
    left, right = left.reshape(matrix.shape[0], -1), right.reshape(matrix.shape[1], -1).T
    missing = 0 if rank is None else rank - left.shape[1]
    return np.pad(left, ((0, 0), (0, missing))), np.pad(right, ((0, missing), (0, 0)))


def _opened(rest: np.ndarray, dims, closing: int, opening: int) -> np.ndarray:
    """What is left as a chain's tensor: the opening bond with the first mode, the closing bond
    with the last."""
    missing = closing * opening - len(rest)
    rest = np.pad(rest, ((0, missing), (0, 0)))
    rest = np.moveaxis(rest.reshape(closing, opening, *dims[1:]), 0, -1)
    if len(dims) == 3:
        return rest.reshape(opening * dims[1], dims[2] * closing)
    return rest.reshape(opening * dims[1], *dims[2:-1], dims[-1] * closing)


def _chain(dims: tuple[int, ...]) -> Tree:
    order = len(dims)
    return Tree(
        dims, tuple((k,) for k in range(order)), tuple((k, k + 1) for k in range(order - 1))
    )


def _chain_structure(tensor: np.ndarray, error: float) -> Structure:
    return decompose(tensor, _chain(tensor.shape), error=error).structure
