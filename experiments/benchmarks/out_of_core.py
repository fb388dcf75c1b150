"""A planted tensor on disk that memory would not hold, decomposed by `tnjax decompose`.

    python experiments/benchmarks/out_of_core.py --out out_of_core.json
    python experiments/benchmarks/out_of_core.py --size small --kind hdf5

Writes a tensor of 200 x 250 x 200 x 200 = 2 x 10^9 numbers in single precision (8 GB) below
--folder, slab by slab, from a ring with a chord and random cores; reads it once from beginning to
end, for comparison; decomposes it in a process of its own under a memory limit; and removes it.
Before either reading, the operating system is asked to forget the file's pages. The error that is
reported is that of the network found over all entries on disk.
"""

import argparse
import contextlib
import json
import math
import os
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

SIZES = {"full": (200, 250, 200, 200), "medium": (100, 100, 100, 100), "small": (40, 30, 20, 25)}
EDGES = {(0, 1): 3, (1, 2): 2, (2, 3): 3, (0, 3): 2, (1, 3): 2}
_SLAB = 32 * 2**20


def planted_slabs(dims: tuple[int, ...], seed: int) -> Iterator[np.ndarray]:
    """The tensor in slabs along its first mode, single precision."""
    structure = Structure.from_edges(dims, EDGES)
    rng = np.random.default_rng([seed, 2008, 5437])
    cores = [rng.standard_normal(structure.core_shape(k)) for k in range(len(dims))]
    order = structure.num_nodes
    names = {edge: chr(ord("A") + k) for k, edge in enumerate(structure.edges)}
    axes = [
        chr(ord("a") + k) + "".join(names[e] for e in structure.core_edges(k)) for k in range(order)
    ]
    rest = np.einsum(f"{axes[2]},{axes[3]}->cd{_open(axes[2], axes[3])}", cores[2], cores[3])
    left = f"{axes[0]},{axes[1]}->ab{_open(axes[0], axes[1])}"
    both = _open(axes[0], axes[1])
    matrix = rest.transpose(
        [("cd" + _open(axes[2], axes[3])).index(c) for c in both + "cd"]
    ).reshape(-1, dims[2] * dims[3])
    matrix = matrix.astype(np.float32)
    rows = max(1, _SLAB // (4 * math.prod(dims[1:])))
    for first in range(0, dims[0], rows):
        part = np.einsum(left, cores[0][first : first + rows], cores[1])
        part = part.reshape(-1, matrix.shape[0]).astype(np.float32) @ matrix
        yield part.reshape(-1, *dims[1:])


def _open(left: str, right: str) -> str:
    """The bonds that lead out of a pair of nodes."""
    return "".join(c for c in left + right if c.isupper() and (left + right).count(c) == 1)


def write(path: Path, dims: tuple[int, ...], seed: int) -> None:
    """The tensor as `.npy`, HDF5 or Zarr, by the suffix; never in memory as a whole."""
    first = 0
    with contextlib.ExitStack() as stack:
        if path.suffix == ".npy":
            file = stack.enter_context(open(path, "wb"))
            header = {"descr": "<f4", "fortran_order": False, "shape": dims}
            np.lib.format.write_array_header_1_0(file, header)
            for slab in planted_slabs(dims, seed):
                file.write(slab.data)
            file.flush()
            os.fsync(file.fileno())
            return
        if path.suffix == ".h5":
            import h5py

            chunks = (1, *dims[1:])
            target = stack.enter_context(h5py.File(path, "w"))
            stored = target.create_dataset("x", dims, "<f4", chunks=chunks)
        else:
            import zarr

            stored = zarr.create_array(path, shape=dims, chunks=(1, *dims[1:]), dtype="<f4")
        for slab in planted_slabs(dims, seed):
            stored[first : first + len(slab)] = slab
            first += len(slab)


def forget(path: Path) -> None:
    """Ask the operating system to drop the pages of a file that it keeps."""
    for file in [path] if path.is_file() else path.rglob("*"):
        if file.is_file() and hasattr(os, "posix_fadvise"):
            handle = os.open(file, os.O_RDONLY)
            os.fsync(handle)
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(handle)


def read_once(path: Path) -> float:
    """Seconds to read the bytes of a file or folder from beginning to end."""
    buffer, begin = bytearray(_SLAB), time.perf_counter()
    for file in [path] if path.is_file() else sorted(path.rglob("*")):
        if file.is_file():
            with open(file, "rb", buffering=0) as data:
                while data.readinto(buffer):
                    pass
    return time.perf_counter() - begin


def decompose(path: Path, out: Path, limit: str, error: float, seed: int) -> dict:
    """In this process: `tnjax decompose`, its time and the process's peak of memory."""
    options = ["--target-error", str(error), "--memory-limit", limit, "--seed", str(seed)]
    found = command("decompose", str(path), "--out", str(out), "--cache", "none", *options)
    return {name: found[name] for name in ("error", "num_params", "status", *MEASURED)}


def main(arguments: list[str] | None = None) -> dict:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=SIZES, default="full")
    parser.add_argument("--kind", choices=["npy", "hdf5", "zarr"], default="npy")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--memory-limit", default="1GiB")
    parser.add_argument("--target-error", type=float, default=1e-5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--alone", nargs=2, type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.alone:
        limit, error = options.memory_limit, options.target_error
        found = decompose(*options.alone, limit, error, options.seed)
        print(json.dumps(found))
        return found
    dims = SIZES[options.size]
    suffix = {"npy": ".npy", "hdf5": ".h5", "zarr": ".zarr"}[options.kind]
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="tnjax-out-of-core-") as folder:
        path, out = Path(folder) / f"x{suffix}", Path(folder) / "run"
        begin = time.perf_counter()
        write(path, dims, options.seed)
        written = time.perf_counter() - begin
        forget(path)
        reading = read_once(path)
        forget(path)
        found = alone(
            __file__,
            *("--alone", str(path), str(out), "--memory-limit", options.memory_limit),
            *("--target-error", str(options.target_error), "--seed", str(options.seed)),
        )
    planted = Structure.from_edges(dims, EDGES)
    record = {
        **about(__file__, arguments),
        "kind": options.kind,
        "dims": dims,
        "bytes": 4 * math.prod(dims),
        "planted": planted.num_params,
        "params": found["num_params"],
        "error": found["error"],
        "status": found["status"],
        "write_seconds": written,
        "read_seconds": reading,
        "decompose_seconds": found["seconds"],
        "cpu_seconds": found["cpu"],  # all of the process, imports included
        "ratio": found["seconds"] / reading,
        "memory_limit": options.memory_limit,
        "peak_bytes": found["peak_bytes"],
    }
    print(
        f"{format_bytes(record['bytes'])} as {options.kind}: error {record['error']:.3g} with "
        f"{record['params']} parameters (planted: {record['planted']}), "
        f"{record['decompose_seconds']:.1f} s ({record['cpu_seconds']:.1f} s of processors), "
        f"{record['ratio']:.2f} times one reading ({reading:.1f} s), "
        f"peak {format_bytes(record['peak_bytes'])} in all"
    )
    keep(options.out, record)
    return record


if __name__ == "__main__":
    main()
