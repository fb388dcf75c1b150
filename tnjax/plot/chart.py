"""Charts as SVG: curves with a logarithmic axis where the numbers ask for one, stacked columns,
tables of color; needs no library. Text and axes take the color of their surroundings."""

import dataclasses
import html
import math
from collections.abc import Sequence
from typing import TypedDict, Unpack

from ._axis import Axis, make_axis, short

Point = tuple[float, float]

# Okabe and Ito's palette, in an order that neighbors are easiest to tell apart in.
PALETTE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9")

# Seven colors of viridis above its darkest, whose lightness rises evenly, also for the color-blind.
_VIRIDIS = ("#3b528b", "#2c728e", "#21918c", "#28ae80", "#5ec962", "#addc30", "#fde725")

_LEFT, _RIGHT, _TOP, _BOTTOM = 60.0, 14.0, 12.0, 46.0
_TALL = 300.0  # of curves and columns, in pixels
PLOT = _TALL - _TOP - _BOTTOM  # what is left between the axes
WIDE = 400.0


@dataclasses.dataclass(frozen=True)
class Series:
    """Points of a chart that belong together.

    Attributes:
        name: for the legend.
        points: (x, y) each; what is not finite, or not positive on a logarithmic axis, is left out.
        kind: "line", "dots", "both" or "star".
        color: as in SVG.
        notes: for each point, what is told about it when the pointer rests on it.
        faint: whether it stays in the background.

    Example:
        >>> from tnjax.plot import Series
        >>> Series("found", [(40, 0.2), (70, 0.05)], kind="line").name
        'found'
    """

    name: str
    points: Sequence[Point]
    kind: str = "both"
    color: str = PALETTE[0]
    notes: Sequence[str] = ()
    faint: bool = False


class Plane(TypedDict, total=False):
    """What decides the axes of curves, beside the points; see `curve_svg`."""

    log_x: bool | None
    log_y: bool | None
    line: tuple[float, str] | None
    wide: float


def curve_svg(
    series: Sequence[Series],
    *,
    x: str,
    y: str,
    label: str,
    extra: str = "",
    **plane: Unpack[Plane],
) -> str:
    """Points and lines over two axes.

    Args:
        series: what to draw, the last one on top.
        x, y: what the axes show.
        label: what a screen reader says.
        extra: more SVG, on top.
        plane: `log_x` and `log_y`, whether an axis is logarithmic (chosen by the numbers by
            default); `line`, a value of y to mark, and its name; `wide`, pixels.

    Returns:
        The text of an SVG element.

    Example:
        >>> from tnjax.plot import Series, curve_svg
        >>> picture = curve_svg([Series("a", [(1, 0.5), (9, 0.1)])], x="n", y="e", label="example")
        >>> picture.startswith("<svg"), picture.count("<circle")
        (True, 2)
    """
    axes = curve_axes(series, **plane)
    line, wide = plane.get("line"), plane.get("wide", WIDE)
    parts = [_grid(*axes, axes[0].ticks(6), x, y, wide)]
    if line is not None and (not axes[1].log or line[0] > 0):
        at = axes[1](line[0])
        parts.append(
            f'<path class="tn-mark" d="M{_LEFT} {at:.1f}H{wide - _RIGHT}" stroke="{PALETTE[4]}" '
            f'stroke-dasharray="5 4" fill="none"/><text x="{_LEFT + 4:.1f}" '
            f'y="{at - 5:.1f}" fill="currentColor">{html.escape(line[1])}</text>'
        )
    parts += [_series(one, *axes) for one in series]
    return _svg(wide, _TALL, label, [*parts, extra])


def curve_axes(
    series: Sequence[Series],
    *,
    log_x: bool | None = None,
    log_y: bool | None = None,
    line: tuple[float, str] | None = None,
    wide: float = WIDE,
) -> tuple[Axis, Axis]:
    """The axes that `curve_svg` draws for these arguments."""
    xs = [point[0] for one in series for point in one.points]
    ys = [point[1] for one in series for point in one.points]
    ys += [] if line is None else [line[0]]
    return (
        make_axis(xs, log_x, _LEFT, wide - _RIGHT),
        make_axis(ys, log_y, _TALL - _BOTTOM, _TOP),
    )


def _grid(
    horizontal: Axis, vertical: Axis, x_ticks: Sequence[float], x: str, y: str, wide: float
) -> str:
    rule = 'class="tn-grid" stroke="currentColor" stroke-opacity=".16" fill="none"'
    parts = []
    for tick in x_ticks:
        at = horizontal(tick)
        parts.append(
            f'<path {rule} d="M{at:.1f} {_TOP}V{_TALL - _BOTTOM}"/><text x="{at:.1f}" '
            f'y="{_TALL - _BOTTOM + 17}" text-anchor="middle">{short(tick)}</text>'
        )
    for tick in vertical.ticks(6):
        at = vertical(tick)
        parts.append(
            f'<path {rule} d="M{_LEFT} {at:.1f}H{wide - _RIGHT}"/>'
            f'<text x="{_LEFT - 7}" y="{at + 4:.1f}" text-anchor="end">{short(tick)}</text>'
        )
    middle = (_TOP + _TALL - _BOTTOM) / 2
    return (
        f'<g fill="currentColor">{"".join(parts)}'
        f'<text x="{(_LEFT + wide - _RIGHT) / 2:.1f}" y="{_TALL - 8}" text-anchor="middle">'
        f'{html.escape(x)}</text><text transform="translate(13 {middle}) rotate(-90)" '
        f'text-anchor="middle">{html.escape(y)}</text></g>'
    )


def _series(one: Series, horizontal: Axis, vertical: Axis) -> str:
    seen = []
    for number, (a, b) in enumerate(one.points):
        if not (math.isfinite(a) and math.isfinite(b)):
            continue
        if (horizontal.log and a <= 0) or (vertical.log and b <= 0):
            continue
        note = one.notes[number] if number < len(one.notes) else ""
        seen.append((horizontal(a), vertical(b), html.escape(note)))
    parts = []
    if one.kind in ("line", "both") and seen:
        path = "L".join(f"{a:.1f} {b:.1f}" for a, b, _ in seen)
        parts.append(f'<path d="M{path}" stroke="{one.color}" stroke-width="2" fill="none"/>')
    if one.kind != "line":
        for a, b, note in seen:
            title = f"<title>{note}</title>" if note else ""
            if one.kind == "star":
                shape = f'<path d="{_STAR}" transform="translate({a:.1f} {b:.1f})"'
            else:
                shape = f'<circle cx="{a:.1f}" cy="{b:.1f}" r="{2.6 if one.faint else 4.2}"'
            tag = shape[1 : shape.index(" ")]
            parts.append(f'{shape} fill="{one.color}">{title}</{tag}>')
    opacity = ' opacity=".45"' if one.faint else ""
    return f'<g class="tn-series"{opacity}>{"".join(parts)}</g>'


_STAR = (
    "M"
    + "L".join(
        f"{r * math.sin(k * math.pi / 5):.1f} {-r * math.cos(k * math.pi / 5):.1f}"
        for k, r in enumerate((10.5, 4.4) * 5)
    )
    + "Z"
)


def legend_html(series: Sequence[Series]) -> str:
    """What the colors and shapes of a curve mean, for beside it."""
    items = []
    for one in series:
        mark = {
            "line": f'<path d="M0 7H18" stroke="{one.color}" stroke-width="2.4"/>',
            "both": f'<path d="M0 7H18" stroke="{one.color}" stroke-width="2"/>'
            f'<circle cx="9" cy="7" r="4" fill="{one.color}"/>',
            "star": f'<path transform="translate(9 7) scale(.7)" d="{_STAR}" fill="{one.color}"/>',
        }.get(one.kind, f'<circle cx="9" cy="7" r="{3 if one.faint else 4}" fill="{one.color}"/>')
        items.append(
            f'<li><svg width="18" height="14" aria-hidden="true">{mark}</svg> '
            f"{html.escape(one.name)}</li>"
        )
    return f'<ul class="tn-legend" style="list-style:none;padding:0">{"".join(items)}</ul>'


def columns_svg(
    parts: Sequence[Sequence[float]],
    names: Sequence[str],
    colors: Sequence[str],
    *,
    x: str,
    y: str,
    label: str,
    extra: str = "",
    wide: float = WIDE,
) -> str:
    """Stacked columns.

    Args:
        parts: for each column, the heights of its parts.
        names, colors: of the parts.
        x, y: what the axes show.
        label: what a screen reader says.
        extra: more SVG, on top.
        wide: pixels.

    Returns:
        The text of an SVG element.

    Example:
        >>> from tnjax.plot import columns_svg
        >>> heights, colors = [[1.0, 2.0], [3.0, 0.5]], ["red", "blue"]
        >>> picture = columns_svg(heights, ["a", "b"], colors, x="step", y="s", label="example")
        >>> picture.startswith("<svg")
        True
    """
    count, highest = len(parts), max((sum(column) for column in parts), default=0.0)
    horizontal = Axis(-0.5, max(count, 1) - 0.5, False, _LEFT, wide - _RIGHT)
    vertical = Axis(0.0, 1.05 * highest or 1.0, False, _TALL - _BOTTOM, _TOP)
    room = (horizontal.end - horizontal.start) / max(count, 1)
    out = []
    for number, column in enumerate(parts):
        base, left = 0.0, horizontal(number) - 0.4 * room
        for value, name, color in zip(column, names, colors, strict=True):
            if value > 0:
                top = vertical(base + value)
                out.append(
                    f'<rect x="{left:.1f}" y="{top:.1f}" width="{0.8 * room:.2f}" '
                    f'height="{vertical(base) - top:.2f}" fill="{color}">'
                    f"<title>step {number}: {html.escape(name)} {value:.3g} s</title></rect>"
                )
            base += value
    whole = [tick for tick in horizontal.ticks(8) if tick == int(tick)]
    return _svg(wide, _TALL, label, [_grid(horizontal, vertical, whole, x, y, wide), *out, extra])


def cells_svg(
    rows: Sequence[Sequence[float]],
    names: Sequence[str],
    *,
    x: str,
    label: str,
    extra: str = "",
    wide: float = WIDE,
) -> str:
    """A table of color, one row for each name; equal neighbors in a row are one cell.

    Args:
        rows: 2 or more, colored by their logarithm; 0 leaves a gap.
        names: of the rows.
        x: what the columns are.
        label: what a screen reader says.
        extra: more SVG, on top.
        wide: pixels.

    Returns:
        The text of an SVG element.

    Example:
        >>> from tnjax.plot import cells_svg
        >>> cells_svg([[2, 2, 3]], ["a"], x="step", label="example").count("<rect")
        2
    """
    count = max(len(rows[0]) if rows else 0, 1)
    step = cell_height(len(rows))
    tall = _TOP + step * len(rows) + _BOTTOM
    room = (wide - _LEFT - _RIGHT) / count
    highest = max((math.log2(v) for row in rows for v in row if v > 0), default=0.0)
    parts = []
    for number, (row, name) in enumerate(zip(rows, names, strict=True)):
        top = _TOP + step * number
        parts.append(
            f'<text x="{_LEFT - 7}" y="{top + step / 2 + 4:.1f}" text-anchor="end" '
            f'fill="currentColor">{html.escape(name)}</text>'
        )
        for first, length, value in _runs(row):
            if value > 0:
                parts.append(_cell(first, length, value, name, top, step, room, highest))
    horizontal = Axis(-0.5, count - 0.5, False, _LEFT, wide - _RIGHT)
    for tick in horizontal.ticks(8):
        if tick == int(tick):
            parts.append(
                f'<text x="{horizontal(tick):.1f}" y="{tall - _BOTTOM + 17:.1f}" '
                f'text-anchor="middle" fill="currentColor">{short(tick)}</text>'
            )
    parts.append(
        f'<text x="{(_LEFT + wide - _RIGHT) / 2:.1f}" y="{tall - 8:.1f}" text-anchor="middle" '
        f'fill="currentColor">{html.escape(x)}</text>'
    )
    return _svg(wide, tall, label, [*parts, extra])


def _runs(row: Sequence[float]) -> list[tuple[int, int, float]]:
    """Equal neighbors together: first column, how many, value."""
    out: list[tuple[int, int, float]] = []
    for column, value in enumerate(row):
        if out and out[-1][2] == value:
            out[-1] = (out[-1][0], out[-1][1] + 1, value)
        else:
            out.append((column, 1, value))
    return out


def _cell(
    first: int, length: int, value: float, name: str, top: float, step: float, room: float,
    highest: float,
) -> str:  # fmt: skip
    color, ink = shade((math.log2(value) - 1) / (highest - 1) if highest > 1 else 0.0)
    left, width = _LEFT + room * first, room * length
    where = f"step {first}" if length == 1 else f"steps {first} to {first + length - 1}"
    text = ""
    if width >= 8 + 7 * len(short(value)):
        x, y = left + min(width, room) / 2, top + step / 2 + 4
        text = (
            f'<text class="tn-ink" x="{x:.1f}" y="{y:.1f}" fill="{ink}" text-anchor="middle">'
            f"{short(value)}</text>"
        )
    return (
        f'<g><title>{html.escape(name)}, {where}: {short(value)}</title><rect x="{left:.2f}" '
        f'y="{top + 0.5:.1f}" width="{width:.2f}" height="{step - 1:.1f}" fill="{color}"/>'
        f"{text}</g>"
    )


def shade(share: float) -> tuple[str, str]:
    """A color of viridis for a number from 0 to 1, and the color of text that reads on it."""
    place = min(max(share, 0.0), 1.0) * (len(_VIRIDIS) - 1)
    low = min(int(place), len(_VIRIDIS) - 2)
    channels = [
        round(int(a, 16) + (place - low) * (int(b, 16) - int(a, 16)))
        for a, b in ((_VIRIDIS[low][k : k + 2], _VIRIDIS[low + 1][k : k + 2]) for k in (1, 3, 5))
    ]
    light = 0.299 * channels[0] + 0.587 * channels[1] + 0.114 * channels[2]
    return "#" + "".join(f"{c:02x}" for c in channels), "#111111" if light > 125 else "#ffffff"


def column_box(count: int, tall: float, wide: float = WIDE) -> tuple[str, float, float]:
    """A frame around the first of `count` columns or cells, for a script to move: its SVG, its left
    end, and what to add for each column."""
    room = (wide - _LEFT - _RIGHT) / max(count, 1)
    box = (
        f'<rect class="tn-now tn-box" x="{_LEFT}" y="{_TOP - 1}" width="{room:.2f}" '
        f'height="{tall + 2:.1f}" fill="none"/>'
    )
    return box, _LEFT, room


def cell_height(rows: int) -> float:
    """Height of a cell in a table of color, in pixels."""
    return max(14.0, min(26.0, 240.0 / max(rows, 1)))


def _svg(wide: float, tall: float, label: str, parts: Sequence[str]) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="tn-chart" role="img" '
        f'aria-label="{html.escape(label)}" viewBox="0 0 {wide:g} {tall:g}" width="{wide:g}" '
        f'height="{tall:g}" font-family="system-ui, sans-serif" font-size="12">'
        f"{''.join(parts)}</svg>"
    )
