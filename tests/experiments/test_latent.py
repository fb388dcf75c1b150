"""The benchmark of latent dimensions and bonds, on small tensors."""

import importlib.util
import json
from pathlib import Path

from tests.helpers import needs_double

ROOT = Path(__file__).parents[2]


@needs_double
def test_the_benchmark_counts_what_it_finds(tmp_path, usual_promotion):
    file = ROOT / "experiments" / "benchmarks" / "latent.py"
    spec = importlib.util.spec_from_file_location("latent", file)
    latent = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(latent)
    out = tmp_path / "latent.json"
    options = (
        "--parts cp bonds nested --dims 9 8 7 --planted 2 --ranks 1 2 3 --copies 5 --starts 4 "
        "--ring 5 5 5 5 --ring-noise 0.02 --resamplings 2 "
        "--nested 24 24 10 --signals 0.1 20 --seeds 0"
    )
    found = latent.main([*options.split(), "--json", str(out)])
    assert found["hits"] == [{"kind": "cp", "rank": 2, "hits": 1, "of": 1, "others": []}]
    row, ring, *_ = json.loads(out.read_text())["rows"]
    assert row["stability"] > 0.75 > row["stability_next"]
    assert row["error"] < 0.06
    assert ring["least_planted"] == 1
    assert ring["largest_other"] == 0
    none, all_of_it = found["nested"]
    assert none["limit"] == 0.5
    assert all_of_it["limit"] > 0.9
    assert abs(all_of_it["tensor"] - all_of_it["limit"]) < 0.15
