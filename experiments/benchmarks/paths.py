"""Searches for contraction paths with equal time, on ten networks: a table and a JSON file.

    python experiments/benchmarks/paths.py --seconds 2 --out paths.json

Each cell is the base-2 logarithm of the multiplications. `tnjax` is the path that `contract` takes
(no time limit; the column beside it has its seconds), `sweep` the order of long contractions. The
rest repeat a randomized search until the seconds are over: opt_einsum's and cotengra's greedy
searches, the latter with subtree reconfiguration too, and omeco's simulated annealing where it is
installed. `slices`: multiplications of `tnjax` over those of the whole where, beside the operands,
an eighth of its memory is allowed, and the same of cotengra's slices of the same path, as large.
"""

import argparse
import math
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cotengra
import opt_einsum
from records import about, keep
from tables import show

from tnjax import Structure
from tnjax.contract.cost import MemoryLimitError
from tnjax.contract.equation import Equation, inner_equation
from tnjax.contract.order import appended, log_flops, pairs_of
from tnjax.contract.path import find_path, plan, plan_along
from tnjax.contract.slices import find_slices

try:
    import omeco
except ImportError:
    omeco = None


def closed(edges: list[tuple[int, int]], ranks: list[int]) -> Equation:
    """The scalar of cores without legs."""
    count = 1 + max(map(max, edges))
    inputs = [tuple(b for b, e in enumerate(edges) if n in e) for n in range(count)]
    return Equation.create(inputs, (), dict(enumerate(ranks)))


def regular(nodes: int, degree: int, rank: int, seed: int) -> Equation:
    """A random regular graph: halves of bonds are matched until no bond is double."""
    rng = random.Random(seed)
    while True:
        halves = [n for n in range(nodes) for _ in range(degree)]
        rng.shuffle(halves)
        pairs = [(a, b) if a < b else (b, a) for a, b in zip(halves[::2], halves[1::2])]
        if all(a != b for a, b in pairs) and len(set(pairs)) == len(pairs):
            return closed(pairs, [rank] * len(pairs))


def grid(rows: int, columns: int) -> list[tuple[int, int]]:
    at = lambda i, j: i * columns + j
    right = [(at(i, j), at(i, j + 1)) for i in range(rows) for j in range(columns - 1)]
    return right + [(at(i, j), at(i + 1, j)) for i in range(rows - 1) for j in range(columns)]


def uneven(nodes: int, more: int, seed: int) -> Equation:
    """The inner product of a sparse graph with uneven ranks, as those that are learned."""
    rng = random.Random(seed)
    edges = {(rng.randrange(n), n): rng.randint(2, 6) for n in range(1, nodes)}
    while len(edges) < nodes - 1 + more:
        a, b = sorted(rng.sample(range(nodes), 2))
        edges.setdefault((a, b), rng.randint(2, 4))
    return inner_equation(Structure.from_edges((4,) * nodes, edges))


def tree(nodes: int, seed: int) -> Equation:
    rng = random.Random(seed)
    edges = {(rng.randrange(max(0, n - 8), n), n): rng.randint(2, 5) for n in range(1, nodes)}
    return inner_equation(Structure.from_edges((3,) * nodes, edges))


def networks(small: bool) -> dict[str, Equation]:
    lattice = grid(4, 4)
    peps = Structure.from_edges((2,) * 16, dict.fromkeys(lattice, 3))
    found = {
        "regular 3, 30 nodes": lambda: regular(30, 3, 4, 0),
        "tree of 40, norm": lambda: tree(40, 0),
        "regular 3, 60 nodes": lambda: regular(60, 3, 4, 1),
        "regular 4, 40 nodes": lambda: regular(40, 4, 3, 2),
        "grid 6x6": lambda: closed(grid(6, 6), [4] * len(grid(6, 6))),
        "grid 10x10": lambda: closed(grid(10, 10), [2] * len(grid(10, 10))),
        "peps 4x4, norm": lambda: inner_equation(peps),
        "ring of 30, norm": lambda: inner_equation(Structure.tensor_ring((3,) * 30, 4)),
        "uneven 10 + 4, norm": lambda: uneven(10, 4, 0),
        "uneven 14 + 8, norm": lambda: uneven(14, 8, 1),
    }
    return {name: make() for name, make in list(found.items())[: 2 if small else None]}


def in_letters(equation: Equation) -> tuple[list[tuple[str, ...]], tuple[str, ...], dict[str, int]]:
    """The equation as cotengra takes it."""
    word = lambda labels: tuple(map(opt_einsum.get_symbol, labels))
    sizes = {opt_einsum.get_symbol(label): size for label, size in equation.sizes}
    return [word(labels) for labels in equation.inputs], word(equation.output), sizes


def flops_of(equation: Equation, path: Any) -> float:
    return log_flops(equation, appended(path, len(equation.inputs)))


def best(tries: Iterator[float], seconds: float) -> float:
    end, found = time.perf_counter() + seconds, math.inf
    for value in tries:
        found = min(found, value)
        if time.perf_counter() > end:
            break
    return found


def searches() -> dict[str, Callable[[Equation], Iterator[float]]]:
    """Randomized searches: each gives the logarithm of the multiplications of one try after the
    other."""

    def by_opt_einsum(equation: Equation) -> Iterator[float]:
        problem: Any = ([frozenset(x) for x in equation.inputs], frozenset(), equation.size_dict)
        while True:
            search = opt_einsum.path_random.RandomGreedy(max_repeats=16, parallel=False)
            yield flops_of(equation, search(*problem))

    def by_cotengra(equation: Equation, refine: bool) -> Iterator[float]:
        search = cotengra.RandomGreedyOptimizer(max_repeats=16, seed=0, parallel=False)
        while True:
            tree = search.search(*in_letters(equation))
            if refine:
                tree.subtree_reconfigure_(maxiter=20)
            yield flops_of(equation, tree.get_path())

    def by_omeco(equation: Equation) -> Iterator[float]:
        inputs = [list(labels) for labels in equation.inputs]
        settings = omeco.TreeSA(ntrials=1, niters=10)
        while True:
            tree = omeco.optimize_code(inputs, [], equation.size_dict, settings)
            yield tree.complexity(inputs, equation.size_dict).tc

    found = {
        "opt_einsum": by_opt_einsum,
        "cotengra": lambda equation: by_cotengra(equation, False),
        "cotengra refined": lambda equation: by_cotengra(equation, True),
    }
    return found if omeco is None else {**found, "omeco": by_omeco}


def slices(equation: Equation) -> dict[str, float]:
    """Multiplications in slices over those of the whole."""
    whole = plan(equation)
    given = sum(math.prod(equation.size_dict[x] for x in labels) for labels in equation.inputs)
    try:
        found = find_slices(equation, 1, 2 * given + (whole.peak_size - given) // 8, "It")
    except MemoryLimitError:
        return {}
    if found is None:
        return {}
    part = plan_along(found.equation, found.order)
    tree = cotengra.array_contract_tree(*in_letters(equation), optimize=found.order)
    theirs = tree.slice(target_size=part.largest, seed=0)
    return {
        "slices": found.count * part.flops / whole.flops,
        "cotengra's": theirs.total_flops() / tree.total_flops(),
    }


def flops_of_plan(equation: Equation) -> float:
    return flops_of(equation, find_path(equation))


def main(words: list[str] | None = None) -> list[dict]:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--small", action="store_true", help="two networks only")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args(words)
    rows = []
    for name, equation in networks(options.small).items():
        begin = time.perf_counter()
        row: dict[str, Any] = {"network": name, "tnjax": flops_of_plan(equation)}
        row["seconds"] = time.perf_counter() - begin
        groups = tuple((n,) for n in range(len(equation.inputs)))
        if "norm" in name:  # both layers of a node belong together
            half = len(groups) // 2
            groups = tuple((n, n + half) for n in range(half))
        row["sweep"] = log_flops(equation, pairs_of(equation, groups))
        for search, tries in searches().items():
            row[search] = best(tries(equation), options.seconds)
        rows.append({**row, **slices(equation)})
        print(rows[-1], flush=True)
    show(rows, list(dict.fromkeys(key for row in rows for key in row)))
    keep(options.out, {**about(__file__, words), "rows": rows})
    return rows


if __name__ == "__main__":
    main()
