"""Evolution of trees in time against the matrix exponential: a table and a JSON file.

    python experiments/benchmarks/dynamics.py --out dynamics.json

A chain of spins that point up is quenched by a transverse field. For each tree, tolerance or rank,
and number of steps: the error at the end, the largest deviation of the norm from 1, the largest
rank, and seconds with and without those to compile. The error of steps is seen where the rank is
held and the coupling is weak (`--coupling`), that of truncation where it is not.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from tables import show, write

from tnjax import Structure, TensorNetwork
from tnjax.dynamics import evolve
from tnjax.operators import SumOfProducts, lattice_edges, transverse_ising

COLUMNS = ["tree", "tolerance", "max_rank", "steps", "error", "norm", "rank", "cold", "warm"]


def trees(sites: int) -> dict[str, list[tuple[int, int]]]:
    """Bonds of a chain, a binary tree and a star."""
    binary = Structure.hierarchical_tucker((2,) * sites, 2)
    return {
        "chain": lattice_edges(sites),
        "binary": [(edge[0], edge[1]) for edge in binary.edges],
        "star": [(site, sites) for site in range(sites)],
    }


def exact(hamiltonian: SumOfProducts, duration: float) -> np.ndarray:
    """The state that all spins up become."""
    values, vectors = np.linalg.eigh(np.asarray(hamiltonian.to_dense(), complex))
    return vectors @ (np.exp(-1j * duration * values) * vectors[0].conj())


def measured(
    tree: list[tuple[int, int]], hamiltonian: SumOfProducts, steps: int, options: dict
) -> dict[str, Any]:
    """One evolution, twice: the second time its programs are there."""
    sites = len(hamiltonian.dims)
    nodes = 1 + max(map(max, tree))
    structure = Structure.from_edges((2,) * sites, {}, num_nodes=nodes)
    cores = [jnp.asarray([1.0, 0.0])] * sites + [jnp.ones(())] * (nodes - sites)
    start, seconds = TensorNetwork(structure, cores), []
    duration = options.pop("duration")
    for _ in range(2):
        begin = time.perf_counter()
        after = evolve(start, -1j * hamiltonian, duration / steps, steps, tree=tree, **options)
        seconds.append(time.perf_counter() - begin)
    state = np.asarray(after.network.to_dense()).ravel()
    return {
        "error": float(np.linalg.norm(state - exact(hamiltonian, duration))),
        "norm": float(np.abs(after.norms - 1).max()),
        "rank": max(after.ranks[-1].values()),
        "cold": seconds[0],
        "warm": seconds[1],
    }


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sites", type=int, default=6)
    parser.add_argument("--coupling", type=float, default=1.0)
    parser.add_argument("--duration", type=float, default=1.0)
    parser.add_argument("--trees", nargs="+", default=["chain", "binary", "star"])
    parser.add_argument("--steps", type=int, nargs="+", default=[5, 10, 20, 40])
    parser.add_argument("--tolerances", type=float, nargs="*", default=[1e-3, 1e-6, 1e-10])
    parser.add_argument("--max-ranks", type=int, nargs="*", default=[2, 3])
    parser.add_argument("--out", type=Path)
    options = parser.parse_args(arguments)
    jax.config.update("jax_enable_x64", True)
    bonds = trees(options.sites)
    hamiltonian = transverse_ising(lattice_edges(options.sites), coupling=options.coupling)
    settings = [{"tolerance": tolerance, "max_rank": None} for tolerance in options.tolerances]
    settings += [{"tolerance": 1e-12, "max_rank": rank} for rank in options.max_ranks]
    rows = []
    for name in options.trees:
        for setting in settings:
            for steps in options.steps:
                told = {**setting, "duration": options.duration}
                found = measured(bonds[name], hamiltonian, steps, told)
                rows.append({"tree": name, **setting, "steps": steps, **found})
    text = lambda x: f"{x:.2g}" if isinstance(x, float) else str(x)
    show([{key: text(value) for key, value in row.items()} for row in rows], COLUMNS)
    words = sys.argv[1:] if arguments is None else arguments
    write(options.out, rows, list(words))


if __name__ == "__main__":
    main()
