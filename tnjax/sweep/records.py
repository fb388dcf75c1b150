"""How trials ended, as their folders tell it."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from .._atomic import atomic_path
from .._report.record import read_record, steps_of
from .._search.result import Step
from .._status import Status
from .._versioned import read_versioned
from ._trials import Trial

State = Literal["finished", "stopped early", "failed"]

TRIALS = "trials"
CHECKPOINTS = "checkpoints"
_FILE = "trial.json"
_FORMAT = "tnjax.trial"
_VERSION = 1


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How a trial ended.

    Attributes:
        trial: which one.
        state: "finished"; "stopped early", by the scheduler of the sweep; or "failed".
        message: why it failed.
        path: all accepted moves; empty if there is no result of a search.
        status: of the search.
        error, num_params, compression_ratio, seconds, compile_seconds: of its result.

    Example:
        >>> from tnjax.sweep import Outcome, Trial
        >>> Outcome(Trial({"power": 0.5}, 3), "failed", "out of memory").state
        'failed'
    """

    trial: Trial
    state: State
    message: str = ""
    path: tuple[Step, ...] = ()
    status: Status | None = None
    error: float | None = None
    num_params: int | None = None
    compression_ratio: float | None = None
    seconds: float | None = None
    compile_seconds: float | None = None


def trial_folder(folder: Path, trial: Trial) -> Path:
    """The folder of a trial, below the folder of the sweep."""
    return folder / TRIALS / trial.name


def write_state(folder: Path, trial: Trial, state: State, message: str = "") -> None:
    """Put it on record, in the folder of a trial, that it has ended. The last thing to be written.

    Raises:
        OSError: if it cannot be written.
    """
    record = {
        "format": _FORMAT,
        "version": _VERSION,
        "settings": dict(trial.settings),
        "seed": trial.seed,
        "stamp": trial.stamp,
        "state": state,
        "message": message,
    }
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_path(folder / _FILE) as part:
        part.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def clear_state(folder: Path) -> None:
    """Take it off the record that a trial has ended: it is run again."""
    (folder / _FILE).unlink(missing_ok=True)


def read_outcome(folder: Path, trial: Trial) -> Outcome | None:
    """How a trial ended, or None if it has not.

    Args:
        folder: of the sweep.
        trial: which one.

    Raises:
        ValueError: if a file is damaged, or the trial has ended under another stamp.
        OSError: if one cannot be read.
    """
    own = trial_folder(folder, trial)
    file = own / _FILE
    try:
        found = read_versioned(
            file,
            lambda: file.read_text(encoding="utf-8"),
            (_FORMAT, _VERSION),
            damaged="damaged",
            other="not the record of a trial.",
        )
    except FileNotFoundError:
        return None
    if found.get("stamp") != trial.stamp:
        raise ValueError(
            f"{own}: this trial has run before, with other data ({found.get('stamp')}; now "
            f"{trial.stamp}). Give another folder for the sweep, or remove that of the trial."
        )
    state, message = found["state"], str(found["message"])
    if not (own / "result.json").is_file():  # it failed, or is no search
        return Outcome(trial, state, message)
    return _with_result(Outcome(trial, state, message), own)


def _with_result(outcome: Outcome, folder: Path) -> Outcome:
    record = read_record(folder)
    try:
        return dataclasses.replace(
            outcome,
            path=steps_of(record),
            status=Status(record["status"]),
            error=float(record["error"]),
            num_params=int(record["num_params"]),
            compression_ratio=float(record["compression_ratio"]),
            seconds=float(record["seconds"]),
            compile_seconds=float(record["compile_seconds"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{folder / 'result.json'}: damaged ({error}).") from error


def result_status(folder: Path) -> Status | None:
    """Of the search that left a run folder; None if there is no such result."""
    try:
        return Status(read_record(folder)["status"])
    except (OSError, ValueError, KeyError):
        return None


def outcomes_of(folder: Path, trials: Sequence[Trial]) -> tuple[Outcome, ...]:
    """Of those trials that have ended, in their order."""
    found = (read_outcome(folder, trial) for trial in trials)
    return tuple(outcome for outcome in found if outcome is not None)


def varying(trials: Sequence[Trial]) -> tuple[str, ...]:
    """The names of the settings that are not the same for all trials."""
    names: dict[str, Any] = {}
    for trial in trials:
        names.update(dict.fromkeys(trial.settings))
    missing = object()
    differs = lambda name: any(
        trial.settings.get(name, missing) != trials[0].settings.get(name, missing)
        for trial in trials
    )
    return tuple(name for name in names if differs(name))
