"""A trial as Ray Tune runs it, in a worker process. Imported only where Ray is installed."""

import os
import queue
import shutil
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ray import tune

from .._status import Status
from ..search import Step
from ._records import CHECKPOINTS, clear_state, result_status, trial_folder, write_state
from ._trials import Trial
from ._watch import Task, Watch


class TrialRun(tune.Trainable):
    """The search of a trial in a thread; a step of Tune is one accepted move, or several.

    A worker that dies is replaced by Tune, and the trial goes on from its last checkpoint. One
    worker runs many trials, one after the other, so that JAX starts once and programs are shared.
    """

    def setup(
        self,
        config: dict[str, Any],
        *,
        trials: Sequence[Trial],
        task: Task,
        folder: str,
        home: str,
        threads: int,
        share: float,
        wait: bool,
    ) -> None:
        os.environ.setdefault("NPROC", str(threads))  # XLA's word for the threads of its pool
        if 0 < share < 1:
            os.environ.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", f"{0.9 * share:.3f}")
        if Path(home).is_dir():
            os.chdir(home)  # paths are meant as where the sweep was started
        self._trials, self._task, self._folder = trials, task, Path(folder)
        self._wait = wait  # after every move, for Tune's word whether to go on
        self._thread: threading.Thread | None
        # Nothing begins before the first step: Tune makes workers ahead of time, and may then give
        # their trial to another one that has become free.
        self._number, self._thread = int(config["number"]), None

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._end()
        self._number, self._thread = int(new_config["number"]), None
        return True

    def cleanup(self) -> None:
        self._end()

    def step(self) -> dict[str, Any]:
        """Wait for the next move, or the end; returns the newest."""
        if self._thread is None:
            self._begin()
        else:
            self._go.release()
        events = [self._events.get()]
        while not self._events.empty():
            events.append(self._events.get())
        for step in events:
            if step is None:
                self._done = True
                continue
            self._moves += 1
            self._best = min(self._best, step.error)
            self._last = {"error": step.error, "num_params": step.num_params}
        # A trial that has met its target is not worse than one that met it by more.
        target = self._trials[self._number].settings.get("target_error") or 0.0
        score = max(self._best, target)
        return {**self._last, "moves": self._moves, "score": score, "done": self._done}

    def _begin(self) -> None:
        trial = self._trials[self._number]
        self._events: queue.SimpleQueue[Step | None] = queue.SimpleQueue()
        self._halt, self._go = threading.Event(), threading.Semaphore(0)
        self._done, self._best = False, float("inf")
        self._last: dict[str, Any] = {"error": None, "num_params": None}
        own = trial_folder(self._folder, trial)
        saved = sorted((own / CHECKPOINTS).glob("checkpoint-*.safetensors"))
        # Checkpoints are counted, and nearly all are of a move.
        self._moves = int(saved[-1].stem.split("-")[1]) if saved else 0
        if not saved:
            shutil.rmtree(own, ignore_errors=True)
        clear_state(own)
        for part in own.glob(".partial-*"):  # of a worker that was killed while it wrote
            shutil.rmtree(part, ignore_errors=True)
        own.parent.mkdir(parents=True, exist_ok=True)
        self._thread = threading.Thread(
            target=self._work, args=(trial, own, bool(saved)), daemon=True
        )
        self._thread.start()

    def _tell(self, step: Step) -> None:
        self._events.put(step)
        if self._wait:
            self._go.acquire()

    def _work(self, trial: Trial, own: Path, resume: bool) -> None:
        try:
            self._task(trial, own, resume, Watch(self._tell, self._halt.is_set))
            if result_status(own) is not Status.INTERRUPTED:
                write_state(own, trial, "finished")
        except Exception as error:
            write_state(own, trial, "failed", " ".join(f"{error or type(error).__name__}".split()))
        finally:
            self._events.put(None)

    def _end(self) -> None:
        """Let the search end after the move under way, with all that it found on disk."""
        if self._thread is not None:
            self._halt.set()
            self._go.release()
            self._thread.join()
