"""The arithmetic of tensor-network layers, for every framework: pure functions of a layout and
its cores."""

import dataclasses
import functools
import math
from typing import Literal, get_args

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import DTypeLike
from jaxtyping import Array, Inexact, Integer, PRNGKeyArray

from ..contract.kernels import FULL, contract
from ._layout import Layout
from ._tap import TappedLayout

Cores = tuple[Array, ...]
Mode = Literal["auto", "input", "weight"]
Scheme = Literal["even", "fan"]


@dataclasses.dataclass(frozen=True)
class Forward:
    """How a layer computes its outputs.

    Args:
        mode: "input" contracts the cores into the inputs, "weight" rebuilds the weight first,
            "auto" takes the cheaper one by forecast for the batch.
        checkpoint: recompute intermediates in the backward pass instead of keeping them.

    Raises:
        ValueError: if the mode is unknown.

    Example:
        >>> from tnjax.nn import Forward, Spectra
        >>> Spectra(forward=Forward(mode="weight")).forward
        Forward(mode='weight', checkpoint=False)
    """

    mode: Mode = "auto"
    checkpoint: bool = False

    def __post_init__(self) -> None:
        if self.mode not in get_args(Mode):
            raise ValueError(f'mode={self.mode!r}; expected "auto", "input" or "weight".')


def weight(
    layout: Layout, cores: Cores, *, precision: lax.PrecisionLike = FULL
) -> Inexact[Array, "rows columns"]:
    """The dense matrix, padding removed."""
    full = contract(layout.weight_equation(), cores, precision=precision)
    return full.reshape(layout.padded_rows, layout.padded_columns)[: layout.rows, : layout.columns]


def apply(
    layout: Layout,
    cores: Cores,
    x: Inexact[Array, "*batch columns"],
    *,
    mode: Mode = "auto",
    checkpoint: bool = False,
    precision: lax.PrecisionLike = FULL,
) -> Inexact[Array, "*batch rows"]:
    """W x for a batch of vectors.

    Args:
        layout: of W.
        cores: one for each of `layout.nodes`.
        x: vectors in the last axis.
        mode: "input" contracts the cores into x, "weight" rebuilds W first, "auto" takes the
            cheaper one by forecast for this batch (see `Layout.forecast`). Under `vmap` the
            forecast sees one vector; pass a batch instead where you can.
        checkpoint: recompute intermediates in the backward pass instead of keeping them.
        precision: of the products, as in `jax.lax.Precision`.

    Raises:
        ValueError: if the last axis of x is not `layout.columns` long, or the mode is unknown.
    """
    check_inputs(layout, x)
    if isinstance(layout, TappedLayout):
        return layout.apply(tuple(cores), x, precision=precision)
    batch = math.prod(x.shape[:-1])
    if mode == "auto":
        mode = layout.forecast(max(batch, 1), cores[0].dtype).best
    forwards = {"input": _into_input, "weight": _through_weight}
    if mode not in forwards:
        raise ValueError(f'mode={mode!r}; expected "auto", "input" or "weight".')
    forward = functools.partial(forwards[mode], layout, precision=precision)
    if checkpoint:
        forward = jax.checkpoint(forward)
    out = forward(tuple(cores), x.reshape(batch, layout.columns))
    return out.reshape(*x.shape[:-1], layout.rows)


def check_inputs(layout: Layout, x: Array) -> None:
    """See that the last axis holds the inputs.

    Raises:
        ValueError: if it does not.
    """
    if not x.ndim or x.shape[-1] != layout.columns:
        raise ValueError(
            f"A layer with {layout.columns} inputs got an array of shape {x.shape}: the last axis "
            "must hold the inputs."
        )


def with_bias(out: Array, bias: Array | None, axis: int = -1) -> Array:
    """Outputs with a bias along an axis, or as they are without one."""
    if bias is None:
        return out
    sizes = [1] * out.ndim
    sizes[axis] = bias.size
    return out + bias.reshape(sizes)


def _through_weight(
    layout: Layout, cores: Cores, x: Array, *, precision: lax.PrecisionLike
) -> Array:
    return jnp.dot(x, weight(layout, cores, precision=precision).T, precision=precision)


def _into_input(layout: Layout, cores: Cores, x: Array, *, precision: lax.PrecisionLike) -> Array:
    batch, structure = x.shape[0], layout.structure
    x = jnp.pad(x, ((0, 0), (0, layout.padded_columns - layout.columns)))
    x = x.reshape(batch, *structure.dims[layout.num_row_modes :])
    out = contract(layout.apply_equation(batch), (x, *cores), precision=precision)
    return out.reshape(batch, layout.padded_rows)[:, : layout.rows]


def rows(
    layout: Layout,
    cores: Cores,
    indices: Integer[Array, "*batch"],
    *,
    precision: lax.PrecisionLike = FULL,
) -> Inexact[Array, "*batch columns"]:
    """Single rows of W, without W: cost linear in their number. Negative indices count from the
    end, as NumPy counts; what lies outside is clipped."""
    flat = indices.reshape(-1)
    if jnp.iinfo(flat.dtype).bits < 32:  # the number of rows may be past its range
        flat = flat.astype(jnp.int32)
    flat = jnp.clip(jnp.where(flat < 0, flat + layout.rows, flat), 0, layout.rows - 1)
    digits = jnp.unravel_index(flat, layout.structure.dims[: layout.num_row_modes])
    picked = []
    for core, node in zip(cores, layout.nodes, strict=True):
        labels = layout.core_labels(node)
        where = [axis for axis, label in enumerate(labels) if label < layout.num_row_modes]
        if where:
            core = jnp.moveaxis(core, where, range(len(where)))
            core = core[tuple(digits[labels[axis]] for axis in where)]
        picked.append(core)
    out = contract(layout.rows_equation(flat.size), picked, precision=precision)
    out = out.reshape(flat.size, layout.padded_columns)[:, : layout.columns]
    return out.reshape(*indices.shape, layout.columns)


def init_cores(
    layout: Layout,
    *,
    key: PRNGKeyArray,
    variance: float,
    dtype: DTypeLike = jnp.float32,
    scheme: Scheme = "even",
) -> Cores:
    r"""Gaussian cores for which every entry of W has the variance of a dense layer's.

    The entries of W are sums over the bonds of products of one entry per core, all independent,
    so that their variance is $\prod_b r_b \prod_k \sigma_k^2$ for cores of standard deviation
    $\sigma_k$, whatever the graph.

    Args:
        layout: of W.
        key: for the cores.
        variance: of an entry of W. Outputs then have the variance of a dense layer with such
            entries, `columns * variance` for inputs of unit mean square.
        dtype: of the cores.
        scheme: "even" gives all cores one standard deviation; "fan" gives each one
            $\sqrt{\min(f_{in}, f_{out})} / f_{in}$ by its own fans, as maximal update
            parametrization asks (see `core_fans`), and one common factor for the variance.

    Returns:
        Cores of `layout.core_shapes`.

    Raises:
        ValueError: if the variance is not positive or the scheme is unknown.

    Example:
        >>> import jax
        >>> from tnjax.nn import init_cores, low_rank
        >>> cores = init_cores(low_rank(20, 30, 4), key=jax.random.key(0), variance=1 / 30)
        >>> [core.shape for core in cores]
        [(20, 4), (30, 4)]
    """
    if not variance > 0:
        raise ValueError(f"init_cores: the variance must be positive, got {variance!r}.")
    bonds = math.prod(
        rank for edge, rank in layout.structure.edges.items() if not set(edge) & set(layout.copies)
    )
    count = len(layout.nodes)
    if scheme == "even":
        relative = [1.0] * count
    elif scheme == "fan":
        relative = [math.sqrt(min(fans)) / fans[0] for fans in core_fans(layout)]
    else:
        raise ValueError(f'init_cores: scheme={scheme!r}; expected "even" or "fan".')
    common = (variance / bonds) ** (0.5 / count) / math.prod(r ** (1 / count) for r in relative)
    keys = jax.random.split(key, count)
    return tuple(
        jnp.asarray(common * factor, dtype) * jax.random.normal(k, shape, dtype)
        for k, factor, shape in zip(keys, relative, layout.core_shapes, strict=True)
    )


def core_fans(layout: Layout) -> tuple[tuple[int, int], ...]:
    """Fan-in and fan-out of every core, as a dense map of its own.

    Cores are seen as applied one after the other: those with columns first, in the order of nodes.
    What a core sums over (its columns and its bonds to cores applied before) is its fan-in; rows
    and bonds to later cores are its fan-out. Digits of copies are batch axes and count in neither.

    Args:
        layout: of the weight.

    Returns:
        (fan-in, fan-out) for each of `layout.nodes`.

    Example:
        >>> from tnjax.nn import core_fans, low_rank
        >>> core_fans(low_rank(20, 30, 4))
        ((4, 20), (30, 4))
    """
    structure, count = layout.structure, layout.num_row_modes
    has_columns = lambda node: any(mode >= count for mode in structure.legs[node])
    order = sorted(layout.nodes, key=lambda node: (not has_columns(node), node))
    position = {node: place for place, node in enumerate(order)}
    fans = []
    for node in layout.nodes:
        fan_in = fan_out = 1
        for mode in structure.legs[node]:
            if mode >= count:
                fan_in *= structure.dims[mode]
            else:
                fan_out *= structure.dims[mode]
        for edge in structure.core_edges(node):
            if set(edge) & set(layout.copies):
                continue
            if any(position[other] < position[node] for other in edge):
                fan_in *= structure.edges[edge]
            else:
                fan_out *= structure.edges[edge]
        fans.append((fan_in, fan_out))
    return tuple(fans)


def learning_rate_scales(layout: Layout, *, base_fan_in: int = 1) -> tuple[float, ...]:
    """Factors for Adam's learning rate, one per core: `base_fan_in` / fan-in.

    With them (and `scheme="fan"`) a rate that was tuned at a small width, whose fan-in is
    `base_fan_in`, holds at other widths and ranks. Use them with `optax.multi_transform` or by
    scaling the updates.

    Args:
        layout: of the weight.
        base_fan_in: of the cores for which the rate was tuned.

    Returns:
        A factor for each of `layout.nodes`.

    Example:
        >>> from tnjax.nn import learning_rate_scales, low_rank
        >>> learning_rate_scales(low_rank(20, 30, 4), base_fan_in=4)
        (1.0, 0.13333333333333333)

    Reference:
        Qiu et al., arXiv 2406.06248, section 4; Yang et al., arXiv 2203.03466.
    """
    return tuple(base_fan_in / fan_in for fan_in, _ in core_fans(layout))
