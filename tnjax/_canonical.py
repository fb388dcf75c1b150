"""Canonical form of a structure: color refinement, then individualization with pruning of twins."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeVar, runtime_checkable

Edge = tuple[int, ...]
Coloring = tuple[int, ...]


@runtime_checkable
class Graph(Protocol):
    """What this module reads of a `Structure`."""

    @property
    def dims(self) -> tuple[int, ...]: ...
    @property
    def legs(self) -> tuple[tuple[int, ...], ...]: ...
    @property
    def edges(self) -> Mapping[Edge, int]: ...
    @property
    def num_nodes(self) -> int: ...
    def core_edges(self, node: int) -> tuple[Edge, ...]: ...
    def relabel(self, nodes: Sequence[int], modes: Sequence[int]) -> Any: ...


G = TypeVar("G", bound=Graph)


def canonical(structure: G) -> G:
    """The isomorphic structure with the smallest encoding.

    Nodes are colored by what they carry and refined by their neighbors' colors
    (Weisfeiler-Leman) until stable; a class of several nodes is broken by trying each of its
    nodes that is not a twin of one tried before. Modes follow their nodes, by size.

    Reference:
        McKay and Piperno, J. Symb. Comput. 60 (2014), section 2.
    """
    start = _relabel_colors(
        [tuple(sorted(structure.dims[mode] for mode in legs)) for legs in structure.legs]
    )
    best = min(_leaves(structure, start), key=lambda order: _encode(structure, order))
    return _apply(structure, best)


def _relabel_colors(keys: Sequence) -> Coloring:
    names = {key: index for index, key in enumerate(sorted(set(keys)))}
    return tuple(names[key] for key in keys)


def _refine(structure: Graph, colors: Coloring) -> Coloring:
    while True:
        keys = []
        for node in range(structure.num_nodes):
            around = sorted(
                (structure.edges[edge], tuple(sorted(colors[m] for m in edge if m != node)))
                for edge in structure.core_edges(node)
            )
            keys.append((colors[node], tuple(around)))
        refined = _relabel_colors(keys)
        if len(set(refined)) == len(set(colors)):
            return refined
        colors = refined


def _leaves(structure: Graph, colors: Coloring):
    """Node orders at the leaves of the search tree (`order[a]` is the old number of new node a)."""
    colors = _refine(structure, colors)
    cells: dict[int, list[int]] = {}
    for node, color in enumerate(colors):
        cells.setdefault(color, []).append(node)
    open_cells = [cells[color] for color in sorted(cells) if len(cells[color]) > 1]
    if not open_cells:
        yield tuple(sorted(range(structure.num_nodes), key=colors.__getitem__))
        return
    tried: list[int] = []
    for node in open_cells[0]:
        if any(_twins(structure, node, other) for other in tried):
            continue
        tried.append(node)
        first = [(color, 0 if k == node else 1) for k, color in enumerate(colors)]
        yield from _leaves(structure, _relabel_colors(first))


def _twins(structure: Graph, a: int, b: int) -> bool:
    """Whether exchanging nodes a and b, of one color, maps the bonds onto themselves."""
    swap = {a: b, b: a}

    def image(edge: Edge) -> Edge:
        return tuple(sorted(swap.get(node, node) for node in edge))

    return all(structure.edges.get(image(e)) == rank for e, rank in structure.edges.items())


def _mode_order(structure: Graph, order: Sequence[int]) -> list[int]:
    return [
        m for node in order for m in sorted(structure.legs[node], key=structure.dims.__getitem__)
    ]


def _apply(structure: G, order: Sequence[int]) -> G:
    return structure.relabel(order, _mode_order(structure, order))


def _encode(structure: Graph, order: Sequence[int]) -> tuple:
    new = _apply(structure, order)
    return new.dims, new.legs, tuple(new.edges.items())
