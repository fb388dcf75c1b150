"""Runs the code of a page, all blocks in one session, as somebody who reads it from the top does.

A block of Python is executed, or is a doctest where it has `>>>`. A block `sh` is one of commands:
those of `tnjax` are run in this process, of the others it is checked that what they name is there.
A block `text` that follows at once is what the code before it prints.

    python -m tests.docs.pages docs/tutorial.md      # writes what is printed into the page
"""

import contextlib
import doctest
import io
import math
import os
import re
import shlex
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tnjax.cli import main

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```$", re.S | re.M)
# What a command line may begin with that is not run here.
_ELSEWHERE = ("cd", "git", "make", "open", "pip", "python", "xdg-open")
_NUMBER = re.compile(r"(?<![\w.])-?\d[\d,]*\.?\d*(?:e[+-]?\d+)?(?![\w])")


class Block(NamedTuple):
    """A block of a page: its language, its text, and where that lies in the page."""

    language: str
    text: str
    start: int
    end: int


class Ran(NamedTuple):
    """A block of code, the block `text` after it (None without one), and what it printed."""

    block: Block
    shown: Block | None
    printed: str


def blocks(page: str) -> list[Block]:
    """All blocks of a page."""
    return [Block(m[1], m[2], m.start(2), m.end(2)) for m in BLOCK.finditer(page)]


def run_page(page: str, session: dict[str, Any]) -> Iterator[Ran]:
    """Run every block in the folder where we are.

    Raises:
        ValueError: for a block whose language says nothing.
    """
    found = blocks(page)
    for block, after in zip(found, [*found[1:], None], strict=True):
        if block.language not in ("python", "sh"):
            if not block.language:
                raise ValueError(f"a block without a language:\n{block.text}")
            continue
        at_once = after and not page[block.end + 3 : after.start].split("```")[0].strip()
        shown = after if after and at_once and after.language == "text" else None
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            (_run_python if block.language == "python" else _run_commands)(block.text, session)
        yield Ran(block, shown, printed.getvalue())


def _run_python(text: str, session: dict[str, Any]) -> None:
    if ">>>" in text:
        test = doctest.DocTestParser().get_doctest(text, session, "page", None, 0)
        failed, _ = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(
            test, out=sys.stderr.write, clear_globs=False
        )
        assert not failed
        session.update(test.globs)
        return
    exec(compile(text, "page", "exec"), session)


def _run_commands(text: str, session: dict[str, Any]) -> None:
    for line in text.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        if not words:
            continue
        if words[0] == "tnjax":
            _run_tnjax(words[1:])
        else:
            _check(words)


def _run_tnjax(words: list[str]) -> None:
    if words[0] in ("decompose", "complete"):
        words = [*words, "--cache", "none"]
    said = io.StringIO()
    with contextlib.redirect_stderr(said):
        try:
            status = main(words)
        except SystemExit as end:
            status = end.code
    assert status in (0, None), f"tnjax {shlex.join(words)}: {said.getvalue()}"


def _check(words: list[str]) -> None:
    """That files, targets and extras of a command are there."""
    assert words[0] in _ELSEWHERE, shlex.join(words)
    if words[0] == "python":
        script = next((word for word in words[1:] if word.endswith(".py")), None)
        assert script is None or (ROOT / script).exists(), script
    elif words[0] == "make":
        makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
        for target in words[1:]:
            assert "=" in target or re.search(rf"^{target}:", makefile, re.M), target
    elif words[0] == "pip":
        project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        for extras in re.findall(r"\[([\w,]+)\]", shlex.join(words)):
            assert set(extras.split(",")) <= set(project["optional-dependencies"]), extras


def same(shown: str, printed: str) -> bool:
    """Whether two texts agree: words exactly, numbers to 5 %, seconds not at all."""
    return _words(shown) == _words(printed) and all(
        math.isclose(a, b, rel_tol=0.05, abs_tol=1e-6)
        for a, b in zip(_numbers(shown), _numbers(printed), strict=True)
    )


def _timeless(text: str) -> str:
    return re.sub(r"\d[\d.]* s\b|seconds=[\d.]+", "SECONDS", text)


def _words(text: str) -> list[str]:
    return _NUMBER.sub("#", _timeless(text)).split()


def _numbers(text: str) -> list[float]:
    return [float(word.replace(",", "")) for word in _NUMBER.findall(_timeless(text))]


def rewritten(page: str) -> str:
    """The page with what its code prints in the blocks `text`."""
    changes = []
    for ran in run_page(page, {"__name__": "page"}):
        if ran.shown:
            changes.append((ran.shown, ran.printed))
    for shown, printed in reversed(changes):
        lines = "".join(f"{line.rstrip()}\n" for line in printed.rstrip().splitlines())
        page = page[: shown.start] + lines + page[shown.end :]
    return page


if __name__ == "__main__":
    os.environ.setdefault("MPLBACKEND", "Agg")
    for name in sys.argv[1:]:
        path = Path(name).resolve()
        with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
            text = rewritten(path.read_text(encoding="utf-8"))
        path.write_text(text, encoding="utf-8")
