"""Speed and memory of tensor-network layers against the dense one.

    python experiments/benchmarks/layers.py --size 1024 --batches 1 32 256 --out layers.json

For each layout of a square layer and each batch size: median seconds of the forward pass and of
forward with backward, and the bytes that the compiler plans for them; ratios below 1 mean that the
network is faster, or smaller, than the dense layer.
"""

import argparse
import sys
from pathlib import Path

import jax

sys.path.insert(0, str(Path(__file__).parents[1]))

import tables

from tnjax.nn import (
    block_tensor_train,
    dense_layout,
    factor,
    init_cores,
    layer_cost,
    low_rank,
    monarch,
    tr_matrix,
    tt_matrix,
    tucker_matrix,
)


def layouts(size: int) -> dict:
    """Layouts of about 2 to 10 % of the dense parameters."""
    digits = factor(size, 5)
    half = factor(size, 2)
    return {
        "dense": dense_layout(size, size),
        "low rank 32": low_rank(size, size, 32),
        "TT 16": tt_matrix(digits, digits, 16),
        "TR 12": tr_matrix(digits, digits, 12),
        "Tucker 6": tucker_matrix(digits, digits, 6),
        "Monarch": monarch(size, size, half[0]),
        "BTT 2": block_tensor_train(half, half[::-1], 2),
    }


def main(arguments: list[str] | None = None) -> list[dict]:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=1024)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 32, 256])
    parser.add_argument("--layouts", nargs="+", help="some of them; the dense layer comes first")
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args(arguments)
    rows = []
    for batch in options.batches:
        dense = None
        for name, layout in layouts(options.size).items():
            if options.layouts and name not in ("dense", *options.layouts):
                continue
            cores = init_cores(layout, key=jax.random.key(0), variance=1 / options.size)
            cost = layer_cost(layout, cores, batch, repeats=options.repeats)
            dense = dense or cost
            rows.append(
                {
                    "layer": name,
                    "params": layout.num_params,
                    "batch": batch,
                    "mode": layout.forecast(batch).best,
                    "forward_ms": round(1e3 * cost.forward, 3),
                    "vs_dense": round(cost.forward / dense.forward, 2),
                    "backward_ms": round(1e3 * cost.backward, 3),
                    "b_vs_dense": round(cost.backward / dense.backward, 2),
                    "forward_MiB": round(cost.forward_bytes / 2**20, 2),
                    "backward_MiB": round(cost.backward_bytes / 2**20, 2),
                }
            )
            tables.show(rows[-1:], list(rows[-1]))
    print()
    tables.show(rows, list(rows[0]))
    tables.write(options.out, rows, arguments)
    return rows


if __name__ == "__main__":
    main()
