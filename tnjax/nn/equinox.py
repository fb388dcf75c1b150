"""Tensor-network layers for Equinox: drop-in replacements of `eqx.nn.Linear`, `Conv`, `Embedding`.

>>> import equinox as eqx, jax
>>> from tnjax.nn import tt_matrix
>>> from tnjax.nn.equinox import TNLinear
>>> layer = TNLinear(tt_matrix((4, 8), (4, 8), 3), key=jax.random.key(0))
>>> layer(jax.numpy.ones(32)).shape
(32,)
"""

import math
from collections.abc import Sequence
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Inexact, Integer, PRNGKeyArray

from . import _conv, _linear
from ._layout import Layout
from ._linear import Mode
from ._project import project

# Of an entry of the weight, in units of 1 / fan-in: eqx.nn.Linear and Conv draw from
# U(-1, 1) / sqrt(fan-in), eqx.nn.Embedding from N(0, 1).
_UNIFORM_VARIANCE = 1 / 3


class TNLinear(eqx.Module):
    r"""y = W x + b with W a tensor network.

    Drawn at random, its outputs have the variance of `eqx.nn.Linear`'s: 1/3 for inputs of unit
    mean square.

    Args:
        layout: of W [outputs, inputs]: a named one such as `tnjax.nn.tt_matrix`, or any `Layout`.
        use_bias: add a bias, zeros at first.
        dtype: of the parameters.
        key: for the cores.
        mode: of the forward pass: "input", "weight", or "auto" by forecast.
        checkpoint: recompute intermediates in the backward pass instead of keeping them.
        scheme: of the random start, as in `tnjax.nn.init_cores`.
        cores, bias: given arrays instead of random ones (`key` is not needed then).

    Raises:
        ValueError: if neither a key nor cores are given, or cores do not have the layout's shapes.
    """

    cores: tuple[Array, ...]
    bias: Array | None
    layout: Layout = eqx.field(static=True)
    mode: Mode = eqx.field(static=True)
    checkpoint: bool = eqx.field(static=True)

    def __init__(
        self,
        layout: Layout,
        *,
        key: PRNGKeyArray | None = None,
        use_bias: bool = True,
        dtype: Any = jnp.float32,
        mode: Mode = "auto",
        checkpoint: bool = False,
        scheme: Literal["even", "fan"] = "even",
        cores: Sequence[Any] | None = None,
        bias: Any = None,
    ):
        variance = _UNIFORM_VARIANCE / layout.columns
        self.cores = as_cores(layout, cores, key, variance, dtype, scheme)
        self.bias = as_bias(layout.rows, bias, use_bias and cores is None, self.cores[0].dtype)
        self.layout, self.mode, self.checkpoint = layout, mode, checkpoint

    @classmethod
    def from_dense(cls, linear: "eqx.nn.Linear", layout: Layout, **options) -> "TNLinear":
        """The best approximation of a dense layer that `tnjax.nn.project` finds; bias kept."""
        found = project(layout, np.asarray(linear.weight))
        return cls(layout, cores=found.cores, bias=linear.bias, **options)

    def to_dense(self) -> "eqx.nn.Linear":
        """The dense layer of the rebuilt weight."""
        return dense_linear(self.weight, self.bias)

    @property
    def weight(self) -> Inexact[Array, "outputs inputs"]:
        """The dense weight, rebuilt."""
        return _linear.weight(self.layout, self.cores)

    @property
    def in_features(self) -> int:
        return self.layout.columns

    @property
    def out_features(self) -> int:
        return self.layout.rows

    def __call__(
        self, x: Inexact[Array, "*batch inputs"], *, key: PRNGKeyArray | None = None
    ) -> Inexact[Array, "*batch outputs"]:
        """A vector, or a batch of them with leading axes (cheaper than `vmap` of vectors: the
        forecast then sees the batch)."""
        out = _linear.apply(self.layout, self.cores, x, mode=self.mode, checkpoint=self.checkpoint)
        return out if self.bias is None else out + self.bias


class TNConv(eqx.Module):
    """A convolution whose kernel [out, in, *kernel_size] is a tensor network of `layout.rows` = out
    by `layout.columns` = in x prod(kernel_size).

    Args:
        layout: of the kernel as a matrix.
        kernel_size: one integer for each spatial axis.
        stride, dilation: one integer, or one for each spatial axis.
        padding: "SAME", "VALID", one integer, or one integer or pair for each axis.
        others: as for `TNLinear`.

    Raises:
        ValueError: if the columns are not a multiple of the kernel's size.

    Example:
        >>> import jax
        >>> from tnjax.nn import low_rank
        >>> from tnjax.nn.equinox import TNConv
        >>> layer = TNConv(low_rank(8, 27, 4), (3, 3), padding=1, key=jax.random.key(0))
        >>> layer(jax.numpy.ones((3, 5, 5))).shape
        (8, 5, 5)
    """

    cores: tuple[Array, ...]
    bias: Array | None
    layout: Layout = eqx.field(static=True)
    kernel_size: tuple[int, ...] = eqx.field(static=True)
    stride: tuple[int, ...] = eqx.field(static=True)
    padding: Any = eqx.field(static=True)
    dilation: tuple[int, ...] = eqx.field(static=True)
    mode: Mode = eqx.field(static=True)
    checkpoint: bool = eqx.field(static=True)

    def __init__(
        self,
        layout: Layout,
        kernel_size: Sequence[int],
        *,
        stride: int | Sequence[int] = 1,
        padding: _conv.Padding = 0,
        dilation: int | Sequence[int] = 1,
        key: PRNGKeyArray | None = None,
        use_bias: bool = True,
        dtype: Any = jnp.float32,
        mode: Mode = "auto",
        checkpoint: bool = False,
        scheme: Literal["even", "fan"] = "even",
        cores: Sequence[Any] | None = None,
        bias: Any = None,
    ):
        self.kernel_size = tuple(kernel_size)
        count = len(self.kernel_size)
        check_window(layout, self.kernel_size)
        variance = _UNIFORM_VARIANCE / layout.columns
        self.cores = as_cores(layout, cores, key, variance, dtype, scheme)
        flat = None if bias is None else jnp.asarray(bias).reshape(-1)
        self.bias = as_bias(layout.rows, flat, use_bias and cores is None, self.cores[0].dtype)
        self.stride = _conv.per_axis(stride, count, "stride")
        self.dilation = _conv.per_axis(dilation, count, "dilation")
        self.padding = _conv.as_padding(padding, count)
        self.layout, self.mode, self.checkpoint = layout, mode, checkpoint

    @classmethod
    def from_dense(cls, conv: "eqx.nn.Conv", layout: Layout, **options) -> "TNConv":
        """The best approximation of a dense convolution that `tnjax.nn.project` finds.

        Raises:
            ValueError: for more than one group, or a padding mode other than zeros.
        """
        if conv.groups != 1 or conv.padding_mode.upper() != "ZEROS":
            raise ValueError(
                f"TNConv: groups={conv.groups} and padding_mode={conv.padding_mode!r}; only one "
                "group and zero padding are represented."
            )
        kernel = np.asarray(conv.weight)
        found = project(layout, kernel.reshape(len(kernel), -1))
        padding = conv.padding if isinstance(conv.padding, str) else tuple(conv.padding)
        return cls(
            layout,
            conv.kernel_size,
            stride=conv.stride,
            padding=padding,
            dilation=conv.dilation,
            cores=found.cores,
            bias=conv.bias,
            **options,
        )

    @property
    def weight(self) -> Inexact[Array, "out in *kernel"]:
        """The dense kernel, rebuilt."""
        flat = _linear.weight(self.layout, self.cores)
        return flat.reshape(self.layout.rows, -1, *self.kernel_size)

    def __call__(
        self, x: Inexact[Array, "channels *space"], *, key: PRNGKeyArray | None = None
    ) -> Inexact[Array, "out *new_space"]:
        """One image, channels first, as `eqx.nn.Conv` takes it."""
        out = _conv.convolve(
            self.layout,
            self.cores,
            x[None],
            kernel_size=self.kernel_size,
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
            mode=self.mode,
            checkpoint=self.checkpoint,
        )[0]
        return out if self.bias is None else out + self.bias.reshape(-1, *(1,) * (out.ndim - 1))


class TNEmbedding(eqx.Module):
    """A table [entries, size] that is a tensor network; single rows cost no table.

    Example:
        >>> import jax
        >>> from tnjax.nn import tt_matrix
        >>> from tnjax.nn.equinox import TNEmbedding
        >>> table = TNEmbedding(tt_matrix((10, 10), (4, 4), 3, rows=99), key=jax.random.key(0))
        >>> table(jax.numpy.array([0, 98])).shape
        (2, 16)
    """

    cores: tuple[Array, ...]
    layout: Layout = eqx.field(static=True)

    def __init__(
        self,
        layout: Layout,
        *,
        key: PRNGKeyArray | None = None,
        dtype: Any = jnp.float32,
        scheme: Literal["even", "fan"] = "even",
        cores: Sequence[Any] | None = None,
    ):
        self.cores = as_cores(layout, cores, key, 1.0, dtype, scheme)
        self.layout = layout

    @classmethod
    def from_dense(cls, table: "eqx.nn.Embedding", layout: Layout) -> "TNEmbedding":
        """The best approximation of a dense table that `tnjax.nn.project` finds."""
        return cls(layout, cores=project(layout, np.asarray(table.weight)).cores)

    @property
    def weight(self) -> Inexact[Array, "entries size"]:
        """The dense table, rebuilt."""
        return _linear.weight(self.layout, self.cores)

    def __call__(
        self, index: Integer[Array, "*batch"], *, key: PRNGKeyArray | None = None
    ) -> Inexact[Array, "*batch size"]:
        return _linear.rows(self.layout, self.cores, jnp.asarray(index))


Layer = TNLinear | TNConv | TNEmbedding


def from_flax(layer: Any) -> Layer:
    """The Equinox layer with the cores of a layer of `tnjax.nn.flax`; outputs are the same (a
    convolution takes channels first here, last there)."""
    from . import flax

    cores = [core.get_value() for core in layer.cores]
    if isinstance(layer, flax.TNEmbedding):
        return TNEmbedding(layer.layout, cores=cores)
    bias = None if layer.bias is None else layer.bias.get_value()
    shared = {"cores": cores, "bias": bias, "mode": layer.mode, "checkpoint": layer.checkpoint}
    if isinstance(layer, flax.TNConv):
        return TNConv(
            layer.layout,
            layer.kernel_size,
            stride=layer.stride,
            padding=layer.padding,
            dilation=layer.dilation,
            **shared,
        )
    return TNLinear(layer.layout, **shared)


def dense_linear(weight: Array, bias: Array | None) -> "eqx.nn.Linear":
    """An `eqx.nn.Linear` with these arrays."""
    rows, columns = weight.shape
    blank = eqx.filter_eval_shape(
        eqx.nn.Linear, columns, rows, use_bias=bias is not None, key=jax.random.key(0)
    )
    layer = eqx.tree_at(lambda m: m.weight, blank, weight)
    return layer if bias is None else eqx.tree_at(lambda m: m.bias, layer, bias)


# Shared with the Flax layers ----------------------------------------------------------------


def as_cores(layout: Layout, cores, key, variance: float, dtype, scheme) -> tuple[Array, ...]:
    """Given cores, checked, or random ones."""
    if cores is None:
        if key is None:
            raise ValueError("A layer needs `key=jax.random.key(seed)`, or `cores`.")
        return _linear.init_cores(layout, key=key, variance=variance, dtype=dtype, scheme=scheme)
    arrays = tuple(jnp.asarray(core) for core in cores)
    shapes = tuple(core.shape for core in arrays)
    if shapes != layout.core_shapes:
        raise ValueError(f"Core shapes {shapes} do not fit {layout}: {layout.core_shapes}.")
    return arrays


def check_window(layout: Layout, kernel_size: tuple[int, ...]) -> None:
    window = math.prod(kernel_size)
    if not kernel_size or layout.columns % window:
        raise ValueError(
            f"TNConv: a kernel {kernel_size} has {window} positions, which do not divide the "
            f"{layout.columns} columns of the layout (channels times positions)."
        )


def as_bias(size: int, bias, use_bias: bool, dtype) -> Array | None:
    if bias is None:
        return jnp.zeros(size, dtype) if use_bias else None
    bias = jnp.asarray(bias)
    if bias.shape != (size,):
        raise ValueError(f"A bias for {size} outputs has the shape {bias.shape}.")
    return bias
