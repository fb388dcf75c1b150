"""A search result as plain values, for JSON and CSV."""

import csv
import io
import json
from collections.abc import Sequence
from typing import Any

from ..search import SearchResult, Step

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
    "programs",
    "fitted",
    "edges",
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
        step.programs,
        step.fitted,
        json.dumps(edges),
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
    """What `result.json` holds of a search."""
    return {
        "format": "tnjax.result",
        "version": 1,
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
        "steps": len(result.path),
    }
