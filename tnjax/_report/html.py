"""A search as one self-contained HTML page."""

import html
import os
from collections.abc import Mapping, Sequence
from typing import Any

from .._search.result import SearchResult
from .._status import Status
from .page import page_html, write_page
from .search import search_sections
from .sections import Pictures, Section, Table


def report(
    result: SearchResult,
    path: str | os.PathLike[str],
    *,
    title: str = "Tensor network search",
    details: Mapping[str, Any] | None = None,
    images: Mapping[str, bytes] | None = None,
    sections: Sequence[Section] = (),
    options: Mapping[str, Any] | None = None,
    versions: Mapping[str, Any] | None = None,
) -> None:
    """Write a report of a search: one HTML file that opens offline, with a slider over the steps.

    Args:
        result: of `search`.
        path: of the file, replaced atomically if it exists.
        title: heading of the page.
        details: more about the run, such as the input; a table.
        images: PNG data by caption, shown side by side, e.g. original and reconstruction.
        sections: more parts, such as `tnjax._report.Table`, `Curves`, `Pictures`, `HeatMaps`.
        options: of the run; `target_error` is marked in the curve.
        versions: of libraries.

    Raises:
        OSError: if the file cannot be written.

    Example:
        >>> import jax, pathlib, tempfile, tnjax
        >>> tensor = jax.numpy.ones((3, 4, 5))
        >>> result = tnjax.search(
        ...     tnjax.Decomposition(tensor), key=jax.random.key(0), target_error=1e-3
        ... )
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     tnjax.report(result, pathlib.Path(folder) / "report.html", title="Ones")
    """
    options = dict(options or {})
    target = options.get("target_error")
    parts = search_sections(result, target_error=target)
    if images:
        parts.insert(1, Pictures("Images", images))
    parts[1:1] = sections
    for heading, table in (
        ("About the run", details),
        ("Options", _flat(options)),
        ("Versions", versions),
    ):
        if table:
            parts.append(Table(heading, ("name", "value"), list(table.items())))
    write_page(path, page_html(title, parts, lead=_lead(result), facts=_facts(result)))


def _flat(options: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Nested options as one table: {"data": {"seed": 0}} is {"data.seed": 0}."""
    out = {}
    for key, value in options.items():
        if isinstance(value, Mapping) and value:
            out |= _flat(value, f"{before}{key}.")
        else:
            out[f"{before}{key}"] = value
    return out


def _lead(result: SearchResult) -> str:
    short = "" if result.status is Status.TARGET_REACHED else " short"
    return (
        f'<p class="lead{short}">The search ended because '
        f"<strong>{html.escape(result.status.message)}</strong>.</p>"
    )


def _facts(result: SearchResult) -> dict[str, Any]:
    return {
        "error": (f"{result.error:.4g}", "relative, unsquared"),
        "parameters": (result.num_params, "core entries"),
        "compression": (
            f"{result.structure.compression_ratio:.4g}x",
            "dense entries / parameters",
        ),
        "moves": (len(result.path) - 1, f"{result.fitted:,} structures fitted"),
        "time": (f"{result.seconds:.1f} s", f"{result.compile_seconds:.1f} s of it compiling"),
    }
