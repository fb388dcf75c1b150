"""How layers of Equinox are replaced, type by type."""

import dataclasses
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from . import _equinox_dense
from . import equinox as tne
from ._layers import Parts, stacked_on_host
from .layer_types import LayerAdapter

_NETWORKS = (tne.TNLinear, tne.TNConv, tne.TNEmbedding)


class _EquinoxLayer(LayerAdapter):
    """Dense layers, and networks that replaced them."""

    def array(self, layer: Any) -> Any:
        return layer.cores[0] if isinstance(layer, _NETWORKS) else layer.weight

    def matrix(self, layer: Any) -> Any:
        if isinstance(layer, _NETWORKS):
            return stacked_on_host(layer.layout, layer.cores)
        return self.dense(layer)

    def dense(self, layer: Any) -> Any:
        """The weight of a dense layer as matrices."""
        return np.asarray(layer.weight)


class Linear(_EquinoxLayer):
    def bias(self, layer: Any) -> Any:
        return layer.bias

    def replaced(self, layer: Any, parts: Parts) -> Any:
        scalar = _equinox_dense.scalar_ends(layer)
        return tne.from_parts(dataclasses.replace(parts, scalar=scalar))


class Conv(_EquinoxLayer):
    kind = "conv"

    def refusal(self, layer: Any) -> str | None:
        groups = layer.groups
        return None if groups == 1 else f"groups={groups}; only one group is represented."

    def dense(self, layer: Any) -> Any:
        kernel, axes = np.asarray(layer.weight), len(layer.kernel_size)
        return kernel.reshape(*kernel.shape[: kernel.ndim - axes - 1], -1)

    def bias(self, layer: Any) -> Any:
        bias, axes = layer.bias, len(layer.kernel_size)
        return None if bias is None else jnp.asarray(_equinox_dense.flat_bias(bias, axes))

    def replaced(self, layer: Any, parts: Parts) -> Any:
        window = layer.window if isinstance(layer, tne.TNConv) else _equinox_dense.window(layer)
        return tne.from_parts(dataclasses.replace(parts, window=window))


class Embedding(_EquinoxLayer):
    kind = "embedding"

    def replaced(self, layer: Any, parts: Parts) -> Any:
        return tne.from_parts(parts)


DENSE: dict[type, LayerAdapter] = {
    eqx.nn.Linear: Linear(),
    **dict.fromkeys((eqx.nn.Conv, eqx.nn.Conv1d, eqx.nn.Conv2d, eqx.nn.Conv3d), Conv()),
    eqx.nn.Embedding: Embedding(),
}
KNOWN: dict[type, LayerAdapter] = {
    **DENSE,
    tne.TNLinear: Linear(),
    tne.TNConv: Conv(),
    tne.TNEmbedding: Embedding(),
}

# They change the weight of the layer inside of them by name.
WRAPPERS = (eqx.nn.WeightNorm, eqx.nn.SpectralNorm)
