"""A search as one self-contained HTML page."""

import dataclasses
import html
import os
from collections.abc import Mapping, Sequence
from typing import Any

from .._search.result import SearchResult
from .._status import Status
from .page import page_html, write_page
from .search import search_sections
from .sections import Pictures, Section, Table

# What the error of most searches is: on an axis, and below the number.
RELATIVE = ("relative error", "relative, unsquared")


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
    page = Page(title, details or {}, images or {}, sections, options or {}, versions or {})
    write_report(result, path, page)


@dataclasses.dataclass(frozen=True)
class Page:
    """What a report shows beside the search.

    Attributes:
        title, details, images, sections, options, versions: as of `report`.
        modes: names of the modes, where they have some.
        error: what the error is, and how it is measured.
    """

    title: str
    details: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    images: Mapping[str, bytes] = dataclasses.field(default_factory=dict)
    sections: Sequence[Section] = ()
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    versions: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    modes: Sequence[str] | None = None
    error: tuple[str, str] = RELATIVE


def write_report(result: SearchResult, path: str | os.PathLike[str], page: Page) -> None:
    """Write the report of a search, as `report` does.

    Raises:
        OSError: if the file cannot be written.
    """
    target = page.options.get("target_error")
    parts = search_sections(result, target_error=target, modes=page.modes, error=page.error[0])
    if page.images:
        parts.insert(1, Pictures("Images", page.images))
    parts[1:1] = page.sections
    for heading, table in (
        ("About the run", page.details),
        ("Options", _flat(page.options)),
        ("Versions", page.versions),
    ):
        if table:
            parts.append(Table(heading, ("name", "value"), list(table.items())))
    facts = _facts(result, page.error)
    write_page(path, page_html(page.title, parts, lead=_lead(result, target), facts=facts))


def _flat(options: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Nested options as one table: {"data": {"seed": 0}} is {"data.seed": 0}."""
    out = {}
    for key, value in options.items():
        if isinstance(value, Mapping) and value:
            out |= _flat(value, f"{before}{key}.")
        else:
            out[f"{before}{key}"] = value
    return out


def _lead(result: SearchResult, target: float | None) -> str:
    reached = result.status is Status.TARGET_REACHED
    short = " short" if not reached and (target is not None or not result.status.ok) else ""
    return (
        f'<p class="lead{short}">The search ended because '
        f"<strong>{html.escape(result.status.message)}</strong>.</p>"
    )


def _facts(result: SearchResult, error: tuple[str, str]) -> dict[str, Any]:
    return {
        "error": (f"{result.error:.4g}", error[1]),
        "parameters": (result.num_params, "core entries"),
        "compression": (
            f"{result.structure.compression_ratio:.4g}x",
            "dense entries / parameters",
        ),
        "moves": (len(result.path) - 1, f"{result.fitted:,} structures fitted"),
        "time": (f"{result.seconds:.1f} s", f"{result.compile_seconds:.1f} s of it compiling"),
    }
