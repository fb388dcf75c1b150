"""XLA's compilation in a thread that one can leave.

A large program compiles for up to a minute, and nothing interrupts XLA meanwhile. Where somebody
may want to stop (`_interrupt`), another thread compiles, and this one looks now and then whether
the time is over. A compilation that was left goes on to its end; Python waits for it when it
ends, unless the process is left by `os._exit` (`unfinished`).
"""

import threading
from collections.abc import Callable
from typing import Any

from . import _interrupt

# Seconds between two looks; a compilation that is done is taken at once.
_LOOK = 0.05
_left: list[threading.Thread] = []


def finished(make: Callable[[], Any]) -> Any:
    """What `make()` gives.

    Args:
        make: a call that releases the interpreter's lock while it works, such as `compile` of a
            lowered program. It must not need what belongs to this thread.

    Raises:
        Stopped: as `_interrupt.checkpoint`, while it works. It then goes on by itself.
    """
    if not _interrupt.watched():
        return make()
    found: list[Any] = []
    failed: list[BaseException] = []

    def work() -> None:
        try:
            found.append(make())
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=work, name="tnjax: compiling")
    thread.start()
    while thread.is_alive():
        thread.join(_LOOK)
        if thread.is_alive() and _interrupt.pending() is not None:
            _left.append(thread)
            _interrupt.checkpoint()
    if failed:
        raise failed[0]
    return found[0]


def unfinished() -> bool:
    """Whether a compilation that was left is still going on."""
    _left[:] = [thread for thread in _left if thread.is_alive()]
    return bool(_left)
