"""Curves of searches with matplotlib (extra `plot`)."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from .._search.result import SearchResult
from ._matplotlib import axes
from .chart import PALETTE
from .svg import HYPER, MUTED, NODE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MARKERS = ("s", "o", "v", "D", "^", "P", "X", "<", ">")


def plot_path(result: SearchResult, ax: Axes | None = None) -> Axes:
    """Plot error against parameters over the moves of a search, the Pareto set emphasized.

    Args:
        result: of `search`.
        ax: matplotlib axes; a new figure by default.

    Returns:
        the axes.

    Raises:
        ImportError: if matplotlib is not installed.

    Example:
        >>> import jax, tnjax
        >>> problem = tnjax.Decomposition(jax.numpy.ones((3, 4)))
        >>> result = tnjax.search(problem, key=jax.random.key(0), target_error=0.1)
        >>> tnjax.plot_path(result).get_xlabel()
        'parameters'
    """
    ax = axes(ax, (6.0, 4.0))
    kinds = list(dict.fromkeys(step.move.kind for step in result.path))
    for kind, marker in zip(kinds, itertools.cycle(_MARKERS)):
        steps = [step for step in result.path if step.move.kind == kind]
        ax.plot(
            [s.num_params for s in steps],
            [s.error for s in steps],
            marker,
            color=MUTED,
            ms=5,
            label=kind,
        )
    front = result.pareto
    ax.plot(
        [s.num_params for s in front],
        [s.error for s in front],
        "-",
        color=NODE,
        lw=1.5,
        label="Pareto set",
        zorder=0,
    )
    ax.plot(result.num_params, result.error, "*", color=HYPER, ms=14, label="result")
    _dress(ax, [step.error for step in result.path])
    return ax


def plot_pareto(results: SearchResult | Mapping[str, SearchResult], ax: Axes | None = None) -> Axes:
    """Plot the Pareto sets of searches, error against parameters, to compare them.

    Args:
        results: of one `search`, or of several by their names.
        ax: matplotlib axes; a new figure by default.

    Returns:
        the axes.

    Raises:
        ImportError: if matplotlib is not installed.
        ValueError: if there are no results.

    Example:
        >>> import jax, tnjax
        >>> problem = tnjax.Decomposition(jax.numpy.ones((3, 4)))
        >>> result = tnjax.search(problem, key=jax.random.key(0), target_error=0.1)
        >>> tnjax.plot_pareto({"greedy": result}).get_xlabel()
        'parameters'
    """
    named = {"Pareto set": results} if isinstance(results, SearchResult) else dict(results)
    if not named:
        raise ValueError("plot_pareto: expected one or more results, got none.")
    ax = axes(ax, (6.0, 4.0))
    errors: list[float] = []
    for (name, result), color, marker in zip(
        named.items(), itertools.cycle(PALETTE), itertools.cycle(_MARKERS)
    ):
        front = result.pareto
        errors += [step.error for step in front]
        ax.plot(
            [step.num_params for step in front],
            [step.error for step in front],
            marker=marker,
            color=color,
            ms=4,
            lw=1.5,
            label=name,
        )
    _dress(ax, errors)
    return ax


def _dress(ax: Axes, errors: Sequence[float]) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    ax.set(xscale="log", xlabel="parameters", ylabel="relative error")
    ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    ax.xaxis.set_minor_formatter(NullFormatter())
    if min(errors) > 0 and max(errors) / min(errors) > 20:
        ax.set_yscale("log")
    ax.grid(alpha=0.3)
    ax.legend(frameon=False)
