"""A fit of the state's structure, and what it means for the search."""

import dataclasses
import math

from ..._status import Status
from ...problems import Problem
from ...solve.limits import limits_of
from ..fitting.evaluate import Screening, evaluate
from ..strategy import Budget, Fit, Info, MoveRecord
from .options import Options
from .state import GreedyState, Outcome

Step = tuple[GreedyState, Info, Outcome]


def fit(
    options: Options,
    problem: Problem,
    budget: Budget,
    state: GreedyState,
    move: MoveRecord,
    *,
    effort: float = 1.0,
    do_screen: bool = True,
    give_up: bool = False,
) -> tuple[GreedyState, Info]:
    """Fit the state's structure within `effort` times the solver's steps, and screen. Where only
    reaching the target counts, `give_up` as soon as that is out of reach."""
    solver, screening = options.solver_for(problem), None
    if do_screen:
        edges = options.candidates(state.structure)
        screening = Screening(options.the_screen(), edges, state.seed, options.increment)
    out = evaluate(
        problem,
        solver,
        state.structure,
        state.cores,
        state.capacity,
        limits=limits_of(
            solver,
            problem,
            target_error=budget.target_error,
            max_steps=max(1, round(effort * solver.max_steps)),
            give_up=give_up,
        ),
        screening=screening,
    )
    state = dataclasses.replace(
        state, cores=out.cores, error=out.error, screened=out.screened, seed=state.next_seed()
    )
    fits = (Fit(state.structure, out.cores, out.error),)
    return state, Info(
        move, out.programs, out.compile_seconds, fits, out.screen_seconds, work=out.work
    )


def advance(
    options: Options,
    problem: Problem,
    budget: Budget,
    state: GreedyState,
    move: MoveRecord,
    effort: float = 1.0,
) -> Step:
    """Fit the state's structure, screen, and see whether that is enough."""
    state, info = fit(options, problem, budget, state, move, effort=effort)
    return judged(budget, state, info)


def judged(budget: Budget, state: GreedyState, info: Info) -> Step:
    """What comes after a fit."""
    if not math.isfinite(state.error):
        return dataclasses.replace(state, status=Status.NON_FINITE), info, Outcome.STOP
    if budget.meets(state.error):
        return state, info, Outcome.MET
    better = state.error < state.lowest
    state = dataclasses.replace(
        state,
        status=Status.RUNNING,
        lowest=min(state.error, state.lowest),
        fruitless=0 if better else state.fruitless + 1,
    )
    return state, info, Outcome.STAY


def holding(options: Options, problem: Problem, state: GreedyState, found: Fit) -> GreedyState:
    """The state with another network, in a capacity of its own."""
    capacity = options.capacity(problem, found.structure)
    return dataclasses.replace(
        state, structure=found.structure, cores=found.cores, error=found.error, capacity=capacity
    )
