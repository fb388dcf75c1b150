"""What a compression found: records of layers, rows to compare with, and their table."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .._status import Status
from ._growth.grow import GrowStep
from ._layout import Layout
from ._tap import Moments, dense_layout
from .model import Adapter, Skipped, Slot


@dataclasses.dataclass(frozen=True)
class CompressedLayer:
    """What became of one layer.

    Attributes:
        name, kind, shape: of the dense layer, its weight as a matrix.
        layout: of the network in its place; one node for a layer that is left dense.
        dense_params, num_params: entries of weight and cores; of stacked layers, all of them.
        error: relative Frobenius error of the weight (of a trained layer: its distance).
        output_error: relative root mean square error of the layer's outputs, for the inputs that
            calibration or task give it in the dense model; None without data.
        dense: whether the layer is left as it is.

    Example:
        >>> import equinox as eqx, jax, tnjax
        >>> model = eqx.nn.MLP(16, 4, 32, 1, key=jax.random.key(0))
        >>> (layer,) = tnjax.compress(model, layers="layers.0", budget=0.5).layers
        >>> layer.name, layer.kind, layer.shape, layer.dense_params, layer.num_params
        ('layers.0', 'linear', (32, 16), 512, 240)
    """

    name: str
    kind: str
    shape: tuple[int, int]
    layout: Layout
    dense_params: int
    num_params: int
    error: float
    output_error: float | None = None
    dense: bool = False


@dataclasses.dataclass(frozen=True)
class Comparison:
    """A row of the table of a compression: the model with one kind of approximation.

    Attributes:
        name: "plain SVD", "whitened SVD" (neither trained), or "compressed": the result.
        num_params: of the layers.
        error: relative Frobenius error of all weights together.
        output_error: relative Frobenius error of the model's outputs on the calibration data.
        metric: on the task's validation data.

    Example:
        >>> from tnjax.nn import Comparison
        >>> Comparison("plain SVD", 240, 0.5, None, None).num_params
        240
    """

    name: str
    num_params: int
    error: float
    output_error: float | None
    metric: float | None


@dataclasses.dataclass(frozen=True)
class CompressResult:
    """What `compress` found.

    Attributes:
        model: the compressed model, of the framework that was given.
        layers: one record per layer that was named, also of those that are left dense.
        skipped: what the patterns name and no network can replace, with the reasons.
        rows: where there are data, the model with plain and with whitened SVDs of as many
            parameters, before any training, and the result.
        metric: on the task's validation data, the model's and the dense model's before
            (`dense_metric`); None without a task.
        path: moves of a growth, in order; of `Spectra` with a task the start and the end.
        status: of the last training.
        reason: why this size: what ended the growth, what is left dense.
        seconds: wall time.

    Example:
        >>> import equinox as eqx, jax, tnjax
        >>> model = eqx.nn.MLP(16, 4, 32, 1, key=jax.random.key(0))
        >>> tnjax.compress(model, layers="layers.0", budget=0.5)
        CompressResult(1 layers, params=240 of 512, status=MAX_PARAMS)
    """

    model: Any
    layers: tuple[CompressedLayer, ...]
    metric: float | None
    dense_metric: float | None
    path: tuple[GrowStep, ...]
    status: Status
    seconds: float
    skipped: tuple[Skipped, ...] = ()
    rows: tuple[Comparison, ...] = ()
    reason: str = ""

    @property
    def num_params(self) -> int:
        """Parameters of all layers that were named."""
        return sum(layer.num_params for layer in self.layers)

    @property
    def dense_params(self) -> int:
        """Parameters of their weights before."""
        return sum(layer.dense_params for layer in self.layers)

    def table(self) -> str:
        """The rows, the layers, and what was skipped, as text.

        Example:
            >>> import equinox as eqx, jax, tnjax
            >>> model = eqx.nn.MLP(16, 4, 32, 1, key=jax.random.key(0))
            >>> result = tnjax.compress(model, layers="layers.0", budget=0.5)
            >>> result.table().splitlines()[0]
            'layer     params  dense  weight error  output error'
        """
        return result_table(self)

    def __repr__(self) -> str:
        metric = "" if self.metric is None else f", metric={self.metric:.4g}"
        return (
            f"CompressResult({len(self.layers)} layers, params={self.num_params} of "
            f"{self.dense_params}{metric}, status={self.status.name})"
        )


def layer_records(
    adapter: Adapter, model: Any, chosen: Sequence[Slot], moments: Mapping[str, Moments]
) -> tuple[CompressedLayer, ...]:
    """What became of every layer."""
    found = adapter.slots(model)
    return tuple(_record(slot, found[slot.name], moments.get(slot.name)) for slot in chosen)


def weight_error(records: Sequence[tuple[np.ndarray, np.ndarray]]) -> float:
    """Relative Frobenius error of several weights together, from pairs (before, after)."""
    lost = sum(_square(np.asarray(b, np.float64) - np.asarray(a, np.float64)) for b, a in records)
    size = sum(_square(np.asarray(before, np.float64)) for before, _ in records)
    return float(np.sqrt(lost / size)) if size > 0 else float(np.sqrt(lost))


def _record(slot: Slot, now: Slot, moments: Moments | None) -> CompressedLayer:
    dense = now.layout is None
    layout = dense_layout(*slot.shape) if now.layout is None else now.layout
    copies = int(np.prod(slot.stack))
    return CompressedLayer(
        slot.name,
        slot.kind,
        slot.shape,
        layout,
        slot.size,
        copies * layout.num_params,
        weight_error([(slot.matrix, now.matrix)]),
        None if moments is None else _output_error(slot, now, moments),
        dense,
    )


def _output_error(slot: Slot, now: Slot, moments: Moments) -> float:
    """Relative root mean square of (W' - W) x + b' - b, for the moments of x."""
    before = np.asarray(slot.matrix, np.float64)
    change = np.asarray(now.matrix, np.float64) - before
    shift = (change @ moments.mean[..., None])[..., 0]
    if slot.bias is not None and now.bias is not None:
        shift = shift + np.asarray(now.bias, np.float64) - np.asarray(slot.bias, np.float64)
    lost = _square(shift) + float(np.sum((change @ moments.covariance) * change))
    size = float(np.sum((before @ moments.second) * before))
    return float(np.sqrt(max(lost, 0.0) / size)) if size > 0 else float(np.sqrt(max(lost, 0.0)))


def _square(x: np.ndarray) -> float:
    return float(np.sum(x**2))


def result_table(result: CompressResult) -> str:
    """Rows, layers and what was skipped, in columns."""
    number = lambda x: "-" if x is None else f"{x:.3g}"
    parts = []
    if result.rows:
        head = ("", "params", "weight error", "output error", "metric")
        rows = [
            (r.name, str(r.num_params), number(r.error), number(r.output_error), number(r.metric))
            for r in result.rows
        ]
        dense = ("dense", str(result.dense_params), "0", "0", number(result.dense_metric))
        parts.append(columns([head, dense, *rows]))
    head = ("layer", "params", "dense", "weight error", "output error")
    rows = [
        (
            layer.name or "(the model)",
            "dense" if layer.dense else str(layer.num_params),
            str(layer.dense_params),
            number(layer.error),
            number(layer.output_error),
        )
        for layer in result.layers
    ]
    parts.append(columns([head, *rows]))
    if result.skipped:
        parts.append("\n".join(f"skipped {s.name!r}: {s.reason}" for s in result.skipped))
    return "\n\n".join(parts)


def columns(rows: Sequence[Sequence[str]]) -> str:
    """Rows of words as text, the first column to the left and the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    line = lambda row: "  ".join(
        [row[0].ljust(widths[0]), *(x.rjust(w) for x, w in zip(row[1:], widths[1:], strict=True))]
    )
    return "\n".join(line(row) for row in rows)
