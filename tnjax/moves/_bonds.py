"""Moves of ranks: bonds and hyperedges grow, shrink, and give ranks to one another."""

import dataclasses

import numpy as np

from .._storable import storable
from .._structure import Edge, Structure, as_edge
from ._base import Move
from .cores import Cores, grow, shrink

Slices = tuple[tuple[np.ndarray, ...], ...]


@storable
@dataclasses.dataclass(frozen=True)
class Grow(Move):
    """More ranks on a bond. On three or more nodes it opens a hyperedge: a CP term over them.

    Args:
        edge: the nodes; a bond that is not there has rank 1.
        by: ranks to add.
        slices: for each new rank an array for each node of the edge, its core's shape without
            the axis of the bond; zeros by default, which keeps the tensor as it is.

    Example:
        >>> from tnjax import Structure
        >>> from tnjax.moves import Grow
        >>> Grow((0, 1, 2)).after(Structure.rank_one((4, 5, 6))) == Structure.cp((4, 5, 6), 2)
        True
    """

    edge: Edge
    by: int = 1
    slices: Slices | None = dataclasses.field(default=None, compare=False, repr=False)

    def apply(self, structure: Structure, cores: Cores) -> tuple[Structure, Cores]:
        edge, slices = as_edge(self.edge), self.slices
        if slices is None:
            parts = []
            for node in edge:
                core = np.asarray(cores[node])
                there = edge in structure.edges
                parts.append(
                    np.zeros_like(np.take(core, 0, structure.axis(node, edge)) if there else core)
                )
            slices = (tuple(parts),) * self.by
        if len(slices) != self.by:
            raise ValueError(f"Grow: {len(slices)} sets of slices for {self.by} new ranks.")
        return grow(structure, cores, edge, slices)

    def after(self, structure: Structure) -> Structure:
        return structure.grow(self.edge, self.by)

    def inverse(self, structure: Structure) -> Move:
        return Shrink(self.edge, self.by)


@storable
@dataclasses.dataclass(frozen=True)
class Shrink(Move):
    """Fewer ranks on a bond, by truncated SVD across it; a hyperedge loses its weakest terms, and
    is closed when one is left.

    Args:
        edge: the bond.
        by: ranks to take away.

    Raises:
        ValueError: by `apply` and `after`, if the rank would fall below 1.

    Example:
        >>> from tnjax import Structure
        >>> from tnjax.moves import Shrink
        >>> Shrink((0, 1)).after(Structure.tensor_train((4, 5, 6), 3)).ranks
        (2, 3)

    Reference:
        Eckart and Young, Psychometrika 1 (1936).
    """

    edge: Edge
    by: int = 1

    def apply(self, structure: Structure, cores: Cores) -> tuple[Structure, Cores]:
        self.after(structure)
        for _ in range(self.by):
            structure, cores = shrink(structure, cores, as_edge(self.edge))
        return structure, cores

    def after(self, structure: Structure) -> Structure:
        return structure.shrink(self.edge, self.by)

    def inverse(self, structure: Structure) -> Move:
        return Grow(self.edge, self.by)


@storable
@dataclasses.dataclass(frozen=True)
class Rerank(Move):
    """New ranks for several bonds at once: those that fall are truncated, then the others grow by
    zeros.

    With it a rank changes place, a bond is led along another way, or all bonds within a set of
    nodes give way to one hyperedge.

    Args:
        ranks: pairs of a bond and its new rank; 1 takes it away.

    Example:
        >>> from tnjax import Structure
        >>> from tnjax.moves import Rerank
        >>> ring = Structure.tensor_ring((4, 5, 6), 2)
        >>> Rerank((((0, 1), 1), ((0, 2), 1), ((1, 2), 1), ((0, 1, 2), 2))).cost(ring)
        -30
    """

    ranks: tuple[tuple[Edge, int], ...]

    def apply(self, structure: Structure, cores: Cores) -> tuple[Structure, Cores]:
        new = self.after(structure)
        edges = {as_edge(edge) for edge, _ in self.ranks}
        for edge in sorted(edges):
            while structure.rank(edge) > new.rank(edge):
                structure, cores = shrink(structure, cores, edge)
        for edge in sorted(edges):
            missing = new.rank(edge) - structure.rank(edge)
            if missing:
                structure, cores = Grow(edge, missing).apply(structure, cores)
        return structure, cores

    def after(self, structure: Structure) -> Structure:
        for edge, rank in self.ranks:
            structure = structure.with_rank(edge, rank)
        return structure

    def inverse(self, structure: Structure) -> Move:
        return Rerank(tuple((edge, structure.rank(edge)) for edge, _ in self.ranks))


@storable
@dataclasses.dataclass(frozen=True)
class Swap(Move):
    """Ranks go from one bond to another.

    Args:
        edge: the bond that loses ranks.
        to: the bond that gets them.
        by: how many.

    Example:
        >>> from tnjax import Structure
        >>> from tnjax.moves import Swap
        >>> Swap((0, 1), (0, 2)).after(Structure.tensor_train((4, 5, 6), 3)).edges
        {(0, 1): 2, (0, 2): 2, (1, 2): 3}
    """

    edge: Edge
    to: Edge
    by: int = 1

    def apply(self, structure: Structure, cores: Cores) -> tuple[Structure, Cores]:
        structure, cores = Shrink(self.edge, self.by).apply(structure, cores)
        return Grow(self.to, self.by).apply(structure, cores)

    def after(self, structure: Structure) -> Structure:
        return structure.shrink(self.edge, self.by).grow(self.to, self.by)

    def inverse(self, structure: Structure) -> Move:
        return Swap(self.to, self.edge, self.by)
