"""A search without its host loop: `init` once, then `step` as often as the caller likes."""

import dataclasses
import functools
import time
from typing import Any, Unpack

from jaxtyping import PRNGKeyArray

from .._limits import Limits, SearchLimits, limits_from
from .._network import TensorNetwork, scaled
from .._processes import check_same
from .._status import Status
from .._structure import Structure
from .._tracing import new_array, refuse_trace
from ..problems import Problem
from .begin import check_budget, first_network
from .reach import warn_of_precision
from .reduce.core import Compression
from .reduction import below_precision, compression_of
from .setup import Plan, Setup, budget_of, check_any_limit, chosen_strategy, next_budget, used_up
from .strategy import Info, MoveRecord, State, Strategy


@dataclasses.dataclass(frozen=True, eq=False)
class SearchState:
    """Where a search stands that is stepped by hand: made by `init`, and anew by each `step`.

    A value that nothing changes: keep any of them, and step from it again.

    Attributes:
        inner: the state of the strategy, in units of the problem that is searched on.
        strategy, limits: what `init` was given.
        moves: accepted ones, the start included.
        fitted: structures fitted so far, rejected ones included.
        compression: the smaller problem that is searched on, if there is one.
        scale: what the data were divided by.

    Example:
        >>> import jax, numpy as np, tnjax
        >>> problem = tnjax.Decomposition(np.random.default_rng(0).standard_normal((3, 4, 5)))
        >>> state = tnjax.init(problem, key=jax.random.key(0), max_params=40)
        >>> state.num_params, state.doing, state.done, [move.kind for move in state.moves]
        (12, 'growing', False, ['start'])
    """

    inner: State
    strategy: Strategy
    limits: Limits
    moves: tuple[MoveRecord, ...]
    fitted: int
    compression: Compression | None
    scale: Any

    @functools.cached_property
    def structure(self) -> Structure:
        """The graph and the ranks, with the mode sizes of the data."""
        structure = self.inner.structure
        return structure if self.compression is None else self.compression.structure(structure)

    @functools.cached_property
    def network(self) -> TensorNetwork:
        """The network in the units of the data: its tensor is what is close to them."""
        inner = TensorNetwork(self.inner.structure, self.inner.cores)
        if self.compression is None:
            return scaled(inner, self.scale)
        return self.compression.outside(scaled(inner, self.compression.problem.scale))

    @property
    def error(self) -> float:
        """Of the network; of a decomposition relative, on the whole data."""
        return self.inner.error

    @property
    def num_params(self) -> int:
        """Parameters of the network."""
        return self.structure.num_params

    @property
    def status(self) -> Status:
        """Why the search is over, or that it is running."""
        if not self.inner.done:
            used = used_up(self.limits, self.inner, self.fitted, len(self.moves))
            if used is not None and not (self.inner.tidying and used is Status.MAX_FITTED):
                return used
        return self.inner.status

    @property
    def done(self) -> bool:
        """Whether there is no next step."""
        used = used_up(self.limits, self.inner, self.fitted, len(self.moves))
        return self.inner.done or used is not None

    @property
    def doing(self) -> str:
        """What the next step is for, in a few plain words."""
        return "finished" if self.done else self.inner.doing

    def __repr__(self) -> str:
        return (
            f"SearchState(error={self.error:.3g}, {self.structure!r}, moves={len(self.moves)}, "
            f"doing={self.doing!r})"
        )


def init(
    problem: Problem,
    *,
    key: PRNGKeyArray,
    strategy: Strategy | None = None,
    effort: str | None = None,
    start: Structure | TensorNetwork | str | None = None,
    compress: bool | str = "auto",
    limits: Limits | None = None,
    **plain_limits: Unpack[SearchLimits],
) -> SearchState:
    """The first state of a search that the caller steps: the start, fitted.

    A loop of `step` until `state.done` makes the moves of `search`, bit for bit. What `search`
    does besides is up to the caller: the clock, checkpoints, an archive of all fits. Where no
    network meets the target, `search` returns the best one of all fits, which may be
    another one than the last state's.

    Args:
        problem: a `Decomposition`, an `Objective`, or any other `Problem` whose data are in memory.
        key: `jax.random.key(seed)`.
        strategy, effort: see `search`.
        start, compress: see `Setup`.
        limits: as of `search`, keywords as well, but for `max_seconds`.
        plain_limits: see `limits`.

    Returns:
        The state after the start was fitted.

    Raises:
        ValueError: as `search`; and for `max_seconds`, or data on disk.

    Example:
        >>> import jax, numpy as np, tnjax
        >>> x = np.random.default_rng(0).standard_normal((3, 4, 5))
        >>> problem = tnjax.Decomposition(x)
        >>> state = tnjax.init(problem, key=jax.random.key(0), max_params=40)
        >>> while not state.done:
        ...     state = tnjax.step(problem, state)
        >>> found = np.asarray(state.network.to_dense())
        >>> bool(abs(np.linalg.norm(found - x) / np.linalg.norm(x) - state.error) < 1e-4)
        True
    """
    refuse_trace(
        "init",
        "learn the structure outside of it, and use tnjax.solve.run to fit that inside",
        (problem, key, dict(plain_limits), start, new_array()),
    )
    if not isinstance(problem, Problem):
        raise ValueError(
            f"init: expected a problem whose data are in memory, got {type(problem).__name__}; "
            "use `search` for data on disk."
        )
    limits = limits_from("init", limits, dict(plain_limits))
    check_any_limit("init", limits)
    if limits.max_seconds is not None:
        raise ValueError(
            "init: max_seconds is for `search`, which has a clock; here you decide when to stop."
        )
    strategy = chosen_strategy("init", problem, strategy, effort)
    setup = Setup(start=start, compress=compress)
    plan = Plan(strategy, limits, key, setup, None, time.perf_counter())
    plan.strategy.check(problem)
    if below_precision(problem, plan):
        assert plan.limits.target_error is not None
        warn_of_precision(problem, plan.limits.target_error)
    compression = compression_of(problem, plan)
    inside, first = problem, start
    if compression is not None:
        inside, first = compression.problem, compression.inside(start)
    network = first_network(inside, first, key, limits.target_error)
    check_budget(network.structure, inside, budget_of(limits))
    inner, info = strategy.init(inside, network, next_budget(limits, 0), seed=plan.seed)
    before = SearchState(inner, strategy, limits, (), 0, compression, problem.scale)
    return _after(inside, before, inner, info)


def step(problem: Problem, state: SearchState) -> SearchState:
    """One step of a search: one move, one failed try of a move, or one population of structures.

    Args:
        problem: the one that `init` was given.
        state: the last one, or any other of that search.

    Returns:
        The next state; `moves` tells whether something was accepted.

    Raises:
        ValueError: if the search is over, or the problem is another one.

    Example:
        >>> import jax, numpy as np, tnjax
        >>> problem = tnjax.Decomposition(np.random.default_rng(0).standard_normal((3, 4, 5)))
        >>> state = tnjax.init(problem, key=jax.random.key(0), max_steps=1)
        >>> state = tnjax.step(problem, state)
        >>> state.moves[-1].kind, state.done, state.status
        ('grow', True, <Status.MAX_STEPS: 'max_steps'>)
    """
    if state.done:
        raise ValueError(
            f"step: the search is over ({state.status.message}); look at `state.done`, or call "
            "`init` with `start=state.network` and other limits."
        )
    if tuple(problem.shape) != state.structure.dims:
        raise ValueError(
            f"step: the state is of a problem of shape {state.structure.dims}, got one of shape "
            f"{tuple(problem.shape)}; pass the problem that `init` was given."
        )
    inside = problem if state.compression is None else state.compression.problem
    budget = next_budget(state.limits, state.fitted)
    inner, info = state.strategy.step(inside, state.inner, budget)
    return _after(inside, state, inner, info)


def _after(problem: Problem, state: SearchState, inner: State, info: Info) -> SearchState:
    """The state that a step of the strategy leads to."""
    check_same(problem.mesh, f"{info.move}, error {inner.error!r}", inner.cores)
    moves = state.moves if info.move is None else (*state.moves, info.move)
    return dataclasses.replace(state, inner=inner, moves=moves, fitted=state.fitted + info.fitted)
