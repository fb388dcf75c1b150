"""Growth: the bond that pays best, or several that pay about as well, and a fit of all cores."""

import dataclasses
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..._status import Status
from ..._structure import Edge, Structure
from ..._tuned import tuned
from ...moves import Grow
from ...moves.cores import connected_parts, pad_core
from ...problems import Problem
from ..screening.candidates import balanced_slices, slice_position
from ..strategy import Budget, Info, MoveRecord
from . import incumbent, rival, saddle, stuck
from .effort import EFFORT
from .fits import Step, advance
from .options import Options
from .phase import Phase
from .state import GreedyState, Outcome


@dataclasses.dataclass(frozen=True)
class Growth:
    """Growth of bonds, one or several in a move.

    Attributes:
        burst_score: bonds that grow in one move score at least this part of the best one.
        burst_gain: they gain together at most this part of what the target needs.
        burst_gain_apart: the same where they join separate parts of the network, which hardly know
            of each other.
        burst_effort: share of the solver's steps in the fit after such a move: another move
            follows.
        far: the target is far where no bond gains this part of what it needs: many moves are to
            come.
        far_power: power of the parameters there, which keeps single cores from growing huge; the
            root of the factor by which a sweep gets dearer counts as well, which keeps the graph
            sparse.
    """

    burst_score: float = 0.5
    burst_gain: float = 0.25
    burst_gain_apart: float = 0.5
    burst_effort: float = 0.4
    far: float = 0.1
    far_power: float = 0.75


GROWTH = tuned("growth", Growth())


class _Scores(NamedTuple):
    """Of all candidates: the gains, no larger than what is needed for the target, and what they
    are ranked by; and what is needed."""

    gains: np.ndarray
    values: np.ndarray
    needed: float


class Growing(Phase):
    """Grow until the target is met."""

    name = "grow"

    def step(self, options: Options, problem: Problem, state: GreedyState, budget: Budget) -> Step:
        step = incumbent.turn(options, problem, state, budget)
        step = step or grow(options, problem, state, budget)
        return incumbent.settled(options, problem, step)


def grow(options: Options, problem: Problem, state: GreedyState, budget: Budget) -> Step:
    """Grow the best bond that may, and fit; the state is done if there is none."""
    if state.fruitless > problem.patience > 0:  # held-out entries say that it is enough
        return dataclasses.replace(state, status=Status.STAGNATED), Info(), Outcome.STOP
    if problem.num_params(state.structure) >= _cells(problem):  # the tensor itself is smaller
        return dataclasses.replace(state, status=Status.STAGNATED), Info(), Outcome.STOP
    if stuck.may_be(problem, state):
        return stuck.freed(options, problem, state, budget)
    if rival.due(options, problem, state):
        return rival.compare(options, problem, state, budget)
    edges = options.candidates(state.structure)
    scores = _scores(options, problem, state, edges, budget)
    order = [edges[i] for i in np.argsort(-scores.values, kind="stable")]  # ties: the first
    allows = lambda edge: not options.forbidden(problem, state.structure, edge, budget)
    first = next(filter(allows, order), None)
    best = 0.0 if first is None else float(state.screened.gain[edges.index(first)])
    if saddle.is_rounding(problem, state, best):
        step = None if first is None else saddle.left(options, problem, state, budget)
        if step is not None:
            return step
        status = Status.STAGNATED
        if first is None:
            reasons = {options.forbidden(problem, state.structure, edge, budget) for edge in order}
            worst = (Status.MEMORY_LIMIT, Status.MAX_FLOPS, Status.MAX_PARAMS)
            status = next((s for s in worst if s in reasons), Status.NO_CANDIDATES)
        return dataclasses.replace(state, status=status), Info(), Outcome.STOP
    grown = _together(options, problem, state, edges, order[order.index(first) :], scores, budget)
    structure, cores = state.structure, state.cores
    for edge in grown:
        terms = [
            _slices(state, structure, edge, [core[edges.index(edge)] for core in slices])
            for slices in state.screened.slices
        ]
        move = Grow(edge, options.increment, tuple(terms))
        structure, cores = move.apply(structure, cores)
    ranked = [e for e in order if options.may_grow(structure, e)]
    capacity = options.capacity(problem, structure, state.capacity, ranked)
    state = dataclasses.replace(state, structure=structure, cores=cores, capacity=capacity)
    move = MoveRecord("grow", first, options.increment, tuple(grown[1:]))
    effort = 1.0 if len(grown) == 1 else GROWTH().burst_effort
    return advance(options, problem, budget, state, move, effort)


def _cells(problem: Problem) -> float:
    """Entries of a tensor that is known, which is a network of one core."""
    return math.prod(problem.counted_shape) if problem.is_dense else math.inf


def _together(
    options: Options,
    problem: Problem,
    state: GreedyState,
    edges: tuple[Edge, ...],
    order: Sequence[Edge],
    scores: _Scores,
    budget: Budget,
) -> list[Edge]:
    """The bonds that grow in one move: the first of `order`, and others that pay about as well, as
    long as all together gain no more than a part of what the target still needs.

    Bonds that add a small share of the parameters may gain a small part only: in large networks far
    from the target, one increment more or less does not matter. Bonds that join separate parts of
    the network, and share no node with each other, gain almost independently, so they may gain a
    larger part.
    """
    now = problem.num_params(state.structure)
    if not options.burst or now < EFFORT().large:
        return [order[0]]
    gains, values, needed = scores
    structure, gained, grown, taken = state.structure, 0.0, [], set()
    parts = connected_parts(range(structure.num_nodes), structure.edges)
    best = values[edges.index(order[0])]
    for edge in order:
        place = edges.index(edge)
        if values[place] < GROWTH().burst_score * best:
            break
        larger = structure.grow(edge, options.increment)
        if grown:
            apart = taken.isdisjoint(edge) and len({parts[node] for node in edge}) > 1
            part = GROWTH().burst_gain_apart if apart else GROWTH().burst_gain
            small = apart or problem.num_params(larger) <= (1 + options.burst) * now
            if not small or gained + gains[place] > part * needed:
                continue
            if options.forbidden(problem, structure, edge, budget):
                continue
        structure, gained = larger, gained + gains[place]
        grown.append(edge)
        taken |= set(edge)
    return grown


def _slices(
    state: GreedyState, structure: Structure, edge: Edge, cores: Sequence
) -> tuple[np.ndarray, ...]:
    """The new slices of an edge, as its cores in `structure` need them (the state's, grown at
    other bonds since it was screened)."""
    bare, grown = state.structure.with_rank(edge, 1), structure.with_rank(edge, 1)
    term = []
    for node in edge:
        where = slice_position(state.structure, state.capacity, node, edge)
        term.append(pad_core(bare, node, np.asarray(cores[node][where]), grown))
    return tuple(balanced_slices(term))


def _scores(
    options: Options, problem: Problem, state: GreedyState, edges: tuple[Edge, ...], budget: Budget
) -> _Scores:
    """What growing each edge is worth: gain / cost^power.

    A gain past what the target still needs counts as no more than that, so that the last
    move is not dearer than it must be. (Raw gains, power 0, are compared as they are.)
    """
    gain = np.asarray(state.screened.gain, np.float64)
    needed = problem.loss_of_error(state.error)
    if budget.target_error is not None:
        needed = max(needed - problem.loss_of_error(budget.target_error), 0.0)
        gain = np.minimum(gain, needed) if options.power > 0 else gain
    now = problem.num_params(state.structure)
    grown = [state.structure.grow(edge, options.increment) for edge in edges]
    cost = np.asarray([problem.num_params(s) - now for s in grown], np.float64)
    power, large = options.power, options.burst and now >= EFFORT().large
    if large and 0 < power < GROWTH().far_power and gain.max() < GROWTH().far * needed:
        power = GROWTH().far_power
        flops = np.asarray([problem.sweep_flops(s) for s in grown], np.float64)
        dearer = np.sqrt(flops / problem.sweep_flops(state.structure))
        return _Scores(gain, gain / (cost**power * dearer), needed)
    return _Scores(gain, gain / cost**power, needed)
