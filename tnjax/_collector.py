"""The collector of cycles at rest, where the user allows it.

Tracing and imports make many small objects, none of them garbage, and the collector walks through
all of JAX again and again meanwhile: a sixth of the time of a trace, a fifth of that of the
imports. But it belongs to the whole process. So it is only switched off where TNJAX_PAUSE_GC=1 is
in the environment, which the command `tnjax` sets for its own process.
"""

import atexit
import gc
import os
import threading

_VARIABLE = "TNJAX_PAUSE_GC"


def allow() -> None:
    """For a process that is tnjax's own, and those that it starts; the user may say no.

    Nor does the process look for cycles when it ends: most of a second, for memory that the system
    takes back anyway.
    """
    os.environ.setdefault(_VARIABLE, "1")
    if os.environ[_VARIABLE] == "1":
        atexit.register(gc.freeze)


class _AtRest:
    """Without the collector, as long as any thread is inside, if that is allowed."""

    def __init__(self) -> None:
        self._lock, self._threads, self._paused = threading.Lock(), 0, False

    def __enter__(self) -> None:
        with self._lock:
            if not self._threads:
                self._paused = gc.isenabled() and os.environ.get(_VARIABLE) == "1"
                if self._paused:
                    gc.disable()
            self._threads += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._threads -= 1
            if not self._threads and self._paused:
                gc.enable()


at_rest = _AtRest()
