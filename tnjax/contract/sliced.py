"""Contractions slice by slice: one program that loops over parts of the operands.

The derivative makes each slice anew, so that it needs no more memory for many slices than for one.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Int

from . import kernels, scaled
from ._mantissa import normalized, times_power
from .equation import Equation, Labels
from .path import plan_along
from .schedule import schedule_along
from .slices import Slices, find_slices

Sum = TypeVar("Sum")


def contract(
    equation: Equation,
    operands: Sequence[Array],
    *,
    limit: int | None = None,
    what: str = "The contraction",
    precision: lax.PrecisionLike = kernels.FULL,
) -> Array:
    """Evaluate an equation of one operand or more, in slices where it would need more memory.

    Args:
        equation, operands: of one dtype.
        limit: bytes; none by default.
        what: is contracted, as a message begins.
        precision: of the products.

    Raises:
        MemoryLimitError: if slices do not fit either.
    """
    itemsize = operands[0].dtype.itemsize
    slices = None if limit is None else find_slices(equation, itemsize, limit, what)
    if slices is None:
        return kernels.contract(equation, operands, precision=precision)
    recipe = plan_along(slices.equation, slices.order)
    one = lambda parts: kernels.contract(slices.equation, parts, recipe=recipe, precision=precision)

    def add(total: Array, part: Array, begin: list[Array]) -> Array:
        old = lax.dynamic_slice(total, begin, part.shape)
        return lax.dynamic_update_slice(total, old + part, begin)

    start = jnp.zeros(_shape(equation), operands[0].dtype)
    return _loop(slices, operands, one, start, add)


def evaluate(
    equation: Equation,
    arrays: Sequence[Array],
    *,
    uses: scaled.Uses | None = None,
    groups: scaled.Groups | None = None,
    limit: int | None = None,
    precision: lax.PrecisionLike = kernels.FULL,
) -> tuple[Array, Int[Array, ""]]:
    """`scaled.evaluate` (see there), in slices where it would need more memory than `limit` bytes.

    Raises:
        MemoryLimitError: if slices do not fit either.
    """
    count = len(equation.inputs)
    groups = tuple((n,) for n in range(count)) if groups is None else groups
    itemsize, what = arrays[0].dtype.itemsize, "The contraction"
    slices = None if limit is None else find_slices(equation, itemsize, limit, what, groups)
    if slices is None:
        return scaled.evaluate(equation, arrays, uses=uses, groups=groups, precision=precision)
    uses = tuple((n, False) for n in range(count)) if uses is None else uses
    # Two layers of a network are cut along different labels.
    operands = [arrays[place] for place, _ in uses]
    each = tuple((n, conjugated) for n, (_, conjugated) in enumerate(uses))
    recipe = schedule_along(slices.equation, slices.order)
    one = lambda parts: scaled.evaluate(
        slices.equation, parts, uses=each, recipe=recipe, precision=precision
    )
    least = jnp.asarray(np.iinfo(np.int32).min // 4, jnp.int32)

    def add(total: tuple[Array, Array], part: tuple[Array, Array], begin: list[Array]):
        mantissa, exponent = part
        exponent = jnp.where(jnp.any(mantissa != 0), exponent, least)
        largest = jnp.maximum(total[1], exponent)
        whole = times_power(total[0], total[1] - largest)
        old = lax.dynamic_slice(whole, begin, mantissa.shape)
        new = old + times_power(mantissa, exponent - largest)
        return lax.dynamic_update_slice(whole, new, begin), largest

    start = jnp.zeros(_shape(equation), arrays[0].dtype), least
    mantissa, exponent = _loop(slices, operands, one, start, add)
    mantissa, more = normalized(mantissa)
    return mantissa, exponent + more


def _shape(equation: Equation) -> tuple[int, ...]:
    return tuple(equation.size_dict[x] for x in equation.output)


def _loop(
    slices: Slices,
    operands: Sequence[Array],
    one: Callable[[list[Array]], Any],
    start: Sum,
    add: Callable[[Sum, Any, list[Array]], Sum],
) -> Sum:
    """All slices, added up one after the other."""
    names = [label for label, _ in slices.parts]
    size = slices.equation.size_dict
    counts = np.array([parts for _, parts in slices.parts], np.int32)
    strides = slices.count // np.cumprod(counts, dtype=np.int32)
    sizes = np.array([size[x] for x in names], np.int32)
    zero = jnp.zeros((), jnp.int32)

    def begin(labels: Labels, row: Array) -> list[Array]:
        return [row[names.index(x)] if x in names else zero for x in labels]

    @jax.checkpoint
    def part(row: Array, operands: Sequence[Array]) -> Any:
        cut = []
        for labels, x in zip(slices.equation.inputs, operands, strict=True):
            shape = tuple(size[label] for label in labels)
            cut.append(x if shape == x.shape else lax.dynamic_slice(x, begin(labels, row), shape))
        return one(cut)

    def body(total: Sum, n: Array) -> tuple[Sum, None]:
        row = lax.rem(lax.div(jnp.full_like(strides, n), strides), counts) * sizes
        return add(total, part(row, operands), begin(slices.equation.output, row)), None

    return lax.scan(body, start, jnp.arange(slices.count, dtype=jnp.int32))[0]


contract_jit = jax.jit(contract, static_argnums=0, static_argnames=("limit", "what", "precision"))
evaluate_jit = jax.jit(
    evaluate, static_argnums=0, static_argnames=("uses", "groups", "limit", "precision")
)
