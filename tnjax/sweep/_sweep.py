"""`run_sweep`: trials on Ray Tune, which schedules, retries and stops them."""

import contextlib
import dataclasses
import json
import math
import os
import shutil
import tempfile
import types
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from .._deprecated import with_old_keywords
from .._signals import handled
from ._trials import Trial
from ._watch import Task
from .records import Outcome, clear_state, outcomes_of, read_outcome, trial_folder, write_state
from .session import Cluster, Resources, session


@dataclasses.dataclass(frozen=True)
class EarlyStopping:
    """Asynchronous successive halving (ASHA): at `grace` moves, and at each further power of
    `factor` times that, a trial goes on only if its error is in the best 1 / `factor` of those
    that have come so far. Trials that have met their target error are not stopped.

    Args:
        grace: moves that every trial may make.
        factor: of this many trials one goes on.

    Raises:
        ValueError: if `grace` is not a positive number of moves, or `factor` not above 1.

    Example:
        >>> from tnjax.sweep import EarlyStopping
        >>> EarlyStopping(grace=10).factor
        3

    Reference:
        Li et al., "A System for Massively Parallel Hyperparameter Tuning" (MLSys 2020).
    """

    grace: int = 5
    factor: float = 3

    def __post_init__(self) -> None:
        if isinstance(self.grace, bool) or int(self.grace) != self.grace or self.grace < 1:
            raise ValueError(f"sweep: grace must be 1 move or more, got {self.grace!r}.")
        if not 1 < self.factor < math.inf:
            raise ValueError(f"sweep: factor must be above 1, got {self.factor!r}.")


@dataclasses.dataclass(frozen=True)
class Progress:
    """What is known of a trial while the sweep runs.

    Attributes:
        trial: which one.
        state: "waiting", "running", "retried", "finished", "stopped early" or "failed".
        moves, error, num_params: of its last report.
        deaths: of workers that ran it.
        unit: number of those that share a worker.

    Example:
        >>> from tnjax.sweep import Progress, Trial
        >>> Progress(Trial({"power": 0.5}, 0)).state
        'waiting'
    """

    trial: Trial
    state: str = "waiting"
    moves: int = 0
    error: float | None = None
    num_params: int | None = None
    deaths: int = 0
    unit: int = 0


# More moves than any search makes: the end of the rungs of early stopping.
_MOST_MOVES = 100_000


def _translated(old: dict, args: tuple, given: dict) -> dict[str, Any]:
    cluster = given.get("cluster") or Cluster()
    return {"cluster": dataclasses.replace(cluster, **old["Cluster"])}


@with_old_keywords({"Cluster": {"retries": "retries"}}, _translated, "Pass it as `cluster`.")
def run_sweep(
    trials: Sequence[Trial],
    task: Task,
    folder: str | Path,
    *,
    resources: Resources | None = None,
    cluster: Cluster | None = None,
    early_stopping: EarlyStopping | None = None,
    vmap_seeds: bool = False,
    on_progress: Callable[[dict[str, Progress]], None] | None = None,
) -> tuple[Outcome, ...]:
    """Run all trials that have not ended yet, each in a folder of its own below `trials`.

    A trial whose worker dies is run again and goes on from its last checkpoint. One that raises
    is recorded as failed, and run again only when the sweep is started again, as are those that
    were under way when the sweep was interrupted.

    With `vmap_seeds`, trials that differ in nothing but their seed share one worker and one device:
    calls of the same program, with the same shapes, that they need at the same time are one call
    under `vmap` (see `together`). Each takes the moves that it takes alone. What a trial's limit of
    time counts contains waiting for the others.

    Args:
        trials: from `expand`.
        task: what to do with each.
        folder: of the sweep; on a cluster it must be one that all machines see.
        resources: what each trial gets; one core by default.
        cluster: where they run; on this machine by default.
        early_stopping: stop trials that do worse than others; none by default.
        vmap_seeds: whether seeds share a device; their tasks must not wait for each other.
        on_progress: called with what is known of all trials, by name, whenever that changes.

    Returns:
        how each ended, in the order of the trials.

    Raises:
        ImportError: if Ray is not installed.
        ValueError: if the trials cannot run there, or ended before with other data, or if seeds
            that share a device were to be stopped one by one.
        OSError: if a file cannot be read or written, or the cluster is not there.
        KeyboardInterrupt: after SIGINT or SIGTERM; the next call goes on.

    Example:
        >>> from tnjax.cli import main
        >>> from tnjax.sweep import expand, run_sweep
        >>> def task(trial, folder, resume, watch):  # the command line's task does more
        ...     options = [f"--{name}={value}" for name, value in trial.settings.items()]
        ...     main(["decompose", "x.npy", "--target-error=0.1", f"--out={folder}", *options])
        >>> trials = expand({}, grid={"power": [0.0, 0.5]}, seeds=range(3))
        >>> run_sweep(trials, task, "sweep")  # doctest: +SKIP
    """
    resources, cluster = resources or Resources(), cluster or Cluster()
    if vmap_seeds and early_stopping is not None:
        raise ValueError(
            "sweep: early stopping judges one trial against the others, but with vmap_seeds all "
            "seeds of a setting go on together; give only one of them."
        )
    folder = Path(folder).absolute()
    board = Board(trials, folder, on_progress)
    left = [n for n, trial in enumerate(trials) if board.waits(trial)]
    if left:
        units = board.seated(left, vmap_seeds)
        with (
            _storage(folder) as storage,
            session(cluster, resources),
            _interruptible(),
        ):
            for n in left:
                clear_state(trial_folder(folder, trials[n]))
            _tune(board, units, task, storage, resources, cluster, early_stopping)
        board.conclude([trials[n] for n in left])
    return outcomes_of(folder, trials)


def _tune(
    board: "Board",
    units: Sequence[Sequence[int]],
    task: Task,
    storage: Path,
    resources: Resources,
    cluster: Cluster,
    early_stopping: EarlyStopping | None,
) -> None:
    """Let Tune run those trials of the board whose numbers are in the units, each in one worker."""
    from ray import tune
    from ray.tune.schedulers import ASHAScheduler

    from ._trainable import Place, TrialRun

    scheduler = None
    if early_stopping is not None:
        scheduler = ASHAScheduler(
            time_attr="moves",
            metric="score",
            mode="min",
            max_t=_MOST_MOVES,
            grace_period=int(early_stopping.grace),
            reduction_factor=early_stopping.factor,
            stop_last_trials=False,
        )
    run = tune.with_parameters(
        TrialRun,
        trials=board.trials,
        units=units,
        task=task,
        folder=str(board.folder),
        place=Place(str(Path.cwd()), max(1, int(resources.cpus)), resources.gpus),
        wait=early_stopping is not None,
    )
    tune.Tuner(
        tune.with_resources(run, {"cpu": resources.cpus, "gpu": resources.gpus}),
        param_space={"unit": tune.grid_search(list(range(len(units))))},
        tune_config=tune.TuneConfig(
            scheduler=scheduler, max_concurrent_trials=cluster.workers, reuse_actors=True
        ),
        run_config=tune.RunConfig(
            name="sweep",
            storage_path=str(storage),
            # The search keeps its own checkpoints.
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            failure_config=tune.FailureConfig(max_failures=cluster.retries),
            callbacks=[board.callback()],
            verbose=0,
            log_to_file=False,
        ),
    ).fit()


class Board:
    """What is known of all trials, kept up by Tune's callbacks."""

    def __init__(
        self,
        trials: Sequence[Trial],
        folder: Path,
        on_progress: Callable[[dict[str, Progress]], None] | None,
    ):
        self.folder = folder
        self._on_progress = on_progress
        self.trials = list(trials)
        self.known: dict[str, Progress] = {}
        self._units: tuple[tuple[int, ...], ...] = ()
        for trial in trials:
            outcome = read_outcome(folder, trial)
            progress = Progress(trial)
            if outcome is not None and outcome.state != "failed":
                progress = Progress(
                    trial,
                    outcome.state,
                    max(0, len(outcome.path) - 1),
                    outcome.error,
                    outcome.num_params,
                )
            self.known[trial.name] = progress
        self._told()

    def waits(self, trial: Trial) -> bool:
        """Whether a trial is still to be run."""
        return self.known[trial.name].state == "waiting"

    def seated(self, left: Sequence[int], vmap_seeds: bool) -> tuple[tuple[int, ...], ...]:
        """The numbers of trials that are to be run, those that share a worker together."""
        units: dict[Any, list[int]] = {}
        for number in left:
            trial = self.trials[number]
            same = json.dumps([dict(trial.settings), trial.stamp], sort_keys=True, default=repr)
            units.setdefault(same if vmap_seeds else number, []).append(number)
        for unit, numbers in enumerate(units.values()):
            for number in numbers:
                name = self.trials[number].name
                self.known[name] = dataclasses.replace(self.known[name], unit=unit)
        self._units = tuple(map(tuple, units.values()))
        return self._units

    def update(self, number: int, **changes: Any) -> None:
        name = self.trials[number].name
        self.known[name] = dataclasses.replace(self.known[name], **changes)
        self._told()

    def begun(self, unit: int) -> None:
        """A worker has it."""
        for number in self._units[unit]:
            if read_outcome(self.folder, self.trials[number]) is None:
                self.update(number, state="running")

    def told(self, found: Sequence[dict[str, Any]]) -> None:
        """What a worker knows of its trials."""
        for known in found:
            number = known["number"]
            names = ("moves", "error", "num_params")
            changes = {name: known[name] for name in names if known[name] is not None}
            outcome = read_outcome(self.folder, self.trials[number]) if known["ended"] else None
            if outcome is not None:
                changes["state"] = outcome.state
            self.update(number, **changes)

    def ended(self, unit: int) -> None:
        """Its worker is through with it; if nothing is on record, the scheduler stopped it."""
        for number in self._units[unit]:
            outcome = read_outcome(self.folder, self.trials[number])
            self.update(number, state="stopped early" if outcome is None else outcome.state)

    def died(self, unit: int, *, again: bool) -> None:
        for number in self._units[unit]:
            if read_outcome(self.folder, self.trials[number]) is None:
                deaths = self.known[self.trials[number].name].deaths + 1
                self.update(number, state="retried" if again else "failed", deaths=deaths)

    def conclude(self, trials: Sequence[Trial]) -> None:
        """Put on record what the workers could not: who was stopped, and who has no worker left."""
        for trial in trials:
            progress, own = self.known[trial.name], trial_folder(self.folder, trial)
            if read_outcome(self.folder, trial) is not None:
                continue
            if progress.state == "stopped early":
                write_state(own, trial, "stopped early")
            elif progress.state == "failed":
                write_state(own, trial, "failed", f"its worker died {progress.deaths} times")

    def callback(self) -> Any:
        """For Tune."""
        from ._callback import Told

        return Told(self)

    def _told(self) -> None:
        if self._on_progress is not None:
            self._on_progress(self.known)


@contextlib.contextmanager
def _storage(folder: Path) -> Iterator[Path]:
    """A folder for Tune's own files, which nobody needs afterwards; for one sweep at a time."""
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder):
        for old in folder.glob(".tune-*"):  # of a sweep that was killed
            shutil.rmtree(old, ignore_errors=True)
        storage = Path(tempfile.mkdtemp(dir=folder, prefix=".tune-"))
        try:
            yield storage
        finally:
            shutil.rmtree(storage, ignore_errors=True)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Raise `ValueError` if another process has the folder; not on Windows, which cannot tell."""
    try:
        import fcntl
    except ImportError:
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ValueError(f"{folder}: another sweep is at work there.") from error
        yield
    finally:
        os.close(handle)


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """SIGINT and SIGTERM end the sweep, not only what happens to run."""

    def interrupt(number: int, frame: types.FrameType | None) -> None:
        raise KeyboardInterrupt

    with handled(interrupt):
        yield
