"""The benchmark of a device, at a small setting."""

import importlib
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "experiments" / "benchmarks"))


def test_small_tables(tmp_path):
    device = importlib.import_module("device")
    out = tmp_path / "device.json"
    record = device.main(["--small", "--repeats", "1", "--out", str(out)])
    for row in record["searches"]:
        assert row["status"] == "target_reached", row
        assert row["error"] <= 1e-3
        assert row["programs"] >= 1
        assert row["launches"] >= row["programs"]
    assert [row["edges"] for row in record["screens"]] == [10, 21]
    assert all(row["same"] for row in record["screens"])
    assert record["seeds"]["same"] == 3
    assert record["bandwidth"]["contraction"] > 0
    assert json.loads(out.read_text())["seeds"] == json.loads(json.dumps(record["seeds"]))
