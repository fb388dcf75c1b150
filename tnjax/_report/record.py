"""A search result as plain values, for JSON and CSV, and back."""

import csv
import dataclasses
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .._network import TensorNetwork
from .._search.archive import Archive
from .._search.result import Held, SearchResult, Step
from .._search.strategy import MoveRecord
from .._status import Status
from .._structure import Structure, as_edge
from .._versioned import read_versioned
from ..io import load
from .archive import load_archive

_FORMAT = "tnjax.result"
_VERSION = 1
_COLUMNS = (
    "step",
    "move",
    "edge",
    "by",
    "to",
    "num_params",
    "compression_ratio",
    "error",
    "seconds",
    "compile_seconds",
    "screen_seconds",
    "programs",
    "fitted",
    "edges",
    "legs",
    "held_params",
    "held_error",
)


def step_record(number: int, step: Step) -> dict[str, Any]:
    """One row of `path.csv`."""
    word = lambda edge: "-".join(map(str, edge))
    edges = {word(edge): rank for edge, rank in step.structure.edges.items()}
    values = (
        number,
        step.move.kind,
        word(step.move.edge or ()),
        step.move.by,
        " ".join(map(word, step.move.to)),
        step.num_params,
        step.structure.compression_ratio,
        step.error,
        step.seconds,
        step.compile_seconds,
        step.screen_seconds,
        step.programs,
        step.fitted,
        json.dumps(edges),
        json.dumps(step.structure.legs),
        "" if step.held is None else step.held.num_params,
        "" if step.held is None else step.held.error,
    )
    return dict(zip(_COLUMNS, values, strict=True))


def path_csv(path: Sequence[Step]) -> str:
    """The moves of a search as CSV text."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(_COLUMNS)
    writer.writerows(step_record(number, step).values() for number, step in enumerate(path))
    return out.getvalue()


def result_record(result: SearchResult) -> dict[str, Any]:
    """What `result.json` holds of a search: all but the cores and the archive."""
    return {
        "format": _FORMAT,
        "version": _VERSION,
        "status": result.status.value,
        "error": result.error,
        "num_params": result.num_params,
        "compression_ratio": result.structure.compression_ratio,
        "structure": json.loads(result.structure.to_json()),
        "seconds": result.seconds,
        "compile_seconds": result.compile_seconds,
        "programs": result.programs,
        "fitted": result.fitted,
        "seed_key": list(result.seed_key),
        "methods": list(result.methods),
        "steps": len(result.path),
        "path": [_path_record(step) for step in result.path],
    }


def _path_record(step: Step) -> dict[str, Any]:
    move = step.move
    return {
        "move": {"kind": move.kind, "edge": move.edge, "by": move.by, "to": move.to},
        "structure": json.loads(step.structure.to_json()),
        "error": step.error,
        "seconds": step.seconds,
        "compile_seconds": step.compile_seconds,
        "programs": step.programs,
        "fitted": step.fitted,
        "screen_seconds": step.screen_seconds,
        "held": None if step.held is None else dataclasses.asdict(step.held),
    }


def _step(record: Mapping[str, Any]) -> Step:
    structure = Structure.from_json(json.dumps(record["structure"]))
    move, held = record["move"], record.get("held")  # older runs did not tell
    edge = None if move["edge"] is None else as_edge(move["edge"])
    return Step(
        MoveRecord(str(move["kind"]), edge, int(move["by"]), tuple(map(as_edge, move["to"]))),
        structure,
        structure.num_params,
        float(record["error"]),
        float(record["seconds"]),
        float(record["compile_seconds"]),
        int(record["programs"]),
        int(record["fitted"]),
        float(record.get("screen_seconds", 0.0)),
        None if held is None else Held(int(held["num_params"]), float(held["error"])),
    )


def read_record(folder: Path) -> dict[str, Any]:
    """The object in `result.json` of a run folder.

    Raises:
        ValueError: if it is damaged, of another kind, or of a newer version.
        OSError: if it cannot be read.
    """
    file = folder / "result.json"
    return read_versioned(
        file,
        lambda: file.read_text(encoding="utf-8"),
        (_FORMAT, _VERSION),
        damaged="damaged",
        other="not the result of a search that tnjax wrote.",
    )


def load_result(folder: str | Path) -> SearchResult:
    """The result of the search that left a run folder: its network and every step.

    Args:
        folder: as the command line writes it.

    Returns:
        The result that `search` gave; its key is kept as raw numbers.

    Raises:
        ValueError: if a file in it is damaged, or of a newer version.
        OSError: if one cannot be read.

    Example:
        >>> import jax, numpy as np, tempfile, tnjax
        >>> from tnjax.cli import main
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     np.save(f"{folder}/x.npy", np.ones((3, 4)))
        ...     given = [f"{folder}/x.npy", "--target-error", "0.1", "--out", f"{folder}/run"]
        ...     _ = main(["decompose", *given, "--cache", "none"])  # doctest: +ELLIPSIS
        ...     tnjax.load_result(f"{folder}/run").num_params
        error ...
        7
    """
    folder = Path(folder)
    network = load(folder / "network.safetensors")
    archive = load_archive(folder / "archive.safetensors")
    return result_of(read_record(folder), network, archive, folder)


def steps_of(record: Mapping[str, Any]) -> tuple[Step, ...]:
    """The moves that `result_record` described."""
    return tuple(map(_step, record["path"]))


def result_of(
    record: Mapping[str, Any], network: TensorNetwork, archive: Archive, folder: Path
) -> SearchResult:
    """The result that `result_record` described, with its network and archive."""
    try:
        path = steps_of(record)
        if not path:
            raise ValueError("no step is recorded")
        return SearchResult(
            network,
            float(record["error"]),
            path,
            Status(record["status"]),
            archive,
            int(record["programs"]),
            float(record["seconds"]),
            float(record["compile_seconds"]),
            tuple(map(int, record["seed_key"])),
            methods=tuple(map(str, record.get("methods", ()))),  # older runs did not tell
        )
    except KeyError as error:
        raise ValueError(f"{folder / 'result.json'}: damaged (it lacks {error}).") from error
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"{folder / 'result.json'}: damaged ({error}).") from error
