"""How long does a search take, cold and warm, against plain NumPy? A table and a JSON file.

    python experiments/benchmarks/speed.py --reference FILE --tensorly --out speed.json
    python experiments/benchmarks/speed.py --families order-4 --structures ring --repeats 3

For each structure, medians over `--repeats` of

- cold: a new process with an empty cache of compiled programs; the import is not counted;
- filled: a new process that finds the programs of an earlier one in the cache;
- warm: the same search again in the process.

`--reference FILE` adds another implementation, a Python file with `search(target, tol, rng) ->
(network with num_params, error)`, and ratios to it; `--tensorly` TensorLy's CP, Tucker and TT with
the smallest rank that meets the target. Each number of seconds is wall time of the search alone.
The family "camera" is scikit-image's image, 256x256 as 4^8, to a relative error of 0.143.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import jax
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))

from families import FAMILIES, planted_tensor
from own_process import alone, peak_resident
from planted import load_reference, run_tensorly
from records import about, keep

import tnjax

TARGET, CAMERA_TARGET = 1e-3, 0.143


def problem_of(family: str, structure: str, cores: str, seed: int) -> tuple[np.ndarray, float]:
    """The tensor and the target error."""
    if family == "camera":
        from decompose_image import grey_image

        return grey_image("camera", 2).astype(np.float64).reshape((4,) * 8), CAMERA_TARGET
    return planted_tensor(FAMILIES[family][structure], cores=cores, seed=seed), TARGET


def run_one(which: str, case: list[str], seed: int, warm: int, reference: str) -> dict:
    """The row of one process: a first run, and `warm` more."""
    tensor, target = problem_of(case[0], case[1], case[2], seed)
    problem_class, search = tnjax.Decomposition, tnjax.search  # imported here, which is not counted
    rows = []
    for _ in range(1 + warm):
        begin = time.perf_counter()
        if which == "reference":
            module = load_reference(Path(reference))
            network, error = module.search(tensor, target, np.random.default_rng(seed))
            row = {"params": network.num_params, "error": float(error)}
        elif which == "tnjax":
            found = search(problem_class(tensor), key=jax.random.key(seed), target_error=target)
            row = {"params": found.num_params, "error": found.error, "programs": found.programs}
            row |= {"compile_seconds": found.compile_seconds, "fitted": found.fitted}
        else:
            row = run_tensorly(which.removeprefix("tensorly "), tensor, target, seed, 60.0)
        rows.append({**row, "seconds": time.perf_counter() - begin})
    return {"first": rows[0], "again": rows[1:], "peak_bytes": peak_resident()}


def measure(options: argparse.Namespace, family: str, structure: str, cores: str) -> dict:
    """Medians over repeats; seeds differ between them."""
    case = (family, structure, cores)
    out: dict = {"family": family, "structure": structure, "cores": cores}
    cold, filled, warm, others = [], [], [], {}
    names = ["reference"] if options.reference else []
    names += [f"tensorly {form}" for form in ("cp", "tucker", "tt")] if options.tensorly else []
    for seed in range(options.repeats):

        def one(which: str, again: int, cache: str = "", seed=seed) -> dict:
            arguments = ["--one", which, *case, "--seed", str(seed), "--warm", str(again)]
            if options.reference:
                arguments += ["--reference", str(options.reference)]
            return alone(__file__, *arguments, environment={"TNJAX_BENCHMARK_CACHE": cache})

        with tempfile.TemporaryDirectory() as folder:
            first = one("tnjax", 1, folder)
            cold.append(first["first"])
            warm.append(first["again"][0])
            filled.append(one("tnjax", 0, folder)["first"])
        for name in names:
            others.setdefault(name, []).append(one(name, 0)["first"])
    middle = lambda rows, field="seconds": statistics.median(row[field] for row in rows)
    out |= {"cold": middle(cold), "filled": middle(filled), "warm": middle(warm)}
    out |= {"compile": middle(cold, "compile_seconds"), "programs": middle(cold, "programs")}
    out |= {"params": [row["params"] for row in cold], "compiled_again": middle(warm, "programs")}
    out["others"] = {
        name: {"seconds": middle(rows), "params": [row["params"] for row in rows]}
        for name, rows in others.items()
    }
    out["details"] = {"cold": cold, "filled": filled, "warm": warm, **others}
    return out


def line(row: dict) -> str:
    text = f"{row['family']:<9}{row['structure']:<15}{row['cores']:<9}{row['cold']:>8.2f}"
    text += f"{row['compile']:>9.2f}{row['programs']:>6g}{row['filled']:>8.2f}{row['warm']:>8.2f}"
    base = row["others"].get("reference")
    if base:
        ratios = [row[kind] / base["seconds"] for kind in ("cold", "filled", "warm")]
        text += f"{base['seconds']:>8.2f}   " + " ".join(f"{ratio:6.2f}" for ratio in ratios)
    for name, other in row["others"].items():
        if name != "reference":
            size = statistics.median(other["params"])
            text += f"  {name.split()[1]} {other['seconds']:.2f} s/{size:g}"
    return text + f"  {row['params']}"


def main(arguments: list[str] | None = None) -> list[dict]:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    choices = ["order-4", "order-5", "paper", "camera"]
    parser.add_argument("--families", nargs="+", choices=choices, default=choices)
    parser.add_argument("--structures", nargs="+", help="names within the families; all by default")
    parser.add_argument("--cores", nargs="+", choices=["normal", "uniform"], default=["normal"])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--reference", type=Path)
    parser.add_argument("--tensorly", action="store_true")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--one", nargs=4, help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--warm", type=int, default=1, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.one:
        jax.config.update("jax_enable_x64", True)
        if os.environ.get("TNJAX_BENCHMARK_CACHE"):
            jax.config.update("jax_compilation_cache_dir", os.environ["TNJAX_BENCHMARK_CACHE"])
            jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
        which, *case = options.one
        row = run_one(which, case, options.seed, options.warm, str(options.reference))
        print(json.dumps(row))
        return [row]
    print(
        f"{'family':<9}{'structure':<15}{'cores':<9}{'cold':>8}{'compile':>9}{'prog.':>6}", end=""
    )
    print(f"{'filled':>8}{'warm':>8}{'NumPy':>8}   ratios to it: cold, filled, warm; parameters")
    rows = []
    for family in options.families:
        names = ["4^8"] if family == "camera" else options.structures or list(FAMILIES[family])
        for name in names:
            for cores in ["image"] if family == "camera" else options.cores:
                rows.append(measure(options, family, name, cores))
                print(line(rows[-1]), flush=True)
                if options.out:
                    write(options.out, rows, arguments)
    return rows


def write(path: Path, rows: list[dict], arguments: list[str] | None) -> None:
    keep(path, {**about(__file__, arguments), "rows": rows})


if __name__ == "__main__":
    main()
