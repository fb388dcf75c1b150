"""How layers of Flax nnx are replaced, type by type."""

import dataclasses
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import lax

from . import _flax_conv, _flax_general
from . import flax as tnf
from ._layers import Parts, stacked_on_host
from .layer_types import LayerAdapter

# What says how a kernel lies on a mesh; cores have other axes.
_OF_THE_KERNEL = ("sharding", "sharding_names", "out_sharding", "mesh")


def _value(variable: Any) -> Any:
    return None if variable is None else variable.get_value()


class _FlaxLayer(LayerAdapter):
    """What is common: the weight's variable, and the variables of the new layer."""

    weight = "kernel"

    def bias(self, layer: Any) -> Any:
        return _value(getattr(layer, "bias", None))

    def variable(self, layer: Any) -> nnx.Variable:
        """Of the weight: layers that share it get the same cores."""
        return getattr(layer, self.weight)

    def array(self, layer: Any) -> Any:
        return self.variable(layer).get_value()

    def made(self, layer: Any, parts: Parts) -> Any:
        """The new layer, with variables of its own."""
        return tnf.from_parts(parts)

    def replaced(self, layer: Any, parts: Parts) -> Any:
        new = self.made(layer, parts).adopt(layer)
        like = self.variable(layer)
        kept = {k: v for k, v in like.get_metadata().items() if k not in _OF_THE_KERNEL}
        new.cores = nnx.List([type(like)(core.get_value(), **kept) for core in new.cores])
        old = getattr(layer, "bias", None)
        if old is not None and new.bias is not None:
            new.bias = old.replace(new.bias.get_value().reshape(old.get_value().shape))
        return new


class Linear(_FlaxLayer):
    def refusal(self, layer: Any) -> str | None:
        return _own_product(layer.dot_general, lax.dot_general)

    def matrix(self, layer: Any) -> Any:
        return np.asarray(layer.kernel.get_value()).swapaxes(-1, -2)


class LinearGeneral(_FlaxLayer):
    def refusal(self, layer: Any) -> str | None:
        if layer.batch_axis:
            return f"batch_axis={dict(layer.batch_axis)}: its kernel is not one matrix."
        if layer.dot_general_cls is not None:
            return "it has a dot_general of its own."
        return _own_product(layer.dot_general, None)

    def matrix(self, layer: Any) -> Any:
        return _flax_general.general_matrix(layer)

    def bias(self, layer: Any) -> Any:
        return _flat(_value(layer.bias), len(layer.out_features))

    def made(self, layer: Any, parts: Parts) -> Any:
        return _general(parts, layer.out_features, layer.in_features, axes=layer.axis)


class Einsum(_FlaxLayer):
    def refusal(self, layer: Any) -> str | None:
        reason = _flax_general.einsum_refusal(layer)
        rows = "" if reason else _flax_general.of_einsum(layer.einsum_str).rows
        if reason is None and layer.bias is not None and len(layer.bias_shape) != len(rows):
            reason = f"its bias of shape {layer.bias_shape} is not one for each of its outputs."
        return reason or _own_product(layer.einsum_op, jnp.einsum)

    def matrix(self, layer: Any) -> Any:
        return _flax_general.einsum_matrix(layer)

    def bias(self, layer: Any) -> Any:
        return _flat(_value(layer.bias), len(layer.bias_shape or ()))

    def made(self, layer: Any, parts: Parts) -> Any:
        rows, columns = _flax_general.einsum_sizes(layer)
        return _general(parts, rows, columns, einsum_str=layer.einsum_str)


class Conv(_FlaxLayer):
    kind = "conv"

    def refusal(self, layer: Any) -> str | None:
        return _flax_conv.refusal(layer)

    def matrix(self, layer: Any) -> Any:
        kernel = layer.kernel.get_value()
        axes = len(layer.kernel_size)
        return _flax_conv.channels_first(kernel, axes)

    def made(self, layer: Any, parts: Parts) -> Any:
        return tnf.from_parts(dataclasses.replace(parts, window=_flax_conv.window(layer)))


class Embed(_FlaxLayer):
    kind = "embedding"
    weight = "embedding"

    def matrix(self, layer: Any) -> Any:
        return layer.embedding.get_value()


class Network(_FlaxLayer):
    """A layer that is a network already."""

    def variable(self, layer: Any) -> nnx.Variable:
        return layer.cores[0]

    def matrix(self, layer: Any) -> Any:
        return stacked_on_host(layer.layout, [core.get_value() for core in layer.cores])


class GeneralNetwork(Network):
    def bias(self, layer: Any) -> Any:
        return _flat(_value(layer.bias), len(layer.rows))

    def made(self, layer: Any, parts: Parts) -> Any:
        places = {"axes": layer.axes, "einsum_str": layer.einsum_str}
        return _general(parts, layer.rows, layer.columns, **places)


class ConvNetwork(Network):
    kind = "conv"

    def made(self, layer: Any, parts: Parts) -> Any:
        return tnf.from_parts(dataclasses.replace(parts, window=layer.window))


class TableNetwork(Network):
    kind = "embedding"


def _general(parts: Parts, rows: Any, columns: Any, **places: Any) -> tnf.TNGeneral:
    bias = parts.bias
    if bias is not None:
        bias = bias.reshape(*bias.shape[:-1], *rows)
    forward = {"mode": parts.forward.mode, "checkpoint": parts.forward.checkpoint}
    return tnf.TNGeneral(
        parts.layout, rows, columns, cores=parts.cores, bias=bias, **places, **forward
    )


def _flat(bias: Any, axes: int) -> Any:
    return None if bias is None else np.reshape(bias, (*bias.shape[: bias.ndim - axes], -1))


def _own_product(given: Any, usual: Any) -> str | None:
    return None if given is usual else "it multiplies by a function of its own."


DENSE: dict[type, LayerAdapter] = {
    nnx.Linear: Linear(),
    nnx.LinearGeneral: LinearGeneral(),
    nnx.Einsum: Einsum(),
    nnx.Conv: Conv(),
    nnx.Embed: Embed(),
}
KNOWN: dict[type, LayerAdapter] = {
    **DENSE,
    tnf.TNLinear: Network(),
    tnf.TNGeneral: GeneralNetwork(),
    tnf.TNConv: ConvNetwork(),
    tnf.TNEmbedding: TableNetwork(),
}

# They change the parameters of the layers inside of them by name.
WRAPPERS = (nnx.WeightNorm, nnx.SpectralNorm)
