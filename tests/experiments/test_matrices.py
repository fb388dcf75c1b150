"""The benchmark of matrices with entries missing, at a small setting."""

import importlib
import json
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2] / "experiments" / "benchmarks"))


def test_a_small_table(tmp_path, capsys):
    matrices = importlib.import_module("matrices")
    out = tmp_path / "matrices.json"
    words = ["--seeds", "1", "--rows", "40", "--ranks", "2", "--gaps", "window"]
    (row,) = matrices.main([*words, "--out", str(out)])
    matrix, missing = matrices.planted((40, 32), 2, "window", 0)
    assert np.linalg.matrix_rank(matrix) == 2
    assert (missing.sum(1) == 16).all()
    assert row["runs"][0]["found"], row
    assert row["runs"][0]["params"] == 2 * (40 + 32)
    assert json.loads(out.read_text())["matrices"][0]["runs"] == row["runs"]
    assert "1 of 1" in capsys.readouterr().out
