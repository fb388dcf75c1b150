"""Digits with a compressed layer: accuracy against parameters for fixed formats and a learned
structure.

    python experiments/compress_mnist.py --seeds 0 1 2 3 4 --out mnist.json --plot mnist.png
    python experiments/compress_mnist.py --data FOLDER   # IDX files of MNIST or Fashion-MNIST
    python experiments/compress_mnist.py --seeds --add a.json b.json --plot both.png   # run before

The network of the paper: a layer 1024 x 1024, ReLU, and a dense classifier. The layer is dense, low
rank, TT, TR, Tucker, Block Tensor-Train, or a learned network of five nodes of 4 x 4, at equal
parameters (the largest ranks that stay within the budget). The learned one starts as a chain of
`--start` times the budget, grows any of its bonds under the loss to `--overshoot` times the budget
(never beyond `--largest`), and is cut back to the budget in `--cuts` moves, the last one after
`--share` of its steps.

All are trained from scratch at every budget: Adam, `--steps` steps in all (the learned network's
include what it has while it is larger), the same batches in the same order (the learned one skips
those on which ranks are measured before a cut), a constant rate that falls to zero over the last
`--decay` of the steps. The model of the least loss on validation images is measured on test images.
"best" is the accuracy of the method's best model on validation images among those within the
budget: larger is not always better here, for no method.
"""

import argparse
import json
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

sys.path.insert(0, str(Path(__file__).parent))

import digits
import tables

from tnjax import compress
from tnjax.nn import (
    CompressResult,
    Grow,
    Layout,
    Task,
    Trained,
    Training,
    block_tensor_train,
    low_rank,
    paired,
    tr_matrix,
    train,
    tt_matrix,
    tucker_matrix,
)
from tnjax.nn.equinox import TNLinear


class Classifier(eqx.Module):
    hidden: eqx.Module
    out: eqx.nn.Linear

    def __call__(self, x):
        return self.out(jax.nn.relu(self.hidden(x)))

    def batched(self, x):
        """Logits of a batch; the layer sees all of it at once."""
        if isinstance(self.hidden, TNLinear):
            hidden = self.hidden(x)
        else:
            hidden = x @ self.hidden.weight.T + self.hidden.bias
        return jax.nn.relu(hidden) @ self.out.weight.T + self.out.bias


def formats(dims: tuple[int, ...]) -> dict[str, Callable[[int], Layout]]:
    size = int(np.prod(dims))
    # A rank beyond the legs on one side of a bond would be for nothing.
    legs = np.square(dims, dtype=float)
    full = [int(min(np.prod(legs[:k]), np.prod(legs[k:]))) for k in range(1, len(dims))]
    half = int(np.prod(dims[: len(dims) // 2])), int(np.prod(dims[len(dims) // 2 :]))
    return {
        "low rank": lambda r: low_rank(size, size, r),
        "TT": lambda r: tt_matrix(dims, dims, [min(r, most) for most in full]),
        "TR": lambda r: tr_matrix(dims, dims, r),
        "Tucker": lambda r: tucker_matrix(dims, dims, r),
        "BTT": lambda r: block_tensor_train(half, half[::-1], r),
    }


def largest(layout: Callable[[int], Layout], budget: int) -> Layout | None:
    """The format at its largest rank within the budget."""
    rank, last = 0, 0
    while last < (size := layout(rank + 1).num_params) <= budget:
        rank, last = rank + 1, size
    return layout(rank) if rank else None


def loss(model, batch):
    logits = model.batched(batch[0])
    return optax.softmax_cross_entropy_with_integer_labels(logits, batch[1]).mean()


def wrong(model, batch):
    return jnp.mean(jnp.argmax(model.batched(batch[0]), axis=-1) != batch[1])


def measure(options: argparse.Namespace, arguments: list[str] | None) -> list[dict]:
    dims = tuple(options.dims)
    size = int(np.prod(dims))
    rows = []
    optimizer = optax.adam(options.rate)  # one object, so that programs are shared
    for seed in options.seeds:
        data = digits.load(options.data, train=options.train, test=options.test, seed=seed)
        parts = {
            name: [(jnp.asarray(x[:, -size:]), jnp.asarray(y)) for x, y in _batches(part, options)]
            for name, part in data.items()
        }
        task = Task(loss, parts["train"], validation=parts["validation"])
        best: dict[str, dict] = {}

        def keep(row, model, metric, parts=parts, best=best):
            row |= {"validation": metric, "accuracy": test_accuracy(parts["test"], model)}
            if row["method"] not in best or row["validation"] < best[row["method"]]["validation"]:
                best[row["method"]] = row
            rows.append(row | {"best": best[row["method"]]["accuracy"]})
            _tell(rows[-1])

        for fraction in options.fractions:
            budget = int(fraction * size**2)
            row = {"seed": seed, "fraction": fraction, "budget": budget}
            begin = time.perf_counter()
            found = learn(options, dims, seed, task, budget, optimizer)
            structure = found.model.hidden.layout.structure
            edges = {"-".join(map(str, edge)): rank for edge, rank in structure.edges.items()}
            own = {"method": "learned", "params": found.num_params, "edges": edges}
            own["seconds"] = time.perf_counter() - begin
            keep(row | own, found.model, found.metric)
            for name in options.formats:
                layout = largest(formats(dims)[name], budget)
                if layout is None:
                    continue
                begin = time.perf_counter()
                hidden = TNLinear(layout, key=jax.random.key(seed))
                trained = fresh(hidden, size, seed, task, options, optimizer)
                own = {"method": name, "params": layout.num_params}
                own["seconds"] = time.perf_counter() - begin
                keep(row | own, trained.model, trained.metric)
        if options.dense:
            begin = time.perf_counter()
            hidden = eqx.nn.Linear(size, size, key=jax.random.key(seed))
            trained = fresh(hidden, size, seed, task, options, optimizer)
            row = {"seed": seed, "fraction": 1.0, "budget": size**2, "method": "dense"}
            row |= {"params": size**2, "seconds": time.perf_counter() - begin}
            keep(row, trained.model, trained.metric)
        tables.write(options.out, rows, arguments)  # what there is, should the rest not be run
    return rows


def learn(options, dims, seed: int, task: Task, budget: int, optimizer) -> CompressResult:
    """A chain that grows beyond the budget and is cut back."""
    size = int(np.prod(dims))
    most = max(int(options.largest * size**2) / budget, 1.0)
    overshoot = min(options.overshoot, most)
    start = min(options.start, overshoot)
    chain = largest(formats(dims)["TT"], int(start * budget)) or paired(dims, dims)
    model = Classifier(
        TNLinear(chain, key=jax.random.key(seed)),
        eqx.nn.Linear(size, 10, key=jax.random.key(seed + 1)),
    )
    moves = math.ceil(math.log(overshoot / start) / math.log(options.factor) - 1e-9)
    steps = max(1, int(options.share * options.steps) // (moves + options.cuts))
    if overshoot == 1 and not moves:
        steps = options.steps  # nothing to learn but the cores
    return compress(
        model,
        task,
        layers="hidden",
        budget=budget,
        method=Grow(
            factor=options.factor,
            power=options.power,
            overshoot=overshoot,
            cuts=options.cuts,
            screen_batches=options.screen_batches,
        ),
        training=Training(
            train_only="all",
            transformation=optimizer,
            steps=steps,
            total_steps=options.steps,
            schedule=falling(options),
            checks=options.checks,
        ),
        key=jax.random.key(seed),
    )


def falling(options) -> optax.Schedule:
    """Factor of the rate: one, then a line to zero."""
    last = max(1, int(options.decay * options.steps))
    return optax.linear_schedule(1.0, 0.0, last, transition_begin=options.steps - last)


def fresh(hidden, size: int, seed: int, task: Task, options, optimizer) -> Trained:
    model = Classifier(hidden, eqx.nn.Linear(size, 10, key=jax.random.key(seed + 1)))
    return train(
        model,
        task,
        names=lambda name: True,
        transformation=optimizer,
        steps=options.steps,
        schedule=falling(options),
        checks=options.checks,
    )


def test_accuracy(batches: list, model: Classifier) -> float:
    errors = jax.jit(lambda arrays, batch: wrong(eqx.combine(arrays, static), batch))
    arrays, static = eqx.partition(model, eqx.is_array)
    return 1 - float(np.mean([errors(arrays, batch) for batch in batches]))


def _batches(part, options):
    x, y = part
    size = min(options.batch, len(x))
    for start in range(0, len(x) - size + 1, size):
        yield x[start : start + size], y[start : start + size]


def _tell(row: dict) -> None:
    columns = ["seed", "fraction", "method", "params", "accuracy", "best", "seconds", "edges"]
    tables.show([row], columns)


def summary(rows: list[dict], key: str = "best", spread: bool = False) -> list[dict]:
    """Mean test accuracy by method and budget, or its standard error."""
    return _table(rows, _error if spread else np.mean, lambda row: row[key])


def differences(rows: list[dict], key: str = "accuracy", spread: bool = False) -> list[dict]:
    """The learned network's accuracy minus the method's of the same seed: mean, or standard
    error."""
    place = lambda row: (row["seed"], row["fraction"])
    learned = {place(row): row[key] for row in rows if row["method"] == "learned"}
    paired = [row for row in rows if place(row) in learned and row["method"] != "learned"]
    statistic = _error if spread else np.mean
    return _table(paired, statistic, lambda row: learned[place(row)] - row[key])


def _error(values: list[float]) -> float:
    return float(np.std(values, ddof=1) / len(values) ** 0.5) if len(values) > 1 else float("nan")


def _table(rows: list[dict], statistic: Callable, value: Callable[[dict], float]) -> list[dict]:
    out = []
    for fraction in sorted({row["fraction"] for row in rows}):
        own = [row for row in rows if row["fraction"] == fraction]
        line = {"fraction": fraction}
        for method in dict.fromkeys(row["method"] for row in rows):
            found = [value(row) for row in own if row["method"] == method]
            if found:
                line[method] = float(statistic(found))
        out.append(line)
    return out


def plot(rows: list[dict], path: Path) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 4))
    table, errors = summary(rows, "accuracy"), summary(rows, "accuracy", spread=True)
    for method in dict.fromkeys(row["method"] for row in rows):
        points = [
            (line["fraction"], line[method], error[method])
            for line, error in zip(table, errors)
            if method in line
        ]
        if method == "dense":
            axes.axhline(points[0][1], color="gray", linestyle=":", label=method)
            continue
        x, y, error = zip(*points)
        bars = None if np.isnan(error).any() else error
        width = 3 if method == "learned" else 1
        axes.errorbar(x, y, bars, marker="o", label=method, linewidth=width, capsize=2)
    axes.set(xscale="log", xlabel="parameters / dense", ylabel="test accuracy")
    axes.legend()
    figure.savefig(path, dpi=150, bbox_inches="tight")
    plt.close(figure)


def main(arguments: list[str] | None = None) -> list[dict]:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder of IDX files; MNIST-5k by default")
    parser.add_argument("--fractions", type=float, nargs="+", default=[0.01, 0.02, 0.05, 0.1, 0.2])
    parser.add_argument("--formats", nargs="*", default=["low rank", "TT", "TR", "Tucker", "BTT"])
    parser.add_argument("--dims", type=int, nargs="+", default=[4, 4, 4, 4, 4])
    parser.add_argument("--start", type=float, default=8.0, help="times the budget")
    parser.add_argument("--overshoot", type=float, default=8.0, help="times the budget")
    parser.add_argument("--cuts", type=int, default=3, help="moves from there to the budget")
    parser.add_argument("--largest", type=float, default=0.2, help="of the dense layer")
    parser.add_argument(
        "--share", type=float, default=0.75, help="of the steps before the last cut"
    )
    parser.add_argument("--seeds", type=int, nargs="*", default=[0])
    parser.add_argument(
        "--add", type=Path, nargs="*", default=[], help="files of other seeds to show with these"
    )
    parser.add_argument("--train", type=int, default=3400)
    parser.add_argument("--test", type=int, default=1000)
    parser.add_argument("--batch", type=int, default=50)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--decay", type=float, default=0.4, help="of the steps, at the end")
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--factor", type=float, default=1.5, help="of the parameters in a move")
    parser.add_argument("--power", type=float, default=0.5)
    parser.add_argument("--screen-batches", type=int, default=4)
    parser.add_argument("--checks", type=int, default=6)
    parser.add_argument("--dense", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args(arguments)
    rows = [row for path in options.add for row in json.loads(path.read_text())["rows"]]
    rows += measure(options, arguments)
    for title, table in (
        ("accuracy", summary(rows, "accuracy")),
        ("standard error", summary(rows, "accuracy", spread=True)),
        ("learned minus the other, paired", differences(rows)),
        ("standard error", differences(rows, spread=True)),
        ("accuracy of the best within the budget", summary(rows, "best")),
    ):
        print(f"\n{title}")
        tables.show(table, list(dict.fromkeys(name for line in table for name in line)))
    tables.write(options.out, rows, arguments)
    if options.plot:
        plot(rows, options.plot)
    return rows


if __name__ == "__main__":
    main()
