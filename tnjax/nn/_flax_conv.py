"""Dense convolutions of Flax as windows and matrices, channels first."""

import numpy as np
from flax import nnx

from ._conv import Window

# Paddings of nnx.Conv that are not zeros around the image.
UNPADDED = ("CIRCULAR", "CAUSAL", "REFLECT")


def window(conv: nnx.Conv) -> Window:
    """Kernel size, stride, padding and dilation of a dense convolution."""
    return Window(
        conv.kernel.get_value().shape[:-2],
        1 if conv.strides is None else conv.strides,
        conv.padding,
        1 if conv.kernel_dilation is None else conv.kernel_dilation,
    )


def kernel_matrix(conv: nnx.Conv) -> np.ndarray:
    """The kernel of a dense convolution as the matrix [out, in x prod(kernel)] of a layout."""
    return channels_first(np.asarray(conv.kernel.get_value()))


def channels_first(kernel: np.ndarray) -> np.ndarray:
    """[*kernel, in, out] -> [out, in x prod(kernel)]."""
    return np.moveaxis(kernel, (-1, -2), (0, 1)).reshape(kernel.shape[-1], -1)
