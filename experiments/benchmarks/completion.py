"""Completion at scale and of planted structures: tables and a JSON file.

    python experiments/benchmarks/completion.py --parts planted sparse sweep --out completion.json

- planted: does the search find rings 20^4 from 5 % and trains 15^5 from 1 % of the entries? Error
  over all entries that were not observed, parameters found against those planted.
- sparse: order 10, dims 20 (1e13 cells), 2e5 entries of a train of rank 2.
- sweep: CPU seconds of one ALS sweep against the number of samples (order 4, dims 100, ring of
  rank 3), the fitted exponent, and the peak of resident memory, each size in its own process.
"""

import argparse
import json
import statistics
import sys
import time
from pathlib import Path

import jax
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))

from own_process import alone, peak_resident
from records import about, keep

import tnjax
from tnjax import ALS, Completion, Greedy, Structure, TensorNetwork

PLANTED = {
    "ring 20^4, 5 %": (Structure.tensor_ring((20,) * 4, 3), 0.05),
    "train 15^5, 1 %": (Structure.tensor_train((15,) * 5, 3), 0.01),
    "small ring 8^3, 50 %": (Structure.tensor_ring((8,) * 3, 2), 0.5),
}


def planted_network(structure: Structure, cores: str, seed: int) -> TensorNetwork:
    rng = np.random.default_rng(seed)
    draw = rng.standard_normal if cores == "normal" else rng.random
    return TensorNetwork(
        structure, [draw(structure.core_shape(k)) for k in range(structure.num_nodes)]
    )


def run_planted(name: str, cores: str, seed: int) -> dict:
    """One search on one planted tensor; a tenth of the observed entries is held out by it."""
    structure, share = PLANTED[name]
    tensor = np.asarray(planted_network(structure, cores, seed).to_dense())
    rng = np.random.default_rng([seed, 1])
    seen = np.sort(rng.choice(tensor.size, round(share * tensor.size), replace=False))
    indices = np.stack(np.unravel_index(seen, tensor.shape), 1)
    problem = Completion(
        indices, tensor.ravel()[seen], tensor.shape, validation=0.1, key=jax.random.key(seed)
    )
    result = tnjax.search(
        problem,
        key=jax.random.key(seed),
        target_error=5e-4,  # of the held-out entries; those that count are others
        max_params=3 * structure.num_params,  # room to take wrong bonds away again
        strategy=Greedy(solver=ALS(max_steps=60)),
    )
    unseen = np.setdiff1d(np.arange(tensor.size), seen)
    residual = np.asarray(result.network.to_dense()).ravel()[unseen] - tensor.ravel()[unseen]
    test = float(np.linalg.norm(residual) / np.linalg.norm(tensor.ravel()[unseen]))
    return {
        "structure": name,
        "cores": cores,
        "seed": seed,
        "test_error": test,
        "held_out_error": result.error,
        "planted": structure.num_params,
        "params": result.num_params,
        "hit": test <= 1e-3 and result.num_params <= 1.5 * structure.num_params,
        "status": result.status.value,
        "seconds": result.seconds,
        "compile_seconds": result.compile_seconds,
    }


def run_sparse(samples: int, seed: int, structure_known: bool) -> dict:
    """1e13 cells: only coordinates exist. Fits the planted structure, or searches for one."""
    shape = (20,) * 10
    truth = planted_network(Structure.tensor_train(shape, 2), "uniform", seed)
    rng = np.random.default_rng([seed, 1])
    indices = rng.integers(0, 20, (samples, 10))
    tested = rng.integers(0, 20, (20_000, 10))
    values = truth.entries(indices)
    begin = time.perf_counter()
    problem = Completion(
        indices,
        values,
        shape,
        duplicates="mean",
        validation=0.1,
        key=jax.random.key(seed),
    )
    options = dict(key=jax.random.key(seed), target_error=5e-3, max_seconds=280)
    if structure_known:
        result = tnjax.fit(problem, truth.structure, **options)
    else:
        result = tnjax.search(problem, max_params=1200, **options)
    exact = np.asarray(truth.entries(tested))
    residual = np.asarray(problem.predict(result.network, tested)) - exact
    return {
        "samples": samples,
        "seed": seed,
        "test_error": float(np.linalg.norm(residual) / np.linalg.norm(exact)),
        "held_out_error": result.error,
        "planted": truth.num_params,
        "method": "fit" if structure_known else "search",
        "params": result.network.num_params,
        "status": result.status.value,
        "seconds": time.perf_counter() - begin,
        "compile_seconds": result.compile_seconds,
        "peak_bytes": peak_resident(),
    }


def run_sweep(samples: int, seed: int) -> dict:
    """The median CPU time of a sweep, compiled before."""
    shape = (100,) * 4
    truth = planted_network(Structure.tensor_ring(shape, 3), "uniform", seed)
    rng = np.random.default_rng([seed, 1])
    indices = rng.integers(0, 100, (samples, 4), dtype=np.int32)
    values = np.concatenate(
        [np.asarray(truth.entries(part)) for part in np.array_split(indices, samples // 10**6 + 1)]
    )
    problem = Completion(indices, values, shape, duplicates="mean")
    solver = ALS()
    network = problem.prepared(TensorNetwork.random(truth.structure, key=jax.random.key(seed)))
    state = solver.init(problem, network)
    step = jax.jit(lambda problem, network, state: solver.step(problem, network, state))
    network, state = jax.block_until_ready(step(problem, network, state))
    seconds = []
    for _ in range(3):
        begin = time.process_time()
        network, state = jax.block_until_ready(step(problem, network, state))
        seconds.append(time.process_time() - begin)
    return {
        "samples": samples,
        "cpu_seconds": statistics.median(seconds),
        "error": float(problem.error(network)),
        "peak_bytes": peak_resident(),
    }


def measure_planted(options) -> list[dict]:
    rows = []
    for name in options.structures:
        for cores in options.cores:
            for seed in range(options.first_seed, options.first_seed + options.seeds):
                rows.append(run_planted(name, cores, seed))
                row = rows[-1]
                print(
                    f"{name:<22}{cores:<9}{seed:>3}  test {row['test_error']:.2e}"
                    f"{row['params']:>6} of {row['planted']:<6}{row['status']:<16}"
                    f"{row['seconds']:6.1f} s ({row['compile_seconds']:.1f} compiling)",
                    flush=True,
                )
            own = [r for r in rows if (r["structure"], r["cores"]) == (name, cores)]
            print(f"{name:<22}{cores:<9} hits {sum(r['hit'] for r in own)} of {len(own)}")
    return rows


def measure_sweep(options) -> dict:
    rows = []
    for samples in options.samples:
        rows.append(alone(__file__, "--one", "sweep", str(samples), "0"))
        row = rows[-1]
        print(
            f"{samples:>10} samples  {row['cpu_seconds']:9.4f} CPU s a sweep  "
            f"{row['peak_bytes'] / 2**30:.2f} GiB",
            flush=True,
        )
    x = np.log([row["samples"] for row in rows])
    slope = float(np.polyfit(x, np.log([row["cpu_seconds"] for row in rows]), 1)[0])
    print(f"fitted exponent {slope:.3f}")
    return {"rows": rows, "exponent": slope}


def main(arguments: list[str] | None = None) -> dict:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", nargs="+", choices=["planted", "sparse", "sweep"])
    parser.add_argument("--structures", nargs="+", choices=PLANTED, default=list(PLANTED)[:2])
    parser.add_argument("--cores", nargs="+", default=["uniform", "normal"])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--samples", nargs="+", type=int, default=[10**k for k in range(4, 8)])
    parser.add_argument("--sparse-samples", type=int, default=200_000)
    parser.add_argument("--sparse-methods", nargs="+", default=["fit", "search"])
    parser.add_argument("--sparse-seeds", type=int, default=1)
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args(arguments)
    jax.config.update("jax_enable_x64", True)
    if options.one:
        part, samples, seed = options.one
        known = {"sparse-fit": True, "sparse-search": False}
        if part == "sweep":
            row = run_sweep(int(samples), int(seed))
        else:
            row = run_sparse(int(samples), int(seed), known[part])
        print(json.dumps(row))
        return row
    record = about(__file__, arguments)
    for part in options.parts or ["planted", "sparse", "sweep"]:
        if part == "planted":
            record[part] = measure_planted(options)
        elif part == "sweep":
            record[part] = measure_sweep(options)
        else:
            seeds = range(options.sparse_seeds)
            methods = [f"sparse-{method}" for method in options.sparse_methods]
            record[part] = [
                alone(__file__, "--one", method, str(options.sparse_samples), str(seed))
                for method in methods
                for seed in seeds
            ]
            for row in record[part]:
                print(
                    f"1e13 cells, {row['samples']} samples, {row['method']}: "
                    f"test {row['test_error']:.2e}, "
                    f"{row['params']} parameters of {row['planted']}, {row['seconds']:.0f} s "
                    f"({row['compile_seconds']:.0f} compiling), "
                    f"{row['peak_bytes'] / 2**30:.2f} GiB, {row['status']}"
                )
        keep(options.out, record)
    return record


if __name__ == "__main__":
    main()
