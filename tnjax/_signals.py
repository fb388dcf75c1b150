"""Signals that ask a process to stop."""

import contextlib
import signal
import threading
import types
from collections.abc import Callable, Iterator

ASKING = (signal.SIGTERM, signal.SIGINT)


@contextlib.contextmanager
def handled(
    handler: Callable[[int, types.FrameType | None], object],
) -> Iterator[Callable[[], None]]:
    """SIGTERM and SIGINT go to `handler` inside. Does nothing outside of the main thread, which
    alone may set handlers. Yields a function that ends it early."""
    if threading.current_thread() is not threading.main_thread():
        yield lambda: None
        return
    before = {name: signal.signal(name, handler) for name in ASKING}

    def restore() -> None:
        for name, old in before.items():
            signal.signal(name, old)

    try:
        yield restore
    finally:
        restore()
