"""The table of density benchmarks on tiny data."""

import json
import runpy

import numpy as np
import pytest


def test_the_table_is_written(tmp_path):
    rng = np.random.default_rng(0)
    cluster = rng.integers(2, size=300)
    rows = (rng.random((300, 4)) < np.where(cluster, 0.9, 0.2)[:, None]).astype(int)
    for part, piece in zip(("train", "valid", "test"), np.split(rows, 3), strict=True):
        np.savetxt(tmp_path / f"toy.{part}.data", piece, fmt="%d", delimiter=",")
    main = runpy.run_path("experiments/benchmarks/density.py")["main"]
    words = ["--data", str(tmp_path), "--names", "toy", "--seeds", "1", "--chains", "1"]
    main([*words, "--max-params", "40", "--out", str(tmp_path / "out.json")])
    found = json.loads((tmp_path / "out.json").read_text())
    kinds = [line["kind"] for line in found["tables"]["toy"]["rows"]]
    assert kinds == ["Chow-Liu", "tnjax", "chain"]
    with pytest.raises(SystemExit, match="is missing"):
        main(["--data", str(tmp_path), "--names", "other"])
