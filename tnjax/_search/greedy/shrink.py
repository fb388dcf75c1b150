"""Ranks that the target does not need: taken away, or moved to where they do more."""

import dataclasses
from collections.abc import Callable

from ..._structure import Edge, Structure
from ..._tuned import tuned
from ...moves.cores import shrink
from ...problems import Problem
from ..strategy import Budget, Info, MoveRecord
from .decide import decided
from .effort import EFFORT
from .fits import Step, advance, fit
from .grow import grow
from .options import Options
from .phase import Queued
from .state import GreedyState, Outcome


@dataclasses.dataclass(frozen=True)
class Shrinking:
    """Ranks taken away, or moved from one bond to another.

    Attributes:
        far: a bond is firm if taking a rank away leaves the error at more than so many times the
            target.
        swap_effort: a swap looks at candidates after so much of a full fit of the shrunken network
            ...
        refit_factor: ... and goes on if the best predicted gain, old cores frozen, times this would
            do: a fit of all cores gains more.
    """

    far: float = 1.02
    swap_effort: float = 0.25
    refit_factor: float = 3.0


SHRINKING = tuned("shrinking", Shrinking())


def _params_left(problem: Problem, structure: Structure) -> Callable[[Edge], int]:
    return lambda edge: problem.num_params(structure.shrink(edge))


class Prune(Queued):
    """One rank less on a bond, if the target stays met."""

    name = "prune"

    def candidates(
        self, options: Options, problem: Problem, state: GreedyState, budget: Budget
    ) -> tuple[GreedyState, tuple[Edge, ...]]:
        loose = (edge for edge in state.structure.edges if edge not in state.firm)
        return state, tuple(sorted(loose, key=_params_left(problem, state.structure)))

    def attempt(
        self, options: Options, problem: Problem, state: GreedyState, budget: Budget, item: Edge
    ) -> Step:
        if state.cuts is not None and not state.cuts.admits(state.structure.shrink(item)):
            return state, Info(), Outcome.STAY
        structure, cores = shrink(state.structure, state.cores, item)
        trial = dataclasses.replace(state, structure=structure, cores=cores)
        move = MoveRecord("prune", item, 1)
        trial, info = fit(
            options,
            problem,
            budget,
            trial,
            move,
            effort=EFFORT().deciding,
            do_screen=False,
            give_up=True,
        )
        after, info, outcome = decided(options, problem, state, trial, budget, info)
        if outcome is Outcome.SMALLER:
            # What failed before will not do with a rank less, so only the others are left to try.
            untried = {*state.queue, item}
            after, queue = self.candidates(options, problem, after, budget)
            queue = tuple(edge for edge in queue if edge in untried)
            return dataclasses.replace(after, queue=queue), info, Outcome.STAY
        if not budget.meets(trial.error / SHRINKING().far):
            after = dataclasses.replace(after, firm=(*after.firm, item))
        return after, info, Outcome.STAY


class Swap(Queued):
    """One rank from a bond to where it does more: accepted if the target is met with fewer
    parameters than before."""

    name = "swap"

    def enabled(self, options: Options, problem: Problem, state: GreedyState) -> bool:
        return options.swap

    def candidates(
        self, options: Options, problem: Problem, state: GreedyState, budget: Budget
    ) -> tuple[GreedyState, tuple[Edge, ...]]:
        edges = state.structure.edges
        return state, tuple(sorted(edges, key=_params_left(problem, state.structure)))

    def attempt(
        self, options: Options, problem: Problem, state: GreedyState, budget: Budget, item: Edge
    ) -> Step:
        smaller = dataclasses.replace(budget, max_params=problem.num_params(state.structure) - 1)
        structure = state.structure.shrink(item)
        if state.cuts is not None and not any(
            state.cuts.admits(structure.grow(other, options.increment))
            for other in options.candidates(structure)
            if options.forbidden(problem, structure, other, smaller) is None
        ):
            return state, Info(), Outcome.STAY
        structure, cores = shrink(state.structure, state.cores, item)
        trial = dataclasses.replace(state, structure=structure, cores=cores)
        move = MoveRecord("swap", item, 1)
        trial, info, outcome = advance(
            options, problem, smaller, trial, move, SHRINKING().swap_effort
        )
        to: list[Edge] = []
        if outcome is Outcome.STAY and not _promising(options, problem, trial, smaller):
            return state, dataclasses.replace(info, move=None), Outcome.STAY
        while outcome is Outcome.STAY:
            trial, grown, outcome = grow(options, problem, trial, smaller)
            info = info + grown
            if grown.move is not None and grown.move.edge is not None:
                to += [grown.move.edge, *grown.move.to]
        if outcome is not Outcome.MET:
            return state, dataclasses.replace(info, move=None), Outcome.STAY
        info = dataclasses.replace(info, move=MoveRecord("swap", item, 1, tuple(to)))
        trial = dataclasses.replace(trial, firm=tuple(e for e in state.firm if e not in to))
        return decided(options, problem, state, trial, budget, info)


def _promising(options: Options, problem: Problem, state: GreedyState, budget: Budget) -> bool:
    """Whether one growth within the budget could meet the target, the refit included."""
    edges = options.candidates(state.structure)
    allowed = [
        c
        for c, e in enumerate(edges)
        if options.forbidden(problem, state.structure, e, budget) is None
    ]
    best = max((float(state.screened.gain[c]) for c in allowed), default=0.0)
    loss, goal = map(problem.loss_of_error, (state.error, budget.target_error or 0.0))
    return SHRINKING().refit_factor * best >= loss - goal
