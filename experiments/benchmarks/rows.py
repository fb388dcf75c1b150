"""Tables of a million rows, fitted in minibatches from columns on disk: seconds and peak of memory.

    python experiments/benchmarks/rows.py --out rows.json
    python experiments/benchmarks/rows.py --rows 2000 4000 --columns 5 --chunk 500

Each number of rows in a process of its own: columns of single precision are written to disk, a
`Supervised` of the first rows says which features to make, and `fit_stream` passes once over all
rows, making features chunk by chunk. The network is a tensor train over the columns. "Seconds" are
those of the pass; "before" is what the process held when it began.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

import jax
import numpy as np
import optax

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))

from own_process import alone, reset_peak, resident_peak
from records import about, keep

import tnjax
from tnjax.contract.cost import format_bytes
from tnjax.features import Spline

_PIECE = 2**16


def write(folder: Path, rows: int, columns: int) -> None:
    """Columns and targets: a sum of smooth functions and one product, with noise."""
    rng = np.random.default_rng([rows, columns])
    names = [*(f"x{k}" for k in range(columns)), "y"]
    files = {
        name: np.lib.format.open_memmap(folder / f"{name}.npy", "w+", np.float32, (rows,))
        for name in names
    }
    for start in range(0, rows, _PIECE):
        x = rng.uniform(-1, 1, (min(_PIECE, rows - start), columns)).astype(np.float32)
        y = np.sin(3 * x[:, 0]) + x[:, 1] * x[:, 2] + 0.1 * rng.standard_normal(len(x))
        for k in range(columns):
            files[f"x{k}"][start : start + len(x)] = x[:, k]
        files["y"][start : start + len(x)] = y


def measured(rows: int, options: argparse.Namespace) -> dict:
    """In this process."""
    with tempfile.TemporaryDirectory(prefix="tnjax-rows-") as folder:
        write(Path(folder), rows, options.columns)
        read = lambda name: np.load(Path(folder) / f"{name}.npy", mmap_mode="r")
        table, y = {f"x{k}": read(f"x{k}") for k in range(options.columns)}, read("y")
        first = {name: np.asarray(column[: options.sample]) for name, column in table.items()}
        problem = tnjax.Supervised(
            first,
            np.asarray(y[: options.sample]),
            maps={name: Spline() for name in table},
            validation=0.2,
            key=jax.random.key(0),
            ridge=1.0,
        )
        network = problem.named_start("additive")
        assert network is not None
        before, begin = reset_peak(), time.perf_counter()
        found = tnjax.fit_stream(
            problem,
            table,
            y,
            network,
            key=jax.random.key(1),
            transformation=optax.adam(1e-3),
            chunk_size=options.chunk,
            batch_size=options.batch,
        )
        seconds = time.perf_counter() - begin
    return {
        "rows": rows,
        "seconds": seconds,
        "compile": found.compile_seconds,
        "before_bytes": before,
        "peak_bytes": resident_peak(),
        "error": found.error,
        "params": found.network.num_params,
    }


def main(arguments: list[str] | None = None) -> list[dict]:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[250_000, 500_000, 1_000_000])
    parser.add_argument("--columns", type=int, default=20)
    parser.add_argument("--sample", type=int, default=5_000, help="rows of the problem")
    parser.add_argument("--chunk", type=int, default=50_000)
    parser.add_argument("--batch", type=int, default=500)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--alone", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.alone is not None:
        found = measured(options.alone, options)
        print(json.dumps(found))
        return [found]
    print(f"{'rows':>10}{'seconds':>10}{'first':>8}{'before':>12}{'peak':>12}{'error':>8}")
    lines = []
    for rows in options.rows:
        words = [f"--{name}={getattr(options, name)}" for name in ("columns", "chunk", "batch")]
        line = alone(__file__, "--alone", str(rows), "--sample", str(options.sample), *words)
        lines.append(line)
        print(
            f"{rows:>10}{line['seconds']:>10.1f}{line['compile']:>8.1f}"
            f"{format_bytes(line['before_bytes']):>12}{format_bytes(line['peak_bytes']):>12}"
            f"{line['error']:>8.3f}",
            flush=True,
        )
    keep(options.out, {**about(__file__, arguments), "lines": lines})
    return lines


if __name__ == "__main__":
    main()
