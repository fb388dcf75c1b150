"""What a search is made of, as the problem grows: a table for each part, and a JSON file.

    python experiments/benchmarks/scaling.py --out scaling.json
    python experiments/benchmarks/scaling.py --parts contraction screen --repeats 5

- contraction: ten structures to their dense tensor, the compiled kernel against NumPy along
  opt_einsum's optimal path, and the flops of both paths;
- screen: all candidates of order 8 under vmap against one compiled program called for each;
- candidates, ranks: seconds of a fit and a screen, compiled before, with the fitted exponent;
- entries: a search for a planted ring as the tensor grows, cold and warm, with the exponent and
  the peak of memory, a process of its own for each size (`--compress off` without the projection);
- memory: what a fit of a ring keeps in memory by the forecast, and what it does (Linux);
- projection: a search on 400^3 against one reading and projecting of its entries.

Times are medians of calls after the first.
"""

import argparse
import itertools
import json
import math
import statistics
import sys
import time
from functools import partial
from pathlib import Path

import jax
import numpy as np
import opt_einsum

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))

from families import ORDER_4, ORDER_5, PAPER, planted_tensor
from own_process import alone, peak_resident, reset_peak, resident_peak
from records import about, keep

import tnjax
from tnjax import Structure, TensorNetwork
from tnjax._search.reduce.core import compress_problem
from tnjax._search.screening.candidates import draw_slices
from tnjax._search.screening.screens import Spectral
from tnjax.contract import kernels
from tnjax.contract.equation import dense_equation

_D6, _D8 = (8,) * 6, (4,) * 8
CONTRACTED = {
    "order 4, full": ORDER_4["full"],
    "order 4, ring": ORDER_4["ring"],
    "order 5, full": ORDER_5["full"],
    "order 5, ring": ORDER_5["ring"],
    "7^5, triangle": PAPER["triangle"],
    "7^5, tucker": PAPER["tucker"],
    "8^6, ring": Structure.tensor_ring(_D6, 4),
    "8^6, PEPS": Structure.peps(_D6, (2, 3), 3),
    "4^8, train": Structure.tensor_train(_D8, 8),
    "4^8, PEPS": Structure.peps(_D8, (2, 4), 3),
}
ENTRIES = {10**5: 18, 10**6: 32, 10**7: 56, 10**8: 100}  # order 4: modes of that size


def ready(function, *arguments):
    """A call and the wait for what it computes."""
    return jax.block_until_ready(function(*arguments))


def seconds_of(function, repeats: int, *arguments) -> float:
    """Median seconds of a call, one call before; short calls are timed in groups."""
    function(*arguments)
    begin = time.perf_counter()
    function(*arguments)
    group = max(1, int(0.02 / max(time.perf_counter() - begin, 1e-7)))
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        for _ in range(group):
            function(*arguments)
        times.append((time.perf_counter() - begin) / group)
    return statistics.median(times)


def exponent(x, y) -> float:
    return float(np.polyfit(np.log(x), np.log(y), 1)[0])


def contraction(options) -> list[dict]:
    rows = []
    for name, structure in CONTRACTED.items():
        equation = dense_equation(structure)
        network = TensorNetwork.random(structure, key=jax.random.key(0))
        cores = tuple(map(np.asarray, network.cores))
        operands = [part for pair in zip(cores, equation.inputs) for part in pair]
        path, info = opt_einsum.contract_path(*operands, equation.output, optimize="optimal")
        kernel = jax.jit(lambda cores, s=structure: kernels.dense(s, cores))
        placed = jax.device_put(cores)
        ours = partial(ready, kernel, placed)
        shapes = [core.shape for core in cores]
        expression = opt_einsum.contract_expression(info.eq, *shapes, optimize=path)
        numpy = partial(expression, *cores)
        np.testing.assert_allclose(np.asarray(ours()), numpy(), rtol=1e-8, atol=1e-8)
        rows.append(
            {
                "structure": name,
                "entries": math.prod(structure.dims),
                "kernel_seconds": seconds_of(ours, options.repeats),
                "numpy_seconds": seconds_of(numpy, options.repeats),
                "flops": tnjax.contraction_cost(structure).flops,
                "optimal_flops": int(info.opt_cost),
            }
        )
        row = rows[-1]
        print(
            f"{name:<16}{row['kernel_seconds'] * 1e3:>10.3f} ms{row['numpy_seconds'] * 1e3:>10.3f} "
            f"ms NumPy  ratio {row['kernel_seconds'] / row['numpy_seconds']:5.2f}   flops "
            f"{row['flops']:,} against {row['optimal_flops']:,}",
            flush=True,
        )
    return rows


def _screening(structure: Structure, edges, seed: int = 0):
    """The problem, the network, the starts of all candidates, and the compiled screens."""
    truth = structure.grow(edges[-1], 1)
    problem = tnjax.Decomposition(planted_tensor(truth, cores="normal", seed=seed))
    network = TensorNetwork.random(structure, key=jax.random.key(seed))
    starts = draw_slices(structure, structure, edges, problem.dtype, (seed,), increment=1)
    program = lambda edges: jax.jit(
        lambda problem, network, starts: Spectral()(problem, network, edges, starts)
    )
    return problem, network, starts, program


def screen(options) -> dict:
    """All candidates at once, and one program for one edge called with each of them. A program
    for one edge knows its two nodes, so that there is one for each edge."""
    structure = Structure.tensor_ring(_D8, 2)
    edges = tuple(itertools.combinations(range(8), 2))
    problem, network, starts, program = _screening(structure, edges)
    together = program(edges)
    alone_ = {edge: program((edge,)) for edge in edges}
    parts = {e: tuple(part[:, c : c + 1] for part in starts) for c, e in enumerate(edges)}
    at_once = partial(ready, together, problem, network, starts)
    in_turn = lambda: [ready(alone_[edge], problem, network, parts[edge]) for edge in edges]
    row = {
        "edges": len(edges),
        "together_seconds": seconds_of(at_once, options.repeats),
        "one_by_one_seconds": seconds_of(in_turn, options.repeats),
    }
    ratio = row["one_by_one_seconds"] / row["together_seconds"]
    print(
        f"{len(edges)} candidates: {row['together_seconds'] * 1e3:.1f} ms together, "
        f"{row['one_by_one_seconds'] * 1e3:.1f} ms one by one, {ratio:.1f} times faster",
        flush=True,
    )
    return row


def candidates(options) -> dict:
    """Orders 5 to 20 of modes of size 2 (10 to 190 candidates): the tensor stays as small as may
    be, at most 2^20 entries."""
    rows = []
    for order in options.orders:
        edges = tuple(itertools.combinations(range(order), 2))
        structure = Structure.tensor_train((2,) * order, 2)
        problem, network, starts, program = _screening(structure, edges)
        begin = time.perf_counter()
        call = partial(ready, program(edges), problem, network, starts)
        call()
        first = time.perf_counter() - begin
        rows.append(
            {
                "order": order,
                "candidates": len(edges),
                "seconds": seconds_of(call, options.repeats),
                "first_seconds": first,
                "entries": math.prod(structure.dims),
            }
        )
        print(
            f"order {order:>2}{len(edges):>5} candidates{rows[-1]['seconds'] * 1e3:>10.2f} ms, "
            f"{first:.1f} s with compilation",
            flush=True,
        )
    return {"rows": rows}


def ranks(options) -> dict:
    """A sweep of alternating least squares over a train of 16^4 at growing ranks."""
    rows = []
    for rank in (2, 4, 8, 16, 32):
        structure = Structure.tensor_train((32,) * 4, rank)
        problem = tnjax.Decomposition(planted_tensor(structure, cores="normal", seed=0))
        network = TensorNetwork.random(structure, key=jax.random.key(0))
        solver = tnjax.ALS()
        state = solver.init(problem, network)
        call = partial(ready, jax.jit(solver.step), problem, network, state)
        rows.append({"rank": rank, "seconds": seconds_of(call, options.repeats)})
        print(f"rank {rank:>3}{rows[-1]['seconds'] * 1e3:>10.2f} ms a sweep", flush=True)
    found = exponent(ranks_ := [r["rank"] for r in rows], [r["seconds"] for r in rows])
    print(f"fitted exponent {found:.2f} over ranks {ranks_[0]} to {ranks_[-1]}")
    return {"rows": rows, "exponent": found}


def run_entries(size: int, compress: str, seed: int, repeats: int) -> dict:
    """A whole search, and the same again with its programs there; single precision."""
    jax.config.update("jax_enable_x64", False)
    tensor = planted_tensor(
        Structure.tensor_ring((size,) * 4, 2), cores="normal", seed=seed, dtype=np.float32
    )
    times = []
    for _ in range(1 + repeats):
        begin = time.perf_counter()
        found = tnjax.search(
            tnjax.Decomposition(tensor),
            key=jax.random.key(seed),
            target_error=1e-3,
            setup=tnjax.Setup(compress={"on": True, "off": False, "auto": "auto"}[compress]),
        )
        times.append(time.perf_counter() - begin)
    return {
        "entries": tensor.size,
        "compress": compress,
        "cold_seconds": times[0],
        "seconds": statistics.median(times[1:]),
        "params": found.num_params,
        "planted": 4 * size * 4,
        "error": found.error,
        "tensor_bytes": tensor.nbytes,
        "peak_bytes": peak_resident(),
    }


def entries(options) -> dict:
    rows = []
    for wanted, size in ENTRIES.items():
        if wanted <= options.max_entries:
            for compress in options.compress:
                rows.append(alone(__file__, "--one", str(size), compress, str(options.repeats)))
                row = rows[-1]
                print(
                    f"{row['entries']:>11,} entries, projection {compress:<5}"
                    f"{row['cold_seconds']:>8.2f} s cold{row['seconds']:>8.2f} s warm  peak "
                    f"{row['peak_bytes'] / 2**30:.2f} GiB (tensor "
                    f"{row['tensor_bytes'] / 2**30:.2f})  {row['params']} of {row['planted']}",
                    flush=True,
                )
    out: dict = {"rows": rows}
    for compress in options.compress:
        own = [row for row in rows if row["compress"] == compress]
        if len(own) > 1:
            x = [row["entries"] for row in own]
            out[compress] = exponent(x, [row["seconds"] for row in own])
            print(f"projection {compress}: fitted exponent {out[compress]:.2f}")
    return out


def run_memory(size: int, dtype: str) -> dict:
    """Forecast and measured bytes of a fit of two sweeps, the tensor included."""
    jax.config.update("jax_enable_x64", True)
    structure = Structure.tensor_ring((size,) * 4, 3)
    small = tnjax.Decomposition(np.ones((2,) * 4))  # what any fit keeps: threads, buffers
    tnjax.fit(small, Structure.tensor_ring((2,) * 4, 2), key=jax.random.key(0), max_steps=1)
    before = reset_peak()
    tensor = np.random.default_rng(0).random((size,) * 4, np.dtype(dtype))
    problem = tnjax.Decomposition(tensor)
    count, kept = tensor.size, tensor.nbytes
    del tensor
    reset_peak()
    tnjax.fit(problem, structure, key=jax.random.key(0), max_steps=2)
    return {
        "entries": count,
        "dtype": dtype,
        "tensor_bytes": kept,
        "forecast_bytes": problem.fit_peak_bytes(structure),
        "peak_bytes": resident_peak() - before,
    }


def memory(options) -> dict:
    rows = []
    for wanted, size in ENTRIES.items():
        for dtype in ("float32", "float64"):
            if wanted <= options.max_entries and wanted >= 10**6:
                row = alone(__file__, "--one", str(size), dtype, "memory")
                row["ratio"] = row["peak_bytes"] / row["forecast_bytes"]
                rows.append(row)
                mb = {name: row[f"{name}_bytes"] / 1e6 for name in ("tensor", "forecast", "peak")}
                print(
                    f"{row['entries']:>11,} entries {dtype}: tensor {mb['tensor']:.0f} MB, "
                    f"forecast {mb['forecast']:.0f}, measured {mb['peak']:.0f}, "
                    f"ratio {row['ratio']:.2f}",
                    flush=True,
                )
    return {"rows": rows}


def projection(options) -> dict:
    """The search reads the tensor, projects it, searches on the core, and fits the whole once."""
    structure = Structure.tensor_ring((options.size,) * 3, 3)
    tensor = planted_tensor(structure, cores="normal", seed=0)
    read = lambda: compress_problem(tnjax.Decomposition(tensor), 1e-3)
    found = []
    search = lambda: found.append(
        tnjax.search(tnjax.Decomposition(tensor), key=jax.random.key(0), target_error=1e-3)
    )
    row = {
        "shape": tensor.shape,
        "read_seconds": seconds_of(read, options.repeats),
        "search_seconds": seconds_of(search, options.repeats),
        "params": found[-1].num_params,
        "planted": structure.num_params,
    }
    print(
        f"{tensor.shape}: reading and projecting {row['read_seconds']:.2f} s, search "
        f"{row['search_seconds']:.2f} s, ratio {row['search_seconds'] / row['read_seconds']:.2f}, "
        f"{row['params']} of {row['planted']} parameters",
        flush=True,
    )
    return row


PARTS = {
    "contraction": contraction,
    "screen": screen,
    "candidates": candidates,
    "ranks": ranks,
    "entries": entries,
    "memory": memory,
    "projection": projection,
}


def main(arguments: list[str] | None = None) -> dict:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--orders", nargs="+", type=int, default=[5, 8, 11, 14, 17, 20])
    parser.add_argument("--max-entries", type=int, default=10**8)
    parser.add_argument("--size", type=int, default=400, help="of the modes of `projection`")
    parser.add_argument("--compress", nargs="+", choices=["on", "off", "auto"], default=["auto"])
    parser.add_argument("--out", type=Path)
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.one:
        size, how, repeats = options.one
        if repeats == "memory":
            row = run_memory(int(size), how)
        else:
            row = run_entries(int(size), how, 0, int(repeats))
        print(json.dumps(row))
        return row
    jax.config.update("jax_enable_x64", True)
    record = about(__file__, arguments)
    for part in options.parts:
        print(f"\n{part}")
        record[part] = PARTS[part](options)
        keep(options.out, record)
    return record


if __name__ == "__main__":
    main()
