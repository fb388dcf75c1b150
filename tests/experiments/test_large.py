"""The benchmarks of long trains, lattices, paths and reused plans, on small ones."""

import importlib.util
import json
from pathlib import Path

import pytest

from tests.helpers import needs_double

FOLDER = Path(__file__).parents[2] / "experiments"


def loaded(name: str):
    """The module of a benchmark."""
    spec = importlib.util.spec_from_file_location(name, FOLDER / "benchmarks" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@needs_double
def test_large_measures_errors_and_seconds(tmp_path, usual_promotion):
    out = tmp_path / "large.json"
    options = "--nodes 6 --rank 2 --schemes trg:4 --steps 20 --cubic 2"
    loaded("large").main([*options.split(), "--out", str(out)])
    record = json.loads(out.read_text())
    (row,) = record["norm"]["rows"]
    assert row["float64_error"] < 1e-12
    assert row["float32_error"] < 1e-5
    assert row["gradient_error"] < 1e-7
    # The plain one and ours are the same algorithm.
    (row,) = record["lattice"]["rows"]
    assert abs(row["error"] - record["lattice"]["plain"]["error"]) < 1e-9
    (row,) = record["lattice"]["energies"]
    assert abs(row["energy"] - 2**0.5) < 0.05
    (row,) = record["cubic"]
    assert abs(row["series"]) < 1e-3


def test_reuse_adds_up_the_moves(tmp_path, usual_promotion, monkeypatch):
    pytest.importorskip("cotengra")
    monkeypatch.syspath_prepend(FOLDER)
    out = tmp_path / "reuse.json"
    loaded("reuse").main([*["--nodes", "4", "--moves", "2", "--seeds", "0", "--out"], str(out)])
    record = json.loads(out.read_text())
    assert [row["method"] for row in record["rows"]] == ["reuse", "anew", "cotengra"]
    (run,) = record["runs"]["reuse"]
    assert run["searched"] <= run["compiled"] <= 3
    assert run["flops"] >= 1


def test_paths_are_compared(tmp_path, usual_promotion, monkeypatch):
    pytest.importorskip("cotengra")
    monkeypatch.syspath_prepend(FOLDER)
    out = tmp_path / "paths.json"
    loaded("paths").main([*["--seconds", "0.05", "--small", "--out"], str(out)])
    for row in json.loads(out.read_text())["rows"]:
        searched = ("opt_einsum", "cotengra", "cotengra refined")
        assert row["tnjax"] <= min(row[name] for name in searched) + 2
