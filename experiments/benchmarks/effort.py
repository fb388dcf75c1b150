"""What `effort` costs and gives: a table and a JSON file.

    python experiments/benchmarks/effort.py --out effort.json

Seconds (of a search whose programs were not there before) and parameters of "quick", "normal" and
"thorough", for four inputs: a photograph as 4^8 at error 0.143; a sum of four terms of 80x50x30
with 2 % of noise at 0.03; the completion of `notebooks/02_completion.ipynb`; Indian Pines at 0.05.
`met`: the seconds after which the target was first met.
"""

import argparse
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

import datasets

import tnjax
from tnjax import _compile

EFFORTS = ("quick", "normal", "thorough")


def photograph() -> tuple[Any, dict]:
    return tnjax.Decomposition(datasets.image("camera").reshape((4,) * 8)), {"target_error": 0.143}


def terms(dims: tuple[int, ...] = (80, 50, 30)) -> tuple[Any, dict]:
    rng = np.random.default_rng(0)
    factors = [rng.standard_normal((n, 4)) for n in dims]
    tensor = np.einsum("ir,jr,kr->ijk", *factors)
    noise = rng.standard_normal(dims)
    tensor = tensor / np.linalg.norm(tensor) + 0.02 * noise / np.linalg.norm(noise)
    return tnjax.Decomposition(tensor), {"target_error": 0.03}


def completion() -> tuple[Any, dict]:
    shape = (12, 12, 12, 4)
    x, y, z = np.meshgrid(*(np.linspace(0, 1, 12),) * 3, indexing="ij")
    truth = np.stack(
        [np.exp(-k * (x - y) ** 2) * np.cos(3 * z) + 0.3 * k * x * y for k in range(4)], -1
    )
    rng = np.random.default_rng(0)
    seen = rng.random(shape) < 0.2
    values = truth[seen] + 0.01 * rng.standard_normal(seen.sum())
    problem = tnjax.Completion(
        np.argwhere(seen), values, shape, validation=0.1, key=jax.random.key(0)
    )
    return problem, {"target_error": 0.03, "max_params": 400}


def pines() -> tuple[Any, dict]:
    return tnjax.Decomposition(datasets.indian_pines()), {"target_error": 0.05}


INPUTS: dict[str, Callable[[], tuple[Any, dict]]] = {
    "camera 4^8, 0.143": photograph,
    "80x50x30, four terms, 0.03": terms,
    "completion of notebook 02, 0.03": completion,
    "Indian Pines, 0.05": pines,
}


def measure(make: Callable[[], tuple[Any, dict]], effort: str) -> dict:
    """One search in an empty cache of programs."""
    _compile.clear_cache()
    jax.clear_caches()
    problem, limits = make()
    met: list[float] = []
    begin = time.perf_counter()

    def on_step(step: tnjax.Step) -> None:
        if not met and step.error <= limits["target_error"]:
            met.append(time.perf_counter() - begin)

    result = tnjax.search(problem, key=jax.random.key(0), effort=effort, on_step=on_step, **limits)
    return {
        "seconds": time.perf_counter() - begin,
        "met": met[0] if met else None,
        "params": result.num_params,
        "error": result.error,
        "status": result.status.value,
    }


def main(arguments: list[str] | None = None) -> list[dict]:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", nargs="+", choices=INPUTS, default=list(INPUTS))
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args(arguments)
    jax.config.update("jax_enable_x64", True)
    rows = []
    print(f"{'input':34} {'effort':9} {'met, s':>7} {'seconds':>8} {'parameters':>10} {'error':>8}")
    for name in options.inputs:
        for effort in EFFORTS:
            runs = [measure(INPUTS[name], effort) for _ in range(options.repeats)]
            row = {"input": name, "effort": effort, **runs[0]}
            row["seconds"] = statistics.median(run["seconds"] for run in runs)
            rows.append(row)
            met = "-" if row["met"] is None else f"{row['met']:.1f}"
            figures = f"{met:>7} {row['seconds']:8.1f} {row['params']:10,} {row['error']:8.5f}"
            print(f"{name:34} {effort:9} {figures}", flush=True)
    if options.out:
        versions = {"python": platform.python_version(), "jax": jax.__version__}
        record = {"versions": versions, "arguments": vars(options) | {"out": None}, "rows": rows}
        options.out.write_text(json.dumps(record, indent=1))
    return rows


if __name__ == "__main__":
    main()
