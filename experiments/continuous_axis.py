"""A climate field on continuous axes: values at times and places where nothing was observed.

    python experiments/continuous_axis.py --seeds 5 --out axis.json
    python experiments/continuous_axis.py --made-up --seeds 1

The surface temperature of North America (iris-sample-data, 240 times x 37 latitudes x 49
longitudes) is observed in a share of its cells, and never at every third time, latitude or
longitude. Time, latitude and longitude are functions (splines), so that the network has values
between the coordinates. "Cells" are unobserved cells whose coordinates were seen, "between" those
with at least one coordinate that was not. Scores are the root of the share of the variance that is
left unexplained: 1 for the mean. Baselines: the mean of the nearest observed cells, weighted by
their distance in units of the axes (how many neighbors, and how much a unit of time counts, by
held-out cells), and histogram gradient boosting. `--made-up` takes a smooth field instead, which
needs no data.
"""

import argparse
import sys
import time
from pathlib import Path

import jax
import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

from records import about, keep

import tnjax
from tnjax.features import Spline

AXES = ("time", "latitude", "longitude")


def field(made_up: bool) -> np.ndarray:
    """The values, [times, latitudes, longitudes]."""
    if not made_up:
        from datasets import north_america

        return north_america("E1")
    t, a, b = np.meshgrid(*(np.linspace(0, 1, n) for n in (16, 10, 12)), indexing="ij")
    return np.sin(3 * t) * (1 + a) + np.cos(4 * b) * a * (1 + 0.3 * t)


def parts(shape: tuple[int, ...], share: float, seed: int) -> tuple[np.ndarray, ...]:
    """Observed cells, other cells at coordinates that were seen, and those between."""
    rng = np.random.default_rng(seed)
    seen = np.ones(shape, bool)
    for axis, size in enumerate(shape):
        inner = np.arange(size) % 3 != 1
        seen &= inner.reshape([-1 if k == axis else 1 for k in range(len(shape))])
    observed = seen & (rng.random(shape) < share)
    some = lambda mask: rng.permutation(np.argwhere(mask))[:20_000]
    return np.argwhere(observed), some(seen & ~observed), some(~seen)


def table(cells: np.ndarray, shape: tuple[int, ...]) -> dict[str, np.ndarray]:
    """Coordinates between 0 and 1, by the name of the axis."""
    return {name: cells[:, k] / (shape[k] - 1) for k, name in enumerate(AXES)}


def network(cells, values, shape, seed: int, knots: list[int], options) -> tuple:
    """What `search` learns, as a function of cells, and its parameters."""
    axes = {name: Spline(count) for name, count in zip(AXES, knots, strict=True)}
    split, key = jax.random.split(jax.random.key(seed))
    problem = tnjax.Completion.on_axes(table(cells, shape), values, axes, validation=0.1, key=split)
    found = tnjax.search(problem, key=key, max_seconds=options.max_seconds, max_steps=100)
    last = tnjax.fit(problem.everything(), found.network)
    predict = lambda cells: np.asarray(last.model.predict(table(cells, shape)))
    return predict, last.network.num_params


def neighbors(cells, values, seed: int):
    """The best mean of the nearest cells, by a tenth of them."""
    from sklearn.neighbors import KNeighborsRegressor

    order = np.random.default_rng(seed).permutation(len(cells))
    held, train = order[: len(cells) // 10], order[len(cells) // 10 :]
    best = None
    for unit in (0.1, 0.3, 1.0, 3.0):
        units = np.asarray([unit, 1.0, 1.0])
        for count in (2, 4, 8, 16):
            model = KNeighborsRegressor(count, weights="distance").fit(
                cells[train] * units, values[train]
            )
            risk = np.mean((model.predict(cells[held] * units) - values[held]) ** 2)
            if best is None or risk < best[0]:
                best = risk, count, units
    assert best is not None
    _, count, units = best
    model = KNeighborsRegressor(count, weights="distance").fit(cells * units, values)
    return lambda cells: model.predict(cells * units)


def boosting(cells, values):
    """Histogram gradient boosting with scikit-learn's defaults."""
    from sklearn.ensemble import HistGradientBoostingRegressor

    return HistGradientBoostingRegressor(random_state=0).fit(cells, values).predict


def run(seed: int, options) -> list[dict]:
    """One line for each method."""
    data = np.asarray(field(options.made_up), np.float64)
    observed, unseen, between = parts(data.shape, options.share, seed)
    values = data[tuple(observed.T)]
    knots = options.knots or [max(4, n // 3) for n in data.shape]
    methods = {
        "tnjax": lambda: network(observed, values, data.shape, seed, knots, options),
        "neighbors": lambda: (neighbors(observed, values, seed), None),
        "boosting": lambda: (boosting(observed, values), None),
    }
    lines = []
    for name, learn in methods.items():
        begin = time.perf_counter()
        predict, params = learn()
        seconds = time.perf_counter() - begin
        scores = {}
        for part, cells in {"cells": unseen, "between": between}.items():
            truth = data[tuple(cells.T)]
            scores[part] = float(np.sqrt(np.mean((predict(cells) - truth) ** 2)) / truth.std())
        lines.append({"seed": seed, "method": name, **scores, "params": params, "seconds": seconds})
    return lines


def main(arguments: list[str] | None = None) -> list[dict]:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--made-up", action="store_true")
    parser.add_argument("--share", type=float, default=0.2)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--knots", type=int, nargs=3, help="functions of each axis")
    parser.add_argument("--max-seconds", type=float)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args(arguments)
    lines: list[dict] = []
    print(f"{'seed':>4} {'method':10}{'cells':>8}{'between':>9}{'params':>8}{'seconds':>9}")
    for seed in range(options.seeds):
        for line in run(seed, options):
            lines.append(line)
            params = "" if line["params"] is None else line["params"]
            print(
                f"{seed:>4} {line['method']:10}{line['cells']:>8.4f}{line['between']:>9.4f}"
                f"{params:>8}{line['seconds']:>9.1f}",
                flush=True,
            )
    keep(options.out, {**about(__file__, arguments), "lines": lines})
    return lines


if __name__ == "__main__":
    main()
