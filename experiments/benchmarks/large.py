"""Norms of long trains and coarse graining: tables and a JSON file.

    python experiments/benchmarks/large.py --out large.json

`norm`: seconds to compile the logarithm of a norm and its gradient, against the number of nodes
(rank 8, modes of 4), the exponent of a power law through the last three, and the error against
transfer matrices in NumPy's longest floats. `lattice`: the relative error of ln Z per site of Ising
at its critical point, with the published errors, seconds cold and warm, and those of a TRG in plain
NumPy; the energy by the gradient, and scaling dimensions.
"""

import argparse
import json
import math
import platform
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np

import tnjax
from tnjax.contract import log_norm
from tnjax.lattice import coarse_grain, ising, scaling_dimensions

CRITICAL = math.log(1 + math.sqrt(2)) / 2
EXACT = 0.929695398341610  # Onsager's ln Z per site at the critical point
PUBLISHED = {("trg", 24): 2e-6, ("btrg", 24): 6e-8, ("hotrg", 16): 6e-7}


def transfer(cores: list[np.ndarray]) -> float:
    """The logarithm of the norm of a train."""
    total, left = np.longdouble(0), np.ones((1, 1), np.longdouble)
    for node, core in enumerate(cores):
        core = np.asarray(core, np.longdouble)
        if core.ndim == 2:
            core = np.expand_dims(core, 1 if node == 0 else 2)
        half = np.tensordot(left, core, (0, 1))  # [b, i, c]
        left = np.tensordot(half, core, ((0, 1), (1, 0)))
        scale = np.abs(left).max()
        total, left = total + np.log(scale), left / scale
    return float((total + np.log(left[0, 0])) / 2)


def compiled(function, *arguments) -> tuple[Any, float]:
    begin = time.perf_counter()
    program = jax.jit(function).lower(*arguments).compile()
    return program, time.perf_counter() - begin


def norms(nodes: list[int], rank: int) -> dict:
    rows = []
    for count in nodes:
        structure = tnjax.Structure.tensor_train((4,) * count, rank)
        rng = np.random.default_rng(count)
        row: dict[str, Any] = {"nodes": count}
        for dtype, scale in (("float32", 1e3), ("float64", 1e-3)):
            shapes = map(structure.core_shape, range(count))
            cores = [np.asarray(scale * rng.standard_normal(shape), dtype) for shape in shapes]
            network = tnjax.TensorNetwork(structure, cores)
            program, seconds = compiled(log_norm, network)
            exact = transfer(cores)
            row |= {
                f"{dtype}_error": abs(float(program(network)) / exact - 1),
                f"{dtype}_compile": seconds,
            }
        program, row["gradient_compile"] = compiled(jax.grad(log_norm), network)
        jax.block_until_ready(program(network))
        begin = time.perf_counter()
        jax.block_until_ready(program(network))
        row["gradient_run"] = time.perf_counter() - begin
        rows.append(row)
        print("  ".join(f"{k} {v:.3g}" for k, v in row.items()), flush=True)
    last = rows[-3:]
    logs = [[math.log(row[key]) for row in last] for key in ("nodes", "gradient_compile")]
    exponent = float(np.polyfit(*logs, 1)[0]) if len(last) > 1 else None
    print(f"exponent of the gradient's seconds: {exponent}")
    return {"rows": rows, "exponent": exponent}


def numpy_trg(tensor: np.ndarray, chi: int, steps: int) -> float:
    """TRG as one would write it in NumPy."""
    log_z, share = 0.0, 1.0
    for _ in range(steps):
        scale = np.abs(tensor).max()
        log_z, tensor = log_z + share * math.log(scale), tensor / scale
        share /= 2
        n, m = tensor.shape[:2]
        parts = []
        for matrix in (tensor.transpose(3, 0, 1, 2), tensor):
            rows = matrix.shape[:2]
            u, s, vt = np.linalg.svd(matrix.reshape(n * m, n * m), full_matrices=False)
            root = np.sqrt(s[:chi])
            parts += [(u[:, :chi] * root).reshape(*rows, -1)]
            parts += [(vt[:chi].T * root).reshape(*rows, -1)]
        north = np.tensordot(parts[1], parts[3], (0, 1))  # [w, a, y, b]
        south = np.tensordot(parts[0], parts[2], (0, 1))  # [y, c, w, d]
        tensor = np.tensordot(north, south, ((0, 2), (2, 0))).transpose(0, 1, 2, 3)
    return log_z + share * math.log(np.einsum("urur->", tensor))


def lattices(sizes: dict[str, int], steps: int) -> dict:
    rows = []
    for scheme, chi in sizes.items():
        begin = time.perf_counter()
        found = float(coarse_grain(ising(CRITICAL), chi, steps, scheme).log_z)
        cold = time.perf_counter() - begin
        begin = time.perf_counter()
        coarse_grain(ising(CRITICAL), chi, steps, scheme).log_z.block_until_ready()
        row = {
            "scheme": scheme,
            "chi": chi,
            "error": abs(found / EXACT - 1),
            "published": PUBLISHED.get((scheme, chi)),
            "cold": cold,
            "warm": time.perf_counter() - begin,
        }
        rows.append(row)
        print(row, flush=True)
    chi = sizes.get("trg", 8)
    begin = time.perf_counter()
    found = numpy_trg(np.asarray(ising(CRITICAL)), chi, steps)
    plain = {"chi": chi, "error": abs(found / EXACT - 1), "seconds": time.perf_counter() - begin}
    print("plain NumPy:", plain, flush=True)
    small = min(12, chi)
    log_z = lambda beta: coarse_grain(ising(beta), small, steps, "btrg").log_z
    energy = float(jax.grad(log_z)(CRITICAL))
    dimensions = scaling_dimensions(ising(CRITICAL), small, 6).tolist()
    print(f"chi {small}: energy {energy} (exact {math.sqrt(2)}), dimensions {dimensions}")
    return {"rows": rows, "plain": plain, "energy": energy, "dimensions": dimensions}


def main(words: list[str] | None = None) -> dict:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parts", nargs="+", default=["norm", "lattice"])
    parser.add_argument("--nodes", nargs="+", type=int, default=[10, 30, 100, 300, 1000, 2000])
    parser.add_argument("--rank", type=int, default=8)
    parser.add_argument("--schemes", nargs="+", default=["trg:24", "btrg:24", "hotrg:16"])
    parser.add_argument("--steps", type=int, default=32)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args(words)
    with jax.enable_x64(True):
        record: dict[str, Any] = {"machine": platform.processor(), "jax": jax.__version__}
        if "norm" in options.parts:
            record["norm"] = norms(options.nodes, options.rank)
        if "lattice" in options.parts:
            pairs = (word.split(":") for word in options.schemes)
            record["lattice"] = lattices({s: int(chi) for s, chi in pairs}, options.steps)
    if options.out:
        options.out.write_text(json.dumps(record, indent=1))
    return record


if __name__ == "__main__":
    main()
