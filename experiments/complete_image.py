"""Completion of a color image from a tenth of its entries: error against parameters.

    python experiments/complete_image.py --out complete-image --seeds 1

The image (scikit-image's astronaut, 600x600x3, values 0 to 1) is seen as 6x10x10x6x10x10x3 and a
tenth of its entries, drawn at random, is observed; a tenth of these is held out for validation.
Compared at 2,000 to 20,000 parameters, by the relative error on the entries that nobody saw:

- search: grown by `tnjax.search`, once; for each budget the best of its networks by the held-out
  entries (its seconds are all in the row of the first budget);
- ring, train: `tnjax.fit` of tensor rings and trains of one rank (TR-ALS, TT-ALS);
- CP, Tucker: TensorLy's decompositions with a mask, of the image as it is, 600x600x3.

"smooth" means that `Completion(smooth=)` ties the finest digits of rows and columns. Leaves
table.csv, result.json, errors.png, and the images of the largest budget, as far as it got where
it is stopped.

Reference:
    arXiv 2008.05437, section 5.2 (the Einstein image).
"""

import argparse
import csv
import dataclasses
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import jax
import numpy as np
import skimage
import skimage.data
import skimage.transform
import tensorly
import tensorly.decomposition
from matplotlib.figure import Figure

import tnjax
from tnjax import Completion, Greedy, Structure
from tnjax.io import random_mask, write_image

DIMS = (6, 10, 10, 6, 10, 10, 3)
SHARE, VALIDATION = 0.1, 0.1
SMALL = {
    "size": 12,
    "dims": (3, 4, 3, 4, 3),
    "share": 0.5,
    "budgets": [40, 80],
    "sweeps": 4,
    "smooth_modes": [1, 3],
}


def image(size: int) -> np.ndarray:
    found = skimage.transform.resize(skimage.data.astronaut(), (size, size), anti_aliasing=True)
    return found.astype(np.float32)


def unseen_error(guess: np.ndarray, truth: np.ndarray, mask: np.ndarray) -> float:
    """Relative Frobenius error over the entries where the mask is false."""
    gap = np.float64(guess[~mask]) - truth[~mask]
    return float(np.linalg.norm(gap) / np.linalg.norm(truth[~mask].astype(np.float64)))


# Networks -----------------------------------------------------------------------------------


def searched(problem: Completion, options, seed: int) -> Iterator[tnjax.SearchResult]:
    """One search up to the largest budget; for each budget the network within it that the
    held-out entries prefer."""
    result = tnjax.search(
        problem,
        key=jax.random.key(seed),
        # no target, nothing to prune for
        strategy=Greedy(increment=options.increment, burst=options.burst, prune=False),
        max_params=max(options.budgets),
        max_seconds=options.max_seconds,
    )
    for budget in options.budgets:
        best = result.choose("error", max_params=budget)
        yield dataclasses.replace(result, network=best.network, error=best.error)


def fitted(
    problem: Completion, options, seed: int, format: Callable[..., Structure]
) -> Iterator[tnjax.FitResult]:
    """Fits of one format, of the largest rank within each budget."""
    for budget in options.budgets:
        rank = 1
        while format(problem.shape, rank + 1).num_params <= budget:
            rank += 1
        structure = format(problem.shape, rank)
        yield tnjax.fit(problem, structure, key=jax.random.key(seed), max_steps=options.sweeps)


# TensorLy -----------------------------------------------------------------------------------


def tensorly_cp(truth: np.ndarray, mask: np.ndarray, budget: int, options, seed: int):
    """The largest rank within the budget; missing entries are imputed in every sweep."""
    rank = max(1, budget // sum(truth.shape))
    found = tensorly.decomposition.parafac(
        np.where(mask, truth, truth[mask].mean()),
        rank,
        mask=mask,
        n_iter_max=options.tensorly_sweeps,
        init="svd",
        random_state=seed,
        tol=1e-6,
    )
    return tensorly.cp_to_tensor(found), rank * sum(truth.shape)


def tensorly_tucker(truth: np.ndarray, mask: np.ndarray, budget: int, options, seed: int):
    height, width, channels = truth.shape
    params = lambda r: r * (height + width) + channels * min(channels, r) + r * r * channels
    rank = 1
    while params(rank + 1) <= budget:
        rank += 1
    ranks = [rank, rank, min(channels, rank)]
    found = tensorly.decomposition.tucker(
        np.where(mask, truth, truth[mask].mean()),
        ranks,
        mask=mask,
        n_iter_max=options.tensorly_sweeps,
        random_state=seed,
        tol=1e-6,
    )
    size = found[0].size + sum(factor.size for factor in found[1])
    return tensorly.tucker_to_tensor(found), size


# All of them --------------------------------------------------------------------------------


def run(options, report: Callable[[dict, np.ndarray], None]) -> None:
    """Report a row and the completed image for every method, budget and seed."""
    truth = image(options.size)
    for seed in range(options.seeds):
        mask = random_mask(truth.shape, options.share, key=jax.random.key(seed))
        write_image(options.out / "observed.png", np.where(mask, truth, 0), 1.0)
        for name, results in methods(truth, mask, options, seed):
            begin, cpu = time.perf_counter(), time.process_time()
            for budget, (guess, params, about) in zip(options.budgets, results):
                row = {"method": name, "seed": seed, "budget": budget, "params": params}
                row["error"] = unseen_error(guess.reshape(truth.shape), truth, mask)
                row["seconds"] = time.perf_counter() - begin
                row["cpu_seconds"] = time.process_time() - cpu
                report(row | about, guess.reshape(truth.shape))
                begin, cpu = time.perf_counter(), time.process_time()


def methods(truth: np.ndarray, mask: np.ndarray, options, seed: int) -> Iterator:
    """Names, and for each budget the completed tensor, its parameters, and more about it."""
    arguments = [(truth, mask, budget, options, seed) for budget in options.budgets]
    for name, method in (("CP", tensorly_cp), ("Tucker", tensorly_tucker)):
        if chosen(name, options):
            yield name, ((*method(*each), {}) for each in arguments)
    formats = {"ring": Structure.tensor_ring, "train": Structure.tensor_train}
    for word, smooth in (
        ("", None),
        (" smooth", dict.fromkeys(options.smooth_modes, options.smooth)),
    ):
        names = [name + word for name in ("search", *formats) if chosen(name + word, options)]
        if not names:
            continue
        problem = Completion.from_mask(
            truth.reshape(options.dims),
            mask.reshape(options.dims),
            validation=VALIDATION,
            key=jax.random.key(seed),
            ridge=options.ridge,
            smooth=smooth,
        )
        for name in names:
            format = formats.get(name.removesuffix(word))
            found = (
                searched(problem, options, seed)
                if format is None
                else fitted(problem, options, seed, format)
            )
            yield name, map(summary, found)


def chosen(name: str, options) -> bool:
    return not options.methods or name in options.methods


def summary(found) -> tuple[np.ndarray, int, dict]:
    network = found.network
    about = {"validation": found.error, "status": found.status.value}
    about["edges"] = json.dumps({str(edge): n for edge, n in network.structure.edges.items()})
    return np.asarray(network.to_dense()), network.num_params, about


def plot(rows: list[dict], path: Path) -> None:
    figure = Figure(figsize=(7, 5), layout="constrained")
    axes = figure.subplots()
    for name in dict.fromkeys(row["method"] for row in rows):
        mine = sorted((r["params"], r["error"]) for r in rows if r["method"] == name)
        style = "o-" if name.startswith("search") else "s--"
        axes.plot(*zip(*mine), style, label=name)
    axes.set(xlabel="parameters", ylabel="relative error on the unseen entries", xscale="log")
    axes.legend()
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=120)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="folder")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--size", type=int, default=600)
    parser.add_argument("--dims", type=int, nargs="+", default=DIMS)
    parser.add_argument("--share", type=float, default=SHARE)
    parser.add_argument("--budgets", type=int, nargs="+", default=[2000, 5000, 10_000, 20_000])
    parser.add_argument("--methods", nargs="*", help="such as search 'ring smooth' CP; default all")
    parser.add_argument("--sweeps", type=int, default=30, help="of rings and trains")
    parser.add_argument("--tensorly-sweeps", type=int, default=100)
    parser.add_argument("--increment", type=int, default=1)
    parser.add_argument("--burst", type=float, default=0.3, help="as of Greedy")
    parser.add_argument("--ridge", type=float, default=0.0)
    parser.add_argument("--smooth", type=float, default=0.1)
    parser.add_argument("--smooth-modes", type=int, nargs="+", default=[2, 5])
    parser.add_argument("--max-seconds", type=float, help="of each search")
    parser.add_argument("--small", action="store_true", help="a small setting, for a test")
    options = parser.parse_args(arguments)
    if options.small:
        vars(options).update(SMALL)
    return options


def main(arguments: list[str] | None = None) -> None:
    options = parse(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    rows: list[dict] = []
    print(f"{'method':<16}{'seed':>5}{'budget':>8}{'params':>8}{'error':>9}{'seconds':>9}")

    def report(row: dict, picture: np.ndarray) -> None:
        rows.append(row)
        print(
            f"{row['method']:<16}{row['seed']:>5}{row['budget']:>8}{row['params']:>8}"
            f"{row['error']:>9.4f}{row['seconds']:>9.1f}",
            flush=True,
        )
        write(rows, options)
        plot(rows, options.out / "errors.png")
        write_image(options.out / f"{row['method'].replace(' ', '-')}.png", picture, 1.0)

    run(options, report)


def write(rows: list[dict], options: argparse.Namespace) -> None:
    """The rows so far: a run that is stopped keeps what it found."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    with open(options.out / "table.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)
    settings = {k: str(v) if isinstance(v, Path) else v for k, v in vars(options).items()}
    versions = {module.__name__: module.__version__ for module in (jax, np, skimage, tensorly)}
    record = {
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "settings": settings,
        "versions": versions | {"tnjax": tnjax.__version__},
        "machine": {"processor": platform.processor(), "cores": os.cpu_count()},
        "rows": rows,
    }
    (options.out / "result.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
