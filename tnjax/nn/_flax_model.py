"""Flax nnx models as named layers and named arrays."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from ._flax_layers import DENSE, KNOWN, WRAPPERS
from ._layers import FORWARD, Parts
from ._linear import Forward
from .layer_types import LayerAdapter, adapter_of, refusal, refused_dtype, subclass_reason
from .model import Adapter, Build, Network, Slot, joined


@dataclasses.dataclass
class _Found:
    """Layers of a model by name, and what no network can replace with the reasons.

    Attributes:
        layers: the first layer of every weight, with how it is replaced.
        others: further layers of the same weight, by the first one's name.
        refused: reasons by name.
    """

    layers: dict[str, tuple[Any, LayerAdapter]] = dataclasses.field(default_factory=dict)
    others: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)
    refused: dict[str, str] = dataclasses.field(default_factory=dict)


class FlaxAdapter(Adapter):
    def slots(self, model: Any) -> dict[str, Slot]:
        found, slots = _survey(model), {}
        for name, (layer, adapter) in found.layers.items():
            bias = adapter.bias(layer)
            slots[name] = Slot(
                name,
                adapter.kind,
                np.asarray(adapter.matrix(layer)),
                None if bias is None else np.asarray(bias),
                getattr(layer, "layout", None),
                tuple(found.others.get(name, ())),
            )
        return slots

    def refused(self, model: Any) -> dict[str, str]:
        return _survey(model).refused

    def replaced(
        self,
        model: Any,
        networks: Mapping[str, Network],
        biases: Mapping[str, np.ndarray] | None = None,
        *,
        forward: Forward | None = None,
    ) -> Any:
        biases = biases or {}
        model = nnx.clone(model)
        found = _survey(model)
        for name, (layer, adapter) in found.layers.items():
            if name not in networks:
                continue
            first = _new(layer, adapter, networks[name], biases.get(name), forward)
            for other in found.others.get(name, {}).values():
                new = _new(other, adapter, networks[name], biases.get(name), forward)
                new.cores = first.cores
                _become(other, new)
            _become(layer, first)
        return model

    def arrays(self, model: Any) -> tuple[dict[str, Any], Build]:
        graphdef, state = nnx.split(model)
        flat = dict(nnx.to_flat_state(state))
        values = {joined(*path): _value(leaf) for path, leaf in flat.items()}
        is_float = lambda x: jnp.issubdtype(jnp.asarray(x).dtype, jnp.inexact)
        floats = {name: jnp.asarray(x) for name, x in values.items() if is_float(x)}
        others = {name: x for name, x in values.items() if name not in floats}
        names = tuple((joined(*path), path) for path in flat)
        return floats, Build(names, others, graphdef, _merge)

    def dense_weights(self, model: Any) -> dict[str, tuple[str, np.ndarray]]:
        found = {}
        for name, (layer, _) in _survey(model).layers.items():
            if hasattr(layer, "layout"):
                weight = "embedding" if hasattr(layer, "embedding") else "kernel"
                found[name] = weight, np.asarray(getattr(layer, weight).get_value())
        return found

    def materialized(self, model: Any) -> Any:
        graphdef, state = nnx.split(model)
        flat = {}
        for path, leaf in dict(nnx.to_flat_state(state)).items():
            value = _value(leaf)
            if isinstance(value, jax.ShapeDtypeStruct):
                value = _zeros(value, leaf)
                if value is None:
                    raise ValueError(
                        f"load_model: {joined(*path)!r} of the model is a shape without a value, "
                        "and is no number that the file holds. Pass a model with values."
                    )
            flat[path] = value
        return nnx.merge(graphdef, nnx.from_flat_state(flat))


def _zeros(shape: jax.ShapeDtypeStruct, leaf: Any) -> Any:
    """What stands in for a shape until the file's value comes; random streams begin at key 0."""
    if jnp.issubdtype(shape.dtype, jnp.inexact):
        return jnp.zeros(shape.shape, shape.dtype)
    if isinstance(leaf, nnx.RngKey) and not shape.shape:
        return jax.random.key(0)
    return jnp.zeros(shape.shape, shape.dtype) if isinstance(leaf, nnx.RngCount) else None


def _value(leaf: Any) -> Any:
    return leaf.get_value() if isinstance(leaf, nnx.Variable) else leaf


def _merge(names, leaves, graphdef):
    # Values without variables: types and metadata are in the definition.
    return nnx.merge(graphdef, nnx.from_flat_state({path: leaves[name] for name, path in names}))


def _survey(model: Any) -> _Found:
    """All layers, each at the first of its places; a weight of several layers at its first one."""
    modules = [(joined(*path), module) for path, module in nnx.iter_modules(model)]
    inside = {
        id(part): f"{name or 'the model'} is a {type(module).__name__}, which changes its weight."
        for name, module in modules
        if isinstance(module, WRAPPERS)
        for _, part in nnx.iter_modules(module)
        if part is not module
    }
    found = _Found()
    first: dict[int, str] = {}
    covered: set[int] = set()
    for name, module in modules:
        adapter = adapter_of(module, KNOWN)
        if adapter is None:
            base = next((base for base in DENSE if isinstance(module, base)), None)
            if base is not None:
                found.refused[name] = subclass_reason(module, base)
                covered |= _variables(module)
            continue
        covered |= _variables(module)
        reason = inside.get(id(module)) or refusal(module, adapter)
        if reason is not None:
            found.refused[name] = reason
            continue
        variable = getattr(adapter, "variable", lambda module: module)
        weight = id(variable(module))
        if weight not in first:
            first[weight] = name
            found.layers[name] = (module, adapter)
            continue
        owner, _ = found.layers.get(first[weight], (None, None))
        if type(owner) is type(module):
            found.others.setdefault(first[weight], {})[name] = module
        else:
            reason = f"its weight is shared with {first[weight]!r}, a layer of another kind."
            found.refused[name] = reason
            found.refused[first[weight]] = f"its weight is shared with {name!r}."
            found.layers.pop(first[weight], None)
    for path, leaf in nnx.iter_graph(model):
        if isinstance(leaf, nnx.Variable) and id(leaf) not in covered:
            value = leaf.get_value()
            if getattr(value, "ndim", 0) >= 2 and refused_dtype(value.dtype) is None:
                found.refused[joined(*path)] = "a matrix that belongs to no layer of a known type."
    return found


def _variables(module: Any) -> set[int]:
    return {id(leaf) for _, leaf in nnx.iter_graph(module) if isinstance(leaf, nnx.Variable)}


def _new(layer: Any, adapter: LayerAdapter, network: Network, bias: Any, forward: Any) -> Any:
    layout, cores = network
    bias = adapter.bias(layer) if bias is None else bias
    return adapter.replaced(
        layer, Parts(adapter.kind, layout, cores, bias, forward=forward or FORWARD)
    )


def _become(layer: Any, new: Any) -> None:
    """Make a module another one in place, so that all places that hold it have the new one."""
    layer.__class__ = type(new)
    vars(layer).clear()
    vars(layer).update(vars(new))
