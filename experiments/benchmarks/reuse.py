"""A sequence of moves: each changes a rank or adds a bond, and the network is contracted anew.

    python experiments/benchmarks/reuse.py --out reuse.json
    python experiments/benchmarks/reuse.py --gradient --out reuse_gradient.json

Seconds from a new network to the logarithm of its norm (with --gradient to the gradient of that),
added up over all moves; `warm` are the seconds of second calls:

- `reuse`: `tnjax.contract.Plans`, which plans and compiles once for several neighbors;
- `anew`: `tnjax.contract.contract` below `jax.jit`, planned and compiled for each network;
- `cotengra`: each network is planned by cotengra (its default optimizer, "auto") and jitted.

`flops` are multiplications along the plans of `reuse`, over those along each network's own path.
All run in this process, one after the other, after the caches of JAX were cleared.
"""

import argparse
import random
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cotengra
import jax
import jax.numpy as jnp
import numpy as np
from records import about, keep
from tables import show

from tnjax import Structure, TensorNetwork
from tnjax.contract import Plans, contract, path
from tnjax.contract.equation import inner_equation
from tnjax.contract.order import appended, log_flops


def moves(nodes: int, count: int, seed: int) -> list[Structure]:
    """A random tree with a few more bonds, and what comes of it: a rank more in two of three moves,
    a new bond in the third."""
    rng = random.Random(seed)
    edges = {(rng.randrange(n), n): rng.randint(2, 4) for n in range(1, nodes)}
    while len(edges) < nodes + 1:
        edges.setdefault(tuple(sorted(rng.sample(range(nodes), 2))), 2)  # type: ignore
    found = [Structure.from_edges((4,) * nodes, edges)]
    while len(found) <= count:
        if len(found) % 3:
            edge = rng.choice(sorted(edges))
            edges[edge] += 1
        else:
            edges.setdefault(tuple(sorted(rng.sample(range(nodes), 2))), 2)  # type: ignore
        structure = Structure.from_edges((4,) * nodes, edges)
        if structure != found[-1]:
            found.append(structure)
    return found


def cores_of(structure: Structure) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    shapes = map(structure.core_shape, range(structure.num_nodes))
    return [rng.standard_normal(shape, np.float32) / np.sqrt(np.prod(shape)) for shape in shapes]


Norm = Callable[[list[Any]], Any]


def methods(factor: float) -> dict[str, Callable[[Structure], Norm]]:
    """For each method what makes, of a structure, the logarithm of the norm of its cores."""
    plans = Plans(factor)

    def reuse(structure: Structure) -> Norm:
        return lambda cores: plans.log_norm(TensorNetwork(structure, cores))

    def anew(structure: Structure) -> Norm:
        equation = inner_equation(structure)
        labels = (equation.inputs, equation.output)
        return jax.jit(lambda cores: jnp.log(contract(labels, *cores, *cores)) / 2)

    def by_cotengra(structure: Structure) -> Norm:
        equation = inner_equation(structure)
        shapes = [structure.core_shape(node) for node in range(structure.num_nodes)] * 2
        expression = cotengra.array_contract_expression(
            equation.inputs, equation.output, shapes=shapes, optimize="auto", cache=False
        )
        return jax.jit(lambda cores: jnp.log(expression(*cores, *cores)) / 2)

    return {"reuse": reuse, "anew": anew, "cotengra": by_cotengra}


def sequence(method: Callable[[Structure], Norm], structures: list[Structure], gradient: bool):
    """Seconds of first and second calls, and the values."""
    first, second, values = [], [], []
    for structure in structures:
        cores = cores_of(structure)
        begin = time.perf_counter()
        norm = method(structure)
        call = jax.value_and_grad(norm) if gradient else lambda cores, norm=norm: (norm(cores), ())
        jax.block_until_ready(call(cores))
        first.append(time.perf_counter() - begin)
        begin = time.perf_counter()
        values.append(float(jax.block_until_ready(call(cores))[0]))
        second.append(time.perf_counter() - begin)
    return first, second, values


def main(words: list[str] | None = None) -> list[dict]:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, default=8)
    parser.add_argument("--moves", type=int, default=15)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--factor", type=float, default=16.0)
    parser.add_argument("--gradient", action="store_true")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args(words)
    runs: dict[str, list[dict]] = {}
    for seed in options.seeds:
        structures = moves(options.nodes, options.moves, seed)
        found: dict[str, Any] = {}
        for name, method in methods(options.factor).items():
            jax.clear_caches()
            path._search_path.cache_clear()  # type: ignore
            first, second, found[name] = sequence(method, structures, options.gradient)
            row = {"seed": seed, "first": first[0], "moves": sum(first[1:]), "warm": sum(second)}
            if name == "reuse":
                row |= planned(structures, options.factor)
            runs.setdefault(name, []).append(row)
            print(name, row, flush=True)
        for values in found.values():
            np.testing.assert_allclose(values, found["anew"], atol=1e-3)
    middle = lambda rows, key: statistics.median(row[key] for row in rows)
    keys = ("first", "moves", "warm")
    table = [{"method": n, **{k: middle(rows, k) for k in keys}} for n, rows in runs.items()]
    show(table, ["method", *keys])
    keep(options.out, {**about(__file__, words), "rows": table, "runs": runs})
    return table


def planned(structures: list[Structure], factor: float) -> dict[str, float]:
    """What plans are made and what they cost, over each network's own path."""
    plans, reused, own = Plans(factor), 0.0, 0.0
    for structure in structures:
        equation = inner_equation(structure)
        known = plans.plan_norm(structure)
        count = len(equation.inputs)
        reused += 2.0 ** log_flops(known.equation, appended(known.path, count))
        own += 2.0 ** log_flops(equation, appended(path.find_path(equation), count))
    return {"searched": plans.searched, "compiled": plans.compiled, "flops": reused / own}


if __name__ == "__main__":
    main()
