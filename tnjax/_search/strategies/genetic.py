"""A genetic algorithm over ranks of all bonds."""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from ..._storable import storable
from ..._structure import Structure, all_edges
from ..._tuned import tuned
from .ask_tell import AskTell, Proposal, Scored, View, with_ranks


@dataclasses.dataclass(frozen=True)
class Draws:
    """Children of the genetic search.

    Attributes:
        tries: draws for each child that may be forbidden or known before a round gives up.
    """

    tries: int = 20


DRAWS = tuned("genetic", Draws())


@storable
@dataclasses.dataclass(frozen=True)
class Population:
    """Structures that live, with their scores, the fittest first."""

    living: tuple[Structure, ...]
    scores: tuple[float, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Genetic(AskTell):
    r"""TNGA: structures breed. A genome is the list of the ranks of all bonds, 1 where none is.

    In each round the worst are eliminated and replaced: two parents, drawn with a probability
    that falls with their place $k$ as $\max(0, \log(\alpha / k))$, exchange each rank with
    probability 1/2, and each rank of the children mutates to a random one.

    Args:
        population: structures that live at a time.
        rounds: generations at the most.
        elimination: share of the population that is replaced in each.
        mutation: probability of each rank to be drawn anew.
        density: of the graphs of the first population.

    Example:
        >>> from tnjax import Genetic
        >>> Genetic(population=20).rounds
        30

    Reference:
        Li and Sun, "Evolutionary Topology Search for Tensor Network Decomposition", ICML 2020.
    """

    population: int = 60
    rounds: int = 30
    elimination: float = 0.6
    mutation: float = 0.08
    density: float = 0.6

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("elimination", "mutation", "density"):
            value = getattr(self, name)
            if not 0 < value <= 1:
                raise ValueError(f"Genetic: {name} must be in (0, 1], got {value!r}.")

    @property
    def cites(self) -> tuple[str, ...]:
        return ("li2020",)

    @property
    def word(self) -> str:
        return "breed"

    def begin(self, start: Scored) -> Population:
        return Population((start.structure,), (start.score,))

    def ask(self, memory: Population, view: View) -> tuple[Sequence[Proposal], Population]:
        if view.round >= self.rounds:
            return (), memory
        first = view.round == 0
        count = self.population - 1 if first else math.ceil(self.elimination * self.population)
        asked: dict[Structure, None] = {}
        for _ in range(DRAWS().tries * count):
            if len(asked) >= count:
                break
            child = self._drawn(view) if first else self._bred(memory, view)
            if view.allowed(child) and child not in memory.living:
                asked.setdefault(child)
        return [Proposal(child) for child in asked], memory

    def tell(self, memory: Population, found: Sequence[Scored], view: View) -> Population:
        scores = dict(zip(memory.living, memory.scores, strict=True))
        scores |= {one.structure: one.score for one in found}
        order = sorted(scores, key=scores.__getitem__)[: self.population]
        return Population(tuple(order), tuple(scores[one] for one in order))

    def _drawn(self, view: View) -> Structure:
        edges = all_edges(view.best.structure)
        there = view.rng.random(len(edges)) < self.density
        ranks = np.where(there, self._ranks(view, len(edges)), 1)
        return with_ranks(view.best.structure, dict(zip(edges, ranks.tolist(), strict=True)))

    def _ranks(self, view: View, count: int) -> np.ndarray:
        return view.rng.integers(1, self.max_rank + 1, count)

    def _bred(self, memory: Population, view: View) -> Structure:
        living = memory.living
        edges = all_edges(living[0])
        places = np.arange(1, len(living) + 1)
        weights = np.maximum(np.log((len(living) + 1) / places), 1e-12)
        a, b = view.rng.choice(len(living), 2, p=weights / weights.sum())
        ranks = np.asarray([[living[n].rank(edge) for edge in edges] for n in (a, b)])
        child = np.where(view.rng.random(len(edges)) < 0.5, *ranks)
        mutates = view.rng.random(len(edges)) < self.mutation
        child = np.where(mutates, self._ranks(view, len(edges)), child)
        return with_ranks(living[0], dict(zip(edges, child.tolist(), strict=True)))
