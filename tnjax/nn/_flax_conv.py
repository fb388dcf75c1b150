"""Dense convolutions of Flax as windows and matrices, channels first."""

from typing import Any

import numpy as np
from flax import nnx
from jax import lax

from ._conv import Window, per_axis

# Paddings of nnx.Conv that are not what lax calls by these names: what lies around the image, where
# zeros do not.
_AROUND = {"CIRCULAR": "circular", "REFLECT": "reflect"}


def refusal(conv: nnx.Conv) -> str | None:
    """Why no network replaces this convolution."""
    if conv.feature_group_count != 1:
        return f"feature_group_count={conv.feature_group_count}; only one group is represented."
    if conv.mask is not None:
        return "its kernel has a mask, which a network would not keep."
    if conv.conv_general_dilated is not lax.conv_general_dilated:
        return "it has a conv_general_dilated of its own."
    return None


def window(conv: nnx.Conv) -> Window:
    """Kernel size, stride, padding and dilation of a dense convolution."""
    size, dilation = conv.kernel_size, _one(conv.kernel_dilation)
    count = len(size)
    spread = [(k - 1) * d + 1 for k, d in zip(size, per_axis(dilation, count, "dilation"))]
    padding, mode = conv.padding, "zeros"
    if isinstance(padding, str) and padding.upper() in _AROUND:
        mode = _AROUND[padding.upper()]
        padding = [((k - 1) // 2, k // 2) for k in spread]
    elif isinstance(padding, str) and padding.upper() == "CAUSAL":
        padding = [(spread[0] - 1, 0)]
    return Window(size, _one(conv.strides), padding, dilation, mode, _one(conv.input_dilation))


def _one(value):
    return 1 if value is None else value


def kernel_matrix(conv: nnx.Conv) -> np.ndarray:
    """The kernel of a dense convolution as the matrix [*stack, out, in x prod(kernel)] of a
    layout."""
    return channels_first(np.asarray(conv.kernel.get_value()), len(conv.kernel_size))


def channels_first(kernel: Any, axes: int) -> np.ndarray:
    """[*stack, *kernel, in, out] -> [*stack, out, in x prod(kernel)]."""
    kernel = np.asarray(kernel)
    stack = kernel.ndim - axes - 2
    moved = np.moveaxis(kernel, (-1, -2), (stack, stack + 1))
    return moved.reshape(*moved.shape[: stack + 1], -1)
