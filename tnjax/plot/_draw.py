"""Pictures of structures and of searches, with matplotlib (extra `plot`)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from .._structure import Structure
from ..search import SearchResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe and Ito's palette, told apart by the color-blind.
_NODE, _INTERNAL, _BOND, _HYPER, _MUTED = "#0072B2", "#E69F00", "#444444", "#D55E00", "#777777"


def _axes(ax: Axes | None, size: tuple[float, float]) -> Axes:
    if ax is not None:
        return ax
    try:
        from matplotlib import pyplot as plt
    except ImportError as error:
        raise ImportError("Drawing needs matplotlib: pip install 'tnjax[plot]'.") from error
    return plt.subplots(figsize=size, layout="constrained")[1]


def layout(structure: Structure) -> np.ndarray:
    """Positions of the nodes, [nodes, 2]: nodes with open legs on a circle in an order that keeps
    strong bonds short, internal nodes at the mean of their neighbors."""
    outer = [k for k in range(structure.num_nodes) if structure.legs[k]]
    order = _circle_order(structure, outer)
    position = np.zeros((structure.num_nodes, 2))
    for place, node in enumerate(order):
        angle = math.pi / 2 - 2 * math.pi * place / len(order)
        position[node] = math.cos(angle), math.sin(angle)
    inner = [k for k in range(structure.num_nodes) if not structure.legs[k]]
    for _ in range(50):  # a few rounds of averaging settle chains of internal nodes
        for node in inner:
            around = [m for e in structure.core_edges(node) for m in e if m != node]
            if around:
                position[node] = position[around].mean(axis=0)
    return position


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


def draw(structure: Structure, ax: Axes | None = None) -> Axes:
    """Draw a structure: nodes, open legs with their sizes, bonds as wide as their ranks are large.

    Blue circles carry open legs, orange squares are internal, and a small red diamond is a
    hyperedge, joined to each of its nodes.

    Args:
        structure: what to draw.
        ax: matplotlib axes; a new figure by default.

    Returns:
        the axes.

    Raises:
        ImportError: if matplotlib is not installed.

    Example:
        >>> from matplotlib.figure import Figure
        >>> from tnjax import Structure, draw
        >>> draw(Structure.tensor_ring((4, 5, 6), 2), Figure().subplots()).get_title()
        '60 parameters'
    """
    ax = _axes(ax, (5.0, 5.0))
    position = layout(structure)
    text: Any = dict(fontsize=9, ha="center", va="center", zorder=4)
    for edge, rank in structure.edges.items():
        width = 1 + 1.5 * math.log2(rank)
        points = position[list(edge)]
        middle = points.mean(axis=0)
        if len(edge) == 2:
            ax.plot(points[:, 0], points[:, 1], color=_BOND, lw=width, zorder=1, alpha=0.7)
            middle = points[0] + 0.42 * (points[1] - points[0])  # off the center, where bonds meet
        else:
            for point in points:
                ax.plot(
                    [middle[0], point[0]],
                    [middle[1], point[1]],
                    color=_HYPER,
                    lw=width,
                    zorder=1,
                    alpha=0.7,
                )
            ax.scatter(middle[0], middle[1], marker="D", s=160, color=_HYPER, zorder=2)
        box = dict(boxstyle="round,pad=0.15", fc="white", ec="none", alpha=0.9)
        ax.text(middle[0], middle[1], str(rank), bbox=box, color="black", **text)
    for node, legs in enumerate(structure.legs):
        x, y = position[node]
        away = math.atan2(y, x) if legs else 0.0
        for number, mode in enumerate(legs):
            angle = away + 0.5 * (number - (len(legs) - 1) / 2)
            dx, dy = math.cos(angle), math.sin(angle)
            ax.plot([x, x + 0.28 * dx], [y, y + 0.28 * dy], color=_MUTED, lw=1.5, zorder=1)
            ax.text(x + 0.38 * dx, y + 0.38 * dy, str(structure.dims[mode]), color=_MUTED, **text)
        marker, color = ("o", _NODE) if legs else ("s", _INTERNAL)
        ax.scatter(x, y, marker=marker, s=420, color=color, edgecolors="white", zorder=3)
        ax.text(x, y, str(node), color="white", fontweight="bold", **text)
    ax.set(xlim=(-1.55, 1.55), ylim=(-1.55, 1.55), aspect="equal")
    ax.set_title(f"{structure.num_params:,} parameters")
    ax.set_axis_off()
    return ax


def plot_path(result: SearchResult, ax: Axes | None = None) -> Axes:
    """Plot error against parameters over the moves of a search, the Pareto set emphasized.

    Args:
        result: of `search`.
        ax: matplotlib axes; a new figure by default.

    Returns:
        the axes.

    Raises:
        ImportError: if matplotlib is not installed.
    """
    ax = _axes(ax, (6.0, 4.0))
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    for kind, marker in (("start", "s"), ("grow", "o"), ("prune", "v"), ("swap", "D")):
        steps = [step for step in result.path if step.move.kind == kind]
        if steps:
            ax.plot(
                [s.num_params for s in steps],
                [s.error for s in steps],
                marker,
                color=_MUTED,
                ms=5,
                label=kind,
            )
    front = result.pareto
    ax.plot(
        [s.num_params for s in front],
        [s.error for s in front],
        "-",
        color=_NODE,
        lw=1.5,
        label="Pareto set",
        zorder=0,
    )
    ax.plot(result.num_params, result.error, "*", color=_HYPER, ms=14, label="result")
    ax.set(xscale="log", xlabel="parameters", ylabel="relative error")
    ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    ax.xaxis.set_minor_formatter(NullFormatter())
    errors = [step.error for step in result.path]
    if min(errors) > 0 and max(errors) / min(errors) > 20:
        ax.set_yscale("log")
    ax.grid(alpha=0.3)
    ax.legend(frameon=False)
    return ax
