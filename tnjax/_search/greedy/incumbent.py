"""A network in closed form beside the one that grows: the target is met from the first seconds on.

Of a tensor without ranks, such as a photograph, growth may take minutes to the target. The best
tree that the spectra of the unfoldings allow (a truncated SVD of an unfolding or a train is one)
and the best Tucker network meet it at once, with more parameters as a rule. So these are made
first. The smaller one is the incumbent: what the search ends with whenever growth has not met the
target with fewer parameters. As long as growth is forecast to need more than that, the incumbent
gets as much work as growth does, and becomes smaller by the steps of `TreeSearch`. Growth ends in
vain once it has as many parameters.
"""

import dataclasses
import math

import numpy as np

from ... import _interrupt
from ..._network import TensorNetwork
from ..._status import Status
from ..._structure import Structure
from ..._tuned import tuned
from ...problems import Problem
from ..reduce.core import host_error
from ..spectra.tree_svd import tree_svd
from ..spectra.trees import measuring_work
from ..spectra.tucker import best_tucker
from ..strategies.proposing import ProposingState, sweepable
from ..strategies.tree import TreeSearch
from ..strategy import Budget, Fit, Info, MoveRecord
from .effort import EFFORT
from .fits import Step, holding
from .measure import MEASURING
from .options import Options
from .phase import Phase
from .state import GreedyState, Outcome
from .tries import admits


@dataclasses.dataclass(frozen=True)
class Incumbency:
    """When networks in closed form are made.

    Attributes:
        first_cells: tensors of so many entries have them first of all; of smaller ones graphs are
            inferred from exact ranks before, which takes less time then.
    """

    first_cells: int = 100_000


INCUMBENCY = tuned("incumbency", Incumbency())


class Incumbent(Phase):
    """Make the best tree by truncated singular value decompositions, and the best Tucker
    network: the smaller one is held."""

    name = "incumbent"

    def enabled(self, options: Options, problem: Problem, state: GreedyState) -> bool:
        tried = state.tree is not None
        return not tried and _possible(options, problem, state.structure)

    def step(self, options: Options, problem: Problem, state: GreedyState, budget: Budget) -> Step:
        target = budget.target_error
        assert target is not None
        fits: list[Fit] = []
        # Nothing is fitted, so the memory of a fit does not matter.
        closed = dataclasses.replace(budget, memory_limit=None)

        def made(network: TensorNetwork) -> None:
            cores = tuple(np.asarray(core, problem.dtype) for core in network.cores)
            fits.append(Fit(network.structure, cores, host_error(problem, network)))
            _interrupt.note(problem, fits[-1])

        tucker = best_tucker(problem.dense_target, target, dims=problem.counted_shape)
        if tucker is not None and admits(options, problem, state, closed, tucker.structure):
            made(tucker)
        ladder = _search(options).ladder(problem, target)
        state = dataclasses.replace(state, tree=ladder[0])
        if admits(options, problem, state, closed, ladder[0]):
            made(tree_svd(problem.dense_target, ladder[0]))
        met = [fit for fit in fits if budget.meets(fit.error)]
        info = Info(fits=tuple(fits))
        if not met:
            return state, info, Outcome.ENDED
        fit = min(met, key=lambda fit: problem.num_params(fit.structure))
        found = ProposingState(
            fit.structure, fit.cores, fit.error, (*state.seed, 0), groups=(ladder[1:],)
        )
        return dataclasses.replace(state, incumbent=found), info, Outcome.ENDED


def applies(options: Options, problem: Problem, structure: Structure, budget: Budget) -> bool:
    """Whether a search from this start has an incumbent."""
    target = budget.target_error
    wanted = target is not None and 0 < target < 1
    return wanted and _possible(options, problem, structure)


def is_first(problem: Problem) -> bool:
    """Whether networks in closed form are made before graphs are inferred."""
    return math.prod(problem.shape) >= INCUMBENCY().first_cells


class Early(Incumbent):
    """The same, before graphs are inferred."""

    name = "early"


def _possible(options: Options, problem: Problem, start: Structure) -> bool:
    if not (options.infer and options.internal) or options.edges is not None:
        return False
    if not problem.is_dense or problem.nonnegative or len(problem.shape) < 2:
        return False
    plain = start == Structure.rank_one(start.dims)
    return plain and measuring_work(tuple(problem.shape)) <= MEASURING().measured


def turn(
    options: Options, problem: Problem, state: GreedyState, budget: Budget, room: float = 1.0
) -> Step | None:
    """What is done in the place of a step of growth: a step that makes the incumbent smaller, or
    the search goes on with it; None if it is growth's turn.

    Args:
        options, problem, state, budget: as of a step.
        room: times the parameters of the incumbent at which growth ends.
    """
    found = state.incumbent
    if found is None or budget.meets(state.error):
        return None
    if problem.num_params(state.structure) >= room * problem.num_params(found.structure):
        return _taken(options, problem, state, Info())
    grown = state.work - state.incumbent_work
    if found.done or state.incumbent_work >= grown - EFFORT().floor:
        return None
    needed = forecast(state.trail, budget.target_error or 0.0)
    if needed < problem.num_params(found.structure):
        return None
    found, info = _search(options).step(problem, found, budget)
    work = state.incumbent_work + info.work
    state = dataclasses.replace(state, incumbent=found, incumbent_work=work)
    return state, dataclasses.replace(info, move=None), Outcome.STAY


def settled(options: Options, problem: Problem, step: Step) -> Step:
    """A step that may have ended growth: the search goes on with the smaller one of the two
    networks that meet the target, or with the incumbent where growth failed."""
    state, info, outcome = step
    found = state.incumbent
    if found is not None and info.move is not None:
        here = problem.num_params(state.structure), state.error
        state = dataclasses.replace(state, trail=(*state.trail, here))
        step = state, info, outcome
    if found is None or outcome not in (Outcome.MET, Outcome.STOP):
        return step
    failed = outcome is Outcome.STOP and state.status is not Status.NON_FINITE
    larger = problem.num_params(state.structure) > problem.num_params(found.structure)
    if failed or (outcome is Outcome.MET and larger):
        return _taken(options, problem, state, info)
    return dataclasses.replace(state, incumbent=None), info, outcome


def forecast(trail: tuple[tuple[int, float], ...], target: float) -> float:
    """Parameters at which growth meets the target, by the power law through where it is and where
    it had half of the parameters; beyond any number where the error does not fall."""
    if not trail or target <= 0:
        return math.inf
    params, error = trail[-1]
    half = [point for point in trail if 2 * point[0] <= params] or trail[:1]
    before, there = half[-1]
    if not (before < params and 0 < error < there):
        return math.inf
    slope = math.log(there / error) / math.log(params / before)
    try:
        return params * (error / target) ** (1 / slope)
    except OverflowError:
        return math.inf


def _taken(options: Options, problem: Problem, state: GreedyState, info: Info) -> Step:
    """The search goes on with the incumbent, or ends with it where no fit can make it smaller."""
    fit = state.held
    assert fit is not None
    state = dataclasses.replace(holding(options, problem, state, fit), incumbent=None)
    info = dataclasses.replace(info, move=MoveRecord("tree"))
    if sweepable(fit.structure):
        return state, info, Outcome.MET
    return dataclasses.replace(state, status=Status.TARGET_REACHED), info, Outcome.STOP


def _search(options: Options) -> TreeSearch:
    return TreeSearch(count=1, solver=options.solver)
