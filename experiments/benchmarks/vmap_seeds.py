"""Seeds that share a device (`--vmap-seeds`) against the same seeds one after the other.

    python experiments/benchmarks/vmap_seeds.py --out vmap_seeds.json
    python experiments/benchmarks/vmap_seeds.py --size small --seeds 2

Each case is a planted network: the same tensor decomposed from several seeds, or tensors drawn by
seed and completed from some of their entries. In one process the searches run one after the other,
cold (no program compiled) and warm, then together, cold and warm. "same" says whether each took the
same moves both ways, "calls" how many programs the searches ran, "batches" how many calls they
became together, "alone" how many of them were of one search.
"""

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from records import about, keep

from tnjax import (
    Completion,
    Decomposition,
    Greedy,
    Problem,
    SearchResult,
    Structure,
    TensorNetwork,
    _compile,
    search,
)
from tnjax.sweep import together

DIMS = {"full": (8, 9, 10, 7), "small": (4, 5, 4)}


def planted(structure: Structure, seed: int) -> TensorNetwork:
    rng = np.random.default_rng([seed, 8])
    nodes = range(structure.num_nodes)
    return TensorNetwork(structure, [rng.standard_normal(structure.core_shape(k)) for k in nodes])


def decomposition(structure: Structure, seed: int) -> Problem:
    return Decomposition(planted(structure, 0).to_dense())


def completion(structure: Structure, seed: int) -> Problem:
    dense = np.asarray(planted(structure, seed).to_dense())
    order = np.random.default_rng([seed, 9]).permutation(dense.size)  # as many for every seed
    indices = np.stack(np.unravel_index(order[: 3 * dense.size // 5], dense.shape), 1)
    values = dense[tuple(indices.T)]
    return Completion(indices, values, dense.shape, validation=0.1, key=jax.random.key(seed))


CASES: dict[str, Callable[[Structure, int], Problem]] = {
    "decomposition": decomposition,
    "completion": completion,
}


def moves(result: SearchResult) -> list:
    return [(str(step.move), step.structure) for step in result.path]


def measure(case: str, dims: tuple[int, ...], seeds: int) -> dict:
    structure = Structure.tensor_ring(dims, 2)
    problems = [CASES[case](structure, seed) for seed in range(seeds)]
    strategy = Greedy(rewire=False, internal=False, hyperedges=False)

    def one(seed: int) -> SearchResult:
        key = jax.random.key(seed)
        return search(problems[seed], key=key, strategy=strategy, target_error=1e-4, max_steps=20)

    row: dict = {"case": case, "seeds": seeds, "dims": dims}
    alone, met = [], None
    for state in ("cold", "warm"):
        if state == "cold":
            _compile.clear_cache()
        begin, used = time.perf_counter(), time.process_time()
        alone = [one(seed) for seed in range(seeds)]
        row[f"alone_{state}"] = time.perf_counter() - begin
        row[f"alone_{state}_cpu"] = time.process_time() - used
        if state == "cold":
            row["alone_programs"] = sum(result.programs for result in alone)
    for state in ("cold", "warm"):
        if state == "cold":
            _compile.clear_cache()
        begin, used = time.perf_counter(), time.process_time()
        met = together([lambda seed=seed: one(seed) for seed in range(seeds)])
        row[f"together_{state}"] = time.perf_counter() - begin
        row[f"together_{state}_cpu"] = time.process_time() - used
        if state == "cold":
            row["together_programs"] = met.programs
    assert met is not None
    pairs = list(zip(alone, met.results, strict=True))
    row |= {"calls": met.calls, "batches": met.batches, "alone": met.calls - met.batched}
    row["same"] = all(moves(a) == moves(b) for a, b in pairs)
    row["difference"] = max(abs(a.error - b.error) for a, b in pairs)
    return row


def words(row: dict) -> str:
    """A line about a case; seconds of processors in brackets."""
    times = [
        f"{how} {row[f'{how}_cold']:.1f} [{row[f'{how}_cold_cpu']:.1f}] s cold, "
        f"{row[f'{how}_warm']:.1f} [{row[f'{how}_warm_cpu']:.1f}] s warm, "
        f"{row[f'{how}_programs']} programs"
        for how in ("alone", "together")
    ]
    return (
        f"{'; '.join(times)}; {row['calls']} calls in {row['batches']} batches and {row['alone']} "
        f"alone; same moves: {row['same']}, errors differ by {row['difference']:.1g}"
    )


def main(arguments: list[str] | None = None) -> dict:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=DIMS, default="full")
    parser.add_argument("--seeds", type=int, nargs="+", default=[4, 8])
    parser.add_argument("--cases", choices=CASES, nargs="+", default=list(CASES))
    parser.add_argument("--out", type=Path)
    options = parser.parse_args(arguments)
    jax.config.update("jax_enable_x64", True)
    rows = []
    for case in options.cases:
        for seeds in options.seeds:
            row = measure(case, DIMS[options.size], seeds)
            rows.append(row)
            print(f"{case}, {seeds} seeds: {words(row)}", flush=True)
    record = {**about(__file__, arguments), "rows": rows}
    keep(options.out, record)
    return record


if __name__ == "__main__":
    main()
