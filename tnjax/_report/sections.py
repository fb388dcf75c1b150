"""Parts of a report as plain values, so that a run folder can keep them and a page show them.

Whoever runs something else than a plain search (a completion, the compression of a model) adds
what is special about it as sections.
"""

import abc
import base64
import dataclasses
import html
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from .._structure import Edge, Structure
from ..plot import Series, curve_svg, structure_svg
from ..plot.chart import PALETTE, legend_html


class Section(abc.ABC):
    """A part of a report: a heading and what stands below it."""

    title: str

    @abc.abstractmethod
    def body(self) -> str:
        """HTML below the heading."""


@dataclasses.dataclass(frozen=True)
class Table(Section):
    """A table of words and numbers.

    Args:
        title: the heading.
        columns: what stands in each column.
        rows: one cell for each column; numbers are shown with four digits.
        note: a sentence above the table.

    Example:
        >>> from tnjax._report import Table
        >>> "<td>0.25</td>" in Table("Errors", ("set", "error"), [("test", 0.25)]).body()
        True
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    note: str = ""

    def body(self) -> str:
        head = "".join(f'<th scope="col">{html.escape(str(name))}</th>' for name in self.columns)
        rows = []
        for row in self.rows:
            first, *rest = [html.escape(cell_text(cell)) for cell in row]
            cells = "".join(f"<td>{cell}</td>" for cell in rest)
            rows.append(f'<tr><th scope="row">{first}</th>{cells}</tr>')
        kind = ' class="pairs"' if len(self.columns) == 2 else ""
        table = f"<table{kind}><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
        return note_html(self.note) + scroll_html(table, self.title)


@dataclasses.dataclass(frozen=True)
class Pictures(Section):
    """PNG pictures beside each other.

    Args:
        title: the heading.
        pictures: PNG data by caption.
        note: a sentence above them.
    """

    title: str
    pictures: Mapping[str, bytes]
    note: str = ""

    def body(self) -> str:
        figures = "".join(picture_html(data, text) for text, data in self.pictures.items())
        return f'{note_html(self.note)}<div class="row">{figures}</div>'


@dataclasses.dataclass(frozen=True)
class Curves(Section):
    """Lines over two axes, for instance an error on several sets of entries.

    Args:
        title: the heading.
        x, y: what the axes show.
        lines: points (x, y) by the names of the lines.
        note: a sentence above the chart.
        dots: names of the lines of which the points alone are drawn.

    Example:
        >>> from tnjax._report import Curves
        >>> errors = {"train": [(1, 0.5), (2, 0.2)], "test": [(1, 0.6), (2, 0.3)]}
        >>> Curves("Errors", "step", "error", errors).body().count("<svg")
        3
    """

    title: str
    x: str
    y: str
    lines: Mapping[str, Sequence[Sequence[float]]]
    note: str = ""
    dots: Sequence[str] = ()

    def body(self) -> str:
        series = []
        for k, (name, points) in enumerate(self.lines.items()):
            alone = name in self.dots
            places = [(float(a), float(b)) for a, b in points]
            kind = "dots" if alone else "both"
            series.append(Series(name, places, kind, PALETTE[k % 6], faint=alone))
        label = f"{self.title}: {self.y} against {self.x} for {', '.join(self.lines)}."
        chart = curve_svg(series, x=self.x, y=self.y, label=label, log_x=False)
        return f"{note_html(self.note)}<figure>{chart}{legend_html(series)}</figure>"


@dataclasses.dataclass(frozen=True)
class Drawn(Section):
    """A structure with names at its modes and words on its bonds.

    Args:
        title: the heading.
        structure: that is drawn.
        names: of its modes.
        notes: words beside the ranks of bonds.
        note: a sentence above it.

    Example:
        >>> from tnjax import Structure
        >>> from tnjax._report import Drawn
        >>> pair = Structure.tensor_train((2, 3), 2)
        >>> body = Drawn("Columns", pair, ("age", "sex"), {(0, 1): "0.2"}).body()
        >>> "age" in body, "2 · 0.2" in body
        (True, True)
    """

    title: str
    structure: Structure
    names: Sequence[str]
    notes: Mapping[Edge, str] = dataclasses.field(default_factory=dict)
    note: str = ""

    def body(self) -> str:
        svg = structure_svg(self.structure, names=self.names, notes=self.notes)
        return f"{note_html(self.note)}<figure>{svg}</figure>"


@dataclasses.dataclass(frozen=True)
class HeatMaps(Section):
    """Matrices in color: blue above zero, orange below, the stronger the larger.

    Args:
        title: the heading.
        matrices: two axes each, real, by caption.
        note: a sentence above them.

    Raises:
        ValueError: (when shown) if an array is not a matrix of finite real numbers.
    """

    title: str
    matrices: Mapping[str, np.ndarray]
    note: str = ""

    def body(self) -> str:
        figures = []
        for caption, matrix in self.matrices.items():
            rows = np.asarray(matrix).shape[0]
            tall = min(max(14 * rows, 28), 224)
            figures.append(picture_html(heat_png(matrix), caption, f"height:{tall}px", "heat"))
        return f'{note_html(self.note)}<div class="row small">{"".join(figures)}</div>'


def heat_png(matrix: np.ndarray) -> bytes:
    """A matrix as PNG, one pixel for each entry, transparent at zero."""
    values = np.asarray(matrix)
    if values.ndim != 2 or values.dtype.kind not in "fiub" or not np.isfinite(values).all():
        raise ValueError(
            f"A heat map needs a matrix of finite real numbers, got {values.dtype} of shape "
            f"{list(values.shape)}."
        )
    values = values.astype(np.float64)
    largest = np.abs(values).max() if values.size else 0.0
    share = np.abs(values) / (largest if largest > 0 else 1.0)
    pixels = np.empty((*values.shape, 4), np.uint8)
    pixels[..., :3] = np.where((values >= 0)[..., None], (0, 114, 178), (230, 120, 0))
    pixels[..., 3] = np.rint(255 * np.sqrt(share))
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


def cell_text(value: Any) -> str:
    """A number or a word as a table shows it."""
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if isinstance(value, int | np.integer):
        return f"{int(value):,}"
    if isinstance(value, float | np.floating):
        return f"{float(value):.4g}"
    if value is None:
        return "-"
    if isinstance(value, list | tuple):
        return ", ".join(map(cell_text, value))
    return str(value)


def note_html(note: str) -> str:
    return f'<p class="note">{html.escape(note)}</p>' if note else ""


def scroll_html(inner: str, label: str) -> str:
    """What may be wider than a phone: it scrolls by itself, by keyboard too."""
    text = html.escape(label)
    return f'<div class="scroll" role="region" tabindex="0" aria-label="{text}">{inner}</div>'


def picture_html(data: bytes, caption: str, style: str = "", kind: str = "picture") -> str:
    source = "data:image/png;base64," + base64.b64encode(data).decode()
    text = html.escape(caption)
    look = f' style="{style}"' if style else ""
    return (
        f'<figure><img class="{kind}" src="{source}" alt="{text}"{look}>'
        f"<figcaption>{text}</figcaption></figure>"
    )
