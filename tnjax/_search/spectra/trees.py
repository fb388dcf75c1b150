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
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from ... import _interrupt
from ..._structure import Edge
from ..._tuned import tuned
from .cuts import work_of
from .ranks import ranks_for_error
from .tree_svd import Tree
from .unfoldings import Unfoldings, cut_name


@dataclasses.dataclass(frozen=True)
class BestTrees:
    """Trees of few parameters by dynamic programming.

    Attributes:
        all_sets_order: orders up to which all sets of modes are parts; above, only modes that are
            neighbors as they are numbered, or once the digits of several axes take turns.
        axes: so many axes at the most: the modes of an image that was reshaped are the digits of
            its rows, then those of its columns, and digits of the same weight belong together.
        options: ranks that each part chooses from.
        most_cuts: unfoldings whose truncated SVD is looked at, the squarest ones.
        multipliers: Lagrange multipliers of the error, each of which gives a tree.
        hopeless: times the parameters that are wanted: there is no tree where the dual bound is
            above. (It is not quite one, since not all ranks are among the options.)
        bracket: the bisection of the multiplier ends at this ratio.
        step: factor of the multiplier until it is bracketed.
        least_share: the part of the error that decides on the largest rank of a part.
    """

    all_sets_order: int = 8
    axes: int = 3
    options: int = 9
    most_cuts: int = 70
    multipliers: int = 14
    hopeless: float = 1.25
    bracket: float = 1.02
    step: int = 8
    least_share: float = 1 / 4


TREES = tuned("trees", BestTrees())


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
    unfoldings: Unfoldings,
    error: float,
    *,
    count: int,
    dims: Sequence[int] | None = None,
    below: int | None = None,
) -> list[RankedTree]:
    """Different trees of few parameters that stay within a relative error, the smallest first;
    none is larger than the best truncated SVD of an unfolding.

    Args:
        unfoldings: of the tensor.
        error: relative.
        count: how many at most.
        dims: mode sizes that parameters are counted with; those of the tensor by default.
        below: only trees with fewer parameters are of use; where the dual bound says that there
            are none by far, the list is empty.
    """
    sizes = unfoldings.dims if dims is None else tuple(dims)
    parts = _parts(len(sizes))
    options = {part: _options(unfoldings, part, error) for part in parts}
    trees: dict[Tree, None] = {}
    low, high = 0.0, math.inf
    multiplier = math.prod(sizes) ** 0.5 / error**2
    splits = _splits(sizes, options)
    for _ in range(TREES().multipliers):
        _interrupt.checkpoint()
        tree, dropped, value = _optimum(sizes, options, splits, multiplier)
        if below is not None and value - multiplier * error**2 > TREES().hopeless * below:
            return []
        tree = dataclasses.replace(tree, dims=unfoldings.dims)
        trees[tree] = None
        if dropped > error**2:
            low = multiplier
        else:
            high = multiplier
        if low > 0 and high < math.inf:
            if high < low * TREES().bracket:
                break
            multiplier = math.sqrt(low * high)
        else:
            step = TREES().step
            multiplier = multiplier * step if high == math.inf else multiplier / step
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


def measuring_work(dims: tuple[int, ...]) -> float:
    """Multiplications that the spectra of all parts take."""
    cuts = {cut_name(part, len(dims)) for part in _parts(len(dims))}
    return float(work_of(dims, sorted(cuts)).sum())


def two_node_trees(dims: tuple[int, ...]) -> list[Tree]:
    """The trees of truncated SVDs, those of the squarest unfoldings: of one far from square, no
    truncation saves much."""
    modes = range(len(dims))
    total = math.log(math.prod(dims))
    skew = lambda side: abs(2 * math.fsum(math.log(dims[m]) for m in side) - total)
    sides = [side for side in _parts(len(dims)) if 2 * len(side) <= len(dims)]
    trees = []
    for side in sorted(sides, key=skew)[: TREES().most_cuts]:
        rest = tuple(mode for mode in modes if mode not in side)
        trees.append(Tree(dims, (side, rest) if 0 in side else (rest, side), ((0, 1),)))
    return trees or [Tree(dims, (tuple(modes),), ())]


def _parts(order: int) -> list[Part]:
    """Sets of modes that a bond may cut off, small ones first."""
    modes = range(order)
    if order <= TREES().all_sets_order:
        return [p for size in range(1, order) for p in itertools.combinations(modes, size)]
    found = set()
    for axes in range(1, TREES().axes + 1):
        digits = order // axes
        turns = [axis * digits + n for n in range(digits) for axis in range(axes)]
        turns += range(axes * digits, order)
        for size in range(1, order):
            found |= {tuple(sorted(turns[a : a + size])) for a in range(order - size + 1)}
    return sorted(found, key=lambda part: (len(part), part))


def _options(unfoldings: Unfoldings, part: Part, error: float) -> tuple[np.ndarray, np.ndarray]:
    """Ranks of the cut between 1 and what the whole error needs, and their tails."""
    spectrum = unfoldings.spectrum(part)
    rows = math.prod(unfoldings.dims[mode] for mode in part)
    columns = math.prod(unfoldings.dims) // rows
    most = min(spectrum.rank(error * TREES().least_share), rows, columns)
    least = min(spectrum.rank(error), most)
    ranks = np.unique(np.round(np.geomspace(least, most, TREES().options)).astype(int))
    return ranks, spectrum.tails[np.minimum(ranks, len(spectrum.tails) - 1)]


class _Splits(NamedTuple):
    """All splits of a part: their halves, and the parameters of the node on top [ranks, splits,
    options, options]."""

    halves: list[tuple[Part, Part]]
    products: np.ndarray


def _splits(sizes, options) -> dict[Part, _Splits]:
    """Of the parts that have any."""
    offered = {}  # what the node above may see of a part: a bond of some rank, or its legs
    for part, (ranks, _) in options.items():
        legs = math.prod(sizes[mode] for mode in part)
        offered[part] = _padded(np.append(ranks, legs), 1)
    found = {}
    masks = {_mask(part): part for part in options}
    for part, (ranks, _) in options.items():
        halves = list(_halves(part, masks))
        if halves:
            a, b = (np.stack([offered[half[side]] for half in halves]) for side in (0, 1))
            pairs = a[:, :, None] * b[:, None, :]
            found[part] = _Splits(halves, ranks[:, None, None, None] * pairs)
    return found


def _padded(values: np.ndarray, fill: float) -> np.ndarray:
    """As floats, filled up to the number of options and one for the legs."""
    return np.append(values, np.full(TREES().options + 1 - len(values), fill)).astype(float)


def _optimum(sizes, options, splits: dict[Part, _Splits], multiplier):
    """The tree with the least parameters plus multiplier times tails, its tails, and the sum."""
    known: dict[Part, _Choice] = {}
    offered: dict[Part, np.ndarray] = {}
    for part, (ranks, tails) in options.items():
        costs = ranks * float(math.prod(sizes[mode] for mode in part))
        chosen: list[tuple[Part, Part, int, int] | None] = [None] * len(ranks)
        if part in splits:
            halves, products = splits[part]
            a, b = (np.stack([offered[half[side]] for half in halves]) for side in (0, 1))
            flat = (products + a[:, :, None] + b[:, None, :]).reshape(len(ranks), -1)
            picks = flat.argmin(1)
            for n in np.flatnonzero(flat[np.arange(len(ranks)), picks] < costs * (1 - 1e-12)):
                costs[n] = flat[n, picks[n]]
                half, first, second = np.unravel_index(picks[n], products.shape[1:])
                chosen[n] = (*halves[half], int(first), int(second))
        known[part] = _Choice(ranks, costs, chosen)
        offered[part] = _padded(np.append(costs + multiplier * tails, 0.0), math.inf)
    whole = tuple(range(len(sizes)))
    best, pick = float(math.prod(sizes)), None
    for part in options:
        rest = tuple(mode for mode in whole if mode not in part)
        if 0 not in part or rest not in known:
            continue
        # The two sides of a cut have the same ranks to choose from.
        total = known[part].costs + known[rest].costs + multiplier * options[part][1]
        n = int(total.argmin())
        if total[n] < best:
            best, pick = float(total[n]), (part, rest, n)
    return (*_built(sizes, known, options, pick), best)


def _mask(part: Part) -> int:
    """A set of modes as the bits of a number."""
    return sum(1 << mode for mode in part)


def _halves(part: Part, masks: dict[int, Part]) -> Iterator[tuple[Part, Part]]:
    """Splits in two of the parts, by their masks; each unordered pair once."""
    whole, lowest = _mask(part), 1 << part[0]
    for mask, first in masks.items():
        rest = whole ^ mask
        if mask & whole == mask and not mask & lowest and rest in masks:
            yield first, masks[rest]


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
