"""Trees with a root, and networks as arrays that have an axis for every bond of a tree."""

import dataclasses
import functools
import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Array

from .._network import TensorNetwork
from .._structure import Edge, Structure, as_edge

# Of each node: legs as one axis, then its children in order, then its parent (size 1 at the root).
Cores = tuple[Array, ...]


@dataclasses.dataclass(frozen=True)
class Tree:
    """A tree of nodes with a root.

    Attributes:
        structure: whose dims and legs the nodes have; its ranks say nothing.
        parents: of each node; -1 for the root.
        order: all nodes, children before their parents.
    """

    structure: Structure
    parents: tuple[int, ...]
    order: tuple[int, ...]

    @functools.cached_property
    def children(self) -> tuple[tuple[int, ...], ...]:
        found: list[list[int]] = [[] for _ in self.parents]
        for node, parent in enumerate(self.parents):
            if parent >= 0:
                found[parent].append(node)
        return tuple(map(tuple, found))

    @property
    def root(self) -> int:
        return self.order[-1]

    @property
    def inner(self) -> tuple[int, ...]:
        """All nodes but the root, children first; each stands for the bond to its parent."""
        return self.order[:-1]

    def edge(self, node: int) -> Edge:
        """The bond to the parent."""
        return as_edge((node, self.parents[node]))

    def edges_of(self, node: int) -> list[Edge]:
        """The bonds of a node in the order of its axes."""
        above = [self.edge(node)] if node != self.root else []
        return [*map(self.edge, self.children[node]), *above]

    def size(self, node: int) -> int:
        """Of all legs of a node together."""
        return math.prod(self.structure.dims[mode] for mode in self.structure.legs[node])


def rooted(structure: Structure, edges: Iterable[Sequence[int]] | None) -> Tree:
    """The tree of a structure's bonds, or of the given ones, with a root in its middle.

    Raises:
        ValueError: if they are no tree on all nodes, or do not hold all bonds of the structure.
    """
    bonds = {as_edge(edge) for edge in (structure.edges if edges is None else edges)}
    count = structure.num_nodes
    near: list[list[int]] = [[] for _ in range(count)]
    for edge in bonds:
        if len(edge) == 2 and edge[0] >= 0 and edge[1] < count:
            near[edge[0]].append(edge[1])
            near[edge[1]].append(edge[0])
    far = _parents(near, _parents(near, 0)[1][-1])  # from one end of a longest path
    path = [far[1][-1]]
    while far[0][path[-1]] >= 0:
        path.append(far[0][path[-1]])
    parents, order = _parents(near, path[len(path) // 2])
    if len(bonds) != count - 1 or len(order) != count or not bonds >= set(structure.edges):
        what = "the bonds of the network" if edges is None else "`tree`"
        raise ValueError(
            f"evolve: {what} {sorted(bonds)} are no tree that joins all {count} nodes and holds "
            f"the bonds {sorted(structure.edges)}. Name the bonds by `tree`; those of rank 1 too, "
            "which a structure does not hold."
        )
    return Tree(
        Structure(structure.dims, structure.legs, {}), tuple(parents), tuple(reversed(order))
    )


def _parents(near: list[list[int]], root: int) -> tuple[list[int], list[int]]:
    """The parents as seen from a root, and the nodes that it reaches, the nearest first."""
    parents, order = [-1] * len(near), [root]
    for node in order:
        for other in sorted(near[node]):
            if other not in order:
                parents[other] = node
                order.append(other)
    return parents, order


def to_cores(tree: Tree, network: TensorNetwork, copies: int = 1) -> Cores:
    """The cores of a network with an axis for every bond; of an operator (two copies of the modes)
    with two axes for its legs."""
    structure, cores = network.structure, []
    for node, core in enumerate(network.cores):
        own = structure.core_edges(node)
        legs = core.ndim - len(own)
        places = [legs + own.index(edge) for edge in tree.edges_of(node) if edge in own]
        ranks = [structure.rank(edge) for edge in tree.edges_of(node)]
        ranks += [1] * (node == tree.root)
        turned = core.transpose(*range(legs), *places)
        cores.append(turned.reshape(*[tree.size(node)] * copies, *ranks))
    return tuple(cores)


def to_network(tree: Tree, cores: Cores) -> TensorNetwork:
    """The network of cores."""
    ranks = {tree.edge(node): cores[node].shape[-1] for node in tree.inner}
    structure = Structure(tree.structure.dims, tree.structure.legs, ranks)
    out = []
    for node, core in enumerate(cores):
        edges = tree.edges_of(node)
        kept = [1 + edges.index(edge) for edge in structure.core_edges(node)]
        rest = [axis for axis in range(1, core.ndim) if axis not in kept]
        out.append(core.transpose(0, *kept, *rest).reshape(structure.core_shape(node)))
    return TensorNetwork(structure, out)


def promoted(*arrays: Any) -> np.dtype:
    """The dtype of a product of arrays."""
    return np.result_type(*(np.dtype(array.dtype) for array in arrays))
