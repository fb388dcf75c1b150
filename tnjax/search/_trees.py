r"""The cheapest trees for a tensor, by dynamic programming over sets of modes.

A tree is built from its leaves: the part that carries the modes S hangs on a bond of rank r and
costs

$$f(S, r) = \min_{S = A \cup B} \min_{a, b} \; r\,a\,b + g(A, a) + g(B, b), \qquad
  g(S, r) = f(S, r) + \mu\,\tau_S(r),$$

with $\tau_S(r)$ the squared error that truncating the cut S at rank r costs. A part may also be
carried by the node above it as open legs: then it is not cut at all, a is the product of its mode
sizes and g is 0. So nodes with several legs, internal nodes, trains, Tucker networks of three
modes and the truncated SVD of any unfolding all are among the trees. The multiplier $\mu$ trades
parameters for error; it is swept, and the trees of its optima are then weighed exactly by
integer programming.
"""

import dataclasses
import itertools
import math
from collections.abc import Sequence

import numpy as np

from .._structure import Edge
from ._ranks import ranks_for_error
from ._spectra import Unfoldings
from ._tree_svd import Tree

# Orders up to which all sets of modes are parts; above, neighboring modes only.
_ALL_SETS_ORDER = 8
_OPTIONS = 9
# Unfoldings whose truncated SVD is looked at.
_MOST_CUTS = 70
_MULTIPLIERS = 14

Part = tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class _Choice:
    """What a part is at each of its ranks: `costs` [options], and for each option its split."""

    ranks: np.ndarray
    costs: np.ndarray
    splits: list[tuple[Part, Part, int, int] | None]


@dataclasses.dataclass(frozen=True)
class RankedTree:
    """A tree with the ranks that suffice for an error, and its parameters."""

    tree: Tree
    ranks: dict[Edge, int]
    num_params: int


def best_trees(
    unfoldings: Unfoldings, error: float, *, count: int, dims: Sequence[int] | None = None
) -> list[RankedTree]:
    """Different trees of few parameters that stay within a relative error, the smallest first;
    none is larger than the best truncated SVD of an unfolding.

    Args:
        unfoldings: of the tensor.
        error: relative.
        count: how many at most.
        dims: mode sizes that parameters are counted with; those of the tensor by default.
    """
    sizes = unfoldings.dims if dims is None else tuple(dims)
    parts = _parts(len(sizes))
    options = {part: _options(unfoldings, part, error) for part in parts}
    trees: dict[Tree, None] = {}
    low, high = 0.0, math.inf
    multiplier = math.prod(sizes) ** 0.5 / error**2
    for _ in range(_MULTIPLIERS):
        tree, dropped = _optimum(sizes, parts, options, multiplier)
        tree = dataclasses.replace(tree, dims=unfoldings.dims)
        trees[tree] = None
        if dropped > error**2:
            low = multiplier
        else:
            high = multiplier
        if low > 0 and high < math.inf:
            if high < low * 1.02:
                break
            multiplier = math.sqrt(low * high)
        else:
            multiplier = multiplier * 8 if high == math.inf else multiplier / 8
    found = []
    for tree in two_node_trees(unfoldings.dims):
        ranks = ranks_for_error(tree, unfoldings, error, dims=dims)
        found.append(RankedTree(tree, ranks, tree.num_params(ranks, dims)))
    found = sorted(found, key=lambda ranked: ranked.num_params)[:1]
    for tree in trees:
        ranks = ranks_for_error(tree, unfoldings, error, dims=dims)
        tree, ranks = _contracted(tree, ranks, sizes)
        if len(tree.edges):
            ranks = ranks_for_error(tree, unfoldings, error, dims=dims)
        found.append(RankedTree(tree, ranks, tree.num_params(ranks, dims)))
    found.sort(key=lambda ranked: ranked.num_params)
    unique = {ranked.tree: ranked for ranked in reversed(found)}
    return sorted(unique.values(), key=lambda ranked: ranked.num_params)[:count]


def two_node_trees(dims: tuple[int, ...]) -> list[Tree]:
    """The trees of truncated SVDs, those of the squarest unfoldings: of one far from square, no
    truncation saves much."""
    modes = range(len(dims))
    sizes = range(1, len(dims) // 2 + 1)
    sides = [side for size in sizes for side in itertools.combinations(modes, size)]
    total = math.log(math.prod(dims))
    skew = lambda side: abs(2 * math.fsum(math.log(dims[m]) for m in side) - total)
    trees = []
    for side in sorted(sides, key=skew)[:_MOST_CUTS]:
        rest = tuple(mode for mode in modes if mode not in side)
        trees.append(Tree(dims, (side, rest) if 0 in side else (rest, side), ((0, 1),)))
    return trees or [Tree(dims, (tuple(modes),), ())]


def _parts(order: int) -> list[Part]:
    """Sets of modes that a bond may cut off, small ones first."""
    modes = range(order)
    if order <= _ALL_SETS_ORDER:
        return [p for size in range(1, order) for p in itertools.combinations(modes, size)]
    return [tuple(range(a, a + size)) for size in range(1, order) for a in range(order - size + 1)]


def _options(unfoldings: Unfoldings, part: Part, error: float) -> tuple[np.ndarray, np.ndarray]:
    """Ranks of the cut between 1 and what the whole error needs, and their tails."""
    spectrum = unfoldings.spectrum(part)
    rows = math.prod(unfoldings.dims[mode] for mode in part)
    columns = math.prod(unfoldings.dims) // rows
    most = min(spectrum.rank(error / 4), rows, columns)
    least = min(spectrum.rank(error), most)
    ranks = np.unique(np.round(np.geomspace(least, most, _OPTIONS)).astype(int))
    return ranks, spectrum.tails[np.minimum(ranks, len(spectrum.tails) - 1)]


def _optimum(sizes, parts, options, multiplier) -> tuple[Tree, float]:
    """The tree with the least parameters plus multiplier times tails, and its tails."""
    known: dict[Part, _Choice] = {}

    def offers(part: Part):
        """What the node above may see of a part: its ranks with their costs, or its legs."""
        choice, (ranks, tails) = known[part], options[part]
        size = math.prod(sizes[mode] for mode in part)
        return np.append(ranks, size), np.append(choice.costs + multiplier * tails, 0.0)

    for part in parts:
        ranks, _ = options[part]
        size = math.prod(sizes[mode] for mode in part)
        costs = ranks * float(size)
        splits: list[tuple[Part, Part, int, int] | None] = [None] * len(ranks)
        for first, second in _halves(part, known):
            (a, cost_a), (b, cost_b) = offers(first), offers(second)
            fixed = cost_a[:, None] + cost_b[None]
            total = ranks[:, None, None] * np.outer(a, b)[None] + fixed[None]
            flat = total.reshape(len(ranks), -1)
            picks = flat.argmin(1)
            for n in np.flatnonzero(flat[np.arange(len(ranks)), picks] < costs * (1 - 1e-12)):
                costs[n] = flat[n, picks[n]]
                splits[n] = (first, second, *divmod(int(picks[n]), len(b)))
        known[part] = _Choice(ranks, costs, splits)
    whole = tuple(range(len(sizes)))
    best, pick = float(math.prod(sizes)), None
    for part in parts:
        rest = tuple(mode for mode in whole if mode not in part)
        if 0 not in part or rest not in known:
            continue
        # The two sides of a cut have the same ranks to choose from.
        total = known[part].costs + known[rest].costs + multiplier * options[part][1]
        n = int(total.argmin())
        if total[n] < best:
            best, pick = float(total[n]), (part, rest, n)
    return _built(sizes, known, options, pick)


def _halves(part: Part, known):
    """Splits in two parts, each unordered pair once."""
    for size in range(1, len(part)):
        for first in itertools.combinations(part[1:], size):
            second = tuple(mode for mode in part if mode not in first)
            if first in known and second in known:
                yield first, second


def _built(sizes, known, options, pick) -> tuple[Tree, float]:
    if pick is None:
        return Tree(tuple(sizes), (tuple(range(len(sizes))),), ()), 0.0
    legs: list[tuple[int, ...]] = []
    edges: list[Edge] = []
    dropped = 0.0

    def add(part: Part, n: int) -> int:
        """The node on top of a part at its option n; returns its number."""
        nonlocal dropped
        node = len(legs)
        legs.append(())
        split = known[part].splits[n]
        if split is None:
            legs[node] = part
            return node
        for side, option in ((split[0], split[2]), (split[1], split[3])):
            if option == len(options[side][0]):  # not cut: the node's own legs
                legs[node] = tuple(sorted((*legs[node], *side)))
            else:
                dropped += float(options[side][1][option])
                edges.append((node, add(side, option)))
        return node

    part, rest, n = pick
    dropped += float(options[part][1][n])
    first = add(part, n)
    edges.append((first, add(rest, n)))
    return _natural(sizes, legs, edges), dropped


def _natural(sizes, legs, edges) -> Tree:
    """Nodes numbered by their first mode, internal ones last."""
    order = sorted(range(len(legs)), key=lambda node: (not legs[node], legs[node], node))
    new = {old: n for n, old in enumerate(order)}
    edges = sorted(tuple(sorted((new[a], new[b]))) for a, b in edges)
    return Tree(tuple(sizes), tuple(legs[old] for old in order), tuple(edges))


def _contracted(tree: Tree, ranks, sizes) -> tuple[Tree, dict[Edge, int]]:
    """Neighboring nodes merged as long as that saves parameters: bonds that no one needs."""
    legs = [list(modes) for modes in tree.legs]
    bonds = [(a, b, ranks[a, b]) for a, b in tree.edges]
    alive = set(range(len(legs)))

    def size(node: int, without: int | None = None) -> int:
        out = math.prod(sizes[mode] for mode in legs[node])
        for n, (a, b, rank) in enumerate(bonds):
            if node in (a, b) and n != without:
                out *= rank
        return out

    while True:
        savings = [size(a) + size(b) - size(a, n) * size(b, n) for n, (a, b, _) in enumerate(bonds)]
        if not savings or max(savings) < 0:
            break
        a, b, _ = bonds.pop(int(np.argmax(savings)))
        legs[a] += legs[b]
        alive.remove(b)
        bonds = [(a if x == b else x, a if y == b else y, r) for x, y, r in bonds]
    kept = sorted(alive)
    place = {old: n for n, old in enumerate(kept)}
    parts = [tuple(sorted(legs[old])) for old in kept]
    merged = _natural(sizes, parts, [(place[x], place[y]) for x, y, _ in bonds])
    return dataclasses.replace(merged, dims=tree.dims), {}
