"""Parking in Birmingham with gaps: the literature's protocol, a table and a JSON file.

    python experiments/benchmarks/traffic.py --data FOLDER --seeds 5 --out traffic.json

FOLDER holds Birmingham.mat, 30 car parks x 77 days x 18 half hours, zeros where nothing is known
(github.com/xinychen/transdim). Hidden are single entries (40 and 60 %), or whole days of a car park
(40 %), always the same ones. The search knows where the hidden entries are, not what they are: what
it holds out is like them, and chooses ridge, smoothness, rank and when to stop. Seeds draw what is
held out and the starts. Root mean square errors over what is hidden and known.

Published: BTMF 18.19, 25.90 and 69.53, BGCP 25.57, 27.89 and 74.29 (Chen and Sun, IEEE Trans.
Pattern Anal. Mach. Intell. 44, 2022).
"""

import argparse
import sys
import time
from pathlib import Path

import jax
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from records import about, keep

import tnjax
from tnjax import Completion, held_out_like

CASES = {"entries 40 %": (False, 0.4), "entries 60 %": (False, 0.6), "days 40 %": (True, 0.4)}


def seen(shape: tuple[int, ...], days: bool, rate: float) -> np.ndarray:
    """Where entries may be seen, by the generator and the seed of the literature."""
    draw = np.random.RandomState(1000).rand(*shape[: 2 if days else 3])
    mask = np.round(draw + 0.5 - rate)
    return np.broadcast_to(mask[..., None] if days else mask, shape) > 0


def run(tensor: np.ndarray, name: str, seed: int, max_params: int, max_seconds: float) -> dict:
    """One search on one case."""
    mask, known = seen(tensor.shape, *CASES[name]), tensor != 0
    observed, hidden = np.argwhere(known & mask), np.argwhere(known & ~mask)
    values = lambda indices: tensor[tuple(indices.T)]
    begin, key = time.perf_counter(), jax.random.key(seed)
    held = held_out_like(observed, tensor.shape, key=key, predict=hidden)
    problem = Completion(
        *(observed, values(observed), tensor.shape),
        validation=held,
        ridge="auto",
        smooth="auto",
    )
    result = tnjax.search(problem, key=key, max_params=max_params, max_seconds=max_seconds)
    gap = np.asarray(problem.predict(result.network, hidden)) - values(hidden)
    return {
        "case": name,
        "seed": seed,
        "held_out": held.describe(("car park", "day", "half hour")),
        "held_out_error": result.error,
        "rmse": float(np.sqrt(np.mean(gap**2))),
        "params": result.num_params,
        "structure": str(result.structure),
        "status": result.status.value,
        "seconds": time.perf_counter() - begin,
    }


def main(arguments: list[str] | None = None) -> dict:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of Birmingham.mat")
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--max-params", type=int, default=10_000)
    parser.add_argument("--max-seconds", type=float, default=300.0)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args(arguments)
    path = options.data / "Birmingham.mat"
    if not path.is_file():
        parser.error(f"--data: there is no {path}")
    from scipy.io import loadmat

    jax.config.update("jax_enable_x64", True)
    tensor = np.asarray(loadmat(path)["tensor"], float)
    record = about(__file__, arguments) | {"rows": []}
    for name in options.cases:
        for seed in range(options.seeds):
            row = run(tensor, name, seed, options.max_params, options.max_seconds)
            record["rows"].append(row)
            print(
                f"{name:<14}{seed:>3}  rmse {row['rmse']:7.2f}{row['params']:>7} parameters  "
                f"{row['status']:<16}{row['seconds']:6.0f} s  held out: {row['held_out']}",
                flush=True,
            )
            keep(options.out, record)
        found = [row["rmse"] for row in record["rows"] if row["case"] == name]
        error = np.std(found, ddof=1) / len(found) ** 0.5 if len(found) > 1 else np.nan
        print(f"{name:<14}  mean {np.mean(found):.2f} ± {error:.2f}")
    return record


if __name__ == "__main__":
    main()
