"""Deadlines and requests to stop, answered in the middle of a step.

Whoever wants to be stopped says so by `interruptible`; long work inside calls `checkpoint` at
points where it may end, which raises `Stopped` once the time is over or a stop was asked for.
What has been found until then is noted (`note`), so that it is not lost. Without `interruptible`
all of this does nothing.
"""

import contextlib
import contextvars
import dataclasses
import time
from collections.abc import Callable, Iterator
from typing import Any

from ._status import Status


class Stopped(BaseException):
    """The time is over, or a stop was asked for. Like `KeyboardInterrupt` it is no `Exception`, so
    that nothing which handles errors swallows it.

    Attributes:
        status: `MAX_SECONDS` or `INTERRUPTED`.
    """

    def __init__(self, status: Status):
        super().__init__(status.message)
        self.status = status


@dataclasses.dataclass(eq=False)
class Watch:
    """What `interruptible` looks at.

    Attributes:
        deadline: in the units of `clock`; None if there is none.
        stop: whether a stop was asked for.
        outer: the watch around this one, which is looked at as well.
        noted: what was found since it was last taken: pairs of what it belongs to and itself.
    """

    deadline: float | None
    stop: Callable[[], bool] | None
    clock: Callable[[], float]
    outer: "Watch | None"
    noted: list[tuple[Any, Any]] = dataclasses.field(default_factory=list)
    _answer: Status | None = None

    def answer(self) -> Status | None:
        """Why to end, or None. Once given, it stays."""
        if self._answer is None:
            if self.deadline is not None and self.clock() > self.deadline:
                self._answer = Status.MAX_SECONDS
            elif self.stop is not None and self.stop():
                self._answer = Status.INTERRUPTED
            elif self.outer is not None:
                self._answer = self.outer.answer()
        return self._answer

    def taken(self, owner: Any) -> tuple[Any, ...]:
        """What was noted for an owner, which is then forgotten with all else."""
        found = tuple(what for whose, what in self.noted if whose is owner)
        self.noted.clear()
        return found


_current: contextvars.ContextVar[Watch | None] = contextvars.ContextVar("watch", default=None)


@contextlib.contextmanager
def interruptible(
    deadline: float | None,
    stop: Callable[[], bool] | None = None,
    *,
    clock: Callable[[], float] = time.perf_counter,
) -> Iterator[Watch | None]:
    """Let what runs inside, in this thread, be stopped.

    Args:
        deadline: when its time is over, as `clock` counts it.
        stop: asked again and again; True ends it. It must be quick.
        clock: in seconds.

    Returns:
        the watch, or the one around it if there is neither a deadline nor a stop.
    """
    outer = _current.get()
    if deadline is None and stop is None:
        yield outer
        return
    token = _current.set(Watch(deadline, stop, clock, outer))
    try:
        yield _current.get()
    finally:
        _current.reset(token)


@contextlib.contextmanager
def suspended() -> Iterator[None]:
    """Nothing is stopped inside: for the short work that saves a result."""
    token = _current.set(None)
    try:
        yield
    finally:
        _current.reset(token)


def watched() -> bool:
    """Whether anything may be stopped here."""
    return _current.get() is not None


def timed() -> bool:
    """Whether there is a deadline."""
    watch = _current.get()
    while watch is not None:
        if watch.deadline is not None:
            return True
        watch = watch.outer
    return False


def left() -> float | None:
    """Seconds until the nearest deadline, 0 if it is over; None if there is none."""
    found, watch = None, _current.get()
    while watch is not None:
        if watch.deadline is not None:
            here = max(0.0, watch.deadline - watch.clock())
            found = here if found is None else min(found, here)
        watch = watch.outer
    return found


def pending() -> Status | None:
    """Why to end now, or None."""
    watch = _current.get()
    return None if watch is None else watch.answer()


def checkpoint() -> None:
    """A point where work may end.

    Raises:
        Stopped: if it shall.
    """
    watch = _current.get()
    if watch is not None:
        status = watch.answer()
        if status is not None:
            raise Stopped(status)


def note(owner: Any, what: Any) -> None:
    """Keep what was found, in case the work ends before it is done.

    Args:
        owner: what it belongs to, such as a problem; compared by identity.
        what: such as a fit.
    """
    watch = _current.get()
    if watch is not None:
        watch.noted.append((owner, what))


def taken(owner: Any) -> tuple[Any, ...]:
    """What was noted for an owner; all that was noted is forgotten."""
    watch = _current.get()
    return () if watch is None else watch.taken(owner)
