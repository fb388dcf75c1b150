"""The best sum of functions of one feature column each, as a tensor network on a tree.

The first index of every bond carries the constant function of the columns below it, the others
carry sums over them, so that

$$f(s) = \\sum_k \\phi_k(s) \\cdot B_k$$

is exact at rank two (one output). The tree joins the columns whose products explain most of what
this sum leaves over: there growth finds interactions first.
"""

import dataclasses
import itertools
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from .._network import TensorNetwork
from .._structure import Structure
from .._tuned import tuned
from ..contract import designs
from ._losses import Loss, on_host
from .featured import FeatureSamples


@dataclasses.dataclass(frozen=True)
class Additive:
    """The sum of functions of one column that a search begins with.

    Attributes:
        ridges: that are tried, relative to the number of samples; the held-out samples choose.
        ridge: relative to the number of samples, where nothing is held out.
        steps: of iteratively reweighted least squares, for a loss that is not squared.
        rtol: of the loss, at which these end.
        constant: largest difference to 1 that the constant function may have over the samples.
        most_features: of all columns together, up to which the sum is fitted.
        degree: bonds that a node of the tree has at most, besides that to the outputs.
        energy: share of the sum's variance over outputs that its ranks keep ...
        outputs: ... with at most so many of them.
        samples: from so many samples on, this many of them choose the tree.
    """

    ridges: tuple[float, ...] = (1e-6, 1e-4, 1e-3, 1e-2, 3e-2, 0.1, 0.3)
    ridge: float = 1e-3
    steps: int = 100
    rtol: float = 1e-5
    constant: float = 1e-3
    most_features: int = 1500
    degree: int = 3
    energy: float = 0.999
    outputs: int = 9
    samples: int = 20_000


ADDITIVE = tuned("additive", Additive())


def constant_vectors(problem: Any) -> list[np.ndarray | None]:
    """For each mode the vector whose product with the features is nearest to 1 over the training
    samples; None for a mode of a block of several modes."""
    found: list[np.ndarray | None] = [np.ones(dim) for dim in problem.shape]
    for block, features in zip(problem.blocks, problem.training.features, strict=True):
        if len(block) > 1:
            for mode in block:
                found[mode] = None
            continue
        x = np.asarray(features, np.float64)
        size = x.shape[1]
        gram = x.T @ x / len(x)
        jitter = 1e-12 * np.trace(gram) / size * np.eye(size)
        found[block[0]] = np.linalg.lstsq(gram + jitter, x.mean(0), rcond=None)[0]
    return found


class _Sum(NamedTuple):
    """Coefficients [features, outputs] of all columns, where each column's begin, and the
    predictions [samples, outputs] that they give, offset included."""

    coefficients: np.ndarray
    starts: np.ndarray
    link: np.ndarray


def additive_network(problem: Any) -> TensorNetwork | None:
    """The sum in the units of the solvers; None where there is none: columns without a constant
    function, samples that are tensors, a single column.

    Args:
        problem: a `Supervised`.
    """
    samples, blocks = problem.training, problem.blocks
    if len(blocks) < 2 or any(len(block) > 1 for block in blocks):
        return None
    if sum(x.shape[1] for x in samples.features) > ADDITIVE().most_features:
        return None
    vectors = constant_vectors(problem)
    for block, features in zip(blocks, samples.features, strict=True):
        one = np.asarray(features) @ vectors[block[0]]
        if np.abs(one - 1).max() > ADDITIVE().constant:
            return None
    found = _fitted(problem)
    tree = _tree(problem, found)
    return _network(problem, found, tree, vectors)


def _stacked(samples: FeatureSamples) -> np.ndarray:
    return np.concatenate([np.asarray(x, np.float64) for x in samples.features], 1)


def _fitted(problem: Any) -> _Sum:
    """With the ridge that the held-out samples choose."""
    samples, loss, held = problem.training, problem.loss_function, problem.held_out
    x = _stacked(samples)
    sizes = [part.shape[1] for part in samples.features]
    starts = np.cumsum([0, *sizes])
    if held is None:
        least = max(float(problem.penalty), ADDITIVE().ridge)
        coefficients = _coefficients(samples, x, loss, least)
        return _Sum(coefficients, starts, _link(samples, x, coefficients))
    x_held, best, lowest = _stacked(held), None, np.inf
    for ridge in ADDITIVE().ridges:
        coefficients = _coefficients(samples, x, loss, ridge)
        value = _value(held, _link(held, x_held, coefficients), loss)
        if best is None or value < lowest:
            best, lowest = coefficients, value
    assert best is not None
    return _Sum(best, starts, _link(samples, x, best))


def _link(samples: FeatureSamples, x: np.ndarray, coefficients: np.ndarray) -> np.ndarray:
    return np.asarray(samples.base, np.float64).reshape(1, -1) + x @ coefficients


def _value(samples: FeatureSamples, link: np.ndarray, loss: Loss) -> float:
    shape = samples.values.shape
    values = np.asarray(samples.values)
    value = on_host(loss.value, link.reshape(shape).astype(values.dtype), values)
    value = value.astype(np.float64)
    return float(np.asarray(samples.weights) @ value.reshape(shape[0], -1).sum(1))


def _coefficients(samples: FeatureSamples, x: np.ndarray, loss: Loss, ridge: float) -> np.ndarray:
    """Of the sum with the lowest loss and a ridge: steps of reweighted least squares."""
    values, weights = np.asarray(samples.values), np.asarray(samples.weights, np.float64)
    shape = values.shape
    outputs, eye = int(np.prod(shape[1:])), ridge * np.eye(x.shape[1])
    coefficients = np.zeros((x.shape[1], outputs))
    last = np.inf
    for _ in range(1 if loss.quadratic else ADDITIVE().steps):
        link = _link(samples, x, coefficients).reshape(shape)
        p = link.astype(values.dtype)
        half = lambda of, p=p: on_host(of, p, values).astype(np.float64).reshape(-1, outputs) / 2
        curvature, slope = half(loss.weight), half(loss.gradient)
        down = x.T @ (weights[:, None] * slope) + ridge * coefficients
        if (curvature == curvature[:, :1]).all():
            gram = x.T @ ((weights * curvature[:, 0])[:, None] * x) + eye
            step = np.linalg.solve(gram, down)
        else:
            columns = range(outputs)
            grams = [x.T @ ((weights * curvature[:, c])[:, None] * x) + eye for c in columns]
            step = np.stack([np.linalg.solve(grams[c], down[:, c]) for c in columns], 1)
        coefficients = coefficients - step
        now = _value(samples, _link(samples, x, coefficients), loss)
        if not now < last * (1 - ADDITIVE().rtol):
            break
        last = now
    return coefficients


def _tree(problem: Any, found: _Sum) -> list[tuple[int, int]]:
    """A tree over the columns: of the largest interactions, no node with more than a few bonds."""
    samples, count = problem.training, problem.training.count
    rows = slice(None)
    if count > ADDITIVE().samples:
        rows = np.linspace(0, count - 1, ADDITIVE().samples).astype(np.int64)
    values = np.asarray(samples.values)[rows]
    link = found.link[rows].reshape(values.shape).astype(values.dtype)
    slope = on_host(problem.loss_function.gradient, link, values).astype(np.float64)
    slope = np.asarray(samples.weights)[rows][:, None] * slope.reshape(len(link), -1)
    columns = [np.asarray(part, np.float64)[rows] for part in samples.features]
    sizes = [np.sum(column**2, 1) for column in columns]
    scores = {}
    for j, k in itertools.combinations(range(len(columns)), 2):
        shown = sum(np.sum((columns[j].T @ (s[:, None] * columns[k])) ** 2) for s in slope.T)
        chance = np.sum(np.sum(slope**2, 1) * sizes[j] * sizes[k])
        scores[j, k] = shown / chance if chance > 0 else 0.0
    parts, degree = list(range(len(columns))), [0] * len(columns)
    edges: list[tuple[int, int]] = []
    most = ADDITIVE().degree
    for limit in (most, len(columns)):  # a tree with small nodes exists, but this may miss it
        for a, b in sorted(scores, key=lambda pair: -scores[pair]):
            if parts[a] != parts[b] and max(degree[a], degree[b]) < limit:
                old, new = parts[a], parts[b]
                parts = [new if part == old else part for part in parts]
                degree[a] += 1
                degree[b] += 1
                edges.append((a, b))
    return edges


def _network(
    problem: Any, found: _Sum, tree: list[tuple[int, int]], vectors: list[np.ndarray | None]
) -> TensorNetwork:
    """The sum on a tree: nodes are modes."""
    shift = len(designs.outputs(Structure.rank_one(problem.shape), problem.blocks))
    coefficients, mixed = found.coefficients, None
    if shift:  # as few sums as the outputs need
        spread = found.link - found.link.mean(0)
        _, sizes, axes = np.linalg.svd(spread, full_matrices=False)
        shares = np.cumsum(sizes**2) / max(np.sum(sizes**2), np.finfo(float).tiny)
        rank = int(np.searchsorted(shares, ADDITIVE().energy) + 1)
        rank = min(rank, ADDITIVE().outputs, len(sizes))
        mixed = axes[:rank]
        coefficients = coefficients @ mixed.T
    rank = 1 + coefficients.shape[1]
    edges = {(a + shift, b + shift) if a < b else (b + shift, a + shift): rank for a, b in tree}
    if shift:
        edges[0, 1] = rank
    dims = problem.shape
    structure = Structure(dims, tuple((mode,) for mode in range(len(dims))), edges)
    above = _parents(tree, len(dims) - shift)
    cores = []
    for node in range(len(dims)):
        core = np.zeros(structure.core_shape(node))
        if shift and node == 0:
            assert mixed is not None
            core[:, 1:] = mixed.T
            cores.append(core)
            continue
        k = node - shift
        own = coefficients[found.starts[k] : found.starts[k + 1]]
        bonds = structure.core_edges(node)
        up = (0, 1) if (shift and k == 0) else None
        if k != 0:
            up = (min(node, above[k] + shift), max(node, above[k] + shift))
        axis = None if up is None else bonds.index(up)
        at = [0] * len(bonds)

        def put(place: list[int], value: np.ndarray, core=core) -> None:
            core[(slice(None), *place)] += value

        if axis is not None:
            put(at, np.asarray(vectors[node]))
        for sum_ in range(1, rank):
            here = list(at)
            if axis is not None:
                here[axis] = sum_
            put(here, own[:, sum_ - 1])
            for bond in range(len(bonds)):
                if bond != axis:
                    below = list(here)
                    below[bond] = sum_
                    put(below, np.asarray(vectors[node]))
        cores.append(core)
    return TensorNetwork(structure, [jnp.asarray(core, problem.dtype) for core in cores])


def _parents(tree: list[tuple[int, int]], count: int) -> list[int]:
    """Of each node the next one towards node 0."""
    neighbors: list[list[int]] = [[] for _ in range(count)]
    for a, b in tree:
        neighbors[a].append(b)
        neighbors[b].append(a)
    parents, todo = [-1] * count, [0]
    for node in todo:
        for other in neighbors[node]:
            if other != parents[node]:
                parents[other] = node
                todo.append(other)
    return parents
