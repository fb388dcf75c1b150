"""Matrices of exact rank, half of them missing: how often the planted rank and entries are found.

    python experiments/benchmarks/matrices.py --seeds 20 --out matrices.json

40 x 32 and 60 x 48, rank 2 and 3; missing are half of the entries at random, or a window of half a
row that begins at another column in each row. A tenth of what is seen is held out, the target is an
error of 1e-4 there, and nothing but the shape is told. Found: the parameters of the planted rank,
and an error of at most 1e-3 on what is missing.
"""

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from records import about, keep

import tnjax

SHAPES = ((40, 32), (60, 48))
RANKS = (2, 3)
GAPS = ("random", "window")


def planted(shape: tuple[int, int], rank: int, gaps: str, seed: int) -> tuple[Any, Any]:
    """A matrix of that rank with normal factors, and which of its entries are missing."""
    rng = np.random.default_rng(seed)
    rows, columns = shape
    matrix = rng.normal(size=(rows, rank)) @ rng.normal(size=(rank, columns))
    if gaps == "random":
        return matrix, rng.random(shape) < 0.5
    missing = np.zeros(shape, bool)
    for row in missing:
        row[(rng.integers(0, columns) + np.arange(columns // 2)) % columns] = True
    return matrix, missing


def measure(shape: tuple[int, int], rank: int, gaps: str, seed: int) -> dict:
    """One search, and how close it comes."""
    matrix, missing = planted(shape, rank, gaps, seed)
    problem = tnjax.Completion.from_mask(matrix, ~missing, validation=0.1, key=jax.random.key(seed))
    begin = time.perf_counter()
    result = tnjax.search(problem, key=jax.random.key(seed), target_error=1e-4)
    seconds = time.perf_counter() - begin
    wrong = (np.asarray(result.network.to_dense()) - matrix)[missing]
    error = float(np.linalg.norm(wrong) / np.linalg.norm(matrix[missing]))
    return {
        "seed": seed,
        "params": result.num_params,
        "planted": rank * sum(shape),
        "missing": error,
        "held_out": result.error,
        "status": result.status.value,
        "seconds": seconds,
        "found": result.num_params == rank * sum(shape) and error <= 1e-3,
    }


def main(arguments: list[str] | None = None) -> list[dict]:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--gaps", nargs="+", choices=GAPS, default=list(GAPS))
    parser.add_argument("--ranks", nargs="+", type=int, default=list(RANKS))
    parser.add_argument("--rows", nargs="+", type=int, choices=[s[0] for s in SHAPES])
    parser.add_argument("--out", type=Path)
    options = parser.parse_args(arguments)
    jax.config.update("jax_enable_x64", True)
    found = []
    print(f"{'matrix':8} {'rank':>4} {'missing':8} {'found':>9} {'seconds':>8}  others")
    for shape in SHAPES:
        if options.rows and shape[0] not in options.rows:
            continue
        for rank in options.ranks:
            for gaps in options.gaps:
                runs = [measure(shape, rank, gaps, seed) for seed in range(options.seeds)]
                found.append({"shape": shape, "rank": rank, "gaps": gaps, "runs": runs})
                print(_line(found[-1]), flush=True)
                keep(options.out, {**about(__file__, arguments), "matrices": found})
    return found


def _line(row: dict) -> str:
    runs = row["runs"]
    good = sum(run["found"] for run in runs)
    others = [
        f"seed {run['seed']}: {run['params']} for {run['planted']}, {run['missing']:.1e}"
        for run in runs
        if not run["found"]
    ]
    return (
        f"{row['shape'][0]}x{row['shape'][1]:<5} {row['rank']:>4} {row['gaps']:8} "
        f"{good:>3} of {len(runs):<2} {sum(run['seconds'] for run in runs):>8.1f}  "
        f"{'; '.join(others) or '-'}"
    )


if __name__ == "__main__":
    main()
