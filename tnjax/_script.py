"""The console script `tnjax`. It lies beside the package so that it can say something before that
is imported, which takes seconds, JAX most of them."""

import contextlib
import os
import sys
import threading
import time
from collections.abc import Iterator

# Subcommands that take longer than their import.
_LONG = ("decompose", "complete", "compress", "sweep")
# Seconds between two lines off a terminal, on a machine that is busy.
_EVERY = 6.0
_ERASE = "\r\x1b[2K"


def main() -> int:
    """Run the command line; returns the exit status."""
    begin = time.perf_counter()
    with _told(starting(sys.argv[1:])):
        from tnjax._collector import allow
        from tnjax.cli import main

        allow()  # this process is the command's own
    status = main(begin=begin)
    _leave_compilations(status)
    return status


def _leave_compilations(status: int) -> None:
    """End the process here if XLA still compiles what nobody waits for."""
    compiling = sys.modules.get("tnjax._compiling")
    if compiling is not None and compiling.unfinished():
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                with contextlib.suppress(OSError, ValueError):
                    stream.flush()
        os._exit(status)


@contextlib.contextmanager
def _told(words: str) -> Iterator[None]:
    """Words on standard error meanwhile: on a terminal until there is something better to show,
    elsewhere again and again. Where they cannot be written, nothing happens."""
    if not words or sys.stderr is None:
        yield
        return
    drawn = sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb"
    loaded = threading.Event()

    def write(text: str) -> None:
        with contextlib.suppress(OSError, ValueError):
            print(text, end="", file=sys.stderr, flush=True)

    def repeat() -> None:
        while not loaded.wait(_EVERY):
            write(f"{words}\n")

    write(words if drawn else f"{words}\n")
    if not drawn:
        threading.Thread(target=repeat, daemon=True).start()
    try:
        yield
    finally:
        loaded.set()
        if drawn:
            write(_ERASE)


def starting(arguments: list[str]) -> str:
    """What to say first; nothing for a command that ends at once, or in one of several processes
    but the first."""
    if not arguments or arguments[0] not in _LONG or {"-h", "--help"} & set(arguments):
        return ""
    for name, value in zip(arguments, [*arguments[1:], ""], strict=True):
        name, _, own = name.replace("_", "-").partition("=")
        if name == "--process-id" and (own or value) != "0":
            return ""
    return f"tnjax {arguments[0]}: loading JAX ..."
