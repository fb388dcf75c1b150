"""A sweep of operands into a train whose bonds are cut to chi: the arrays of `_sweep`."""

import functools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Int, Real

from . import kernels
from ._mantissa import normalized
from ._sweep import START, Step, sweep
from .equation import Equation

Sites = tuple[Array, ...]  # each [left, label, right]


class Swept(NamedTuple):
    """A number `mantissa * 2**exponent`, and the sum of all discarded weights: squared norms of
    what was cut off, each as a share of the train that it was cut from."""

    mantissa: Array
    exponent: Int[Array, ""]
    discarded: Real[Array, ""]


def swept(
    equation: Equation,
    arrays: Sequence[Array],
    *,
    order: tuple[int, ...] | None,
    chi: int,
    precision: lax.PrecisionLike = kernels.FULL,
) -> Swept:
    """The value of an equation without output labels.

    Where nothing is traced, each step is a program of its own: most steps of a large grid are alike
    and share one.
    """
    train = _Train(arrays[0], chi, precision)
    for step in sweep(equation, order):
        for place in step.swaps:
            train.apply(place, 2, _exchange)
        absorb = functools.partial(_absorb, _relabeled(equation, step))
        train.apply(step.first, len(step.sites), absorb, arrays[step.operand])
    (last,) = train.sites
    return Swept(last.reshape(()), train.exponent, train.discarded)


class _Train:
    """Sites before the center are isometries from the left, those after it from the right, so that
    what is cut off at the center is the least that there is."""

    def __init__(self, like: Array, chi: int, precision: lax.PrecisionLike):
        self.options = chi, precision
        self.sites = [jnp.ones((1, 1, 1), like.dtype)]
        self.center = 0
        self.exponent = jnp.zeros((), jnp.int32)
        self.discarded = jnp.zeros((), like.real.dtype)

    def apply(self, first: int, count: int, function, *operands: Array) -> None:
        """Replace sites by those that a function makes of them; the last of these is the center."""
        last = first + count
        self._move(min(max(self.center, first), last - 1))
        made, exponent, share = function(*self.options, *self.sites[first:last], *operands)
        self.sites[first:last] = made
        self.center = first + len(made) - 1
        self.exponent += exponent
        self.discarded += share

    def _move(self, goal: int) -> None:
        _, precision = self.options
        while self.center < goal:
            pair = slice(self.center, self.center + 2)
            self.sites[pair] = _to_the_right(precision, *self.sites[pair])
            self.center += 1
        while self.center > goal:
            pair = slice(self.center - 1, self.center + 1)
            self.sites[pair] = _to_the_left(precision, *self.sites[pair])
            self.center -= 1


def _relabeled(equation: Equation, step: Step) -> Equation:
    """Sites and operand -> [left, *made, right], with labels in order of their appearance, so that
    equal steps have equal equations. The sizes of the sites' bonds are not a part of it."""
    bonds = [("bond", k) for k in range(len(step.sites) + 1)]
    known: dict[Any, int] = {START: 1, **equation.size_dict}
    inputs: list[tuple[Any, ...]] = [
        (bonds[k], label, bonds[k + 1]) for k, label in enumerate(step.sites)
    ]
    inputs.append(equation.inputs[step.operand])
    name = {x: n for n, x in enumerate(dict.fromkeys(x for labels in inputs for x in labels))}
    sizes = {n: known.get(x, 1) for x, n in name.items()}
    return Equation.create(
        [tuple(name[x] for x in labels) for labels in inputs],
        tuple(name[x] for x in (bonds[0], *step.made, bonds[-1])),
        sizes,
    )


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _absorb(
    equation: Equation, chi: int, precision: lax.PrecisionLike, *operands: Array
) -> tuple[Sites, Array, Array]:
    *sites, array = operands
    array, exponent = normalized(array)
    sizes = {}
    for labels, x in zip(equation.inputs, (*sites, array), strict=True):
        sizes |= dict(zip(labels, x.shape, strict=True))
    equation = Equation.create(equation.inputs, equation.output, sizes)
    block, more = normalized(kernels.contract(equation, (*sites, array), precision=precision))
    sites, share = _split(block, chi)
    return sites, exponent + more, share


@functools.partial(jax.jit, static_argnums=(0, 1))
def _exchange(
    chi: int, precision: lax.PrecisionLike, left: Array, right: Array
) -> tuple[Sites, Array, Array]:
    """Two sites in the other order."""
    pair = lax.dot_general(left, right, (((2,), (0,)), ((), ())), precision=precision)
    sites, share = _split(pair.transpose(0, 2, 1, 3), chi)
    return sites, jnp.zeros((), jnp.int32), share


def _split(block: Array, chi: int) -> tuple[Sites, Array]:
    """A block [left, *labels, right] as sites, all but the last one isometries, and the share of
    the squared norm that is cut off."""
    sites, shares = [], jnp.zeros((), block.real.dtype)
    while block.ndim > 3:
        left, label, *rest = block.shape
        matrix = block.reshape(left * label, math.prod(rest))
        if min(matrix.shape) <= chi:
            first, matrix = jnp.linalg.qr(matrix)
        else:
            u, s, vt = jnp.linalg.svd(matrix, full_matrices=False)
            whole = (s**2).sum()
            shares += (s[chi:] ** 2).sum() / jnp.where(whole > 0, whole, 1)
            first, matrix = u[:, :chi], s[:chi, None].astype(vt.dtype) * vt[:chi]
        sites.append(first.reshape(left, label, -1))
        block = matrix.reshape(-1, *rest)
    return (*sites, block), shares


@functools.partial(jax.jit, static_argnums=0)
def _to_the_right(precision: lax.PrecisionLike, here: Array, after: Array) -> Sites:
    """The center goes from the first of two sites to the second."""
    q, r = jnp.linalg.qr(here.reshape(-1, here.shape[2]))
    moved = jnp.matmul(r, after.reshape(after.shape[0], -1), precision=precision)
    return q.reshape(*here.shape[:2], -1), moved.reshape(-1, *after.shape[1:])


@functools.partial(jax.jit, static_argnums=0)
def _to_the_left(precision: lax.PrecisionLike, before: Array, here: Array) -> Sites:
    """The center goes from the second of two sites to the first."""
    q, r = jnp.linalg.qr(here.reshape(here.shape[0], -1).T)
    moved = jnp.matmul(before.reshape(-1, before.shape[2]), r.T, precision=precision)
    return moved.reshape(*before.shape[:2], -1), q.T.reshape(-1, *here.shape[1:])
