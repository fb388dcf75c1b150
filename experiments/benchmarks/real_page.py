"""The page of `real.py`: for each tensor and error the parameters of every method against seconds,
and the verdicts in a table."""

import html
import itertools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tnjax._report import Section, Table, page_html
from tnjax._report.page import write_page
from tnjax.plot import Series, curve_svg
from tnjax.plot.chart import PALETTE, legend_html

_MUTED = "#888888"


class Curves(Section):
    """Parameters against seconds, of one tensor at one error."""

    def __init__(self, title: str, rows: list[dict]) -> None:
        self.title, self.rows = title, rows

    def body(self) -> str:
        rows = [row for row in self.rows if row.get("curve")]
        if not rows:
            return "<p>No method met the error.</p>"
        end = max(row["seconds"] for row in rows)
        series = []
        for number, row in enumerate(rows):
            found = row["method"] in ("search", "tree")
            color = PALETTE[number % len(PALETTE)] if found else _MUTED
            points = [(max(s, 0.01), float(n)) for s, n in row["curve"]]
            if found:
                points = _steps(points, end)
            name = f"{row['method']}: {row['params']:,}"
            series.append(Series(name, points, "line" if found else "dots", color, faint=not found))
        label = f"{self.title}: parameters against seconds for {len(series)} methods."
        picture = curve_svg(series, x="seconds", y="parameters", label=label, log_x=True)
        return f"<figure>{picture}{legend_html(series)}</figure>"


def _steps(points: list[tuple[float, float]], end: float) -> list[tuple[float, float]]:
    """A line that stays where it is until the next point."""
    out = []
    for (s, n), (later, _) in itertools.pairwise([*points, (end, 0.0)]):
        out += [(s, n), (later, n)]
    return out


def write_curves(path: Path, record: dict[str, Any], verdict: Callable[[list[dict]], dict]) -> None:
    """Write the page of a record of `real.py`.

    Args:
        path: of the HTML file.
        record: as its JSON file holds it.
        verdict: of the rows of one tensor and error.
    """
    key = lambda row: (row["data"], row["target"])
    groups = [(name, list(rows)) for name, rows in itertools.groupby(record["rows"], key)]
    table, sections = [], []
    for (name, target), rows in groups:
        shape = "x".join(map(str, rows[0]["shape"]))
        found = verdict(rows)
        terms = [row["params"] for row in rows if row["method"].startswith("terms")]
        counts = [found[key] for key in ("soon", "closed form", "later", "others")]
        cells = ["none" if n == math.inf else f"{n:,}" for n in (*counts, *terms[:1])]
        kept = ["yes" if found[key] else "no" for key in ("soon kept", "later kept")]
        table.append((f"{name} at {target:g}", *cells, *kept))
        sections.append(Curves(f"{name} ({shape}) at {target:g}", rows))
    columns = ("tensor and error", "search soon", "closed forms", "search later", "all others")
    columns = (*columns, "Haar terms")[: len(table[0]) - 2] if table else columns
    verdicts = Table("Verdicts", (*columns, "soon kept", "later kept"), table)
    lead = f"<p><code>{html.escape(record['command'])}</code>; {html.escape(record['machine'])}</p>"
    write_page(path, page_html("Real data", [verdicts, *sections], lead=lead))
