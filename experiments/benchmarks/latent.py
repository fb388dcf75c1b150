"""Latent dimensions and bonds that come back, on planted data: a table and a JSON file.

    python experiments/benchmarks/latent.py --json latent.json

`cp`, `nonnegative`, `rescal`: tensors of `--dims` with `--noise` (relative, Gaussian) on CP with
Gaussian factors, on CP with exponential ones, and on a RESCAL model whose entities are in a group
with a chance of a half, to an exponential degree. The ranks of `--ranks` are compared, or those of
them that are not farther from the planted one than `--around` tells. Found is what
`latent_dimension` chose; error and stability at the planted rank and at the next one stand beside
it. `bonds`: rings, `--resamplings` searches each; the least frequency of a planted bond, and the
largest one of another. `nested`: the nested matrix-tensor model (arXiv 2402.10677), views of a
noisy matrix whose columns lie in two clusters: the share of columns that the best rank-one network
and the best unfolding put into the right one, against the signal, beside the limit for whoever
knows how strong each view is (a spiked matrix, Benaych-Georges and Nadakuditi, 2012).
"""

import argparse
import math
import sys
import time
from pathlib import Path

import jax
import numpy as np

import tnjax
from tnjax import Decomposition, Problem, Structure, Tied

sys.path.insert(0, str(Path(__file__).parents[1]))
from tables import show, write

PARTS = ["cp", "nonnegative", "rescal", "bonds", "nested"]


def noisy(clean: np.ndarray, noise: float, rng: np.random.Generator) -> np.ndarray:
    error = rng.standard_normal(clean.shape)
    error *= noise * np.linalg.norm(clean) / np.linalg.norm(error)
    return (clean + error).astype(np.float32)


def planted(kind: str, rank: int, seed: int, dims: tuple[int, ...], noise: float) -> Problem:
    """A tensor with so many features."""
    rng = np.random.default_rng((seed, rank))
    if kind == "rescal":
        entities = rng.exponential(size=(dims[0], rank)) * (rng.random((dims[0], rank)) < 0.5)
        relations = rng.exponential(size=(dims[2], rank, rank))
        clean = np.einsum("ia,kab,jb->ijk", entities, relations, entities)
        return Tied(Decomposition(noisy(clean, noise, rng), nonnegative=True), [(0, 1)])
    draw = rng.standard_normal if kind == "cp" else rng.exponential
    clean = np.einsum("ia,ja,ka->ijk", *(draw(size=(n, rank)) for n in dims))
    return Decomposition(noisy(clean, noise, rng), nonnegative=kind == "nonnegative")


def compared(kind: str, dims: tuple[int, ...], ranks: list[int]) -> list[int | Structure]:
    """The structures to choose from."""
    if kind != "rescal":
        return [*ranks]
    return [Structure.from_edges(dims, {(0, 2): rank, (1, 2): rank}) for rank in ranks]


def dimension(kind: str, rank: int, seed: int, options: argparse.Namespace) -> dict:
    dims = tuple(options.dims)
    ranks = [each for each in options.ranks if abs(each - rank) <= options.around]
    problem = planted(kind, rank, seed, dims, options.noise)
    begin = time.perf_counter()
    found = tnjax.latent_dimension(
        problem,
        compared(kind, dims, ranks),
        key=jax.random.key(seed),
        copies=options.copies,
        starts=options.starts,
    )
    row = {
        "kind": kind,
        "rank": rank,
        "seed": seed,
        "found": None if found.chosen is None else found.ranks[0],
        "seconds": time.perf_counter() - begin,
    }
    for name, at in (("", rank), ("_next", rank + 1)):
        if at in ranks:
            fits = found.fits[ranks.index(at)]
            row |= {f"error{name}": fits.error, f"stability{name}": fits.stability}
    return row


def bonds(seed: int, options: argparse.Namespace) -> dict:
    ring = Structure.tensor_ring(tuple(options.ring), options.ring_rank)
    truth = tnjax.TensorNetwork.random(ring, key=jax.random.key(seed))
    rng, noise = np.random.default_rng(seed), options.ring_noise
    problem = Decomposition(noisy(np.asarray(truth.to_dense()), noise, rng))
    begin = time.perf_counter()
    key, again = jax.random.split(jax.random.key(seed))
    result = tnjax.search(problem, key=key, target_error=noise)
    found = tnjax.stability(
        problem, result, key=again, resamplings=options.resamplings, target_error=noise
    )
    shares = found.frequencies
    inside = [shares[edge] for edge in ring.edges]
    outside = [
        shares[a, b] for a in range(len(shares)) for b in range(a) if (b, a) not in ring.edges
    ]
    return {
        "kind": "ring",
        "seed": seed,
        "planted": result.structure == ring,
        "least_planted": float(min(inside)),
        "largest_other": float(max(outside)),
        "mean_rank": float(np.mean([found.mean_ranks[edge] for edge in ring.edges])),
        "seconds": time.perf_counter() - begin,
    }


def nested(signal: float, seed: int, options: argparse.Namespace) -> dict:
    """Columns of `signal * (3 x y' + Z) * z + W`, y the clusters, x and z of norm one."""
    rows, columns, views = options.nested
    rng = np.random.default_rng((seed, int(100 * signal)))
    x, z = (v / np.linalg.norm(v) for v in (rng.standard_normal(n) for n in (rows, views)))
    y = rng.choice([-1.0, 1.0], columns)
    strength = 3.0
    spread = rng.standard_normal((rows, columns)) / np.sqrt(rows + columns)
    matrix = strength * np.outer(x, y) / np.sqrt(columns) + spread
    noise = rng.standard_normal((rows, columns, views)) / np.sqrt(rows + columns + views)
    tensor = signal * np.einsum("ij,k->ijk", matrix, z) + noise
    right = lambda v: max(np.mean(np.sign(v) == y), np.mean(np.sign(v) == -y))
    leading = [
        np.linalg.svd(np.moveaxis(tensor, mode, 0).reshape(n, -1), full_matrices=False)[0][:, 0]
        for mode, n in enumerate(tensor.shape)
    ]
    problem, rank_one = Decomposition(tensor), Structure.rank_one(tensor.shape)
    solver = tnjax.ALS(max_steps=200, rtol=1e-7, patience=3)
    from_unfoldings = tnjax.fit(problem, tnjax.TensorNetwork(rank_one, leading), solver=solver)
    key = jax.random.key(seed)
    from_random = tnjax.fit(problem, rank_one, key=key, solver=solver, num_starts=16)
    best = min(from_unfoldings, from_random, key=lambda found: found.error)
    return {
        "kind": "nested",
        "signal": signal,
        "seed": seed,
        "tensor": right(np.asarray(best.network.cores[1])),
        "unfolding": right(leading[1]),
        "limit": known_views(signal, strength, options.nested),
    }


def known_views(signal: float, strength: float, dims: list[int]) -> float:
    """The share for whoever weighs the views by z: a spiked matrix of known noise."""
    rows, columns, views = dims
    noise = math.sqrt(signal**2 / (rows + columns) + 1 / (rows + columns + views))
    theta, ratio = signal * strength / (noise * math.sqrt(columns)), rows / columns
    square = max(0.0, (theta**4 - ratio) / (theta**4 + theta**2))
    return 0.5 * (1 + math.erf(math.sqrt(square / (2 * (1 - square)))))


def means(rows: list[dict]) -> list[dict]:
    """Of all seeds, for each signal."""
    out = []
    for signal in sorted({row["signal"] for row in rows}):
        some = [row for row in rows if row["signal"] == signal]
        mean = lambda name, some=some: float(np.mean([row[name] for row in some]))
        out.append({"signal": signal, **{k: mean(k) for k in ("tensor", "unfolding", "limit")}})
    return out


def hits(rows: list[dict]) -> list[dict]:
    """For each kind and rank how often it was found."""
    out = []
    for kind, rank in sorted({(row["kind"], row["rank"]) for row in rows}):
        some = [row for row in rows if (row["kind"], row["rank"]) == (kind, rank)]
        right = sum(row["found"] == rank for row in some)
        wrong = [row["found"] for row in some if row["found"] != rank]
        out.append({"kind": kind, "rank": rank, "hits": right, "of": len(some), "others": wrong})
    return out


def main(words: list[str] | None = None) -> dict:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parts", nargs="+", default=PARTS)
    parser.add_argument("--dims", nargs=3, type=int, default=[40, 40, 10])
    parser.add_argument("--planted", nargs="+", type=int, default=[3, 4, 5, 6, 7, 8, 9])
    parser.add_argument("--ranks", nargs="+", type=int, default=list(range(1, 12)))
    parser.add_argument("--around", type=int, default=100)
    parser.add_argument("--noise", type=float, default=0.05)
    parser.add_argument("--copies", type=int, default=10)
    parser.add_argument("--starts", type=int, default=10)
    parser.add_argument("--ring", nargs="+", type=int, default=[6, 6, 6, 6, 6])
    parser.add_argument("--ring-rank", type=int, default=2)
    parser.add_argument("--ring-noise", type=float, default=0.1)
    parser.add_argument("--resamplings", type=int, default=20)
    parser.add_argument("--nested", nargs=3, type=int, default=[60, 60, 60])
    parser.add_argument("--signals", nargs="+", type=float, default=[0.2, 0.3, 0.4, 0.5, 0.7, 1])
    parser.add_argument("--seeds", nargs="+", type=int, default=list(range(10)))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(words)
    rows, rings, nests = [], [], []
    for seed in options.seeds:
        for kind in options.parts:
            if kind == "nested":
                nests += [nested(signal, seed, options) for signal in options.signals]
                continue
            if kind == "bonds":
                rings.append(bonds(seed, options))
                print(rings[-1], flush=True)
                continue
            for rank in options.planted:
                rows.append(dimension(kind, rank, seed, options))
                print(rows[-1], flush=True)
        write(options.json, rows + rings + nests, words)  # what is there, should it be stopped
    found = hits(rows)
    show(found, ["kind", "rank", "hits", "of", "others"])
    show(rings, ["seed", "planted", "least_planted", "largest_other", "mean_rank", "seconds"])
    show(means(nests), ["signal", "tensor", "unfolding", "limit"])
    return {"rows": rows, "hits": found, "bonds": rings, "nested": means(nests)}


if __name__ == "__main__":
    main()
