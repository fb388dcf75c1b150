"""Ranks that programs are compiled for: room for several moves, where that is cheap.

Programs depend on shapes, and a move changes them. So the search holds its cores in the shapes
of a `capacity` structure, filled up with zeros (which every solver leaves zero): several moves
share a program. Room costs multiplications, a program costs a compilation; the forecast of the
former decides, never a measured time.
"""

from collections.abc import Callable, Sequence

from .._contract.cost import dense_flops
from .._structure import Edge, Structure

# Flops that contracting the network once may cost at capacity. A move contracts some hundreds of
# times, so that this is about half a second a move, as long as compiling takes.
_CHEAP_FLOPS = 1_500_000
# ... and a capacity may always cost this factor more than the ranks that are needed.
_FACTOR = 1.5


def plan_capacity(
    needed: Structure,
    current: Structure | None,
    ranked: Sequence[Edge],
    max_rank: int | None,
    flops: Callable[[Structure], int] = dense_flops,
) -> Structure:
    """The capacity for a structure.

    Args:
        needed: the ranks that must fit.
        current: the capacity so far; returned as it is if they fit.
        ranked: bonds that may grow, the likeliest first.
        max_rank: no bond grows past it.
        flops: of one evaluation of a network (a problem's `flops`).

    Returns:
        A structure with the same nodes and at least the ranks of `needed`. A bond that outgrew
        its capacity gets twice as much; then those in `ranked` that are full get room in turn,
        while the whole stays cheap.
    """
    if current is not None and all(r <= current.rank(e) for e, r in needed.edges.items()):
        return current
    limit = max(_CHEAP_FLOPS, _FACTOR * flops(needed))

    def raised(capacity: Structure, edge: Edge, rank: int) -> Structure:
        if rank <= capacity.rank(edge):
            return capacity
        larger = capacity.with_rank(edge, rank)
        return larger if flops(larger) <= limit else capacity

    def room(rank: int) -> int:
        return 2 * rank if max_rank is None else min(2 * rank, max(max_rank, rank))

    capacity = needed
    if current is not None:  # keep the room that is there, as far as it is cheap
        for edge in ranked:
            capacity = raised(capacity, edge, current.rank(edge))
        for edge in needed.edges:
            if needed.rank(edge) > current.rank(edge):
                capacity = raised(capacity, edge, room(current.rank(edge)))
    for edge in ranked:
        if needed.rank(edge) == capacity.rank(edge):
            capacity = raised(capacity, edge, room(needed.rank(edge)))
    return capacity
