"""`tnjax complete`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

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
from ._complete_options import CompleteOptions, check_completion, parse_smooth
from ._words import warned_in_labels

if TYPE_CHECKING:
    import numpy as np
    from jax.sharding import Mesh

    from .._network import TensorNetwork
    from .._report.run_complete import Observed
    from .._search.result import SearchResult
    from ..problems import Completion, Scales
    from ..sweep import Watch
    from ._progress import Display


# Sweeps over all entries at the end, those held out among them: few, since nothing tells any more
# when the fit begins to follow noise.
_LAST_STEPS = 5


@dataclasses.dataclass(frozen=True, kw_only=True)
class Complete(CompleteOptions):
    """Learn a tensor network from some entries of a tensor, and predict the others.

    INPUT is a dense tensor or an image, of which --observed tells what may be seen (without it,
    all that is not NaN), or a list of entries: .tns, a table, an .npz with indices and values, or a
    folder with indices.npy and values.npy (see tnjax.io.write_samples). Entries of a folder or an
    uncompressed .npz that memory does not hold stay on disk: the network is searched on a random
    subset of them and then fitted to all.
    A tenth of the entries, as much like the missing ones as can be, is held out: it decides which
    bonds grow and when to stop, and --target-error is compared with the error on it; at the end the
    network found is fitted to all observed entries. Entries of a dense tensor that are known but
    not observed, and the share --test, are looked at only at the end.

    Writes a run folder: as decompose, and labels.json (the labels of a table's modes), the
    completed image, completed.npy (of dense input), completed.mp4 (of a video), predictions.*
    (with --predict). Without --target-error and --max-params the held-out error decides when to
    stop.

    Example: tnjax complete photo.png --observed 0.1 --max-params 4000 --reshape auto --out run
    """

    def run(self, watch: Watch | None = None) -> int:
        with display_of(self, watch) as display:
            return _complete(self, watch, display)


class _Wanted(NamedTuple):
    """Entries to predict: indices [entries, modes] as the user counts them, and as the network
    does."""

    asked: np.ndarray
    places: np.ndarray


def _complete(options: Complete, watch: Watch | None, display: Display) -> int:
    check_search_options(options, ends=bool(options.validation))
    check_completion(options)
    from ._streamed_samples import complete_streamed, too_many

    display.status(f"reading {options.input.name}")
    display.named("held-out error" if options.validation else "training error")
    file = too_many(options)
    mesh = set_up_devices(options, display)
    if file is not None:
        set_up_jax(options)
        return complete_streamed(options, file, watch, display)

    from .._processes import leads
    from .._search.result import restored_result
    from ._held_out import held_out
    from ._observed import read_observed

    set_up_jax(options)
    observed = read_observed(options)
    if options.target_error is None and options.max_params is None and options.ranks is None:
        # The held-out entries decide; as many parameters as entries are always too many.
        most = max(len(observed.training.values), sum(observed.dims))
        options = dataclasses.replace(options, max_params=most)
    wanted = _wanted(options, observed)
    asked = None if wanted is None else wanted.asked
    validation, observed = held_out(options, observed, asked)
    even = _even(options, observed)
    make = lambda observed: _problem(options, observed, validation, mesh)
    problem = make(observed if even is None else even.observed)
    if observed.about and leads(mesh):
        display.line(observed.about)
    if observed.held and leads(mesh):
        display.line(f"held out: {observed.held}")
    if even is None and leads(mesh):
        _tell_uneven(observed, display)
    title = f"{options.input.name}: {observed.describe()}"
    result = run_search(options, problem, title, watch, display)
    refitted = _fitted_to_all(problem, result)
    if even is not None:
        problem = make(observed)
        result = restored_result(result, even.scales)
        refitted = None if refitted is None else even.scales.restored(refitted)
    problem = problem.on_host()  # by all processes together
    write = lambda: _write(options, observed, problem, result, refitted, wanted)
    return written_by_first(options, mesh, result, write, display)


def _wanted(options: Complete, observed: Observed) -> _Wanted | None:
    """What --predict asks for."""
    from ..io import read_requests

    if options.predict is None:
        return None
    asked = read_requests(options.predict, observed.source_shape, observed.modes)
    try:
        return _Wanted(asked, observed.placed(asked))
    except ValueError as error:
        raise InputError(f"{options.predict}: {error}") from error


class _Even(NamedTuple):
    """Entries in units in which the slices of some modes are of one size, and the way back."""

    observed: Observed
    scales: Scales


def _even(options: Complete, observed: Observed) -> _Even | None:
    """What --standardize makes of the training entries; None without."""
    from ..problems import standardized_entries
    from ._standardize import modes_to_standardize

    plain = observed.dims == observed.source_shape
    modes = modes_to_standardize(options.standardize, observed.dims, observed.modes, plain)
    if not modes:
        return None
    entries = observed.training
    values, scales = standardized_entries(entries.indices, entries.values, observed.dims, modes)
    training = entries._replace(values=values.astype(entries.values.dtype, copy=False))
    return _Even(dataclasses.replace(observed, training=training), scales)


def _tell_uneven(observed: Observed, display: Display) -> None:
    """A hint where slices differ much in size."""
    from ..problems.scales import uneven_entries
    from ._standardize import tell_uneven

    entries = observed.training
    if observed.dims == observed.source_shape:
        found = uneven_entries(entries.indices, entries.values, observed.dims)
        tell_uneven(found, observed.modes, display)


def _problem(
    options: Complete,
    observed: Observed,
    validation: float | np.ndarray | None,
    mesh: Mesh | None,
) -> Completion:
    """The training entries as a problem."""
    import jax

    from ..problems import Completion, Huber

    entries = observed.training
    named = observed.modes if observed.dims == observed.source_shape else None
    smooth = parse_smooth(options.smooth, named)
    try:
        with warned_in_labels(named):
            return Completion(
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
                validation=validation,
                key=jax.random.key(options.seed),
                offsets=None if options.offsets == "none" else options.offsets,
                ridge=options.ridge,
                nonnegative=options.nonnegative,
                smooth=smooth,
                mesh=mesh,
            )
    except ValueError as error:
        raise InputError(f"{options.input}: {error}") from error


def _fitted_to_all(problem: Completion, result: SearchResult) -> TensorNetwork | None:
    """The network found, fitted to what was held out as well, which has done its part; None if
    nothing was held out, or the search was cut short."""
    from .. import Status, fit

    cut_short = (Status.MAX_SECONDS, Status.INTERRUPTED)
    if problem.held_out is None or not result.status.ok or result.status in cut_short:
        return None
    return fit(problem.everything(), result.network, max_steps=_LAST_STEPS).network


def _write(
    options: Complete,
    observed: Observed,
    problem: Completion,
    result: SearchResult,
    refitted: TensorNetwork | None,
    wanted: _Wanted | None,
) -> str:
    """Write the run folder. Returns what the closing line adds to the error."""
    import numpy as np

    from .._report.influence import influence_table
    from .._report.run_complete import completed_tensor, completion_run, predicted
    from ..io import write_labels, write_predictions, write_video

    network = result.network if refitted is None else refitted
    dense = None
    if observed.plan is not None:
        dense = observed.plan.undo(completed_tensor(problem, network))
    told = settings("complete", options)
    run = completion_run(options.input.name, observed, problem, result, dense, told, refitted)
    if options.influence:
        found = influence_table(observed, problem, result.network, options.influence)
        run = dataclasses.replace(run, sections=(*run.sections, found))

    def more(folder: Path) -> None:
        if observed.modes is not None:
            write_labels(folder / "labels.json", observed.modes)
        if dense is not None:
            np.save(folder / "completed.npy", observed.filled(dense))
        if dense is not None and observed.rate and observed.data is not None:
            video = observed.filled(dense)
            write_video(folder / "completed.mp4", video, observed.data.white, observed.rate)
        if wanted is not None and options.predict is not None:
            values = predicted(problem, network, wanted.places)
            suffix = Path(options.predict.name.removesuffix(".gz")).suffix.lower()
            write_predictions(folder / f"predictions{suffix}", wanted.asked, values, observed.modes)

    write_together(options.out, run, more)
    test = run.extra["errors"].get("test", {}).get("error")
    return "" if test is None else f"test error {test:.4g}, "
