"""What `Greedy` does once the target is met: every move that leaves it met with a smaller network.

Phases try their candidates one after the other; whatever is accepted leads back to the first.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from .._contract.equation import inner_equation
from .._contract.path import plan
from .._status import Status
from .._structure import Edge, Structure
from ..objectives import Decomposition, LeastSquares, Problem
from ..solve import LevenbergMarquardt
from ..solve._fit import limits_of
from ._attempt import attempt
from ._cuts import cut_bounds
from ._moves import shrink
from ._proposals import chosen, hyperedges, merges, rewirings, splits
from ._strategy import Budget, Fit, Info, Move
from .moves import Merge, Rerank, Split

if TYPE_CHECKING:
    from ._greedy import Greedy, GreedyState

PHASES = ("prune", "swap", "rewire", "internal", "hyperedges")

# A swap looks at candidates after so much of a full fit of the shrunken network ...
_SWAP_EFFORT = 0.25
# ... and goes on if the best predicted gain, old cores frozen, times this would do.
_REFIT_FACTOR = 3.0
# Structures that a phase tries before it gives up, and flops that all these tries may cost.
_TRIES = {"rewire": 16, "internal": 4, "hyperedges": 4}
_FLOPS = 4e10
# Where nothing is known of the cuts, rewiring tries only so many.
_BLIND_TRIES = 4
# Flops for which compiling a program of its own is not worth it: an attempt runs at the capacity
# that others have been compiled for as long as that costs no more.
_COMPILE_FLOPS = 1e10
# Multiplications that measuring the unfoldings of all cuts may take: seconds, not minutes.
_MEASURED = 1e11


def begin(greedy: Greedy, problem: Problem, state: GreedyState, budget: Budget) -> GreedyState:
    """The state as the first phase starts."""
    target = budget.target_error
    # Gram matrices of the smaller sides, at most the root of all entries, of 2^(order - 1) cuts.
    forecast = problem.work**1.5 * 2.0 ** (len(problem.shape) - 1)
    measurable = isinstance(problem, Decomposition) and forecast <= _MEASURED
    if state.cuts is None and measurable and target is not None and target < 1:
        data = np.asarray(problem.target)  # pyright: ignore[reportAttributeAccessIssue]
        state = dataclasses.replace(state, cuts=cut_bounds(data, target))
    return _enter(greedy, problem, state, budget, "prune")


def step(
    greedy: Greedy, problem: Problem, state: GreedyState, budget: Budget
) -> tuple[GreedyState, Info]:
    """One try, or a change of the phase."""
    if state.queue:
        item, state = state.queue[0], dataclasses.replace(state, queue=state.queue[1:])
        return _TRY[state.phase](greedy, problem, state, budget, item)
    later = PHASES[PHASES.index(state.phase) + 1 :]
    for phase in later:
        if getattr(greedy, phase):
            return _enter(greedy, problem, state, budget, phase), Info()
    return dataclasses.replace(state, phase="done"), Info()


def _enter(
    greedy: Greedy, problem: Problem, state: GreedyState, budget: Budget, phase: str
) -> GreedyState:
    """Begin a phase: the largest saving first."""
    structure = state.structure
    queue: Any
    if phase in ("prune", "swap"):
        left = lambda edge: problem.num_params(structure.shrink(edge))
        queue = sorted(structure.edges, key=left)
    else:
        admits = lambda after: _admits(greedy, problem, state, budget, after)
        tries = _tries(greedy, problem, phase, structure, state.cuts is None)
        moves: Any
        if phase == "rewire":
            moves = rewirings(structure, greedy.candidates(structure)) if tries else ()
        elif phase == "internal":
            tolerance = budget.target_error or 0.0
            moves = [*merges(structure), *splits(structure, state.cores, tolerance)]
        else:
            bounded = lambda after: state.cuts is None or state.cuts.admits(after)
            moves = hyperedges(structure, bounded, problem.num_params) if tries else ()
        if greedy.edges is not None and phase != "rewire":
            moves = ()
        queue = chosen(moves, structure, admits, problem.num_params, tries)
    return dataclasses.replace(state, phase=phase, queue=tuple(queue))


def _tries(greedy: Greedy, problem: Problem, phase: str, structure: Structure, blind: bool) -> int:
    """Structures that a phase may try; none if already one costs too much."""
    if phase == "internal":
        return _TRIES[phase]
    if not isinstance(problem, LeastSquares) or problem.nonnegative:
        return 0
    solver = LevenbergMarquardt()
    tries = int(_FLOPS / _attempt_flops(greedy, problem, structure, solver))
    return min(tries, _TRIES[phase], _BLIND_TRIES if blind else tries)


def _attempt_flops(
    greedy: Greedy, problem: Problem, structure: Structure, solver: LevenbergMarquardt
) -> int:
    """Forecast of an attempt. Its products contract the network with itself, which high ranks
    make dearer much faster than a look at the data."""
    look = problem.flops(structure) + problem.work
    product = look
    if isinstance(problem, Decomposition):
        product = plan(inner_equation(structure)).flops
    step = 6 * look + 4 * solver.cg_steps * product
    return greedy.num_starts * solver.max_steps * step


def _admits(greedy: Greedy, problem, state: GreedyState, budget: Budget, after: Structure) -> bool:
    """Whether a structure may be tried and could meet the target."""
    if greedy.max_rank is not None and max(after.ranks, default=1) > greedy.max_rank:
        return False
    most = greedy.max_degree
    if most is not None and max(map(after.degree, range(after.num_nodes))) > most:
        return False
    if budget.forbids(problem, after) is not None:
        return False
    return state.cuts is None or state.cuts.admits(after)


# Tries ----------------------------------------------------------------------------------------


def _prune(greedy: Greedy, problem, state: GreedyState, budget: Budget, edge: Edge):
    """One rank less on `edge`, if the target stays met."""
    if state.cuts is not None and not state.cuts.admits(state.structure.shrink(edge)):
        return state, Info()
    structure, cores = shrink(state.structure, state.cores, edge)
    trial = dataclasses.replace(state, structure=structure, cores=cores)
    move = Move("prune", edge, 1)
    trial, info = greedy.fit(problem, budget, trial, move, effort=3.0, do_screen=False)
    return _decide(greedy, problem, state, trial, budget, info)


def _swap(greedy: Greedy, problem, state: GreedyState, budget: Budget, edge: Edge):
    """One rank from `edge` to where it does more: accepted if the target is met with fewer
    parameters than before. Only bonds with room in the compiled program can grow."""
    smaller = dataclasses.replace(
        budget, max_params=problem.num_params(state.structure) - 1, capacity=state.capacity
    )
    structure = state.structure.shrink(edge)
    if state.cuts is not None and not any(
        state.cuts.admits(structure.grow(other, greedy.increment))
        for other in greedy.candidates(structure)
        if greedy.forbidden(problem, structure, other, smaller) is None
    ):
        return state, Info()
    structure, cores = shrink(state.structure, state.cores, edge)
    trial = dataclasses.replace(state, structure=structure, cores=cores)
    trial, info = greedy.advance(problem, smaller, trial, Move("swap", edge, 1), _SWAP_EFFORT)
    to: list[Edge] = []
    if trial.phase == "grow" and not _promising(greedy, problem, trial, smaller):
        return state, dataclasses.replace(info, move=None)
    while trial.phase == "grow":
        trial, grown = greedy.grow(problem, trial, smaller)
        info = info + grown
        if grown.move is not None and grown.move.edge is not None:
            to.append(grown.move.edge)
    if trial.status is not Status.TARGET_REACHED:
        return state, dataclasses.replace(info, move=None)
    info = dataclasses.replace(info, move=Move("swap", edge, 1, tuple(to)))
    return _decide(greedy, problem, state, trial, budget, info)


def _promising(greedy: Greedy, problem: Problem, state: GreedyState, budget: Budget) -> bool:
    """Whether one growth within the budget could meet the target, the refit included."""
    edges = greedy.candidates(state.structure)
    allowed = [
        c
        for c, e in enumerate(edges)
        if greedy.forbidden(problem, state.structure, e, budget) is None
    ]
    best = max((float(state.screened.gain[c]) for c in allowed), default=0.0)
    loss, goal = map(problem.loss_of_error, (state.error, budget.target_error or 0.0))
    return _REFIT_FACTOR * best >= loss - goal


def _rewire(greedy: Greedy, problem, state: GreedyState, budget: Budget, change: Rerank):
    """Another structure, from the cores carried over and from random ones."""
    structure, cores = change.apply(state.structure, state.cores)
    return _attempt(greedy, problem, state, budget, change, structure, cores)


def _hyperedge(greedy: Greedy, problem, state: GreedyState, budget: Budget, change: Rerank):
    """One hyperedge for several bonds, from random cores: those of the bonds do not tell it."""
    structure = change.after(state.structure)
    return _attempt(greedy, problem, state, budget, change, structure, None)


def _attempt(greedy: Greedy, problem, state: GreedyState, budget, change, structure, cores):
    solver = LevenbergMarquardt()
    capacity = structure
    if all(r <= state.capacity.rank(e) for e, r in structure.edges.items()) and (
        _attempt_flops(greedy, problem, state.capacity, solver) <= _COMPILE_FLOPS
    ):
        capacity = state.capacity
    out = attempt(
        problem,
        solver,
        structure,
        cores,
        capacity,
        limits=limits_of(
            solver, problem, target_error=budget.target_error, max_steps=solver.max_steps
        ),
        num_starts=greedy.num_starts,
        seed=state.seed,
    )
    seed = (*state.seed[:-1], state.seed[-1] + 1)
    state = dataclasses.replace(state, seed=seed)
    trial = dataclasses.replace(
        state, structure=structure, cores=out.cores, error=out.error, screened=None
    )
    grown = [e for e, _ in change.ranks if structure.rank(e) > state.structure.rank(e)]
    shrunk = [e for e, _ in change.ranks if structure.rank(e) < state.structure.rank(e)]
    kind = "rewire" if state.phase == "rewire" else "hyperedge"
    move = Move(kind, shrunk[0], 1, tuple(grown))
    fits = (Fit(structure, out.cores, out.error),)
    info = Info(move, out.programs, out.compile_seconds, fits)
    return _decide(greedy, problem, state, trial, budget, info)


def _internal(greedy: Greedy, problem, state: GreedyState, budget: Budget, change: Split | Merge):
    """A node split in two, or two merged."""
    structure, cores = change.apply(state.structure, state.cores)
    capacity = greedy.capacity(problem, structure, None, ())
    trial = dataclasses.replace(state, structure=structure, cores=cores, capacity=capacity)
    if isinstance(change, Split):
        move = Move("split", (change.node, structure.num_nodes - 1), change.rank)
    else:
        move = Move("merge", (change.a, change.b))
    trial, info = greedy.fit(problem, budget, trial, move, effort=3.0, do_screen=False)
    return _decide(greedy, problem, state, trial, budget, info)


def _decide(greedy: Greedy, problem, state: GreedyState, trial: GreedyState, budget, info: Info):
    """The trial, if it meets the target, and back to the first phase; else the state."""
    if not budget.meets(trial.error):
        return state, dataclasses.replace(info, move=None)
    structure = trial.structure
    if any(r > trial.capacity.rank(e) for e, r in structure.edges.items()):
        capacity = greedy.capacity(problem, structure, trial.capacity, ())
        trial = dataclasses.replace(trial, capacity=capacity)
    trial = dataclasses.replace(trial, status=Status.TARGET_REACHED)
    return _enter(greedy, problem, trial, budget, "prune"), info


_TRY = {
    "prune": _prune,
    "swap": _swap,
    "rewire": _rewire,
    "internal": _internal,
    "hyperedges": _hyperedge,
}
