"""Where a growth begins: layouts for dense layers, and cores fitted to their weights."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..._tuned import tuned
from .._formats import factor, paired
from .._layout import Layout
from .._project import project
from ..model import Adapter, Slot
from .grow import Starts
from .increments import current


@dataclasses.dataclass(frozen=True)
class Digits:
    """The layout that growth starts from.

    Attributes:
        digit: size that the digits of rows and columns are near.
    """

    digit: int = 4


DIGITS = tuned("layer_start", Digits())


@dataclasses.dataclass(frozen=True)
class SvdStart:
    """The whitened SVDs that growth starts from.

    Attributes:
        divisor: of the ranks that fill the budget; the others are for growth to place.
    """

    divisor: int = 2


SVD_START = tuned("layer_svd_start", SvdStart())


def default_start(slot: Slot) -> Layout:
    """Digits of small sizes, a row and a column digit on every node, padded where needed."""
    rows, columns = slot.shape
    digit = DIGITS().digit
    count = max(2, round(np.log(max(min(rows, columns), digit)) / np.log(digit)))
    return paired(
        factor(rows, count, pad=True), factor(columns, count, pad=True), rows=rows, columns=columns
    )


def starting_networks(
    adapter: Adapter, model: Any, chosen: Sequence[Slot], start: Starts | None
) -> dict:
    """Layouts and cores by layer.

    Raises:
        ValueError: if `start` lacks a layer, or a layout does not have the weight's shape.
    """
    networks = {}
    for slot in chosen:
        if start in (None, "digits") and slot.layout is not None:
            networks |= current(adapter, model, {slot.name: (slot.layout, ())})
            continue
        if start is None or isinstance(start, str):
            layout = default_start(slot)
        elif callable(start):
            layout = start(slot)
        elif slot.name in start:
            layout = start[slot.name]
        else:
            raise ValueError(f"compress: `start` has no layout for layer {slot.name!r}.")
        if layout.shape != slot.shape:
            raise ValueError(
                f"compress: the layout for {slot.name!r} is {layout.shape}, its weight "
                f"{slot.shape}. Sizes that do not factor are padded: give larger dims with "
                f"rows={slot.shape[0]}, columns={slot.shape[1]}, or use "
                "`factor(size, count, pad=True)`."
            )
        networks[slot.name] = (layout, project(layout, slot.matrix).cores)
    return networks
