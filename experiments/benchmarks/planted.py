"""Does a search find what was planted? All strategies side by side: a table and a JSON file.

    python experiments/benchmarks/planted.py --families order-4 paper --seeds 5 --out planted.json
    python experiments/benchmarks/planted.py --families ring-6 --strategies all --tensorly \
        --max-fitted 1500 --set local-sampling.samples=60

For each structure, kind of cores and method: Eff. (planted over found parameters, mean over seeds,
0 for a run that misses the target), S2 (share of runs with Eff. >= 1), structures fitted, seconds
of a cold run (no program compiled before), how many of them were compilation, and seconds of the
same run again where `--warm` asks for it. At the end the median parameters at several errors: the
smallest fitted network within each.

`--tensorly` adds TensorLy's CP, Tucker and TT with the smallest rank, the same on all bonds, that
meets the target. `--reference FILE` adds rows of another implementation: a Python file with
`search(target, tol, rng) -> (network with num_params, error)`.
"""

import argparse
import ast
import contextlib
import importlib.util
import math
import statistics
import sys
import time
from pathlib import Path

import jax
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))

from families import FAMILIES, planted_tensor
from records import about, keep

import tnjax
from tnjax import _compile

ERRORS = (0.5, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001)


def run_strategy(strategy, tensor: np.ndarray, target: float, seed: int, options) -> dict:
    """One search, cold, and once more with its programs there."""
    _compile.clear_cache()
    jax.clear_caches()
    once = lambda: tnjax.search(
        tnjax.Decomposition(tensor),
        key=jax.random.key(seed),
        target_error=target,
        max_params=max(tensor.size // 2, sum(tensor.shape)),
        max_fitted=options.max_fitted,
        max_seconds=options.max_seconds,
        strategy=strategy,
    )
    result = once()
    return {
        "params": result.num_params,
        "error": result.error,
        "structure": repr(result.structure),
        "status": result.status.value,
        "seconds": result.seconds,
        "compile_seconds": result.compile_seconds,
        "warm_seconds": once().seconds if options.warm else None,
        "programs": result.programs,
        "fitted": result.fitted,
        "curve": [[record.num_params, record.error] for record in result.pareto],
    }


def run_reference(module, tensor: np.ndarray, target: float, seed: int) -> dict:
    begin = time.perf_counter()
    network, error = module.search(tensor.astype(np.float64), target, np.random.default_rng(seed))
    seconds = time.perf_counter() - begin
    return _other(network.num_params, float(error), seconds, None, [])


def run_tensorly(form: str, tensor: np.ndarray, target: float, seed: int, seconds: float) -> dict:
    """TensorLy's decomposition with ranks 1, 2, ... until the target is met."""
    from tensorly.cp_tensor import cp_to_tensor
    from tensorly.decomposition import parafac, tensor_train, tucker
    from tensorly.tt_tensor import tt_to_tensor
    from tensorly.tucker_tensor import tucker_to_tensor

    begin, curve, rank, error = time.perf_counter(), [], 0, math.inf
    while error > target and time.perf_counter() - begin < seconds:
        rank += 1
        if form == "tt":
            cores = list(tensor_train(tensor, rank))
            dense, params = tt_to_tensor(cores), sum(core.size for core in cores)
        elif form == "tucker":
            found = tucker(tensor, [min(rank, n) for n in tensor.shape], random_state=seed)
            dense = tucker_to_tensor(found)
            params = found[0].size + sum(factor.size for factor in found[1])
        else:
            found = parafac(tensor, rank, init="random", random_state=seed, n_iter_max=200)
            dense, params = cp_to_tensor(found), sum(factor.size for factor in found[1])
        error = float(np.linalg.norm(dense - tensor) / np.linalg.norm(tensor))
        curve.append([params, error])
        if params >= tensor.size:
            break
    return _other(params, error, time.perf_counter() - begin, len(curve), curve)


def _other(params, error, seconds, fitted, curve) -> dict:
    return {
        "params": params,
        "error": error,
        "seconds": seconds,
        "compile_seconds": 0.0,
        "warm_seconds": None,
        "programs": 0,
        "fitted": fitted,
        "curve": curve,
    }


def load_reference(path: Path):
    spec = importlib.util.spec_from_file_location("reference", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def methods_of(options: argparse.Namespace) -> dict:
    """Names and functions of (tensor, target, seed)."""
    changes: dict[str, dict] = {}
    for text in options.set:
        where, value = text.split("=", 1)
        name, field = where.split(".", 1)
        with contextlib.suppress(ValueError, SyntaxError):  # a plain word
            value = ast.literal_eval(value)
        changes.setdefault(name, {})[field] = value
    names = options.strategies
    if names == ["all"]:
        names = tnjax.strategies.strategy_names()
    methods = {}
    for name in names:
        strategy = tnjax.make_strategy(name, **changes.get(name, {}))
        methods[name] = lambda x, target, seed, s=strategy: run_strategy(
            s, x, target, seed, options
        )
    if options.reference:
        module = load_reference(options.reference)
        methods["reference"] = lambda x, target, seed: run_reference(module, x, target, seed)
    for form in ("cp", "tucker", "tt") if options.tensorly else ():
        methods[f"tensorly {form}"] = lambda x, target, seed, f=form: run_tensorly(
            f, x, target, seed, options.max_seconds or 60.0
        )
    return methods


def measure(options: argparse.Namespace) -> list[dict]:
    """One row per family, structure, kind of cores and method."""
    methods = methods_of(options)
    target = options.target if not options.noise else options.noise * 1.02
    rows = []
    for family in options.families:
        planted = FAMILIES[family]
        for name in options.structures or planted:
            for cores in options.cores:
                for method, run in methods.items():
                    runs = []
                    for seed in range(options.first_seed, options.first_seed + options.seeds):
                        tensor = planted_tensor(
                            planted[name],
                            cores=cores,
                            seed=seed,
                            noise=options.noise,
                            dtype=options.dtype,
                        )
                        runs.append({"seed": seed, **run(tensor, target, seed)})
                    rows.append(_row(family, name, planted[name], cores, method, runs, target))
                    print(_line(rows[-1]), flush=True)
                    _write(options, rows)
    return rows


def _row(family, name, structure, cores, method, runs, target) -> dict:
    reached = [run["error"] <= target for run in runs]
    eff = [
        structure.num_params / run["params"] if ok else 0.0
        for run, ok in zip(runs, reached, strict=True)
    ]
    warm = [run["warm_seconds"] for run in runs if run["warm_seconds"] is not None]
    fitted = [run["fitted"] for run in runs if run["fitted"] is not None]
    return {
        "family": family,
        "structure": name,
        "cores": cores,
        "method": method,
        "planted": structure.num_params,
        "target": target,
        "found": [run["params"] for run in runs],
        "eff": statistics.mean(eff),
        "s2": sum(e >= 1 for e in eff),
        "reached": sum(reached),
        "runs": len(runs),
        "fitted": statistics.median(fitted) if fitted else None,
        "seconds": statistics.median(run["seconds"] for run in runs),
        "compile_seconds": statistics.median(run["compile_seconds"] for run in runs),
        "warm_seconds": statistics.median(warm) if warm else None,
        "params_at": {str(e): _params_at(runs, e) for e in ERRORS},
        "details": runs,
    }


def _params_at(runs: list[dict], error: float) -> float | None:
    """Median over runs of the smallest fitted network within an error; None if half have none."""
    best = [
        min((params for params, found in run["curve"] if found <= error), default=math.inf)
        for run in runs
    ]
    middle = statistics.median(best)
    return None if math.isinf(middle) else middle


_HEAD = f"{'family':<9}{'structure':<15}{'cores':<9}{'method':<18}{'planted':>8}{'Eff.':>6}"
_HEAD += f"{'S2':>7}{'fitted':>8}{'s cold':>8}{'compile':>8}{'s warm':>8}  found"


def _line(row: dict) -> str:
    warm = "" if row["warm_seconds"] is None else f"{row['warm_seconds']:.1f}"
    fitted = "" if row["fitted"] is None else f"{row['fitted']:g}"
    return (
        f"{row['family']:<9}{row['structure']:<15}{row['cores']:<9}{row['method']:<18}"
        f"{row['planted']:>8}{row['eff']:>6.2f}{row['s2']:>4}/{row['runs']:<2}{fitted:>8}"
        f"{row['seconds']:>8.1f}{row['compile_seconds']:>8.1f}{warm:>8}  {row['found']}"
    )


def summarize(rows: list[dict]) -> None:
    """Totals of each method, and parameters at error."""
    for method in dict.fromkeys(row["method"] for row in rows):
        own = [row for row in rows if row["method"] == method]
        hits, runs = sum(row["s2"] for row in own), sum(row["runs"] for row in own)
        mean = sum(row["eff"] * row["runs"] for row in own) / runs
        print(f"{method}: planted size or smaller in {hits} of {runs} runs, mean Eff. {mean:.2f}")
    print("\nmedian parameters of the smallest fitted network within an error")
    print(f"{'family':<9}{'structure':<15}{'cores':<9}{'method':<18}", end="")
    print("".join(f"{error:>8}" for error in ERRORS))
    for row in rows:
        found = [row["params_at"][str(error)] for error in ERRORS]
        cells = "".join(f"{'-' if params is None else f'{params:g}':>8}" for params in found)
        print(
            f"{row['family']:<9}{row['structure']:<15}{row['cores']:<9}{row['method']:<18}{cells}"
        )


def _write(options: argparse.Namespace, rows: list[dict]) -> None:
    seeds = list(range(options.first_seed, options.first_seed + options.seeds))
    keep(options.out, {**about(__file__, options.command), "seeds": seeds, "rows": rows})


def main(arguments: list[str] | None = None) -> list[dict]:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--families", nargs="+", choices=FAMILIES, default=["order-4", "paper"])
    parser.add_argument("--structures", nargs="+", help="names within the families; all by default")
    parser.add_argument("--strategies", nargs="+", default=["greedy"], help="names, or: all")
    parser.add_argument("--set", nargs="+", default=[], metavar="STRATEGY.OPTION=VALUE")
    parser.add_argument("--cores", nargs="+", choices=["normal", "uniform"])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--target", type=float, default=1e-3)
    parser.add_argument("--noise", type=float, default=0.0)
    parser.add_argument("--dtype", choices=["float64", "float32"], default="float64")
    parser.add_argument("--max-fitted", type=int, help="structures that a run may fit")
    parser.add_argument("--max-seconds", type=float, help="of a run")
    parser.add_argument("--warm", action="store_true", help="run again with compiled programs")
    parser.add_argument("--tensorly", action="store_true")
    parser.add_argument("--reference", type=Path)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args(arguments)
    options.command = sys.argv[1:] if arguments is None else list(arguments)
    if options.dtype == "float64":
        jax.config.update("jax_enable_x64", True)
    options.cores = options.cores or ["normal", "uniform"]
    print(_HEAD)
    rows = measure(options)
    summarize(rows)
    return rows


if __name__ == "__main__":
    main()
