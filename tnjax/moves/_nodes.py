"""Moves of nodes: a core is split in two, two cores become one, a leg changes its node."""

import dataclasses
import math

import numpy as np

from .._storable import storable
from .._structure import Edge, Structure, as_edge
from ._base import Composite, Move
from ._labeled import Labeled, assemble, label
from .cores import Cores, two_factors


@storable
@dataclasses.dataclass(frozen=True)
class Split(Move):
    """A node gives some of its axes to a new node, joined to it by a new bond.

    The core, as a matrix of the axes that stay by those that go, is factored by SVD and cut at
    `rank`: exact if its rank is no larger. To read truncation errors of the tensor off its singular
    values, fix the gauge first (`tnjax.moves.gauged`).

    Args:
        node: to split.
        legs: modes that go; none for a new internal node.
        bonds: bonds that go.
        shared: bonds whose index is divided, as (bond, rank that stays, rank that goes).
        rank: of the new bond.
        at: number of the new node; nodes from there on move up by one. The last by default.

    Example:
        >>> from tnjax import Structure
        >>> from tnjax.moves import Split
        >>> star = Structure.from_edges((7, 7, 7), {(0, 1): 3, (0, 2): 3})
        >>> Split(0, bonds=((0, 1), (0, 2)), rank=3).after(star) == Structure.tucker((7, 7, 7), 3)
        True
    """

    node: int
    legs: tuple[int, ...] = ()
    bonds: tuple[Edge, ...] = ()
    shared: tuple[tuple[Edge, int, int], ...] = ()
    rank: int = 1
    at: int | None = None

    def apply(self, structure: Structure, cores: Cores) -> tuple[Structure, Cores]:
        return assemble(structure.dims, self._parts(structure, cores))

    def after(self, structure: Structure) -> Structure:
        return assemble(structure.dims, self._parts(structure, None))[0]

    def inverse(self, structure: Structure) -> Move:
        at = structure.num_nodes if self.at is None else self.at
        return Merge(self.node + (at <= self.node), at)

    def _parts(self, structure: Structure, cores: Cores | None) -> list[Labeled]:
        nodes = label(structure, cores)
        number = {edge: b for b, edge in enumerate(structure.edges)}
        gone = [("leg", mode) for mode in self.legs]
        gone += [("bond", number[as_edge(edge)]) for edge in self.bonds]
        fresh = len(number)
        for edge, stays, goes in self.shared:
            edge = as_edge(edge)
            if stays * goes != structure.edges.get(edge) or len(edge) != 2:
                raise ValueError(f"Split: bond {edge} cannot be divided into {stays} x {goes}.")
            for k in edge:
                node, name = nodes[k], ("bond", number[edge])
                axis = node.names.index(name)
                names = (*node.names[: axis + 1], ("bond", fresh), *node.names[axis + 1 :])
                sizes = (*node.sizes[:axis], stays, goes, *node.sizes[axis + 1 :])
                nodes[k] = node.reshaped(names, sizes)
            gone.append(("bond", fresh))
            fresh += 1
        node = nodes[self.node]
        missing = [name for name in gone if name not in node.names]
        if missing:
            raise ValueError(f"Split: node {self.node} of {structure} does not have {missing}.")
        kept = [name for name in node.names if name not in gone]
        sizes = node.size_of
        rows, columns = (math.prod(sizes[n] for n in names) for names in (kept, gone))
        left = right = None
        if cores is not None:
            matrix = node.ordered([*kept, *gone]).entries.reshape(rows, columns)
            left, right = two_factors(matrix, self.rank)
            left = left.reshape(*(sizes[n] for n in kept), self.rank)
            right = right.reshape(self.rank, *(sizes[n] for n in gone))
        bond = ("bond", fresh)
        nodes[self.node] = Labeled((*kept, bond), (*(sizes[n] for n in kept), self.rank), left)
        new = Labeled((bond, *gone), (self.rank, *(sizes[n] for n in gone)), right)
        at = len(nodes) if self.at is None else self.at
        return [*nodes[:at], new, *nodes[at:]]


@storable
@dataclasses.dataclass(frozen=True)
class Merge(Move):
    """Two nodes become one, which carries the legs of both: always exact. An internal node is
    dropped by merging it into a neighbor.

    Args:
        a, b: the nodes; the new one takes the place of `a`, and nodes past `b` move down by one.

    Example:
        >>> from tnjax import Structure
        >>> from tnjax.moves import Merge
        >>> Merge(0, 1).after(Structure.tensor_train((4, 5, 6), 2)).legs
        ((0, 1), (2,))
    """

    a: int
    b: int

    def apply(self, structure: Structure, cores: Cores) -> tuple[Structure, Cores]:
        return assemble(structure.dims, self._parts(structure, cores))

    def after(self, structure: Structure) -> Structure:
        return assemble(structure.dims, self._parts(structure, None))[0]

    def inverse(self, structure: Structure) -> Move:
        """A split; there is none for two nodes that are on one hyperedge.

        Raises:
            ValueError: for such nodes.
        """
        a, b = self.a, self.b
        edges_a, edges_b = (set(structure.core_edges(k)) for k in (a, b))
        if any(len(edge) > 2 for edge in edges_a & edges_b):
            raise ValueError(f"Merge: nodes {a} and {b} are on one hyperedge: no split undoes it.")
        joint = {as_edge((a, b))}
        place = lambda k: k - (k > b)
        renamed = lambda edge: tuple(sorted(place(a if k == b else k) for k in edge))
        sets_a = {renamed(edge): structure.rank(edge) for edge in edges_a - joint}
        bonds, shared = [], []
        for edge in sorted(edges_b - joint):
            target = renamed(edge)
            if target in sets_a:
                shared.append((target, sets_a[target], structure.rank(edge)))
            else:
                bonds.append(target)
        return Split(
            place(a), structure.legs[b], tuple(bonds), tuple(shared), structure.rank((a, b)), b
        )

    def _parts(self, structure: Structure, cores: Cores | None) -> list[Labeled]:
        if self.a == self.b or not {self.a, self.b} <= set(range(structure.num_nodes)):
            raise ValueError(
                f"Merge: expected two nodes of 0..{structure.num_nodes - 1}, got {self.a} and "
                f"{self.b}."
            )
        a, b = self.a, self.b
        nodes = label(structure, cores)
        # Where bonds of both become one, those of `a` come first.
        later = {name: ("bond", name[1] + len(structure.edges)) for name in nodes[b].names}
        later = {k: v for k, v in later.items() if k[0] == "bond" and k not in nodes[a].names}
        nodes = [node.renamed(later) for node in nodes]
        one, two = nodes[a], nodes[b]
        elsewhere = {name for k, node in enumerate(nodes) if k not in (a, b) for name in node.names}
        names = list(dict.fromkeys((*one.names, *two.names)))
        names = [
            name
            for name in names
            if name in elsewhere or not (name in one.names and name in two.names)
        ]
        sizes = {**one.size_of, **two.size_of}
        array = None
        if cores is not None:
            number = {name: k for k, name in enumerate(sizes)}
            labels = lambda names: [number[name] for name in names]
            first, second = ((x.entries, labels(x.names)) for x in (one, two))
            array = np.asarray(np.einsum(*first, *second, labels(names), optimize=True))
        merged = Labeled(tuple(names), tuple(sizes[n] for n in names), array)
        nodes[a] = merged
        return [*nodes[:b], *nodes[b + 1 :]]


def insert_node(structure: Structure, edge: Edge) -> Split:
    """The move that puts an internal node in the middle of a bond.

    Args:
        structure: that it is for.
        edge: a bond of two nodes.

    Returns:
        The move; the new node is the last one.

    Example:
        >>> from tnjax import Structure
        >>> from tnjax.moves import insert_node
        >>> train = Structure.tensor_train((4, 5), 2)
        >>> insert_node(train, (0, 1)).after(train).edges
        {(0, 2): 2, (1, 2): 2}
    """
    edge = as_edge(edge)
    return Split(edge[0], bonds=(edge,), rank=structure.rank(edge))


def reattach(structure: Structure, mode: int, node: int) -> Composite:
    """The move that takes an open leg from its node to another: exact, at the cost of a bond
    between them that is as large as the mode.

    Args:
        structure: that it is for.
        mode: the open leg.
        node: where it goes.

    Returns:
        The move.

    Raises:
        ValueError: if the leg is there already, or is all that its node has.

    Example:
        >>> from tnjax import Structure
        >>> from tnjax.moves import reattach
        >>> pair = Structure.from_edges((2, 3, 5), {(0, 1): 2}, legs=((0, 1), (2,)))
        >>> reattach(pair, 1, 1).after(pair).legs
        ((0,), (1, 2))
    """
    owner = next(k for k, legs in enumerate(structure.legs) if mode in legs)
    rest = math.prod(structure.core_shape(owner)) // structure.dims[mode]
    if owner == node or rest < 2:
        raise ValueError(f"reattach: mode {mode} cannot go from node {owner} to node {node}.")
    rank = min(structure.dims[mode], rest)
    return Composite((Split(owner, (mode,), rank=rank), Merge(node, structure.num_nodes)))
