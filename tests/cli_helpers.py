"""What tests of the command line share: run it, look at folders, check refusals."""

import contextlib
import io
import json
import re

from tnjax.cli import main


def run(*arguments, progress: bool = False) -> tuple[int, str, str]:
    """Exit status, standard output, standard error, without the lines of progress by default."""
    words = [str(word) for word in arguments]
    if words[0] in ("decompose", "complete", "fit", "density"):
        words += ["--cache", "none"]
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = main(words)
        except SystemExit as end:
            status = end.code
    said = err.getvalue()
    return status, out.getvalue(), said if progress else without_progress(said)


def without_progress(text: str) -> str:
    """Standard error without the lines of progress, whose number depends on the machine."""
    return "".join(
        line for line in text.splitlines(keepends=True) if not re.match(r" *\d+\.\d s  \S", line)
    )


def snapshot(folder) -> dict[str, bytes | None]:
    """Everything below a folder: contents of files, None for folders."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }


def strict_json(path) -> dict:
    def refuse(word):
        raise ValueError(f"{word} is no JSON")

    return json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)


def check_refusal(folder, *arguments) -> str:
    """Exit status 2, one line on standard error, nothing written; returns that line."""
    before = snapshot(folder)
    status, out, err = run(*arguments)
    assert status == 2
    assert out == ""
    assert err.startswith("tnjax: error: ")
    assert err.endswith("\n")
    assert err.count("\n") == 1
    assert "Traceback" not in err
    assert snapshot(folder) == before
    return err
