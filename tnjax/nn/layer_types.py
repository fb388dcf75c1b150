"""Which types of layers a network can replace, and how: those of the frameworks, and a user's."""

import abc
from collections.abc import Mapping
from typing import Any

import numpy as np

from ._layers import Parts
from .model import Kind


class LayerAdapter(abc.ABC):
    """How layers of one type are replaced. `register_layer` makes it known.

    A subclass of a framework's layer is not taken for the layer itself: what it does beside would
    be lost. So a type of yours is left alone until it is registered.

    Attributes:
        kind: "linear", "conv" or "embedding".

    Example:
        >>> import equinox as eqx, jax, tnjax
        >>> from tnjax.nn import LayerAdapter, register_layer
        >>> from tnjax.nn.equinox import from_parts
        >>> class Scaled(eqx.Module):
        ...     inner: jax.Array
        ...     def __call__(self, x):
        ...         return 2 * self.inner @ x
        >>> class ScaledAdapter(LayerAdapter):
        ...     def matrix(self, layer):
        ...         return 2 * layer.inner
        ...     def replaced(self, layer, parts):
        ...         return from_parts(parts)
        >>> register_layer(Scaled, ScaledAdapter())
        >>> model = Scaled(jax.random.normal(jax.random.key(0), (6, 8)))
        >>> tnjax.compress(model, layers="*", budget=28).model.layout.num_params
        28
    """

    kind: Kind = "linear"

    def refusal(self, layer: Any) -> str | None:
        """Why this very layer cannot be replaced; None where it can."""
        return None

    @abc.abstractmethod
    def matrix(self, layer: Any) -> Any:
        """The dense weight [rows, columns], with leading axes for stacked layers."""

    def array(self, layer: Any) -> Any:
        """What holds the numbers of the weight: their type is looked at. The matrix by default."""
        return self.matrix(layer)

    def bias(self, layer: Any) -> Any:
        """The bias [rows], with the same leading axes, or None."""
        return None

    @abc.abstractmethod
    def replaced(self, layer: Any, parts: Parts) -> Any:
        """A new layer: a `TNLinear`, `TNConv`, `TNEmbedding` or a subclass of one.

        Args:
            layer: the one that it replaces, dense or a network.
            parts: layout, cores, the new bias, and how the layer computes.
        """


_REGISTERED: dict[type, LayerAdapter] = {}


def register_layer(kind: type, adapter: LayerAdapter) -> None:
    """Let `compress` replace layers of a type, which is matched exactly.

    Args:
        kind: the type.
        adapter: how its layers are replaced; in place of an older one.

    Raises:
        ValueError: if an argument is of another kind.

    Example:
        >>> import equinox as eqx, jax, tnjax
        >>> from tnjax.nn import LayerAdapter, register_layer
        >>> from tnjax.nn.equinox import from_parts
        >>> class Mine(eqx.nn.Linear):
        ...     "A subclass that does the same."
        >>> class MineAdapter(LayerAdapter):
        ...     def matrix(self, layer):
        ...         return layer.weight
        ...     def bias(self, layer):
        ...         return layer.bias
        ...     def replaced(self, layer, parts):
        ...         return from_parts(parts)
        >>> register_layer(Mine, MineAdapter())
        >>> model = Mine(8, 6, key=jax.random.key(0))
        >>> tnjax.compress(model, layers="*", budget=28).num_params
        28
    """
    if not isinstance(kind, type) or not isinstance(adapter, LayerAdapter):
        raise ValueError(
            f"register_layer: expected a type and a LayerAdapter, got {kind!r} and {adapter!r}."
        )
    _REGISTERED[kind] = adapter


def adapter_of(layer: Any, known: Mapping[type, LayerAdapter]) -> LayerAdapter | None:
    """The adapter of a layer's exact type: a registered one, or one of those given."""
    return _REGISTERED.get(type(layer)) or known.get(type(layer))


def refusal(layer: Any, adapter: LayerAdapter) -> str | None:
    """Why a layer cannot be replaced: its adapter's reason, or the numbers in it."""
    reason = adapter.refusal(layer)
    if reason is not None:
        return reason
    weight = adapter.array(layer)
    if not hasattr(weight, "dtype"):
        return f"its weight is no array but {type(weight).__name__} (shared by another layer?)."
    return refused_dtype(weight.dtype)


def refused_dtype(dtype: Any) -> str | None:
    """Why numbers of this type are not compressed."""
    if np.issubdtype(dtype, np.complexfloating):
        return "complex weights are not supported."
    if np.issubdtype(dtype, np.integer) or np.issubdtype(dtype, np.bool_):
        return f"its weight holds integers ({dtype}); dequantize it first."
    return None


def subclass_reason(layer: Any, base: type) -> str:
    """Why a subclass of a layer is left alone."""
    return (
        f"{type(layer).__name__} is a subclass of {base.__name__} and may do more; register it "
        "with tnjax.nn.register_layer."
    )
