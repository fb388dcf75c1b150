"""A fit that may be stuck is repeated before a bond grows."""

import dataclasses

from ...moves import Rerank
from ...problems import Problem
from ..strategy import Budget, MoveRecord
from .fits import Step
from .measure import MEASURING
from .state import GreedyState, Outcome
from .tries import affordable, batched, run_batch


def may_be(problem: Problem, state: GreedyState) -> bool:
    """Whether a structure that misses the target is one that could meet it: a fit that stalled (a
    swamp) calls for other steps, not for more ranks."""
    cuts, structure = state.cuts, state.structure
    if cuts is None or cuts.definite < MEASURING().definite or state.freed == structure:
        return False
    able = problem.least_squares is not None and not problem.nonnegative
    return able and cuts.admits(structure) and affordable(problem, structure, 1) >= 1


def freed(problem: Problem, state: GreedyState, budget: Budget) -> Step:
    """Fit the structure again by Levenberg-Marquardt, from its cores, shaken; where that costs
    little, from random ones as well."""
    state = dataclasses.replace(state, freed=state.structure)
    same = Rerank(())  # changes no rank
    state, (batch,) = batched(problem, state, budget, [same], 1)
    state, info, fit = run_batch(problem, state, budget, batch, warm=True)
    if fit is None:
        return state, info, Outcome.STAY
    state = dataclasses.replace(state, cores=fit.cores, error=fit.error)
    return state, dataclasses.replace(info, move=MoveRecord("refit")), Outcome.MET
