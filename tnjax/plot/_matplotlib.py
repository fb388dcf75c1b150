"""Axes of matplotlib, made where none are given."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._install import install_hint

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def axes(ax: Axes | None, size: tuple[float, float]) -> Axes:
    """The axes themselves, or those of a new figure of that size in inches."""
    if ax is not None:
        return ax
    try:
        from matplotlib import pyplot as plt
    except ImportError as error:
        raise ImportError(f"Drawing needs matplotlib: {install_hint('plot')}.") from error
    return plt.subplots(figsize=size, layout="constrained")[1]
