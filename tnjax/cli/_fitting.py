"""What `tnjax fit` does."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ._common import InputError, searched, set_up_jax, settings, write_together
from ._table import Read, Rows, check_options, concluded, held_out_rows, read_rows, refitted

if TYPE_CHECKING:
    from .._report import Run
    from .._report.run_fit import Fitted
    from .._report.targets import Target
    from ..problems import SupervisedModel
    from ..solve.tables import Begun
    from ._progress import Display
    from ._table_options import FitOptions


def fit_table(options: FitOptions, display: Display) -> int:
    """Learn to predict a column, and write the run folder; returns the exit status."""
    if not options.validation:
        raise InputError("--validation 0: held-out rows choose the structure; give a share.")
    if not isinstance(options.ridge, str) and options.ridge < 0:
        raise InputError(f"--ridge must be auto, or 0 or more, got {options.ridge:g}.")
    check_options(options)
    display.status(f"reading {options.input.name}")
    display.named("held-out error")
    read = read_rows(options, options.target)
    target = _target(options, read.rows, read.test)
    display.line(read.about)

    from .._report.run_fit import fit_run
    from ..strategies import Greedy

    set_up_jax(options)
    held = held_out_rows(options, read.rows)
    features = {n: column for n, column in read.rows.columns.items() if n != target.name}
    display.status("fitting sums of functions of one column")
    begun = _begun(options, features, read.rows, held, target)
    what = "classes" if target.classes else "numbers"
    display.title(f"{options.input.name}: {what} of {target.name} from {len(features)} columns")
    strategy = Greedy(effort="quick", max_rank=options.max_rank)
    result = searched(
        options,
        begun.problem,
        strategy,
        display,
        start=begun.network,
        max_steps=options.max_steps or len(held) * len(features),
    )
    network = refitted(begun.problem, result)
    models = begun.problem.model(result.network), begun.problem.model(network)
    fitted = _fitted(options.input.name, target, models, read, held)
    result = dataclasses.replace(result, network=network)
    run = fit_run(fitted, result, settings("fit", options))
    _write(options, run, fitted, read.asked)
    display.close()
    return concluded(options, result, str(run.extra["table"]["words"]))


def _target(options: FitOptions, rows: Rows, test: Rows | None) -> Target:
    """What the column holds, in all rows.

    Raises:
        InputError: for missing values, a single class, or words that are to be numbers.
    """
    from .._report.targets import Target
    from ..features.kinds import missing

    parts = [rows] if test is None else [rows, test]
    column = np.concatenate([part.columns[options.target] for part in parts])
    numbers = np.concatenate([part.numbers for part in parts])
    where = f"{options.input}: the target {options.target!r}"
    gone = missing(column)
    if gone.any():
        raise InputError(
            f"{where} has no value in {int(gone.sum())} of {len(column)} rows, the first is row "
            f"{int(numbers[gone].min())}; leave these rows out, or put them into a file of their "
            "own for --predict."
        )
    labels = sorted(set(column.tolist()))
    words = column.dtype.kind == "O"
    if options.task == "numbers" and words:
        raise InputError(f"{where} holds words such as {labels[0]!r}, and --task is numbers.")
    if len(labels) == 1:
        raise InputError(f"{where} is {labels[0]!r} in every row; there is nothing to learn.")
    classes = words or options.task == "classes" or (options.task == "auto" and len(labels) == 2)
    if classes and len(labels) > len(column) // 2:
        raise InputError(
            f"{where} holds {len(labels)} different classes in {len(column)} rows; each needs "
            "several rows."
        )
    known = set(rows.columns[options.target].tolist())
    if classes and (new := [label for label in labels if label not in known]):
        raise InputError(f"{where}: --test holds all rows of the class {new[0]!r}; take less.")
    return Target(options.target, tuple(labels) if classes else ())


def _begun(
    options: FitOptions,
    features: Mapping[str, np.ndarray],
    rows: Rows,
    held: np.ndarray,
    target: Target,
) -> Begun:
    """The problem, and the network to begin with."""
    import jax

    from ..features.kinds import chosen_maps
    from ..solve.tables import begin_table

    y = target.values(rows.columns[target.name])
    ridge = None if isinstance(options.ridge, str) else options.ridge
    told: Any = dict(loss=target.loss, weights=rows.weights, validation=np.flatnonzero(held))
    key = jax.random.key(options.seed)
    try:
        maps = chosen_maps(features, "auto")
        return begin_table(features, y, maps, key=key, ridge=ridge, **told)
    except ValueError as error:
        raise InputError(f"{options.input}: {error}") from error


def _fitted(
    name: str,
    target: Target,
    models: tuple[SupervisedModel, SupervisedModel],
    read: Read,
    held: np.ndarray,
) -> Fitted:
    """What there is to tell: of the network that the search chose on rows to learn from, of the
    last one on all others.

    Args:
        name: of the input.
        target: the column that is predicted.
        models: of these two networks.
        read: the rows.
        held: whether a row to learn from was held out.
    """
    from .._report.run_fit import Fitted, odd_rows
    from .._report.targets import Judged
    from ..problems.ablation import ablation

    def judged(name: str, rows: Rows, model: SupervisedModel) -> Judged:
        truth = rows.columns[target.name]
        return Judged(name, truth, target.expected(model, rows.columns), rows.weights)

    found, final = models
    rows = read.rows
    sets = [
        judged("training", rows.take(np.flatnonzero(~held)), found),
        judged("held out", rows.take(np.flatnonzero(held)), found),
    ]
    if read.test is not None:
        sets.append(judged("test", read.test, final))
    values = target.values(rows.columns[target.name])
    worth = ablation(final, rows.columns, values, rows.weights)
    odd = odd_rows(target, judged("all", rows, final), rows.numbers, rows.columns)
    return Fitted(name, target, final, worth, sets, odd)


def _write(
    options: FitOptions, run: Run, fitted: Fitted, asked: Mapping[str, np.ndarray] | None
) -> None:
    """Write the run folder."""
    from ..io import write_table
    from ..problems import model_to_bytes

    def more(folder: Path) -> None:
        (folder / "model.safetensors").write_bytes(model_to_bytes(fitted.model))
        if asked is not None:
            expected = fitted.target.expected(fitted.model, asked)
            found = {**asked, **fitted.target.columns(expected)}
            write_table(folder / "predictions.csv", found)
        if options.anomalies:
            write_table(folder / "anomalies.csv", dict(fitted.odd))

    write_together(options.out, run, more)
