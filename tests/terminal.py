"""Run a command under a pseudo-terminal of a given width, with keys pressed at the right moment."""

import dataclasses
import itertools
import os
import re
import select
import struct
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

pty = pytest.importorskip("pty", reason="pseudo-terminals are a matter of POSIX")
fcntl = pytest.importorskip("fcntl")
termios = pytest.importorskip("termios")

CTRL_C = b"\x03"

# Colors, movements of the cursor and what else a terminal takes as a command.
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[=>]|\r")
_ERASE, _UP = "\x1b[2K", re.compile(r"\x1b\[(\d*)A")
_TOKENS = re.compile(rf"{_CONTROL.pattern}|\n|[^\x1b\r\n]+")


@dataclasses.dataclass(frozen=True)
class Session:
    """What a command did.

    Attributes:
        status: exit status; negative for a signal.
        raw: all that the terminal got.
        times: seconds since the start at which something came.
    """

    status: int
    raw: str
    times: tuple[float, ...]

    @property
    def text(self) -> str:
        """What stays to be read at the end."""
        rows, row, column = [""], 0, 0
        for token in _TOKENS.findall(self.raw):
            if token == "\n":
                row += 1
                rows += [""] * (row == len(rows))
            elif token == "\r":
                column = 0
            elif token == _ERASE:
                rows[row] = ""
            elif (up := _UP.fullmatch(token)) is not None:
                row = max(0, row - int(up[1] or 1))
            elif not _CONTROL.fullmatch(token):
                padded = rows[row].ljust(column)
                rows[row] = padded[:column] + token + padded[column + len(token) :]
                column += len(token)
        return "\n".join(line.rstrip() for line in rows)

    @property
    def drawn(self) -> str:
        """All that was ever shown, what was drawn over included."""
        return _CONTROL.sub("", self.raw.replace(_ERASE, "\n"))

    @property
    def silence(self) -> float:
        """Seconds of the longest pause between two outputs, the start included."""
        marks = (0.0, *self.times)
        return max(b - a for a, b in itertools.pairwise(marks))


def run_in_terminal(
    arguments: Sequence[str | os.PathLike],
    columns: int = 80,
    *,
    keys: Sequence[tuple[str, bytes]] = (),
    before: str = "",
    folder: str | os.PathLike | None = None,
    environment: Mapping[str, str] | None = None,
    timeout: float = 400,
) -> Session:
    """Run `tnjax` with arguments under a pseudo-terminal, its output and keys included.

    Args:
        arguments: the subcommand and its options.
        columns: width of the terminal.
        keys: pairs of a text to wait for and what is then typed, one after the other.
        before: Python to run in the process before the command.
        folder: to run in.
        environment: variables to add.
        timeout: seconds after which the command is ended and the test fails.
    """
    code = f"{_TAKE}\n{before}\n{_START}"
    command = [sys.executable, "-c", code, *map(str, arguments)]
    root = str(Path(__file__).parent.parent)
    variables = {**os.environ, "TERM": "xterm-256color", "PYTHONPATH": root, **(environment or {})}
    for name in ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR"):
        variables.pop(name, None)
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    begin = time.monotonic()
    process = subprocess.Popen(
        command,
        stdin=slave,
        stdout=slave,
        stderr=slave,
        cwd=folder,
        env=variables,
        start_new_session=True,
    )
    os.close(slave)
    raw, times, left, seen = b"", [], list(keys), 0
    try:
        while True:
            if time.monotonic() - begin > timeout:
                pytest.fail(f"not over after {timeout:g} s:\n{raw.decode(errors='replace')}")
            if not select.select([master], [], [], 0.2)[0]:
                continue
            try:
                piece = os.read(master, 65536)
            except OSError:  # Linux's word for the end
                piece = b""
            if not piece:
                break
            raw += piece
            times.append(time.monotonic() - begin)
            while left and (at := raw.find(left[0][0].encode(), seen)) >= 0:
                seen = at + len(left[0][0].encode())
                os.write(master, left.pop(0)[1])
        status = process.wait(timeout=30)
    finally:
        os.close(master)
        if process.poll() is None:
            process.kill()
            process.wait()
    return Session(status, raw.decode(errors="replace"), tuple(times))


# The terminal becomes the one that Ctrl-C is pressed at; and what the console script does.
_TAKE = "import fcntl, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0)"
_START = "from tnjax import _script; sys.exit(_script.main())"
