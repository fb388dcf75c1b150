"""Distributions of the density-estimation benchmarks: test log-likelihoods of what is learned.

    python experiments/benchmarks/density.py --data FOLDER --names nltcs dna --seeds 5 --out d.json

FOLDER holds NAME.train.data, NAME.valid.data and NAME.test.data: rows of 0 and 1 between commas.
Rows of the table: the Chow-Liu tree, `tnjax.search` (for each seed), and chains of hidden variables
in fixed orders with no more parameters than the first of these (`--chains` orders: that of the
columns, and random ones; the best one by the rows for validation). Structures, and when to stop,
are chosen by the rows for training and validation alone.
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


def read(folder: Path, name: str) -> list[np.ndarray]:
    """Rows for training, validation and test.

    Raises:
        SystemExit: where a file is missing.
    """
    parts = []
    for part in ("train", "valid", "test"):
        file = folder / f"{name}.{part}.data"
        if not file.is_file():
            raise SystemExit(f"density.py: {file} is missing; give the folder by --data.")
        parts.append(np.loadtxt(file, delimiter=",", dtype=np.int32, ndmin=2))
    return parts


def row(kind: str, seed: int, model, num_params: int, rows, seconds: float) -> dict:
    """One line of the table."""
    train, valid, test = (float(model.log_prob(part).mean()) for part in rows)
    return {
        "kind": kind,
        "seed": seed,
        "train": train,
        "valid": valid,
        "test": test,
        "params": num_params,
        "seconds": seconds,
    }


def chow_liu(rows) -> dict:
    """The tree of observed variables."""
    begin = time.perf_counter()
    density = tnjax.Density(rows[0], validation=rows[1])
    network = density.named_start("chow-liu")
    seconds = time.perf_counter() - begin
    return row("Chow-Liu", 0, density.model(network), network.num_params, rows, seconds)


def searched(rows, seed: int, max_seconds: float | None, max_params: int | None) -> dict:
    """What a search finds."""
    limits = {"max_seconds": max_seconds, "max_params": max_params, "max_steps": 1000}
    density = tnjax.Density(rows[0], validation=rows[1])
    found = tnjax.search(density, key=jax.random.key(seed), **limits)
    return row("tnjax", seed, found.model, found.num_params, rows, found.seconds)


def chain_rank(dims: tuple[int, ...], max_params: int) -> int:
    """The largest rank of a chain of no more parameters; 2 at the least."""
    rank = 2
    while tnjax.Structure.tensor_train(dims, rank + 1).num_params <= max_params:
        rank += 1
    return rank


def chain(rows, order: int, max_params: int) -> dict:
    """A chain of hidden variables, fitted by `EM`, in the order of the columns or a random one."""
    begin, columns = time.perf_counter(), np.arange(rows[0].shape[1])
    if order:
        columns = np.random.default_rng(order).permutation(columns)
    rows = [part[:, columns] for part in rows]
    density = tnjax.Density(rows[0], validation=rows[1])
    train = tnjax.Structure.tensor_train(density.shape, chain_rank(density.shape, max_params))
    found = tnjax.fit(density, train, key=jax.random.key(order), solver=tnjax.EM(max_steps=200))
    seconds = time.perf_counter() - begin
    return row("chain", order, density.model(found.network), train.num_params, rows, seconds)


def table(rows: list[dict]) -> str:
    """For people."""
    head = f"{'':10}{'seed':>6}{'train':>11}{'valid':>11}{'test':>11}{'params':>9}{'seconds':>9}"
    form = "{kind:10}{seed:>6}{train:>11.4f}{valid:>11.4f}{test:>11.4f}{params:>9}{seconds:>9.1f}"
    return "\n".join([head, *(form.format(**line) for line in rows)])


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the tables")
    parser.add_argument("--names", nargs="+", default=["nltcs", "dna"])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--chains", type=int, default=20)
    parser.add_argument("--max-seconds", type=float, help="of one search")
    parser.add_argument("--max-params", type=int, help="of one search")
    parser.add_argument("--out", type=Path, help="a JSON file")
    options = parser.parse_args(arguments)
    found = {}
    for name in options.names:
        rows = read(options.data, name)
        lines = [chow_liu(rows)]
        for seed in range(options.seeds):
            lines.append(searched(rows, seed, options.max_seconds, options.max_params))
            print(name, table(lines[-1:]).splitlines()[1], flush=True)
        most = lines[1]["params"] if options.seeds else lines[0]["params"]
        chains = [chain(rows, order, most) for order in range(options.chains)]
        if chains:
            lines.append(max(chains, key=lambda line: line["valid"]))
        print(f"{name}\n{table(lines)}\n")
        found[name] = {"rows": lines, "chains": chains}
    keep(options.out, {**about(__file__, arguments), "tables": found})


if __name__ == "__main__":
    main()
