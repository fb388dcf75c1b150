"""What a sweep shows: a table on a terminal, lines elsewhere."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from ._progress import Display, Now, displayed

if TYPE_CHECKING:
    from ..sweep import Progress

    Known = dict[str, Progress]

# Trials that ended and are still shown, the newest last.
_ENDED = 12


@contextlib.contextmanager
def live_table() -> Iterator[tuple[Display, Callable[[Known], None]]]:
    """A display, and what to tell about all trials whenever that changes."""
    boards: list[Board] = []

    def board(console: Any) -> Board:
        boards.append(Board(console))
        return boards[-1]

    with displayed(table=board) as display:

        def tell(known: Known) -> None:
            for each in boards:
                each.known = dict(known)
            display.status(_words(known))

        yield display, tell


class Board:
    """The table, drawn anew a few times a second.

    Args:
        console: rich's, of the terminal.

    Attributes:
        known: of all trials by their names.
    """

    def __init__(self, console: Any):
        from rich.live import Live

        self.known: Known = {}
        self._ended: list[str] = []
        self._console, self._begin, self._status = console, time.monotonic(), "starting"
        self._live = Live(Now(self._drawn), console=console, refresh_per_second=4)
        self._live.start()

    def status(self, words: str) -> None:
        self._status = words

    def title(self, words: str) -> None:
        self.line(words)

    def line(self, words: str) -> None:
        from rich.text import Text

        self._console.print(Text(words, "bold"))

    def row(self, head: str, words: str, more: str) -> None:
        pass  # trials have their rows

    def close(self) -> None:
        self._live.stop()

    def _drawn(self) -> Any:
        known, seconds = self.known, time.monotonic() - self._begin
        if not known:
            return f"{self._status}, {seconds:.0f} s"
        for name, progress in known.items():
            if progress.state in ("finished", "stopped early", "failed"):
                if name not in self._ended:
                    self._ended.append(name)
            elif name in self._ended:
                self._ended.remove(name)
        return _table(known, self._ended[-_ENDED:], f"{self._status}; {seconds:.0f} s")


def _words(known: Known) -> str:
    count = Counter(progress.state for progress in known.values())
    words = ", ".join(f"{number} {state}" for state, number in sorted(count.items()))
    errors = [p.error for p in known.values() if p.error is not None]
    moves = sum(progress.moves for progress in known.values())
    best = f"; {moves} moves, lowest error {min(errors):.4g}" if errors else ""
    return f"{len(known)} trials: {words}{best}"


def _table(known: Known, ended: list[str], title: str):
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    table.add_column("trial", no_wrap=True, overflow="ellipsis")
    table.add_column("state")
    for name in ("moves", "parameters", "error", "workers lost"):
        table.add_column(name, justify="right")
    running = [n for n, p in known.items() if p.state in ("running", "retried")]
    for name in (*ended, *running):
        one = known[name]
        table.add_row(
            name,
            one.state,
            str(one.moves),
            "" if one.num_params is None else f"{one.num_params:,}",
            "" if one.error is None else f"{one.error:.4g}",
            str(one.deaths or ""),
        )
    return table
