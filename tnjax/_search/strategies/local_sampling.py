"""Local sampling of ranks and of the places of nodes in a template."""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from ..._storable import storable
from ..._structure import Structure
from ..._tuned import tuned
from .ask_tell import AskTell, Proposal, Scored, View, check_template, template_edges, with_ranks


@dataclasses.dataclass(frozen=True)
class LocalDraws:
    """Draws of the local sampling.

    Attributes:
        tries: draws for each sample that may be forbidden or known before a round gives up.
    """

    tries: int = 20


LOCAL_DRAWS = tuned("local_sampling", LocalDraws())


@storable
@dataclasses.dataclass(frozen=True)
class Sampling:
    """Where the samples are drawn.

    Attributes:
        places: the node in each place of the template.
        ranks: of the template's bonds, in its order.
        score: of the best sample so far.
        asked: places and ranks of the samples that are being fitted.
    """

    places: tuple[int, ...]
    ranks: tuple[int, ...]
    score: float
    asked: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class LocalSampling(AskTell):
    r"""TNLS: sample around the best structure, closer and closer.

    A structure is a template (a graph of places), the node that stands in each place, and the
    ranks. Samples exchange a random number of pairs of nodes, and add rounded Gaussian steps to
    the ranks; the best of all moves the center. The spread of round t is $c^t$ times the first.

    Args:
        template: "ring", "train" or "full".
        samples: structures in a round.
        rounds: populations at the most.
        spread: standard deviation of the ranks' steps, and mean number of exchanges, at first.
        decay: c, of the spread from round to round.
        rank: of all bonds at first.

    Example:
        >>> from tnjax import LocalSampling
        >>> LocalSampling(template="train").samples
        60

    Reference:
        Li, Zeng, Tao, Zhao, "Permutation Search of Tensor Network Structures via Local
        Sampling", ICML 2022, arXiv 2206.06597 (there 60 samples, 20 rounds).
    """

    template: str = "ring"
    samples: int = 60
    rounds: int = 20
    spread: float = 1.0
    decay: float = 0.9
    rank: int = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        check_template("LocalSampling", self.template)
        for name in ("spread", "decay"):
            value = getattr(self, name)
            if not math.isfinite(value) or value <= 0:
                raise ValueError(f"LocalSampling: {name} must be positive, got {value!r}.")

    @property
    def cites(self) -> tuple[str, ...]:
        return ("li2022",)

    @property
    def word(self) -> str:
        return "sample"

    def begin(self, start: Scored) -> Sampling:
        count = len(template_edges(self.template, start.structure))
        places = tuple(range(start.structure.num_nodes))
        return Sampling(places, (self.rank,) * count, math.inf)

    def ask(self, memory: Sampling, view: View) -> tuple[Sequence[Proposal], Sampling]:
        if view.round >= self.rounds:
            return (), memory
        spread = self.spread * self.decay**view.round
        asked = [(memory.places, memory.ranks)]
        for _ in range(LOCAL_DRAWS().tries * self.samples):
            if len(asked) > self.samples:
                break
            places = _exchanged(memory.places, view.rng.poisson(spread), view.rng)
            steps = np.rint(spread * view.rng.standard_normal(len(memory.ranks)))
            ranks = tuple(
                int(min(max(rank + step, 1), self.max_rank))
                for rank, step in zip(memory.ranks, steps, strict=True)
            )
            drawn = (places, ranks)
            if drawn not in asked and view.allowed(self._structure(view.best.structure, drawn)):
                asked.append(drawn)
        if view.round:  # the center has been fitted before
            asked = asked[1:]
        memory = dataclasses.replace(memory, asked=tuple(asked))
        nodes = view.best.structure
        return [Proposal(self._structure(nodes, one), order=one[0]) for one in asked], memory

    def tell(self, memory: Sampling, found: Sequence[Scored], view: View) -> Sampling:
        scores = {one.structure: one.score for one in found}
        for places, ranks in memory.asked:
            score = scores.get(self._structure(view.best.structure, (places, ranks)), math.inf)
            if score < memory.score:
                memory = dataclasses.replace(memory, places=places, ranks=ranks, score=score)
        return dataclasses.replace(memory, asked=())

    def _structure(self, nodes: Structure, drawn: tuple) -> Structure:
        places, ranks = drawn
        edges = template_edges(self.template, nodes)
        return with_ranks(
            nodes,
            {tuple(places[p] for p in edge): r for edge, r in zip(edges, ranks, strict=True)},
        )


def _exchanged(places: tuple[int, ...], times: int, rng: np.random.Generator) -> tuple[int, ...]:
    out = list(places)
    for _ in range(times):
        if len(out) > 1:
            a, b = rng.choice(len(out), 2, replace=False)
            out[a], out[b] = out[b], out[a]
    return tuple(out)
