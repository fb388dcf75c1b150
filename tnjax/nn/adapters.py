"""The adapter of a model's framework. Flax is loaded only for models that are made of it."""

import sys
from typing import Any

from .model import Adapter


def adapter_for(model: Any) -> Adapter:
    """The adapter of a model's framework.

    Args:
        model: an Equinox module, a pytree that holds some, or a Flax nnx module.

    Returns:
        What lists the layers of such models, and puts networks in their place.

    Raises:
        ValueError: if it is none of them, or has no layer that a network can replace.

    Example:
        >>> import equinox as eqx, jax
        >>> from tnjax.nn import adapter_for
        >>> model = eqx.nn.MLP(4, 2, 8, 1, key=jax.random.key(0))
        >>> list(adapter_for(model).slots(model))
        ['layers.0', 'layers.1']
    """
    nnx = sys.modules.get("flax.nnx")  # there is no module of it before it is loaded
    if nnx is not None and isinstance(model, nnx.Module):
        from ._flax_model import FlaxAdapter

        return FlaxAdapter()
    from ._equinox_model import EquinoxAdapter, survey

    layers, refused = ({}, {}) if isinstance(model, type) else survey(model)
    if layers:
        return EquinoxAdapter()
    if refused:
        name, reason = next(iter(refused.items()))
        raise ValueError(
            f"compress: {type(model).__name__} has no layer that a network can replace; "
            f"{name or 'the model'!r}: {reason}"
        )
    raise ValueError(
        f"compress: expected an Equinox model or a Flax nnx module with linear, convolution or "
        f"embedding layers, got {type(model).__name__}."
    )
