"""The command line: parses, calls the library, prints."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import math
import os
import shutil
import signal
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import tyro

_CHECKPOINTS = "checkpoints"
_STRATEGIES = ("greedy", "greedy-trial")


@dataclasses.dataclass(frozen=True)
class Decompose:
    """Learn a tensor network that approximates a tensor or an image.

    Grows a network from rank one until the error is reached or the parameters are used, prunes
    it, and writes a run folder: network.safetensors, result.json, path.csv, config.yaml,
    report.html and pictures. At least one of --target-error and --max-params is needed.

    Example: tnjax decompose photo.png --reshape 4,4,4,4,4,4,4,4 --target-error 0.1 --out run
    """

    input: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="INPUT")]
    """An image, .npy, .npz or .mat file."""
    out: Path
    """Folder to write; it must not exist, or be empty."""
    target_error: float | None = None
    """Stop at this relative Frobenius error ||X - T|| / ||X|| (not squared)."""
    max_params: int | None = None
    """Never use more core entries than this."""
    max_steps: int | None = None
    """Stop after so many moves."""
    max_seconds: float | None = None
    """Stop after so much time."""
    strategy: str = "greedy"
    """greedy (spectral screen, gain / cost^0.5) or greedy-trial (the paper's; it never prunes)."""
    power: float | None = None
    """Exponent of the cost in the score gain / cost^power; 0 scores the raw gain."""
    increment: int = 1
    """Ranks added in one move."""
    max_rank: int | None = None
    """Largest rank of a bond."""
    max_degree: int | None = None
    """Largest number of bonds on a node."""
    prune: bool = True
    """Take superfluous ranks away at the end."""
    reshape: str | None = None
    """Sizes of the modes to work in, such as 4,4,4,4,4,4,4,4 for a 256x256 image."""
    digits: Literal["row-major", "interleaved"] = "row-major"
    """How --reshape splits modes: one after another, or each new mode from all old ones."""
    fit: Literal["exact", "pad", "crop"] = "exact"
    """If the sizes of --reshape do not multiply up: refuse, repeat last entries, or drop them."""
    variable: str | None = None
    """Name of the array, for .npz and .mat files that hold several."""
    seed: int = 0
    """Seed of all random numbers."""
    dtype: Literal["float64", "float32"] = "float64"
    """Precision to compute in; complex data become complex128 or complex64."""
    memory_limit: str | None = None
    """Do not try structures whose fit is forecast to need more, such as 4GiB."""
    resume: bool = False
    """Go on with the run in --out, which was stopped or killed, from its last whole checkpoint."""
    cache: str = "auto"
    """Folder for compiled programs, reused by later runs; auto: the user's cache folder; none."""


@dataclasses.dataclass(frozen=True)
class Show:
    """Print what a run found."""

    run: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """A run folder, or a network.safetensors file."""


class InputError(ValueError):
    """Something that the user gave cannot be used."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status (0, or 2 on bad input)."""
    command = tyro.extras.subcommand_cli_from_dict(
        {"decompose": Decompose, "show": Show},
        prog="tnjax",
        description="Learn tensor networks from data: the graph, the ranks and the cores.",
        args=arguments,
    )
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _one_line
            return _decompose(command) if isinstance(command, Decompose) else _show(command)
    except (ValueError, OSError, ImportError) as error:
        print(f"tnjax: error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("tnjax: interrupted; pass --resume to go on from the last step.", file=sys.stderr)
        return 130


def _one_line(message, *_) -> None:
    print(f"tnjax: warning: {message}", file=sys.stderr)


# decompose ----------------------------------------------------------------------------------


def _decompose(options: Decompose) -> int:
    _check_options(options)
    _check_out(options.out, options.resume)
    dims = _parse_dims(options.reshape)

    from .io import plan_reshape, read_tensor

    data = read_tensor(options.input, options.variable)
    array = data.array
    _check_finite(options.input, array)
    if dims is None:
        dims = array.shape
    plan = plan_reshape(array.shape, dims, digits=options.digits, fit=options.fit)

    import jax

    from . import Decomposition, Status, search
    from ._contract.cost import parse_bytes
    from ._network import relative_error
    from .report._run import Run, write_run

    _set_up_jax(options)
    kind = np.complex128 if np.iscomplexobj(array) else np.float64
    if options.dtype == "float32":
        kind = np.complex64 if np.iscomplexobj(array) else np.float32
    with np.errstate(over="ignore"):
        values = plan.apply(array).astype(kind)
    if not np.isfinite(values).all():
        raise InputError(f"{options.input}: the entries are too large for {options.dtype}.")
    problem = Decomposition(values)
    limit = None if options.memory_limit is None else parse_bytes(options.memory_limit)
    strategy = _strategy(options)
    with _stop_on_signals() as stop, _progress(options, plan) as on_step, _no_empty(options.out):
        result = search(
            problem,
            key=jax.random.key(options.seed),
            strategy=strategy,
            target_error=options.target_error,
            max_params=options.max_params,
            max_steps=options.max_steps,
            max_seconds=options.max_seconds,
            memory_limit=limit,
            on_step=on_step,
            stop=stop,
            checkpoints=options.out / _CHECKPOINTS,
            resume=options.resume,
        )
    restored = plan.undo(np.asarray(result.network.to_dense()))
    original = array[tuple(slice(n) for n in plan.kept)]
    error = float(relative_error(restored, original.astype(kind)))
    run = Run(options.input.name, data, plan, result, restored, error, _settings(options))
    with _written_together(options.out) as folder:
        try:
            write_run(folder, run)
        except ImportError as missing:
            print(f"tnjax: no pictures and no report: {missing}", file=sys.stderr)
        has_report = (folder / "report.html").exists()
    print(
        f"error {result.error:.4g}, {result.num_params} parameters "
        f"({result.structure.compression_ratio:.4g}x compression), {result.seconds:.1f} s, "
        f"{result.status.message}; see {options.out / ('report.html' if has_report else '')}"
    )
    if result.status is Status.INTERRUPTED:
        return 130
    return 0 if result.status.ok else 1


def _check_options(options: Decompose) -> None:
    if options.target_error is None and options.max_params is None:
        raise InputError("give --target-error, --max-params, or both: when should it stop?")
    for name in ("target_error", "max_params", "max_steps", "max_seconds"):
        value = getattr(options, name)
        if value is not None and not (math.isfinite(value) and value > 0):
            raise InputError(f"--{name.replace('_', '-')} must be a positive number, got {value}.")
    if not -(2**63) <= options.seed < 2**63:
        raise InputError(f"--seed must fit into 64 bits, got {options.seed}.")
    if options.strategy not in _STRATEGIES:
        raise InputError(
            f"unknown strategy {options.strategy!r}; choose one of {', '.join(_STRATEGIES)}."
        )
    if options.memory_limit is not None:
        from ._contract.cost import parse_bytes

        parse_bytes(options.memory_limit)


def _check_out(out: Path, resume: bool) -> None:
    if out.exists() and not out.is_dir():
        raise InputError(f"--out {out}: a file of that name exists; give a folder.")
    if resume and not (out / _CHECKPOINTS).is_dir():
        raise InputError(f"--resume: {out} holds no checkpoints; start without --resume.")
    if not resume and out.is_dir() and any(out.iterdir()):
        raise InputError(
            f"--out {out}: the folder is not empty; give another, empty it, or pass --resume to "
            "go on with the run in it."
        )
    if not out.absolute().parent.is_dir():
        raise InputError(f"--out {out}: the folder {out.absolute().parent} does not exist.")


def _parse_dims(text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    try:
        dims = tuple(int(word) for word in text.split(","))
    except ValueError:
        dims = ()
    if not dims or min(dims) < 1:
        raise InputError(f"--reshape {text!r}: expected sizes such as 4,4,4,4.")
    return dims


def _check_finite(path: Path, array: np.ndarray) -> None:
    bad = int(array.size - np.isfinite(array).sum())
    if bad:
        raise InputError(
            f"{path}: {bad} of {array.size} entries are NaN or infinite; replace or crop them."
        )
    if array.size and not np.any(array):
        raise InputError(f"{path}: every entry is zero, so a relative error has no meaning.")


def _set_up_jax(options: Decompose) -> None:
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


def _strategy(options: Decompose):
    from . import Greedy

    trial = options.strategy == "greedy-trial"
    power = options.power if options.power is not None else (0.0 if trial else 0.5)
    return Greedy(
        screen="trial" if trial else "spectral",
        power=power,
        increment=options.increment,
        max_rank=options.max_rank,
        max_degree=options.max_degree,
        prune=options.prune and not trial,
    )


@contextlib.contextmanager
def _no_empty(out: Path) -> Iterator[None]:
    """If the search fails before its first checkpoint, leave no empty folders behind."""
    existed = out.exists()
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):  # not empty, or never made
            (out / _CHECKPOINTS).rmdir()
            if not existed:
                out.rmdir()
        raise


@contextlib.contextmanager
def _written_together(out: Path) -> Iterator[Path]:
    """A folder to write files to, which move into `out` once all of them are whole."""
    from ._atomic import umask

    out.mkdir(exist_ok=True)
    work = Path(tempfile.mkdtemp(dir=out, prefix=".partial-"))
    try:
        yield work
        for file in work.iterdir():
            file.chmod(0o666 & ~umask())
            os.replace(file, out / file.name)
    finally:
        shutil.rmtree(work, ignore_errors=True)


@contextlib.contextmanager
def _stop_on_signals() -> Iterator[Callable[[], bool]]:
    """The first SIGTERM or SIGINT lets the step under way end; the next one interrupts it."""
    seen: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return

    def note(number: int, _) -> None:
        seen.append(number)
        for name, handler in before.items():
            signal.signal(name, handler)

    before = {name: signal.signal(name, note) for name in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield lambda: bool(seen)
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)


@contextlib.contextmanager
def _progress(options: Decompose, plan) -> Iterator[Any]:
    """One line per accepted move on a terminal; nothing elsewhere."""
    from rich.console import Console
    from rich.markup import escape

    console = Console(stderr=True)
    if not console.is_terminal:
        yield None
        return
    title = escape(f"{options.input.name}: {plan.describe()}")
    console.print(f"[bold]{title}[/bold]")
    console.print(
        f"[dim]{'move':<12}{'rank':>5}{'params':>9}{'compr.':>9}{'error':>11}{'s':>7}[/dim]"
    )
    with console.status("compiling and fitting ...") as status:

        def on_step(step) -> None:
            edge = step.move.edge
            rank = "" if edge is None else step.structure.rank(edge)
            compiled = ""
            if step.programs:
                compiled = f"  compiled {step.programs} in {step.compile_seconds:.1f} s"
            console.print(
                f"{step.move!s:<12}{rank:>5}{step.num_params:>9}"
                f"{step.structure.compression_ratio:>8.4g}x{step.error:>11.4g}"
                f"{step.seconds:>7.2f}[dim]{compiled}[/dim]",
                highlight=False,
            )
            status.update(f"{len(dict(step.structure.edges))} bonds ...")

        yield on_step


def _settings(options: Decompose) -> dict[str, Any]:
    values = dataclasses.asdict(options).items()
    plain = {key: str(value) if isinstance(value, Path) else value for key, value in values}
    return {"command": "decompose", **plain}


# show ---------------------------------------------------------------------------------------


def _show(options: Show) -> int:
    from .io import load, load_metadata

    path = options.run / "network.safetensors" if options.run.is_dir() else options.run
    out = io.StringIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # rounding to float32 does not matter for a summary
        structure = load(path).structure
    print(structure, file=out)
    for key, value in load_metadata(path).items():
        print(f"{key}: {value}", file=out)
    record = path.parent / "result.json"
    if record.is_file():
        try:
            found = json.loads(record.read_text(encoding="utf-8"))
        except ValueError as error:
            raise InputError(f"{record}: damaged ({error}).") from error
        if not isinstance(found, dict):
            raise InputError(f"{record}: damaged (not an object).")
        for key in ("status", "error", "seconds", "steps"):
            print(f"{key}: {found.get(key)}", file=out)
    print(out.getvalue(), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
