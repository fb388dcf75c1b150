"""Ranks that programs are compiled for: room for several moves, where that is cheap.

Programs depend on shapes, and a move changes them. So the search holds its cores in the shapes
of a `capacity` structure, filled up with zeros (which every solver leaves zero): several moves
share a program. Room costs multiplications, a program costs a compilation; the forecast of the
former decides, never a measured time.
"""

import dataclasses
from collections.abc import Callable, Sequence

from ... import _compile
from ..._structure import Edge, Structure
from ..._tuned import tuned
from ...contract.cost import dense_sweep_flops


@dataclasses.dataclass(frozen=True)
class Room:
    """Ranks that programs are compiled for.

    Attributes:
        cheap_flops: flops that a sweep over the cores may cost at capacity, with `cheap_nodes`
            nodes. A move makes some tens of sweeps, so that this is about half a second a move, as
            long as compiling takes.
        cheap_nodes: compiling takes longer with the square of the nodes (each has its own
            contraction of all others), and so may a sweep.
        cheap_flops_on_host: the same where programs are interpreted: as soon as they are traced,
            and loops cost more.
        doubled: a bond that needs room gets so many times its rank ...
        part: ... or, where that is dear, its rank over this more.
        factor: a capacity may always cost this factor more than the ranks that are needed.
    """

    cheap_flops: int = 12_000_000
    cheap_nodes: int = 4
    cheap_flops_on_host: int = 8_000_000
    factor: float = 1.5
    doubled: int = 2
    part: int = 4


ROOM = tuned("capacity", Room())


def plan_capacity(
    needed: Structure,
    current: Structure | None,
    ranked: Sequence[Edge],
    max_rank: int | None,
    flops: Callable[[Structure], int] = dense_sweep_flops,
) -> Structure:
    """The capacity for a structure.

    Args:
        needed: the ranks that must fit.
        current: the capacity so far; returned as it is if they fit.
        ranked: bonds that may grow, the likeliest first.
        max_rank: no bond grows past it.
        flops: of one sweep over the cores of a network (a problem's `sweep_flops`).

    Returns:
        A structure with the same nodes and at least the ranks of `needed`. A bond that outgrew
        its capacity gets twice as much, or as much more as is cheap; then those in `ranked` that
        are full get room in turn, while the whole stays cheap.
    """
    if current is not None and holds(current, needed):
        return current
    cheap: float = ROOM().cheap_flops_on_host
    if not _compile.interprets():
        cheap = ROOM().cheap_flops * max(1.0, needed.num_nodes / ROOM().cheap_nodes) ** 2
    limit = max(cheap, ROOM().factor * flops(needed))

    def raised(capacity: Structure, edge: Edge, *ranks: int) -> Structure:
        """With the first of these ranks that is cheap."""
        for rank in ranks:
            if rank > capacity.rank(edge):
                larger = capacity.with_rank(edge, rank)
                if flops(larger) <= limit:
                    return larger
        return capacity

    def room(rank: int) -> list[int]:
        ranks = [ROOM().doubled * rank, rank + max(1, rank // ROOM().part)]
        return ranks if max_rank is None else [min(r, max(max_rank, rank)) for r in ranks]

    capacity = needed
    if current is not None:  # keep the room that is there, as far as it is cheap
        for edge in ranked:
            capacity = raised(capacity, edge, current.rank(edge))
        for edge in needed.edges:
            if needed.rank(edge) > current.rank(edge):
                capacity = raised(capacity, edge, *room(current.rank(edge)))
    for edge in ranked:
        if needed.rank(edge) == capacity.rank(edge):
            capacity = raised(capacity, edge, *room(needed.rank(edge)))
    return capacity


def holds(capacity: Structure, structure: Structure) -> bool:
    """Whether a structure fits into the shapes of a capacity."""
    return capacity.legs == structure.legs and all(
        rank <= capacity.rank(edge) for edge, rank in structure.edges.items()
    )
