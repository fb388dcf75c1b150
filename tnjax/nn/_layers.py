"""What the layers of both frameworks have in common."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray

from ._conv import Window
from ._layout import Layout
from ._linear import Forward, Scheme, init_cores, weight
from ._project import rebuild
from ._tap import TappedLayout
from .model import Kind

FORWARD = Forward()


@dataclasses.dataclass(frozen=True)
class Parts:
    """A layer apart from its framework: what makes the same layer in another one.

    Attributes:
        kind: "linear", "conv" or "embedding".
        layout: of the weight.
        cores: of `layout.core_shapes`.
        bias: [rows], or None.
        window: of a convolution, or None.
        forward: how the layer computes.
        scalar: whether inputs, and whether outputs, are numbers of shape () (Equinox's "scalar").
    """

    kind: Kind
    layout: Layout
    cores: Sequence[Any]
    bias: Any = None
    window: Window | None = None
    forward: Forward = FORWARD
    scalar: tuple[bool, bool] = (False, False)

    def given(self) -> dict[str, Any]:
        """The arguments that linear layers and convolutions of both frameworks share."""
        return {"cores": self.cores, "bias": self.bias, **dataclasses.asdict(self.forward)}


def parameters(
    layout: Layout,
    cores: Sequence[Any] | None,
    bias: Any = None,
    *,
    use_bias: bool = False,
    key: PRNGKeyArray | None,
    variance: float,
    dtype: Any,
    scheme: Scheme,
) -> tuple[tuple[Array, ...], Array | None]:
    """The parameters of a new layer: what is given, checked, or a random start.

    Args:
        layout: of the weight.
        cores: given ones, or None to draw them. All of them may have the same leading axes: those
            of stacked layers, which `vmap` or `scan` takes off.
        bias: a given one [rows], with the same leading axes.
        use_bias: add a bias of zeros to cores that are drawn, where none is given.
        key: for the cores.
        variance: of an entry of the weight, for cores that are drawn.
        dtype: of parameters that are made here.
        scheme: as in `init_cores`.

    Returns:
        The cores, and the bias [rows] or None.

    Raises:
        ValueError: if there is neither a key nor cores, or a shape does not fit.
    """
    if cores is None:
        if key is None:
            raise ValueError("A layer needs `key=jax.random.key(seed)`, or `cores`.")
        arrays = init_cores(layout, key=key, variance=variance, dtype=dtype, scheme=scheme)
        stack: tuple[int, ...] = ()
    else:
        arrays = tuple(jnp.asarray(core) for core in cores)
        stack = stack_of(layout, arrays)
    if bias is None:
        blank = use_bias and cores is None
        return arrays, jnp.zeros(layout.rows, dtype) if blank else None
    bias = jnp.asarray(bias)
    if bias.shape != (*stack, layout.rows):
        raise ValueError(f"A bias for {layout.rows} outputs has the shape {bias.shape}.")
    return arrays, bias


def stack_of(layout: Layout, arrays: Sequence[Any]) -> tuple[int, ...]:
    """The leading axes of all cores of stacked layers; () for one layer.

    Raises:
        ValueError: if the cores do not have the layout's shapes behind the same leading axes.
    """
    shapes = tuple(core.shape for core in arrays)
    first = layout.core_shapes[0]
    stack = shapes[0][: len(shapes[0]) - len(first)] if shapes else ()
    if shapes != tuple((*stack, *shape) for shape in layout.core_shapes):
        raise ValueError(f"Core shapes {shapes} do not fit {layout}: {layout.core_shapes}.")
    return stack


def promoted(
    layout: Layout, x: Array, cores: Sequence[Array], dtype: Any = None
) -> tuple[Array, tuple[Array, ...]]:
    """Inputs and cores in their common type, or in the one that is given, as dense layers do it.
    Taps keep their own."""
    live = 1 if isinstance(layout, TappedLayout) else len(cores)
    dtype = jnp.result_type(x, *cores[:live]) if dtype is None else dtype
    cast = tuple(jnp.asarray(core, dtype) for core in cores[:live])
    return jnp.asarray(x, dtype), (*cast, *cores[live:])


def stacked_on_host(layout: Layout, cores: Sequence[Any]) -> np.ndarray:
    """The same as `stacked` in NumPy, of the cores' type: no program is compiled."""
    stack = stack_of(layout, cores)
    host = [np.asarray(core) for core in cores]
    flat = [core.reshape(-1, *core.shape[len(stack) :]) for core in host]
    full = np.stack([rebuild(layout, parts) for parts in zip(*flat, strict=True)])
    return full.reshape(*stack, *full.shape[1:]).astype(host[0].dtype)


def stacked(layout: Layout, cores: Sequence[Array]) -> Array:
    """The dense weights [*stack, rows, columns] of one layer, or of stacked ones."""
    rebuilt = lambda *cores: weight(layout, cores)
    for _ in stack_of(layout, cores):
        rebuilt = jax.vmap(rebuilt)
    return rebuilt(*cores)
