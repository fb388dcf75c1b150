"""The benchmark of long trains and lattices, on small ones."""

import importlib.util
import json
from pathlib import Path

from tests.helpers import needs_double

FILE = Path(__file__).parents[2] / "experiments" / "benchmarks" / "large.py"


@needs_double
def test_large_measures_errors_and_seconds(tmp_path, usual_promotion):
    spec = importlib.util.spec_from_file_location("large", FILE)
    large = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(large)
    out = tmp_path / "large.json"
    options = "--nodes 6 --rank 2 --schemes trg:4 --steps 20"
    large.main([*options.split(), "--out", str(out)])
    record = json.loads(out.read_text())
    (row,) = record["norm"]["rows"]
    assert row["float64_error"] < 1e-12
    assert row["float32_error"] < 1e-5
    # The plain one and ours are the same algorithm.
    (row,) = record["lattice"]["rows"]
    assert abs(row["error"] - record["lattice"]["plain"]["error"]) < 1e-9
    assert abs(record["lattice"]["energy"] - 2**0.5) < 0.05
