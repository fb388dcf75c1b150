"""What a search did, step by step, as a part of a report."""

import dataclasses
import html
import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .._search.result import SearchResult, Step
from ..plot import Series, cells_svg, columns_svg, curve_svg
from ..plot.chart import PALETTE, PLOT, cell_height, column_box, curve_axes, legend_html
from ..plot.svg import MUTED, Drawing, describe, drawing_svg, path_drawing
from .sections import HeatMaps, Section, scroll_html

Point = tuple[float, float]

_LARGEST_FACTOR = 96  # rows of a heat map; a hub core has thousands
_COLORS = (PALETTE[1], PALETTE[2], PALETTE[0])  # compiling, fitting, screening


def search_sections(
    result: SearchResult,
    *,
    target_error: float | None = None,
    name: str = "",
    modes: Sequence[str] | None = None,
    error: str = "relative error",
) -> list[Section]:
    """The sections of a report that tell of one search.

    Args:
        result: of `search`.
        target_error: marked in the curve.
        name: put before the headings, where a page tells of several searches.
        modes: names of the modes, where they have some.
        error: what the error is.
    """
    before = f"{name}: " if name else ""
    sections: list[Section] = [Steps(f"{before}Step by step", result, target_error, modes, error)]
    factors = factor_maps(result, modes)
    if factors:
        note = (
            "Each open leg's core as a matrix: the mode's index from left to right, the bonds' "
            "indices from top to bottom. Blue is above zero, orange below. Cores are determined "
            "only up to a change of basis on each bond."
        )
        sections.append(HeatMaps(f"{before}Factors", factors, note))
    return sections


@dataclasses.dataclass(frozen=True)
class Steps(Section):
    """The network, the error, the ranks and the time of every step, with a slider.

    Args:
        title: the heading.
        result: of `search`.
        target_error: marked in the curve.
        modes: names of the modes, where they have some.
        error: what the error is.
    """

    title: str
    result: SearchResult
    target_error: float | None = None
    modes: Sequence[str] | None = None
    error: str = "relative error"

    def body(self) -> str:
        path = self.result.path
        drawing = path_drawing([step.structure for step in path], self.modes)
        first = self.shown()
        chart, points, legend = curve(self.result, self.target_error, self.error)
        data = self._frames(drawing, points)
        text = json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
        label = html.escape(describe(path[first].structure))
        network = drawing_svg(drawing, first, label)
        words = _network_words(drawing, self.modes is not None)
        return (
            f'<div class="tn-search">{_stepper(len(path), first)}<div class="pair">'
            f"<figure><h3>Network</h3>{network}<figcaption>{words}</figcaption></figure>"
            f"<figure><h3>Error against parameters</h3>{chart}{legend}</figure>"
            f"{self._ranks(drawing)}{self._time()}</div>"
            f"<details><summary>All {len(path)} steps as a table</summary>"
            f"{_steps_table(path)}</details>"
            f'<script type="application/json">{text}</script></div>'
        )

    def shown(self) -> int:
        """The step whose structure is the result."""
        found = [k for k, s in enumerate(self.result.path) if s.structure == self.result.structure]
        return found[-1] if found else len(self.result.path) - 1

    def _frames(self, drawing: Drawing, points: Sequence[Point | None]) -> dict[str, Any]:
        path, plain = self.result.path, drawing.plain()
        _, left, room = column_box(len(path), 0.0)
        frames = [
            {
                **frame,
                "text": f"Step {k} of {len(path) - 1}: {step_words(step)}",
                "label": describe(step.structure),
                "point": point,
            }
            for k, (frame, step, point) in enumerate(
                zip(plain["frames"], path, points, strict=True)
            )
        ]
        return {**plain, "frames": frames, "left": left, "room": room}

    def _ranks(self, drawing: Drawing) -> str:
        if not drawing.bonds:
            return ""
        count = len(drawing.frames)
        rows = [[f.ranks[k] for f in drawing.frames] for k in range(len(drawing.bonds))]
        names = drawing.bond_names
        order = sorted(range(len(rows)), key=lambda k: [int(n) for n in names[k].split("-")])
        picture = cells_svg(
            [rows[k] for k in order],
            [names[k] for k in order],
            x="step",
            label=f"Ranks of {len(rows)} bonds over {count} steps; the table below has them all.",
            extra=column_box(count, len(rows) * cell_height(len(rows)))[0],
        )
        return (
            f"<figure><h3>Rank of each bond</h3>{picture}<figcaption>The lighter, the larger; no "
            "color where there is no bond.</figcaption></figure>"
        )

    def _time(self) -> str:
        result, path = self.result, self.result.path
        parts = []
        for step in path:
            known = step.compile_seconds + step.screen_seconds
            fitting = max(step.seconds - known, 0.0)
            parts.append((step.compile_seconds, fitting, step.screen_seconds))
        names = ("compiling", "fitting", "screening candidates")
        sums = [sum(column) for column in zip(*parts)]
        rest = max(result.seconds - sum(sums), 0.0)
        shares = [*zip(names, sums), ("moves tried and refused after the last step", rest)]
        whole = sum(value for _, value in shares) or 1.0
        words = [f"{name}: {value:.3g} s ({value / whole:.0%})" for name, value in shares]
        picture = columns_svg(
            parts,
            names,
            _COLORS,
            x="step",
            y="seconds",
            label=f"Seconds of each step. {'; '.join(words)}.",
            extra=column_box(len(path), PLOT)[0],
        )
        legend = legend_html([Series(text, [], "dots", c) for text, c in zip(words, _COLORS)])
        last = f"<figcaption>{words[-1]}</figcaption>" if rest > 0.01 * whole else ""
        return f"<figure><h3>Where the time went</h3>{picture}{legend}{last}</figure>"


def curve(
    result: SearchResult, target_error: float | None = None, error: str = "relative error"
) -> tuple[str, list[Point | None], str]:
    """Error against parameters: the chart, where each step is in it in pixels, and the legend."""
    path, front = result.path, result.pareto
    point = lambda fit: (float(fit.num_params), float(fit.error))
    words = [f"step {k}, {step_words(step)}" for k, step in enumerate(path)]
    best = (float(result.num_params), float(result.error))
    accepted = {(step.structure, step.error) for step in path}
    held = [(step, step.held) for step in path if step.held is not None]
    others = [r for r in result.archive if (r.structure, r.error) not in accepted]
    series = [
        Series("Pareto set", [point(s) for s in front], "line", PALETTE[0]),
        Series("steps", [point(s) for s in path], "dots", PALETTE[0], words),
        Series("result", [best], "star", PALETTE[4], [f"result: {best[1]:.4g}"]),
    ]
    if held:
        led = [f"held at {step_words(step)}: {other}" for step, other in held]
        points_held = [point(other) for _, other in held]
        series.insert(0, Series("held meanwhile", points_held, "dots", PALETTE[3], led))
    if others:
        tried = Series("other fits", [point(r) for r in others], "dots", MUTED, faint=True)
        series.insert(0, tried)
    kinds: dict[str, Any] = dict(
        log_x=True, line=None if target_error is None else (target_error, "target")
    )
    axes = curve_axes(series, **kinds)
    points: list[Point | None] = []
    for x, y in map(point, path):
        seen = math.isfinite(y) and (y > 0 or not axes[1].log)
        points.append((round(axes[0](x), 1), round(axes[1](y), 1)) if seen else None)
    label = (
        f"{error.capitalize()} against parameters: from {path[0].error:.3g} at "
        f"{path[0].num_params:,} parameters to {best[1]:.3g} at {result.num_params:,}."
    )
    ring = '<circle class="tn-now tn-ring" r="8.5" fill="none" display="none"/>'
    chart = curve_svg(series, x="parameters", y=error, label=label, extra=ring, **kinds)
    return chart, points, legend_html(series)


def step_words(step: Step) -> str:
    """A step in words: what was done, and what that led to."""
    rank = "" if step.rank is None else f" (rank {step.rank})"
    return f"{step.move}{rank}, {step.num_params:,} parameters, error {step.error:.4g}"


def factor_maps(result: SearchResult, modes: Sequence[str] | None = None) -> dict[str, np.ndarray]:
    """The core of each node with open legs as a matrix, bonds by modes, by a caption."""
    out = {}
    network = result.network
    for node, legs in enumerate(network.structure.legs):
        core = np.asarray(network.cores[node])
        if not legs or not np.isfinite(core).all():
            continue
        matrix = core.reshape(math.prod(core.shape[: len(legs)]), -1).T
        named = "mode" if len(legs) == 1 else "modes"
        own = [str(mode) if modes is None else modes[mode] for mode in legs]
        words = [
            f"{named} {', '.join(own)} (node {node})",
            " x ".join(map(str, core.shape)),
        ]
        if np.iscomplexobj(matrix):
            matrix = np.abs(matrix)
            words.append("magnitudes")
        if len(matrix) > _LARGEST_FACTOR:
            words.append(f"the first {_LARGEST_FACTOR} of {len(matrix)} rows")
            matrix = matrix[:_LARGEST_FACTOR]
        out["; ".join(words)] = matrix.astype(np.float64)
    return out


def _stepper(count: int, shown: int) -> str:
    return (
        '<div class="stepper" hidden><div class="bar">'
        '<button type="button" aria-label="step before">&#9664;</button>'
        f'<label><span class="hidden">step</span><input type="range" min="0" max="{count - 1}" '
        f'step="1" value="{shown}"></label>'
        '<button type="button" aria-label="next step">&#9654;</button></div>'
        '<output aria-live="polite"></output></div>'
    )


def _network_words(drawing: Drawing, named: bool) -> str:
    words = [f"Circles are cores, lines at the rim their modes{'' if named else ' with sizes'}"]
    if any(not legs for legs in drawing.legs):
        words.append("orange squares internal cores")
    words.append("lines between them bonds with ranks")
    if any(len(bond) > 2 for bond in drawing.bonds):
        words.append("diamonds bonds that more than two cores share")
    return html.escape(", ".join(words) + ".")


def _steps_table(path: Sequence[Step]) -> str:
    columns = ("step", "move", "rank", "parameters", "compression", "error", "seconds", "compiling")
    held = any(step.held is not None for step in path)
    columns = (*columns, "held meanwhile") if held else columns
    head = "".join(f'<th scope="col">{name}</th>' for name in columns)
    rows = []
    for number, step in enumerate(path):
        cells = (
            str(step.move),
            "" if step.rank is None else step.rank,
            f"{step.num_params:,}",
            f"{step.structure.compression_ratio:.3g}x",
            f"{step.error:.4g}",
            f"{step.seconds:.2f}",
            f"{step.compile_seconds:.2f}",
            *(("" if step.held is None else str(step.held),) if held else ()),
        )
        tds = "".join(f"<td>{html.escape(str(cell))}</td>" for cell in cells)
        rows.append(f'<tr data-step="{number}"><th scope="row">{number}</th>{tds}</tr>')
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
    return scroll_html(table, "Steps of the search").replace('"scroll"', '"scroll tall"', 1)
