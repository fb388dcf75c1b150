"""When the command began: `--max-seconds` counts from there, since a person waits from there."""

from __future__ import annotations

import contextlib
import contextvars
import time
from collections.abc import Iterator

# The share of the time that the search gets in any case, however slowly JAX and data are loaded.
_SEARCH = 0.5

_begin: contextvars.ContextVar[float | None] = contextvars.ContextVar("begin", default=None)


@contextlib.contextmanager
def counting(begin: float) -> Iterator[None]:
    """What runs inside belongs to a command that began then, as `time.perf_counter` counts."""
    token = _begin.set(begin)
    try:
        yield
    finally:
        _begin.reset(token)


def left(seconds: float | None) -> float | None:
    """What is left of a time for the whole command: half of it at least, all of it outside of a
    command, and no limit (None) of none."""
    begin = _begin.get()
    if seconds is None or begin is None:
        return seconds
    return max(seconds - (time.perf_counter() - begin), _SEARCH * seconds)
