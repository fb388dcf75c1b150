"""Networks of fixed formats beside the growth of bonds: whichever is closer goes on.

Data without ranks, such as images, are fitted better by a few bonds while the network is small, and
often by a sum of many products where it is large. So a growing network is compared with the CP
network of as many parameters from time to time. Where that is closer, its rank grows instead, and
what it takes to meet the target is found step by step. A Tucker network, for few modes, and a CP
network are tried at last, once nothing else makes the network found smaller.
"""

import dataclasses
import math

import numpy as np

from ..._init import host_cores
from ..._network import TensorNetwork
from ..._status import Status
from ..._structure import Structure
from ..._tuned import tuned
from ...problems import Problem
from ...solve.limits import as_solver
from ..fitting.capacity import holds
from ..fitting.refit import refit
from ..fitting.work import fit_work
from ..strategies.fixed import FixedFormat
from ..strategies.ladder import cores_at
from ..strategy import Budget, Fit, Info, MoveRecord
from . import incumbent
from .effort import EFFORT, left_for_ranks
from .fits import Step, holding
from .options import Options
from .phase import Phase
from .state import GreedyState, Outcome


@dataclasses.dataclass(frozen=True)
class Rivalry:
    """The CP network that the growing one is compared with, of data without ranks.

    Attributes:
        least: the first rank that is fitted.
        patience: times the solver's steps that a fit may take where few ranks are left to choose
            from, or the target is missed by little: alternating least squares of such networks
            gains little in a sweep, and does so for hundreds of them.
        rtol: relative decrease below which such a fit ends.
        inside: a fit goes on past the target, down to this part of it, which helps those of lower
            ranks; and it misses the target by little if this part of its error meets it.
        better: errors fall faster than a power of the rank: each growth may end at this part of the
            forecast (of images 0.93 to 1.03 up to rank 123).
        tries: fits of each rank on the way, with other fresh terms: the closest one goes on.
        tucker_modes: modes up to which Tucker networks are tried: their core has that order.
        small: ranks up to which making a program takes longer than its runs.
        grid: larger ranks are rounded up to this many binary digits, so that programs are shared.
        growth: the next rank is so many times the last one, and so are the parameters of a network
            at the next comparison.
        stride: the first stride back from a rank that meets the target is the rank over this.
    """

    least: int = 4
    patience: float = 60.0
    rtol: float = 1e-6
    inside: float = 0.98
    better: float = 0.92
    tries: int = 3
    tucker_modes: int = 4
    small: int = 32
    grid: int = 4
    growth: float = 1.5
    stride: int = 6


RIVALRY = tuned("rival", Rivalry())


class Rivals(Phase):
    """Networks of fixed formats that go on in the place of the grown one, or are tried at last."""

    name = "rival"

    def enabled(self, options: Options, problem: Problem, state: GreedyState) -> bool:
        return wanted(options, problem, state)

    def step(self, options: Options, problem: Problem, state: GreedyState, budget: Budget) -> Step:
        # A CP network meets the target from above, and is made smaller then.
        taken = incumbent.turn(options, problem, state, budget, RIVALRY().growth)
        taken = taken or step(options, problem, state, budget)
        return incumbent.settled(options, problem, taken)


def wanted(options: Options, problem: Problem, state: GreedyState) -> bool:
    """Whether there is a rival: of data known to have no ranks."""
    return (
        options.prune and options.hyperedges and state.rival is not None and len(problem.shape) > 2
    )


def due(options: Options, problem: Problem, state: GreedyState) -> bool:
    """Whether a growing network should be compared now."""
    if state.measured or not wanted(options, problem, state):  # it was made smaller already
        return False
    assert state.rival is not None
    return problem.num_params(state.structure) >= max(
        EFFORT().large, RIVALRY().growth * state.rival.compared
    )


def compare(options: Options, problem: Problem, state: GreedyState, budget: Budget) -> Step:
    """Fit the CP network of as many parameters; if it is closer, go on with that."""
    most = problem.num_params(state.structure)
    fit, info, state = _look(options, problem, state, budget, most, state.error)
    if fit is None or not fit.error < state.error:
        return state, info, Outcome.STAY
    return (
        _taken(budget, state, fit),
        dataclasses.replace(info, move=MoveRecord("cp")),
        Outcome.RIVAL,
    )


def step(options: Options, problem: Problem, state: GreedyState, budget: Budget) -> Step:
    """The next rank of a CP network; or, once nothing makes a network smaller, whether a Tucker
    network or a CP network of fewer parameters meets the target."""
    rival = state.rival
    assert rival is not None
    own = state.structure == Structure.cp(problem.shape, rival.rank)
    if own and rival.stride:
        return _next(options, problem, state, budget)
    if own and not rival.ended:
        return _ended(options, problem, state, budget)
    if not rival.tucker and len(problem.shape) <= RIVALRY().tucker_modes:
        state = dataclasses.replace(state, rival=dataclasses.replace(rival, tucker=True))
        return _tucker(options, problem, state, budget)
    info = Info()
    if not own:
        most = problem.num_params(state.structure) - 1
        near = RIVALRY().inside
        wanted = (budget.target_error or 0.0) / near
        fit, info, state = _look(options, problem, state, budget, most, wanted)
        if fit is not None and not budget.meets(fit.error) and budget.meets(near * fit.error):
            fit, more, state = _fitted(
                options, problem, state, budget, fit.structure.ranks[0], patient=True
            )
            info = info + more
        if fit is not None and budget.meets(fit.error):
            state, info = (
                _taken(budget, state, fit),
                dataclasses.replace(info, move=MoveRecord("cp")),
            )
            return state, info, Outcome.STAY
    return state, info, Outcome.ENDED


def _next(options: Options, problem: Problem, state: GreedyState, budget: Budget) -> Step:
    """A larger rank until one meets the target, with room to spare, since the best fits come from
    above; then smaller ones, by ever shorter strides."""
    rival, met = state.rival, budget.meets(state.error)
    assert rival is not None
    shorter = dataclasses.replace(state, rival=dataclasses.replace(rival, stride=rival.stride // 2))
    if met and left_for_ranks(options.effort, state) <= 0:
        done = dataclasses.replace(rival, stride=0)
        return dataclasses.replace(state, rival=done), Info(), Outcome.STAY
    rank = rival.rank + (-rival.stride if met else rival.stride)
    structure = Structure.cp(problem.shape, rank) if rank > 1 else state.structure
    allowed = rank > 1 and (options.max_rank is None or rank <= options.max_rank)
    if not allowed or budget.forbids(problem, structure) is not None:
        return shorter, Info(), Outcome.STAY
    fit, info, state = _fitted(options, problem, state, budget, rank, patient=met)
    if not (budget.meets(fit.error) if met else fit.error < state.error):
        return dataclasses.replace(shorter, seed=state.seed), info, Outcome.STAY
    return (
        _taken(budget, state, fit),
        dataclasses.replace(info, move=MoveRecord("cp")),
        Outcome.STAY,
    )


def _tucker(options: Options, problem: Problem, state: GreedyState, budget: Budget) -> Step:
    """The Tucker network that meets the target with the fewest parameters, if that is fewer."""
    smaller = dataclasses.replace(budget, max_params=problem.num_params(state.structure) - 1)
    strategy = FixedFormat("tucker", solver=options.solver)
    rank_one = Structure.rank_one(problem.shape)
    cores = host_cores(rank_one, np.random.default_rng(state.seed), problem.dtype)
    found, info = strategy.init(problem, TensorNetwork(rank_one, cores), smaller, seed=state.seed)
    while not found.done:
        found, more = strategy.step(problem, found, smaller)
        info = info + more
    info = dataclasses.replace(info, move=None)
    state = dataclasses.replace(state, seed=state.next_seed())
    if not budget.meets(found.error) or smaller.forbids(problem, found.structure) is not None:
        return state, info, Outcome.STAY
    fit = Fit(found.structure, found.cores, found.error)
    state = holding(options, problem, state, fit)
    return state, dataclasses.replace(info, move=MoveRecord("tucker")), Outcome.MET


def _look(
    options: Options,
    problem: Problem,
    state: GreedyState,
    budget: Budget,
    most: int,
    wanted: float,
) -> tuple[Fit | None, Info, GreedyState]:
    """The CP network with a number of parameters, if it is larger than the last one and comes near
    the error wanted."""
    known, info = state.rival, Info()
    assert known is not None
    rank = most // problem.num_params(Structure.cp(problem.shape, 1))
    if options.max_rank is not None:
        rank = min(rank, options.max_rank)
    now = problem.num_params(state.structure)
    state = dataclasses.replace(state, rival=dataclasses.replace(known, compared=now))
    fit, sizes = None, _climb(known.rank, rank)
    errors: list[float] = []
    for size in sizes if rank > known.rank else ():
        if _lowest(sizes, errors) > wanted:
            return None, info, state
        if budget.forbids(problem, Structure.cp(problem.shape, size)) is not None:
            break
        tries = []
        for _ in range(RIVALRY().tries):
            fit, more, state = _fitted(options, problem, state, budget, size)
            info = info + more
            tries.append(fit)
        fit = min(tries, key=lambda fit: fit.error)
        errors.append(fit.error)
        assert state.rival is not None
        rival = dataclasses.replace(state.rival, rank=size, cores=fit.cores)
        state = dataclasses.replace(state, rival=rival)
    return fit, info, state


def _lowest(sizes: list[int], errors: list[float]) -> float:
    """What the error of the last size may fall to: a power of the size through the last two that
    are known, and somewhat better for each growth until then."""
    if len(errors) < 2 or min(errors) <= 0:
        return 0.0
    (a, b), (before, now) = sizes[len(errors) - 2 : len(errors)], errors[-2:]
    slope = math.log(now / before) / math.log(b / a)
    slope += math.log(RIVALRY().better) / math.log(RIVALRY().growth)
    return now * (sizes[-1] / b) ** slope


def _climb(known: int, rank: int) -> list[int]:
    """Ranks on the way to `rank`: a fit is better if it starts from the fit of a lower rank."""
    ranks = []
    while rank > max(known, RIVALRY().least):
        ranks.append(rank)
        rank = math.ceil(rank / RIVALRY().growth)
    return ranks[::-1] or [rank]


def _taken(budget: Budget, state: GreedyState, fit: Fit) -> GreedyState:
    """The state with a CP network as its network."""
    rival, (rank,) = state.rival, fit.structure.ranks
    assert rival is not None
    if not budget.meets(fit.error):
        stride = max(1, round((RIVALRY().growth - 1) * rank))
    elif budget.meets(state.error) and rival.stride:
        stride = rival.stride
    else:
        stride = max(1, rank // RIVALRY().stride)
    rival = dataclasses.replace(rival, rank=rank, cores=fit.cores, stride=stride, ended=False)
    return dataclasses.replace(
        state,
        structure=fit.structure,
        cores=fit.cores,
        error=fit.error,
        rival=rival,
        status=Status.TARGET_REACHED if budget.meets(fit.error) else state.status,
    )


def _ended(options: Options, problem: Problem, state: GreedyState, budget: Budget) -> Step:
    """The end of the rival. If it meets the target, tidying begins; else the search ends, since no
    larger rank is allowed."""
    capacity = state.capacity
    if not holds(capacity, state.structure):
        capacity = options.capacity(problem, state.structure)
    assert state.rival is not None
    rival = dataclasses.replace(state.rival, ended=True)
    state = dataclasses.replace(state, capacity=capacity, rival=rival)
    if budget.meets(state.error):
        return state, Info(), Outcome.MET
    return dataclasses.replace(state, status=Status.MAX_PARAMS), Info(), Outcome.STOP


def _fitted(
    options: Options,
    problem: Problem,
    state: GreedyState,
    budget: Budget,
    rank: int,
    *,
    patient: bool = False,
) -> tuple[Fit, Info, GreedyState]:
    """The CP network of a rank, from the last one's cores, and the state with another seed."""
    structure, rival = Structure.cp(problem.shape, rank), state.rival
    assert rival is not None
    old = (Structure.cp(problem.shape, rival.rank), rival.cores) if rival.cores else None
    cores = cores_at(old, structure, state.seed, problem.dtype)
    solver, capacity = as_solver(options.solver, problem), Structure.cp(problem.shape, _roomy(rank))
    effort = EFFORT().deciding
    if patient and options.solver is None:
        one = fit_work(capacity, problem.sweep_flops(capacity), solver.max_steps)
        affordable = left_for_ranks(options.effort, state) / one
        effort = min(RIVALRY().patience, max(effort, affordable))
        solver = dataclasses.replace(solver, rtol=RIVALRY().rtol)
    fit, info = refit(
        problem,
        solver,
        structure,
        cores,
        capacity=capacity,
        target_error=RIVALRY().inside * (budget.target_error or 0.0),
        effort=effort,
    )
    return fit, info, dataclasses.replace(state, seed=state.next_seed())


def _roomy(rank: int) -> int:
    """The rank that a program is compiled for, so that several ranks share it: the next power of
    two where compiling takes longer than running, else a slightly larger rank."""
    if rank <= RIVALRY().small:
        return 2 ** (rank - 1).bit_length()
    grid = 2 ** (rank.bit_length() - RIVALRY().grid)
    return -(-rank // grid) * grid
