"""What every move offers."""

import abc
import dataclasses

from .._storable import storable
from .._structure import Structure
from .cores import Cores


class Move(abc.ABC):
    """A change of a structure as a value: what it does to the graph, to cores, and to the size.

    Cores are carried along on the host. Where a move is exact the represented tensor stays the
    same; where it takes something away, it takes what changes the tensor least as far as the
    cores at hand tell.

    Example:
        >>> import dataclasses
        >>> from tnjax import Structure
        >>> from tnjax.moves import Grow, Move
        >>> @dataclasses.dataclass(frozen=True)
        ... class Close(Move):  # a bond between the first and the last node
        ...     def apply(self, structure, cores):
        ...         return Grow((0, structure.num_nodes - 1)).apply(structure, cores)
        ...     def after(self, structure):
        ...         return structure.grow((0, structure.num_nodes - 1))
        ...     def inverse(self, structure):
        ...         return Grow((0, structure.num_nodes - 1)).inverse(structure)
        >>> Close().cost(Structure.tensor_train((4, 5, 6), 2))
        20
    """

    @abc.abstractmethod
    def apply(self, structure: Structure, cores: Cores) -> tuple[Structure, Cores]:
        """The changed structure with cores for it.

        Raises:
            ValueError: if the move does not fit the structure.
        """

    @abc.abstractmethod
    def after(self, structure: Structure) -> Structure:
        """The changed structure alone."""

    @abc.abstractmethod
    def inverse(self, structure: Structure) -> "Move":
        """The move that leads from `after(structure)` back to `structure`."""

    def cost(self, structure: Structure) -> int:
        """Parameters that the move adds; negative if it saves some."""
        return self.after(structure).num_params - structure.num_params


@storable
@dataclasses.dataclass(frozen=True)
class Composite(Move):
    """Several moves, one after the other.

    Args:
        moves: in their order.

    Example:
        >>> from tnjax import Structure
        >>> from tnjax.moves import Composite, Grow
        >>> both = Composite((Grow((0, 1)), Grow((1, 2), 2)))
        >>> both.after(Structure.rank_one((4, 5, 6))).ranks
        (2, 3)
    """

    moves: tuple[Move, ...]

    def apply(self, structure: Structure, cores: Cores) -> tuple[Structure, Cores]:
        for move in self.moves:
            structure, cores = move.apply(structure, cores)
        return structure, cores

    def after(self, structure: Structure) -> Structure:
        for move in self.moves:
            structure = move.after(structure)
        return structure

    def inverse(self, structure: Structure) -> Move:
        back = []
        for move in self.moves:
            back.append(move.inverse(structure))
            structure = move.after(structure)
        return Composite(tuple(reversed(back)))
