"""The live table of a sweep on a terminal."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..sweep import Progress

    Known = dict[str, Progress]

# Trials that ended and are still shown, the newest last.
_ENDED = 12


@contextlib.contextmanager
def live_table() -> Iterator[Callable[[Known], None] | None]:
    """What to tell about all trials, to see it as a table; None where there is no terminal."""
    from rich.console import Console
    from rich.live import Live

    console = Console(stderr=True)
    if not console.is_terminal:
        yield None
        return
    ended: list[str] = []
    begin = time.monotonic()
    with Live(console=console, refresh_per_second=4) as live:

        def tell(known: Known) -> None:
            for name, progress in known.items():
                if progress.state in ("finished", "stopped early", "failed"):
                    if name not in ended:
                        ended.append(name)
                elif name in ended:
                    ended.remove(name)
            live.update(_table(known, ended[-_ENDED:], time.monotonic() - begin))

        yield tell


def _table(known: Known, ended: list[str], seconds: float):
    from rich.table import Table

    count = {}
    for progress in known.values():
        count[progress.state] = count.get(progress.state, 0) + 1
    words = ", ".join(f"{number} {state}" for state, number in sorted(count.items()))
    table = Table(title=f"{len(known)} trials: {words}; {seconds:.0f} s", title_justify="left")
    table.add_column("trial")
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
