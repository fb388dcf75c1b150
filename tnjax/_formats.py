"""Named structures: class methods of `Structure`.

Every one takes `dims`, the sizes of the modes, and ranks as one integer for all bonds or as a
sequence, one for each bond in the order that the function states.
"""

import abc
import itertools
from collections.abc import Mapping, Sequence
from typing import TypeVar

import numpy as np

Ranks = int | Sequence[int] | np.ndarray


def all_pairs(num_nodes: int) -> tuple[tuple[int, int], ...]:
    """Every pair of nodes, (0, 1) first."""
    return tuple(itertools.combinations(range(num_nodes), 2))


def _spread(ranks: Ranks, count: int, what: str) -> tuple[int, ...]:
    """One rank for each of `count` bonds."""
    if isinstance(ranks, Sequence | np.ndarray):
        if len(ranks) != count:
            raise ValueError(
                f"{what}: expected {count} ranks (or one integer for all), got {len(ranks)}: "
                f"{tuple(ranks)}."
            )
        return tuple(ranks)
    return (ranks,) * count


F = TypeVar("F", bound="Formats")


class Formats(abc.ABC):
    """The named structures, for a class that can be made `from_edges`."""

    @classmethod
    @abc.abstractmethod
    def from_edges(
        cls: type[F],
        dims: Sequence[int],
        edges: Mapping[tuple[int, ...], int],
        *,
        legs: Sequence[Sequence[int]] | None = None,
        num_nodes: int | None = None,
    ) -> F:
        """A structure from its bonds; see `Structure.from_edges`."""

    @classmethod
    def rank_one(cls: type[F], dims: Sequence[int]) -> F:
        """The outer product of one vector per mode: no bonds.

        Example:
            >>> from tnjax import Structure
            >>> Structure.rank_one((4, 5, 6)).num_params
            15
        """
        return cls.from_edges(dims, {})

    @classmethod
    def fully_connected(cls: type[F], dims: Sequence[int], ranks: Ranks) -> F:
        """A bond between every two nodes; ranks in the order 01, 02, ..., 12, 13, ...

        Example:
            >>> from tnjax import Structure
            >>> Structure.fully_connected((4, 5, 6), 2).num_params
            60

        Reference:
            Zheng et al., AAAI 2021, "Fully-Connected Tensor Network Decomposition".
        """
        pairs = list(all_pairs(len(dims)))
        ranks = _spread(ranks, len(pairs), "fully_connected")
        return cls.from_edges(dims, dict(zip(pairs, ranks, strict=True)))

    @classmethod
    def tensor_train(cls: type[F], dims: Sequence[int], ranks: Ranks) -> F:
        """A chain 0 - 1 - ... - (d-1); `len(dims) - 1` ranks, those at the ends left out.

        Example:
            >>> from tnjax import Structure
            >>> Structure.tensor_train((4, 5, 6), (2, 3)).num_params
            56

        Reference:
            Oseledets, SIAM J. Sci. Comput. 33 (2011), equation 1.3.
        """
        bonds = [(k, k + 1) for k in range(len(dims) - 1)]
        ranks = _spread(ranks, len(bonds), "tensor_train")
        return cls.from_edges(dims, dict(zip(bonds, ranks, strict=True)))

    @classmethod
    def tensor_ring(cls: type[F], dims: Sequence[int], ranks: Ranks) -> F:
        """A closed chain; `ranks[k]` joins node k and node k + 1, the last one joins d-1 and 0.

        Raises:
            ValueError: for fewer than three modes (two bonds between the same nodes).

        Example:
            >>> from tnjax import Structure
            >>> Structure.tensor_ring((4, 5, 6), 2).num_params
            60

        Reference:
            Zhao et al., arXiv 1606.05535, equation 1.
        """
        if len(dims) < 3:
            raise ValueError(
                f"A tensor ring needs three or more modes, got {len(dims)}; use tensor_train."
            )
        bonds = [(k, (k + 1) % len(dims)) for k in range(len(dims))]
        ranks = _spread(ranks, len(bonds), "tensor_ring")
        return cls.from_edges(dims, dict(zip(bonds, ranks, strict=True)))

    @classmethod
    def tucker(cls: type[F], dims: Sequence[int], ranks: Ranks) -> F:
        """A factor per mode around one internal node, the core tensor; one rank per mode.

        Example:
            >>> from tnjax import Structure
            >>> Structure.tucker((7, 7, 7, 7, 7), (2, 3, 4, 3, 2)).num_params
            242

        Reference:
            Kolda and Bader, SIAM Review 51 (2009), section 4.
        """
        ranks = _spread(ranks, len(dims), "tucker")
        center = len(dims)
        return cls.from_edges(
            dims, {(k, center): rank for k, rank in enumerate(ranks)}, num_nodes=center + 1
        )

    @classmethod
    def cp(cls: type[F], dims: Sequence[int], rank: int) -> F:
        """One hyperedge on all nodes: a sum of `rank` outer products.

        Example:
            >>> from tnjax import Structure
            >>> Structure.cp((4, 5, 6), 3).num_params
            45

        Reference:
            Kolda and Bader, SIAM Review 51 (2009), section 3.
        """
        return cls.from_edges(dims, {tuple(range(len(dims))): rank} if len(dims) > 1 else {})

    @classmethod
    def hierarchical_tucker(cls: type[F], dims: Sequence[int], ranks: Ranks) -> F:
        """A balanced binary tree of internal nodes over the modes.

        Modes are halved from the top: the tree over modes a..b splits into a..m and m+1..b. The
        ranks go, from the top down and left to right, to the bonds between a node and its parent;
        the two children of the root share one bond, so there are `2 * len(dims) - 3` of them.

        Example:
            >>> from tnjax import Structure
            >>> ht = Structure.hierarchical_tucker((4, 4, 4, 4), 2)
            >>> sorted(ht.edges)
            [(0, 4), (1, 4), (2, 5), (3, 5), (4, 5)]

        Reference:
            Grasedyck, SIAM J. Matrix Anal. Appl. 31 (2010), definition 3.3 (the root, which would
            hold a matrix between its two children, is contracted into their bond).
        """
        if len(dims) < 2:
            return cls.from_edges(dims, {})
        next_internal = itertools.count(len(dims))
        bonds: list[tuple[int, int]] = []
        halves = _halves(range(len(dims)))
        roots = [half[0] if len(half) == 1 else next(next_internal) for half in halves]
        bonds.append((roots[0], roots[1]))
        level = list(zip(roots, halves, strict=True))
        while level:
            below = []
            for node, modes in level:
                if len(modes) == 1:
                    continue
                for half in _halves(modes):
                    child = half[0] if len(half) == 1 else next(next_internal)
                    bonds.append((node, child))
                    below.append((child, half))
            level = below
        ranks = _spread(ranks, len(bonds), "hierarchical_tucker")
        return cls.from_edges(dims, dict(zip(bonds, ranks, strict=True)))

    @classmethod
    def peps(cls: type[F], dims: Sequence[int], shape: tuple[int, int], ranks: Ranks) -> F:
        """A grid of `shape = (rows, columns)` nodes, row by row, joined to right and lower ones.

        Ranks: first all bonds within rows, then all between rows, both in node order.

        Raises:
            ValueError: if `rows * columns != len(dims)`.

        Example:
            >>> from tnjax import Structure
            >>> Structure.peps((3, 3, 3, 3, 3, 3), (2, 3), 2).ranks
            (2, 2, 2, 2, 2, 2, 2)

        Reference:
            Verstraete and Cirac, arXiv cond-mat/0407066.
        """
        rows, columns = shape
        if rows * columns != len(dims):
            raise ValueError(
                f"peps: a grid of {rows} x {columns} nodes needs {rows * columns} dims, "
                f"got {len(dims)}."
            )
        node = lambda row, column: row * columns + column
        bonds = [(node(r, c), node(r, c + 1)) for r in range(rows) for c in range(columns - 1)]
        bonds += [(node(r, c), node(r + 1, c)) for r in range(rows - 1) for c in range(columns)]
        ranks = _spread(ranks, len(bonds), "peps")
        return cls.from_edges(dims, dict(zip(bonds, ranks, strict=True)))


def _halves(modes: range) -> tuple[range, range]:
    middle = (len(modes) + 1) // 2
    return modes[:middle], modes[middle:]
