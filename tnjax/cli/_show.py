"""`tnjax show`."""

from __future__ import annotations

import csv
import dataclasses
import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import tyro

from ._common import CHECKPOINTS, InputError

# Lines of a table, so that all fits on a screen of 24 lines; the files have the rest.
_MOST_ROWS = 16


@dataclasses.dataclass(frozen=True)
class Show:
    """Print what a run, a compression or a sweep found, on one screen."""

    folder: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """The folder that decompose, complete, compress, fit, density or sweep has written, or a
    network.safetensors file."""

    def run(self) -> int:
        lines = list(_lines(self.folder))  # all of them, or an error
        print("\n".join(lines))
        return 0


def _lines(path: Path) -> Iterator[str]:
    if not path.is_dir():
        return _network(path)
    if (path / "network.safetensors").is_file():
        return _network(path / "network.safetensors")
    if (path / "model.safetensors").is_file():
        return _compression(path)
    if (path / "sweep.yaml").is_file():
        return _sweep(path)
    if (path / CHECKPOINTS).is_dir():
        raise InputError(
            f"{path}: the run has not ended, and has written nothing but checkpoints; the same "
            "command with --resume goes on with it."
        )
    raise InputError(
        f"{path}: nothing to show: expected the folder that tnjax decompose, complete, compress, "
        "fit, density or sweep has written, with network.safetensors, model.safetensors or "
        "sweep.yaml in it."
    )


def _network(path: Path) -> Iterator[str]:
    from ..io import load, load_metadata

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # rounding to float32 does not matter for a summary
        structure = load(path).structure
    yield str(structure)
    for key, value in load_metadata(path).items():
        yield f"{key}: {value}"
    record = path.parent / "result.json"
    if record.is_file():
        found = _record(record)
        for key in ("status", "error", "seconds", "steps"):
            yield f"{key}: {found.get(key)}"
        if "table" in found:
            yield from _table_run(found["table"], record)


def _table_run(found: Any, path: Path) -> Iterator[str]:
    """How good the model of a table is, and what its columns are worth."""
    try:
        target = f" of {found['target']}" if "target" in found else ""
        yield f"{found['task']}{target}: {found['words']}"
        yield ""
        unit = "share of the loss" if "target" in found else "nats shared with the others"
        worth = sorted(found["columns"].items(), key=lambda item: -item[1])
        rows = [(name, f"{value:.4g}") for name, value in worth]
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise InputError(f"{path}: damaged ({error!r}).") from error
    yield from _table(("column", unit), rows, path)


def _compression(folder: Path) -> Iterator[str]:
    """Parameters and metric before and after, and a line for each layer."""
    from .._structure import Structure

    path = folder / "result.json"
    found = _record(path)
    try:
        before, after = found["dense_params"], found["num_params"]
        yield f"parameters: {after:,} for {before:,} ({before / after:.4g}x smaller)"
        if found["metric"] is not None:
            dense = found["dense_metric"]
            beside = "" if dense is None else f", dense {dense:.4g}"
            yield f"metric: {found['metric']:.4g}{beside}"
        yield f"status: {found['status']}"
        yield f"seconds: {found['seconds']:.1f}"
        rows = []
        for layer in found["layers"]:
            structure = Structure.from_json(layer["layout"]["structure"])
            ranks = ",".join(map(str, structure.ranks)) or "none"
            shape, error = "x".join(map(str, layer["shape"])), f"{layer['error']:.4g}"
            sizes = (f"{layer['dense_params']:,}", f"{layer['num_params']:,}")
            rows.append((layer["name"], layer["kind"], shape, *sizes, error, ranks))
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise InputError(f"{path}: damaged ({error!r}).") from error
    yield ""
    yield from _table(("layer", "kind", "weight", "before", "after", "error", "ranks"), rows, path)


def _sweep(folder: Path) -> Iterator[str]:
    """How many trials have ended and how, and a line for each setting."""
    path = folder / "summary.csv"
    if not path.is_file():
        raise InputError(
            f"{folder}: the sweep has not written its tables yet, which it does when it ends or is "
            f"interrupted; single trials: tnjax show {folder / 'trials'}/NAME."
        )
    try:
        states = [row["state"] for row in _rows(folder / "trials.csv")]
        parts = [f"{states.count(state)} {state}" for state in dict.fromkeys(states)]
        yield f"{len(states)} trials have ended" + (f": {', '.join(parts)}" if parts else "")
        rows = _rows(path)
        names = [name for name in rows[0] if not name.endswith("_standard_error")] if rows else []
        cells = [[_cell(name, row) for name in names] for row in rows]
    except (KeyError, ValueError, csv.Error) as error:
        raise InputError(f"{folder}: damaged tables ({error!r}).") from error
    if rows:
        yield "means over seeds, ± standard errors:"
        words = {"target_reached": "met target", "num_params": "parameters"}
        yield from _table([words.get(name, name) for name in names], cells, path)


def _cell(name: str, row: Mapping[str, str]) -> str:
    """A value of the summary, with its standard error where it has one."""
    value, spread = row[name], row.get(f"{name}_standard_error")
    if spread is None or not value:
        return value or "-"
    return f"{float(value):.4g}" + (f" ± {float(spread):.2g}" if spread else "")


def _table(names: Sequence[str], rows: Sequence[Sequence[str]], path: Path) -> Iterator[str]:
    """Columns as wide as their widest value; of many rows the first, and where the others are."""
    shown = rows if len(rows) <= _MOST_ROWS else rows[: _MOST_ROWS - 1]
    columns = list(zip(names, *shown, strict=True))
    widths = [max(map(len, column)) for column in columns]
    for row in (names, *shown):
        yield "  ".join(map(str.ljust, row, widths)).rstrip()
    if len(rows) > len(shown):
        yield f"... {len(rows) - len(shown)} more in {path}"


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, strict=True))
    if any(None in row or None in row.values() for row in rows):
        raise ValueError(f"{path.name}: a row with more or fewer cells than the first")
    return rows


def _record(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path}: damaged ({error}).") from error
    if not isinstance(found, dict):
        raise InputError(f"{path}: damaged (not an object).")
    return found
