"""Smaller structures near a given one: what the last phases of a search try."""

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from .. import _interrupt
from .._structure import Edge, Structure, as_edge
from .._tuned import tuned
from . import Composite, Merge, Move, Rerank, Split, gauged
from .cores import Cores, connected_parts

Changes = dict[Edge, int]
Admits = Callable[[Structure], bool]
Params = Callable[[Structure], int]
Least = Callable[[Iterable[int]], int]


@dataclasses.dataclass(frozen=True)
class Moves:
    """The neighbors of a structure.

    Attributes:
        hyperedge_rank: largest rank of a new hyperedge.
        split_bonds: bonds of a node up to which all ways to split it are looked at.
    """

    hyperedge_rank: int = 64
    split_bonds: int = 8


MOVES = tuned("moves", Moves())


def rewirings(structure: Structure, edges: Sequence[Edge]) -> Iterator[Rerank]:
    """Changes of ranks that may save parameters, each leading to another structure.

    - one rank less on a bond;
    - one rank, or all of them, from a bond to another;
    - a bond is led along another way: the bond k-j, of rank s, slides its end k along the bond i-k
      and becomes a bond i-j. What it carried may have gone through i-k before, which then loses
      up to the factor s, or goes through it from now on, which then gains up to that factor.

    Args:
        edges: bonds that may get ranks.
    """
    seen = {structure}
    for changes in _changes(structure, edges):
        move = Rerank(tuple(sorted(changes.items())))
        after = move.after(structure)
        if after not in seen:
            seen.add(after)
            yield move


def _changes(structure: Structure, edges: Sequence[Edge]) -> Iterator[Changes]:
    for edge, rank in structure.edges.items():
        yield {edge: rank - 1}
        for other in edges:
            if other != edge:
                yield {edge: rank - 1, other: structure.rank(other) + 1}
                if set(edge) & set(other):
                    yield {edge: 1, other: max(rank, structure.rank(other))}
        if len(edge) == 2:
            yield from _slides(structure, edge, set(edges))


def _slides(structure: Structure, edge: Edge, allowed: set[Edge]) -> Iterator[Changes]:
    rank = structure.edges[edge]
    for end, other in (edge, edge[::-1]):
        for through in structure.core_edges(end):
            if len(through) != 2 or through == edge:
                continue
            corner = sum(through) - end
            target = as_edge((corner, other))
            if target not in allowed:
                continue
            before = structure.edges[through]
            for left in sorted({1, -(-rank // 2)}):
                factor = -(-rank // left)
                for kept in range(-(-before // factor), before * factor + 1):
                    yield {
                        edge: left,
                        through: kept,
                        target: structure.rank(target) * factor,
                    }


def hyperedges(structure: Structure, admits: Admits, params: Params) -> Iterator[Rerank]:
    """All bonds among some nodes give way to one hyperedge of the least rank that `admits`, or one
    more, while that saves parameters.

    Only sets of nodes with at least as many bonds as nodes are looked at, and the set of all nodes.
    """
    nodes, now = range(structure.num_nodes), params(structure)
    for count in range(structure.num_nodes, 2, -1):
        for picked in itertools.combinations(nodes, count):
            inner = [edge for edge in structure.edges if set(edge) <= set(picked)]
            dense = len(inner) >= count or count == structure.num_nodes
            if picked in structure.edges or not dense or not _connected(picked, inner):
                continue
            ranks = range(2, MOVES().hyperedge_rank + 1)
            moves = (Rerank((*((e, 1) for e in inner), (picked, rank))) for rank in ranks)
            saves = lambda move: params(move.after(structure)) < now
            saving = itertools.takewhile(saves, moves)
            fitting = (move for move in saving if admits(move.after(structure)))
            yield from itertools.islice(fitting, 2)


def stars(structure: Structure, least: Least) -> Iterator[Composite]:
    """All bonds among some nodes give way to one internal node, joined to each of them by a bond
    of the least rank that the cut around the node demands.

    Args:
        structure: to change.
        least: the least product of ranks across the cut around some modes (`CutBounds.rank`).
    """
    nodes = range(structure.num_nodes)
    for count in range(structure.num_nodes, 2, -1):
        for picked in itertools.combinations(nodes, count):
            inner = [edge for edge in structure.edges if set(edge) <= set(picked)]
            if not _connected(picked, inner):
                continue
            ranks = {}
            for node in picked:
                modes = structure.legs[node]
                outer = (r for e, r in structure.edges.items() if node in e and e not in inner)
                ranks[node] = -(-least(modes) // math.prod(outer))
            first, *rest = [node for node in picked if ranks[node] > 1] or [picked[0]]
            if len(rest) < 2:
                continue
            bonds = tuple(as_edge((first, node)) for node in rest)
            pairs = zip(bonds, (ranks[node] for node in rest), strict=True)
            gone = ((edge, 1) for edge in inner if edge not in bonds)
            split = Split(first, bonds=bonds, rank=ranks[first])
            yield Composite((Rerank((*gone, *pairs)), split))


def splits(structure: Structure, cores: Cores, tolerance: float) -> Iterator[Split]:
    """Bonds of a node go to a new node without legs.

    The gauge is fixed first, so that on a tree the singular values of the core are those of the
    tensor; the rank of the new bond leaves out at most `tolerance` of the norm.
    """
    for node in range(structure.num_nodes):
        bonds = structure.core_edges(node)
        if len(bonds) < 2 or len(bonds) > MOVES().split_bonds:
            continue
        legs = len(structure.legs[node])
        core = np.asarray(gauged(structure, cores, node)[node])
        for count in range(2, len(bonds) + 1):
            for gone in itertools.combinations(range(len(bonds)), count):
                axes = [legs + k for k in gone]
                matrix = np.moveaxis(core, axes, range(-count, 0))
                matrix = matrix.reshape(-1, math.prod(core.shape[axis] for axis in axes))
                if min(matrix.shape) < 2:
                    continue
                values = np.linalg.svd(matrix, compute_uv=False)
                tails = np.sqrt(np.cumsum(values[::-1] ** 2)[::-1])
                rank = max(1, int(np.sum(tails > tolerance * tails[0])))
                yield Split(node, bonds=tuple(bonds[k] for k in gone), rank=rank)


def merges(structure: Structure) -> Iterator[Merge]:
    """Internal nodes, each merged into a neighbor."""
    for node in range(structure.num_nodes):
        if not structure.legs[node]:
            for other in sorted({k for edge in structure.core_edges(node) for k in edge} - {node}):
                yield Merge(other, node)


def _connected(nodes: Sequence[int], edges: Sequence[Edge]) -> bool:
    return len(set(connected_parts(nodes, edges).values())) == 1


def chosen(
    moves: Iterable[Move],
    structure: Structure,
    admits: Admits,
    params: Params,
    count: int,
) -> tuple[Move, ...]:
    """The `count` moves that save the most parameters among those that lead to a structure that
    `admits`, one for each structure."""
    found: list[tuple[int, int, Move]] = []
    for n, move in enumerate(moves):
        _interrupt.checkpoint()
        found.append((params(move.after(structure)), n, move))
    saving = sorted(item[:2] for item in found if item[0] < params(structure))
    out: dict[Structure, Move] = {}
    for _, n in saving:
        _interrupt.checkpoint()
        move = found[n][2]
        after = move.after(structure)
        if len(out) < count and after not in out and admits(after):
            out[after] = move
    return tuple(out.values())
