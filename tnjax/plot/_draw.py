"""Pictures of structures with matplotlib (extra `plot`)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from .._structure import Structure
from ._layout import layout
from ._matplotlib import axes
from .svg import HYPER, INTERNAL, MUTED, NODE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_BOND = "#444444"  # on paper; darker than on a screen of unknown color


@runtime_checkable
class HasStructure(Protocol):
    """A network, or a result that holds one."""

    @property
    def structure(self) -> Structure: ...


def draw(
    structure: Structure | HasStructure,
    ax: Axes | None = None,
    *,
    names: Sequence[str] | None = None,
) -> Axes:
    """Draw a structure: nodes, open legs with their sizes, bonds as wide as their ranks are large.

    Blue circles carry open legs, orange squares are internal, and a small red diamond is a
    hyperedge, joined to each of its nodes.

    Args:
        structure: what to draw: a `Structure`, or what has one, such as a `TensorNetwork`, the
            result of `search` or `fit`, or an entry of an archive.
        ax: matplotlib axes; a new figure by default.
        names: of the modes, such as ("row", "column", "color"), to stand before their sizes.

    Returns:
        the axes.

    Raises:
        ImportError: if matplotlib is not installed.
        ValueError: if there is no structure to draw, or another number of names than of modes.

    Example:
        >>> from matplotlib.figure import Figure
        >>> from tnjax import Structure, draw
        >>> draw(Structure.tensor_ring((4, 5, 6), 2), Figure().subplots()).get_title()
        '60 parameters'
    """
    structure = _structure_of(structure)
    words = [str(size) for size in structure.dims]
    if names is not None:
        if len(names) != len(words):
            raise ValueError(f"draw: got {len(names)} names for {len(words)} modes.")
        words = [f"{name} {size}" for name, size in zip(names, words, strict=True)]
    ax = axes(ax, (5.0, 5.0))
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
                    color=HYPER,
                    lw=width,
                    zorder=1,
                    alpha=0.7,
                )
            ax.scatter(middle[0], middle[1], marker="D", s=160, color=HYPER, zorder=2)
        box = dict(boxstyle="round,pad=0.15", fc="white", ec="none", alpha=0.9)
        ax.text(middle[0], middle[1], str(rank), bbox=box, color="black", **text)
    for node, legs in enumerate(structure.legs):
        x, y = position[node]
        away = math.atan2(y, x) if legs else 0.0
        for number, mode in enumerate(legs):
            angle = away + 0.5 * (number - (len(legs) - 1) / 2)
            dx, dy = math.cos(angle), math.sin(angle)
            ax.plot([x, x + 0.28 * dx], [y, y + 0.28 * dy], color=MUTED, lw=1.5, zorder=1)
            ax.text(x + 0.38 * dx, y + 0.38 * dy, words[mode], color=MUTED, **text)
        marker, color = ("o", NODE) if legs else ("s", INTERNAL)
        ax.scatter(x, y, marker=marker, s=420, color=color, edgecolors="white", zorder=3)
        ax.text(x, y, str(node), color="white", fontweight="bold", **text)
    ax.set(xlim=(-1.55, 1.55), ylim=(-1.55, 1.55), aspect="equal")
    ax.set_title(f"{structure.num_params:,} parameters")
    ax.set_axis_off()
    return ax


def _structure_of(value: object) -> Structure:
    found = value if isinstance(value, Structure) else getattr(value, "structure", None)
    if not isinstance(found, Structure):
        raise ValueError(
            "draw: expected a Structure, or a network or result that has one, got "
            f"{type(value).__name__}. Of a saved network: draw(load(path)), of a run folder: "
            "draw(load_result(folder))."
        )
    return found
