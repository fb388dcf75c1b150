"""Tensor-network layers for Flax (nnx): drop-in replacements of `nnx.Linear`, `Conv`, `Embed`.

>>> from flax import nnx
>>> import jax.numpy as jnp
>>> from tnjax.nn import tt_matrix
>>> from tnjax.nn.flax import TNLinear
>>> layer = TNLinear(tt_matrix((4, 8), (4, 8), 3), rngs=nnx.Rngs(0))
>>> layer(jnp.ones((5, 32), "float32")).shape
(5, 32)
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Inexact, Integer

from . import _conv, _flax_conv, _linear
from ._layers import Parts, parameters
from ._layout import Layout
from ._linear import Forward, Mode, Scheme
from ._project import project

# Of an entry of the weight, in units of 1 / fan-in: nnx.Linear and Conv draw from LeCun's normal.
_LECUN_VARIANCE = 1.0

# The constructors take more than eight arguments, since they have the names of Flax's own: a layer
# is replaced by changing the first arguments and leaving the others.


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

    Example:
        >>> from flax import nnx
        >>> from tnjax.nn import low_rank
        >>> from tnjax.nn.flax import TNLinear
        >>> dense = nnx.Linear(8, 6, rngs=nnx.Rngs(0))
        >>> TNLinear.from_dense(dense, low_rank(6, 8, 2))(jnp.ones((5, 8), "float32")).shape
        (5, 6)
    """

    def __init__(
        self,
        layout: Layout,
        *,
        use_bias: bool = True,
        param_dtype: Any = jnp.float32,
        mode: Mode = "auto",
        checkpoint: bool = False,
        scheme: Scheme = "even",
        cores: Sequence[Any] | None = None,
        bias: Any = None,
        rngs: nnx.Rngs | None = None,
    ):
        own_cores, own_bias = _params(
            layout,
            cores,
            bias,
            use_bias=use_bias,
            rngs=rngs,
            variance=_LECUN_VARIANCE / layout.columns,
            dtype=param_dtype,
            scheme=scheme,
        )
        self.cores: nnx.List[nnx.Param[Array]] = own_cores
        self.bias: nnx.Param[Array] | None = own_bias
        self.layout: Layout = layout
        self.checkpoint: bool = checkpoint
        self.mode: Mode = mode

    @classmethod
    def from_dense(cls, linear: nnx.Linear, layout: Layout, **options: Any) -> "TNLinear":
        """The best approximation of a dense layer that `tnjax.nn.project` finds; bias kept."""
        found = project(layout, np.asarray(linear.kernel.get_value()).T)
        return cls(layout, cores=found.cores, bias=_value(linear.bias), **options)

    @property
    def weight(self) -> Inexact[Array, "outputs inputs"]:
        """The dense weight, rebuilt."""
        return _linear.weight(self.layout, _values(self.cores))

    @property
    def parts(self) -> Parts:
        """The layer apart from its framework."""
        cores, bias = _values(self.cores), _value(self.bias)
        forward = Forward(self.mode, self.checkpoint)
        return Parts("linear", self.layout, cores, bias, forward=forward)

    def __call__(self, x: Inexact[Array, "*batch inputs"]) -> Inexact[Array, "*batch outputs"]:
        out = _linear.apply(
            self.layout, _values(self.cores), x, mode=self.mode, checkpoint=self.checkpoint
        )
        return _linear.with_bias(out, _value(self.bias))


class TNConv(nnx.Module):
    """A convolution, channels last as in `nnx.Conv`; its kernel is a tensor network of out rows by
    in x prod(kernel_size) columns (channels first among the columns).

    Args:
        layout: of the kernel as a matrix.
        kernel_size: one integer for each spatial axis.
        stride, dilation: one integer, or one for each spatial axis.
        padding: "SAME", "VALID", one integer, or one integer or pair for each axis.
        use_bias, param_dtype, mode, checkpoint, scheme, cores, bias, rngs: as of `TNLinear`.

    Raises:
        ValueError: if the columns are not a multiple of the kernel's size.

    Example:
        >>> from flax import nnx
        >>> from tnjax.nn import low_rank
        >>> from tnjax.nn.flax import TNConv
        >>> layer = TNConv(low_rank(8, 27, 4), (3, 3), padding="SAME", rngs=nnx.Rngs(0))
        >>> layer(jnp.ones((2, 5, 5, 3), "float32")).shape
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
        scheme: Scheme = "even",
        cores: Sequence[Any] | None = None,
        bias: Any = None,
        rngs: nnx.Rngs | None = None,
    ):
        window = _conv.Window(kernel_size, stride, padding, dilation)
        window.channels(layout)  # raises if there is no such number
        own_cores, own_bias = _params(
            layout,
            cores,
            bias,
            use_bias=use_bias,
            rngs=rngs,
            variance=_LECUN_VARIANCE / layout.columns,
            dtype=param_dtype,
            scheme=scheme,
        )
        self.cores: nnx.List[nnx.Param[Array]] = own_cores
        self.bias: nnx.Param[Array] | None = own_bias
        self.kernel_size: Any = window.kernel_size
        self.stride: Any = window.stride
        self.padding: Any = window.padding
        self.dilation: Any = window.dilation
        self.layout: Layout = layout
        self.checkpoint: bool = checkpoint
        self.mode: Mode = mode

    @classmethod
    def from_dense(cls, conv: nnx.Conv, layout: Layout, **options: Any) -> "TNConv":
        """The best approximation of a dense convolution that `tnjax.nn.project` finds.

        Raises:
            ValueError: for more than one group, or a circular or causal padding.
        """
        if conv.feature_group_count != 1 or conv.padding in _flax_conv.UNPADDED:
            raise ValueError(
                f"TNConv: feature_group_count={conv.feature_group_count}, padding="
                f"{conv.padding!r}; only one group and zero padding are represented."
            )
        found = project(layout, _flax_conv.kernel_matrix(conv))
        return cls(
            layout,
            **dataclasses.asdict(_flax_conv.window(conv)),
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

    @property
    def window(self) -> _conv.Window:
        """Kernel size, stride, padding and dilation."""
        return _conv.Window(self.kernel_size, self.stride, self.padding, self.dilation)

    @property
    def parts(self) -> Parts:
        """The layer apart from its framework."""
        cores, bias = _values(self.cores), _value(self.bias)
        forward = Forward(self.mode, self.checkpoint)
        return Parts("conv", self.layout, cores, bias, self.window, forward)

    def __call__(self, x: Inexact[Array, "*batch space channels"]) -> Array:
        count = len(self.kernel_size)
        batch, space = x.shape[: -count - 1], x.shape[-count - 1 :]
        first = jnp.moveaxis(x.reshape(math.prod(batch), *space), -1, 1)
        out = _conv.convolve(
            self.layout,
            _values(self.cores),
            first,
            self.window,
            mode=self.mode,
            checkpoint=self.checkpoint,
        )
        out = jnp.moveaxis(out, 1, -1)
        out = out.reshape(*batch, *out.shape[1:])
        return _linear.with_bias(out, _value(self.bias))


class TNEmbedding(nnx.Module):
    """A table [entries, size] that is a tensor network; single rows cost no table.

    Args:
        layout: of the table as a matrix.
        param_dtype, scheme, cores, rngs: as of `TNLinear`.

    Raises:
        ValueError: if neither rngs nor cores are given, or cores do not have the layout's shapes.

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
        scheme: Scheme = "even",
        cores: Sequence[Any] | None = None,
        rngs: nnx.Rngs | None = None,
    ):
        # nnx.Embed draws from variance scaling with the size as fan-in's counterpart.
        own_cores, _ = _params(
            layout,
            cores,
            rngs=rngs,
            variance=1 / layout.columns,
            dtype=param_dtype,
            scheme=scheme,
        )
        self.cores: nnx.List[nnx.Param[Array]] = own_cores
        self.layout: Layout = layout

    @classmethod
    def from_dense(cls, table: nnx.Embed, layout: Layout) -> "TNEmbedding":
        """The best approximation of a dense table that `tnjax.nn.project` finds."""
        found = project(layout, np.asarray(table.embedding.get_value()))
        return cls(layout, cores=found.cores)

    @property
    def weight(self) -> Inexact[Array, "entries size"]:
        """The dense table, rebuilt."""
        return _linear.weight(self.layout, _values(self.cores))

    @property
    def parts(self) -> Parts:
        """The layer apart from its framework."""
        return Parts("embedding", self.layout, _values(self.cores))

    def __call__(self, index: Integer[Array, "*batch"]) -> Inexact[Array, "*batch size"]:
        return _linear.rows(self.layout, _values(self.cores), jnp.asarray(index))


Layer = TNLinear | TNConv | TNEmbedding


def from_parts(parts: Parts) -> Layer:
    """The Flax layer of given parts.

    Args:
        parts: such as `TNLinear.parts` of either framework.

    Returns:
        A layer with the same weight.

    Raises:
        ValueError: if the cores or the bias do not have the layout's shapes.

    Example:
        >>> from flax import nnx
        >>> from tnjax.nn import low_rank
        >>> from tnjax.nn.flax import TNLinear, from_parts
        >>> layer = TNLinear(low_rank(3, 4, 2), rngs=nnx.Rngs(0))
        >>> bool((from_parts(layer.parts).weight == layer.weight).all())
        True
    """
    if parts.kind == "embedding":
        return TNEmbedding(parts.layout, cores=parts.cores)
    if parts.window is None:
        return TNLinear(parts.layout, **parts.given())
    return TNConv(parts.layout, **dataclasses.asdict(parts.window), **parts.given())


def from_equinox(layer: Any) -> Layer:
    """The Flax layer with the cores of a layer of `tnjax.nn.equinox`; outputs are the same (a
    convolution takes channels last here, first there).

    Args:
        layer: a `TNLinear`, `TNConv` or `TNEmbedding` of `tnjax.nn.equinox`.

    Returns:
        The layer of the same name in this module.

    Raises:
        AttributeError: if it is another layer.

    Example:
        >>> import jax
        >>> from tnjax.nn import equinox, low_rank
        >>> from tnjax.nn.flax import from_equinox
        >>> there = equinox.TNLinear(low_rank(3, 4, 2), key=jax.random.key(0))
        >>> x = jnp.ones(4, "float32")
        >>> bool(jnp.allclose(from_equinox(there)(x), there(x)))
        True
    """
    return from_parts(layer.parts)


def _params(layout: Layout, cores, bias=None, *, rngs, **start):
    """The parameters of a new layer as Flax holds them."""
    if cores is None and rngs is None:
        raise ValueError("A layer needs `rngs=nnx.Rngs(seed)`, or `cores`.")
    key = None if rngs is None else rngs.params()
    arrays, bias = parameters(layout, cores, bias, key=key, **start)
    return (
        nnx.List([nnx.Param(core) for core in arrays]),
        None if bias is None else nnx.Param(bias),
    )


def _value(param) -> Array | None:
    return None if param is None else param.get_value()


def _values(cores) -> tuple[Array, ...]:
    return tuple(core.get_value() for core in cores)
