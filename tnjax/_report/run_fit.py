"""The run folder of a function of the columns of a table."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .._search.result import SearchResult
from ..problems import SupervisedModel
from .run import Run
from .sections import Section, Table
from .targets import (
    Columns,
    Judged,
    Target,
    judged_sections,
    score_words,
    scores,
    surprise,
)

_SHOWN = 10  # rows of which a report tells


@dataclasses.dataclass(frozen=True)
class Fitted:
    """What was learned, from what.

    Attributes:
        name: of the input.
        target: the column that is predicted.
        model: of all rows.
        worth: of each column: the rise of the loss where it is taken out.
        sets: rows that the scores are about; the last one decides what the plots show.
        odd: the rows that fit least, as `odd_rows` gives them.
    """

    name: str
    target: Target
    model: SupervisedModel
    worth: Mapping[str, float]
    sets: Sequence[Judged]
    odd: Columns


def odd_rows(
    target: Target, judged: Judged, numbers: np.ndarray, columns: Columns
) -> dict[str, np.ndarray]:
    """Rows in the order of how little their targets fit.

    Args:
        target: the column that is predicted.
        judged: all rows.
        numbers: of the rows in their file.
        columns: of the rows.
    """
    score = surprise(target, judged)
    order = np.argsort(-score, kind="stable")
    found = {"row": numbers, "anomaly_score": score, **target.columns(judged.expected)}
    found = {name: column for name, column in found.items() if not name.startswith("probability_")}
    return {name: column[order] for name, column in (found | dict(columns)).items()}


def fit_run(fitted: Fitted, result: SearchResult, settings: Mapping[str, Any]) -> Run:
    """The run of a search for such a function.

    Args:
        fitted: what was learned.
        result: of the search, with the network that predicts.
        settings: the options of the run.
    """
    target = fitted.target
    table = [(one.name, scores(target, one)) for one in fitted.sets]
    last = fitted.sets[-1]
    assert fitted.model.columns is not None
    names = list(fitted.model.columns.names)
    modes = [target.name, *names] if target.loss == "softmax" else names
    words = tuple(table[0][1])
    rows = [
        (one.name, len(one.truth), *(found[word] for word in words))
        for one, (_, found) in zip(fitted.sets, table, strict=True)
    ]
    total = sum(fitted.worth.values()) or 1.0
    shares = {name: fitted.worth[name] / total for name in names}
    best = sorted(names, key=lambda name: -shares[name])
    maps = dict(zip(names, fitted.model.columns.maps, strict=True))
    kinds = [(name, type(maps[name]).__name__.removeprefix("Fitted").lower()) for name in best]
    sections: list[Section] = [
        Table("Scores", ("rows", "number", *words), rows, _SETS),
        *judged_sections(target, last),
        Table(
            "What the columns are worth",
            ("column", "features", "share"),
            [(name, kind, shares[name]) for name, kind in kinds],
            "The rise of the loss where a column is replaced by its average, as a share of all.",
        ),
        odd_table(fitted.odd),
    ]
    told = f"{score_words(table[-1][1])} on {len(last.truth)} rows ({last.name})"
    extra = {
        "table": {
            "task": "classes" if target.classes else "numbers",
            "target": target.name,
            "words": told,
            "scores": {name: found for name, found in table},
            "columns": shares,
        }
    }
    tensor = {"input": fitted.name, "dims": list(result.structure.dims), "modes": modes}
    details = {"target": target.name, "precision": str(result.network.dtype)}
    if target.classes:
        details["classes"] = ", ".join(map(str, target.classes))
    quadratic = target.loss == "squared"
    error = ("root of the unexplained share", "held-out rows, √(1 - R²)")
    error = error if quadratic else ("log loss", "held-out rows, nats")
    title = f"tnjax: {target.name} of {fitted.name}"
    return Run(title, result, settings, tensor, details, sections, extra, error)


def odd_table(odd: Columns) -> Table:
    """The first of the rows that fit least."""
    rows = list(zip(*(column[:_SHOWN].tolist() for column in odd.values()), strict=True))
    note = "The higher the score, in nats or in units of the target, the less a row fits."
    shown = [tuple(map(_plain, row)) for row in rows]
    return Table("The most anomalous rows", tuple(odd), shown, note)


def _plain(cell: Any) -> Any:
    """A whole number as an integer; None for a missing value."""
    if isinstance(cell, float):
        return None if math.isnan(cell) else int(cell) if cell.is_integer() else cell
    return cell


_SETS = (
    "Of training rows and held-out rows by the network that the search chose; held-out rows chose "
    "it. Rows of the test, if there are any, were looked at only here, by the network fitted to "
    "all others."
)
