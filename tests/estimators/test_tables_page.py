"""The blocks of docs/tables.md, one after the other."""

import re
import shlex
from pathlib import Path

from tests.cli_helpers import run

PAGE = Path(__file__).parents[2] / "docs" / "tables.md"
BLOCKS = re.findall(r"^```(python|sh)\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.S | re.M)


def test_the_blocks_of_the_page_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    for kind, text in BLOCKS:
        if kind == "python":
            exec(compile(text, str(PAGE), "exec"), names)
            continue
        for line in text.splitlines():
            program, *words = shlex.split(line)
            assert program == "tnjax"
            status, _, err = run(*words)
            assert (status, err) == (0, ""), line
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("True [")
    assert said[1].startswith("True [[")
    assert float(said[-1]) > 0.3
