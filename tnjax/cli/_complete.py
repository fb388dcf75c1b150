"""`tnjax complete`."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from ._arguments import ARRAYS, MaybePath, MaybeText, Share
from ._common import (
    InputError,
    check_search_options,
    display_of,
    run_search,
    set_up_devices,
    set_up_jax,
    settings,
    write_together,
    written_by_first,
)
from ._options import InputOptions, SearchOptions
from ._words import warned_in_labels

if TYPE_CHECKING:
    from ..io import Mode
    from ..sweep import Watch
    from ._progress import Display

_INPUT = (
    f"{ARRAYS}; or entries: a table (.csv, .tsv, .parquet), .tns (these also as .gz), an .npz "
    "with indices and values, or a folder with indices.npy and values.npy."
)

# Sweeps over all entries at the end, those held out among them: few, since nothing tells any more
# when the fit begins to follow noise.
_LAST_STEPS = 5


@dataclasses.dataclass(frozen=True, kw_only=True)
class CompletionOptions:
    """What may be seen, what is predicted, and the loss."""

    GROUP = "completion"

    observed: MaybeText = None
    """Of dense input: a mask (an image, bright where observed, or an array), or a share such as
    0.1 or 10%, drawn with --seed."""
    predict: MaybePath = None
    """Entries to predict: a table with a column for each mode, a .tns, or an .npz with indices."""
    validation: Share = 0.1
    """Share of the observed entries to hold out; 0 for none."""
    test: Share = 0.0
    """Share of the observed entries to put aside for the error that is reported at the end."""
    loss: Literal["squared", "huber", "poisson", "bernoulli"] = "squared"
    """Loss of an entry: of real values, with outliers, of counts, of truth values (0 or 1)."""
    huber_delta: float = 0.5
    """Of --loss huber: beyond it a residual counts as an outlier; in robust standard deviations of
    the values."""
    offsets: Literal["none", "mean", "modes"] = "none"
    """Add to the network the mean, or the mean and a bias for each index of each mode."""
    ridge: float = 0.0
    """Weight of the squared cores in the loss, in units of one entry."""
    nonnegative: bool = False
    """Only cores without negative entries."""
    smooth: MaybeText = None
    """Modes along which the tensor is smooth and how much, such as 2:0.1,5:0.1 (from 0), or, where
    modes have names, week:0.1."""


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
class Complete(CompletionOptions, EntriesOptions, SearchOptions):
    """Learn a tensor network from some entries of a tensor, and predict the others.

    INPUT is a dense tensor or an image, of which --observed tells what may be seen (without it,
    all that is not NaN), or a list of entries: .tns, a table, an .npz with indices and values, or a
    folder with indices.npy and values.npy (see tnjax.io.write_samples). Entries of a folder or an
    uncompressed .npz that memory does not hold stay on disk: the network is searched on a random
    subset of them and then fitted to all.
    A share of the entries is held out: it decides which bonds grow and when to stop, and
    --target-error is compared with the error on it; at the end the network found is fitted to all
    observed entries. Entries of a dense tensor that are known but
    not observed, and the share --test, are looked at only at the end.

    Writes a run folder: as decompose, and labels.json (the labels of a table's modes), the
    completed image, completed.npy (of dense input), completed.mp4 (of a video), predictions.*
    (with --predict). At least one of --target-error and --max-params is needed.

    Example: tnjax complete photo.png --observed 0.1 --max-params 4000 --reshape auto --out run
    """

    input: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="INPUT", help=_INPUT)]

    def run(self, watch: Watch | None = None) -> int:
        with display_of(self, watch) as display:
            return _complete(self, watch, display)


def _complete(options: Complete, watch: Watch | None, display: Display) -> int:
    check_search_options(options)
    check_completion(options)
    from ._streamed_samples import complete_streamed, too_many

    display.status(f"reading {options.input.name}")
    display.named("held-out error" if options.validation else "training error")
    file = too_many(options)
    mesh = set_up_devices(options, display)
    if file is not None:
        set_up_jax(options)
        return complete_streamed(options, file, watch, display)

    import jax
    import numpy as np

    from .. import Status, fit
    from .._processes import leads
    from .._report.run_complete import completed_tensor, completion_run, predicted
    from ..io import read_requests, write_labels, write_predictions, write_video
    from ..problems import Completion, Huber
    from ._observed import read_observed

    set_up_jax(options)
    observed = read_observed(options)
    named = observed.modes if observed.dims == observed.source_shape else None
    smooth = parse_smooth(options.smooth, named)
    wanted = places = None
    if options.predict is not None:
        wanted = read_requests(options.predict, observed.source_shape, observed.modes)
        try:
            places = observed.placed(wanted)
        except ValueError as error:
            raise InputError(f"{options.predict}: {error}") from error
    entries = observed.training
    try:
        with warned_in_labels(named):
            problem = Completion(
                entries.indices,
                entries.values,
                observed.dims,
                weights=entries.weights,
                duplicates="keep",  # what remained of them
                loss=(
                    Huber(options.huber_delta, relative=True)
                    if options.loss == "huber"
                    else options.loss
                ),
                validation=options.validation or None,
                key=jax.random.key(options.seed),
                offsets=None if options.offsets == "none" else options.offsets,
                ridge=options.ridge,
                nonnegative=options.nonnegative,
                smooth=smooth,
                mesh=mesh,
            )
    except ValueError as error:
        raise InputError(f"{options.input}: {error}") from error
    if observed.about and leads(mesh):
        display.line(observed.about)
    title = f"{options.input.name}: {observed.describe()}"
    result = run_search(options, problem, title, watch, display)
    refitted = None
    cut_short = (Status.MAX_SECONDS, Status.INTERRUPTED)
    if problem.held_out is not None and result.status.ok and result.status not in cut_short:
        # What was held out has done its part; the network that predicts learns from it, too.
        everything = problem.everything()
        refitted = fit(everything, result.network, max_steps=_LAST_STEPS).network
    network = refitted or result.network
    problem = problem.on_host()  # by all processes together

    def write() -> str:
        dense = None
        if observed.plan is not None:
            dense = observed.plan.undo(completed_tensor(problem, network))
        run = completion_run(
            options.input.name,
            observed,
            problem,
            result,
            dense,
            settings("complete", options),
            refitted,
        )

        def more(folder: Path) -> None:
            if observed.modes is not None:
                write_labels(folder / "labels.json", observed.modes)
            if dense is not None:
                np.save(folder / "completed.npy", observed.filled(dense))
            if dense is not None and observed.rate and observed.data is not None:
                video = observed.filled(dense)
                write_video(folder / "completed.mp4", video, observed.data.white, observed.rate)
            if wanted is not None and places is not None and options.predict is not None:
                values = predicted(problem, network, places)
                suffix = Path(options.predict.name.removesuffix(".gz")).suffix.lower()
                write_predictions(folder / f"predictions{suffix}", wanted, values, observed.modes)

        write_together(options.out, run, more)
        test = run.extra["errors"].get("test", {}).get("error")
        return "" if test is None else f"test error {test:.4g}, "

    return written_by_first(options, mesh, result, write, display)


def check_completion(options: Complete) -> None:
    """Raise `InputError` for an option that cannot be meant."""
    for name, most in (("validation", 1), ("test", 1), ("ridge", math.inf)):
        value = getattr(options, name)
        if not 0 <= value < most:
            word = "a share of at least 0 and below 1" if most == 1 else "0 or more"
            raise InputError(f"--{name} must be {word}, got {value}.")
    if not 0 < options.huber_delta < math.inf:
        raise InputError(f"--huber-delta must be positive, got {options.huber_delta}.")
    if options.subset < 1:
        raise InputError(f"--subset must be 1 or more, got {options.subset}.")
    _smooth_pairs(options.smooth)


def _smooth_pairs(text: str | None) -> list[tuple[str, float]]:
    if text is None:
        return []
    try:
        pairs = [word.rpartition(":") for word in text.split(",")]
        found = [(mode.strip(), float(strength)) for mode, _, strength in pairs]
    except ValueError:
        found = []
    sound = all(mode and 0 <= strength < math.inf for mode, strength in found)
    if not found or not sound:
        raise InputError(
            f"--smooth {text!r}: expected modes and strengths such as 2:0.1,5:0.1 or week:0.1."
        )
    return found


def parse_smooth(text: str | None, modes: Sequence[Mode] | None) -> dict[int, float] | None:
    """The strength for each mode of --smooth, which may be told by its name."""
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
