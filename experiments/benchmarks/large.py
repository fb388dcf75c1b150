"""Norms of long trains and coarse graining: tables and a JSON file.

    python experiments/benchmarks/large.py --out large.json

`norm`: seconds to compile the logarithm of a norm and its gradient, against the number of nodes
(rank 8, modes of 4), with the exponents of power laws through all of them and through the last
three; the error against transfer matrices in NumPy's longest floats, and that of the gradient
against their differences along a random direction. `cubic`: ln Z per site of the three-dimensional
Ising model by HOTRG, at its critical point against 0.77790(2) (Mon, Phys. Rev. Lett. 54, 2671) and
at beta 0.15 against the high-temperature series, and of 2x2x2 sites at beta 0.2 against the sum
over all states (chi 16 cuts nothing off there). `lattice`: the relative error of ln Z per site of
Ising at its critical point, with the published errors, seconds cold and warm, and those of a TRG in
plain NumPy; the energy by the gradient (exact: sqrt(2)), and scaling dimensions.
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
from tnjax.lattice import coarse_grain, coarse_grain_cubic, ising, scaling_dimensions

CRITICAL = math.log(1 + math.sqrt(2)) / 2
EXACT = 0.929695398341610  # Onsager's ln Z per site at the critical point
PUBLISHED = {("trg", 24): 2e-6, ("btrg", 24): 6e-8, ("hotrg", 16): 6e-7}


def transfer(cores: list[np.ndarray]) -> np.longdouble:
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
    return (total + np.log(left[0, 0])) / 2


def slope(cores: list[np.ndarray], toward: list[np.ndarray]) -> float:
    """The derivative of the logarithm of the norm along a direction, by central differences."""
    step = np.longdouble(1e-7)
    ends = [
        transfer([np.asarray(x, np.longdouble) + sign * step * y for x, y in zip(cores, toward)])
        for sign in (1, -1)
    ]
    return float((ends[0] - ends[1]) / (2 * step))


def exponent(rows: list[dict], key: str) -> float | None:
    if len(rows) < 2:
        return None
    logs = [[math.log(row[name]) for row in rows] for name in ("nodes", key)]
    return float(np.polyfit(*logs, 1)[0])


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
                f"{dtype}_error": abs(float(program(network) / float(exact) - 1)),
                f"{dtype}_compile": seconds,
            }
        program, row["gradient_compile"] = compiled(jax.grad(log_norm), network)
        found = jax.block_until_ready(program(network))
        begin = time.perf_counter()
        jax.block_until_ready(program(network))
        row["gradient_run"] = time.perf_counter() - begin
        toward = [scale * rng.standard_normal(core.shape) for core in cores]
        along = sum(float(np.vdot(x, y)) for x, y in zip(found.cores, toward))
        row["gradient_error"] = abs(along - slope(cores, toward)) / float(
            np.sqrt(sum(float(np.sum(np.square(x))) * scale**2 for x in found.cores))
        )
        rows.append(row)
        print("  ".join(f"{k} {v:.3g}" for k, v in row.items()), flush=True)
    record: dict[str, Any] = {"rows": rows}
    for key in ("float32_compile", "float64_compile", "gradient_compile"):
        record[f"{key}_exponents"] = [exponent(rows, key), exponent(rows[-3:], key)]
        print(f"exponents of {key}, all and last three:", record[f"{key}_exponents"])
    return record


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
    energies = []
    for scheme, chi in sizes.items():
        if scheme == "hotrg":  # its gradient holds tensors of chi^5 for each step
            continue
        log_z = lambda beta, chi=chi, scheme=scheme: (
            coarse_grain(ising(beta), chi, steps, scheme).log_z
        )
        energy = float(jax.jit(jax.grad(log_z))(CRITICAL))
        energies.append({"scheme": scheme, "chi": chi, "energy": energy})
        print(energies[-1], "error", energy - math.sqrt(2), flush=True)
    small = min(12, max(sizes.values()))
    dimensions = scaling_dimensions(ising(CRITICAL), small, 6).tolist()
    print(f"chi {small}: dimensions {dimensions}")
    return {"rows": rows, "plain": plain, "energies": energies, "dimensions": dimensions}


def cubic(sizes: list[int], steps: int) -> list[dict]:
    v = math.tanh(0.15)
    series = sum(c * v ** (4 + 2 * n) for n, c in enumerate([3, 22, 187.5, 1980, 24044, 319170]))
    spins = 2 * np.indices((2,) * 8).reshape(2, 2, 2, -1) - 1
    bonds = sum((spins * np.roll(spins, 1, axis)).sum((0, 1, 2)) for axis in range(3))
    cases = {
        "critical": (0.2216546, steps, 0.77790),
        "series": (0.15, steps, math.log(2 * math.cosh(0.15) ** 3) + series),
        "2x2x2": (0.2, 3, math.log(np.exp(0.2 * bonds).sum()) / 8),
    }
    rows = []
    for chi in sizes:
        row: dict[str, Any] = {"chi": chi}
        begin = time.perf_counter()
        for name, (beta, count, exact) in cases.items():
            log_z = coarse_grain_cubic(ising(beta, dimensions=3), chi, count).log_z
            row[name] = float(log_z) - exact
        row["seconds"] = time.perf_counter() - begin
        rows.append(row)
        print("cubic", row, flush=True)
    return rows


def main(words: list[str] | None = None) -> dict:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parts", nargs="+", default=["norm", "lattice", "cubic"])
    parser.add_argument("--nodes", nargs="+", type=int, default=[10, 30, 100, 300, 1000, 2000])
    parser.add_argument("--rank", type=int, default=8)
    parser.add_argument("--schemes", nargs="+", default=["trg:24", "btrg:24", "hotrg:16"])
    parser.add_argument("--steps", type=int, default=32)
    parser.add_argument("--cubic", nargs="+", type=int, default=[2, 4, 6])
    parser.add_argument("--out", type=Path)
    options = parser.parse_args(words)
    with jax.enable_x64(True):
        record: dict[str, Any] = {"machine": platform.processor(), "jax": jax.__version__}
        if "norm" in options.parts:
            record["norm"] = norms(options.nodes, options.rank)
        if "lattice" in options.parts:
            pairs = (word.split(":") for word in options.schemes)
            record["lattice"] = lattices({s: int(chi) for s, chi in pairs}, options.steps)
        if "cubic" in options.parts:
            record["cubic"] = cubic(options.cubic, 3 * (options.steps // 4))
    if options.out:
        options.out.write_text(json.dumps(record, indent=1))
    return record


if __name__ == "__main__":
    main()
