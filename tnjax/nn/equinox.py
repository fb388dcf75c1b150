"""Tensor-network layers for Equinox: drop-in replacements of `eqx.nn.Linear`, `Conv`, `Embedding`.

>>> import equinox as eqx, jax
>>> from tnjax.nn import tt_matrix
>>> from tnjax.nn.equinox import TNLinear
>>> layer = TNLinear(tt_matrix((4, 8), (4, 8), 3), key=jax.random.key(0))
>>> layer(jax.numpy.ones(32, "float32")).shape
(32,)
"""

import dataclasses
from collections.abc import Sequence
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Inexact, Integer, Num, PRNGKeyArray

from . import _conv, _equinox_dense, _linear
from ._layers import Parts, parameters, promoted, stacked
from ._layout import Layout
from ._linear import Forward, Mode, Scheme
from ._project import project

# Of an entry of the weight, in units of 1 / fan-in: eqx.nn.Linear and Conv draw from
# U(-1, 1) / sqrt(fan-in), eqx.nn.Embedding from N(0, 1).
_UNIFORM_VARIANCE = 1 / 3

# The constructors take more than eight arguments, since they have the names of Equinox's own: a
# layer is replaced by changing the first arguments and leaving the others.


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
        scalar: whether inputs, and whether outputs, are numbers of shape ().

    Raises:
        ValueError: if neither a key nor cores are given, or cores do not have the layout's shapes.

    Example:
        >>> import equinox as eqx, jax
        >>> from tnjax.nn import low_rank
        >>> from tnjax.nn.equinox import TNLinear
        >>> dense = eqx.nn.Linear(8, 6, dtype="float32", key=jax.random.key(0))
        >>> layer = TNLinear.from_dense(dense, low_rank(6, 8, 2))
        >>> layer(jax.numpy.ones((5, 8), "float32")).shape
        (5, 6)
    """

    cores: tuple[Array, ...]
    bias: Array | None
    layout: Layout = eqx.field(static=True)
    mode: Mode = eqx.field(static=True)
    checkpoint: bool = eqx.field(static=True)
    scalar: tuple[bool, bool] = eqx.field(static=True)

    def __init__(
        self,
        layout: Layout,
        *,
        key: PRNGKeyArray | None = None,
        use_bias: bool = True,
        dtype: Any = jnp.float32,
        mode: Mode = "auto",
        checkpoint: bool = False,
        scheme: Scheme = "even",
        cores: Sequence[Any] | None = None,
        bias: Any = None,
        scalar: tuple[bool, bool] = (False, False),
    ):
        self.cores, self.bias = parameters(
            layout,
            cores,
            bias,
            use_bias=use_bias,
            key=key,
            variance=_UNIFORM_VARIANCE / layout.columns,
            dtype=dtype,
            scheme=scheme,
        )
        self.layout, self.mode, self.checkpoint = layout, mode, checkpoint
        sizes = layout.columns, layout.rows
        if any(is_scalar and size != 1 for is_scalar, size in zip(scalar, sizes, strict=True)):
            raise ValueError(f"TNLinear: scalar={scalar}, but the weight is {layout.shape}.")
        self.scalar = scalar

    @classmethod
    def from_dense(cls, linear: "eqx.nn.Linear", layout: Layout, **options: Any) -> "TNLinear":
        """The best approximation of a dense layer that `tnjax.nn.project` finds; bias kept."""
        found = project(layout, np.asarray(linear.weight))
        options = {"scalar": _equinox_dense.scalar_ends(linear), **options}
        return cls(layout, cores=found.cores, bias=linear.bias, **options)

    def to_dense(self) -> "eqx.nn.Linear":
        """The dense layer of the rebuilt weight."""
        return dense_linear(self.weight, self.bias, self.scalar)

    @property
    def weight(self) -> Inexact[Array, "*stack outputs inputs"]:
        """The dense weight, rebuilt."""
        return stacked(self.layout, self.cores)

    @property
    def in_features(self) -> int | Literal["scalar"]:
        """Entries of an input, or "scalar"."""
        return "scalar" if self.scalar[0] else self.layout.columns

    @property
    def out_features(self) -> int | Literal["scalar"]:
        """Entries of an output, or "scalar"."""
        return "scalar" if self.scalar[1] else self.layout.rows

    @property
    def use_bias(self) -> bool:
        """Whether there is a bias."""
        return self.bias is not None

    @property
    def parts(self) -> Parts:
        """The layer apart from its framework."""
        forward = Forward(self.mode, self.checkpoint)
        return Parts(
            "linear", self.layout, self.cores, self.bias, forward=forward, scalar=self.scalar
        )

    def __call__(
        self, x: Num[Array, "..."], *, key: PRNGKeyArray | None = None
    ) -> Inexact[Array, "..."]:
        """A vector [inputs], or a batch of them with leading axes (cheaper than `vmap` of vectors:
        the forecast then sees the batch)."""
        if self.scalar[0]:
            x = jnp.asarray(x)[..., None]
        _linear.check_inputs(self.layout, x)
        x, cores = promoted(self.layout, x, self.cores)
        out = _linear.apply(self.layout, cores, x, mode=self.mode, checkpoint=self.checkpoint)
        out = _linear.with_bias(out, self.bias)
        return out[..., 0] if self.scalar[1] else out


class TNConv(eqx.Module):
    """A convolution whose kernel [out, in, *kernel_size] is a tensor network of `layout.rows` = out
    by `layout.columns` = in x prod(kernel_size).

    Args:
        layout: of the kernel as a matrix.
        kernel_size: one integer for each spatial axis.
        stride, dilation: one integer, or one for each spatial axis.
        padding: "SAME", "SAME_LOWER", "VALID", one integer, or one integer or pair for each axis.
        padding_mode: "zeros", "reflect", "replicate" or "circular".
        input_dilation: zeros are put between the pixels.
        key, use_bias, dtype, mode, checkpoint, scheme, cores, bias: as of `TNLinear`.

    Raises:
        ValueError: if the columns are not a multiple of the kernel's size.

    Example:
        >>> import jax
        >>> from tnjax.nn import low_rank
        >>> from tnjax.nn.equinox import TNConv
        >>> layer = TNConv(low_rank(8, 27, 4), (3, 3), padding=1, key=jax.random.key(0))
        >>> layer(jax.numpy.ones((3, 5, 5), "float32")).shape
        (8, 5, 5)
    """

    cores: tuple[Array, ...]
    bias: Array | None
    layout: Layout = eqx.field(static=True)
    kernel_size: tuple[int, ...] = eqx.field(static=True)
    stride: tuple[int, ...] = eqx.field(static=True)
    padding: Any = eqx.field(static=True)
    dilation: tuple[int, ...] = eqx.field(static=True)
    padding_mode: str = eqx.field(static=True)
    input_dilation: tuple[int, ...] = eqx.field(static=True)
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
        padding_mode: str = "zeros",
        input_dilation: int | Sequence[int] = 1,
        key: PRNGKeyArray | None = None,
        use_bias: bool = True,
        dtype: Any = jnp.float32,
        mode: Mode = "auto",
        checkpoint: bool = False,
        scheme: Scheme = "even",
        cores: Sequence[Any] | None = None,
        bias: Any = None,
    ):
        window = _conv.Window(kernel_size, stride, padding, dilation, padding_mode, input_dilation)
        window.channels(layout)  # raises if there is no such number
        self.cores, flat = parameters(
            layout,
            cores,
            None if bias is None else _equinox_dense.flat_bias(bias, len(window.kernel_size)),
            use_bias=use_bias,
            key=key,
            variance=_UNIFORM_VARIANCE / layout.columns,
            dtype=dtype,
            scheme=scheme,
        )
        ones = (1,) * len(window.kernel_size)
        self.bias = None if flat is None else flat.reshape(*flat.shape, *ones)
        self.kernel_size, self.stride = window.kernel_size, window.stride
        self.padding, self.dilation = window.padding, window.dilation
        self.padding_mode, self.input_dilation = window.padding_mode.upper(), window.input_dilation
        self.layout, self.mode, self.checkpoint = layout, mode, checkpoint

    @classmethod
    def from_dense(cls, conv: "eqx.nn.Conv", layout: Layout, **options: Any) -> "TNConv":
        """The best approximation of a dense convolution that `tnjax.nn.project` finds.

        Raises:
            ValueError: for more than one group.
        """
        if conv.groups != 1:
            raise ValueError(f"TNConv: groups={conv.groups}; only one group is represented.")
        kernel = np.asarray(conv.weight)
        found = project(layout, kernel.reshape(len(kernel), -1))
        window = dataclasses.asdict(_equinox_dense.window(conv))
        return cls(layout, **window, cores=found.cores, bias=conv.bias, **options)

    @property
    def weight(self) -> Inexact[Array, "*stack_out_in_kernel"]:
        """The dense kernel, rebuilt."""
        flat = stacked(self.layout, self.cores)
        return flat.reshape(*flat.shape[:-1], -1, *self.kernel_size)

    @property
    def window(self) -> _conv.Window:
        """Kernel size, stride, padding and dilation."""
        return _conv.Window(
            self.kernel_size,
            self.stride,
            self.padding,
            self.dilation,
            self.padding_mode,
            self.input_dilation,
        )

    @property
    def num_spatial_dims(self) -> int:
        """Axes of an image beside the channels."""
        return len(self.kernel_size)

    @property
    def in_channels(self) -> int:
        """Channels of an input."""
        return self.window.channels(self.layout)

    @property
    def out_channels(self) -> int:
        """Channels of an output."""
        return self.layout.rows

    @property
    def groups(self) -> int:
        """Groups of channels: one."""
        return 1

    @property
    def use_bias(self) -> bool:
        """Whether there is a bias."""
        return self.bias is not None

    @property
    def parts(self) -> Parts:
        """The layer apart from its framework."""
        forward = Forward(self.mode, self.checkpoint)
        bias = (
            None
            if self.bias is None
            else _equinox_dense.flat_bias(self.bias, len(self.kernel_size))
        )
        return Parts("conv", self.layout, self.cores, bias, self.window, forward)

    def __call__(
        self, x: Inexact[Array, "channels *space"], *, key: PRNGKeyArray | None = None
    ) -> Inexact[Array, "out *new_space"]:
        """One image, channels first, as `eqx.nn.Conv` takes it."""
        x, cores = promoted(self.layout, x, self.cores)
        out = _conv.convolve(
            self.layout,
            cores,
            x[None],
            self.window,
            mode=self.mode,
            checkpoint=self.checkpoint,
        )[0]
        return _linear.with_bias(out, self.bias, axis=0)


class TNEmbedding(eqx.Module):
    """A table [entries, size] that is a tensor network; single rows cost no table.

    Args:
        layout: of the table as a matrix.
        key, dtype, scheme, cores: as of `TNLinear`.

    Raises:
        ValueError: if neither a key nor cores are given, or cores do not have the layout's shapes.

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
        scheme: Scheme = "even",
        cores: Sequence[Any] | None = None,
    ):
        self.cores, _ = parameters(layout, cores, key=key, variance=1.0, dtype=dtype, scheme=scheme)
        self.layout = layout

    @classmethod
    def from_dense(cls, table: "eqx.nn.Embedding", layout: Layout) -> "TNEmbedding":
        """The best approximation of a dense table that `tnjax.nn.project` finds."""
        return cls(layout, cores=project(layout, np.asarray(table.weight)).cores)

    @property
    def weight(self) -> Inexact[Array, "*stack entries size"]:
        """The dense table, rebuilt."""
        return stacked(self.layout, self.cores)

    @property
    def num_embeddings(self) -> int:
        """Entries of the table."""
        return self.layout.rows

    @property
    def embedding_size(self) -> int:
        """Size of an entry."""
        return self.layout.columns

    @property
    def parts(self) -> Parts:
        """The layer apart from its framework."""
        return Parts("embedding", self.layout, self.cores)

    def __call__(
        self, index: Integer[Array, "*batch"], *, key: PRNGKeyArray | None = None
    ) -> Inexact[Array, "*batch size"]:
        """Entries of the table. As in `eqx.nn.Embedding`, negative indices count from the end, and
        those outside are clipped."""
        return _linear.rows(self.layout, self.cores, jnp.asarray(index))


Layer = TNLinear | TNConv | TNEmbedding


def from_parts(parts: Parts) -> Layer:
    """The Equinox layer of given parts.

    Args:
        parts: such as `TNLinear.parts` of either framework.

    Returns:
        A layer with the same weight.

    Raises:
        ValueError: if the cores or the bias do not have the layout's shapes.

    Example:
        >>> import jax
        >>> from tnjax.nn import low_rank
        >>> from tnjax.nn.equinox import TNLinear, from_parts
        >>> layer = TNLinear(low_rank(3, 4, 2), key=jax.random.key(0))
        >>> eqx.tree_equal(from_parts(layer.parts), layer).item()
        True
    """
    if parts.kind == "embedding":
        return TNEmbedding(parts.layout, cores=parts.cores)
    if parts.window is None:
        return TNLinear(parts.layout, scalar=parts.scalar, **parts.given())
    return TNConv(parts.layout, **dataclasses.asdict(parts.window), **parts.given())


def from_flax(layer: Any) -> Layer:
    """The Equinox layer with the cores of a layer of `tnjax.nn.flax`; outputs are the same (a
    convolution takes channels first here, last there).

    Args:
        layer: a `TNLinear`, `TNConv` or `TNEmbedding` of `tnjax.nn.flax`.

    Returns:
        The layer of the same name in this module.

    Raises:
        AttributeError: if it is another layer.

    Example:
        >>> import jax.numpy as jnp
        >>> from flax import nnx
        >>> from tnjax.nn import flax, low_rank
        >>> from tnjax.nn.equinox import from_flax
        >>> there = flax.TNLinear(low_rank(3, 4, 2), rngs=nnx.Rngs(0))
        >>> x = jnp.ones(4, "float32")
        >>> bool(jnp.allclose(from_flax(there)(x), there(x)))
        True
    """
    return from_parts(layer.parts)


def dense_linear(
    weight: Array, bias: Array | None, scalar: tuple[bool, bool] = (False, False)
) -> "eqx.nn.Linear":
    """An `eqx.nn.Linear` with these arrays.

    Args:
        weight: [outputs, inputs].
        bias: [outputs], or None.
        scalar: whether inputs, and whether outputs, are numbers of shape ().

    Returns:
        The dense layer.

    Example:
        >>> import jax.numpy as jnp
        >>> from tnjax.nn.equinox import dense_linear
        >>> dense_linear(jnp.ones((2, 3)), None)(jnp.ones(3)).tolist()
        [3.0, 3.0]
    """
    rows, columns = weight.shape
    sizes = [
        "scalar" if is_scalar else n for is_scalar, n in zip(scalar, (columns, rows), strict=True)
    ]
    blank = eqx.filter_eval_shape(
        eqx.nn.Linear, *sizes, use_bias=bias is not None, key=jax.random.key(0)
    )
    layer = eqx.tree_at(lambda m: m.weight, blank, weight)
    return layer if bias is None else eqx.tree_at(lambda m: m.bias, layer, bias)
