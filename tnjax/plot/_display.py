"""What notebooks show of structures, networks and searches: HTML with SVG, no library needed."""

import html
from collections.abc import Sequence

from .. import _display
from .._network import TensorNetwork
from .._search.result import SearchResult
from .._structure import Structure
from .chart import PALETTE, Series, curve_svg, legend_html
from .svg import MUTED, structure_svg

_BOX = "display:flex;flex-wrap:wrap;gap:1.5em;align-items:flex-start"
_MOST_ROWS = 12


def structure_html(structure: Structure) -> str:
    """The drawing of a structure beside its numbers."""
    rows = [
        ("dims", " x ".join(map(str, structure.dims))),
        ("parameters", f"{structure.num_params:,}"),
        ("compression", f"{structure.compression_ratio:.4g}x"),
        ("bonds", len(structure.edges)),
    ]
    return _beside(structure_svg(structure), _table(rows))


def network_html(network: TensorNetwork) -> str:
    """The drawing of a network beside the shapes of its cores."""
    structure = network.structure
    rows: Sequence[tuple[str, object]] = [
        ("parameters", f"{structure.num_params:,}"),
        ("compression", f"{structure.compression_ratio:.4g}x"),
        ("dtype", network.dtype),
    ]
    shapes = [(f"core {k}", " x ".join(map(str, c.shape))) for k, c in enumerate(network.cores)]
    return _beside(structure_svg(structure), _table([*rows, *_some(shapes)]))


def result_html(result: SearchResult) -> str:
    """The network found, the curve of the search, and its last steps.

    Args:
        result: of `search`.

    Returns:
        HTML without scripts, as notebooks show it.

    Example:
        >>> import jax, tnjax
        >>> problem = tnjax.Decomposition(jax.numpy.ones((3, 4)))
        >>> result = tnjax.search(problem, key=jax.random.key(0), target_error=0.1)
        >>> "<svg" in tnjax.plot.result_html(result)
        True
    """
    point = lambda fit: (float(fit.num_params), float(fit.error))
    series = [
        Series("fits", [point(fit) for fit in result.archive], "dots", MUTED, faint=True),
        Series("Pareto set", [point(fit) for fit in result.pareto], "both", PALETTE[0]),
        Series("result", [(float(result.num_params), result.error)], "star", PALETTE[4]),
    ]
    label = f"Relative error against parameters, down to {result.error:.3g}."
    chart = curve_svg(series, x="parameters", y="relative error", label=label, log_x=True)
    rows = [
        ("error", f"{result.error:.4g} (relative, unsquared)"),
        ("parameters", f"{result.num_params:,}"),
        ("compression", f"{result.structure.compression_ratio:.4g}x"),
        ("ended because", result.status.message),
        ("moves", f"{len(result.path) - 1}; {result.fitted} structures fitted"),
        ("seconds", f"{result.seconds:.1f} ({result.compile_seconds:.1f} compiling)"),
    ]
    return _beside(structure_svg(result.structure), chart + legend_html(series), _table(rows))


def _some(rows: Sequence[tuple[str, object]]) -> Sequence[tuple[str, object]]:
    if len(rows) <= _MOST_ROWS:
        return rows
    return [*rows[: _MOST_ROWS - 1], ("", f"... {len(rows) - _MOST_ROWS + 1} more")]


def _beside(*parts: str) -> str:
    return f'<div style="{_BOX}">{"".join(f"<div>{part}</div>" for part in parts)}</div>'


def _table(rows: Sequence[tuple[str, object]]) -> str:
    cells = (
        f'<tr><th style="text-align:left">{html.escape(name)}</th>'
        f'<td style="text-align:left">{html.escape(str(value))}</td></tr>'
        for name, value in rows
    )
    return f"<table>{''.join(cells)}</table>"


_display.register(Structure, structure_html)
_display.register(TensorNetwork, network_html)
_display.register(SearchResult, result_html)
