"""What of a long contraction is alike: repeated steps become one loop, equal steps one batch.

An order of thousands of pairs is cut into segments, each a chain of steps through which one value
goes. Steps that repeat make a segment with a count, which a program runs as one loop. Segments of
one form that do not wait for each other make a batch. So programs are as large as a network has
kinds of steps, whatever the number of its nodes.
"""

import collections
import dataclasses
import math
from collections.abc import Iterable, Sequence

from .._tuned import cached, tuned
from .equation import Equation, Labels
from .order import Group, Pairs, pairs_of


@dataclasses.dataclass(frozen=True)
class Schedules:
    """When steps of a contraction become loops.

    Attributes:
        period: steps up to which a repeated pattern is looked for. A node of two layers with three
            branches takes five.
        repeats: repetitions from which on a pattern is a loop. A loop is compiled in about the
            time of four products.
        stacked: arrays that are stacked at once (see `scaled`).
        bits: of the terms of a value's products, past which it is normalized: a product of
            mantissas is at most its terms, and single precision holds 127 bits.
        few: operands up to which products one by one are compiled as fast.
    """

    period: int = 6
    repeats: int = 4
    stacked: int = 50
    bits: int = 60
    few: int = 20


SCHEDULES = tuned("schedules", Schedules(), traced=True)


@dataclasses.dataclass(frozen=True)
class Product:
    """One product of two values: the axes that only one of them has and nobody needs are summed
    first; the rest are dimension numbers of `lax.dot_general`."""

    left: tuple[int, ...]
    right: tuple[int, ...]
    sum_left: tuple[int, ...]
    sum_right: tuple[int, ...]
    contract: tuple[tuple[int, ...], tuple[int, ...]]
    batch: tuple[tuple[int, ...], tuple[int, ...]]


@dataclasses.dataclass(frozen=True)
class Segment:
    """A value `base` times `sides`, one after the other, by `pattern` in turn; makes `value`."""

    base: int
    sides: tuple[int, ...]
    pattern: tuple[Product, ...]
    count: int
    value: int


@dataclasses.dataclass(frozen=True)
class Schedule:
    """How to contract an equation of many operands.

    Attributes:
        batches: segments of one pattern and count that can run together, in order.
        root: the value that is the result.
        final_sum, final_permutation: what is left to do to it.
        kernels: products that a program consists of.
        flops: multiplications and additions.
        largest: entries of the largest value.
        peak: entries alive at the worst moment, operands (as given and as mantissas) and result
            included.
    """

    batches: tuple[tuple[Segment, ...], ...]
    root: int
    final_sum: tuple[int, ...]
    final_permutation: tuple[int, ...]
    kernels: int
    flops: int
    largest: int
    peak: int


@cached(maxsize=256)
def schedule(equation: Equation, groups: tuple[Group, ...]) -> Schedule:
    """The schedule of an equation of one operand or more, whose `groups` belong together."""
    return schedule_along(equation, pairs_of(equation, groups))


def schedule_along(equation: Equation, pairs: Iterable[tuple[int, int]]) -> Schedule:
    """The schedule in a known order."""
    pairs = list(pairs)
    products, labels, flops = _products(equation, pairs)
    segments = _segments(len(equation.inputs), pairs, products)
    batches = _batches(segments)
    last = labels[-1]
    kept = [x for x in last if x in equation.output]
    sizes = [_count(value, equation.size_dict) for value in labels]
    return Schedule(
        batches,
        len(labels) - 1,
        tuple(a for a, x in enumerate(last) if x not in equation.output),
        tuple(kept.index(x) for x in equation.output),
        sum(len(batch[0].pattern) for batch in batches),
        flops,
        max(sizes),
        _peak(batches, sizes, len(equation.inputs)),
    )


def _peak(batches: tuple[tuple[Segment, ...], ...], sizes: list[int], operands: int) -> int:
    alive = peak = 2 * sum(sizes[:operands])
    for batch in batches:
        inside = 0  # stacks of the sides, and two values of each segment on its way
        for segment in batch:
            inside += sum(sizes[x] for x in segment.sides)
            inside += 2 * max(sizes[segment.base], *map(_size, segment.pattern))
        peak = max(peak, alive + inside)
        for segment in batch:
            used = (x for x in (segment.base, *segment.sides) if x >= operands)
            alive += sizes[segment.value] - sum(sizes[x] for x in used)
        peak = max(peak, alive)
    return peak


def _size(product: Product) -> int:
    """Entries of a product."""
    own = [
        math.prod(size for axis, size in enumerate(shape) if axis not in gone)
        for shape, gone in ((product.left, product.sum_left), (product.right, product.sum_right))
    ]
    left = [size for axis, size in enumerate(product.left) if axis not in product.sum_left]
    shared = math.prod(left[axis] for axis in product.contract[0])
    return own[0] * own[1] // (shared**2 * math.prod(left[axis] for axis in product.batch[0]))


def _count(labels: Sequence[int], sizes: dict[int, int]) -> int:
    out = 1
    for x in labels:
        out *= sizes[x]
    return out


def _products(equation: Equation, pairs: Pairs) -> tuple[list[Product], list[Labels], int]:
    """Each step's product, the labels of all values, and the flops."""
    sizes, flops = equation.size_dict, 0
    users = collections.Counter(x for labels in equation.inputs for x in labels)
    users.update(equation.output)
    values: list[Labels] = list(equation.inputs)
    out = []
    for a, b in pairs:
        left, right = values[a], values[b]
        users.subtract(left)
        users.subtract(right)
        alone = lambda own, other: tuple(
            axis for axis, x in enumerate(own) if not users[x] and x not in other
        )
        sum_left, sum_right = alone(left, right), alone(right, left)
        shapes = tuple(tuple(sizes[x] for x in labels) for labels in (left, right))
        left = tuple(x for axis, x in enumerate(left) if axis not in sum_left)
        right = tuple(x for axis, x in enumerate(right) if axis not in sum_right)
        shared = [x for x in left if x in right]
        summed = [x for x in shared if not users[x]]
        batched = [x for x in shared if users[x]]
        axes = lambda names, left=left, right=right: (
            tuple(left.index(x) for x in names),
            tuple(right.index(x) for x in names),
        )
        out.append(Product(shapes[0], shapes[1], sum_left, sum_right, axes(summed), axes(batched)))
        result = (
            *batched,
            *(x for x in left if x not in shared),
            *(x for x in right if x not in shared),
        )
        users.update(result)
        flops += 2 * _count(result, sizes) * _count(summed, sizes)
        values.append(result)
    return out, values, flops


def _segments(operands: int, pairs: Pairs, products: list[Product]) -> list[Segment]:
    """The steps as segments: a chain follows the first value of each pair."""
    used = {left: step for step, (left, _) in enumerate(pairs)}
    out = []
    for start in sorted(left for left in used if left < operands):
        chain, value = [], start
        while value in used:
            chain.append(used[value])
            value = operands + used[value]
        out += _cut(operands, chain, pairs, products)
    return out


def _cut(operands: int, chain: list[int], pairs: Pairs, products: list[Product]) -> list[Segment]:
    """One chain, cut where its pattern changes."""
    kinds: dict[Product, int] = {}
    kind = [kinds.setdefault(products[step], len(kinds)) for step in chain]
    out, at = [], 0
    while at < len(chain):
        length, count = _repeated(kind, at)
        steps = chain[at : at + length * count]
        out.append(
            Segment(
                pairs[steps[0]][0],
                tuple(pairs[step][1] for step in steps),
                tuple(products[step] for step in steps[:length]),
                count,
                operands + steps[-1],
            )
        )
        at += length * count
    return out


def _repeated(kind: list[int], at: int) -> tuple[int, int]:
    """The pattern that repeats from here on the farthest, its length and its repetitions; one step
    if none repeats often enough."""
    best = (1, 1)
    for length in range(1, SCHEDULES().period + 1):
        end = at + length
        while end < len(kind) and kind[end] == kind[end - length]:
            end += 1
        count = (end - at) // length
        if count >= SCHEDULES().repeats and length * count > best[0] * best[1]:
            best = (length, count)
    return best


def _batches(segments: list[Segment]) -> tuple[tuple[Segment, ...], ...]:
    """Segments of one form that wait for the same number of others are one batch."""
    made = {segment.value: segment for segment in segments}
    level: dict[int, int] = {}
    for segment in sorted(segments, key=lambda segment: segment.value):
        needs = [x for x in (segment.base, *segment.sides) if x in made]
        level[segment.value] = 1 + max((level[x] for x in needs), default=0)
    found: dict[tuple, list[Segment]] = {}
    for segment in segments:
        key = (level[segment.value], segment.pattern, segment.count)
        found.setdefault(key, []).append(segment)
    return tuple(tuple(found[key]) for key in sorted(found, key=lambda key: key[0]))
