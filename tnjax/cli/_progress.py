"""What a command shows on standard error while it works: words and numbers, never a result.

On a terminal these are a line for each move and one line that is always up to date; elsewhere plain
lines, at least one every ten seconds. An error of the display is one warning, and it stays silent
from then on: what was computed does not depend on what is shown.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from .._search.result import Progress, Step

# Seconds without a line, off a terminal, after which one is written: of a command that has not
# said anything yet (what is refused at once stays one line), of news, and if there are none. The
# issue of ten seconds leaves room for a machine that is busy.
_FIRST, _NEWS, _SILENT = 0.8, 4.0, 6.0
# Seconds between two looks at the clock.
_LOOK = 0.2
# Drawings a second on a terminal, and what turns there.
_FRAMES, _SPINNER = 4, "-\\|/"
# Columns of the first word in a row of the table, and the names of all.
_MOVE = 12
_HEAD = f"{'move':<{_MOVE}}{'rank':>5}{'params':>9}{'compr.':>9}{'error':>11}{'s':>7}"


@runtime_checkable
class Screen(Protocol):
    """Where a display writes to."""

    def status(self, words: str) -> None:
        """What is going on now, in place of what was before."""
        ...

    def title(self, words: str) -> None:
        """What all that follows is about."""
        ...

    def line(self, words: str) -> None:
        """Something to read at once."""
        ...

    def row(self, head: str, words: str, more: str) -> None:
        """An accepted move: names of the columns, the columns, and what is less important."""
        ...

    def close(self) -> None:
        """The end; `line` and `status` do nothing afterwards."""
        ...


class Display:
    """What a command tells a person; its methods never raise.

    Args:
        screen: where to; nowhere by default, for one that nobody looks at.
        keeps: what a person may do to end a search and keep what it has found.
    """

    def __init__(self, screen: Screen | None = None, keeps: str = "Ctrl-C"):
        self._screen, self._keeps = screen, keeps
        self._error, self._met = "error", False

    def _show(self, how: str, *what: Any) -> None:
        screen = self._screen
        if screen is None:
            return
        try:
            getattr(screen, how)(*what)
        except Exception as error:
            self._ended(error)

    def _ended(self, error: Exception) -> None:
        """Nothing is shown any more."""
        screen, self._screen = self._screen, None
        if screen is not None:
            with contextlib.suppress(Exception):
                screen.close()
            warn(f"progress can no longer be shown ({type(error).__name__}: {error})")

    def status(self, words: str) -> None:
        """What is going on now, such as "reading photo.png"."""
        self._show("status", words)

    def line(self, words: str) -> None:
        """Something to read at once, such as "stopping after this step"."""
        self._show("line", words)

    def title(self, words: str) -> None:
        """What the search is about."""
        self._show("title", words)

    def named(self, error: str) -> None:
        """How the error of the search is called from now on."""
        self._error = error

    def row(self, head: str, words: str, more: str = "") -> None:
        """A line of a table: names of its columns, the columns, and what is less important."""
        self._show("row", head, words, more)

    def on_step(self, step: Step) -> None:
        """For `search(on_step=)`."""
        try:
            words = (
                f"{step.move!s:<{_MOVE}}{'' if step.rank is None else step.rank:>5}"
                f"{step.num_params:>9}{step.structure.compression_ratio:>8.4g}x{step.error:>11.4g}"
                f"{step.seconds:>7.2f}"
            )
            more = f"  {step.programs} programs in {step.compile_seconds:.1f} s"
        except Exception as error:
            return self._ended(error)
        return self.row(_HEAD, words, more if step.programs else "")

    def on_progress(self, progress: Progress) -> None:
        """For `Setup(on_progress=)`."""
        try:
            self._on_progress(progress)
        except Exception as error:
            self._ended(error)

    def _on_progress(self, progress: Progress) -> None:
        numbers = (
            f"{progress.num_params} parameters, {self._error} {progress.error:.4g}, "
            f"{progress.fitted} fitted"
        )
        if progress.target_met and not self._met:
            self._met = True
            more = f"; {progress.doing}; {self._keeps} keeps what is there"
            self.line(
                f"target met with {progress.best_params} parameters after {progress.seconds:.1f} s "
                f"of search{'' if progress.doing == 'finished' else more}"
            )
        self.status(f"{progress.doing}: {numbers}")

    def close(self) -> None:
        """End what is shown; other methods do nothing afterwards."""
        self._show("close")
        self._screen = None


@contextlib.contextmanager
def displayed(
    *, wanted: bool = True, table: Callable[[Any], Screen] | None = None
) -> Iterator[Display]:
    """The display of a command, on a terminal or for a file.

    Args:
        wanted: whether this process shows anything.
        table: makes what is shown on a terminal out of rich's console.
    """
    display = Display()
    if wanted and sys.stderr is not None:
        try:
            terminal = _terminal()
            keeps = "Ctrl-C" if terminal else "SIGINT or SIGTERM"
            screen = (table or Table)(terminal) if terminal else Lines(sys.stderr)
            display = Display(screen, keeps)
        except Exception as error:
            warn(f"progress cannot be shown ({type(error).__name__}: {error})")
    try:
        yield display
    finally:
        display.close()


def warn(words: str) -> None:
    """One line of warning, where even that may fail."""
    if sys.stderr is None:
        return
    with contextlib.suppress(Exception):
        print(f"tnjax: warning: {words}", file=sys.stderr, flush=True)


@contextlib.contextmanager
def only_shown(what: str) -> Iterator[None]:
    """Inside is made what is only looked at: an error there is a warning."""
    try:
        yield
    except Exception as error:
        words = " ".join(f"{type(error).__name__}: {error}".split())
        warn(f"{what} could not be made ({words}); the result is whole")


def _terminal() -> Any:
    """Rich's console, where standard error is a terminal that can move its cursor."""
    if not sys.stderr.isatty():
        return None
    from rich.console import Console

    console = Console(stderr=True)
    return console if console.is_terminal and not console.is_dumb_terminal else None


class Lines:
    """Plain lines with the seconds since the start, written by whoever has news, and by a thread
    while nobody has.

    Args:
        stream: of text, to write to.
    """

    def __init__(self, stream: Any):
        self._stream, self._begin = stream, time.monotonic()
        self._last, self._words, self._news = self._begin, "starting", True
        self._spoken, self._failed = False, None
        self._lock, self._over = threading.RLock(), threading.Event()
        self._thread = threading.Thread(target=self._watch, name="tnjax progress", daemon=True)
        self._thread.start()

    def status(self, words: str) -> None:
        with self._lock:
            self._news = self._news or words != self._words
            self._words = words
            if self._due():
                self._write(words)

    def title(self, words: str) -> None:
        self.status(words)

    def line(self, words: str) -> None:
        with self._lock:
            if self._failed is not None:
                raise self._failed
            self._write(words)

    def row(self, head: str, words: str, more: str) -> None:
        pass  # `status` says what there is after it

    def close(self) -> None:
        self._over.set()
        if self._thread is not threading.current_thread():
            self._thread.join(timeout=2)

    def _due(self) -> bool:
        if self._failed is not None:
            raise self._failed
        after = (_NEWS if self._news else _SILENT) if self._spoken else _FIRST
        return time.monotonic() - self._last >= after

    def _write(self, words: str) -> None:
        now = time.monotonic()
        print(f"{now - self._begin:7.1f} s  {words}", file=self._stream, flush=True)
        self._last, self._spoken = now, True
        self._news = self._news and words != self._words

    def _watch(self) -> None:
        while not self._over.wait(_LOOK):
            with self._lock:
                try:
                    if self._due():
                        self._write(self._words)
                except Exception as error:  # told to the next one who has something to say
                    self._failed = error
                    return


class Table:
    """A line for each move, and below them what is going on, drawn anew a few times a second.

    Args:
        console: rich's, of the terminal.
    """

    def __init__(self, console: Any):
        from rich.live import Live

        self._console, self._begin, self._head = console, time.monotonic(), ""
        self._words = "starting"
        self._live = Live(
            Now(self._now), console=console, refresh_per_second=_FRAMES, transient=True
        )
        self._live.start()

    def _now(self) -> str:
        seconds = time.monotonic() - self._begin
        return f"{_SPINNER[int(_FRAMES * seconds) % len(_SPINNER)]} {self._words}, {seconds:.0f} s"

    def status(self, words: str) -> None:
        self._words = words

    def title(self, words: str) -> None:
        self.line(words)
        self._words = "fitting the start"

    def line(self, words: str) -> None:
        from rich.markup import escape

        self._console.print(f"[bold]{escape(words)}[/bold]", highlight=False)

    def row(self, head: str, words: str, more: str) -> None:
        from rich.text import Text

        if head != self._head:
            self._head = head
            self._console.print(Text(head, "dim"), no_wrap=True, overflow="ellipsis")
        line = Text(words).append(more, "dim")
        self._console.print(line, no_wrap=True, overflow="ellipsis")

    def close(self) -> None:
        self._live.stop()


class Now:
    """What is made anew whenever it is drawn; an error there leaves a gap in the picture.

    Args:
        make: text for one line, or anything that rich can draw.
    """

    def __init__(self, make: Callable[[], Any]):
        self._make = make

    def __rich_console__(self, console: Any, options: Any) -> Iterator[Any]:
        from rich.text import Text

        with contextlib.suppress(Exception):
            made = self._make()
            text = isinstance(made, str)
            yield Text(made, no_wrap=True, overflow="ellipsis") if text else made
