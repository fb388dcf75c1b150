"""Moves of modes: the represented tensor is reshaped, its entries stay."""

import dataclasses
import math

import numpy as np

from .._storable import storable
from .._structure import Structure
from ._base import Move
from .cores import Cores


@storable
@dataclasses.dataclass(frozen=True)
class SplitMode(Move):
    """A mode becomes several of the same node, in C order: 256 -> 4 x 4 x 4 x 4.

    Args:
        mode: to split; modes past it move up.
        sizes: of the parts.

    Example:
        >>> from tnjax import Structure
        >>> from tnjax.moves import SplitMode
        >>> SplitMode(0, (2, 3)).after(Structure.rank_one((6, 5))).legs
        ((0, 1), (2,))
    """

    mode: int
    sizes: tuple[int, ...]

    def apply(self, structure: Structure, cores: Cores) -> tuple[Structure, Cores]:
        new = self.after(structure)
        shapes = [new.core_shape(node) for node in range(new.num_nodes)]
        return new, tuple(np.reshape(c, s) for c, s in zip(cores, shapes, strict=True))

    def after(self, structure: Structure) -> Structure:
        size = structure.dims[self.mode]
        if not self.sizes or math.prod(self.sizes) != size:
            raise ValueError(f"SplitMode: sizes {self.sizes} do not multiply to {size}.")
        extra = len(self.sizes) - 1
        dims = (*structure.dims[: self.mode], *self.sizes, *structure.dims[self.mode + 1 :])
        legs = tuple(
            tuple(
                new
                for m in node
                for new in (
                    range(m, m + extra + 1) if m == self.mode else (m + extra * (m > self.mode),)
                )
            )
            for node in structure.legs
        )
        return Structure(dims, legs, structure.edges)

    def inverse(self, structure: Structure) -> Move:
        return MergeModes(self.mode, len(self.sizes))


@storable
@dataclasses.dataclass(frozen=True)
class MergeModes(Move):
    """Neighboring modes of one node become one: the inverse of `SplitMode`.

    Args:
        mode: the first of them.
        count: how many.

    Example:
        >>> from tnjax import Structure
        >>> from tnjax.moves import MergeModes
        >>> pair = Structure.from_edges((2, 3, 5), {(0, 1): 2}, legs=((0, 1), (2,)))
        >>> MergeModes(0).after(pair).dims
        (6, 5)
    """

    mode: int
    count: int = 2

    def apply(self, structure: Structure, cores: Cores) -> tuple[Structure, Cores]:
        new = self.after(structure)
        shapes = [new.core_shape(node) for node in range(new.num_nodes)]
        return new, tuple(np.reshape(c, s) for c, s in zip(cores, shapes, strict=True))

    def after(self, structure: Structure) -> Structure:
        first, last = self.mode, self.mode + self.count - 1
        merged = set(range(first, last + 1))
        owners = [node for node, legs in enumerate(structure.legs) if merged & set(legs)]
        if len(owners) != 1 or self.count < 1 or last >= len(structure.dims):
            raise ValueError(
                f"MergeModes: the modes {first}..{last} are not on one node of {structure}; merge "
                "their nodes first."
            )
        dims = (
            *structure.dims[:first],
            math.prod(structure.dims[first : last + 1]),
            *structure.dims[last + 1 :],
        )
        legs = tuple(
            tuple(
                m if m <= first else m - self.count + 1 for m in node if m not in merged - {first}
            )
            for node in structure.legs
        )
        return Structure(dims, legs, structure.edges)

    def inverse(self, structure: Structure) -> Move:
        return SplitMode(self.mode, structure.dims[self.mode : self.mode + self.count])
