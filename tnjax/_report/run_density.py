"""The run folder of a distribution of the rows of a table."""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import PRNGKeyArray

from .._search.result import SearchResult
from ..features import Bins
from ..problems import TableDensity
from ..problems.information import bond_information, least_likely, shared_information
from .run import Run
from .run_fit import odd_table
from .sections import Drawn, Section, Table
from .targets import Columns

_DRAWN = 2000  # rows from which informations are estimated
_BONDS = 200  # bonds up to which they are
_PAIRS = 20  # of columns that a report tells of
_COLUMNS = 30  # up to which all pairs are looked at


class Likelihood(NamedTuple):
    """Of a set of rows.

    Attributes:
        name: what they were for: training, say.
        count: their number.
        mean: their mean log-likelihood, in nats.
    """

    name: str
    count: int
    mean: float


@dataclasses.dataclass(frozen=True)
class Learned:
    """What was learned, from what.

    Attributes:
        name: of the input.
        model: of all rows.
        sets: log-likelihoods.
        columns, weights: of the rows.
        odd: the rows by how unlikely they are, as `odd_rows` gives them.
        drawn: samples of rows; none if nobody asked for them.
        key: to draw others, from which informations are estimated.
    """

    name: str
    model: TableDensity
    sets: Sequence[Likelihood]
    columns: Columns
    weights: np.ndarray
    odd: Columns
    drawn: Columns
    key: PRNGKeyArray


def odd_rows(model: TableDensity, columns: Columns, numbers: np.ndarray) -> dict[str, np.ndarray]:
    """Rows in the order of how unlikely they are, and the column of each that is least likely given
    the others.

    Args:
        model: of the rows.
        columns: of the rows.
        numbers: of the rows in their file.
    """
    score = -model.log_prob(columns, unseen="missing")
    codes = model.codes.encode(columns, unseen="missing")
    worst = np.asarray(model.codes.names, object)[least_likely(model.model, codes)]
    order = np.argsort(-score, kind="stable")
    found = {"row": numbers, "anomaly_score": score, "least_likely_column": worst, **columns}
    return {name: column[order] for name, column in found.items()}


def density_run(learned: Learned, result: SearchResult, settings: Mapping[str, Any]) -> Run:
    """The run of a search for such a distribution.

    Args:
        learned: what was learned.
        result: of the search, with the network of the distribution.
        settings: the options of the run.
    """
    codes, model = learned.model.codes, learned.model.model
    names = list(codes.names)
    values = codes.encode(learned.columns, unseen="missing")
    shared = shared_information(model, values, learned.weights)
    bonds = {}
    if len(result.structure.edges) <= _BONDS:
        bonds = bond_information(model, model.sample(learned.key, _DRAWN))
    last = learned.sets[-1]
    order = np.argsort(-shared, kind="stable")
    kinds = ["bins" if isinstance(column, Bins) else "categories" for column in codes.columns]
    sections: list[Section] = [
        Table("Log-likelihood", ("rows", "number", "mean, nats"), learned.sets, _SETS),
        Drawn("Columns", result.structure, names, {e: f"{v:.2g}" for e, v in bonds.items()}, _BOND),
        _pairs(learned.model),
        Table(
            "What the columns tell",
            ("column", "kind", "number", "nats"),
            [(names[k], kinds[k], codes.dims[k], float(shared[k])) for k in order],
            "Mutual information of a column and all others together.",
        ),
        odd_table(learned.odd),
    ]
    told = f"log-likelihood {last.mean:.4g} nats on {last.count} rows ({last.name})"
    extra = {
        "table": {
            "task": "density",
            "kind": model.kind,
            "words": told,
            "log_likelihood": {one.name: one.mean for one in learned.sets},
            "columns": {names[k]: float(shared[k]) for k in order},
        }
    }
    tensor = {"input": learned.name, "dims": list(result.structure.dims), "modes": names}
    details = {"kind": model.kind, "precision": str(result.network.dtype)}
    held = "held-out rows" if len(learned.sets) > 1 else "rows"
    error = ("nats a row", f"negative log-likelihood of {held}, nats")
    title = f"tnjax: distribution of {learned.name}"
    return Run(title, result, settings, tensor, details, sections, extra, error)


def _pairs(model: TableDensity) -> Table:
    """Pairs of columns that tell most about each other; of many columns, those on one bond."""
    names, structure = model.codes.names, model.model.network.structure
    pairs = set(itertools.combinations(range(len(names)), 2))
    if len(names) > _COLUMNS:
        joined = [[m for node in e for m in structure.legs[node]] for e in structure.edges]
        pairs = {pair for modes in joined for pair in itertools.combinations(sorted(modes), 2)}
    found = sorted(
        ((model.model.mutual_information([a], [b]), a, b) for a, b in pairs), reverse=True
    )
    rows = [(f"{names[a]}, {names[b]}", nats) for nats, a, b in found[:_PAIRS]]
    note = "Of the distribution that was learned; of all pairs those with the most."
    return Table("Mutual information of two columns", ("columns", "nats"), rows, note)


_SETS = (
    "Numbers count with their densities within bins. Of training rows and held-out rows by the "
    "network that the search chose; held-out rows chose it. Rows of the test, if there are any, "
    "were looked at only here, by the network fitted to all others."
)
_BOND = (
    "Circles are columns, lines bonds. On a bond: its rank, the states of a hidden variable, and "
    "what the parts of the tree that it joins tell about each other, in nats."
)
