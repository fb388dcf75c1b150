"""Convolutions whose kernel is a tensor network, for every framework: channels first."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Inexact

from ..contract.kernels import FULL
from ._layout import Layout
from ._linear import Cores, Mode, apply, weight
from ._tap import TappedLayout

Padding = str | int | Sequence[int | tuple[int, int]]

# What jnp.pad calls the ways to pad; zeros are left to the convolution.
_PADDED_BY = {"zeros": None, "reflect": "reflect", "replicate": "edge", "circular": "wrap"}


@dataclasses.dataclass(frozen=True)
class Window:
    """What a convolution sees of an image for each entry of its output.

    Args:
        kernel_size: one integer for each spatial axis.
        stride, dilation: one integer, or one for each spatial axis.
        padding: "SAME", "SAME_LOWER", "VALID", one integer, or one integer or pair for each axis.
        padding_mode: what lies around the image: "zeros", "reflect", "replicate" or "circular".
        input_dilation: zeros are put between the pixels, this distance from one to the next.

    Raises:
        ValueError: if a number is missing or not positive, or the padding is unknown.
    """

    kernel_size: Any
    stride: Any = 1
    padding: Any = 0
    dilation: Any = 1
    padding_mode: str = "zeros"
    input_dilation: Any = 1

    def __post_init__(self) -> None:
        size = tuple(self.kernel_size)
        count = len(size)
        object.__setattr__(self, "kernel_size", size)
        object.__setattr__(self, "stride", per_axis(self.stride, count, "stride"))
        object.__setattr__(self, "dilation", per_axis(self.dilation, count, "dilation"))
        object.__setattr__(self, "padding", as_padding(self.padding, count))
        wide = per_axis(self.input_dilation, count, "input_dilation")
        object.__setattr__(self, "input_dilation", wide)
        if self.padding_mode.lower() not in _PADDED_BY:
            raise ValueError(
                f"padding_mode={self.padding_mode!r}; expected one of {', '.join(_PADDED_BY)}."
            )
        object.__setattr__(self, "padding_mode", self.padding_mode.lower())

    def channels(self, layout: Layout) -> int:
        """Channels of the image, for the layout of a kernel.

        Raises:
            ValueError: if the columns of the layout are not a multiple of the kernel's size.
        """
        positions = math.prod(self.kernel_size)
        if not self.kernel_size or layout.columns % positions:
            raise ValueError(
                f"TNConv: a kernel {self.kernel_size} has {positions} positions, which do not "
                f"divide the {layout.columns} columns of the layout (channels times positions)."
            )
        return layout.columns // positions


def convolve(
    layout: Layout,
    cores: Cores,
    x: Inexact[Array, "batch channels *space"],
    window: Window,
    *,
    mode: Mode = "auto",
    checkpoint: bool = False,
    precision: lax.PrecisionLike = FULL,
) -> Inexact[Array, "batch out *new_space"]:
    """Convolve with the kernel W [out, in, *kernel_size], a matrix of `layout.rows` by
    in * prod(kernel_size).

    Mode "weight" rebuilds the kernel; "input" gathers the patches and contracts the cores into
    them; "auto" takes the cheaper one by forecast for this number of patches.

    Raises:
        ValueError: if the channels do not fit.
    """
    kernel_size, stride, dilation = window.kernel_size, window.stride, window.dilation
    channels = window.channels(layout)
    if x.ndim != 2 + len(kernel_size) or x.shape[1] != channels:
        raise ValueError(
            f"A convolution of {channels} channels with {len(kernel_size)} spatial axes got an "
            f"array of shape {x.shape}: expected [batch, channels, *space]."
        )
    pads, sizes = window.padding, _dilated(x.shape[2:], window.input_dilation)
    if isinstance(pads, str):
        spread = [(k - 1) * d + 1 for k, d in zip(kernel_size, dilation, strict=True)]
        pads = lax.padtype_to_pads(x.shape[2:], spread, stride, pads)
    padded_by = _PADDED_BY[window.padding_mode]
    if padded_by is not None:
        x = jnp.pad(x, [(0, 0), (0, 0), *pads], padded_by)
        pads = ((0, 0),) * len(kernel_size)
        sizes = _dilated(x.shape[2:], window.input_dilation)
    spans = zip(sizes, pads, kernel_size, dilation, stride, strict=True)
    space = [(n + sum(p) - (k - 1) * d - 1) // s + 1 for n, p, k, d, s in spans]
    if min(space) < 1:
        raise ValueError(f"A kernel of size {kernel_size} does not fit into {x.shape[2:]}.")
    positions = x.shape[0] * math.prod(space)
    if isinstance(layout, TappedLayout):
        mode = "input"
    if mode == "auto":
        mode = layout.forecast(max(positions, 1), cores[0].dtype).best
    options = {
        "window_strides": stride,
        "padding": pads,
        "lhs_dilation": window.input_dilation,
        "rhs_dilation": dilation,
    }
    if mode == "weight":
        kernel = weight(layout, cores, precision=precision)
        kernel = kernel.reshape(layout.rows, channels, *kernel_size)
        return lax.conv_general_dilated(x, kernel, precision=precision, **options)
    patches = lax.conv_general_dilated_patches(
        x,
        filter_shape=kernel_size,
        precision=precision,  # type: ignore
        **options,
    )
    patches = jnp.moveaxis(patches, 1, -1)
    out = apply(layout, cores, patches, mode=mode, checkpoint=checkpoint, precision=precision)
    return jnp.moveaxis(out, -1, 1)


def _dilated(sizes: Sequence[int], dilation: Sequence[int]) -> tuple[int, ...]:
    """Sizes of an image with zeros between its pixels."""
    return tuple((n - 1) * d + 1 if n else 0 for n, d in zip(sizes, dilation, strict=True))


def per_axis(value: int | Sequence[int], count: int, what: str) -> tuple[int, ...]:
    """One integer for each spatial axis."""
    values = (value,) * count if isinstance(value, int) else tuple(value)
    if len(values) != count or min(values) < 1:
        raise ValueError(f"{what}: expected one or {count} positive integers, got {value!r}.")
    return values


def as_padding(padding: Padding, count: int) -> str | tuple[tuple[int, int], ...]:
    """Padding as lax takes it: "SAME", "VALID", or pairs."""
    if isinstance(padding, str):
        name = padding.upper()
        if name not in ("SAME", "SAME_LOWER", "VALID"):
            raise ValueError(
                f'padding={padding!r}; expected "SAME", "SAME_LOWER", "VALID" or numbers.'
            )
        return name
    pairs = (padding,) * count if isinstance(padding, int) else tuple(padding)
    if len(pairs) != count:
        raise ValueError(f"padding: expected one or {count} entries, got {padding!r}.")
    return tuple((p, p) if isinstance(p, int) else (int(p[0]), int(p[1])) for p in pairs)
