"""Parameters at equal error on real data, and after how many seconds: a table, a JSON file and a
page of curves.

    python experiments/benchmarks/real.py --out real.json --page real.html
    python experiments/benchmarks/real.py --data camera coins --errors 0.15 0.1 --out real.json
    python experiments/benchmarks/real.py --read real.json --page real.html

For each tensor (`experiments/tensors.py` lists them) and error: the default search and
`TreeSearch`, with every network on the way that met the error; every fixed format with ranks chosen
for the error and refined by fits; the best truncated SVD of an unfolding; TensorLy's TT, Tucker and
CP; and the largest coefficients of the Haar and of the block cosine transform, each counted as two
numbers, which are no networks and take no part in the verdict. A method that does not reach the
error in its time has no parameters. Seconds are those of the processor, from where the tensor is
in memory; what is imported and compiled on the way is counted.
"""

import argparse
import json
import math
import sys
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from formats import TENSORLY, best_svd, stopwatch, tensorly
from real_page import write_curves
from records import about, keep
from tensors import TENSORS
from terms import BASES, numbers

import tnjax

FIXED = ("svd", "tt", "tr", "tucker", "ht", "cp")
SEARCHES = ("search", "tree")
METHODS = (
    *SEARCHES,
    *(f"fixed {name}" for name in FIXED),
    "svd",
    *(f"tensorly {name}" for name in TENSORLY),
    *(f"terms {name}" for name in BASES),
)
# What costs a second: never to be larger than these soon, nor than all others later.
CLOSED_FORM = ("tree", "svd", "tensorly tt", "tensorly tucker")
SOON, LATER, LARGE = 10.0, 60.0, 10**7  # seconds; three times as long above so many entries


def load(name: str, size: int | None = None) -> np.ndarray:
    """A tensor by name; only the first `size` indices of each mode, if given."""
    tensor = TENSORS[name].load()
    return np.ascontiguousarray(tensor[(slice(size),) * tensor.ndim])


def run(method: str, tensor: np.ndarray, error: float, options: argparse.Namespace) -> dict:
    """Parameters, error and seconds of one method, and its curve: seconds and parameters of each
    network that met the error and was smaller than the ones before."""
    begin = time.process_time()
    kind, _, name = method.partition(" ")
    if kind == "terms":
        params, found = numbers(tensor, name, error)
        row = {"params": params, "error": found}
    elif method == "svd":
        row = best_svd(tensor, error)
    elif kind == "tensorly":
        row = tensorly(name, tensor, error, options.max_seconds / 2)
    else:
        row = _search(method, tensor, error, options)
    row["seconds"] = time.process_time() - begin
    if row["params"] is not None and "curve" not in row:
        row["curve"] = [(row["seconds"], row["params"])]
    return row


def _search(method: str, tensor: np.ndarray, error: float, options: argparse.Namespace) -> dict:
    begin, curve = time.process_time(), []

    def told(progress: tnjax.Progress) -> None:
        best = progress.best_params
        if best is not None and (not curve or best < curve[-1][1]):
            curve.append((time.process_time() - begin, best))

    strategy: tnjax.Strategy = tnjax.Greedy()
    if method != "search":
        kind, _, name = method.partition(" ")
        strategy = tnjax.TreeSearch() if kind == "tree" else tnjax.FixedFormat(name)
    result = tnjax.search(
        tnjax.Decomposition(tensor),
        key=jax.random.key(options.seed),
        strategy=strategy,
        target_error=error,
        max_params=tensor.size,
        memory_limit=options.memory_limit,
        setup=tnjax.Setup(stop=stopwatch(options.max_seconds), on_progress=told),
    )
    dense = np.asarray(result.network.to_dense())
    found = float(np.linalg.norm(dense - tensor) / np.linalg.norm(tensor))
    met = found <= error * (1 + 1e-9)
    if met and (not curve or result.num_params < curve[-1][1]):
        curve.append((time.process_time() - begin, result.num_params))
    return {
        "params": result.num_params if met else None,
        "error": found,
        "compile_seconds": result.compile_seconds,
        "fitted": result.fitted,
        "status": result.status.value,
        "curve": curve,
        "structure": json.loads(result.structure.to_json()),
    }


def at(row: dict, seconds: float) -> float:
    """The parameters of the smallest network that a method had by then; infinity without one."""
    return min((n for s, n in row.get("curve", ()) if s <= seconds), default=math.inf)


def verdict(rows: list[dict]) -> dict[str, Any]:
    """Where the default search stands among the rows of one tensor and error: soon no larger than
    what costs a second, later no larger than all networks."""
    by = {row["method"]: row for row in rows if not row["method"].startswith("terms")}
    search, size = by.pop("search", {}), math.prod(rows[0]["shape"])
    soon = SOON * (3 if size > LARGE else 1)
    met = lambda row: math.inf if row["params"] is None else row["params"]
    closed = min((met(by[name]) for name in CLOSED_FORM if name in by), default=math.inf)
    others = min(map(met, by.values()), default=math.inf)
    early, late = at(search, soon), at(search, LATER)
    return {
        "soon": early,
        "closed form": closed,
        "later": late,
        "others": others,
        "soon kept": early < math.inf and early <= closed,
        "later kept": late < math.inf and late <= others,
    }


def measure(options: argparse.Namespace) -> list[dict]:
    rows = []
    for name in options.data:
        tensor = load(name, options.size)
        for error in options.errors or TENSORS[name].errors:
            mine = []
            for method in options.methods:
                row = {"data": name, "shape": tensor.shape, "target": error, "method": method}
                row |= run(method, tensor, error, options)
                mine.append(row)
                print(_line(row), flush=True)
                if options.out:
                    write(options, [*rows, *mine])
            rows += mine
            print(_words(verdict(mine)), flush=True)
    return rows


_HEAD = f"{'data':<22}{'target':>8}  {'method':<16}{'params':>10}{'error':>11}{'fitted':>8}{'s':>8}"


def _line(row: dict) -> str:
    params = "-" if row["params"] is None else row["params"]
    error = "-" if row["error"] is None else f"{row['error']:.3g}"
    return (
        f"{row['data']:<22}{row['target']:>8g}  {row['method']:<16}{params:>10}{error:>11}"
        f"{row.get('fitted', '-'):>8}{row['seconds']:>8.1f}"
    )


def _words(found: dict[str, Any]) -> str:
    count = lambda value: "none" if value == math.inf else f"{value:,}"
    yes = lambda kept: "no larger" if kept else "LARGER"
    return (
        f"  soon: {count(found['soon'])}, {yes(found['soon kept'])} than closed forms: "
        f"{count(found['closed form'])}; later: {count(found['later'])}, "
        f"{yes(found['later kept'])} than all others: {count(found['others'])}"
    )


def write(options: argparse.Namespace, rows: list[dict]) -> None:
    keep(options.out, {**about(__file__, options.arguments), "seed": options.seed, "rows": rows})


def main(arguments: list[str] | None = None) -> list[dict]:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--data", nargs="+", choices=list(TENSORS), default=list(TENSORS))
    parser.add_argument("--errors", nargs="+", type=float, help="three by default")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--size", type=int, help="indices of each mode that are used")
    parser.add_argument(
        "--max-seconds", type=float, default=LATER, help="of the processor, for each search"
    )
    parser.add_argument("--memory-limit", type=int, default=3 * 2**30, help="bytes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--dtype", choices=["float64", "float32"], default="float64")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--read", type=Path, help="a file of --out: nothing is measured")
    parser.add_argument("--page", type=Path, help="HTML: the curves and the verdicts")
    options = parser.parse_args(arguments)
    options.arguments = arguments or sys.argv[1:]
    if options.dtype == "float64":
        jax.config.update("jax_enable_x64", True)
    if options.read is None:
        print(_HEAD)
        rows = measure(options)
        record = {**about(__file__, options.arguments), "rows": rows}
    else:
        record = json.loads(options.read.read_text(encoding="utf-8"))
        rows = record["rows"]
    if options.page:
        write_curves(options.page, record, verdict)
    return rows


if __name__ == "__main__":
    main()
