"""Flax nnx models as named layers and arrays."""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import nnx

from . import _flax_conv
from . import flax as tnf
from ._conv import Window
from ._layers import FORWARD, Parts
from ._linear import Forward
from .model import Adapter, Build, Network, Slot

_TN = (tnf.TNLinear, tnf.TNConv, tnf.TNEmbedding)
_DENSE = (nnx.Linear, nnx.Conv, nnx.Embed)


class FlaxAdapter(Adapter):
    def slots(self, model: Any) -> dict[str, Slot]:
        found = {}
        for path, layer in nnx.iter_modules(model):
            if not path or not isinstance(layer, (*_TN, *_DENSE)) or not (kind := _kind(layer)):
                continue
            name = ".".join(map(str, path))
            bias = getattr(layer, "bias", None)
            found[name] = Slot(
                name,
                kind,
                _matrix(layer),
                None if bias is None else np.asarray(bias.get_value()),
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
        model = nnx.clone(model)
        for path, layer in list(nnx.iter_modules(model)):
            name = ".".join(map(str, path))
            if name not in networks:
                continue
            bias = getattr(layer, "bias", None)
            bias = biases.get(name, None if bias is None else bias.get_value())
            parts = Parts(
                _kind(layer) or "linear",
                *networks[name],
                bias,
                _window(layer),
                forward or FORWARD,
            )
            _set(model, path, tnf.from_parts(parts))
        return model

    def arrays(self, model: Any) -> tuple[dict[str, Any], Build]:
        graphdef, state = nnx.split(model)
        flat = dict(nnx.to_flat_state(state))
        names = {".".join(map(str, path)): path for path in flat}
        is_float = lambda leaf: jnp.issubdtype(jnp.asarray(leaf.get_value()).dtype, jnp.inexact)
        floats = {n: flat[p].get_value() for n, p in names.items() if is_float(flat[p])}
        others = {n: flat[p].get_value() for n, p in names.items() if n not in floats}
        kinds = tuple((name, path, type(flat[path])) for name, path in names.items())
        return floats, Build(kinds, others, graphdef, _merge)


def _merge(kinds, leaves, graphdef):
    flat = {path: kind(leaves[name]) for name, path, kind in kinds}
    return nnx.merge(graphdef, nnx.from_flat_state(flat))


def _window(layer: Any) -> Window | None:
    if isinstance(layer, tnf.TNConv):
        return layer.window
    return _flax_conv.window(layer) if isinstance(layer, nnx.Conv) else None


def _kind(layer: Any):
    """None for layers that a matrix of one group does not describe."""
    if isinstance(layer, nnx.Embed | tnf.TNEmbedding):
        return "embedding"
    if isinstance(layer, nnx.Conv):
        one = layer.feature_group_count == 1 and layer.padding not in _flax_conv.UNPADDED
        return "conv" if one else None
    return "conv" if isinstance(layer, tnf.TNConv) else "linear"


def _matrix(layer: Any) -> np.ndarray:
    if isinstance(layer, nnx.Embed):
        return np.asarray(layer.embedding.get_value())
    if isinstance(layer, nnx.Linear):
        return np.asarray(layer.kernel.get_value()).T
    if isinstance(layer, nnx.Conv):
        return _flax_conv.kernel_matrix(layer)
    weight = np.asarray(layer.weight)
    return _flax_conv.channels_first(weight) if isinstance(layer, tnf.TNConv) else weight


def _set(model: Any, path: tuple, new: Any) -> None:
    *above, last = path
    parent = model
    for part in above:
        parent = getattr(parent, part) if isinstance(part, str) else parent[part]
    if isinstance(last, str) and hasattr(parent, last):
        setattr(parent, last, new)
    else:
        parent[last] = new
