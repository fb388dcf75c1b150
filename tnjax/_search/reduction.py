"""What a search works on: the problem itself, or a smaller one that stands for it.

A large tensor is searched by its HOSVD core, entries on disk by a subset of them; what is found
there is taken back to the whole.
"""

import dataclasses
import time

from .. import _interrupt
from .._processes import shared
from ..problems import Problem, StreamedCompletion, StreamedDecomposition
from .begin import check_budget, first_network
from .cut_short import without_network
from .decided import decided
from .drive import drive
from .precise import closest, judged_again
from .reach import least_error, warn_of_precision
from .reduce.core import (
    Compression,
    compress_problem,
    compress_stream,
    worthwhile,
)
from .reduce.sampled import fitted_to_all
from .result import SearchResult
from .setup import Plan, budget_of


def searched(
    problem: Problem | StreamedDecomposition | StreamedCompletion, plan: Plan
) -> SearchResult:
    """The result of a search on a problem, or on what stands for it."""
    if isinstance(problem, StreamedCompletion):
        return judged_again(_on_sample(problem, plan), plan.limits.target_error)
    if isinstance(problem, Problem):
        plan.strategy.check(problem)
        if below_precision(problem, plan):
            return _as_close_as_can_be(problem, plan)
    if not plan.strategy.on_core:
        if not isinstance(problem, Problem):
            raise ValueError(
                "search: a StreamedDecomposition is searched on a smaller tensor that stands for "
                f"it, and the options of this {type(plan.strategy).__name__}, such as ranks, are "
                "meant for the tensor itself; leave them out, or read it into memory."
            )
        plan = dataclasses.replace(plan, setup=dataclasses.replace(plan.setup, compress=False))
    spread = shared(problem.mesh) if isinstance(problem, Problem) else False
    early = False  # stopped before it was known what is searched on, or from where
    try:
        with plan.watched(spread=spread):
            compression = compression_of(problem, plan)
    except _interrupt.Stopped as stopped:
        if not isinstance(problem, Problem):
            took = time.perf_counter() - plan.begin
            return without_network(problem, stopped.status, took, plan.key)
        compression, early = None, True
    if compression is not None:
        return judged_again(_on_core(compression, plan, spread), plan.limits.target_error)
    assert isinstance(problem, Problem)
    if plan.setup.start is None and not early and problem.undecided:
        with plan.watched(spread=spread):
            found = decided(problem, plan)
        problem = found.problem
        if found.network is not None:
            plan = dataclasses.replace(
                plan, setup=dataclasses.replace(plan.setup, start=found.network)
            )
    where = plan.key, plan.limits.target_error
    try:
        with plan.watched(spread=spread):
            network = first_network(problem, plan.setup.start, *where)
    except _interrupt.Stopped:
        early = True
        with _interrupt.suspended():
            network = first_network(problem, None, *where)
    check_budget(network.structure, problem, budget_of(plan.limits))
    return drive(problem, plan, network, early=early)


def below_precision(problem: Problem, plan: Plan) -> bool:
    """Whether the target lies below what the precision can tell."""
    target_error = plan.limits.target_error
    return target_error is not None and target_error < least_error(problem)


def _as_close_as_can_be(problem: Problem, plan: Plan) -> SearchResult:
    """Of a target below the precision: what the precision can tell is searched for, and the network
    found is fitted on."""
    target_error = plan.limits.target_error
    assert target_error is not None
    warn_of_precision(problem, target_error)
    limits = dataclasses.replace(plan.limits, target_error=least_error(problem))
    found = searched(problem, dataclasses.replace(plan, limits=limits))
    return closest(problem, found, target_error)


def compression_of(problem: Problem | StreamedDecomposition, plan: Plan) -> Compression | None:
    """How to search on a smaller tensor, or None to search on the problem itself."""
    target_error, compress = plan.limits.target_error, plan.setup.compress
    if not isinstance(problem, Problem):
        if target_error is None or target_error >= 1 or not compress:
            raise ValueError(
                "search: a StreamedDecomposition needs a target_error below 1, a tenth of which "
                'its projection may use, and compress="auto".'
            )
        return compress_stream(problem, target_error)
    able = problem.projectable and target_error is not None and target_error < 1
    if compress is True and not able:
        raise ValueError(
            "search: compress=True needs a Decomposition and a target_error below 1, a tenth of "
            'which the projection may use; leave it at "auto".'
        )
    if not compress or not able:
        return None
    assert target_error is not None
    found = compress_problem(problem.on_host(), target_error)
    if found is None or not (compress is True or worthwhile(found)):
        return None
    return found._replace(whole=problem, problem=found.problem.placed(problem.mesh))


def _on_core(compression: Compression, plan: Plan, spread: bool) -> SearchResult:
    """Of a tensor by its core, which is as good as the whole."""
    on_step, on_progress = plan.on_step, plan.setup.on_progress
    outer = None if on_step is None else (lambda step: on_step(compression.step(step)))
    shown = None if on_progress is None else (lambda p: on_progress(compression.progress(p)))
    setup = dataclasses.replace(
        plan.setup,
        start=compression.inside(plan.setup.start),
        compress=False,
        on_progress=shown,
    )
    target_error, memory_limit = plan.limits.target_error, plan.limits.memory_limit
    assert target_error is not None
    with plan.watched(spread=spread):
        inside = dataclasses.replace(plan, setup=setup, on_step=outer, begin=time.perf_counter())
        found = searched(compression.problem, inside)
        solver = getattr(plan.strategy, "solver", None)
        result = compression.result(found, target_error, solver, memory_limit)
    return dataclasses.replace(result, seconds=time.perf_counter() - plan.begin)


def _on_sample(problem: StreamedCompletion, plan: Plan) -> SearchResult:
    """Of entries on disk by a subset of them."""
    limits, left = plan.limits, problem.plan.search_bytes
    limit = left if limits.memory_limit is None else min(left, limits.memory_limit)
    limits = dataclasses.replace(limits, memory_limit=max(1, limit))
    with plan.watched():
        sample = problem.sample
        inside = dataclasses.replace(
            plan,
            limits=limits,
            setup=dataclasses.replace(plan.setup, compress=False),
            begin=time.perf_counter(),
        )
        found = searched(sample, inside)
        return fitted_to_all(problem, found, limits.target_error, limits.max_seconds, plan.begin)
