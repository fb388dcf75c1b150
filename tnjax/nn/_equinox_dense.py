"""What dense layers of Equinox are, in the terms of ours."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array

from ._conv import Window


def scalar_ends(linear: Any) -> tuple[bool, bool]:
    """Whether inputs, and whether outputs, of a linear layer are numbers of shape ()."""
    return linear.in_features == "scalar", linear.out_features == "scalar"


def window(conv: eqx.nn.Conv) -> Window:
    """Kernel size, stride, padding and dilation of a dense convolution."""
    padding = conv.padding if isinstance(conv.padding, str) else tuple(conv.padding)
    return Window(conv.kernel_size, conv.stride, padding, conv.dilation, conv.padding_mode)


def flat_bias(bias: Any, axes: int) -> Array:
    """The bias of a convolution, [*stack, rows], without axes of the image."""
    bias = jnp.asarray(bias)
    if bias.ndim > axes and bias.shape[bias.ndim - axes :] == (1,) * axes:
        return bias.reshape(bias.shape[: bias.ndim - axes])
    return bias
