"""The benchmark of tables on disk, on a few rows."""

import json
import sys

import pytest


@pytest.mark.skipif(sys.platform != "linux", reason="peaks are counted anew on Linux")
def test_rows_of_a_table_on_disk(tmp_path):
    sys.path.insert(0, "experiments/benchmarks")
    try:
        import rows
    finally:
        sys.path.remove("experiments/benchmarks")
    words = ["--columns", "3", "--sample", "100", "--chunk", "50", "--batch", "25"]
    rows.main(["--rows", "200", *words, "--out", str(tmp_path / "rows.json")])
    (line,) = json.loads((tmp_path / "rows.json").read_text())["lines"]
    assert line["rows"] == 200
    assert 0 < line["error"] < 1
    assert line["peak_bytes"] >= line["before_bytes"] > 0
