"""The benchmark of evolution in time, on a small chain."""

import json
import runpy

from tests.helpers import needs_double


@needs_double
def test_the_table_has_errors_norms_and_ranks(tmp_path, usual_promotion):
    main = runpy.run_path("experiments/benchmarks/dynamics.py")["main"]
    out = tmp_path / "dynamics.json"
    options = "--sites 4 --trees chain --steps 2 4 --tolerances 1e-10 --max-ranks 1 --duration 0.2"
    main([*options.split(), "--out", str(out)])
    long, short, _, cut = json.loads(out.read_text())["rows"]
    assert short["error"] < long["error"] / 2
    assert short["error"] < cut["error"] / 10
    assert max(long["norm"], short["norm"]) < 1e-12
    assert (short["rank"], cut["rank"]) == (4, 1)
