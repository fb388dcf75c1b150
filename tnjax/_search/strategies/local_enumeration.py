"""Alternating local enumeration."""

import dataclasses
import math
from collections.abc import Sequence

from ..._formats import all_pairs
from ..._storable import storable
from ..._structure import Edge, Structure
from .ask_tell import AskTell, Proposal, Scored, View, check_template, template_edges, with_ranks


@storable
@dataclasses.dataclass(frozen=True)
class Enumeration:
    """Where the alternation stands.

    Attributes:
        center: the structure whose neighbors are enumerated.
        score: of the center.
        queue: variables that are left in this round trip; an empty edge stands for the places of
            the nodes.
        radius: of the enumeration.
        improved: whether the round trip has found something better.
        trips: round trips so far, and the fit of the template.
    """

    center: Structure
    score: float
    queue: tuple[Edge, ...]
    radius: int
    improved: bool = False
    trips: int = 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class LocalEnumeration(AskTell):
    """TnALE: one structure variable after another is set to the best value nearby, all others
    held.

    A variable is the rank of a bond, or which node stands in which place of the graph: all
    exchanges of two nodes. On the template "full" all bonds are variables, so that topologies
    are searched too (a bond of rank 1 is none). A round trip visits the variables forward and
    back; the radius starts large and falls to 1, and the search ends after a round trip at
    radius 1 that improved nothing.

    Args:
        template: "full", "ring" or "train": the bonds that are there at first (of a thinner
            template where the budget forbids them), and the variables.
        rank: of these bonds at first. A start that has bonds takes their place.
        radius: of the first round trip: how far a rank is changed at the most, up or down.
        exchange: enumerate exchanges of nodes too.
        trips: round trips at the most.

    Example:
        >>> from tnjax import LocalEnumeration
        >>> LocalEnumeration(radius=1).exchange
        True

    Reference:
        Li, Zeng, Li, Caiafa, Zhao, "Alternating Local Enumeration (TnALE)", ICML 2023,
        arXiv 2304.12875.
    """

    template: str = "full"
    rank: int = 2
    radius: int = 2
    exchange: bool = True
    trips: int = 30

    def __post_init__(self) -> None:
        super().__post_init__()
        check_template("LocalEnumeration", self.template)

    @property
    def cites(self) -> tuple[str, ...]:
        return ("li2023",)

    @property
    def word(self) -> str:
        return "enumerate"

    def begin(self, start: Scored) -> Enumeration:
        score = start.score if start.structure.edges else math.inf
        return Enumeration(start.structure, score, (), self.radius)

    def ask(self, memory: Enumeration, view: View) -> tuple[Sequence[Proposal], Enumeration]:
        if memory.score == math.inf and not memory.trips:
            center = self._first(memory.center, view)
            memory = dataclasses.replace(memory, center=center, trips=1)
            return [Proposal(center)], memory
        while True:
            if not memory.queue:
                variables = self._variables(memory.center)
                if memory.trips >= self.trips or not variables:
                    return (), memory
                if memory.trips and not memory.improved:
                    if memory.radius == 1:
                        return (), memory
                    memory = dataclasses.replace(memory, radius=memory.radius - 1)
                memory = dataclasses.replace(
                    memory,
                    queue=variables,
                    improved=False,
                    trips=memory.trips + 1,
                )
            variable, queue = memory.queue[0], memory.queue[1:]
            memory = dataclasses.replace(memory, queue=queue)
            near = [s for s in self._neighbors(memory, variable) if view.allowed(s)]
            if near:
                return [Proposal(structure) for structure in near], memory

    def _first(self, start: Structure, view: View) -> Structure:
        """The template at its first ranks, or a thinner one where that is too large."""
        for template in dict.fromkeys((self.template, "ring", "train")):
            edges = template_edges(template, start)
            center = with_ranks(start, dict.fromkeys(edges, self.rank))
            if view.allowed(center):
                return center
        return start

    def _variables(self, center: Structure) -> tuple[Edge, ...]:
        ranks = tuple(dict.fromkeys((*center.edges, *template_edges(self.template, center))))
        middle = ((),) if self.exchange and center.edges else ()
        return (*ranks, *middle, *reversed(ranks))

    def _neighbors(self, memory: Enumeration, variable: Edge) -> list[Structure]:
        center, radius = memory.center, memory.radius
        if variable:
            rank = center.rank(variable)
            steps = [step for d in range(1, radius + 1) for step in (-d, d)]
            return [center.with_rank(variable, rank + d) for d in steps if rank + d >= 1]
        return [exchanged(center, a, b) for a, b in all_pairs(center.num_nodes)]

    def tell(self, memory: Enumeration, found: Sequence[Scored], view: View) -> Enumeration:
        best = min(found, key=lambda one: one.score, default=None)
        if best is None or best.score >= memory.score:
            return memory
        return dataclasses.replace(memory, center=best.structure, score=best.score, improved=True)


def exchanged(structure: Structure, a: int, b: int) -> Structure:
    """Nodes a and b in each other's places of the graph; both keep their open legs."""
    new = {a: b, b: a}
    return with_ranks(
        structure,
        {tuple(new.get(n, n) for n in edge): rank for edge, rank in structure.edges.items()},
    )
