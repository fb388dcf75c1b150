"""Does the search find what was planted? A table and a JSON file.

    python experiments/benchmarks/planted.py --families order-4 paper --seeds 5 --out planted.json

For each structure and kind of cores: Eff. (planted over found parameters, mean over seeds, 0 for
a run that misses the target), S2 (share of runs with Eff. >= 1), structures fitted, seconds with
compilation and without. `--reference FILE` adds rows of another implementation: a Python file
with `search(target, tol, rng) -> (network with num_params, error)`.
"""

import argparse
import importlib.util
import json
import os
import platform
import statistics
import sys
import time
from pathlib import Path

import jax
import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

from families import FAMILIES, planted_tensor

import tnjax


def run_tnjax(tensor: np.ndarray, target: float, seed: int, strategy: tnjax.Greedy) -> dict:
    result = tnjax.search(
        tnjax.Decomposition(tensor),
        key=jax.random.key(seed),
        target_error=target,
        max_params=tensor.size,
        strategy=strategy,
    )
    return {
        "params": result.num_params,
        "error": result.error,
        "seconds": result.seconds,
        "compile_seconds": result.compile_seconds,
        "programs": result.programs,
        "fitted": sum(step.fitted for step in result.path),
    }


def run_reference(module, tensor: np.ndarray, target: float, seed: int) -> dict:
    begin = time.perf_counter()
    network, error = module.search(tensor.astype(np.float64), target, np.random.default_rng(seed))
    seconds = time.perf_counter() - begin
    return {
        "params": network.num_params,
        "error": float(error),
        "seconds": seconds,
        "compile_seconds": 0.0,
        "programs": 0,
        "fitted": None,
    }


def load_reference(path: Path):
    spec = importlib.util.spec_from_file_location("reference", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def measure(options: argparse.Namespace) -> list[dict]:
    """One row per family, structure, kind of cores and method."""
    strategy = tnjax.Greedy(screen=options.screen, power=options.power)
    methods = {"tnjax": lambda x, target, seed: run_tnjax(x, target, seed, strategy)}
    if options.reference:
        module = load_reference(options.reference)
        methods["reference"] = lambda x, target, seed: run_reference(module, x, target, seed)
    target = options.target if not options.noise else options.noise * 1.02
    rows = []
    for family in options.families:
        for name, structure in FAMILIES[family].items():
            for cores in options.cores:
                for method, run in methods.items():
                    runs = []
                    for seed in range(options.seeds):
                        tensor = planted_tensor(
                            structure,
                            cores=cores,
                            seed=seed,
                            noise=options.noise,
                            dtype=options.dtype,
                        )
                        runs.append(run(tensor, target, seed))
                    rows.append(_row(family, name, structure, cores, method, runs, target))
                    print(_line(rows[-1]), flush=True)
    return rows


def _row(family, name, structure, cores, method, runs, target) -> dict:
    reached = [run["error"] <= target for run in runs]
    eff = [
        structure.num_params / run["params"] if ok else 0.0
        for run, ok in zip(runs, reached, strict=True)
    ]
    return {
        "family": family,
        "structure": name,
        "cores": cores,
        "method": method,
        "planted": structure.num_params,
        "found": [run["params"] for run in runs],
        "eff": statistics.mean(eff),
        "s2": sum(e >= 1 for e in eff),
        "runs": len(runs),
        "seconds": statistics.median(run["seconds"] for run in runs),
        "run_seconds": statistics.median(run["seconds"] - run["compile_seconds"] for run in runs),
        "details": runs,
    }


_HEAD = f"{'family':<9}{'structure':<15}{'cores':<9}{'method':<11}{'planted':>8}{'Eff.':>7}"
_HEAD += f"{'S2':>7}{'s':>8}{'s run':>8}  found"


def _line(row: dict) -> str:
    return (
        f"{row['family']:<9}{row['structure']:<15}{row['cores']:<9}{row['method']:<11}"
        f"{row['planted']:>8}{row['eff']:>7.2f}{row['s2']:>4}/{row['runs']:<2}"
        f"{row['seconds']:>8.2f}{row['run_seconds']:>8.2f}  {row['found']}"
    )


def main(arguments: list[str] | None = None) -> list[dict]:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--families", nargs="+", choices=FAMILIES, default=["order-4", "paper"])
    parser.add_argument("--cores", nargs="+", choices=["normal", "uniform"])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--target", type=float, default=1e-3)
    parser.add_argument("--noise", type=float, default=0.0)
    parser.add_argument("--dtype", choices=["float64", "float32"], default="float64")
    parser.add_argument("--screen", choices=["spectral", "trial"], default="spectral")
    parser.add_argument("--power", type=float, default=0.5)
    parser.add_argument("--reference", type=Path)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args(arguments)
    if options.dtype == "float64":
        jax.config.update("jax_enable_x64", True)
    options.cores = options.cores or ["normal", "uniform"]
    print(_HEAD)
    rows = measure(options)
    for method in dict.fromkeys(row["method"] for row in rows):
        own = [row for row in rows if row["method"] == method]
        hits, runs = sum(row["s2"] for row in own), sum(row["runs"] for row in own)
        print(f"{method}: planted size or smaller in {hits} of {runs} runs")
    if options.out:
        record = {
            "command": "planted.py " + " ".join(arguments or sys.argv[1:]),
            "machine": f"{platform.machine()}, {os.cpu_count()} cores, {jax.default_backend()}",
            "versions": {"tnjax": tnjax.__version__, "jax": jax.__version__},
            "rows": rows,
        }
        options.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return rows


if __name__ == "__main__":
    main()
