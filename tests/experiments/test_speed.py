"""The benchmarks of speed run, and say what they measured."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "experiments" / "benchmarks"


def load(name, monkeypatch):
    """A benchmark as a module; what it puts on the path is gone after the test."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    spec = importlib.util.spec_from_file_location(name, BENCHMARKS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_scaling_measures_each_part(tmp_path, monkeypatch, capsys):
    scaling = load("scaling", monkeypatch)
    few = {name: scaling.CONTRACTED[name] for name in ("7^5, tucker",)}
    monkeypatch.setattr(scaling, "CONTRACTED", few)
    out = tmp_path / "scaling.json"
    options = "--parts contraction candidates projection --orders 3 --size 12 --repeats 1"
    scaling.main([*options.split(), "--out", str(out)])
    record = json.loads(out.read_text())
    assert all(row["flops"] == row["optimal_flops"] for row in record["contraction"])
    assert [row["candidates"] for row in record["candidates"]["rows"]] == [3]
    assert record["projection"]["params"] <= record["projection"]["planted"]
    assert record["versions"].keys() >= {"jax", "tnjax"}
    assert "ratio" in capsys.readouterr().out


@pytest.mark.slow
def test_scaling_measures_the_memory_of_a_fit(tmp_path, monkeypatch):
    scaling = load("scaling", monkeypatch)
    monkeypatch.setattr(scaling, "ENTRIES", {10**6: 32})
    rows = scaling.main(["--parts", "memory"])["memory"]["rows"]
    assert [row["dtype"] for row in rows] == ["float32", "float64"]
    for row in rows:
        assert row["tensor_bytes"] < row["forecast_bytes"] < row["peak_bytes"] + 2**24
        assert row["peak_bytes"] < row["forecast_bytes"] + 2**27


@pytest.mark.slow
def test_speed_compares_new_processes_with_a_warm_one(tmp_path, monkeypatch):
    speed = load("speed", monkeypatch)
    out = tmp_path / "speed.json"
    options = "--families order-4 --structures train --repeats 1"
    (row,) = speed.main([*options.split(), "--out", str(out)])
    assert row["programs"] > 0 == row["compiled_again"]
    assert row["params"] == [672]
    assert json.loads(out.read_text())["rows"][0]["details"]["cold"][0]["error"] <= speed.TARGET


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["npy", "zarr"])
def test_out_of_core_finds_what_was_planted_on_disk(tmp_path, monkeypatch, kind):
    out_of_core = load("out_of_core", monkeypatch)
    if kind == "zarr":
        pytest.importorskip("zarr")
    options = f"--size small --kind {kind} --memory-limit 8MiB --folder {tmp_path}"
    record = out_of_core.main([*options.split(), "--out", str(tmp_path / "out.json")])
    assert record["status"] == "target_reached"
    assert record["params"] == record["planted"]
    assert record["error"] <= 1e-5
    assert record["bytes"] > 0 < record["read_seconds"]
    assert [path.name for path in tmp_path.iterdir()] == ["out.json"]
    assert json.loads((tmp_path / "out.json").read_text())["peak_bytes"] == record["peak_bytes"]


def test_completion_on_disk_finds_what_was_planted(tmp_path, monkeypatch):
    on_disk = load("completion_on_disk", monkeypatch)
    options = f"--size small --subset 4000 --target-error 1e-3 --folder {tmp_path}"
    record = on_disk.main([*options.split(), "--out", str(tmp_path / "out.json")])
    assert record["status"] == "target_reached"
    assert record["errors"]["test"]["error"] < 2e-3
    assert sum(part["entries"] for part in record["errors"].values()) == 30_000
    assert record["params"] <= 2 * record["planted"]
    assert record["peak_bytes"] > 0
    assert [path.name for path in tmp_path.iterdir()] == ["out.json"]


def test_seeds_that_share_a_device_are_compared_with_the_same_alone(tmp_path, monkeypatch):
    vmap_seeds = load("vmap_seeds", monkeypatch)
    out = tmp_path / "out.json"
    options = "--size small --seeds 2 --cases decomposition"
    (row,) = vmap_seeds.main([*options.split(), "--out", str(out)])["rows"]
    assert row["same"]
    assert row["difference"] < 1e-8
    assert row["batches"] > 0
    assert row["calls"] >= 2 * row["batches"] + row["alone"]
    assert json.loads(out.read_text())["rows"] == [json.loads(json.dumps(row))]


def test_effort_is_measured(tmp_path, monkeypatch, capsys):
    effort = load("effort", monkeypatch)
    monkeypatch.setattr(effort, "INPUTS", {"terms": lambda: effort.terms((8, 7, 6))})
    rows = effort.main(["--out", str(tmp_path / "effort.json")])
    assert [row["effort"] for row in rows] == list(effort.EFFORTS)
    assert all(row["error"] <= 0.03 and 0 < row["met"] <= row["seconds"] for row in rows)
    assert json.loads((tmp_path / "effort.json").read_text())["rows"] == rows
    assert "thorough" in capsys.readouterr().out


def test_responsiveness_is_measured(tmp_path, monkeypatch, capsys):
    found = load("responsiveness", monkeypatch)
    small = found.Case("decompose {input} --target-error 0.5", found._noise(4, 4, 4))
    monkeypatch.setattr(found, "CASES", {"small": small})
    out = tmp_path / "found.json"
    (row,) = found.main(["--max-seconds", "60", "--out", str(out)])
    assert row["exit"] == 0
    assert row["missing"] == []
    assert row["error"] <= 0.5
    assert 0 < row["first_line"] <= row["silence"] + row["first_line"] <= 2 * row["seconds"]
    assert json.loads(out.read_text())["rows"] == [row]
    assert "small" in capsys.readouterr().out
