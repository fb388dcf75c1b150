"""One rank for all bonds of a format, bracketed and bisected by fits."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from ..._init import core_std, host_cores
from ..._storable import storable
from ..._structure import Structure
from ..._tuned import tuned
from ...moves.cores import Cores, pad, shrunk
from ...problems import Problem
from ..strategy import Budget, Info, MoveRecord, next_seed
from .proposing import Proposing, ProposingState, better


@dataclasses.dataclass(frozen=True)
class Brackets:
    """The smallest rank of a format, without spectra.

    Attributes:
        growth: a rank that fails is followed by one larger by this factor, until one succeeds.
        resolution: the bracket is left alone once it is this narrow, relative to the rank.
        fresh: new entries of a core that was fitted at a smaller rank, in units of a random
            start's.
    """

    growth: float = 1.5
    resolution: float = 1 / 32
    fresh: float = 0.3


LADDER = tuned("ladder", Brackets())


@storable
@dataclasses.dataclass(frozen=True)
class LadderState(ProposingState):
    """Also the bracket: `low` is the largest rank that missed the target, `high` the smallest
    one that met it or broke the budget."""

    low: int = 1
    high: int | None = None

    @classmethod
    def of(cls, state: ProposingState) -> "LadderState":
        fields = dataclasses.fields(ProposingState)
        return cls(**{field.name: getattr(state, field.name) for field in fields})


@dataclasses.dataclass(frozen=True)
class Ladder:
    """Steps of a strategy over the ranks of a template."""

    strategy: Proposing
    template: Callable[[int], Structure]

    def step(
        self, problem: Problem, state: LadderState, budget: Budget
    ) -> tuple[ProposingState, Info]:
        """Fit the next rank of the bracket."""
        while True:
            rank = self._next(state)
            if rank is None or (budget.meets(state.error) and state.high is None):
                return self.strategy._end_of_proposals(state, budget), Info()
            structure = self.template(rank)
            if not budget.forbids(problem, structure):
                break
            state = dataclasses.replace(state, high=rank)
        known = state.structure, state.cores
        cores = cores_at(known, structure, state.seed, problem.dtype)
        roomy = self.template(2 ** (rank - 1).bit_length())  # ranks up to a power share a program
        fit, info = self.strategy._fit(problem, structure, cores, budget, roomy)
        met = budget.meets(fit.error)
        bracket = {"high": rank} if met else {"low": rank}
        state = dataclasses.replace(state, seed=next_seed(state.seed), **bracket)
        if not better(problem, budget, fit, state):
            return state, info
        state = dataclasses.replace(
            state, structure=fit.structure, cores=fit.cores, error=fit.error
        )
        return state, dataclasses.replace(info, move=MoveRecord(self.strategy.word))

    def _next(self, state: LadderState) -> int | None:
        low, high = state.low, state.high
        if high is None:
            rank = max(low + 1, int(low * LADDER().growth))
            return None if self.template(rank) == self.template(low) else rank
        if high - low <= max(1, int(low * LADDER().resolution)):
            return None
        return (low + high) // 2


def cores_at(
    known: tuple[Structure, Cores] | None,
    structure: Structure,
    seed: tuple[int, ...],
    dtype: Any,
) -> Cores:
    """Cores fitted at other ranks of the same graph where there are any, what is new about them
    small and random; else random ones."""
    random = host_cores(structure, np.random.default_rng(seed), dtype)
    if known is None:
        return random
    old, cores = known
    same = old.legs == structure.legs and set(old.edges) <= set(structure.edges)
    if not same or not old.edges:
        return random
    old, cores = shrunk(old, cores, structure)
    old_part = pad(old, cores, structure)
    held = pad(old, tuple(np.ones_like(core) for core in map(np.asarray, cores)), structure)
    scale = core_std(structure)
    size = np.mean([np.abs(np.asarray(core)).mean() for core in cores])
    return tuple(
        part + (1 - mask) * fresh * np.asarray(LADDER().fresh * size / scale, fresh.dtype)
        for part, mask, fresh in zip(old_part, held, random, strict=True)
    )
