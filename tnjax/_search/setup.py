"""What a call of `search` asks for, besides the problem."""

import contextlib
import dataclasses
import functools
import os
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
from jaxtyping import PRNGKeyArray

from .. import _interrupt
from .._limits import Limits
from .._network import TensorNetwork
from .._status import Status
from .._structure import Structure
from .greedy.greedy import Greedy
from .registry import make_strategy
from .result import Progress, Step
from .strategy import Budget, State, Strategy


@dataclasses.dataclass(frozen=True, kw_only=True)
class Setup:
    """How a search is run: from where, on what, who watches it, and where it is kept.

    Attributes:
        start: a structure or network to grow from; the rank-one structure by default. "cuts":
            the smallest structure that satisfies the cut bounds of the target error (see
            `cut_bounds`), if a fit of it reaches the target, else rank one; for a decomposition.
        compress: search on the HOSVD core of the tensor, at a tenth of the target error, where
            that has at most half the entries ("auto"), wherever it is smaller (True), or never.
            Decompositions with a target error only. Parameters are counted with the original
            sizes all the same, errors are those on the whole data, and the network found is
            fitted to them.
        checkpoints: a folder for the state of the search, written after every accepted move; the
            last three are kept. If one cannot be written, the search warns and goes on.
        resume: go on from the newest whole checkpoint in that folder, if there is one, to the
            result of an uninterrupted search, bit for bit on the same machine and versions.
            `max_steps`, `max_fitted` and `max_seconds` may differ from before; what earlier runs
            used counts.
        on_progress: called with a `Progress` after the start and after every step of the strategy,
            whether it led to a move or not. What it raises ends the search.
        stop: asked often, in the middle of a step as well; if it returns True the search ends as
            interrupted, with the best network so far. On devices of several processes it is asked
            between steps.

    Raises:
        ValueError: for another `compress`, or `resume` without `checkpoints`.

    Example:
        >>> import jax, numpy as np
        >>> from tnjax import Decomposition, Setup, Structure, search
        >>> tensor = np.random.default_rng(0).standard_normal((3, 4, 5))
        >>> ring = Setup(start=Structure.tensor_ring((3, 4, 5), 2))
        >>> result = search(Decomposition(tensor), key=jax.random.key(0), max_params=60, setup=ring)
        >>> result.path[0].num_params
        48
    """

    start: Structure | TensorNetwork | str | None = None
    compress: bool | str = "auto"
    checkpoints: str | os.PathLike | None = None
    resume: bool = False
    on_progress: Callable[[Progress], None] | None = None
    stop: Callable[[], bool] | None = None

    def __post_init__(self) -> None:
        if self.compress not in (True, False, "auto"):
            raise ValueError(
                f'search: compress must be True, False or "auto", got {self.compress!r}.'
            )
        if self.resume and self.checkpoints is None:
            raise ValueError("search: resume=True needs the folder of the `checkpoints`.")


@dataclasses.dataclass(frozen=True, eq=False)
class Plan:
    """All that a search is asked for: what `search` was called with, read and checked.

    Attributes:
        strategy, limits, key, setup: see `search`.
        on_step: called with every accepted move; None if nobody wants to know.
        begin: when it began, as `time.perf_counter` counts.
    """

    strategy: Strategy
    limits: Limits
    key: PRNGKeyArray
    setup: Setup
    on_step: Callable[[Step], None] | None
    begin: float

    @functools.cached_property
    def seed(self) -> tuple[int, ...]:
        """The raw data of the key."""
        return seed_of(self.key)

    @contextlib.contextmanager
    def watched(self, *, begin: float | None = None, spread: bool = False) -> Iterator[None]:
        """What runs inside may be stopped; not where several processes must do the same.

        Args:
            begin: if the time began at another moment, as that of a resumed search does.
            spread: whether the devices of the problem belong to several processes.
        """
        begin, seconds = self.begin if begin is None else begin, self.limits.max_seconds
        deadline = None if seconds is None else begin + seconds
        stop = self.setup.stop
        if spread:
            deadline = stop = None
        with _interrupt.interruptible(deadline, stop):
            yield


def seed_of(key: PRNGKeyArray) -> tuple[int, ...]:
    """The raw data of a key, for generators of NumPy."""
    return tuple(int(word) for word in np.asarray(jax.random.key_data(key)).ravel())


def check_any_limit(owner: str, limits: Limits) -> None:
    """Raise `ValueError` unless there is a limit that ends a search."""
    ending = [name for name in limits.given() if name != "memory_limit"]
    if not ending:
        raise ValueError(
            f"{owner}: give at least one limit of target_error, max_params, max_flops, max_steps, "
            "max_fitted, max_seconds."
        )


def chosen_strategy(
    owner: str, problem: Any, strategy: Strategy | None, effort: str | None
) -> Strategy:
    """The strategy that is meant, the problem's own or `Greedy` by default, at the effort asked
    for.

    Raises:
        ValueError: for no strategy, or one that has no effort to choose.
    """
    if strategy is None:
        name = getattr(problem, "default_strategy", None)  # data on disk have none
        strategy = Greedy() if name is None else make_strategy(name)
    if not isinstance(strategy, Strategy):
        raise ValueError(f"{owner}: expected a strategy such as Greedy(), got {strategy!r}.")
    if effort is None:
        return strategy
    if not isinstance(strategy, Greedy):
        raise ValueError(
            f"{owner}: {type(strategy).__name__} has no effort to choose; leave it out, or search "
            "by Greedy()."
        )
    return dataclasses.replace(strategy, effort=effort)


def budget_of(limits: Limits) -> Budget:
    """What a strategy must respect."""
    return Budget(
        limits.target_error, limits.max_params, limits.memory_limit, max_flops=limits.max_flops
    )


def next_budget(limits: Limits, fitted: int) -> Budget:
    """The budget of the next step, after so many fits."""
    left = None if limits.max_fitted is None else max(0, limits.max_fitted - fitted)
    return dataclasses.replace(budget_of(limits), fits_left=left)


def used_up(limits: Limits, state: State, fitted: int, accepted: int) -> Status | None:
    """The limit of fits or moves that ends a search here, or None.

    Args:
        limits: of the search.
        state: of the strategy.
        fitted: structures fitted so far.
        accepted: moves so far, the start counted.
    """
    if limits.max_fitted is not None and fitted >= limits.max_fitted:
        return Status.MAX_FITTED
    if limits.max_steps is not None and not state.tidying and accepted > limits.max_steps:
        return Status.MAX_STEPS
    return None
