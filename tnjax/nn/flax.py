"""Tensor-network layers for Flax (nnx): drop-in replacements of `nnx.Linear`, `Conv`, `Embed`.

>>> from flax import nnx
>>> import jax.numpy as jnp
>>> from tnjax.nn import tt_matrix
>>> from tnjax.nn.flax import TNLinear
>>> layer = TNLinear(tt_matrix((4, 8), (4, 8), 3), rngs=nnx.Rngs(0))
>>> layer(jnp.ones((5, 32))).shape
(5, 32)
"""

import math
from collections.abc import Sequence
from typing import Any, Literal

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Inexact, Integer

from . import _conv, _linear
from . import equinox as _equinox
from ._layout import Layout
from ._linear import Mode
from ._project import project

# Of an entry of the weight, in units of 1 / fan-in: nnx.Linear and Conv draw from LeCun's normal.
_LECUN_VARIANCE = 1.0


class TNLinear(nnx.Module):
    """y = W x + b with W a tensor network of `layout.rows` outputs by `layout.columns` inputs.

    Drawn at random, its outputs have the variance of `nnx.Linear`'s: 1 for inputs of unit mean
    square. The weight is [outputs, inputs], the transpose of `nnx.Linear`'s kernel.

    Args:
        layout: of W.
        use_bias: add a bias, zeros at first.
        param_dtype: of the parameters.
        mode, checkpoint, scheme, cores, bias: as in `tnjax.nn.equinox.TNLinear`.
        rngs: its stream `params` draws the cores; not needed where cores are given.

    Raises:
        ValueError: if neither rngs nor cores are given, or cores do not have the layout's shapes.
    """

    def __init__(
        self,
        layout: Layout,
        *,
        use_bias: bool = True,
        param_dtype: Any = jnp.float32,
        mode: Mode = "auto",
        checkpoint: bool = False,
        scheme: Literal["even", "fan"] = "even",
        cores: Sequence[Any] | None = None,
        bias: Any = None,
        rngs: nnx.Rngs | None = None,
    ):
        variance = _LECUN_VARIANCE / layout.columns
        self.cores = _params(layout, cores, rngs, variance, param_dtype, scheme)
        self.bias = _bias(layout.rows, bias, use_bias and cores is None, param_dtype)
        self.layout, self.checkpoint = layout, checkpoint
        self.mode: Mode = mode

    @classmethod
    def from_dense(cls, linear: nnx.Linear, layout: Layout, **options) -> "TNLinear":
        """The best approximation of a dense layer that `tnjax.nn.project` finds; bias kept."""
        found = project(layout, np.asarray(linear.kernel.get_value()).T)
        return cls(layout, cores=found.cores, bias=_value(linear.bias), **options)

    @property
    def weight(self) -> Inexact[Array, "outputs inputs"]:
        """The dense weight, rebuilt."""
        return _linear.weight(self.layout, _values(self.cores))

    def __call__(self, x: Inexact[Array, "*batch inputs"]) -> Inexact[Array, "*batch outputs"]:
        out = _linear.apply(
            self.layout, _values(self.cores), x, mode=self.mode, checkpoint=self.checkpoint
        )
        return out if self.bias is None else out + self.bias.get_value()


class TNConv(nnx.Module):
    """A convolution, channels last as in `nnx.Conv`; its kernel is a tensor network of out rows by
    in x prod(kernel_size) columns (channels first among the columns).

    Raises:
        ValueError: if the columns are not a multiple of the kernel's size.

    Example:
        >>> from flax import nnx
        >>> from tnjax.nn import low_rank
        >>> from tnjax.nn.flax import TNConv
        >>> layer = TNConv(low_rank(8, 27, 4), (3, 3), padding="SAME", rngs=nnx.Rngs(0))
        >>> layer(jnp.ones((2, 5, 5, 3))).shape
        (2, 5, 5, 8)
    """

    def __init__(
        self,
        layout: Layout,
        kernel_size: Sequence[int],
        *,
        stride: int | Sequence[int] = 1,
        padding: _conv.Padding = "SAME",
        dilation: int | Sequence[int] = 1,
        use_bias: bool = True,
        param_dtype: Any = jnp.float32,
        mode: Mode = "auto",
        checkpoint: bool = False,
        scheme: Literal["even", "fan"] = "even",
        cores: Sequence[Any] | None = None,
        bias: Any = None,
        rngs: nnx.Rngs | None = None,
    ):
        self.kernel_size = tuple(kernel_size)
        count = len(self.kernel_size)
        _equinox.check_window(layout, self.kernel_size)
        variance = _LECUN_VARIANCE / layout.columns
        self.cores = _params(layout, cores, rngs, variance, param_dtype, scheme)
        self.bias = _bias(layout.rows, bias, use_bias and cores is None, param_dtype)
        self.stride = _conv.per_axis(stride, count, "stride")
        self.dilation = _conv.per_axis(dilation, count, "dilation")
        self.padding = _conv.as_padding(padding, count)
        self.layout, self.checkpoint = layout, checkpoint
        self.mode: Mode = mode

    @classmethod
    def from_dense(cls, conv: nnx.Conv, layout: Layout, **options) -> "TNConv":
        """The best approximation of a dense convolution that `tnjax.nn.project` finds.

        Raises:
            ValueError: for more than one group, or a circular or causal padding.
        """
        if conv.feature_group_count != 1 or conv.padding in UNPADDED:
            raise ValueError(
                f"TNConv: feature_group_count={conv.feature_group_count}, padding="
                f"{conv.padding!r}; only one group and zero padding are represented."
            )
        found = project(layout, kernel_matrix(conv))
        return cls(
            layout,
            kernel_size(conv),
            stride=1 if conv.strides is None else conv.strides,
            padding=conv.padding,
            dilation=1 if conv.kernel_dilation is None else conv.kernel_dilation,
            cores=found.cores,
            bias=_value(conv.bias),
            **options,
        )

    @property
    def weight(self) -> Inexact[Array, "*kernel in out"]:
        """The dense kernel, rebuilt, with axes as `nnx.Conv` has them."""
        flat = _linear.weight(self.layout, _values(self.cores))
        kernel = flat.reshape(self.layout.rows, -1, *self.kernel_size)
        return jnp.moveaxis(kernel, (0, 1), (-1, -2))

    def __call__(self, x: Inexact[Array, "*batch space channels"]) -> Array:
        count = len(self.kernel_size)
        batch, space = x.shape[: -count - 1], x.shape[-count - 1 :]
        first = jnp.moveaxis(x.reshape(math.prod(batch), *space), -1, 1)
        out = _conv.convolve(
            self.layout,
            _values(self.cores),
            first,
            kernel_size=self.kernel_size,
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
            mode=self.mode,
            checkpoint=self.checkpoint,
        )
        out = jnp.moveaxis(out, 1, -1)
        out = out.reshape(*batch, *out.shape[1:])
        return out if self.bias is None else out + self.bias.get_value()


class TNEmbedding(nnx.Module):
    """A table [entries, size] that is a tensor network; single rows cost no table.

    Example:
        >>> from flax import nnx
        >>> from tnjax.nn import tt_matrix
        >>> from tnjax.nn.flax import TNEmbedding
        >>> table = TNEmbedding(tt_matrix((10, 10), (4, 4), 3), rngs=nnx.Rngs(0))
        >>> table(jnp.array([0, 99])).shape
        (2, 16)
    """

    def __init__(
        self,
        layout: Layout,
        *,
        param_dtype: Any = jnp.float32,
        scheme: Literal["even", "fan"] = "even",
        cores: Sequence[Any] | None = None,
        rngs: nnx.Rngs | None = None,
    ):
        # nnx.Embed draws from variance scaling with the size as fan-in's counterpart.
        self.cores = _params(layout, cores, rngs, 1 / layout.columns, param_dtype, scheme)
        self.layout = layout

    @classmethod
    def from_dense(cls, table: nnx.Embed, layout: Layout) -> "TNEmbedding":
        """The best approximation of a dense table that `tnjax.nn.project` finds."""
        found = project(layout, np.asarray(table.embedding.get_value()))
        return cls(layout, cores=found.cores)

    @property
    def weight(self) -> Inexact[Array, "entries size"]:
        """The dense table, rebuilt."""
        return _linear.weight(self.layout, _values(self.cores))

    def __call__(self, index: Integer[Array, "*batch"]) -> Inexact[Array, "*batch size"]:
        return _linear.rows(self.layout, _values(self.cores), jnp.asarray(index))


Layer = TNLinear | TNConv | TNEmbedding

# Paddings of nnx.Conv that are not zeros around the image.
UNPADDED = ("CIRCULAR", "CAUSAL", "REFLECT")


def kernel_size(conv: nnx.Conv) -> tuple[int, ...]:
    """Sizes of the window of a dense convolution."""
    return tuple(conv.kernel.get_value().shape[:-2])


def kernel_matrix(conv: nnx.Conv) -> np.ndarray:
    """The kernel of a dense convolution as the matrix [out, in x prod(kernel)] of a layout."""
    return channels_first(np.asarray(conv.kernel.get_value()))


def channels_first(kernel: np.ndarray) -> np.ndarray:
    """[*kernel, in, out] -> [out, in x prod(kernel)]."""
    return np.moveaxis(kernel, (-1, -2), (0, 1)).reshape(kernel.shape[-1], -1)


def from_equinox(layer: "_equinox.Layer") -> Layer:
    """The Flax layer with the cores of a layer of `tnjax.nn.equinox`; outputs are the same (a
    convolution takes channels last here, first there)."""
    if isinstance(layer, _equinox.TNEmbedding):
        return TNEmbedding(layer.layout, cores=layer.cores)
    shared = {
        "cores": layer.cores,
        "bias": layer.bias,
        "mode": layer.mode,
        "checkpoint": layer.checkpoint,
    }
    if isinstance(layer, _equinox.TNConv):
        return TNConv(
            layer.layout,
            layer.kernel_size,
            stride=layer.stride,
            padding=layer.padding,
            dilation=layer.dilation,
            **shared,
        )
    return TNLinear(layer.layout, **shared)


def _params(layout: Layout, cores, rngs, variance: float, dtype, scheme):
    key = None if rngs is None else rngs.params()
    if cores is None and key is None:
        raise ValueError("A layer needs `rngs=nnx.Rngs(seed)`, or `cores`.")
    arrays = _equinox.as_cores(layout, cores, key, variance, dtype, scheme)
    return nnx.List([nnx.Param(core) for core in arrays])


def _bias(size: int, bias, use_bias: bool, dtype) -> nnx.Param | None:
    array = _equinox.as_bias(size, bias, use_bias, dtype)
    return None if array is None else nnx.Param(array)


def _value(param) -> Array | None:
    return None if param is None else param.get_value()


def _values(cores) -> tuple[Array, ...]:
    return tuple(core.get_value() for core in cores)
