"""Options of `tnjax complete`, and what cannot be meant by them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from ._arguments import ARRAYS, AutoShare, MaybePath, MaybeText, Share
from ._devices import InputError
from ._options import InputOptions, SearchOptions

if TYPE_CHECKING:
    from ..io import Mode

_INPUT = (
    f"{ARRAYS}; or entries: a table (.csv, .tsv, .parquet), .tns (these also as .gz), an .npz "
    "with indices and values, or a folder with indices.npy and values.npy."
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class CompletionOptions:
    """What may be seen, what is predicted, and the loss."""

    GROUP = "completion"

    observed: MaybeText = None
    """Of dense input: a mask (an image, bright where observed, or an array), or a share such as
    0.1 or 10%, drawn with --seed."""
    predict: MaybePath = None
    """Entries to predict: a table with a column for each mode, a .tns, or an .npz with indices."""
    validation: AutoShare = "auto"
    """What to hold out: auto for a tenth of the observed entries that is like the missing ones (or
    those of --predict): single entries, fibers or blocks; a share of single entries; 0 for none."""
    test: Share = 0.0
    """Share of the observed entries to put aside for the error that is reported at the end."""
    loss: Literal["squared", "huber", "poisson", "bernoulli"] = "squared"
    """Loss of an entry: of real values, with outliers, of counts, of truth values (0 or 1)."""
    huber_delta: float = 0.5
    """Of --loss huber: beyond it a residual counts as an outlier; in robust standard deviations of
    the values."""
    offsets: Literal["none", "mean", "modes"] = "none"
    """Add to the network the mean, or the mean and a bias for each index of each mode."""
    ridge: AutoShare = 0.0
    """Weight of the squared cores in the loss, in units of one entry; auto: the held-out entries
    choose it."""
    nonnegative: bool = False
    """Only cores without negative entries."""
    smooth: MaybeText = None
    """Modes along which the tensor is smooth and how much, such as 2:0.1,5:0.1 (from 0), or, where
    modes have names, week:0.1; week:auto, or auto for all modes that may be: the held-out entries
    choose how much."""
    influence: int = 0
    """List so many entries in the report that move the network most, and what they do to the
    held-out error: where to look for wrong ones."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class EntriesOptions(InputOptions):
    """How to read an image or an array, or the columns of a table."""

    GROUP = "input"

    value: MaybeText = None
    """Of a table: the column of values, by default the last if it holds numbers."""
    modes: MaybeText = None
    """Of a table: the columns that are modes, such as user,film; by default all others."""
    labels: MaybeText = None
    """Of a table: all labels of a mode, such as week=1..60, day=2024-01-01..2024-12-31 or
    week=FILE (a label on each line), several with commas between them."""
    weights: MaybeText = None
    """Of a table: a column with the weight of each entry."""
    duplicates: Literal["refuse", "sum", "mean", "keep"] = "refuse"
    """What to do with an entry that is given more than once (keep: it counts as often)."""
    subset: int = 500_000
    """Of entries that stay on disk: on how many of them to search, at most."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class CompleteOptions(CompletionOptions, EntriesOptions, SearchOptions):
    """Everything that `tnjax complete` can be told."""

    input: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="INPUT", help=_INPUT)]


def check_completion(options: CompleteOptions) -> None:
    """Raise `InputError` for an option that cannot be meant."""
    for name, most in (("validation", 1), ("test", 1), ("ridge", math.inf)):
        value: Any = getattr(options, name)
        if value == "auto" and name != "test":
            continue
        if isinstance(value, str) or not 0 <= value < most:
            word = "a share of at least 0 and below 1" if most == 1 else "0 or more"
            raise InputError(f"--{name} must be {word}, got {value}.")
    if not 0 < options.huber_delta < math.inf:
        raise InputError(f"--huber-delta must be positive, got {options.huber_delta}.")
    if options.subset < 1:
        raise InputError(f"--subset must be 1 or more, got {options.subset}.")
    if options.influence < 0:
        raise InputError(f"--influence must be 0 or more, got {options.influence}.")
    chosen = options.ridge == "auto" or "auto" in (options.smooth or "")
    for name, wanted in (("ridge or --smooth auto", chosen), ("influence", options.influence > 0)):
        if wanted and not options.validation:
            raise InputError(f"--{name} needs held-out entries: leave out --validation 0.")
    _smooth_pairs(options.smooth)
    if options.standardize is not None:
        for name, value, plain in (
            ("loss", options.loss, options.loss in ("squared", "huber")),
            ("offsets", options.offsets, options.offsets == "none"),
        ):
            if not plain:
                raise InputError(
                    f"--standardize divides values by sizes, which --{name} {value} cannot be "
                    f"told of: leave out one of the two."
                )


def _smooth_pairs(text: str | None) -> list[tuple[str, float | str]]:
    if text is None or text == "auto":
        return []
    try:
        pairs = [word.rpartition(":") for word in text.split(",")]
        found = [
            (mode.strip(), "auto" if strength == "auto" else float(strength))
            for mode, _, strength in pairs
        ]
    except ValueError:
        found = []
    sound = all(mode and (s == "auto" or 0 <= float(s) < math.inf) for mode, s in found)
    if not found or not sound:
        raise InputError(
            f"--smooth {text!r}: expected modes and strengths such as 2:0.1,5:0.1, week:0.1 or "
            "week:auto, or auto."
        )
    return found


def parse_smooth(
    text: str | None, modes: Sequence[Mode] | None
) -> dict[int, float | str] | str | None:
    """The strength for each mode of --smooth, which may be told by its name."""
    if text == "auto":
        return text
    names = [] if modes is None else [mode.name for mode in modes]
    found = {}
    for mode, strength in _smooth_pairs(text):
        if mode in names:
            found[names.index(mode)] = strength
        elif mode.isdecimal():
            found[int(mode)] = strength
        else:
            known = f"; the modes are {', '.join(names)}" if names else ", counted from 0"
            raise InputError(f"--smooth {text!r}: {mode!r} is no mode{known}.")
    return found or None
