"""`search`: the entry."""

import dataclasses
import time
from collections.abc import Callable
from typing import Any, Unpack

from jaxtyping import PRNGKeyArray

from .._deprecated import with_old_keywords
from .._failed import thrown
from .._limits import Limits, SearchLimits, limits_from
from .._tracing import new_array, refuse_trace
from ..problems import Problem, StreamedCompletion, StreamedDecomposition
from .reduction import searched
from .result import SearchResult, Step
from .setup import Plan, Setup, check_any_limit, chosen_strategy
from .strategy import Strategy


def _translated(old: dict, args: tuple, given: dict) -> dict[str, Any]:
    setup = given.get("setup") or Setup()
    return {"setup": dataclasses.replace(setup, **old["Setup"])}


@with_old_keywords(
    {"Setup": {field.name: field.name for field in dataclasses.fields(Setup)}},
    _translated,
    "Pass it as `setup`.",
)
def search(
    problem: Problem | StreamedDecomposition | StreamedCompletion,
    *,
    key: PRNGKeyArray,
    strategy: Strategy | None = None,
    effort: str | None = None,
    limits: Limits | None = None,
    on_step: Callable[[Step], None] | None = None,
    setup: Setup | None = None,
    throw: bool = False,
    **plain_limits: Unpack[SearchLimits],
) -> SearchResult:
    """Learn a tensor network: the graph, the ranks and the cores.

    The same key gives the same result, bit for bit, on the same machine and versions, unless
    `max_seconds` ends the search.

    Args:
        problem: a `Decomposition`, an `Objective`, or any other `Problem`; or, with a target error
            below 1, a `StreamedDecomposition` of a tensor on disk; or a `StreamedCompletion` of
            entries on disk, a subset of which is searched on.
        key: `jax.random.key(seed)`.
        strategy: how to move, any `Strategy`; `Greedy()` by default.
        effort: "quick", "normal" or "thorough": what is done to make the network smaller once the
            target is met, of a strategy that has a choice; see `Greedy`. The strategy's own by
            default.
        limits: when to end and what not to exceed, in one value. Its fields are keywords here as
            well, and mostly given so: `target_error=0.1, max_params=500, max_seconds=60`, and
            `max_steps`, `max_fitted`, `max_flops`, `memory_limit`; see `Limits`. At least one
            of those that end a search is needed, any but `memory_limit`. `max_seconds` ends
            it in the middle of a step; on devices of several processes the step under way is
            finished.
        on_step: called with each `Step` as it is accepted. What it raises ends the search; the
            loggers of `tnjax.log` warn instead.
        setup: from where it starts, what it is searched on, checkpoints, and who else watches; see
            `Setup`.
        throw: raise `Failed` where the status of the result is a failure; otherwise that is
            for `result.status.ok` to tell.
        plain_limits: see `limits`.

    Returns:
        The network found, its error, every accepted step, and the archive of all structures that
        were fitted.

    Warns:
        UserWarning: where the target lies below what the precision can tell, or below the noise
            that the data show (found by a `Greedy` that may `infer`), and where the network has
            more parameters than the tensor has entries.

    Raises:
        ValueError: for a limit that is not positive, no limit at all, a start that does not
            fit the problem, or checkpoints of other data or options.
        MemoryLimitError: (a `ValueError`) if not even the start fits into the memory limit.
        Failed: with `throw` only.

    Example:
        >>> import jax
        >>> from tnjax import Decomposition, Structure, TensorNetwork, search
        >>> planted = Structure.tensor_ring((6, 6, 6, 6), 2)
        >>> truth = TensorNetwork.random(planted, key=jax.random.key(1))
        >>> result = search(
        ...     Decomposition(truth.to_dense()), key=jax.random.key(0), target_error=1e-3
        ... )
        >>> result.error <= 1e-3 and result.num_params <= planted.num_params
        True

    Reference:
        arXiv 2008.05437, algorithm 1.
    """
    begin = time.perf_counter()
    setup = setup or Setup()
    refuse_trace(
        "search",
        "learn the structure outside of it, and use tnjax.solve.run to fit that inside",
        (problem, key, dict(plain_limits), setup.start, new_array()),
    )
    strategy = chosen_strategy("search", problem, strategy, effort)
    limits = limits_from("search", limits, dict(plain_limits))
    check_any_limit("search", limits)
    plan = Plan(strategy, limits, key, setup, on_step, begin)
    result = searched(problem, plan)
    cites = problem.cites if isinstance(problem, Problem) else ()
    result = dataclasses.replace(result, methods=tuple(dict.fromkeys((*strategy.cites, *cites))))
    return thrown("search", result, throw)
