"""Whether a smaller network is accepted."""

import dataclasses

from ..._status import Status
from ..._structure import Structure
from ...moves.cores import Cores
from ...problems import Problem
from ..fitting.capacity import holds
from ..strategy import Budget, Info, MoveRecord
from .fits import Step, fit
from .options import Options
from .state import GreedyState, Outcome


def decided(
    options: Options,
    problem: Problem,
    state: GreedyState,
    trial: GreedyState,
    budget: Budget,
    info: Info,
) -> Step:
    """The trial, if it meets the target; else the state."""
    if not budget.meets(trial.error):
        return state, dataclasses.replace(info, move=None), Outcome.STAY
    structure, capacity = trial.structure, trial.capacity
    if not holds(capacity, structure):
        known = capacity if capacity.legs == structure.legs else None
        capacity = options.capacity(problem, structure, known)
        trial = dataclasses.replace(trial, capacity=capacity)
    trial = dataclasses.replace(trial, status=Status.TARGET_REACHED)
    return trial, info, Outcome.SMALLER


def refitted(
    options: Options,
    problem: Problem,
    state: GreedyState,
    budget: Budget,
    found: tuple[Structure, Cores],
    move: MoveRecord,
    *,
    effort: float,
) -> Step:
    """A network with other nodes, fitted in a capacity of its own."""
    structure, cores = found
    capacity = options.capacity(problem, structure)
    trial = dataclasses.replace(state, structure=structure, cores=cores, capacity=capacity, firm=())
    trial, info = fit(
        options, problem, budget, trial, move, effort=effort, do_screen=False, give_up=True
    )
    return decided(options, problem, state, trial, budget, info)
