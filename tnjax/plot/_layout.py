"""Where the nodes of a drawing go: on a circle, and in the same places over all steps of a path."""

import math
from collections.abc import Hashable, Sequence

import numpy as np

from .._structure import Structure

Places = dict[Hashable, tuple[float, float]]

_APART = 0.3  # of two internal nodes, where the circle has radius 1


def node_names(structure: Structure) -> tuple[Hashable, ...]:
    """Names that last while nodes are added, merged and numbered anew: a node with open legs is
    called by its modes, an internal one by its place among the internal ones."""
    names, internal = [], 0
    for legs in structure.legs:
        names.append(("modes", *legs) if legs else ("internal", internal))
        internal += not legs
    return tuple(names)


def layout(structure: Structure) -> np.ndarray:
    """Positions of the nodes, [nodes, 2]: nodes with open legs on a circle in an order that keeps
    strong bonds short, internal nodes at the mean of their neighbors."""
    places = path_layout([structure])[0]
    return np.array([places[name] for name in node_names(structure)])


def path_layout(structures: Sequence[Structure]) -> list[Places]:
    """Positions for the structures of a path, by the names of their nodes.

    The circle is ordered for the last structure and serves all of them, so that a node with open
    legs stays where it is. Where nodes merge or split on the way, each mode has its own place on
    the circle and a node stands amid its modes.
    """
    last = structures[-1]
    outer = [node for node in range(last.num_nodes) if last.legs[node]]
    order = [last.legs[node] for node in _circle_order(last, outer)]
    if any(set(structure.legs) - {()} != set(order) for structure in structures):
        order = [(mode,) for legs in order for mode in legs]
    angle = {
        mode: math.pi / 2 - 2 * math.pi * place / len(order)
        for place, legs in enumerate(order)
        for mode in legs
    }
    return [_places(structure, angle) for structure in structures]


def _places(structure: Structure, angle: dict[int, float]) -> Places:
    names = node_names(structure)
    position = np.zeros((structure.num_nodes, 2))
    for node, legs in enumerate(structure.legs):
        if legs:
            around = [(math.cos(angle[mode]), math.sin(angle[mode])) for mode in legs]
            position[node] = np.mean(around, axis=0)
    inner = [k for k in range(structure.num_nodes) if not structure.legs[k]]
    for _ in range(50):  # a few rounds of averaging settle chains of internal nodes
        for node in inner:
            around = [m for e in structure.core_edges(node) for m in e if m != node]
            if around:
                position[node] = position[around].mean(axis=0)
    _separate(position, inner)
    return {name: (float(x), float(y)) for name, (x, y) in zip(names, position, strict=True)}


def _separate(position: np.ndarray, inner: list[int]) -> None:
    """Move internal nodes that stand on others to the nearest free place on a spiral."""
    for node in inner:
        others = [k for k in range(len(position)) if k != node and (k not in inner or k < node)]
        if not others:
            continue
        center = position[node].copy()
        for turn in range(100):
            angle = 2.4 * turn  # the golden angle: never the same direction twice
            reach = 0.11 * math.sqrt(turn)
            position[node] = center + reach * np.array([math.cos(angle), math.sin(angle)])
            gaps = np.linalg.norm(position[others] - position[node], axis=1)
            if gaps.min() >= _APART:
                break


def _circle_order(structure: Structure, nodes: list[int]) -> list[int]:
    """Repeated exchange of two places while that shortens the bonds, weighted by log rank."""
    pairs = [
        (a, b, math.log2(rank))
        for edge, rank in structure.edges.items()
        for i, a in enumerate(edge)
        for b in edge[i + 1 :]
        if a in nodes and b in nodes
    ]
    order = list(nodes)

    def length(order: list[int]) -> float:
        place = {node: p for p, node in enumerate(order)}
        gaps = ((abs(place[a] - place[b]), w) for a, b, w in pairs)
        return sum((w * min(gap, len(order) - gap) for gap, w in gaps), 0.0)

    best, improved = length(order), True
    while improved:
        improved = False
        for i in range(len(order)):
            for j in range(i + 1, len(order)):
                trial = list(order)
                trial[i], trial[j] = trial[j], trial[i]
                if length(trial) < best - 1e-9:
                    order, best, improved = trial, length(trial), True
    return order
