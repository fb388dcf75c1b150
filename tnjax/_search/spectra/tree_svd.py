r"""Networks without loops by truncated singular value decompositions.

Tensor train, Tucker and hierarchical Tucker are trees, and one algorithm makes them all: from the
leaves to a root, each core is the leading left singular vectors of what it carries, and the rest
goes on. The squared error is at most the sum of what the truncations drop, so that

$$\|X - T\|_F \le \Big(\sum_e \sum_{i > r_e} \sigma_i(X_e)^2\Big)^{1/2}
    \le \sqrt{E} \min_{T'} \|X - T'\|_F$$

for E bonds of the ranks $r_e$.
"""

import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Shaped

from ... import _interrupt
from ..._network import TensorNetwork
from ..._structure import Edge, Structure
from ..._tuned import tuned
from .unfoldings import Cut


@dataclasses.dataclass(frozen=True)
class TreeSvd:
    """Truncated singular value decompositions along a tree.

    Attributes:
        gram_entries: entries of a matrix past which its singular vectors come from a Gram matrix,
            which is faster.
    """

    gram_entries: int = 2**22


TREE_SVD = tuned("tree_svd", TreeSvd())


@dataclasses.dataclass(frozen=True)
class Tree:
    """A graph without loops that joins all its nodes: what `Structure` is, without the ranks (so
    that a bond of rank 1 keeps its place).

    Raises:
        ValueError: if the bonds do not form a tree.
    """

    dims: tuple[int, ...]
    legs: tuple[tuple[int, ...], ...]
    edges: tuple[Edge, ...]

    def __post_init__(self) -> None:
        count = len(self.legs)
        pairs = all(len(edge) == 2 for edge in self.edges)
        if len(self.edges) != count - 1 or not pairs or len(self._parents) != count:
            raise ValueError(
                f"Expected a tree: bonds {self.edges} on {count} nodes have a loop, a hyperedge "
                "or leave a node out. Fit such a structure with `fit`."
            )

    @classmethod
    def of(cls, structure: Structure) -> "Tree":
        """The tree of a structure; parts that no bond joins are joined to its first node."""
        edges, part = list(structure.edges), list(range(structure.num_nodes))
        for node in range(structure.num_nodes):
            for edge in structure.edges:
                if node in edge:
                    joined = {part[k] for k in edge}
                    part = [min(joined) if label in joined else label for label in part]
        edges += [(0, label) for label in sorted(set(part)) if label]
        return cls(structure.dims, structure.legs, tuple(sorted(edges)))

    @functools.cached_property
    def _parents(self) -> dict[int, Edge | None]:
        """The bond towards the root (the last node), for each node that is reached, in the order
        of a walk from the root."""
        root = len(self.legs) - 1
        parents: dict[int, Edge | None] = {root: None}
        stack = [root]
        while stack:
            node = stack.pop()
            for edge in self.edges:
                if node in edge:
                    other = edge[0] + edge[-1] - node
                    if other not in parents:
                        parents[other] = edge
                        stack.append(other)
        return parents

    @functools.cached_property
    def cuts(self) -> dict[Edge, Cut]:
        """The modes on the far side of each bond, seen from the root."""
        below = {node: set(self.legs[node]) for node in self._parents}
        out: dict[Edge, Cut] = {}
        for node, edge in reversed(self._parents.items()):
            if edge is not None:
                out[edge] = tuple(sorted(below[node]))
                below[edge[0] + edge[1] - node] |= below[node]
        return out

    def axes(self, node: int) -> tuple[Edge, ...]:
        """The bonds of a node, in the order of its core's axes."""
        return tuple(edge for edge in sorted(self.edges) if node in edge)

    def structure(self, ranks: Mapping[Edge, int]) -> Structure:
        return Structure(self.dims, self.legs, dict(ranks))

    def num_params(self, ranks: Mapping[Edge, int], dims: Sequence[int] | None = None) -> int:
        """Core entries at these ranks; with the sizes `dims` for the modes."""
        dims = self.dims if dims is None else dims
        return sum(
            math.prod(dims[mode] for mode in legs) * math.prod(ranks[e] for e in self.axes(node))
            for node, legs in enumerate(self.legs)
        )

    def largest_ranks(self) -> dict[Edge, int]:
        """The rank of each bond that no tensor exceeds."""
        total = math.prod(self.dims)
        sizes = {e: math.prod(self.dims[m] for m in cut) for e, cut in self.cuts.items()}
        return {edge: min(size, total // size) for edge, size in sizes.items()}


def decompose(
    tensor: np.ndarray, tree: Tree, *, ranks: Mapping[Edge, int] | None = None, error: float = 0.0
) -> TensorNetwork:
    """The network of a tree, with given ranks or within a relative error shared by the bonds."""
    work, dtype = tensor, jnp.asarray(np.zeros((), tensor.dtype)).dtype
    wide = np.complex128 if np.iscomplexobj(tensor) else np.float64
    work = work.astype(wide, copy=False)
    dropped = float(error * np.linalg.norm(work.ravel())) ** 2 / max(1, len(tree.edges))
    axes: list[int | Edge] = list(range(work.ndim))
    found: dict[Edge, int] = {}
    cores: dict[int, np.ndarray] = {}
    for node, up in reversed(tree._parents.items()):
        _interrupt.checkpoint()
        own = [*sorted(tree.legs[node]), *(edge for edge in tree.axes(node) if edge != up)]
        if up is None:
            cores[node] = np.transpose(work, [axes.index(axis) for axis in own])
            continue
        rest = [axis for axis in axes if axis not in own]
        work = np.transpose(work, [axes.index(axis) for axis in (*own, *rest)])
        sides = work.shape[: len(own)], work.shape[len(own) :]
        matrix = work.reshape(math.prod(sides[0]), -1)
        cap = None if ranks is None else ranks[up]
        left, right = _split(matrix, cap, dropped)
        found[up] = left.shape[1]
        core = left.reshape(*sides[0], -1)
        position = len(tree.legs[node]) + tree.axes(node).index(up)
        cores[node] = np.moveaxis(core, -1, position)
        work, axes = right.reshape(-1, *sides[1]), [up, *rest]
    return _network(tree, found, [cores[node] for node in range(len(tree.legs))], dtype)


def _split(matrix: np.ndarray, rank: int | None, dropped: float) -> tuple[np.ndarray, np.ndarray]:
    """Left singular vectors, and what they leave of the matrix."""
    rows, columns = matrix.shape
    if matrix.size > TREE_SVD().gram_entries and rows <= columns:
        squares, vectors = np.linalg.eigh(matrix @ matrix.conj().T)
        squares, vectors = np.maximum(squares[::-1], 0), vectors[:, ::-1]
        keep = _keep(squares, rank, dropped)
        left = vectors[:, :keep]
        return left, left.conj().T @ matrix
    u, s, v = np.linalg.svd(matrix, full_matrices=False)
    keep = _keep(s**2, rank, dropped)
    return u[:, :keep], s[:keep, None] * v[:keep]


def _keep(squares: np.ndarray, rank: int | None, dropped: float) -> int:
    if rank is not None:
        return min(rank, len(squares))
    tails = np.append(np.cumsum(squares[::-1])[::-1], 0.0)
    dropped = max(dropped, len(squares) * np.finfo(squares.dtype).eps ** 2 * squares.sum())
    return max(1, int(np.flatnonzero(tails <= dropped)[0]))


def _network(tree: Tree, ranks: Mapping[Edge, int], cores: list[np.ndarray], dtype):
    """Without the axes of bonds of rank 1, which a structure does not have."""
    out = []
    for node, core in enumerate(cores):
        legs = len(tree.legs[node])
        bonds = [ranks[edge] for edge in tree.axes(node)]
        kept = [rank for rank in bonds if rank > 1]
        out.append(core.reshape((*core.shape[:legs], *kept)).astype(dtype))
    return TensorNetwork(tree.structure(ranks), out)


def tree_svd(
    tensor: Shaped[Array | np.ndarray, "..."],
    structure: Structure,
    error: float | None = None,
) -> TensorNetwork:
    r"""A network of a given tree by truncated singular value decompositions, no iteration.

    Args:
        tensor: real or complex, of the structure's shape.
        structure: without loops and hyperedges; nodes may carry several legs or none. Without
            `error` its ranks are those of the result (less where the tensor has less).
        error: the relative error that the result stays within; the ranks then follow from it,
            each of the E bonds dropping at most error / sqrt(E).

    Returns:
        A network with $\|X - T\| \le$ `error` $\|X\|$; at given ranks, at most sqrt(E) times
        the error of the best network of these ranks.

    Raises:
        ValueError: if shapes differ, the structure is not a tree, or the error is not in [0, 1).

    Example:
        >>> import numpy as np
        >>> from tnjax import Structure, relative_error, tree_svd
        >>> x = np.random.default_rng(0).standard_normal((4, 5, 6))
        >>> network = tree_svd(x, Structure.tucker((4, 5, 6), 2), error=0.3)
        >>> bool(relative_error(network, x) <= 0.3)
        True

    Reference:
        Grasedyck, SIAM J. Matrix Anal. Appl. 31 (2010), theorem 3.11; for chains Oseledets, SIAM
        J. Sci. Comput. 33 (2011), theorem 2.2; for stars Vannieuwenhoven et al., SIAM J. Sci.
        Comput. 34 (2012), theorem 5.1.
    """
    data = as_tensor(tensor, "tree_svd")
    if data.shape != structure.dims:
        raise ValueError(
            f"tree_svd: the tensor has the shape {data.shape}, the structure {structure.dims}."
        )
    tree = Tree.of(structure)
    if error is None:
        ranks = {edge: structure.rank(edge) for edge in tree.edges}
        return decompose(data, tree, ranks=ranks)
    return decompose(data, tree, error=check_error(error, "tree_svd"))


def tensor_train_svd(tensor: Shaped[Array | np.ndarray, "..."], error: float) -> TensorNetwork:
    """A tensor train within a relative error (TT-SVD); see `tree_svd`.

    Args:
        tensor: real or complex, dense.
        error: relative Frobenius error, in [0, 1).

    Returns:
        A network within the error; its ranks follow from it.

    Raises:
        ValueError: if the tensor is not finite, or the error is out of range.

    Example:
        >>> import numpy as np
        >>> from tnjax import tensor_train_svd
        >>> tensor_train_svd(np.ones((4, 5, 6)), 0.1).num_params
        15
    """
    return tree_svd(tensor, Structure.tensor_train(np.shape(tensor), 2), error)


def tucker_svd(tensor: Shaped[Array | np.ndarray, "..."], error: float) -> TensorNetwork:
    """A Tucker network within a relative error (sequentially truncated HOSVD); see `tree_svd`.

    Args:
        tensor: real or complex, dense.
        error: relative Frobenius error, in [0, 1).

    Returns:
        A network within the error; its ranks follow from it.

    Raises:
        ValueError: if the tensor is not finite, or the error is out of range.

    Example:
        >>> import numpy as np
        >>> from tnjax import tucker_svd
        >>> x = np.random.default_rng(0).standard_normal((4, 5, 6))
        >>> tucker_svd(x, 1e-6).structure.num_nodes
        4
    """
    return tree_svd(tensor, Structure.tucker(np.shape(tensor), 2), error)


def hierarchical_tucker_svd(
    tensor: Shaped[Array | np.ndarray, "..."], error: float
) -> TensorNetwork:
    """A balanced hierarchical Tucker network within a relative error; see `tree_svd`.

    Args:
        tensor: real or complex, dense.
        error: relative Frobenius error, in [0, 1).

    Returns:
        A network within the error; its ranks follow from it.

    Raises:
        ValueError: if the tensor is not finite, or the error is out of range.

    Example:
        >>> import numpy as np
        >>> from tnjax import hierarchical_tucker_svd
        >>> x = np.random.default_rng(0).standard_normal((3, 3, 3, 3))
        >>> hierarchical_tucker_svd(x, 1e-6).structure.num_nodes
        6
    """
    return tree_svd(tensor, Structure.hierarchical_tucker(np.shape(tensor), 2), error)


def as_tensor(tensor: Any, what: str) -> np.ndarray:
    """The tensor on the host, integers as floats.

    Raises:
        ValueError: if it has no modes or entries, is not of numbers, or not finite.
    """
    data = np.asarray(tensor)
    if data.dtype.kind in "iub":
        data = data.astype(jnp.zeros(()).dtype)
    if data.dtype.kind not in "fcV" or not data.size or not data.ndim:
        raise ValueError(
            f"{what}: expected a tensor of numbers with one or more modes, got {data.dtype} of "
            f"shape {list(data.shape)}."
        )
    if not np.isfinite(data).all():
        raise ValueError(f"{what}: the tensor holds NaN or infinity. Replace or crop them first.")
    return data


def check_error(error: float, what: str) -> float:
    """Raise `ValueError` unless the error is a number in [0, 1)."""
    if isinstance(error, bool) or not 0 <= error < 1:
        raise ValueError(f"{what}: expected a relative error in [0, 1), got {error!r}.")
    return float(error)
