"""Search at random: what every other strategy should beat."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from ..._storable import storable
from ..._structure import all_edges
from ..._tuned import tuned
from .ask_tell import AskTell, Proposal, Scored, View, with_ranks


@dataclasses.dataclass(frozen=True)
class RandomDraws:
    """Draws of the random search.

    Attributes:
        tries: draws for each sample that may be forbidden or known before a round gives up.
    """

    tries: int = 50


RANDOM_DRAWS = tuned("random", RandomDraws())


@storable
@dataclasses.dataclass(frozen=True)
class Walk:
    """Where a walk stands."""

    at: Any


@dataclasses.dataclass(frozen=True, kw_only=True)
class RandomWalk(AskTell):
    """Grow a random bond by one rank, again and again, until the target is met.

    Args:
        steps: longest walk.

    Example:
        >>> from tnjax import RandomWalk
        >>> RandomWalk(max_rank=3).max_rank
        3

    Reference:
        The baseline of arXiv 2008.05437, section 5.1.
    """

    steps: int = 200

    @property
    def word(self) -> str:
        return "walk"

    def begin(self, start: Scored) -> Walk:
        return Walk(start.structure)

    def ask(self, memory: Walk, view: View) -> tuple[Sequence[Proposal], Walk]:
        grown = [memory.at.grow(edge) for edge in all_edges(memory.at)]
        grown = [structure for structure in grown if view.allowed(structure)]
        if not grown or view.round >= self.steps:
            return (), memory
        chosen = grown[int(view.rng.integers(len(grown)))]
        return [Proposal(chosen)], memory

    def tell(self, memory: Walk, found: Sequence[Scored], view: View) -> Walk:
        return Walk(found[0].structure) if found else memory


@dataclasses.dataclass(frozen=True, kw_only=True)
class RandomSearch(AskTell):
    """Draw structures independently: every bond is there with the probability `density`, with a
    rank from 2 to `max_rank`. Once one meets the target, only cheaper ones are tried.

    Args:
        samples: structures in a round.
        rounds: populations at the most.
        density: of the graph.

    Example:
        >>> from tnjax import RandomSearch
        >>> RandomSearch(samples=10).samples
        10

    Reference:
        Bergstra and Bengio, J. Mach. Learn. Res. 13 (2012).
    """

    samples: int = 50
    rounds: int = 30
    density: float = 0.6

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.density <= 1:
            raise ValueError(f"RandomSearch: density must be in (0, 1], got {self.density!r}.")

    @property
    def word(self) -> str:
        return "draw"

    def begin(self, start: Scored) -> None:
        return None

    def ask(self, memory: None, view: View) -> tuple[Sequence[Proposal], None]:
        if view.round >= self.rounds:
            return (), memory
        edges = all_edges(view.best.structure)
        found = []
        for _ in range(RANDOM_DRAWS().tries * self.samples):
            there = view.rng.random(len(edges)) < self.density
            ranks = view.rng.integers(2, max(self.max_rank, 2) + 1, len(edges))
            drawn = {e: int(r) for e, r, t in zip(edges, ranks, there, strict=True) if t}
            structure = with_ranks(view.best.structure, drawn)
            if view.allowed(structure):
                found.append(Proposal(structure))
            if len(found) == self.samples:
                break
        return found, memory

    def tell(self, memory: None, found: Sequence[Scored], view: View) -> None:
        return memory
