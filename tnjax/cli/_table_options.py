"""Options of the commands that learn from the rows of a table."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Literal

import tyro

from ._arguments import AutoShare, MaybeFloat, MaybeInt, MaybePath, MaybeText, Share
from ._options import ComputingOptions

_TABLE = (
    "A table of rows (.csv, .tsv, these also as .gz, .parquet), whose first line names the columns."
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class TableOptions(ComputingOptions):
    """Options of both commands."""

    input: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="TABLE", help=_TABLE)]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ColumnOptions:
    """Columns and rows."""

    GROUP = "table"

    words: MaybeText = None
    """Columns whose cells are categories though they look like numbers, such as zip,code."""
    without: MaybeText = None
    """Columns to leave out, such as id,name."""
    weights: MaybeText = None
    """Column of the weights of the rows."""
    validation: Share = 0.2
    """Share of the rows to hold out: they choose the structure and say when to stop."""
    test: Share = 0.0
    """Share of the rows to put aside for the scores that are reported at the end."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class EndOptions:
    """When to stop, and how to go on."""

    GROUP = "stop"

    max_params: MaybeInt = None
    """Never use more core entries than this."""
    max_steps: MaybeInt = None
    """Stop after so many moves."""
    max_rank: MaybeInt = None
    """Largest rank of a bond."""
    resume: bool = False
    """Go on with the run in --out, which was stopped or killed, from its last whole checkpoint."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class UsualFitOptions:
    """What everybody needs."""

    GROUP = ""

    target: Annotated[str, tyro.conf.arg(metavar="COLUMN")]
    """Column to predict from all others."""
    out: Annotated[Path, tyro.conf.arg(metavar="FOLDER")]
    """Folder to write; it must not exist, or be empty."""
    predict: MaybePath = None
    """A table of rows to predict, written to predictions.csv."""
    anomalies: bool = False
    """Write anomalies.csv: the rows in the order of how badly the target fits to the others."""
    max_seconds: MaybeFloat = None
    """Stop searching so long after the command began; loading JAX and data count, up to half."""
    seed: int = 0
    """Seed of all random numbers."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class FitModelOptions:
    """What is learned."""

    GROUP = "model"

    task: Literal["auto", "classes", "numbers"] = "auto"
    """What the target is; auto: classes, if it holds words or two different numbers."""
    ridge: AutoShare = "auto"
    """Weight of the squared cores in the loss, in units of one row; auto: the held-out rows
    choose."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class FitOptions(TableOptions, UsualFitOptions, FitModelOptions, ColumnOptions, EndOptions):
    """Everything that `tnjax fit` can be told."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class UsualDensityOptions:
    """What everybody needs."""

    GROUP = ""

    out: Annotated[Path, tyro.conf.arg(metavar="FOLDER")]
    """Folder to write; it must not exist, or be empty."""
    predict: MaybePath = None
    """A table of rows: predictions.csv has their log-likelihoods, and their gaps filled in."""
    sample: MaybeInt = None
    """Draw so many rows, written to samples.csv."""
    anomalies: bool = False
    """Write anomalies.csv: the rows in the order of how unlikely they are."""
    max_seconds: MaybeFloat = None
    """Stop searching so long after the command began; loading JAX and data count, up to half."""
    seed: int = 0
    """Seed of all random numbers."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class DensityModelOptions:
    """What is learned."""

    GROUP = "model"

    kind: Literal["nonnegative", "born"] = "nonnegative"
    """Probabilities are entries of a network without negative ones, or squares of entries."""
    bins: int = 8
    """Bins of a column of numbers; one with at most as many different ones is of categories."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class DensityOptions(
    TableOptions, UsualDensityOptions, DensityModelOptions, ColumnOptions, EndOptions
):
    """Everything that `tnjax density` can be told."""
