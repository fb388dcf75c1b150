"""What `tnjax density` does."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ._common import InputError, searched, set_up_jax, settings, write_together
from ._table import Read, Rows, check_options, concluded, held_out_rows, read_rows, refitted

if TYPE_CHECKING:
    from .._report import Run
    from .._report.run_density import Learned
    from .._search.strategy import Strategy
    from ..features import Codebook
    from ..problems import Density, TableDensity
    from ._progress import Display
    from ._table_options import DensityOptions


def learn_density(options: DensityOptions, display: Display) -> int:
    """Learn a distribution of rows, and write the run folder; returns the exit status."""
    if options.kind == "born" and not options.validation:
        raise InputError("--validation 0: --kind born needs held-out rows; give a share.")
    if options.bins < 2:
        raise InputError(f"--bins must be 2 or more, got {options.bins}.")
    if options.sample is not None and options.sample < 1:
        raise InputError(f"--sample must be a positive number, got {options.sample}.")
    check_options(options)
    display.status(f"reading {options.input.name}")
    display.named("held-out nats a row" if options.validation else "nats a row")
    read = read_rows(options)
    display.line(read.about)

    from .._report.run_density import density_run
    from ..features import Codebook
    from ..problems import TableDensity

    set_up_jax(options)
    rows = read.rows
    nothing = np.zeros(len(rows.weights), bool)
    held = held_out_rows(options, rows) if options.validation else nothing
    try:
        codes = Codebook.fit(rows.columns, options.bins, rows.weights)
        values = codes.encode(rows.columns)
        problem = _problem(options, codes.dims, values, rows.weights, held)
    except ValueError as error:
        raise InputError(f"{options.input}: {error}") from error
    _check_asked(options, codes, read)
    display.title(f"{options.input.name}: distribution of {len(codes.dims)} columns")
    most = options.max_steps or values.size
    result = searched(options, problem, _strategy(options), display, max_steps=most)
    network = refitted(problem, result)
    model = TableDensity(problem.model(network), codes)
    found = TableDensity(problem.model(result.network), codes)
    display.status("judging the rows")
    learned = _learned(options, (found, model), read, held)
    result = dataclasses.replace(result, network=network)
    run = density_run(learned, result, settings("density", options))
    _write(options, run, learned, read)
    display.close()
    return concluded(options, result, str(run.extra["table"]["words"]))


def _problem(
    options: DensityOptions,
    dims: tuple[int, ...],
    values: np.ndarray,
    weights: np.ndarray,
    held: np.ndarray,
) -> Density:
    from ..problems import Density

    rest = ~held
    validation = values[held] if held.any() else None
    told: Any = dict(kind=options.kind, weights=weights[rest], validation=validation)
    return Density(values[rest], dims, dtype=options.dtype, **told)


def _check_asked(options: DensityOptions, codes: Codebook, read: Read) -> None:
    """Raise `InputError` for a category of --predict that was not learned from: a number of a
    column with few of them, or a word of the rows of the test."""
    if read.asked is None:
        return
    for column in codes.columns:
        given = read.asked[column.name]
        unseen = column.encode(given) == -2
        if unseen.any():
            row = int(np.argmax(unseen))
            raise InputError(
                f"{options.predict}: the column {column.name!r} holds {given.tolist()[row]!r} in "
                f"row {row + 1}, which is none of the {column.size} categories learned from; mend "
                "it, leave the cell empty, or take fewer --bins."
            )


def _strategy(options: DensityOptions) -> Strategy:
    from ..strategies import Greedy, LatentTree

    if options.kind == "born":
        return Greedy(effort="quick", max_rank=options.max_rank)
    return LatentTree() if options.max_rank is None else LatentTree(max_rank=options.max_rank)


def _learned(
    options: DensityOptions, models: tuple[TableDensity, TableDensity], read: Read, held: np.ndarray
) -> Learned:
    """What there is to tell: of the network that the search chose on rows to learn from, of the
    last one on all others.

    Args:
        options: of the command.
        models: of these two networks.
        read: the rows.
        held: whether a row to learn from was held out.
    """
    import jax

    from .._report.run_density import Learned, Likelihood, odd_rows

    def judged(name: str, rows: Rows, model: TableDensity) -> Likelihood:
        logs = model.log_prob(rows.columns, unseen="missing")
        return Likelihood(name, len(logs), float(np.average(logs, weights=rows.weights)))

    found, final = models
    sets = [judged("training", read.rows.take(np.flatnonzero(~held)), found)]
    if held.any():
        sets.append(judged("held out", read.rows.take(np.flatnonzero(held)), found))
    if read.test is not None:
        sets.append(judged("test", read.test, final))
    rows = read.rows
    odd = odd_rows(final, rows.columns, rows.numbers)
    first, second = jax.random.split(jax.random.key(options.seed))
    drawn = {} if options.sample is None else final.sample(first, options.sample)
    return Learned(options.input.name, final, sets, rows.columns, rows.weights, odd, drawn, second)


def _write(options: DensityOptions, run: Run, learned: Learned, read: Read) -> None:
    """Write the run folder."""
    from ..io import write_table
    from ..problems import model_to_bytes

    def more(folder: Path) -> None:
        (folder / "model.safetensors").write_bytes(model_to_bytes(learned.model))
        if read.asked is not None:
            logs = learned.model.log_prob(read.asked)
            filled = {**read.asked, **learned.model.filled(read.asked)}
            write_table(folder / "predictions.csv", {**filled, "log_likelihood": logs})
        if learned.drawn:
            write_table(folder / "samples.csv", dict(learned.drawn))
        if options.anomalies:
            write_table(folder / "anomalies.csv", dict(learned.odd))

    write_together(options.out, run, more)
