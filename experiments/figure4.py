"""Figure 4 of arXiv 2008.05437: tensors of size 7^5 with a planted network, error against
parameters of the search, of named formats with equal ranks, and of a random walk.

    python experiments/figure4.py                  # all four tensors, three seeds
    python experiments/figure4.py size=small       # under a minute
    python experiments/figure4.py structures=[ring] seeds=1 output=runs/ring

Writes results.csv (the curves), summary.csv (parameters at the target error), figure4.png,
results.json and the resolved config.yaml. Each method gives the pairs of parameters and error that
no other structure it fitted beats: the search and the random walk all of theirs, the formats one
fit from random cores for each rank, ranks no larger than the unfoldings can use. The search grows
(`infer=False`): the graphs that it would otherwise infer from the ranks of the unfoldings, and fit
at once, make no curve.
"""

import csv
import dataclasses
import itertools
import math
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

import hydra
import jax
import numpy as np
from common import begin, front, group, make_strategy, make_structure, planted_tensor, write_results
from omegaconf import DictConfig

import tnjax

NAMES = {"greedy": "search (tnjax)", "random-walk": "random walk", "tt": "tensor train"}
NAMES |= {"tucker": "Tucker", "cp": "CP", "tr": "tensor ring"}


def ladder(format: str, dims: tuple[int, ...]) -> Iterator[tnjax.Structure]:
    """A format with equal ranks 1, 2, ..., each no larger than what its unfolding can use."""
    before = None
    for rank in itertools.count(1):
        if format == "cp":
            structure = tnjax.Structure.cp(dims, rank)
        elif format == "tucker":
            most = [min(n, math.prod(dims) // n) for n in dims]
            structure = tnjax.Structure.tucker(dims, [min(rank, m) for m in most])
        else:
            sides = [(math.prod(dims[:k]), math.prod(dims[k:])) for k in range(1, len(dims))]
            structure = tnjax.Structure.tensor_train(dims, [min(rank, *side) for side in sides])
        if structure == before:
            return
        yield structure
        before = structure


def run_ladder(format: str, tensor: np.ndarray, seed: int, config: DictConfig) -> list:
    problem, points = tnjax.Decomposition(tensor), []
    for structure in ladder(format, tensor.shape):
        if structure.num_params > config.max_params:
            break
        fitted = tnjax.fit(
            problem, structure, key=jax.random.key(seed), target_error=config.target_error / 2
        )
        points.append((structure.num_params, float(fitted.error)))
        if fitted.error <= config.target_error:
            break
    return points


def run_search(method: str, tensor: np.ndarray, seed: int, config: DictConfig) -> list:
    walk = method == "random-walk"
    strategy = make_strategy(group("search", method))
    if isinstance(strategy, tnjax.Greedy):
        strategy = dataclasses.replace(strategy, infer=False)
    result = tnjax.search(
        tnjax.Decomposition(tensor),
        key=jax.random.key(seed),
        strategy=strategy,
        target_error=config.target_error,
        max_params=config.walk_params if walk else config.max_params,
    )
    return [(record.num_params, float(record.error)) for record in result.archive]


def run(config: DictConfig) -> list[dict]:
    """All curves; returns the rows of the summary."""
    output = begin(config)
    rows = []
    for name in config.structures:
        planted = make_structure(group("structure", name))
        for method, seed in itertools.product(config.methods, range(config.seeds)):
            tensor = planted_tensor(planted, seed=seed)
            start = time.perf_counter()
            does = run_ladder if method in ("cp", "tt", "tucker") else run_search
            points = front(does(method, tensor, seed, config))
            seconds = time.perf_counter() - start
            head = {"tensor": name, "planted": planted.num_params, "method": method, "seed": seed}
            for params, error in points:
                rows.append({**head, "params": params, "error": error, "seconds": seconds})
            last = points[-1]
            print(
                f"{name:<10}{method:<13}{seed:>3}{last[0]:>7}{last[1]:>11.2e}{seconds:>8.1f} s",
                flush=True,
            )
            write_results(output, rows, config)
    table = summary(rows, config)
    with open(output / "summary.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(table[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(table)
    print_table(table)
    picture(rows, config, output / "figure4.png")
    return table


def summary(rows: list[dict], config: DictConfig) -> list[dict]:
    """For each tensor and method, parameters at the target error and how often it was met."""
    out = []
    for name, method in itertools.product(config.structures, config.methods):
        own = [row for row in rows if (row["tensor"], row["method"]) == (name, method)]
        needed, seconds = [], []
        for seed in range(config.seeds):
            runs = [row for row in own if row["seed"] == seed]
            met = [row["params"] for row in runs if row["error"] <= config.target_error]
            needed += [min(met)] if met else []
            seconds.append(runs[0]["seconds"])
        out.append(
            {
                "tensor": name,
                "planted": own[0]["planted"],
                "method": method,
                "met": f"{len(needed)} of {config.seeds}",
                "median_params": statistics.median(needed) if needed else None,
                "least": min(needed, default=None),
                "most": max(needed, default=None),
                "median_seconds": round(statistics.median(seconds), 2),
            }
        )
    return out


def print_table(table: list[dict]) -> None:
    print(f"\n{'tensor':<10}{'planted':>8}  {'method':<13}{'met':>8}{'median params':>15}")
    for row in table:
        found = "-" if row["median_params"] is None else f"{row['median_params']:g}"
        print(
            f"{row['tensor']:<10}{row['planted']:>8}  {row['method']:<13}{row['met']:>8}{found:>15}"
        )


def picture(rows: list[dict], config: DictConfig, path: Path) -> None:
    """A panel for each tensor; a thin line for each seed."""
    from matplotlib.figure import Figure

    from tnjax.plot.chart import PALETTE

    count = len(config.structures)
    columns = min(count, 2)
    figure = Figure(figsize=(4.6 * columns, 3.5 * math.ceil(count / columns)), layout="constrained")
    panels = figure.subplots(math.ceil(count / columns), columns, squeeze=False).ravel()
    for panel, name in zip(panels, config.structures):
        own = [row for row in rows if row["tensor"] == name]
        for method, color in zip(config.methods, PALETTE):
            for seed in range(config.seeds):
                line = [r for r in own if (r["method"], r["seed"]) == (method, seed)]
                label = NAMES.get(method, method) if seed == 0 else None
                panel.plot(
                    [row["params"] for row in line],
                    [max(row["error"], config.target_error / 10) for row in line],
                    color=color,
                    lw=2 if method == "greedy" else 1,
                    alpha=0.9 if method == "greedy" else 0.6,
                    zorder=3 if method == "greedy" else 2,
                    label=label,
                )
        panel.axvline(own[0]["planted"], color="#555555", lw=1, ls=":")
        panel.axhline(config.target_error, color="#555555", lw=1, ls=":")
        panel.set(
            xscale="log",
            yscale="log",
            title=f"{name}, {own[0]['planted']} parameters planted",
            xlabel="parameters",
            ylabel="relative error",
        )
        panel.grid(alpha=0.25)
    panels[0].legend(frameon=False, fontsize=8)
    for panel in panels[count:]:
        panel.set_axis_off()
    figure.savefig(path, dpi=110)


@hydra.main(version_base=None, config_path="../configs", config_name="figure4")
def main(config: DictConfig) -> None:
    run(config)


if __name__ == "__main__":
    main()
