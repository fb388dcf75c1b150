"""`tnjax complete` for entries that are too many for memory."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ._common import InputError, conclude, run_search, settings, write_together
from ._reading import ToldSamples

if TYPE_CHECKING:
    from ..io import SampleFile
    from ..problems import StreamedCompletion
    from ..sweep import Watch
    from ._complete_options import CompleteOptions
    from ._progress import Display


def too_many(options: CompleteOptions) -> SampleFile | None:
    """The input as entries that stay on disk, if memory does not hold their completion; else None.

    Raises:
        InputError: for an option that needs the entries in memory.
    """
    from ..contract.cost import format_bytes, parse_bytes
    from ..io import open_samples
    from ..problems import completion_bytes, memory_of_machine

    file = open_samples(options.input)
    if file is None:
        return None
    limit = memory_of_machine() // 2
    if options.memory_limit is not None:
        limit = parse_bytes(options.memory_limit)
    needed = file.count * completion_bytes(len(file.shape), _kind(options, file.dtype))
    if needed <= limit:
        return None
    for name, given in (
        ("--loss", options.loss != "squared"),
        ("--smooth", options.smooth is not None),
        ("--ridge auto", options.ridge == "auto"),
        ("--influence", options.influence > 0),
        (f"--duplicates {options.duplicates}", options.duplicates in ("sum", "mean")),
        *(
            (f"--{name}", getattr(options, name) is not None)
            for name in (
                *("observed", "reshape", "variable", "standardize"),
                *("value", "modes", "weights", "labels"),
            )
        ),
        ("--devices, --mesh or --coordinator", _shared(options)),
    ):
        if given:
            raise InputError(
                f"{name} needs the entries in memory, but {options.input} ({file.count} entries, "
                f"{format_bytes(needed)} to complete) is too large for the memory limit."
            )
    return file


def complete_streamed(
    options: CompleteOptions, file: SampleFile, watch: Watch | None, display: Display
) -> int:
    """Search on a subset, fit the network to all entries, and measure the errors on all."""
    import jax

    from .._report.run_complete import predicted, streamed_completion_run
    from ..contract.cost import parse_bytes
    from ..io import ReadError, read_requests, write_predictions
    from ..problems import StreamedCompletion

    wanted = None
    if options.predict is not None:
        wanted = read_requests(options.predict, file.shape)
    try:
        problem = StreamedCompletion(
            ToldSamples(file, display),
            key=jax.random.key(options.seed),
            validation=0.1 if options.validation == "auto" else float(options.validation),
            test=options.test,
            dtype=np.dtype(options.dtype),
            offsets=None if options.offsets == "none" else options.offsets,
            ridge=float(options.ridge),
            nonnegative=options.nonnegative,
            duplicates="keep" if options.duplicates == "keep" else "refuse",
            memory_limit=None
            if options.memory_limit is None
            else parse_bytes(options.memory_limit),
            subset=options.subset,
        )
        words = _words(problem, file)  # which reads all entries, and looks at them
        display.line(f"{options.input.name}: {words}")
        title = f"{options.input.name}: {'x'.join(map(str, file.shape))}"
        result = run_search(options, problem, title, watch, display)
    except ValueError as error:
        known = isinstance(error, ReadError)  # which names the file
        raise InputError(str(error) if known else f"{options.input}: {error}") from error
    run = streamed_completion_run(
        options.input.name, problem, result, settings("complete", options)
    )

    def more(folder: Path) -> None:
        if wanted is not None and options.predict is not None:
            values = predicted(problem.sample, result.network, wanted)
            suffix = Path(options.predict.name.removesuffix(".gz")).suffix.lower()
            write_predictions(folder / f"predictions{suffix}", wanted, values, None)

    write_together(options.out, run, more)
    display.close()
    test = run.extra["errors"].get("test", {}).get("error")
    return conclude(options, result, "" if test is None else f"test error {test:.4g}, ")


def _kind(options: CompleteOptions, dtype: np.dtype) -> np.dtype:
    real = np.dtype(options.dtype)
    return np.result_type(real, np.complex64) if dtype.kind == "c" else real


def _shared(options: CompleteOptions) -> bool:
    given = (options.devices, options.mesh, options.coordinator)
    return any(value is not None for value in given)


def _words(problem: StreamedCompletion, file: SampleFile) -> str:
    from ..contract.cost import format_bytes

    plan, held = problem.plan, problem.sample.held_out
    subset = problem.sample.training.count + (0 if held is None else held.count)
    return (
        f"{file.count} entries ({format_bytes(file.nbytes)}) stay on disk, read in chunks of "
        f"{plan.chunk}; the search is on {subset} of them; arrays take at most "
        f"{format_bytes(plan.peak_bytes)}"
    )
