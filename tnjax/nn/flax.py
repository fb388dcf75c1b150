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
from flax.nnx.nn import dtypes
from jaxtyping import Array, Inexact, Integer, Num

from ..contract.kernels import FULL
from . import _conv, _flax_conv, _flax_general, _linear
from ._layers import Parts, parameters, stacked
from ._layout import Layout
from ._linear import Forward, Mode, Scheme
from ._project import project
from ._tap import TappedLayout

# Of an entry of the weight, in units of 1 / fan-in: nnx.Linear and Conv draw from LeCun's normal.
_LECUN_VARIANCE = 1.0

# The constructors take more than eight arguments, since they have the names of Flax's own: a layer
# is replaced by changing the first arguments and leaving the others.


class _Layer(nnx.Module):
    """What the layers have in common.

    A layer that replaces a dense one takes over what that one was made with (`dtype`, `precision`,
    `promote_dtype`, names of sizes), so that it computes in the same types and answers the same
    questions.
    """

    layout: Layout
    mode: Mode
    checkpoint: bool
    cores: Any
    bias: Any
    dtype: Any = None
    precision: Any = None
    preferred_element_type: Any = None
    promote_dtype: Any = staticmethod(dtypes.promote_dtype)

    def _cast(self, x, bias=None):
        """Inputs, cores and bias in the types that the dense layer would compute in."""
        cores = _values(self.cores)
        live = 1 if isinstance(self.layout, TappedLayout) else len(cores)
        given = (x, *cores[:live], *(() if bias is None else (bias,)))
        x, *rest = self.promote_dtype(given, dtype=self.dtype)
        out = tuple(rest[:live]) + cores[live:]
        return x, out, None if bias is None else rest[-1]

    def _typed(self, out: Array) -> Array:
        wanted = self.preferred_element_type
        return out if wanted is None else jnp.asarray(out, wanted)

    def _applied(self, cores: tuple[Array, ...], x: Array) -> Array:
        return _linear.apply(
            self.layout,
            cores,
            x,
            mode=self.mode,
            checkpoint=self.checkpoint,
            precision=self._precision,
        )

    @property
    def _precision(self) -> Any:
        return FULL if self.precision is None else self.precision

    @property
    def use_bias(self) -> bool:
        """Whether there is a bias."""
        return self.bias is not None

    def adopt(self, layer: nnx.Module) -> Any:
        """Take over what a dense layer, or another network, was made with.

        Args:
            layer: what this one replaces; its variables are left.

        Returns:
            This layer.
        """
        mine = set(vars(self))
        for name, value in vars(layer).items():
            variable = isinstance(value, nnx.Variable) or name in ("cores", "layout", "bias")
            if name.startswith("_") or variable or name in mine or _is_property(self, name):
                continue
            setattr(self, name, value)
        return self


class TNLinear(_Layer):
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
        new = cls(layout, cores=found.cores, bias=_value(linear.bias), **options)
        return new.adopt(linear)

    @property
    def weight(self) -> Inexact[Array, "*stack outputs inputs"]:
        """The dense weight, rebuilt."""
        return stacked(self.layout, _values(self.cores))

    @property
    def kernel(self) -> nnx.Param[Array]:
        """The dense kernel [inputs, outputs] as `nnx.Linear` has it, rebuilt: to be read, not to
        be set."""
        return nnx.Param(jnp.swapaxes(self.weight, -1, -2))

    @property
    def in_features(self) -> int:
        """Entries of an input."""
        return self.layout.columns

    @property
    def out_features(self) -> int:
        """Entries of an output."""
        return self.layout.rows

    @property
    def parts(self) -> Parts:
        """The layer apart from its framework."""
        cores, bias = _values(self.cores), _value(self.bias)
        forward = Forward(self.mode, self.checkpoint)
        return Parts("linear", self.layout, cores, bias, forward=forward)

    def __call__(
        self, x: Num[Array, "*batch inputs"], out_sharding: Any = None
    ) -> Inexact[Array, "*batch outputs"]:
        """The outputs; `out_sharding` is taken as `nnx.Linear` takes it, and must be None."""
        _no_sharding(out_sharding)
        x, cores, bias = self._cast(x, _value(self.bias))
        return _linear.with_bias(self._typed(self._applied(cores, x)), bias)


class TNGeneral(_Layer):
    """A contraction of several axes, as `nnx.LinearGeneral` and `nnx.Einsum` make it, whose kernel
    is a tensor network: rows are the axes that it adds to the output, columns those that it takes
    from the input.

    Args:
        layout: of the kernel as a matrix.
        rows: sizes of the axes that are added, whose product is `layout.rows`.
        columns: sizes of the axes that are taken.
        axes: of the input, in the order of `columns`.
        einsum_str: of an `nnx.Einsum`, in place of `axes`: "...ij,jk->...ik".
        mode, checkpoint, scheme, cores, rngs: as of `TNLinear`.
        bias: of the shape that the dense layer has it in.

    Raises:
        ValueError: if sizes or shapes do not fit.

    Example:
        >>> from flax import nnx
        >>> from tnjax.nn import low_rank
        >>> from tnjax.nn.flax import TNGeneral
        >>> layer = TNGeneral(low_rank(6, 8, 2), (2, 3), (8,), axes=(-1,), rngs=nnx.Rngs(0))
        >>> layer(jnp.ones((5, 8), "float32")).shape
        (5, 2, 3)
    """

    def __init__(
        self,
        layout: Layout,
        rows: Sequence[int],
        columns: Sequence[int],
        *,
        axes: Sequence[int] = (-1,),
        einsum_str: str | None = None,
        mode: Mode = "auto",
        checkpoint: bool = False,
        scheme: Scheme = "even",
        cores: Sequence[Any] | None = None,
        bias: Any = None,
        rngs: nnx.Rngs | None = None,
    ):
        if (math.prod(rows), math.prod(columns)) != layout.shape:
            raise ValueError(
                f"TNGeneral: a layout of {layout.shape} does not have rows of {tuple(rows)} and "
                f"columns of {tuple(columns)}."
            )
        own_cores, _ = _params(
            layout,
            cores,
            rngs=rngs,
            variance=_LECUN_VARIANCE / layout.columns,
            dtype=jnp.float32,
            scheme=scheme,
        )
        self.cores: nnx.List[nnx.Param[Array]] = own_cores
        self.bias: nnx.Param[Array] | None = None if bias is None else nnx.Param(jnp.asarray(bias))
        self.rows: tuple[int, ...] = tuple(rows)
        self.columns: tuple[int, ...] = tuple(columns)
        self.axes: tuple[int, ...] = tuple(axes)
        self.einsum_str: str | None = einsum_str
        self.layout: Layout = layout
        self.checkpoint: bool = checkpoint
        self.mode: Mode = mode

    @property
    def weight(self) -> Inexact[Array, "*stack outputs inputs"]:
        """The dense kernel as a matrix, rebuilt."""
        return stacked(self.layout, _values(self.cores))

    @property
    def kernel(self) -> nnx.Param[Array]:
        """The dense kernel with the axes of the dense layer, rebuilt: to be read, not to be set."""
        full = self.weight
        stack = full.ndim - 2
        full = full.reshape(*full.shape[:stack], *self.rows, *self.columns)
        order = self._kernel_order()
        return nnx.Param(full.transpose(*range(stack), *(stack + k for k in order)))

    @property
    def parts(self) -> Parts:
        """The layer apart from its framework."""
        forward = Forward(self.mode, self.checkpoint)
        bias = None if self.bias is None else jnp.ravel(jnp.asarray(_value(self.bias)))
        return Parts("linear", self.layout, _values(self.cores), bias, forward=forward)

    def _kernel_order(self) -> tuple[int, ...]:
        """Where the axes of the dense kernel are among rows and columns."""
        if self.einsum_str is None:
            count = len(self.rows)
            return (*range(count, count + len(self.columns)), *range(count))
        plan = _flax_general.of_einsum(self.einsum_str)
        return tuple((plan.rows + plan.columns).index(letter) for letter in plan.kernel)

    def __call__(
        self, x: Num[Array, "..."], einsum_str: str | None = None, out_sharding: Any = None
    ) -> Inexact[Array, "..."]:
        """The outputs, with axes as the dense layer has them."""
        _no_sharding(out_sharding)
        if einsum_str is not None:
            raise ValueError("TNGeneral: the equation is that of the layer, none can be given.")
        x, cores, bias = self._cast(x, _value(self.bias))
        if self.einsum_str is None:
            axes, order = tuple(sorted(axis % x.ndim for axis in self.axes)), None
        else:
            axes, order = _flax_general.of_einsum(self.einsum_str).places(x.ndim)
        x = jnp.moveaxis(x, axes, range(-len(axes), 0))
        batch = x.shape[: x.ndim - len(axes)]
        out = self._applied(cores, x.reshape(*batch, self.layout.columns))
        out = self._typed(out.reshape(*batch, *self.rows))
        if bias is not None and self.einsum_str is None:
            out = out + bias.reshape(*(1,) * len(batch), *bias.shape)
        out = out if order is None else out.transpose(order)
        if bias is not None and order is not None:
            shape = [1] * out.ndim
            for position, axis in enumerate(range(len(batch), out.ndim)):
                shape[order.index(axis)] = self.rows[position]
            out = out + bias.reshape(shape)
        return out


class TNConv(_Layer):
    """A convolution, channels last as in `nnx.Conv`; its kernel is a tensor network of out rows by
    in x prod(kernel_size) columns (channels first among the columns).

    Args:
        layout: of the kernel as a matrix.
        kernel_size: one integer for each spatial axis.
        stride, dilation: one integer, or one for each spatial axis.
        padding: "SAME", "SAME_LOWER", "VALID", one integer, or one integer or pair for each axis.
        padding_mode: "zeros", "reflect", "replicate" or "circular".
        input_dilation: zeros are put between the pixels.
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
        padding_mode: str = "zeros",
        input_dilation: int | Sequence[int] = 1,
        use_bias: bool = True,
        param_dtype: Any = jnp.float32,
        mode: Mode = "auto",
        checkpoint: bool = False,
        scheme: Scheme = "even",
        cores: Sequence[Any] | None = None,
        bias: Any = None,
        rngs: nnx.Rngs | None = None,
    ):
        window = _conv.Window(kernel_size, stride, padding, dilation, padding_mode, input_dilation)
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
        self.padding_mode: str = window.padding_mode
        self.input_dilation: Any = window.input_dilation
        self.layout: Layout = layout
        self.checkpoint: bool = checkpoint
        self.mode: Mode = mode

    @classmethod
    def from_dense(cls, conv: nnx.Conv, layout: Layout, **options: Any) -> "TNConv":
        """The best approximation of a dense convolution that `tnjax.nn.project` finds.

        Raises:
            ValueError: for more than one group, or a mask.
        """
        reason = _flax_conv.refusal(conv)
        if reason is not None:
            raise ValueError(f"TNConv: {reason}")
        found = project(layout, _flax_conv.kernel_matrix(conv))
        new = cls(
            layout,
            **dataclasses.asdict(_flax_conv.window(conv)),
            cores=found.cores,
            bias=_value(conv.bias),
            **options,
        )
        return new.adopt(conv)

    @property
    def weight(self) -> Inexact[Array, "*stack_and_kernel in out"]:
        """The dense kernel, rebuilt, with axes as `nnx.Conv` has them."""
        flat = stacked(self.layout, _values(self.cores))
        kernel = flat.reshape(*flat.shape[:-1], -1, *self.kernel_size)
        rows = flat.ndim - 2
        return jnp.moveaxis(kernel, (rows, rows + 1), (-1, -2))

    @property
    def kernel(self) -> nnx.Param[Array]:
        """The dense kernel as `nnx.Conv` has it, rebuilt: to be read, not to be set."""
        return nnx.Param(self.weight)

    @property
    def kernel_shape(self) -> tuple[int, ...]:
        """The shape of the dense kernel."""
        return (*self.kernel_size, self.in_features, self.out_features)

    @property
    def in_features(self) -> int:
        """Channels of an input."""
        return self.window.channels(self.layout)

    @property
    def out_features(self) -> int:
        """Channels of an output."""
        return self.layout.rows

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
    def parts(self) -> Parts:
        """The layer apart from its framework."""
        cores, bias = _values(self.cores), _value(self.bias)
        forward = Forward(self.mode, self.checkpoint)
        return Parts("conv", self.layout, cores, bias, self.window, forward)

    def __call__(self, x: Num[Array, "..."], out_sharding: Any = None) -> Array:
        """Images [*batch, *space, channels], one or many."""
        _no_sharding(out_sharding)
        x, cores, bias = self._cast(x, _value(self.bias))
        count = len(self.kernel_size)
        batch, space = x.shape[: -count - 1], x.shape[-count - 1 :]
        first = jnp.moveaxis(x.reshape(math.prod(batch), *space), -1, 1)
        out = _conv.convolve(
            self.layout,
            cores,
            first,
            self.window,
            mode=self.mode,
            checkpoint=self.checkpoint,
            precision=self._precision,
        )
        out = jnp.moveaxis(self._typed(out), 1, -1)
        out = out.reshape(*batch, *out.shape[1:])
        return _linear.with_bias(out, bias)


class TNEmbedding(_Layer):
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
        self.bias: None = None
        self.layout: Layout = layout
        self.checkpoint: bool = False
        self.mode: Mode = "auto"

    @classmethod
    def from_dense(cls, table: nnx.Embed, layout: Layout) -> "TNEmbedding":
        """The best approximation of a dense table that `tnjax.nn.project` finds."""
        found = project(layout, np.asarray(table.embedding.get_value()))
        return cls(layout, cores=found.cores).adopt(table)

    @property
    def weight(self) -> Inexact[Array, "*stack entries size"]:
        """The dense table, rebuilt."""
        return stacked(self.layout, _values(self.cores))

    @property
    def embedding(self) -> nnx.Param[Array]:
        """The dense table as `nnx.Embed` has it, rebuilt: to be read, not to be set."""
        return nnx.Param(self.weight)

    @property
    def num_embeddings(self) -> int:
        """Entries of the table."""
        return self.layout.rows

    @property
    def features(self) -> int:
        """Size of an entry."""
        return self.layout.columns

    @property
    def parts(self) -> Parts:
        """The layer apart from its framework."""
        return Parts("embedding", self.layout, _values(self.cores))

    def __call__(
        self, index: Integer[Array, "*batch"], out_sharding: Any = None
    ) -> Inexact[Array, "*batch size"]:
        """Entries of the table. As in `nnx.Embed`, negative indices count from the end, and those
        outside give NaN (of a table with one entry: that entry)."""
        _no_sharding(out_sharding)
        cores = self.promote_dtype(_values(self.cores), dtype=self.dtype, inexact=False)
        index, rows = jnp.asarray(index), self.layout.rows
        found = _linear.rows(self.layout, tuple(cores), index, precision=self._precision)
        if rows == 1:
            return found
        inside = (index >= -rows) & (index < rows)
        return jnp.where(inside[..., None], found, jnp.nan)

    def attend(
        self, query: Num[Array, "*batch size"], out_sharding: Any = None
    ) -> Inexact[Array, "*batch entries"]:
        """Inner products of queries with all entries of the table, without the table where that is
        cheaper."""
        _no_sharding(out_sharding)
        x, cores, _ = self._cast(query)
        return self._applied(cores, x)


Layer = TNLinear | TNGeneral | TNConv | TNEmbedding


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
    if any(parts.scalar):
        raise ValueError("from_parts: Flax has no layers of numbers of shape ().")
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


def _no_sharding(out_sharding: Any) -> None:
    if out_sharding is not None:
        raise ValueError("out_sharding: networks leave the sharding of outputs to the compiler.")


def _is_property(layer: nnx.Module, name: str) -> bool:
    return isinstance(getattr(type(layer), name, None), property)


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
