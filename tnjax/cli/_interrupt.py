"""Signals that ask a search to stop, answered at once, even while the main thread computes."""

from __future__ import annotations

import _thread
import contextlib
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator

from .._signals import ASKING, handled

# Seconds after the second signal until the process ends in the middle of a computation, which
# Python cannot interrupt.
_GRACE = 5.0
# Seconds after which an interrupt that Python dropped is raised again.
_AGAIN = 0.05

FIRST = "stopping after this step; {again} stops at once ..."
SECOND = "stopping at once ..."


@contextlib.contextmanager
def stop_on_signals(
    tell: Callable[[str], None], close: Callable[[], None]
) -> Iterator[Callable[[], bool]]:
    """The first SIGTERM or SIGINT lets the step under way end; the next one interrupts it. Where a
    computation does not let itself be interrupted within seconds, the process ends with status 130,
    which leaves the last checkpoint to resume from.

    Python runs handlers in the main thread, between two of its own instructions, and so not while
    a program of JAX computes there. The numbers of signals also arrive at a socket, at which
    another thread listens.

    Args:
        tell: called at once with what to say, in that thread.
        close: called before the process ends in the middle of a computation.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    seen = _Seen()

    def note(number: int, _) -> None:
        seen.handled += 1
        if max(seen.handled, seen.arrived) > 1:
            seen.raised.set()
            restore()
            raise KeyboardInterrupt

    def hear(number: int) -> None:
        seen.arrived += 1
        _answer(seen, number, tell, close)

    with handled(note) as restore, heard(hear):
        try:
            yield lambda: seen.handled > 0
        finally:
            seen.raised.set()


@contextlib.contextmanager
def heard(hear: Callable[[int], None]) -> Iterator[None]:
    """SIGTERM and SIGINT, as far as they have handlers, are also told to another thread, at once.

    Args:
        hear: called there with the number of each.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    there, here = socket.socketpair()
    here.setblocking(False)

    def listen() -> None:
        while numbers := there.recv(16):
            for number in numbers:
                if number in ASKING:
                    hear(number)

    listener = threading.Thread(target=listen, name="tnjax signals", daemon=True)
    before = signal.set_wakeup_fd(here.fileno(), warn_on_full_buffer=False)
    listener.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        here.close()
        listener.join(timeout=2)
        there.close()


@contextlib.contextmanager
def raised_again() -> Iterator[None]:
    """A `KeyboardInterrupt` that Python drops is raised again a moment later, and not printed.

    Python drops the exceptions of finalizers and of the callbacks of its garbage collector; a
    signal that is handled while one runs would be lost, and the command would run to its end.
    """
    before = sys.unraisablehook
    timers: list[threading.Timer] = []

    def dropped(what) -> None:
        if what.exc_type is KeyboardInterrupt:
            timers.append(threading.Timer(_AGAIN, _interrupt))
            timers[-1].daemon = True
            timers[-1].start()
        else:
            before(what)

    sys.unraisablehook = dropped
    try:
        yield
    finally:
        sys.unraisablehook = before
        for timer in timers:
            timer.cancel()


def _interrupt() -> None:
    """A SIGINT for the main thread, which ends its system calls too where signals can do that."""
    main = threading.main_thread().ident
    if main is not None and hasattr(signal, "pthread_kill"):
        signal.pthread_kill(main, signal.SIGINT)
    else:
        _thread.interrupt_main()


class _Seen:
    """Signals that came, and those that the main thread knows of."""

    def __init__(self):
        self.arrived = self.handled = 0
        self.raised = threading.Event()


def _answer(
    seen: _Seen, number: int, tell: Callable[[str], None], close: Callable[[], None]
) -> None:
    if seen.arrived == 1:
        tell(FIRST.format(again="Ctrl-C again" if number == signal.SIGINT else "another signal"))
    elif seen.arrived == 2:
        tell(SECOND)
        threading.Thread(target=_end_of_grace, args=(seen, close), daemon=True).start()


def _end_of_grace(seen: _Seen, close: Callable[[], None]) -> None:
    if seen.raised.wait(_GRACE):
        return
    with contextlib.suppress(Exception):
        close()
        print(
            "tnjax: interrupted in the middle of a computation; pass --resume to go on from the "
            "last step.",
            file=sys.stderr,
            flush=True,
        )
    os._exit(130)
