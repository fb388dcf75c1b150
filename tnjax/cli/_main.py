"""`main`, and one dataclass for each subcommand: its options as fields, `run` to carry it out."""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Sequence
from typing import Any

import tyro

from ._clock import counting
from ._complete import Complete
from ._compress import Compress
from ._decompose import Decompose
from ._devices import LOST, is_lost, lost_line, watched
from ._groups import grouped, listed
from ._interrupt import raised_again
from ._report import Report
from ._show import Show
from ._sweep import Sweep
from ._table_commands import Density, Fit

_COMMANDS = {
    "decompose": Decompose,
    "complete": Complete,
    "compress": Compress,
    "fit": Fit,
    "density": Density,
    "sweep": Sweep,
    "show": Show,
    "report": Report,
}


def main(arguments: Sequence[str] | None = None, *, begin: float | None = None) -> int:
    """Run the command line.

    Args:
        arguments: the words after `tnjax`; those of this process by default.
        begin: when the command began, as `time.perf_counter` counts; now by default.

    Returns:
        the exit status (0, or 2 on bad input).
    """
    begin = time.perf_counter() if begin is None else begin
    words = list(sys.argv[1:] if arguments is None else arguments)
    parsed: Any = tyro.extras.subcommand_cli_from_dict(
        {k: grouped(v) if words[:1] == [k] else listed(v) for k, v in _COMMANDS.items()},
        prog="tnjax",
        description="Learn tensor networks from data: the graph, the ranks and the cores.",
        args=words,
    )
    command = parsed.flat()
    with counting(begin):
        if getattr(command, "coordinator", None) is not None:
            return watched(command, lambda: _run(command))
        return _run(command)


def _run(command) -> int:
    try:
        with raised_again(), warnings.catch_warnings():
            warnings.showwarning = _one_line
            return command.run()
    except (ValueError, OSError, ImportError, RuntimeError) as error:
        if is_lost(error):
            print(f"tnjax: error: {lost_line('it closed its connection')}", file=sys.stderr)
            return LOST
        if isinstance(error, RuntimeError) and type(error).__name__ != "Diverged":
            raise
        print(f"tnjax: error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        more = "; pass --resume to go on from the last step" if hasattr(command, "resume") else ""
        print(f"tnjax: interrupted{more}.", file=sys.stderr)
        return 130


def _one_line(message, *_) -> None:
    print(f"tnjax: warning: {message}", file=sys.stderr)
