"""Equinox models as named layers and arrays."""

from collections.abc import Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from . import equinox as tne
from ._conv import Window
from ._layers import FORWARD, Parts
from ._linear import Forward
from .model import Adapter, Build, Network, Slot

_LAYERS = (eqx.nn.Linear, eqx.nn.Conv, eqx.nn.Embedding, tne.TNLinear, tne.TNConv, tne.TNEmbedding)


def _name(path) -> str:
    return jax.tree_util.keystr(path, simple=True, separator=".")


def _is_layer(node: Any) -> bool:
    return isinstance(node, _LAYERS)


class EquinoxAdapter(Adapter):
    def slots(self, model: Any) -> dict[str, Slot]:
        found = {}
        for path, layer in jax.tree_util.tree_leaves_with_path(model, is_leaf=_is_layer):
            if _is_layer(layer) and (kind := _kind(layer)):
                weight = np.asarray(layer.weight)
                bias = getattr(layer, "bias", None)
                found[_name(path)] = Slot(
                    _name(path),
                    kind,
                    weight.reshape(len(weight), -1),
                    None if bias is None else np.asarray(bias).reshape(-1),
                    getattr(layer, "layout", None),
                )
        return found

    def replaced(
        self,
        model: Any,
        networks: Mapping[str, Network],
        biases: Mapping[str, Any] | None = None,
        *,
        forward: Forward | None = None,
    ) -> Any:
        biases = biases or {}

        def new(path, layer):
            name = _name(path)
            if name not in networks:
                return layer
            bias = biases.get(name, getattr(layer, "bias", None))
            parts = Parts(
                _kind(layer) or "linear",
                *networks[name],
                bias,
                _window(layer),
                forward or FORWARD,
            )
            return tne.from_parts(parts)

        return jax.tree_util.tree_map_with_path(new, model, is_leaf=_is_layer)

    def arrays(self, model: Any) -> tuple[dict[str, Any], Build]:
        flat, treedef = jax.tree_util.tree_flatten_with_path(model)
        floats = {_name(path): jnp.asarray(x) for path, x in flat if eqx.is_inexact_array(x)}
        others = {_name(path): x for path, x in flat if not eqx.is_inexact_array(x)}
        return floats, Build(tuple(_name(path) for path, _ in flat), others, treedef, _unflatten)


def _unflatten(names, leaves, treedef):
    return jax.tree_util.tree_unflatten(treedef, [leaves[name] for name in names])


def _window(layer: Any) -> Window | None:
    if isinstance(layer, tne.TNConv):
        return layer.window
    if not isinstance(layer, eqx.nn.Conv):
        return None
    padding = layer.padding if isinstance(layer.padding, str) else tuple(layer.padding)
    return Window(layer.kernel_size, layer.stride, padding, layer.dilation)


def _kind(layer: Any):
    """None for layers that a matrix of one group does not describe."""
    if isinstance(layer, eqx.nn.Embedding | tne.TNEmbedding):
        return "embedding"
    if isinstance(layer, eqx.nn.Conv):
        zeros = layer.padding_mode.upper() == "ZEROS"
        return "conv" if layer.groups == 1 and zeros else None
    if isinstance(layer, tne.TNConv):
        return "conv"
    if isinstance(layer, eqx.nn.Linear):
        return "linear" if np.ndim(layer.weight) == 2 and layer.in_features != "scalar" else None
    return "linear"
