"""What `Greedy` does once the target is met: every move that leaves it met with a smaller network.

Phases try their candidates one after the other; whatever is accepted leads back to the first.
"""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

import numpy as np

from ..._status import Status
from ..._structure import Edge, Structure
from ...contract.host import dense_slab
from ...moves import Merge, Split, StructureMove
from ...moves.cores import Cores, shrink
from ...moves.neighbors import chosen, hyperedges, merges, rewirings, splits, stars
from ...problems import Completion, Decomposition, LeastSquares, Problem
from ...problems.streamed import squared_norm
from ..fitting.capacity import holds
from ..spectra.cuts import CutBounds, bounds_of
from ..spectra.tree_svd import tree_svd
from ..spectra.trees import best_trees
from ..spectra.unfoldings import Unfoldings
from ..strategy import Budget, Info, Move
from . import rival as _rival
from .effort import left, spent
from .grouped import MOST_CELLS
from .infer import DEFINITE, MEASURED
from .tries import Batch, admits, affordable, batch_work, batched, run_batch

if TYPE_CHECKING:
    from .greedy import Greedy, GreedyState

PHASES = ("prune", "swap", "tree", "stars", "rewire", "internal", "hyperedges")

# The option of `Greedy` that a phase belongs to, where it is not named after the phase.
_OPTION = {"tree": "internal", "stars": "internal"}

# A swap looks at candidates after so much of a full fit of the shrunken network ...
_SWAP_EFFORT = 0.25
# ... and goes on if the best predicted gain, old cores frozen, times this would do.
_REFIT_FACTOR = 3.0
# A bond is firm if taking a rank away leaves the error at more than so many times the target.
_FAR = 1.02
# Structures that a phase tries before it gives up.
_TRIES = {"rewire": 16, "internal": 4, "stars": 2, "hyperedges": 4}
# Where nothing is known of the cuts, rewiring tries only so many.
_BLIND_TRIES = 4
# Stars come before everything else is tried only if they leave so little of the parameters.
_BOLD = 0.8
# Modes up to which the best tree is looked for: all sets of them are its parts.
_TREE_MODES = 8


def begin(greedy: Greedy, problem: Problem, state: GreedyState, budget: Budget) -> GreedyState:
    """The state as the first phase starts."""
    state = dataclasses.replace(state, firm=())
    if state.measured or budget.target_error is None or greedy.effort == "quick":
        return _enter(greedy, problem, state, budget, "prune")
    state = dataclasses.replace(state, measured=True)
    target = budget.target_error
    if isinstance(problem, Decomposition) and 0 < target < 1:
        unfoldings = Unfoldings(problem.array, target)
        cuts = state.cuts or bounds_of(unfoldings, target, max_work=MEASURED)
        state = dataclasses.replace(state, cuts=cuts)
        if cuts.complete and len(problem.shape) <= _TREE_MODES and greedy.internal:
            grown = problem.num_params(state.structure)
            dims = problem.counted_shape
            for found in best_trees(unfoldings, target, count=1, dims=dims, below=grown):
                state = dataclasses.replace(state, tree=found.tree.structure(found.ranks))
    elif isinstance(problem, Completion) and problem.quadratic:
        state = dataclasses.replace(state, cuts=_found_cuts(problem, state, target))
    return _enter(greedy, problem, state, budget, "prune")


def _found_cuts(problem: Completion, state: GreedyState, target: float) -> CutBounds | None:
    """Bounds from the tensor found, instead of the one that only some entries are known of: two
    that are both within the target error are within twice of it to each other. Where those
    say little, none."""
    if math.prod(problem.shape) > MOST_CELLS:
        return None
    tensor = dense_slab(state.structure, [np.asarray(core) for core in state.cores], {})
    size = math.sqrt(squared_norm(tensor) / tensor.size)  # the target is in units of the problem
    error = 2 * math.sqrt(problem.loss_of_error(target)) / size
    if not 0 < error < 1:
        return None
    cuts = bounds_of(Unfoldings(tensor, error), error, max_work=MEASURED)
    return cuts if cuts.definite >= DEFINITE else None


def step(
    greedy: Greedy, problem: Problem, state: GreedyState, budget: Budget
) -> tuple[GreedyState, Info]:
    """One try, or a change of the phase."""
    if state.queue and not spent(greedy, state):
        item, state = state.queue[0], dataclasses.replace(state, queue=state.queue[1:])
        if isinstance(item, Batch) and batch_work(problem, item) > left(greedy, state):
            return state, Info()
        try_ = _batch if isinstance(item, Batch) else _TRY[state.phase]
        return try_(greedy, problem, state, budget, item)
    later = PHASES[PHASES.index(state.phase) + 1 :]
    state = dataclasses.replace(state, queue=())
    if left(greedy, state) <= 0:
        return dataclasses.replace(state, phase="done"), Info()
    for phase in later:
        if getattr(greedy, _OPTION.get(phase, phase)):
            return _enter(greedy, problem, state, budget, phase), Info()
    last = "rival" if _rival.wanted(greedy, problem, state) else "done"
    return dataclasses.replace(state, phase=last), Info()


def _enter(
    greedy: Greedy, problem: Problem, state: GreedyState, budget: Budget, phase: str
) -> GreedyState:
    """Begin a phase: the largest saving first."""
    structure, cuts = state.structure, state.cuts
    if phase in ("prune", "swap"):
        left = lambda edge: problem.num_params(structure.shrink(edge))
        spared = state.firm if phase == "prune" else ()
        queue = tuple(sorted((e for e in structure.edges if e not in spared), key=left))
        return dataclasses.replace(state, phase=phase, queue=queue)
    pick = lambda moves, tries: chosen(
        moves,
        structure,
        lambda after: admits(greedy, problem, state, budget, after),
        problem.num_params,
        tries,
    )
    if phase == "tree":
        tree, queue = state.tree, ()
        if tree is not None and greedy.edges is None:
            smaller = problem.num_params(tree) < problem.num_params(structure)
            queue = (tree,) if smaller and admits(greedy, problem, state, budget, tree) else ()
        return dataclasses.replace(state, phase=phase, queue=queue)
    bounded = lambda after: cuts is None or cuts.admits(after)
    fixed = greedy.edges is not None
    definite = cuts is None or cuts.definite >= DEFINITE
    squares = isinstance(problem, LeastSquares) and not problem.nonnegative
    tries = _TRIES[phase] if definite and squares else 0
    alone: tuple[StructureMove, ...] = ()
    together: tuple[StructureMove, ...] = ()
    if phase == "internal" and not fixed:
        moves: list[StructureMove] = list(merges(structure))
        if definite:
            moves += splits(structure, state.cores, budget.target_error or 0.0)
        alone = pick(moves, _TRIES[phase])
    if phase == "rewire" and tries:
        together = pick(rewirings(structure, greedy.candidates(structure)), tries)
    elif phase in ("stars", "internal") and not fixed and tries and cuts is not None:
        most = problem.num_params(structure) * (_BOLD if phase == "stars" else 1)
        found = stars(structure, cuts)
        smaller = (m for m in found if problem.num_params(m.after(structure)) < most)
        together = pick(smaller, tries)
    elif phase == "hyperedges" and not fixed and tries:
        together = pick(hyperedges(structure, bounded, problem.num_params), tries)
    if together:  # a forecast plans contractions, so it is made only if there is something to try
        tries = affordable(problem, structure, greedy.num_starts)
        together = together[: min(tries, _BLIND_TRIES) if cuts is None else tries]
    state, batches = batched(problem, state, budget, together, greedy.num_starts)
    return dataclasses.replace(state, phase=phase, queue=(*alone, *batches))


# Tries ----------------------------------------------------------------------------------------


def _prune(greedy: Greedy, problem, state: GreedyState, budget: Budget, edge: Edge):
    """One rank less on `edge`, if the target stays met."""
    if state.cuts is not None and not state.cuts.admits(state.structure.shrink(edge)):
        return state, Info()
    structure, cores = shrink(state.structure, state.cores, edge)
    trial = dataclasses.replace(state, structure=structure, cores=cores)
    move = Move("prune", edge, 1)
    trial, info = greedy.fit(
        problem, budget, trial, move, effort=3.0, do_screen=False, give_up=True
    )
    after, info = _decide(greedy, problem, state, trial, budget, info)
    if info.move is not None:
        # What failed before will not do with a rank less, so only the others are left to try.
        left = {*state.queue, edge}
        after = dataclasses.replace(after, queue=tuple(e for e in after.queue if e in left))
    elif not budget.meets(trial.error / _FAR):
        after = dataclasses.replace(after, firm=(*after.firm, edge))
    return after, info


def _swap(greedy: Greedy, problem, state: GreedyState, budget: Budget, edge: Edge):
    """One rank from `edge` to where it does more: accepted if the target is met with fewer
    parameters than before."""
    smaller = dataclasses.replace(budget, max_params=problem.num_params(state.structure) - 1)
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
            to += [grown.move.edge, *grown.move.to]
    if trial.status is not Status.TARGET_REACHED:
        return state, dataclasses.replace(info, move=None)
    info = dataclasses.replace(info, move=Move("swap", edge, 1, tuple(to)))
    trial = dataclasses.replace(trial, firm=tuple(e for e in state.firm if e not in to))
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


def _batch(greedy: Greedy, problem, state: GreedyState, budget: Budget, batch: Batch):
    """Other structures; where only ranks changed place, from the cores carried over as well. (Those
    of bonds do not tell a hyperedge or an internal node.)"""
    before, warm = state.structure, state.phase == "rewire"
    state, info, fit = run_batch(problem, state, budget, batch, warm=warm)
    if fit is None:
        return state, info
    trial = dataclasses.replace(
        state,
        structure=fit.structure,
        cores=fit.cores,
        error=fit.error,
        screened=None,
        firm=(),
    )
    kind = {"rewire": "rewire", "hyperedges": "hyperedge"}.get(state.phase, "star")
    edges = sorted({*before.edges, *fit.structure.edges})
    rank = lambda structure, edge: structure.edges.get(edge, 1)
    grown = tuple(e for e in edges if rank(fit.structure, e) > rank(before, e))
    shrunk = [e for e in edges if rank(fit.structure, e) < rank(before, e)]
    move = Move(kind, shrunk[0], 1, grown)
    return _decide(greedy, problem, state, trial, budget, dataclasses.replace(info, move=move))


def _tree(greedy: Greedy, problem, state: GreedyState, budget: Budget, tree: Structure):
    """The tree that the spectra choose, by truncated singular value decompositions."""
    network = tree_svd(problem.array, tree)
    found = network.structure, tuple(map(np.asarray, network.cores))
    return _refit(greedy, problem, state, budget, found, Move("tree"), effort=1.0)


def _internal(greedy: Greedy, problem, state: GreedyState, budget: Budget, change: Split | Merge):
    """A node split in two, or two merged."""
    found = change.apply(state.structure, state.cores)
    if isinstance(change, Split):
        move = Move("split", (change.node, found[0].num_nodes - 1), change.rank)
    else:
        move = Move("merge", (change.a, change.b))
    return _refit(greedy, problem, state, budget, found, move, effort=3.0)


def _refit(
    greedy: Greedy,
    problem,
    state: GreedyState,
    budget: Budget,
    found: tuple[Structure, Cores],
    move: Move,
    *,
    effort: float,
):
    """A network with other nodes, in a capacity of its own."""
    structure, cores = found
    capacity = greedy.capacity(problem, structure, None, ())
    trial = dataclasses.replace(state, structure=structure, cores=cores, capacity=capacity, firm=())
    trial, info = greedy.fit(
        problem, budget, trial, move, effort=effort, do_screen=False, give_up=True
    )
    return _decide(greedy, problem, state, trial, budget, info)


def _decide(greedy: Greedy, problem, state: GreedyState, trial: GreedyState, budget, info: Info):
    """The trial, if it meets the target, and back to the first phase; else the state."""
    if not budget.meets(trial.error):
        return state, dataclasses.replace(info, move=None)
    structure, capacity = trial.structure, trial.capacity
    if not holds(capacity, structure):
        known = capacity if capacity.legs == structure.legs else None
        capacity = greedy.capacity(problem, structure, known, ())
        trial = dataclasses.replace(trial, capacity=capacity)
    trial = dataclasses.replace(trial, status=Status.TARGET_REACHED)
    return _enter(greedy, problem, trial, budget, "prune"), info


_TRY = {"prune": _prune, "swap": _swap, "tree": _tree, "internal": _internal}
