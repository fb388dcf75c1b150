"""`lax.dot_general` as products of matrices that leave the larger operand where it lies.

A contraction of a large tensor with a small core takes as long as moving the tensor; multiplying
takes less. So the axes of the larger operand are taken in their order in memory: if those that
are summed over lie together, innermost or next to it, the operand is a stack of matrices as it
is. The result keeps that order too, under axes that are transposed as a view.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple, no_type_check

import numpy as np

from .._tuned import tuned


@dataclasses.dataclass(frozen=True)
class Products:
    """Products of stacks of matrices by NumPy.

    Attributes:
        worthwhile: entries of the matrices of a stack, below which rearranging the operand is
            quicker ...
        few: ... unless the stack has at most so many matrices.
    """

    worthwhile: int = 2048
    few: int = 4


PRODUCTS = tuned("interpreted_products", Products(), traced=True)


Label = tuple[str, int]
# NumPy makes scalars of arrays without axes.
Value = np.ndarray | np.generic


@no_type_check  # called for every operation: checks of types at run time would take most of it
class Product:
    """The product for given shapes; how it is done is decided once for each layout in memory.

    Args:
        left, right: shapes of the operands.
        contract, batch: axes of each, as for `lax.dot_general`.
    """

    def __init__(
        self,
        left: tuple[int, ...],
        right: tuple[int, ...],
        contract: tuple[Sequence[int], Sequence[int]],
        batch: tuple[Sequence[int], Sequence[int]],
    ):
        self._labels = (
            _labels(len(left), contract[0], batch[0], "left"),
            _labels(len(right), contract[1], batch[1], "right"),
        )
        self._sizes = dict(zip(self._labels[0], left, strict=True))
        self._sizes |= dict(zip(self._labels[1], right, strict=True))
        free = [[x for x in labels if x[0] in ("left", "right")] for labels in self._labels]
        shared = [("batch", n) for n in range(len(batch[0]))]
        self._out = (*shared, *free[0], *free[1])
        self._big = int(math.prod(left) < math.prod(right))
        self._known: dict[tuple, Callable] = {}

    def __call__(self, left: Value, right: Value) -> np.ndarray:
        key = left.strides, right.strides
        call = self._known.get(key)
        if call is None:
            pair = (left, right)
            call = self._known[key] = self._planned(pair[self._big])
        return call(left, right)

    def _planned(self, big: Value) -> Callable:
        found = _stack(self._labels[self._big], big, self._sizes)
        if found is None:
            found = self._rearranged()
        stack, rows, columns = found
        inner_last = all(label[0] == "sum" for label in columns)
        summed, kept = (columns, rows) if inner_last else (rows, columns)
        mine = self._labels[1 - self._big]
        others = [x for x in mine if x not in summed and x[0] != "batch"]
        inner = [*summed, *others] if inner_last else [*others, *summed]
        size = lambda labels: math.prod(self._sizes[x] for x in labels)
        outer = [x for x in stack if x[0] == "batch"]
        lead = [self._sizes[x] for x in stack]
        narrow = [self._sizes[x] if x[0] == "batch" else 1 for x in stack]
        split = (summed, others) if inner_last else (others, summed)
        of_big = _view(self._labels[self._big], [*stack, *rows, *columns])
        of_small = _view(mine, [*outer, *inner])
        big_shape = (*lead, size(rows), size(columns))
        small_shape = (*narrow, size(split[0]), size(split[1]))
        result = [*stack, *kept, *others] if inner_last else [*stack, *others, *kept]
        full = tuple(self._sizes[x] for x in result)
        order = tuple(result.index(x) for x in self._out)
        position = self._big

        def call(left, right):
            big, small = (right, left) if position else (left, right)
            big = _matrices(big.transpose(of_big).reshape(big_shape))
            small = _matrices(small.transpose(of_small).reshape(small_shape))
            out = np.matmul(big, small) if inner_last else np.matmul(small, big)
            return out.reshape(full).transpose(order)

        return call

    def _rearranged(self) -> "_Stack":
        """In the order of the result: the axes that are summed over innermost."""
        labels = self._labels[self._big]
        stack = [x for x in self._out if x[0] == "batch"]
        summed = [x for x in labels if x[0] == "sum"]
        return _Stack(stack, [x for x in labels if x not in stack and x not in summed], summed)


class _Stack(NamedTuple):
    """An operand as matrices: what numbers them, their rows and their columns. One of the latter
    is summed over."""

    stack: list[Label]
    rows: list[Label]
    columns: list[Label]


def _labels(
    count: int, contract: Sequence[int], batch: Sequence[int], side: str
) -> tuple[Label, ...]:
    """A name for each axis; those that are paired have the same."""
    names: list[Label] = [(side, n) for n in range(count)]
    for n, axis in enumerate(contract):
        names[axis] = ("sum", n)
    for n, axis in enumerate(batch):
        names[axis] = ("batch", n)
    return tuple(names)


def _view(labels: Sequence[Label], order: Sequence[Label]) -> tuple[int, ...]:
    return tuple(labels.index(label) for label in order)


def _stack(labels: Sequence[Label], array: Value, sizes: dict[Label, int]) -> _Stack | None:
    """The operand as a stack of matrices where it lies, if it is one that is worthwhile."""
    axes = [n for n, size in enumerate(array.shape) if size > 1]
    units = [labels[n] for n, size in enumerate(array.shape) if size == 1]
    axes.sort(key=lambda n: -array.strides[n])
    if not axes or array.strides[axes[-1]] != array.itemsize:
        return None
    groups: list[list[Label]] = []
    place = len(axes)
    for _ in range(2):  # runs of one kind whose axes follow each other, from the innermost
        run: list[int] = []
        while place:
            n = axes[place - 1]
            same = not run or labels[n][0] == labels[run[0]][0]
            follows = not run or array.strides[n] == array.strides[run[0]] * array.shape[run[0]]
            if labels[n][0] == "batch" or not same or not follows:
                break
            run.insert(0, n)
            place -= 1
        groups.insert(0, [labels[n] for n in run])
    rows, columns = groups
    stack = [labels[n] for n in axes[:place]]
    kinds = [{label[0] for label in group} for group in groups]
    if any(label[0] == "sum" for label in stack) or kinds[0] == kinds[1] or not columns:
        return None
    summed_last = kinds[1] == {"sum"}
    for label in units:
        if label[0] != "sum":
            stack.append(label)
        elif summed_last:
            columns.append(label)
        else:
            rows.append(label)
    entries = math.prod(sizes[label] for label in (*rows, *columns))
    if entries < PRODUCTS().worthwhile and array.size > PRODUCTS().few * entries:
        return None
    return _Stack(stack, rows, columns)


@no_type_check
def _matrices(x: np.ndarray) -> np.ndarray:
    """In a layout that BLAS takes: one of the last two axes contiguous."""
    return x if x.itemsize in x.strides[-2:] else np.ascontiguousarray(x)
