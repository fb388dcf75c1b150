"""`search`: the host loop that drives a strategy."""

import contextlib
import dataclasses
import functools
import math
import os
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import jax
import numpy as np
from jaxtyping import PRNGKeyArray

from .. import _interrupt
from .._init import host_cores
from .._network import TensorNetwork, scaled
from .._processes import agree, check_same, leads, shared
from .._status import Status
from .._structure import Structure
from .._tracing import new_array, refuse_trace
from .._tuned import tuned
from ..contract.cost import check_fit_memory
from ..problems import Decomposition, Problem, StreamedCompletion, StreamedDecomposition
from ..solve import fit
from ..solve.limits import check_shape, positive
from .archive import Archive
from .cut_short import better_of, start_as_it_is, without_network
from .greedy.greedy import Greedy
from .reach import warn_of_precision, warn_of_size
from .reduce.core import (
    Compression,
    CoreDecomposition,
    compress_problem,
    compress_stream,
    worthwhile,
)
from .reduce.sampled import fitted_to_all
from .result import Progress, SearchResult, Step
from .spectra.cuts import cut_bounds
from .storage.checkpoint import Saved, Totals, fingerprint, open_folder, write_checkpoint
from .strategy import Budget, Fit, Info, MoveRecord, State, Strategy


@dataclasses.dataclass(frozen=True)
class CutStart:
    """The start that the cut bounds propose.

    Attributes:
        starts: random starts of its structure: one in two or three ends in a swamp.
        steps: sweeps of each.
    """

    starts: int = 8
    steps: int = 60


CUT_START = tuned("cut_start", CutStart())


def search(
    problem: Problem | StreamedDecomposition | StreamedCompletion,
    *,
    key: PRNGKeyArray,
    strategy: Strategy | None = None,
    target_error: float | None = None,
    max_params: int | None = None,
    max_flops: int | None = None,
    max_steps: int | None = None,
    max_fitted: int | None = None,
    max_seconds: float | None = None,
    memory_limit: int | None = None,
    start: Structure | TensorNetwork | str | None = None,
    on_step: Callable[[Step], None] | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    stop: Callable[[], bool] | None = None,
    checkpoints: str | os.PathLike | None = None,
    resume: bool = False,
    compress: bool | str = "auto",
    effort: str | None = None,
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
        target_error: stop once the error is at or below it. For a decomposition this is the
            relative Frobenius error, for an `Objective` the loss.
        max_params: never exceed so many core entries.
        max_flops: never use a network that costs more to contract.
        max_steps: stop after so many accepted moves.
        max_fitted: stop after so many structures have been fitted.
        max_seconds: stop after so much wall time, in the middle of a step as well; the best network
            so far is the result. On devices of several processes the step under way is finished.
        memory_limit: bytes on each device; structures whose fit is forecast to need more are not
            tried.
        start: a structure or network to grow from; the rank-one structure by default. "cuts":
            the smallest structure that satisfies the cut bounds of the target error (see
            `cut_bounds`), if a fit of it reaches the target, else rank one; for a decomposition.
        on_step: called with each `Step` as it is accepted. What it raises ends the search; the
            loggers of `tnjax.log` warn instead.
        on_progress: called with a `Progress` after the start and after every step of the strategy,
            whether it led to a move or not. What it raises ends the search.
        stop: asked often, in the middle of a step as well; if it returns True the search ends as
            interrupted, with the best network so far. On devices of several processes it is asked
            between steps.
        checkpoints: a folder for the state of the search, written after every accepted move; the
            last three are kept. If one cannot be written, the search warns and goes on.
        resume: go on from the newest whole checkpoint in that folder, if there is one, to the
            result of an uninterrupted search, bit for bit on the same machine and versions.
            `max_steps`, `max_fitted` and `max_seconds` may differ from before; what earlier runs
            used counts.
        compress: search on the HOSVD core of the tensor, at a tenth of the target error, where
            that has at most half the entries ("auto"), wherever it is smaller (True), or never.
            Decompositions with a target error only. Parameters are counted with the original
            sizes all the same, errors are those on the whole data, and the network found is
            fitted to them.
        effort: "quick", "normal" or "thorough": what is done to make the network smaller once the
            target is met, of a strategy that has a choice; see `Greedy`. The strategy's own by
            default.

    At least one of the limits on error, parameters, flops, steps, fits and seconds is needed.

    Warns:
        UserWarning: where the target lies below what the precision can tell, or below the noise
            that the data show (found by a `Greedy` that may `infer`), and where the network has
            more parameters than the tensor has entries.

    Raises:
        ValueError: for a limit that is not positive, no limit at all, a start that does not
            fit the problem, or checkpoints of other data or options.
        MemoryLimitError: (a `ValueError`) if not even the start fits into the memory limit.

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
    refuse_trace(
        "search",
        "learn the structure outside of it, and use tnjax.solve.run to fit that inside",
        (problem, key, target_error, start, new_array()),
    )
    strategy = _as_strategy(strategy, effort)
    limits = {
        "target_error": target_error,
        "max_params": max_params,
        "max_flops": max_flops,
        "max_steps": max_steps,
        "max_fitted": max_fitted,
        "max_seconds": max_seconds,
    }
    for name, value in limits.items():
        positive(value, f"search: {name}")
    if all(value is None for value in limits.values()):
        raise ValueError(f"search: give at least one limit of {', '.join(limits)}.")
    if isinstance(problem, Problem):
        strategy.check(problem)
        if not isinstance(problem, CoreDecomposition):  # of which it was said
            warn_of_precision(problem, target_error)
    smaller = functools.partial(
        search,
        key=key,
        strategy=strategy,
        target_error=target_error,
        max_params=max_params,
        max_flops=max_flops,
        max_steps=max_steps,
        max_fitted=max_fitted,
        max_seconds=max_seconds,
        stop=stop,
        checkpoints=checkpoints,
        resume=resume,
        compress=False,
    )
    if isinstance(problem, StreamedCompletion):
        left = problem.plan.search_bytes
        limit = left if memory_limit is None else min(left, memory_limit)
        with _watch(begin, max_seconds, stop):
            found = smaller(
                problem.sample,
                memory_limit=limit,
                start=start,
                on_step=on_step,
                on_progress=on_progress,
            )
            return fitted_to_all(problem, found, target_error, max_seconds, begin)
    spread = shared(problem.mesh) if isinstance(problem, Problem) else False
    watch = functools.partial(_watch, begin, max_seconds, None if spread else stop, off=spread)
    early = False  # stopped before it was known what is searched on, or from where
    try:
        with watch():
            compression = _compression(problem, target_error, compress)
    except _interrupt.Stopped as stopped:
        if not isinstance(problem, Problem):
            return without_network(problem, stopped.status, time.perf_counter() - begin, key)
        compression, early = None, True
    if compression is not None and target_error is not None:
        outer = None if on_step is None else (lambda step: on_step(compression.step(step)))
        shown = None if on_progress is None else (lambda p: on_progress(compression.progress(p)))
        with watch():
            found = smaller(
                compression.problem,
                memory_limit=memory_limit,
                start=compression.inside(start),
                on_step=outer,
                on_progress=shown,
            )
            solver = getattr(strategy, "solver", None)
            result = compression.result(found, target_error, solver, memory_limit)
        return dataclasses.replace(result, seconds=time.perf_counter() - begin)
    assert isinstance(problem, Problem)
    seed = tuple(int(word) for word in np.asarray(jax.random.key_data(key)).ravel())
    try:
        with watch():
            network = _start(problem, start, seed, key, target_error)
    except _interrupt.Stopped:
        early = True
        with _interrupt.suspended():
            network = _start(problem, None, seed, key, target_error)
    budget = Budget(target_error, max_params, memory_limit, max_flops=max_flops)
    _check_budget(network.structure, problem, budget)

    path: list[Step] = []
    folder = None if checkpoints is None else Path(checkpoints)
    same: dict[str, str] = {}
    saved = None
    mesh = problem.mesh
    if folder is not None:
        same = fingerprint(  # reads all data, so only where it is kept or compared
            problem.on_host(),
            network,
            strategy=strategy,
            target_error=target_error,
            max_params=max_params,
            max_flops=max_flops,
            memory_limit=memory_limit,
            seed=seed,
        )
        saved = open_folder(folder, same, resume=resume, mesh=mesh)
    elif resume:
        raise ValueError("search: resume=True needs the folder of the `checkpoints`.")

    cells = math.prod(problem.counted_shape) if isinstance(problem, Decomposition) else math.inf
    larger = False
    archive = Archive()
    totals = Totals()
    since, before = begin, totals

    def record(state: State, info: Info) -> None:
        """Archive all fits; a step for an accepted move, with what the failed tries before it
        took."""
        nonlocal archive, totals, since, before, larger
        archive = archive.add(problem, info.fits)
        totals = totals.add(info)
        now = time.perf_counter()
        step = None
        if info.move is not None:
            step = Step(
                info.move,
                state.structure,
                problem.num_params(state.structure),
                state.error,
                now - since,
                totals.compile_seconds - before.compile_seconds,
                totals.programs - before.programs,
                totals.fitted - before.fitted,
                totals.screen_seconds - before.screen_seconds,
            )
            since, before = now, totals
            path.append(step)
            if info.move.kind == "grow" and step.num_params > cells and not larger:
                larger = True
                warn_of_size(step.num_params, problem.counted_shape)
        check_same(mesh, f"{info.move}, error {state.error!r}", state.cores)
        if folder is not None and (step is not None or info.save):
            totals = dataclasses.replace(totals, checkpoints=totals.checkpoints + 1)
            saved = Saved(state, tuple(path), archive, totals, now - begin)
            if leads(mesh):
                _write(folder, saved, same)
        if on_step is not None and step is not None:
            on_step(step)

    def tell(state: State) -> None:
        if on_progress is None:
            return
        num_params, met = problem.num_params(state.structure), budget.meets(state.error)
        fitted, seconds = totals.fitted, time.perf_counter() - begin
        on_progress(
            Progress(state.doing, state.structure, num_params, state.error, fitted, seconds, met)
        )

    def limited() -> Budget:
        """The budget of the next step."""
        left = None if max_fitted is None else max(0, max_fitted - totals.fitted)
        return dataclasses.replace(budget, fits_left=left)

    state: State | None = None
    if saved is not None:
        state, archive, totals = saved.state, saved.archive, saved.totals
        begin, before = begin - saved.seconds, totals
        path.extend(saved.path)
    status, cut = Status.RUNNING if state is None else state.status, ()
    with _watch(begin, max_seconds, None if spread else stop, off=spread):
        try:
            if state is None:
                state, info = strategy.init(problem, network, limited(), seed=seed)
                status = state.status
                record(state, info)
            tell(state)
            while not state.done:
                over = max_seconds is not None and time.perf_counter() - begin > max_seconds
                over, stopped = agree(mesh, over, stop is not None and bool(stop()))
                if over:
                    status = Status.MAX_SECONDS
                    break
                if max_fitted is not None and totals.fitted >= max_fitted:
                    status = Status.MAX_FITTED
                    break
                if max_steps is not None and not state.tidying and len(path) > max_steps:
                    status = Status.MAX_STEPS
                    break
                if stopped:
                    status = Status.INTERRUPTED
                    break
                _interrupt.taken(problem)  # those of the last step are in the archive
                state, info = strategy.step(problem, state, limited())
                status = state.status
                record(state, info)
                tell(state)
        except _interrupt.Stopped as error:
            status, cut = error.status, _interrupt.taken(problem)
        except KeyboardInterrupt:
            if state is None:
                raise
            status = Status.INTERRUPTED
    with _interrupt.suspended():  # in a search around this one the time may be over as well
        archive = archive.add(problem, cut)
    if state is None:  # not even the start is ready; a resumed search begins with it
        fit = better_of(problem, budget, cut) or start_as_it_is(problem, network)
        took = time.perf_counter() - begin
        counted = problem.num_params(fit.structure)
        path.append(Step(MoveRecord("start"), fit.structure, counted, fit.error, took, 0.0, 0))
        if not cut:
            with _interrupt.suspended():
                archive = archive.add(problem, (fit,))
        if folder is not None and leads(mesh) and not early:
            totals = dataclasses.replace(totals, checkpoints=totals.checkpoints + 1)
            nothing = Saved(None, (), Archive(), Totals(checkpoints=totals.checkpoints), took)
            _write(folder, nothing, same)
    else:
        if state.tidying and status in (Status.MAX_SECONDS, Status.MAX_FITTED):
            status = state.status  # the target was met; only the tidying was cut short
        last = Fit(state.structure, state.cores, state.error)
        fit = better_of(problem, budget, (last, *cut)) or last
    network, error = TensorNetwork(fit.structure, fit.cores), fit.error
    if status is Status.MAX_SECONDS and budget.meets(error):
        status = Status.TARGET_REACHED
    if problem.num_params(fit.structure) > cells and not larger:
        warn_of_size(problem.num_params(fit.structure), problem.counted_shape)
    best = archive.choose("error", max_params=max_params)
    if not budget.meets(error) and best.network is not None and best.error < error:
        network, error = best.network, best.error
    return SearchResult(
        scaled(network, problem.scale),
        error,
        tuple(path),
        status,
        archive.scaled(problem.scale),
        totals.programs,
        time.perf_counter() - begin,
        totals.compile_seconds,
        seed,
    )


@contextlib.contextmanager
def _watch(
    begin: float,
    max_seconds: float | None,
    stop: Callable[[], bool] | None,
    *,
    off: bool = False,
) -> Iterator[None]:
    """What runs inside may be stopped; not where several processes must do the same (`off`)."""
    deadline = None if max_seconds is None else begin + max_seconds
    if off:
        deadline = stop = None
    with _interrupt.interruptible(deadline, stop):
        yield


def _write(folder: Path, saved: Saved, same: dict[str, str]) -> None:
    """A checkpoint; where that fails, the search warns and goes on."""
    try:
        write_checkpoint(folder, saved, same)
    except OSError as error:
        warnings.warn(
            f"This step could not be saved ({error}); the checkpoints before it are kept.",
            stacklevel=4,
        )


def _compression(
    problem: Problem | StreamedDecomposition, target_error: float | None, compress: bool | str
) -> Compression | None:
    """How to search on a smaller tensor, or None to search on the problem itself."""
    if compress not in (True, False, "auto"):
        raise ValueError(f'search: compress must be True, False or "auto", got {compress!r}.')
    if isinstance(problem, StreamedDecomposition):
        if target_error is None or target_error >= 1 or not compress:
            raise ValueError(
                "search: a StreamedDecomposition needs a target_error below 1, a tenth of which "
                'its projection may use, and compress="auto".'
            )
        return compress_stream(problem, target_error)
    able = type(problem) is Decomposition and target_error is not None and target_error < 1
    if compress is True and not able:
        raise ValueError(
            "search: compress=True needs a Decomposition and a target_error below 1, a tenth of "
            'which the projection may use; leave it at "auto".'
        )
    if not compress or not able or not isinstance(problem, Decomposition):
        return None
    assert target_error is not None
    found = compress_problem(problem.on_host(), target_error)
    if found is None or not (compress is True or worthwhile(found)):
        return None
    return found._replace(whole=problem, problem=found.problem.placed(problem.mesh))


def _as_strategy(strategy: Strategy | None, effort: str | None) -> Strategy:
    if strategy is None:
        strategy = Greedy()
    if not isinstance(strategy, Strategy):
        raise ValueError(f"search: expected a strategy such as Greedy(), got {strategy!r}.")
    if effort is None:
        return strategy
    if not isinstance(strategy, Greedy):
        raise ValueError(
            f"search: {type(strategy).__name__} has no effort to choose; leave it out, or search "
            "by Greedy()."
        )
    return dataclasses.replace(strategy, effort=effort)


def _start(
    problem: Problem,
    start: Structure | TensorNetwork | str | None,
    seed: tuple[int, ...],
    key: PRNGKeyArray,
    target_error: float | None,
) -> TensorNetwork:
    if isinstance(start, str):
        start = _from_cuts(problem, start, key, target_error)
    if start is None:
        start = Structure.rank_one(problem.shape)
    if isinstance(start, TensorNetwork):
        check_shape(problem, start.structure)
        return scaled(start.astype(problem.dtype), 1 / problem.scale)
    check_shape(problem, start)
    cores = host_cores(start, np.random.default_rng(seed), problem.dtype)
    return problem.prepared(TensorNetwork(start, cores))


def _from_cuts(
    problem: Problem, start: str, key: PRNGKeyArray, target_error: float | None
) -> TensorNetwork | None:
    """The smallest structure that the cut bounds allow, if it reaches the target from one of a
    few random starts; a network that does not is a bad place to grow from, better none."""
    if start != "cuts":
        raise ValueError(f'search: start must be a structure, a network or "cuts", got {start!r}.')
    able = isinstance(problem, Decomposition) and target_error is not None and target_error < 1
    if not able:
        raise ValueError(
            'search: start="cuts" needs a Decomposition and a target_error below 1, whose cut '
            "bounds name the start."
        )
    assert isinstance(problem, Decomposition)
    assert target_error is not None
    bounds = cut_bounds(problem.array, target_error)
    structure = bounds.certificate(dims=tuple(problem.counted_shape)).structure
    if structure is None:
        return None
    structure = dataclasses.replace(structure, dims=tuple(problem.shape))
    found = fit(
        problem,
        structure,
        key=key,
        target_error=target_error,
        num_starts=CUT_START().starts,
        max_steps=CUT_START().steps,
    )
    return found.network if found.error <= target_error else None


def _check_budget(structure: Structure, problem: Problem, budget: Budget) -> None:
    num_params = problem.num_params(structure)
    if budget.max_params is not None and num_params > budget.max_params:
        raise ValueError(
            f"search: the start has {num_params} parameters, more than "
            f"max_params={budget.max_params}. Raise the limit; no smaller network spans these "
            "modes."
        )
    check_fit_memory(structure, problem.fit_peak_bytes, budget.memory_limit)
    if budget.forbids(problem, structure) is Status.MAX_FLOPS:
        raise ValueError(
            f"search: contracting the start costs {problem.flops(structure)} flops, more "
            f"than max_flops={budget.max_flops}. Raise the limit, or give another start."
        )
