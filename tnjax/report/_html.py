"""A search as one self-contained HTML page."""

import base64
import html
import io
import os
from collections.abc import Mapping
from typing import Any

from .._atomic import atomic_path
from ..plot import draw, plot_path
from ..search import SearchResult

_STYLE = """
:root { color-scheme: light dark; --line: #8884; }
body { font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 60rem; padding: 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2rem; }
table { border-collapse: collapse; } td, th { padding: .2rem .7rem; text-align: right;
  border-bottom: 1px solid var(--line); } td:first-child, th:first-child { text-align: left; }
.scroll { overflow-x: auto; } figure { margin: 0; }
.row { display: flex; flex-wrap: wrap; gap: 1rem; } .row figure { flex: 1 1 18rem; }
img { max-width: 100%; height: auto; border-radius: 4px; background: white; }
figcaption { opacity: .75; font-size: .9rem; }
"""


def report(
    result: SearchResult,
    path: str | os.PathLike,
    *,
    title: str = "Tensor network search",
    details: Mapping[str, Any] | None = None,
    images: Mapping[str, bytes] | None = None,
) -> None:
    """Write a report of a search: one HTML file that opens offline.

    Args:
        result: of `search`.
        path: of the file, replaced atomically if it exists.
        title: heading of the page.
        details: more rows for the summary.
        images: PNG data by caption, shown side by side, e.g. original and reconstruction.

    Raises:
        ImportError: if matplotlib is not installed (extra `plot`).
        OSError: if the file cannot be written.
    """
    summary: dict[str, Any] = {
        "error (relative, unsquared)": f"{result.error:.5g}",
        "parameters (core entries)": f"{result.num_params:,}",
        "compression (dense entries / parameters)": f"{result.structure.compression_ratio:.4g}x",
        "ended because": result.status.message,
        "moves": len(result.path) - 1,
        "seconds (of which compiling)": f"{result.seconds:.1f} ({result.compile_seconds:.1f})",
        **(details or {}),
    }
    pictures = {"The network found": _png(draw, result.structure)}
    pictures["Error against parameters"] = _png(plot_path, result)
    body = [
        f"<h1>{html.escape(title)}</h1>",
        _table([(key, value) for key, value in summary.items()]),
        _figures(pictures),
    ]
    if images:
        body += ["<h2>Images</h2>", _figures(images)]
    body += ["<h2>Moves</h2>", _moves(result)]
    page = (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(title)}</title><style>{_STYLE}</style>{''.join(body)}</html>\n"
    )
    with atomic_path(path) as part:
        part.write_text(page, encoding="utf-8")


def _png(plot, subject) -> bytes:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("Drawing needs matplotlib: pip install 'tnjax[plot]'.") from error

    figure = Figure(figsize=(6, 5), layout="constrained")
    plot(subject, figure.subplots())
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=110, metadata={"Software": None})
    return out.getvalue()


def _figures(pictures: Mapping[str, bytes]) -> str:
    parts = []
    for caption, data in pictures.items():
        source = "data:image/png;base64," + base64.b64encode(data).decode()
        text = html.escape(caption)
        parts.append(
            f'<figure><img src="{source}" alt="{text}"><figcaption>{text}</figcaption></figure>'
        )
    return f'<div class="row">{"".join(parts)}</div>'


def _table(rows) -> str:
    cells = (
        f"<tr><th>{html.escape(str(key))}</th><td>{html.escape(str(value))}</td></tr>"
        for key, value in rows
    )
    return f"<table>{''.join(cells)}</table>"


def _moves(result: SearchResult) -> str:
    head = ("move", "rank", "parameters", "compression", "error", "seconds", "compiling")
    rows = []
    for step in result.path:
        rank = "" if step.move.edge is None else step.structure.rank(step.move.edge)
        cells = (
            step.move,
            rank,
            f"{step.num_params:,}",
            f"{step.structure.compression_ratio:.3g}x",
            f"{step.error:.4g}",
            f"{step.seconds:.2f}",
            f"{step.compile_seconds:.2f}",
        )
        rows.append("".join(f"<td>{html.escape(str(cell))}</td>" for cell in cells))
    header = "".join(f"<th>{name}</th>" for name in head)
    table = "".join(f"<tr>{row}</tr>" for row in rows)
    return f'<div class="scroll"><table><tr>{header}</tr>{table}</table></div>'
