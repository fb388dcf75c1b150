"""Entries of a planted tensor on disk, too many for memory, completed by `tnjax complete`.

    python experiments/benchmarks/completion_on_disk.py --out completion_on_disk.json
    python experiments/benchmarks/completion_on_disk.py --size small

Draws 5 x 10^7 entries of a tensor of order 4, a planted ring of rank 2, and writes
them below --folder chunk by chunk (1 GB); completes the tensor in a process of its own under a
memory limit, from a subset for the structure and from all entries for the cores; and removes them.
The error is that on the entries put aside for the test. The search does not prune: that would take
most of the time. The peak is that of the whole process.
"""

import argparse
import json
import math
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))

from own_process import MEASURED, alone, command
from records import about, keep

from tnjax import Structure
from tnjax.contract.cost import format_bytes
from tnjax.io import write_samples

SIZES = {
    "full": ((100, 120, 90, 110), 50_000_000, "1GiB"),
    "medium": ((40, 50, 40, 30), 5_000_000, "256MiB"),
    "small": ((9, 8, 10, 7), 30_000, "4MiB"),
}
RANK = 2
_CHUNK = 2**18


def chunks(dims: tuple[int, ...], count: int, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Random entries of a ring, values in single precision."""
    rng = np.random.default_rng([seed, 2008, 5437])
    cores = [rng.standard_normal((n, RANK, RANK)) for n in dims]
    for first in range(0, count, _CHUNK):
        size = min(_CHUNK, count - first)
        indices = np.stack([rng.integers(n, size=size, dtype=np.int32) for n in dims], 1)
        product = cores[0][indices[:, 0]]
        for core, column in zip(cores[1:], indices.T[1:], strict=True):
            product = np.matmul(product, core[column])
        yield indices, np.trace(product, axis1=1, axis2=2).astype(np.float32)


def complete(path: Path, out: Path, options: argparse.Namespace) -> dict:
    """In this process: `tnjax complete`, its time and the process's peak of memory."""
    words = ["complete", str(path), "--out", str(out), "--cache", "none", "--no-prune"]
    words += ["--memory-limit", options.memory_limit, "--seed", str(options.seed)]
    words += ["--subset", str(options.subset), "--dtype", options.dtype, "--test", "0.05"]
    words += ["--target-error", str(options.target_error), "--duplicates", "keep"]
    found = command(*words)
    return {name: found[name] for name in ("errors", "num_params", "status", *MEASURED)}


def main(arguments: list[str] | None = None) -> dict:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=SIZES, default="full")
    parser.add_argument("--entries", type=int, help="in place of the number of the size")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--memory-limit")
    parser.add_argument("--subset", type=int, default=500_000)
    parser.add_argument("--dtype", choices=["float64", "float32"], default="float64")
    parser.add_argument("--target-error", type=float, default=1e-4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--alone", nargs=2, type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    dims, count, limit = SIZES[options.size]
    count = options.entries or count
    options.memory_limit = options.memory_limit or limit
    if options.alone:
        found = complete(*options.alone, options)
        print(json.dumps(found))
        return found
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="tnjax-on-disk-") as folder:
        path, out = Path(folder) / "samples", Path(folder) / "run"
        begin = time.perf_counter()
        write_samples(path, chunks(dims, count, options.seed), dims)
        written = time.perf_counter() - begin
        found = alone(
            __file__,
            *("--alone", str(path), str(out), "--memory-limit", options.memory_limit),
            *("--target-error", str(options.target_error), "--seed", str(options.seed)),
            *("--subset", str(options.subset), "--dtype", options.dtype),
        )
        size = sum(file.stat().st_size for file in path.iterdir())
    record = {
        **about(__file__, arguments),
        "dims": dims,
        "entries": count,
        "share": count / math.prod(dims),
        "bytes": size,
        "planted": Structure.tensor_ring(dims, RANK).num_params,
        "params": found["num_params"],
        "errors": found["errors"],
        "status": found["status"],
        "write_seconds": written,
        "complete_seconds": found["seconds"],
        "cpu_seconds": found["cpu"],  # all of the process, imports included
        "memory_limit": options.memory_limit,
        "peak_bytes": found["peak_bytes"],
    }
    print(
        f"{count} entries ({format_bytes(size)}): test error "
        f"{found['errors']['test']['error']:.3g} with {record['params']} parameters (planted: "
        f"{record['planted']}), {record['complete_seconds']:.0f} s, written in {written:.0f} s, "
        f"limit {options.memory_limit}, peak {format_bytes(record['peak_bytes'])} in all"
    )
    keep(options.out, record)
    return record


if __name__ == "__main__":
    main()
