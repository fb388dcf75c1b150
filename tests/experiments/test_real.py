"""The benchmark on real data, at a small setting, and its data."""

import importlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "experiments" / "benchmarks"))


@pytest.fixture(scope="module")
def real():
    return importlib.import_module("real")


@pytest.mark.filterwarnings("ignore:Trying to compute SVD:UserWarning")
def test_a_small_table(real, tmp_path, capsys):
    out = tmp_path / "real.json"
    methods = ["tree", "fixed svd", "svd of the image", "tensorly tt", "tensorly tucker"]
    options = ["--data", "astronaut", "--size", "64", "--errors", "0.2", "--out", str(out)]
    rows = real.main([*options, "--methods", *methods, "--max-seconds", "20"])
    assert [row["method"] for row in rows] == methods
    tensor = real.load("astronaut", 64)
    assert tensor.shape == (4,) * 6
    for row in rows:
        assert row["error"] <= 0.2
    tree, fixed, svd, *_ = rows
    assert tree["params"] <= fixed["params"] <= svd["params"]
    s = np.linalg.svd(tensor.reshape(64, 64), compute_uv=False)
    rank = svd["params"] // 128
    assert np.linalg.norm(s[rank:]) <= 0.2 * np.linalg.norm(s) < np.linalg.norm(s[rank - 1 :])
    record = json.loads(out.read_text())
    assert len(record["rows"]) == len(methods)
    assert "fewer than" in capsys.readouterr().out
    assert sum(np.prod(shape) for shape in _core_shapes(tree["structure"])) == tree["params"]


def _core_shapes(structure):
    for node, legs in enumerate(structure["legs"]):
        bonds = [edge["rank"] for edge in structure["edges"] if node in edge["nodes"]]
        yield [structure["dims"][mode] for mode in legs] + bonds


def test_tensorly_rows_keep_the_error(real):
    tensor = np.random.default_rng(0).standard_normal((4, 5, 6))
    for name in ("tt", "tucker", "cp"):
        row = real._tensorly(name, tensor, 0.6, 20.0)
        assert row["error"] <= 0.6
        assert row["params"] < 2 * tensor.size


def test_images_have_the_size_they_say(real):
    for name in real.IMAGES:
        pixels = real.datasets.image(name)
        assert pixels.shape == (256, 256)
        assert 0 <= pixels.min() < pixels.max() <= 1
    assert real.load("kinetic").shape == (64, 12, 10, 60)
