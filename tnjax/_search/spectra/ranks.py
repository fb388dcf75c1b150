r"""Ranks of a network without loops, chosen from the spectra of its cuts.

Truncating bond e at rank r costs a squared relative error of at most the tail of its cut's
spectrum, so that ranks can be chosen without making a network: the fewest parameters whose tails
sum up to the square of an error, or the smallest sum of tails within a parameter budget. For a
star, the Tucker format, the latter is the choice of a core shape under a size budget.
"""

import dataclasses
import math
from collections.abc import Iterable, Sequence

import numpy as np

from ..._structure import Edge
from ..._tuned import tuned
from .choices import Program
from .integer import minimize_cost, minimize_params
from .tree_svd import Tree
from .unfoldings import Unfoldings


@dataclasses.dataclass(frozen=True)
class RankOptions:
    """Ranks of a tree by integer programs.

    Attributes:
        single_ranks: ranks up to this are options of their own at first.
        ratio: larger ones come in steps of this ratio.
        refinements: programs that follow with all ranks between the neighbors of those chosen.
        uneven: one bond alone may drop next to nothing: an even share of the error over this
            decides on its largest rank.
        finest: options between two neighbors.
    """

    single_ranks: int = 8
    ratio: float = 1.25
    refinements: int = 2
    uneven: int = 3
    finest: int = 16


RANKS = tuned("ranks", RankOptions())


Ranks = dict[Edge, int]


def ranks_for_error(
    tree: Tree, unfoldings: Unfoldings, error: float, *, dims: Sequence[int] | None = None
) -> Ranks:
    """The ranks with the fewest parameters (counted with the sizes `dims`) whose truncations
    together stay within a relative error.

    Reference:
        Guo et al., arXiv 2502.02711, section 4: the cost of a tree by integer programming.
    """
    spectra = {edge: unfoldings.spectrum(cut) for edge, cut in tree.cuts.items()}
    limits = tree.largest_ranks()
    # One bond alone may drop all of the error, or next to nothing of it.
    even = error / math.sqrt(max(1, len(tree.edges)))
    least = {edge: min(spectra[edge].rank(error), limits[edge]) for edge in tree.edges}
    most = {
        edge: min(spectra[edge].rank(even / RANKS().uneven), limits[edge]) for edge in tree.edges
    }
    tails = {edge: spectrum.tails for edge, spectrum in spectra.items()}
    # The ranks of an even split always fit: an answer if the program has none in time.
    best = {edge: min(spectra[edge].rank(even), limits[edge]) for edge in tree.edges}
    if len(tree.edges) < 2:
        return best
    options = {e: _thinned(least[e], most[e], (best[e],)) for e in tree.edges}
    for _ in range(1 + RANKS().refinements):
        program = _program(tree, options, dims)
        dropped = [_tail(tails[edge], options[edge]) for edge in tree.edges]
        found = minimize_params(program, at_most=(dropped, error**2)).chosen
        if found is None:
            break
        ranks = {e: options[e][o] for e, o in zip(tree.edges, found, strict=True)}
        total = sum(float(_tail(tails[edge], [ranks[edge]])[0]) for edge in tree.edges)
        fewer = tree.num_params(ranks, dims) < tree.num_params(best, dims)
        if total <= error**2 * (1 + 1e-9) and fewer:
            best = ranks
        closer = {e: _between(options[e], best[e]) for e in tree.edges}
        if closer == options:
            break
        options = closer
    return best


def ranks_for_budget(
    tree: Tree, unfoldings: Unfoldings, max_params: int, *, dims: Sequence[int] | None = None
) -> Ranks | None:
    """The ranks whose truncations cost the least with at most `max_params` parameters; None if
    not even ranks of 1 fit.

    Reference:
        Ghadiri et al., "Approximately Optimal Core Shapes for Tensor Decompositions", ICML 2023,
        where the tree is a star; the surrogate of the error is the same, the solver exact.
    """
    best: Ranks = dict.fromkeys(tree.edges, 1)
    if tree.num_params(best, dims) > max_params:
        return None
    tails, options = {}, {}
    for edge, limit in tree.largest_ranks().items():
        spectrum = unfoldings.spectrum(tree.cuts[edge])
        tails[edge] = spectrum.tails
        alone = {**dict.fromkeys(tree.edges, 1), edge: 2}
        cost = max(1, tree.num_params(alone, dims) - tree.num_params(best, dims))
        most = min(limit, 1 + max_params // cost, max(1, len(spectrum.squares)))
        options[edge] = _thinned(1, most, ())
    for _ in range(1 + RANKS().refinements):
        costs = [_tail(tails[edge], options[edge]) for edge in tree.edges]
        program = _program(tree, options, dims)
        found = minimize_cost(program, costs, float(max_params)).chosen
        if found is None:
            break
        ranks = {e: options[e][o] for e, o in zip(tree.edges, found, strict=True)}
        total = lambda ranks: sum(float(_tail(tails[e], [r])[0]) for e, r in ranks.items())
        if tree.num_params(ranks, dims) <= max_params and total(ranks) < total(best):
            best = ranks
        closer = {e: _between(options[e], best[e]) for e in tree.edges}
        if closer == options:
            break
        options = closer
    return best


def _program(tree: Tree, options: dict[Edge, list[int]], dims: Sequence[int] | None) -> Program:
    sizes = tree.dims if dims is None else dims
    place = {edge: n for n, edge in enumerate(tree.edges)}
    nodes = tuple(
        (
            math.fsum(math.log(sizes[mode]) for mode in legs),
            tuple(place[edge] for edge in tree.axes(node)),
        )
        for node, legs in enumerate(tree.legs)
    )
    return Program(nodes, tuple(np.log(np.asarray(options[edge], float)) for edge in tree.edges))


def _tail(tails: np.ndarray, ranks: Iterable[int]) -> np.ndarray:
    return tails[np.minimum(np.asarray(list(ranks)), len(tails) - 1)]


def _thinned(least: int, most: int, extra: Sequence[int]) -> list[int]:
    """`least` to `most`: small ranks alone, large ones at a ratio."""
    out, rank = {most, *extra}, least
    while rank < most:
        out.add(rank)
        rank = rank + 1 if rank < RANKS().single_ranks else max(rank + 1, int(rank * RANKS().ratio))
    return sorted(out)


def _between(options: list[int], rank: int) -> list[int]:
    """All ranks between the neighbors of one option, thinned if there are many; and the ends."""
    place = options.index(rank)
    low, high = options[max(0, place - 1)], options[min(len(options) - 1, place + 1)]
    step = max(1, (high - low) // RANKS().finest)
    return sorted({*range(low, high + 1, step), high, rank})
