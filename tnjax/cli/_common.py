"""What the subcommands share: checks of options, signals, progress, whole run folders."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from ._clock import left
from ._devices import InputError, check_device_options, make_mesh
from ._imports import find_modules_here, import_all
from ._interrupt import stop_on_signals
from ._options import ComputingOptions, SearchOptions
from ._progress import Display, displayed, only_shown

if TYPE_CHECKING:  # imported late, so that --help and bad options are answered at once
    from jax.sharding import Mesh

    from .._network import TensorNetwork
    from .._report import Run
    from .._search.result import SearchResult
    from .._search.strategy import Strategy
    from ..problems import Problem, StreamedCompletion, StreamedDecomposition
    from ..sweep import Watch

CHECKPOINTS = "checkpoints"


def check_search_options(options: SearchOptions, *, ends: bool = False) -> None:
    """Raise `InputError` for an option that cannot be meant.

    Args:
        options: of the command.
        ends: whether the search ends by itself, with no target and no limit.
    """
    given = (options.target_error, options.max_params, options.ranks)
    if not ends and all(option is None for option in given):
        raise InputError("give --target-error, --max-params, or both: when should it stop?")
    check_numbers(options, ("target_error", "max_params", "max_steps", "max_seconds"))
    check_device_options(options)
    strategy_of(options)
    check_memory(options)


def check_numbers(options: Any, names: Sequence[str]) -> None:
    """Raise `InputError` unless these options are positive numbers, where they are given, and the
    seed is one."""
    for name in names:
        value = getattr(options, name)
        if value is not None and not (math.isfinite(value) and value > 0):
            raise InputError(f"--{name.replace('_', '-')} must be a positive number, got {value}.")
    if not -(2**63) <= options.seed < 2**63:
        raise InputError(f"--seed must fit into 64 bits, got {options.seed}.")


def check_memory(options: ComputingOptions) -> None:
    """Raise `ValueError` unless --memory-limit is a number of bytes."""
    if options.memory_limit is not None:
        from ..contract.cost import parse_bytes

        parse_bytes(options.memory_limit)


def display_of(options: SearchOptions, watch: Watch | None) -> AbstractContextManager[Display]:
    """What the command shows: nothing if somebody watches it, or in other processes than the
    first."""
    return displayed(wanted=watch is None and options.process_id in (None, 0))


def set_up_devices(options: SearchOptions, display: Display) -> Mesh | None:
    """Join the other processes, if there are any, and check the run folder, which is the first
    one's; returns the devices that the options ask for.

    Raises:
        InputError: as of `check_out`.
        ValueError: for devices that are not there.
    """
    from .._processes import from_first, leads

    mesh = make_mesh(options)
    if not leads(mesh):
        display.close()
    from_first(mesh, lambda: check_out(options.out, options.resume) or b"")
    return mesh


def check_out(out: Path, resume: bool) -> None:
    """Raise `InputError` unless the run folder can be written, or resumed from."""
    if out.exists() and not out.is_dir():
        raise InputError(f"--out {out}: a file of that name exists; give a folder.")
    if resume and not any((out / CHECKPOINTS).glob("*")):
        if not (out / CHECKPOINTS).is_dir() and out.is_dir() and any(out.iterdir()):
            raise InputError(
                f"--resume: {out} is not empty and holds no checkpoints; give the folder of a run, "
                "or another one without --resume."
            )
        print(f"--resume: there are no checkpoints in {out} yet; starting anew.", file=sys.stderr)
    if not resume and out.is_dir() and any(out.iterdir()):
        raise InputError(
            f"--out {out}: the folder is not empty; give another, empty it, or pass --resume to "
            "go on with the run in it."
        )
    if not out.absolute().parent.is_dir():
        raise InputError(f"--out {out}: the folder {out.absolute().parent} does not exist.")


def parse_dims(text: str | None, shape: tuple[int, ...] | None = None) -> tuple[int, ...] | None:
    """The sizes that --reshape names; those of the input without it, and its digits for "auto".

    Without a shape, only the text is checked.
    """
    if text is None:
        return shape
    if text == "auto":
        from ..io import digits_of

        return None if shape is None else digits_of(shape)
    try:
        dims = tuple(int(word) for word in text.split(","))
    except ValueError:
        dims = ()
    if not dims or min(dims) < 1:
        raise InputError(f"--reshape {text!r}: expected sizes such as 4,4,4,4, or auto.")
    return dims


def set_up_jax(options: ComputingOptions) -> None:
    """Precision, and the folder of compiled programs."""
    import jax

    if options.dtype == "float64":
        jax.config.update("jax_enable_x64", True)
    if options.cache == "none":
        return
    folder = Path(options.cache)
    if options.cache == "auto":
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        folder = Path(base) / "tnjax" / "xla"
    with contextlib.suppress(OSError):  # a read-only home is no reason not to compute
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        jax.config.update("jax_compilation_cache_dir", str(folder))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.05)


def strategy_of(options: SearchOptions):
    """The strategy that the options name, with those of its own options that were given."""
    import_all()
    from .._search.registry import make_strategy

    if ":" in options.strategy:
        find_modules_here()
    names = ("format", "power", "increment", "max_rank", "max_degree", "effort")
    given = {name: getattr(options, name) for name in names}
    given["ranks"] = _ranks(options.ranks)
    given |= {name: None if getattr(options, name) else False for name in ("prune", "infer")}
    return make_strategy(
        options.strategy, **{name: value for name, value in given.items() if value is not None}
    )


def _ranks(text: str | None) -> int | tuple[int, ...] | None:
    """The ranks that --ranks lists."""
    if text is None:
        return None
    try:
        ranks = tuple(int(word) for word in text.split(","))
    except ValueError:
        raise InputError(f"--ranks {text!r}: expected ranks such as 3 or 2,4,2.") from None
    return ranks[0] if len(ranks) == 1 else ranks


@contextlib.contextmanager
def _no_empty(out: Path) -> Iterator[None]:
    """If the search fails before its first checkpoint, leave no empty folders behind."""
    existed = out.exists()
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):  # not empty, or never made
            (out / CHECKPOINTS).rmdir()
            if not existed:
                out.rmdir()
        raise


@contextlib.contextmanager
def written_together(out: Path) -> Iterator[Path]:
    """A folder to write files to, which move into `out` once all of them are whole."""
    from .._atomic import umask

    out.mkdir(exist_ok=True)
    work = Path(tempfile.mkdtemp(dir=out, prefix=".partial-"))
    try:
        yield work
        for file in work.iterdir():
            file.chmod(0o666 & ~umask())
            os.replace(file, out / file.name)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def settings(command: str, options: ComputingOptions) -> dict[str, Any]:
    """The options of a run as plain values, for `config.yaml`."""
    values = dataclasses.asdict(options).items()
    plain = {key: str(value) if isinstance(value, Path) else value for key, value in values}
    return {"command": command, **plain}


def run_search(
    options: SearchOptions,
    problem: Problem | StreamedDecomposition | StreamedCompletion,
    title: str,
    watch: Watch | None,
    display: Display,
) -> SearchResult:
    """The search that the options ask for, with checkpoints, progress and signals looked after.

    If somebody else watches it, progress and the end are up to them.
    """
    most = 1 if options.ranks and not options.max_steps else options.max_steps
    limits = {"target_error": options.target_error, "max_steps": most}
    display.title(title)
    return searched(options, problem, strategy_of(options), display, watch=watch, **limits)


@runtime_checkable
class RunOptions(Protocol):
    """What every search is told."""

    @property
    def out(self) -> Path: ...
    @property
    def max_params(self) -> int | None: ...
    @property
    def max_seconds(self) -> float | None: ...
    @property
    def memory_limit(self) -> str | None: ...
    @property
    def resume(self) -> bool: ...
    @property
    def seed(self) -> int: ...


def searched(
    options: RunOptions,
    problem: Problem | StreamedDecomposition | StreamedCompletion,
    strategy: Strategy | None,
    display: Display,
    *,
    watch: Watch | None = None,
    start: TensorNetwork | None = None,
    **limits: Any,
) -> SearchResult:
    """A search with checkpoints in the run folder.

    Args:
        options: of the command.
        problem: to search for.
        strategy: None for the problem's own.
        display: that tells of it.
        watch: of a sweep, if it runs one.
        start: a network to begin with.
        limits: of `search`, beside those among the options.
    """
    import jax

    from .. import Setup, search
    from .._mesh import of as mesh_of
    from .._processes import leads
    from ..contract.cost import parse_bytes

    limit = None if options.memory_limit is None else parse_bytes(options.memory_limit)
    first = leads(mesh_of((problem,)))
    tidy = _no_empty(options.out) if first else contextlib.nullcontext()
    with stop_on_signals(display.line, display.close) as stop, tidy:
        on_step, seconds = display.on_step, left(options.max_seconds)
        if watch is not None:
            on_step, stop, seconds = watch.on_step, watch.stop, options.max_seconds
        result = search(
            problem,
            key=jax.random.key(options.seed),
            strategy=strategy,
            max_params=options.max_params,
            max_seconds=seconds,
            memory_limit=limit,
            on_step=on_step,
            setup=Setup(
                start=start,
                on_progress=display.on_progress,
                stop=stop,
                checkpoints=options.out / CHECKPOINTS,
                resume=options.resume,
            ),
            **limits,
        )
    display.status("writing the run folder")
    return result


def write_together(out: Path, run: Run, more: Callable[[Path], object] | None = None) -> None:
    """Write a run folder: first all that is a result, then what is only looked at, an error of
    which is a warning.

    Args:
        out: the folder.
        run: what to write.
        more: writes other files that belong to the result to the folder that it is given.
    """
    from .._report import write_pages, write_result

    with written_together(out) as folder:
        write_result(folder, run)
        if more is not None:
            more(folder)
    with only_shown(f"{out / 'report.html'}"), written_together(out) as folder:
        write_pages(out, run, folder)


def written_by_first(
    options: SearchOptions,
    mesh: Mesh | None,
    result: SearchResult,
    write: Callable[[], str],
    display: Display,
) -> int:
    """Let the first process write what a run leaves, while the others wait for it.

    Args:
        write: writes, and returns more to say after the error.

    Returns:
        the exit status, the same in all processes.
    """
    from .._processes import from_first, leads

    more = from_first(mesh, lambda: write().encode()).decode()
    display.close()
    return conclude(options, result, more) if leads(mesh) else exit_status(result)


def conclude(options: SearchOptions, result: SearchResult, more: str = "") -> int:
    """Print one line about a finished run, with `more` after the error; returns the exit status."""
    page = options.out / "report.html"
    with only_shown("the closing line"):
        print(
            f"error {result.error:.4g}, {more}{result.num_params} parameters "
            f"({result.structure.compression_ratio:.4g}x compression), {result.seconds:.1f} s, "
            f"{result.status.message}; see {page if page.exists() else options.out}",
            flush=True,
        )
    return exit_status(result)


def exit_status(result: SearchResult) -> int:
    from .. import Status

    if result.status is Status.INTERRUPTED:
        return 130
    return 0 if result.status.ok else 1
