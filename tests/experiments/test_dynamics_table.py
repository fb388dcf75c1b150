"""The benchmark of evolution in time, on a small chain."""

import json
import runpy

from tests.helpers import needs_double


@needs_double
def test_the_table_has_errors_norms_and_ranks(tmp_path, usual_promotion):
    main = runpy.run_path("experiments/benchmarks/dynamics.py")["main"]
    out = tmp_path / "dynamics.json"
    options = "--sites 4 --trees chain --steps 2 --tolerances 1e-10 --max-ranks 1 --duration 0.2"
    main([*options.split(), "--out", str(out)])
    full, cut = json.loads(out.read_text())["rows"]
    assert full["error"] < 1e-8 < 1e-4 < cut["error"]
    assert full["norm"] < 1e-12
    assert (full["rank"], cut["rank"]) == (4, 1)
