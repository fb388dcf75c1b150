"""Equinox models as named layers and arrays."""

from collections.abc import Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ._equinox_layers import DENSE, KNOWN, WRAPPERS
from ._layers import FORWARD, Parts
from ._linear import Forward
from .layer_types import LayerAdapter, adapter_of, refusal, refused_dtype, subclass_reason
from .model import Adapter, Build, Network, Slot, joined


def _name(path) -> str:
    return joined(*(jax.tree_util.keystr((key,), simple=True) for key in path))


class EquinoxAdapter(Adapter):
    def slots(self, model: Any) -> dict[str, Slot]:
        found = {}
        for name, (layer, adapter) in survey(model)[0].items():
            bias = adapter.bias(layer)
            found[name] = Slot(
                name,
                adapter.kind,
                np.asarray(adapter.matrix(layer)),
                None if bias is None else np.asarray(bias),
                getattr(layer, "layout", None),
            )
        return found

    def refused(self, model: Any) -> dict[str, str]:
        return survey(model)[1]

    def replaced(
        self,
        model: Any,
        networks: Mapping[str, Network],
        biases: Mapping[str, Any] | None = None,
        *,
        forward: Forward | None = None,
    ) -> Any:
        biases, known = biases or {}, survey(model)[0]

        def new(path, layer):
            name = _name(path)
            if name not in networks or name not in known:
                return layer
            layout, cores = networks[name]
            _, adapter = known[name]
            bias = biases.get(name)
            bias = adapter.bias(layer) if bias is None else bias
            parts = Parts(adapter.kind, layout, cores, bias, forward=forward or FORWARD)
            return adapter.replaced(layer, parts)

        return jax.tree_util.tree_map_with_path(new, model, is_leaf=_stops)

    def arrays(self, model: Any) -> tuple[dict[str, Any], Build]:
        flat, treedef = jax.tree_util.tree_flatten_with_path(model)
        floats = {_name(path): jnp.asarray(x) for path, x in flat if eqx.is_inexact_array(x)}
        others = {_name(path): x for path, x in flat if not eqx.is_inexact_array(x)}
        return floats, Build(tuple(_name(path) for path, _ in flat), others, treedef, _unflatten)

    def dense_weights(self, model: Any) -> dict[str, tuple[str, np.ndarray]]:
        layers = {name: layer for name, (layer, _) in survey(model)[0].items()}
        found = {name: layer for name, layer in layers.items() if hasattr(layer, "layout")}
        return {name: ("weight", np.asarray(layer.weight)) for name, layer in found.items()}

    def materialized(self, model: Any) -> Any:
        def filled(path, x):
            if not isinstance(x, jax.ShapeDtypeStruct):
                return x
            if not jnp.issubdtype(x.dtype, jnp.inexact):
                raise ValueError(
                    f"load_model: {_name(path)!r} of the model is a shape without a value, and is "
                    "no number that the file holds. Pass a model with values."
                )
            return jnp.zeros(x.shape, x.dtype)

        return jax.tree_util.tree_map_with_path(filled, model)


def _unflatten(names, leaves, treedef):
    return jax.tree_util.tree_unflatten(treedef, [leaves[name] for name in names])


def _stops(node: Any) -> bool:
    return adapter_of(node, KNOWN) is not None or isinstance(node, (*DENSE, *WRAPPERS))


def survey(model: Any) -> tuple[dict[str, tuple[Any, LayerAdapter]], dict[str, str]]:
    """Layers with how they are replaced, and what no network can replace with the reasons."""
    layers: dict[str, tuple[Any, LayerAdapter]] = {}
    refused: dict[str, str] = {}
    for path, node in jax.tree_util.tree_leaves_with_path(model, is_leaf=_stops):
        name, adapter = _name(path), adapter_of(node, KNOWN)
        if adapter is not None:
            reason = refusal(node, adapter)
            if reason is None:
                layers[name] = (node, adapter)
            else:
                refused[name] = reason
        elif isinstance(node, WRAPPERS):
            kind = type(node).__name__
            refused[name] = f"{kind} changes the weight of the layer inside of it."
        elif base := next((base for base in DENSE if isinstance(node, base)), None):
            refused[name] = subclass_reason(node, base)
        elif eqx.is_inexact_array(node) and node.ndim >= 2 and not refused_dtype(node.dtype):
            refused[name] = "a matrix that belongs to no layer of a known type."
    return layers, refused
