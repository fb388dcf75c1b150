"""What a running trial tells, and is told."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, runtime_checkable

from .._search.result import Step
from ._trials import Trial


@dataclasses.dataclass(frozen=True)
class Watch:
    """The two ends of a search that somebody watches, for `search(on_step=, stop=)`.

    Attributes:
        on_step: called with each accepted move.
        stop: whether to end at the next chance.

    Example:
        >>> from tnjax.sweep import Watch
        >>> moves = []
        >>> watch = Watch(on_step=moves.append, stop=lambda: len(moves) > 9)
        >>> watch.stop()
        False
    """

    on_step: Callable[[Step], None]
    stop: Callable[[], bool]


@runtime_checkable
class Task(Protocol):
    """What a sweep does with a trial. It is sent to the workers, so it must be picklable.

    Example:
        >>> from tnjax.sweep import Task
        >>> def touch(trial, folder, resume, watch):
        ...     (folder / "result.json").write_text("{}")
        >>> isinstance(touch, Task)
        True
    """

    def __call__(self, trial: Trial, folder: Path, resume: bool, watch: Watch) -> None:
        """Run a trial.

        Args:
            trial: which one.
            folder: to leave a run folder in, with a `result.json`.
            resume: whether there are checkpoints in the folder to go on from.
            watch: to report to.

        Raises:
            Exception: if the trial cannot be done; it is recorded, and not tried again in this
                sweep.
        """
        ...
