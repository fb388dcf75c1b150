"""Planted structures are recovered; the benchmark, the experiment and the notebook run."""

import csv
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from tnjax import Decomposition, search

ROOT = Path(__file__).parents[2]
BENCHMARKS = ROOT / "experiments" / "benchmarks"
REFERENCE = ROOT.parent / "shared" / "reference" / "greedy_numpy.py"


def load(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module  # so that the benchmark finds the families beside it
    spec.loader.exec_module(module)
    return module


families = load(BENCHMARKS / "families.py")


@pytest.mark.slow
@pytest.mark.parametrize("cores", ["normal", "uniform"])
@pytest.mark.parametrize("name", families.ORDER_4)
def test_order_4_structures_are_found(name, cores):
    structure = families.ORDER_4[name]
    tensor = families.planted_tensor(structure, cores=cores, seed=0)
    result = search(Decomposition(tensor), key=jax.random.key(0), target_error=1e-3)
    assert result.error <= 1e-3
    assert result.num_params <= structure.num_params


@pytest.mark.slow
def test_single_precision_suffices_for_a_planted_family():
    structure, hits = families.ORDER_4["ring"], 0
    for seed in range(5):
        tensor = families.planted_tensor(structure, cores="normal", seed=seed, dtype=np.float32)
        result = search(Decomposition(tensor), key=jax.random.key(seed), target_error=1e-3)
        assert result.network.dtype == np.float32
        hits += result.error <= 1e-3 and result.num_params <= structure.num_params
    assert hits >= 4


@pytest.mark.slow
def test_benchmark_of_planted_structures_writes_a_table(tmp_path, capsys):
    planted = load(BENCHMARKS / "planted.py")
    out = tmp_path / "planted.json"
    command = ["--families", "paper", "--structures", "tucker", "train", "--cores", "normal"]
    command += ["--seeds", "1", "--out", str(out)]
    if REFERENCE.exists():
        command += ["--reference", str(REFERENCE)]
    rows = planted.main(command)
    own = [row for row in rows if row["method"] == "greedy"]
    assert len(own) == 2
    assert all(row["s2"] for row in own)
    assert len(rows) == (4 if REFERENCE.exists() else 2)
    record = json.loads(out.read_text())
    assert [row["found"] for row in record["rows"]] == [row["found"] for row in rows]
    assert "planted size or smaller" in capsys.readouterr().out


@pytest.mark.slow
def test_benchmark_sets_strategies_side_by_side(tmp_path, capsys):
    planted = load(BENCHMARKS / "planted.py")
    out = tmp_path / "planted.json"
    command = ["--families", "ring-6", "--structures", "6, no. 1", "--cores", "normal"]
    command += ["--strategies", "greedy", "random-walk", "--max-fitted", "12", "--seeds", "1"]
    command += ["--set", "random-walk.max_rank=3", "--warm", "--tensorly", "--max-seconds", "5"]
    rows = planted.main([*command, "--noise", "0.05", "--out", str(out)])
    names = ["greedy", "random-walk", "tensorly cp", "tensorly tucker", "tensorly tt"]
    assert [row["method"] for row in rows] == names
    for row in rows:
        (run,) = row["details"]
        assert (row["eff"] > 0) == (run["error"] <= 0.05 * 1.02)
        curve = sorted(run["curve"])
        within = [params for params, error in curve if error <= 0.5]
        assert row["params_at"]["0.5"] == (within[0] if within else None)
    for row in rows[:2]:
        assert row["fitted"] <= 12 + 4
        assert row["seconds"] >= row["compile_seconds"] > 0
        assert row["warm_seconds"] is not None
    assert json.loads(out.read_text())["rows"] == json.loads(json.dumps(rows))
    assert "within an error" in capsys.readouterr().out


@pytest.mark.slow
def test_image_experiment_runs_in_a_small_setting(tmp_path):
    options = ["stride=16", "reshape=[4,8,4,8]", "errors=[0.3,0.25]", f"output={tmp_path / 'out'}"]
    subprocess.run(
        [sys.executable, str(ROOT / "experiments" / "decompose_image.py"), *options],
        check=True,
        cwd=tmp_path,
        env={**os.environ, "MPLBACKEND": "Agg"},
        capture_output=True,
    )
    with open(tmp_path / "out" / "table.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["target_error"]) for row in rows] == [0.3, 0.25]
    for row in rows:
        assert float(row["error"]) <= float(row["target_error"])
        run = tmp_path / "out" / f"error-{row['target_error']}"
        assert (run / "report.html").exists()
        assert (run / "reconstruction.png").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]


@pytest.mark.slow
@pytest.mark.parametrize("path", sorted((ROOT / "notebooks").glob("*.ipynb")), ids=lambda p: p.stem)
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_notebook_runs(path, tmp_path, usual_promotion):
    import nbclient
    import nbformat

    notebook = nbformat.read(path, as_version=4)
    client = nbclient.NotebookClient(
        notebook, timeout=300, resources={"metadata": {"path": tmp_path}}
    )
    client.execute()
