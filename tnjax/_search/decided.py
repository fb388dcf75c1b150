"""Completions that leave strengths to their held-out entries: these are chosen before the search.

Networks of a fixed format, of ever higher ranks, are fitted along a path of strengths. The best one
is where the search begins.
"""

import dataclasses
import math
from typing import NamedTuple

from .. import _interrupt
from .._network import TensorNetwork, scaled
from .._structure import Structure
from .._tuned import tuned
from ..problems import Completion, Problem
from ..solve import PriorChoice, choose_prior
from .setup import Plan, budget_of
from .strategy import Fit


@dataclasses.dataclass(frozen=True)
class Deciding:
    """Strengths that are chosen before a search.

    Attributes:
        ranks: of the networks that they are chosen with, in this order.
        cp_modes: modes up to which these are CP networks; of more they are trains.
        better: higher ranks are tried as long as they lower the held-out error to this part.
        most_flops: flops of a sweep over the cores, at most.
    """

    ranks: tuple[int, ...] = (4, 8, 16, 32, 64)
    cp_modes: int = 5
    better: float = 0.98
    most_flops: float = 5e9


DECIDING = tuned("deciding", Deciding())


class Decided(NamedTuple):
    """A problem whose strengths are chosen, and the best network on the way; None for none."""

    problem: Problem
    network: TensorNetwork | None
    error: float


def decided(problem: Problem, plan: Plan) -> Decided:
    """Let held-out entries choose what a problem leaves to them."""
    if not isinstance(problem, Completion) or not problem.undecided or problem.held_out is None:
        return Decided(problem, None, math.inf)
    budget, best = budget_of(plan.limits), None
    format = Structure.cp if len(problem.shape) <= DECIDING().cp_modes else Structure.tensor_train
    for rank in DECIDING().ranks:
        structure = format(problem.shape, rank)
        dear = problem.sweep_flops(structure) > DECIDING().most_flops
        if best is not None and (dear or budget.forbids(problem, structure) is not None):
            break
        if best is None and budget.forbids(problem, structure) is not None:
            structure = Structure.rank_one(problem.shape)
        try:
            choice = _chosen(problem, structure, best, plan)
        except _interrupt.Stopped:
            break
        worth = best is None or choice.result.error < DECIDING().better * best.result.error
        best = choice if best is None or choice.result.error < best.result.error else best
        if not worth or budget.meets(best.result.error):
            break
    if best is None:
        return Decided(problem, None, math.inf)
    return Decided(best.problem, best.result.network, best.result.error)


def _chosen(
    problem: Completion, structure: Structure, best: PriorChoice | None, plan: Plan
) -> PriorChoice:
    strengths = None if best is None else best.strengths
    choice = choose_prior(problem, structure, key=plan.key, strengths=strengths)
    network = scaled(choice.result.network, 1 / problem.scale)
    _interrupt.note(problem, Fit(network.structure, network.cores, choice.result.error))
    return choice
