"""The host loop of a search: one step of the strategy after the other, until a limit is met."""

from collections.abc import Sequence

from .. import _interrupt
from .._network import TensorNetwork, scaled
from .._processes import agree, shared
from .._status import Status
from ..problems import Problem
from .cut_short import better_of, tensor_itself
from .greedy.greedy import Greedy
from .journal import Journal
from .result import SearchResult
from .setup import Plan, budget_of, next_budget, used_up
from .strategy import Fit, State


def drive(
    problem: Problem, plan: Plan, network: TensorNetwork, *, early: bool = False
) -> SearchResult:
    """The result of a search on a problem itself.

    Args:
        problem: what is searched on.
        plan: what is asked for.
        network: the start, in units of the problem.
        early: whether the search was stopped before the start was there that is asked for.
    """
    journal, state = Journal.opened(problem, plan, network)
    with plan.watched(begin=journal.begin, spread=shared(problem.mesh)):
        state, status, cut = _stepped(journal, network, state)
    fit, status = _best(journal, network, state, status, cut, early)
    budget = budget_of(plan.limits)
    network, error = TensorNetwork(fit.structure, fit.cores), fit.error
    unmet = (Status.MAX_SECONDS, Status.MAX_STEPS, Status.MAX_FITTED)
    if status in unmet and budget.meets(error):
        status = Status.TARGET_REACHED
    if journal.is_useless(fit) and _free(plan):
        journal.look_at_size(problem.num_params(fit.structure), useless=True)
        plain = tensor_itself(problem, budget)
        if plain is not None and plain.error <= error:
            network, error = TensorNetwork(plain.structure, plain.cores), plain.error
            journal.archive = journal.archive.add(problem, (plain,))
            stopped = status in (Status.MAX_SECONDS, Status.INTERRUPTED)
            status = Status.TARGET_REACHED if budget.meets(error) and not stopped else status
    else:
        journal.look_at_size(problem.num_params(fit.structure))
    best = journal.archive.choose("error", max_params=plan.limits.max_params)
    if not budget.meets(error) and best.network is not None and best.error < error:
        network, error = best.network, best.error
    outside = scaled(network, problem.scale)
    return SearchResult(
        outside,
        error,
        tuple(journal.path),
        status,
        journal.archive.scaled(problem.scale),
        journal.totals.programs,
        journal.seconds,
        journal.totals.compile_seconds,
        plan.seed,
        problem.model(outside),
    )


def _stepped(
    journal: Journal, network: TensorNetwork, state: State | None
) -> tuple[State | None, Status, Sequence[Fit]]:
    """The last state (None if not even the start is ready), why the search ends there, and what
    was found in a step that was cut short."""
    problem, strategy, limits = journal.problem, journal.plan.strategy, journal.plan.limits
    status = Status.RUNNING if state is None else state.status
    try:
        if state is None:
            budget = next_budget(limits, journal.totals.fitted)
            state, info = strategy.init(problem, network, budget, seed=journal.plan.seed)
            status = state.status
            journal.record(state, info)
        journal.tell(state)
        while not state.done:
            ended = _ended(journal, state)
            if ended is not None:
                status = ended
                break
            _interrupt.taken(problem)  # those of the last step are in the archive
            state, info = strategy.step(problem, state, next_budget(limits, journal.totals.fitted))
            status = state.status
            journal.record(state, info)
            journal.tell(state)
    except _interrupt.Stopped as error:
        return state, error.status, _interrupt.taken(problem)
    except KeyboardInterrupt:
        if state is None:
            raise
        status = Status.INTERRUPTED
    return state, status, ()


def _ended(journal: Journal, state: State) -> Status | None:
    """Why to end between two steps, or None."""
    limits, stop = journal.plan.limits, journal.plan.setup.stop
    over = limits.max_seconds is not None and journal.seconds > limits.max_seconds
    over, stopped = agree(journal.problem.mesh, over, stop is not None and bool(stop()))
    if over:
        return Status.MAX_SECONDS
    used = used_up(limits, state, journal.totals.fitted, len(journal.path))
    if used is None and stopped:
        return Status.INTERRUPTED
    return used


def _best(
    journal: Journal,
    network: TensorNetwork,
    state: State | None,
    status: Status,
    cut: Sequence[Fit],
    early: bool,
) -> tuple[Fit, Status]:
    """The network that the search ends with, and its status."""
    problem, budget = journal.problem, budget_of(journal.plan.limits)
    with _interrupt.suspended():  # in a search around this one the time may be over as well
        journal.archive = journal.archive.add(problem, cut)
        if state is None:
            best = better_of(problem, budget, cut)
            fit = journal.nothing_fitted(network, best, early=early)
            if not cut:
                journal.archive = journal.archive.add(problem, (fit,))
            return fit, status
        last = Fit(state.structure, state.cores, state.error)
        held = () if state.held is None else (state.held,)
        best = better_of(problem, budget, (last, *held, *cut)) or last
    if state.tidying and status in (Status.MAX_SECONDS, Status.MAX_FITTED):
        status = state.status  # the target was met; only the tidying was cut short
    return best, status


def _free(plan: Plan) -> bool:
    """Whether any structure would do, the tensor as one core among them."""
    return plan.setup.start is None and isinstance(plan.strategy, Greedy)
