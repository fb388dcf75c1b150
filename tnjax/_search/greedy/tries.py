"""Structures that are tried together from random cores: which share a program, and the tries."""

import dataclasses
from collections.abc import Sequence

from ..._storable import storable
from ..._structure import Structure
from ..._tuned import tuned
from ...moves import Move
from ...problems import Problem
from ...solve import LevenbergMarquardt
from ...solve.limits import limits_of
from ..fitting.population import SHARING, plan_groups
from ..fitting.races import attempt
from ..fitting.work import COSTS, attempt_work
from ..strategy import Budget, Fit, Info
from .options import Options
from .state import GreedyState


@dataclasses.dataclass(frozen=True)
class Tries:
    """Structures near the one found, tried from random cores.

    Attributes:
        flops: flops that all tries of a phase may cost, some two seconds.
        steps: steps of an attempt: from random cores a structure that can is there after ten to
            thirty.
        together: structures that a program is made for, if all of them cost no more than making it.
    """

    flops: float = 4e10
    steps: int = 32
    together: int = 16


TRIES = tuned("tries", Tries())


@storable
@dataclasses.dataclass(frozen=True)
class Batch:
    """Moves whose structures are tried together, in one program compiled for `capacity` and so
    many starts."""

    moves: tuple[Move, ...]
    capacity: Structure
    lanes: int


def batched(
    problem: Problem,
    state: GreedyState,
    budget: Budget,
    moves: Sequence[Move],
    num_starts: int,
) -> tuple[GreedyState, tuple[Batch, ...]]:
    """Moves in batches that share a program each, in the order of the first of each; and the
    state, which knows for which shapes there are programs."""
    if not moves:
        return state, ()
    solver = LevenbergMarquardt(max_steps=TRIES().steps)
    cost = lambda s: _attempt_flops(problem, s, num_starts) / COSTS().program
    memory = (budget.memory_limit or SHARING().batch_bytes) // num_starts
    structures = [move.after(state.structure) for move in moves]
    groups, members = plan_groups(problem, solver, structures, state.groups, memory, cost)
    batches: dict[int, Batch] = {}
    for group, own in zip(groups, members, strict=True):
        together = group.batch
        if cost(group.capacity) * TRIES().together <= 1:
            together = min(TRIES().together, memory // problem.fit_peak_bytes(group.capacity))
        for first in range(0, len(own), max(1, together)):
            picked = own[first : first + max(1, together)]
            batches[picked[0]] = Batch(
                tuple(moves[n] for n in picked),
                group.capacity,
                num_starts * max(together, len(picked)),
            )
    state = dataclasses.replace(state, groups=groups)
    return state, tuple(batches[n] for n in sorted(batches))


def affordable(problem: Problem, structure: Structure, num_starts: int) -> int:
    """How many structures about as large as a given one may be tried, each from `num_starts`
    starts."""
    return int(TRIES().flops / _attempt_flops(problem, structure, num_starts))


def _attempt_flops(problem: Problem, structure: Structure, num_starts: int) -> int:
    """Forecast of an attempt."""
    return num_starts * TRIES().steps * _step_flops(problem, structure)


def _step_flops(problem: Problem, structure: Structure) -> int:
    """Of a step of one start."""
    look = problem.flops(structure) + problem.work
    return 6 * look + LevenbergMarquardt().cg_steps * problem.normal_operator_flops(structure)


def batch_work(problem: Problem, batch: Batch) -> float:
    """What trying it takes, by a forecast: about half of the lanes end early."""
    flops = _step_flops(problem, batch.capacity)
    return attempt_work(batch.capacity, flops, batch.lanes * TRIES().steps // 2)


def run_batch(
    problem: Problem, state: GreedyState, budget: Budget, batch: Batch, *, warm: bool
) -> tuple[GreedyState, Info, Fit | None]:
    """Try the structures of a batch.

    Args:
        warm: whether the first start of each has the cores of the state carried over.

    Returns:
        The state with another seed, what was done, and the first structure that meets the target.
    """
    solver = LevenbergMarquardt(max_steps=TRIES().steps)
    count = len(batch.moves) if budget.fits_left is None else max(1, budget.fits_left)
    moves = batch.moves[:count]
    if warm:
        tries = [move.apply(state.structure, state.cores) for move in moves]
    else:
        tries = [(move.after(state.structure), None) for move in moves]
    out = attempt(
        problem,
        solver,
        tries,
        batch.capacity,
        limits=limits_of(
            solver, problem, target_error=budget.target_error, max_steps=solver.max_steps
        ),
        lanes=batch.lanes,
        seed=state.seed,
        step_flops=_step_flops(problem, batch.capacity),
    )
    state = dataclasses.replace(state, seed=state.next_seed())
    info = Info(None, out.programs, out.compile_seconds, out.fits, work=out.work)
    return state, info, next((fit for fit in out.fits if budget.meets(fit.error)), None)


def admits(
    options: Options, problem: Problem, state: GreedyState, budget: Budget, after: Structure
) -> bool:
    """Whether a structure may be tried and could meet the target."""
    if options.max_rank is not None and max(after.ranks, default=1) > options.max_rank:
        return False
    most = options.max_degree
    if most is not None and max(map(after.degree, range(after.num_nodes))) > most:
        return False
    if budget.forbids(problem, after) is not None:
        return False
    return state.cuts is None or state.cuts.admits(after)
