"""Structures as SVG, one or a whole path of them in the same places; needs no library.

Colors are attributes, which any style sheet overrides by the classes `tn-...`; text takes the
color of its surroundings, so that a drawing fits light and dark pages.
"""

import dataclasses
import html
import math
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

from .._structure import Edge, Structure
from ._layout import node_names, path_layout

# Okabe and Ito's palette, told apart by the color-blind.
NODE, INTERNAL, BOND, HYPER, MUTED = "#0072B2", "#E69F00", "#808890", "#D55E00", "#80868E"

_SCALE = 100.0  # pixels for the radius of the circle of nodes
_HALF = 158  # of the drawing's width and height
_LETTER = 6.2  # pixels of a letter
_SHORT, _LONGEST = 4, 20  # letters of a name that need no room of their own; that are shown
_ROOMY = 22.0  # pixels between two ranks
_ALONG = (0.5, 0.4, 0.6, 0.32, 0.68, 0.26, 0.74)  # where on its bond a rank may be written

Point = tuple[float, float]


@dataclasses.dataclass(frozen=True)
class Frame:
    """One structure in a drawing of several.

    Attributes:
        places: for each node of the drawing, its position; None where it is not there.
        names: for each node of the drawing, its number in this structure, as text.
        ranks: for each bond of the drawing, its rank; 0 where it is not there.
    """

    places: tuple[Point | None, ...]
    names: tuple[str, ...]
    ranks: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Drawing:
    """All nodes and bonds that the structures of a path ever have, and a frame for each.

    Attributes:
        legs: words at the open legs of each node: sizes, or names.
        bonds: positions in `legs` of the nodes that each bond joins.
        along: where on each bond its rank is written, between 0 and 1.
        frames: one for each structure.
        radius: of a node.
        notes: words beside the rank of each bond; none if there are none.
    """

    legs: tuple[tuple[str, ...], ...]
    bonds: tuple[tuple[int, ...], ...]
    along: tuple[float, ...]
    frames: tuple[Frame, ...]
    radius: float
    notes: tuple[str, ...] = ()

    @property
    def half(self) -> tuple[float, float]:
        """Of its width and height: names need room beside the circle of nodes."""
        longest = max((len(word) for legs in self.legs for word in legs), default=0)
        return _HALF + _LETTER * max(longest - _SHORT, 0), _HALF

    @property
    def bond_names(self) -> tuple[str, ...]:
        """Each bond by the numbers that its nodes had when it was last there."""
        out = []
        for number, bond in enumerate(self.bonds):
            frame = [frame for frame in self.frames if frame.ranks[number]][-1]
            out.append("-".join(sorted((frame.names[node] for node in bond), key=int)))
        return tuple(out)

    def plain(self) -> dict[str, Any]:
        """What a script needs to show any frame; positions are written once where they repeat."""
        layouts: list[tuple[Point | None, ...]] = []
        frames = []
        for frame in self.frames:
            if frame.places not in layouts:
                layouts.append(frame.places)
            frames.append(
                {
                    "at": layouts.index(frame.places),
                    "names": list(frame.names),
                    "ranks": list(frame.ranks),
                }
            )
        return {
            "bonds": self.bonds,
            "along": self.along,
            "layouts": layouts,
            "frames": frames,
        }


def path_drawing(
    structures: Sequence[Structure],
    names: Sequence[str] | None = None,
    notes: Mapping[Edge, str] | None = None,
) -> Drawing:
    """The drawing that shows each of the structures; nodes stay in place where they can.

    Args:
        structures: of a path.
        names: of the modes, to stand at the open legs in place of sizes.
        notes: words beside the ranks of bonds of the last structure.
    """
    layouts = path_layout(structures)
    nodes: dict[Hashable, tuple[str, ...]] = {}
    bonds: dict[tuple[int, ...], int] = {}
    for structure in structures:
        for name, legs in zip(node_names(structure), structure.legs, strict=True):
            words = (
                str(structure.dims[mode]) if names is None else _short(names[mode]) for mode in legs
            )
            nodes.setdefault(name, tuple(words))
    order = {name: number for number, name in enumerate(nodes)}
    tables = []
    for structure in structures:
        own = [order[name] for name in node_names(structure)]
        table = {
            tuple(sorted(own[k] for k in edge)): rank for edge, rank in structure.edges.items()
        }
        tables.append((own, table))
        for bond in sorted(table):
            bonds.setdefault(bond, len(bonds))
    frames = []
    for (own, table), layout in zip(tables, layouts, strict=True):
        number = {node: str(k) for k, node in enumerate(own)}
        frames.append(
            Frame(
                tuple(_pixels(layout[name]) if name in layout else None for name in nodes),
                tuple(number.get(node, "") for node in range(len(nodes))),
                tuple(table.get(bond, 0) for bond in bonds),
            )
        )
    crowd = max(structure.num_nodes for structure in structures)
    told: dict[tuple[int, ...], str] = {}
    if notes is not None:
        own = tables[-1][0]
        told = {tuple(sorted(own[k] for k in edge)): word for edge, word in notes.items()}
    return Drawing(
        tuple(nodes.values()),
        tuple(bonds),
        _spread_labels(tuple(bonds), frames),
        tuple(frames),
        14.0 if crowd <= 12 else max(7.0, 170 / crowd),
        tuple(told.get(bond, "") for bond in bonds) if told else (),
    )


def _short(name: str) -> str:
    """A name that fits beside a drawing."""
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"


def _pixels(place: Point) -> Point:
    return round(_SCALE * place[0], 1), round(-_SCALE * place[1], 1)


def _spread_labels(bonds: Sequence[tuple[int, ...]], frames: Sequence[Frame]) -> tuple[float, ...]:
    """A position along every bond that keeps its rank clear of nodes and of other ranks."""
    taken: list[Point] = []
    out = []
    for number, bond in enumerate(bonds):
        frame = [frame for frame in frames if frame.ranks[number]][-1]
        ends = [point for node in bond if (point := frame.places[node]) is not None]
        if len(bond) > 2:
            taken.append(_mean(ends))
            out.append(0.5)
            continue
        others = [point for point in frame.places if point is not None and point not in ends]
        choices = [(_between(ends[0], ends[1], along), along) for along in _ALONG]
        gaps = [_gap(place, [*taken, *others]) for place, _ in choices]
        place, along = choices[gaps.index(max(gaps))]
        taken.append(place)
        out.append(along)
    return tuple(out)


def _gap(place: Point, others: Sequence[Point]) -> float:
    """The distance to the nearest of others; enough is as good as a feast."""
    return min([_ROOMY, *(math.dist(place, other) for other in others)])


def _mean(points: Sequence[Point]) -> Point:
    return (
        sum(x for x, _ in points) / len(points),
        sum(y for _, y in points) / len(points),
    )


def _between(a: Point, b: Point, along: float) -> Point:
    return a[0] + along * (b[0] - a[0]), a[1] + along * (b[1] - a[1])


def width(rank: int) -> float:
    """Of the line of a bond."""
    return 1.2 + 1.6 * math.log2(max(rank, 1))


def structure_svg(
    structure: Structure,
    *,
    label: str | None = None,
    names: Sequence[str] | None = None,
    notes: Mapping[Edge, str] | None = None,
) -> str:
    """A structure as an SVG document: nodes, open legs with their sizes, bonds with their ranks.

    Args:
        structure: what to draw.
        label: what a screen reader says; a summary by default.
        names: of the modes, to stand at the open legs in place of sizes.
        notes: words beside the ranks of bonds.

    Returns:
        The text of an SVG element.

    Example:
        >>> from tnjax import Structure
        >>> from tnjax.plot import structure_svg
        >>> structure_svg(Structure.tensor_train((4, 5, 6), 2)).count("<circle")
        3
    """
    drawing = path_drawing([structure], names, notes)
    return drawing_svg(drawing, 0, label or describe(structure))


def describe(structure: Structure) -> str:
    """A structure in words, for those who cannot see its drawing."""
    bonds = [f"{'-'.join(map(str, edge))} of rank {r}" for edge, r in structure.edges.items()]
    sizes = " x ".join(map(str, structure.dims))
    return (
        f"Tensor network of {structure.num_nodes} nodes for a tensor of {sizes}, "
        f"{structure.num_params:,} parameters; bonds: {', '.join(bonds) or 'none'}."
    )


def drawing_svg(drawing: Drawing, step: int, label: str) -> str:
    """One frame of a drawing; the nodes and bonds of other frames are there, hidden."""
    frame = drawing.frames[step]
    parts = [_bond(drawing, frame, number) for number in range(len(drawing.bonds))]
    parts += [_node(drawing, frame, number) for number in range(len(drawing.legs))]
    text = html.escape(label)
    wide, tall = drawing.half
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="tn-network" role="img" '
        f'aria-label="{text}" viewBox="{-wide:g} {-tall:g} {2 * wide:g} {2 * tall:g}" '
        f'width="{2 * wide:g}" height="{2 * tall:g}" font-family="system-ui, sans-serif" '
        f'font-size="11" text-anchor="middle">{"".join(parts)}</svg>'
    )


def _bond(drawing: Drawing, frame: Frame, number: int) -> str:
    bond, rank = drawing.bonds[number], frame.ranks[number]
    points = [frame.places[node] or (0.0, 0.0) for node in bond]
    hyper = len(bond) > 2
    middle = _mean(points) if hyper else _between(points[0], points[1], drawing.along[number])
    pairs = [(middle, point) for point in points] if hyper else [(points[0], points[1])]
    color, kind = (HYPER, "tn-hyper") if hyper else (BOND, "tn-bond")
    path = " ".join(f"M{a[0]:.1f} {a[1]:.1f}L{b[0]:.1f} {b[1]:.1f}" for a, b in pairs)
    x, y = middle
    note = drawing.notes[number] if drawing.notes else ""
    words = f"{rank or ''}{f' · {note}' if note else ''}"
    half = 6.0 + 3.2 * max(len(words), 1)
    diamond = ""
    if hyper:
        diamond = f'<path class="tn-diamond" d="M0 -15L15 0L0 15L-15 0Z" fill="{HYPER}"/>'
    # The plate behind the number is as wide as the number of digits asks for.
    plate = (
        f'<rect class="tn-plate" x="{-half:.1f}" y="-8" width="{2 * half:.1f}" height="16" rx="8" '
        f'fill="#ffffff" stroke="{color}"/>'
    )
    hidden = "" if rank else ' display="none"'
    return (
        f'<g class="{kind}"{hidden}><path class="tn-line" d="{path}" stroke="{color}" '
        f'stroke-width="{width(rank):.2f}" stroke-linecap="round" fill="none"/>'
        f'<g class="tn-rank" transform="translate({x:.1f} {y:.1f})">{diamond}{plate}'
        f'<text y="4" fill="#1a1d21">{html.escape(words)}</text></g></g>'
    )


def _node(drawing: Drawing, frame: Frame, number: int) -> str:
    place, legs, r = frame.places[number], drawing.legs[number], drawing.radius
    hidden = "" if place else ' display="none"'
    shown = place or [f.places[number] for f in drawing.frames if f.places[number]][-1] or (0, 0)
    x, y = shown
    parts = []
    away = math.atan2(y, x) if math.hypot(x, y) > 1 else -math.pi / 2
    for position, word in enumerate(legs):
        angle = away + 0.55 * (position - (len(legs) - 1) / 2)
        dx, dy = math.cos(angle), math.sin(angle)
        far, anchor = r + 23, ""
        if len(word) > _SHORT and abs(dx) > 0.2:  # a name begins where the leg ends
            far, anchor = r + 16, f' text-anchor="{"start" if dx > 0 else "end"}"'
        parts.append(
            f'<path class="tn-leg" d="M0 0L{(r + 13) * dx:.1f} {(r + 13) * dy:.1f}" '
            f'stroke="{MUTED}" stroke-width="1.6"/>'
            f'<text class="tn-size" x="{far * dx:.1f}" y="{far * dy + 4:.1f}"{anchor} '
            f'fill="currentColor">{html.escape(word)}</text>'
        )
    if legs:
        parts.append(f'<circle class="tn-node" r="{r:.1f}" fill="{NODE}"/>')
    else:
        parts.append(
            f'<rect class="tn-internal" x="{-0.85 * r:.1f}" y="{-0.85 * r:.1f}" '
            f'width="{1.7 * r:.1f}" height="{1.7 * r:.1f}" rx="2" fill="{INTERNAL}"/>'
        )
    fill = "#ffffff" if legs else "#1a1d21"
    parts.append(
        f'<text class="tn-name" y="4" font-weight="600" fill="{fill}">{frame.names[number]}</text>'
    )
    return f'<g class="tn-at" transform="translate({x:.1f} {y:.1f})"{hidden}>{"".join(parts)}</g>'
