"""What the layers of both frameworks have in common."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, PRNGKeyArray

from ._conv import Window
from ._layout import Layout
from ._linear import Forward, Scheme, init_cores
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
    """

    kind: Kind
    layout: Layout
    cores: Sequence[Any]
    bias: Any = None
    window: Window | None = None
    forward: Forward = FORWARD

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
        cores: given ones, or None to draw them.
        bias: a given one [rows].
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
    else:
        arrays = tuple(jnp.asarray(core) for core in cores)
        shapes = tuple(core.shape for core in arrays)
        if shapes != layout.core_shapes:
            raise ValueError(f"Core shapes {shapes} do not fit {layout}: {layout.core_shapes}.")
    if bias is None:
        blank = use_bias and cores is None
        return arrays, jnp.zeros(layout.rows, dtype) if blank else None
    bias = jnp.asarray(bias)
    if bias.shape != (layout.rows,):
        raise ValueError(f"A bias for {layout.rows} outputs has the shape {bias.shape}.")
    return arrays, bias
