"""Contractions of any number of operands that neither overflow nor underflow.

All values are kept as a mantissa and a power of two, which is exact. What is alike is stacked:
repeated steps run as a loop, equal steps as a batch (see `schedule`), so that a train of thousands
of nodes compiles in about the time of one of a dozen.
"""

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Int

from ._mantissa import normalized
from .equation import Equation
from .kernels import FULL
from .schedule import SCHEDULES, Product, Schedule, Segment, schedule

# Each operand is one of the arrays that are given, by its place, maybe conjugated.
Uses = tuple[tuple[int, bool], ...]
Groups = tuple[tuple[int, ...], ...]


class Scaled(NamedTuple):
    """A tensor of any size: `mantissa * exp(log_scale)`.

    Attributes:
        mantissa: the tensor, its largest real or imaginary part in [0.5, 1), or zero.
        log_scale: a real scalar; 0 for a tensor of zeros. It has no derivative: the mantissa has
            all of it.

    Example:
        >>> import jax.numpy as jnp
        >>> from tnjax.contract import contract
        >>> large = jnp.full((2,), 1e30)
        >>> value = contract("a,b,c->", large, large, large, log=True)
        >>> round(float(jnp.log(value.mantissa) + value.log_scale), 3)  # of 8e90
        209.312
    """

    mantissa: Array
    log_scale: Array


def evaluate(
    equation: Equation,
    arrays: Sequence[Array],
    *,
    uses: Uses | None = None,
    groups: Groups | None = None,
    recipe: Schedule | None = None,
    precision: lax.PrecisionLike = FULL,
) -> tuple[Array, Int[Array, ""]]:
    """The mantissa and the power of two of an equation.

    Args:
        equation: of one operand or more.
        arrays: of one dtype, single or double precision.
        uses: which array each operand is; the arrays in order by default.
        groups: operands that belong together, as the two layers of a node do.
        recipe: the schedule, if it is known.
        precision: of the products.
    """
    count = len(equation.inputs)
    uses = tuple((n, False) for n in range(count)) if uses is None else uses
    if recipe is None:
        groups = tuple((n,) for n in range(count)) if groups is None else groups
        recipe = schedule(equation, groups)
    values = _Values(arrays, uses)
    for batch in recipe.batches:
        values.add([segment.value for segment in batch], *_run(batch, values, precision))
    out = values.stacked([recipe.root])[0]
    if recipe.final_sum:
        out = out.sum(recipe.final_sum)
    out, exponent = normalized(lax.transpose(out, recipe.final_permutation))
    return out, values.exponent + exponent


class _Values:
    """Values in stacks of one shape, and the sum of all exponents that were taken out of them."""

    def __init__(self, arrays: Sequence[Array], uses: Uses):
        self.stacks: list[Array] = []
        self.exponent = jnp.zeros((), jnp.int32)
        self.where: dict[int, tuple[int, int, bool]] = {}
        shapes: dict[tuple[int, ...], list[int]] = {}
        for place, array in enumerate(arrays):
            shapes.setdefault(array.shape, []).append(place)
        at = {}
        times = np.bincount([place for place, _ in uses], minlength=len(arrays))
        for places in shapes.values():
            stack, exponents = _normalized_stack([arrays[place] for place in places])
            self.exponent += exponents @ jnp.asarray(times[places], jnp.int32)
            at |= {place: (len(self.stacks), row) for row, place in enumerate(places)}
            self.stacks.append(stack)
        for value, (place, conjugated) in enumerate(uses):
            self.where[value] = (*at[place], conjugated)

    def add(self, names: list[int], stack: Array, exponent: Array) -> None:
        self.where |= {name: (len(self.stacks), row, False) for row, name in enumerate(names)}
        self.stacks.append(stack)
        self.exponent += exponent

    def stacked(self, names: list[int]) -> Array:
        """Values of one shape along a leading axis."""
        homes: dict[tuple[int, bool], list[int]] = {}
        for place, name in enumerate(names):
            stack, _, conjugated = self.where[name]
            homes.setdefault((stack, conjugated), []).append(place)
        parts = []
        for (stack, conjugated), places in homes.items():
            part = _rows(self.stacks[stack], [self.where[names[place]][1] for place in places])
            parts.append(part.conj() if conjugated else part)
        if len(parts) == 1:
            return parts[0]
        order = np.argsort(np.concatenate(list(homes.values())))
        return _rows(jnp.concatenate(parts), order.tolist())


def _normalized_stack(arrays: list[Array]) -> tuple[Array, Array]:
    """Arrays of one shape along a leading axis, each normalized.

    Many are normalized in loops of a few of them: compilers would write what comes after the stack
    into a program for each of the arrays in the derivative, and they take ten times as long for
    slices of one array with hundreds of them.
    """
    few = SCHEDULES().stacked
    parts = []
    for first in range(0, len(arrays), few):
        group = arrays[first : first + few]
        flat = lax.concatenate([array.reshape(-1) for array in group], 0)
        stack = flat.reshape(len(group), *group[0].shape)
        parts.append(lax.map(normalized, stack) if len(arrays) > few else normalized(stack, 1))
    if len(parts) == 1:
        return parts[0]
    mantissas, exponents = zip(*parts, strict=True)
    return jnp.concatenate(mantissas), jnp.concatenate(exponents)


def _rows(stack: Array, rows: list[int]) -> Array:
    first, last = rows[0], rows[-1]
    if rows == list(range(first, last + 1)):
        return stack if len(rows) == len(stack) else lax.slice_in_dim(stack, first, last + 1)
    if rows == list(range(first, last - 1, -1)):
        return lax.rev(lax.slice_in_dim(stack, last, first + 1), (0,))
    return stack[np.asarray(rows)]


def _run(
    batch: tuple[Segment, ...], values: _Values, precision: lax.PrecisionLike
) -> tuple[Array, Array]:
    """All segments of a batch: the values that they make, and their exponents' sum."""
    pattern, count = batch[0].pattern, batch[0].count
    base = values.stacked([segment.base for segment in batch])
    sides = []
    for place in range(len(pattern)):
        names = [s.sides[n * len(pattern) + place] for n in range(count) for s in batch]
        side = values.stacked(names)
        sides.append(side.reshape(count, len(batch), *side.shape[1:]))
    step = functools.partial(_through, pattern, precision)
    if count == 1:
        return step(base, tuple(side[0] for side in sides))
    out, exponents = lax.scan(step, base, tuple(sides))
    return out, exponents.sum(dtype=jnp.int32)


def _through(
    pattern: tuple[Product, ...],
    precision: lax.PrecisionLike,
    value: Array,
    sides: tuple[Array, ...],
) -> tuple[Array, Array]:
    """One pass through a pattern, [batch, ...]."""
    total, bits = jnp.zeros((), jnp.int32), 0.0
    for n, (product, side) in enumerate(zip(pattern, sides, strict=True)):
        terms = np.log2([product.left[axis] for axis in product.contract[0]]).sum()
        bits += terms
        if n and bits > SCHEDULES().bits:
            value, exponents = normalized(value, 1)
            total, bits = total + exponents.sum(dtype=jnp.int32), terms
        value = _product(product, value, side, precision)
    value, exponents = normalized(value, 1)
    return value, total + exponents.sum(dtype=jnp.int32)


def _product(product: Product, left: Array, right: Array, precision: lax.PrecisionLike) -> Array:
    moved = lambda axes: tuple(axis + 1 for axis in axes)
    if product.sum_left:
        left = left.sum(moved(product.sum_left))
    if product.sum_right:
        right = right.sum(moved(product.sum_right))
    contract = tuple(map(moved, product.contract))
    batch = tuple((0, *moved(axes)) for axes in product.batch)
    dimensions: Any = (contract, batch)
    return lax.dot_general(left, right, dimensions, precision=precision)
