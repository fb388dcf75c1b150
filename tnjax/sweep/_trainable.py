"""Trials as Ray Tune runs them, in a worker process. Imported only where Ray is installed."""

import dataclasses
import functools
import os
import queue
import shutil
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ray import tune

from .._search.result import Step
from .._status import Status
from .._together import together
from ..contract.cost import parse_bytes
from ._trials import Trial
from ._watch import Task, Watch
from .records import CHECKPOINTS, read_outcome, result_status, trial_folder, write_state


@dataclasses.dataclass(frozen=True)
class Place:
    """Where a worker works.

    Attributes:
        home: the folder in which the sweep was started.
        threads: that JAX computes with.
        share: of a device.
    """

    home: str
    threads: int
    share: float

    def enter(self) -> None:
        """Before JAX starts: its threads, its part of a device's memory, the folder."""
        os.environ.setdefault("NPROC", str(self.threads))  # XLA's word for the size of its pool
        if 0 < self.share < 1:
            os.environ.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", f"{0.9 * self.share:.3f}")
        if Path(self.home).is_dir():
            os.chdir(self.home)  # paths are meant as where the sweep was started


class TrialRun(tune.Trainable):
    """The searches of a unit, which is a trial, or several whose programs are run together, in a
    thread; a step of Tune is one accepted move, or several.

    A worker that dies is replaced by Tune, and those trials that had not ended go on from their
    last checkpoints. One worker runs many units, one after the other, so that JAX starts once and
    programs are shared.
    """

    def setup(
        self,
        config: dict[str, Any],
        *,
        trials: Sequence[Trial],
        units: Sequence[Sequence[int]],
        task: Task,
        folder: str,
        place: Place,
        wait: bool,
    ) -> None:
        place.enter()
        self._trials, self._units = trials, units
        self._task, self._folder = task, Path(folder)
        self._wait = wait  # after every move, for Tune's word whether to go on
        self._thread: threading.Thread | None
        # Nothing begins before the first step: Tune makes workers ahead of time, and may then give
        # their unit to another one that has become free.
        self._unit, self._thread = int(config["unit"]), None

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._end()
        self._unit, self._thread = int(new_config["unit"]), None
        return True

    def cleanup(self) -> None:
        self._end()

    def step(self) -> dict[str, Any]:
        """Wait for the next move, or the end; returns what is known of each trial."""
        if self._thread is None:
            self._begin()
        else:
            self._go.release()
        events = [self._events.get()]
        while not self._events.empty():
            events.append(self._events.get())
        for event in events:
            if event is None:
                self._done = True
                continue
            number, step = event
            known = self._known[number]
            if step is None:
                known["ended"] = True
                continue
            known |= {"moves": known["moves"] + 1, "error": step.error}
            known["num_params"] = step.num_params
            # A trial that has met its target is not worse than one that met it by more.
            target = self._trials[number].settings.get("target_error") or 0.0
            self._score = min(self._score, max(step.error, target))
        told = [{"number": number, **known} for number, known in self._known.items()]
        moves = sum(known["moves"] for known in self._known.values())
        return {"told": told, "moves": moves, "score": self._score, "done": self._done}

    def _begin(self) -> None:
        self._events: queue.SimpleQueue[tuple[int, Step | None] | None] = queue.SimpleQueue()
        self._halt, self._go = threading.Event(), threading.Semaphore(0)
        self._done, self._score = False, float("inf")
        self._known: dict[int, dict[str, Any]] = {}
        searches = []
        for number in self._units[self._unit]:
            trial = self._trials[number]
            if read_outcome(self._folder, trial) is not None:
                continue  # a worker that died had come to its end
            own = trial_folder(self._folder, trial)
            saved = sorted((own / CHECKPOINTS).glob("checkpoint-*.safetensors"))
            # Checkpoints are counted, and nearly all are of a move.
            moves = int(saved[-1].stem.split("-")[1]) if saved else 0
            if not saved:
                shutil.rmtree(own, ignore_errors=True)
            for part in own.glob(".partial-*"):  # of a worker that was killed while it wrote
                shutil.rmtree(part, ignore_errors=True)
            own.parent.mkdir(parents=True, exist_ok=True)
            self._known[number] = {
                "moves": moves,
                "error": None,
                "num_params": None,
                "ended": False,
            }
            searches.append(functools.partial(self._work, number, own, bool(saved)))
        self._thread = threading.Thread(target=self._run, args=(searches,), daemon=True)
        self._thread.start()

    def _run(self, searches: Sequence[Callable[[], None]]) -> None:
        try:
            if len(searches) > 1:
                trial = self._trials[self._units[self._unit][0]]
                limit = trial.settings.get("memory_limit")
                together(searches, max_bytes=None if limit is None else parse_bytes(limit))
            else:
                for search in searches:
                    search()
        finally:
            self._events.put(None)

    def _tell(self, number: int, step: Step) -> None:
        self._events.put((number, step))
        if self._wait:
            self._go.acquire()

    def _work(self, number: int, own: Path, resume: bool) -> None:
        trial, tell = self._trials[number], functools.partial(self._tell, number)
        try:
            self._task(trial, own, resume, Watch(tell, self._halt.is_set))
            if result_status(own) is not Status.INTERRUPTED:
                write_state(own, trial, "finished")
        except Exception as error:
            write_state(own, trial, "failed", " ".join(f"{error or type(error).__name__}".split()))
        finally:
            self._events.put((number, None))

    def _end(self) -> None:
        """Let the searches end after the moves under way, with all that they found on disk."""
        if self._thread is not None:
            self._halt.set()
            self._go.release()
            self._thread.join()
