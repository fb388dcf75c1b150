"""Tables of a sweep: every move of every trial, every trial, and every setting over its seeds."""

import csv
import io
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .._atomic import atomic_path
from .._report.record import step_record
from .._status import Status
from .records import Outcome, varying

Row = dict[str, Any]

# What an interruption, or another worker, changes.
_NOT_KEPT = ("programs",)


def pareto(outcomes: Sequence[Outcome]) -> tuple[Outcome, ...]:
    """The results that no other trial beats in both parameters and error, smallest first.

    Of equal ones the first is taken.

    Args:
        outcomes: of all trials.

    Returns:
        Some of them.

    Example:
        >>> from tnjax.sweep import Outcome, Trial, pareto
        >>> done = {"state": "finished", "seconds": 1.0}
        >>> small = Outcome(Trial({"power": 0.0}, 0), error=0.2, num_params=40, **done)
        >>> large = Outcome(Trial({"power": 1.0}, 0), error=0.3, num_params=90, **done)
        >>> pareto((large, small)) == (small,)
        True
    """
    able = [
        (o.num_params, o.error, n)
        for n, o in enumerate(outcomes)
        if o.num_params is not None and o.error is not None and math.isfinite(o.error)
    ]
    best, out = math.inf, []
    for _, error, n in sorted(able):
        if error < best:
            best = error
            out.append(outcomes[n])
    return tuple(out)


def trial_rows(outcomes: Sequence[Outcome]) -> list[Row]:
    """A row for each trial: what is special about it, and its result.

    Args:
        outcomes: of all trials.

    Returns:
        Rows for `trials.csv`: the values by their columns.

    Example:
        >>> from tnjax.sweep import Outcome, Trial, trial_rows
        >>> done = {"state": "finished", "seconds": 1.0}
        >>> small = Outcome(Trial({"power": 0.0}, 0), error=0.2, num_params=40, **done)
        >>> large = Outcome(Trial({"power": 1.0}, 0), error=0.3, num_params=90, **done)
        >>> [row["num_params"] for row in trial_rows((small, large))]
        [40, 90]
    """
    names = varying([o.trial for o in outcomes]) if outcomes else ()
    best = {o.trial.name for o in pareto(outcomes)}
    return [
        {
            **_about(o, names),
            "state": o.state,
            "status": None if o.status is None else o.status.value,
            "error": o.error,
            "num_params": o.num_params,
            "compression_ratio": o.compression_ratio,
            "moves": max(0, len(o.path) - 1) if o.path else None,
            "pareto": o.trial.name in best,
            "seconds": o.seconds,
            "compile_seconds": o.compile_seconds,
            "message": o.message,
        }
        for o in outcomes
    ]


def path_rows(outcomes: Sequence[Outcome]) -> list[Row]:
    """A row for each accepted move of each trial, the start included.

    Args:
        outcomes: of all trials.

    Returns:
        Rows for `path.csv`: the values by their columns.

    Example:
        >>> from tnjax.sweep import Outcome, Trial, path_rows
        >>> done = {"state": "finished", "seconds": 1.0}
        >>> small = Outcome(Trial({"power": 0.0}, 0), error=0.2, num_params=40, **done)
        >>> large = Outcome(Trial({"power": 1.0}, 0), error=0.3, num_params=90, **done)
        >>> path_rows((small, large))  # no path was recorded
        []
    """
    names = varying([o.trial for o in outcomes]) if outcomes else ()
    rows = []
    for outcome in outcomes:
        for number, step in enumerate(outcome.path):
            record = step_record(number, step)
            kept = {key: value for key, value in record.items() if key not in _NOT_KEPT}
            rows.append({**_about(outcome, names), **kept})
    return rows


def summary_rows(outcomes: Sequence[Outcome]) -> list[Row]:
    """A row for each setting: mean and standard error over its seeds.

    The standard error of the mean is s / sqrt(n), s with n - 1 in the denominator; there is none of
    one trial. Trials that were stopped early or failed are counted, and not averaged.

    Args:
        outcomes: of all trials.

    Returns:
        Rows for `summary.csv`: the values by their columns.

    Example:
        >>> from tnjax.sweep import Outcome, Trial, summary_rows
        >>> done = {"state": "finished", "seconds": 1.0}
        >>> small = Outcome(Trial({"power": 0.0}, 0), error=0.2, num_params=40, **done)
        >>> large = Outcome(Trial({"power": 1.0}, 0), error=0.3, num_params=90, **done)
        >>> [row["power"] for row in summary_rows((small, large))]
        [0.0, 1.0]
    """
    names = varying([o.trial for o in outcomes]) if outcomes else ()
    groups: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        key = json.dumps(dict(outcome.trial.settings), sort_keys=True)
        groups.setdefault(key, []).append(outcome)
    rows = []
    for group in groups.values():
        done = [o for o in group if o.state == "finished" and o.error is not None]
        row: Row = {name: _cell(group[0].trial.settings.get(name)) for name in names}
        row |= {
            "trials": len(group),
            "finished": len(done),
            "target_reached": sum(o.status is Status.TARGET_REACHED for o in done),
        }
        for name in ("error", "num_params", "seconds"):
            values = [float(getattr(o, name)) for o in done]
            row[name], row[f"{name}_standard_error"] = mean_and_error(values)
        rows.append(row)
    return rows


def mean_and_error(values: Sequence[float]) -> tuple[float | None, float | None]:
    """Mean and standard error of the mean.

    Args:
        values: of the trials.

    Returns:
        Both; None for the mean of no value, and for the error of fewer than two.

    Example:
        >>> from tnjax.sweep import mean_and_error
        >>> mean_and_error([1.0, 3.0]), mean_and_error([])
        ((2.0, 1.0), (None, None))
    """
    count = len(values)
    if not count:
        return None, None
    mean = math.fsum(values) / count
    if count == 1:
        return mean, None
    variance = math.fsum((value - mean) ** 2 for value in values) / (count - 1)
    return mean, math.sqrt(variance / count)


def write_tables(folder: Path, outcomes: Sequence[Outcome]) -> None:
    """Write `trials.csv`, `summary.csv`, and every trial's path to `path.csv` and `path.parquet`.

    Args:
        folder: of the sweep.
        outcomes: of all trials.

    Raises:
        ImportError: if pyarrow is not installed; it comes with Ray Tune.
        OSError: if a file cannot be written.

    Example:
        >>> import pathlib, tempfile
        >>> from tnjax.sweep import Outcome, Trial, write_tables
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_tables(pathlib.Path(folder), (Outcome(Trial({}, 0), "failed"),))
        ...     sorted(file.name for file in pathlib.Path(folder).iterdir())
        ['path.csv', 'path.parquet', 'summary.csv', 'trials.csv']
    """
    paths = path_rows(outcomes)
    for name, rows in (
        ("trials", trial_rows(outcomes)),
        ("summary", summary_rows(outcomes)),
        ("path", paths),
    ):
        with atomic_path(folder / f"{name}.csv") as part:
            part.write_text(_csv(rows), encoding="utf-8")
    _write_parquet(folder / "path.parquet", paths)


def _about(outcome: Outcome, names: Sequence[str]) -> Row:
    settings = outcome.trial.settings
    own = {name: _cell(settings.get(name)) for name in names}
    return {"trial": outcome.trial.name, **own, "seed": outcome.trial.seed}


def _cell(value: Any) -> Any:
    """A setting in a table: lists and the like as JSON."""
    return json.dumps(value) if isinstance(value, list | tuple | dict) else value


def _csv(rows: Sequence[Row]) -> str:
    out = io.StringIO()
    if rows:
        writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return out.getvalue()


def _write_parquet(path: Path, rows: Sequence[Row]) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    columns = {}
    for name in rows[0] if rows else ():
        values = [row[name] for row in rows]
        kinds = {type(value) for value in values if value is not None}
        if len(kinds) > 1 and not kinds <= {int, float}:  # a column has one type
            values = [None if value is None else str(value) for value in values]
        columns[name] = [float(v) if kinds == {int, float} and v is not None else v for v in values]
    with atomic_path(path) as part:
        parquet.write_table(pa.table(columns), part)
