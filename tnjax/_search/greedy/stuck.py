"""A fit that may be stuck is repeated before a bond grows."""

import dataclasses

from ..._tuned import tuned
from ...moves import Rerank
from ...problems import Problem
from ..strategy import Budget, MoveRecord
from .fits import Step, advance
from .measure import MEASURING
from .options import Options
from .state import GreedyState, Outcome
from .tries import affordable, batched, run_batch


@dataclasses.dataclass(frozen=True)
class Stuck:
    """Fits from other starts, where the first one may be a bad one.

    Attributes:
        starts: starts where held-out entries judge.
        cheap: structures like it that could be tried for what the tries of a phase may cost.
        better: a better fit has at most this part of the error.
        vain: after so many times in vain, only a growth that raised the held-out error is followed
            by another one.
    """

    starts: int = 8
    cheap: int = 4
    better: float = 0.9
    vain: int = 2


STUCK = tuned("stuck", Stuck())


def may_be(problem: Problem, state: GreedyState) -> bool:
    """Whether a structure that misses the target is one that could meet it: a fit that stalled (a
    swamp) calls for other steps, not for more ranks."""
    cuts, structure = state.cuts, state.structure
    able = problem.least_squares is not None and not problem.nonnegative
    if not able or state.freed == structure:
        return False
    if _judged_by_others(problem):
        hopeful = bool(structure.edges) and (state.fruitless > 0 or state.vain < STUCK().vain)
        return hopeful and affordable(problem, structure, STUCK().starts) >= STUCK().cheap
    if cuts is None or cuts.definite < MEASURING().definite:
        return False
    return cuts.admits(structure) and affordable(problem, structure, 1) >= 1


def _judged_by_others(problem: Problem) -> bool:
    """Whether entries that are not fitted say how good a fit is: that of a structure that could
    explain them may still be a bad one."""
    squares = problem.least_squares
    return problem.patience > 0 and problem.restarts and squares is not None and squares.quadratic


def freed(options: Options, problem: Problem, state: GreedyState, budget: Budget) -> Step:
    """Fit the structure again by Levenberg-Marquardt, from its cores, shaken, and where held-out
    entries judge, from random ones as well."""
    state = dataclasses.replace(state, freed=state.structure)
    same = Rerank(())  # changes no rank
    starts = STUCK().starts if _judged_by_others(problem) else 1
    state, (batch,) = batched(problem, state, budget, [same], starts)
    state, info, fit = run_batch(problem, state, budget, batch, warm=True)
    if fit is not None:
        state = dataclasses.replace(state, cores=fit.cores, error=fit.error)
        return state, dataclasses.replace(info, move=MoveRecord("refit")), Outcome.MET
    best = min(info.fits, key=lambda fit: fit.error)
    if starts == 1 or not best.error < STUCK().better * state.error:
        return dataclasses.replace(state, vain=state.vain + 1), info, Outcome.STAY
    state = dataclasses.replace(state, cores=best.cores, vain=0)
    state, more, outcome = advance(options, problem, budget, state, MoveRecord("refit"))
    return state, dataclasses.replace(info + more, move=more.move), outcome
