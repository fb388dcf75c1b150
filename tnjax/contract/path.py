"""Contraction paths: found on the host, once per equation, always pairwise.

A `Plan` is a value that tells its own flops and peak size before anything is allocated, and
that a kernel executes as a chain of `dot_general`.
"""

import dataclasses
import math
from typing import Any

import opt_einsum

from .. import _interrupt
from .._tuned import cached, tuned
from .equation import Equation, Labels

# Positions of two operands, that both are popped; the result is appended.
Path = tuple[tuple[int, int], ...]

try:  # an optional extra: finds the same optimal paths as `dp`, some ten times sooner
    import cotengra
except ImportError:
    cotengra = None


@dataclasses.dataclass(frozen=True)
class Paths:
    """Searches for the order of a contraction.

    Attributes:
        exact_operands: operands up to which the search is exact; beyond, the greedy heuristics.
        exact_sets: connected sets of operands up to which it is: it goes through their pairs (4,096
            take opt_einsum half a second, twice as many two).
        dear: multiplications of a greedy path from which on a better one is looked for: they take
            about as long as that, some tenth of a second.
        repeats: randomized greedy searches for it, of which the best is refined. With these, dear
            networks of `experiments/benchmarks/paths.py` end within a factor of ten of what two
            seconds of search find; greedy paths need thousands of times more.
        true_operands: operands up to which sizes are taken as they are: a search takes a
            millisecond.
    """

    exact_operands: int = 20
    exact_sets: int = 4096
    dear: int = 2**27
    repeats: int = 16
    true_operands: int = 8


PATHS = tuned("paths", Paths(), traced=True)


@dataclasses.dataclass(frozen=True)
class Step:
    """Contract the operands at two `positions` (popped from the list) and append the result.

    One of them is on the left of the product, the second if they are `swapped`. `sum_left`,
    `sum_right` are axes that only this operand has and nobody needs any more; the dimension
    numbers are those of `lax.dot_general` after these sums.
    """

    positions: tuple[int, int]
    swapped: bool
    sum_left: tuple[int, ...]
    sum_right: tuple[int, ...]
    contract: tuple[tuple[int, ...], tuple[int, ...]]
    batch: tuple[tuple[int, ...], tuple[int, ...]]


@dataclasses.dataclass(frozen=True)
class Plan:
    """How to contract an equation, and what it costs.

    Attributes:
        steps: pairwise contractions, in order.
        final_sum, final_permutation: what is left to do to the last operand.
        flops: multiplications and additions, two for every term of a sum.
        peak_size: entries alive at the worst moment, operands and result included.
        largest: entries of the largest intermediate.
        moved: entries that all steps read and write.
    """

    steps: tuple[Step, ...]
    final_sum: tuple[int, ...]
    final_permutation: tuple[int, ...]
    flops: int
    peak_size: int
    largest: int
    moved: int


def find_path(equation: Equation) -> Path:
    """Positions to contract pairwise, opt_einsum style (both popped, result appended).

    Deterministic. Where all operands but one touch only that one (a dense tensor and vectors), the
    best order is known without a search. Else cotengra's optimal search when that is installed,
    opt_einsum's `dp` otherwise: both minimize flops without outer products of connected operands.
    Where these would take long, a greedy search; if the path is dear and cotengra is installed, the
    best of several randomized ones, whose parts are made optimal then. Of many operands sizes count
    rounded, so that structures whose ranks differ a little share a search.
    """
    if len(equation.inputs) <= PATHS().true_operands:
        return _search_path(equation)
    sizes = tuple((label, _rounded(size)) for label, size in equation.sizes)
    return _search_path(Equation(equation.inputs, equation.output, sizes))


def _rounded(size: int) -> int:
    """The nearest of 1, 2, 3, 4, 6, 8, 12, 16, 24, ..."""
    power = 1 << max(size.bit_length() - 2, 0)
    return power * min(round(size / power), 4)


@cached(maxsize=4096)
def _search_path(equation: Equation) -> Path:
    inputs = [frozenset(labels) for labels in equation.inputs]
    if len(inputs) < 2:
        return ()
    star = _star_path(inputs, equation)
    if star is not None:
        return star
    _interrupt.checkpoint()  # the search for a path of many operands takes a while
    # opt_einsum's annotations say letters; it takes any hashable label.
    problem: Any = (inputs, frozenset(equation.output), equation.size_dict)
    exact = len(inputs) <= PATHS().exact_operands and _few_sets(inputs, PATHS().exact_sets)
    if cotengra is not None:
        labels = [tuple(sorted(labels)) for labels in inputs]
        path = _by_cotengra(labels, equation, exact)
    elif exact:
        path = opt_einsum.paths.DynamicProgramming()(*problem)
    else:
        path = opt_einsum.paths.greedy(*problem)
    return _pairwise(path, len(inputs))


def _by_cotengra(labels: list[Labels], equation: Equation, exact: bool) -> Path:
    found: Any = cotengra  # its annotations say letters
    problem = labels, equation.output, equation.size_dict
    tree = found.array_contract_tree(*problem, optimize="optimal" if exact else "greedy")
    # What no float holds is out of reach along any path, and cotengra cannot weigh it.
    if not exact and PATHS().dear < tree.contraction_cost() < 2**512:
        search = found.RandomGreedyOptimizer(PATHS().repeats, seed=0, parallel=False)
        tree = found.array_contract_tree(*problem, optimize=search)
        tree.subtree_reconfigure_()
    return tree.get_path()


def _star_path(inputs: list[frozenset[int]], equation: Equation) -> Path | None:
    """The path of the fewest flops where one operand, the hub, touches all others, and these touch
    nothing else; None for other equations.

    An operand whose sum over d indices leaves r indices of its own makes r / d of the hub's size
    for r times its flops. So of two of them, the one with the larger 1/r - 1/d comes first.
    """
    kept, size = set(equation.output), equation.size_dict
    count = lambda labels: math.prod(size[label] for label in labels)
    hub = max(range(len(inputs)), key=lambda n: len(inputs[n]))
    leaves = [n for n in range(len(inputs)) if n != hub]
    seen: set[int] = set()
    worth = {}
    for n in leaves:
        own = inputs[n] - inputs[hub]
        if own == inputs[n] or not seen.isdisjoint(inputs[n]):
            return None
        seen |= inputs[n]
        rows = count(own & kept)
        worth[n] = 1 / rows - 1 / count((inputs[n] & inputs[hub]) - kept)
    order, out = list(range(len(inputs))), []
    for n in sorted(leaves, key=lambda n: -worth[n]):
        i, j = sorted((order.index(n), order.index(hub)))
        out.append((i, j))
        order.pop(j)
        order.pop(i)
        hub = -1  # what came of it
        order.append(hub)
    return tuple(out)


def _few_sets(inputs: list[frozenset[int]], most: int) -> bool:
    """Whether at most so many sets of operands are connected by labels."""
    if 2 ** len(inputs) <= most:
        return True
    touching = [
        sum(1 << m for m, other in enumerate(inputs) if m != n and labels & other)
        for n, labels in enumerate(inputs)
    ]
    layer, total = {1 << n: touched for n, touched in enumerate(touching)}, 0
    while layer:
        total += len(layer)
        if total > most:
            return False
        larger: dict[int, int] = {}  # sets of one operand more, and what they touch
        for members, touched in layer.items():
            rest = touched & ~members
            while rest:
                bit = rest & -rest
                rest ^= bit
                larger[members | bit] = touched | touching[bit.bit_length() - 1]
            if len(larger) > most:
                return False
        layer = larger
    return True


def _pairwise(path, count: int) -> Path:
    """The same path without single-operand steps (the executor sums by itself)."""
    alive: list[int] = list(range(count))  # names; a singleton step renames nothing
    order: list[int] = list(alive)
    out = []
    for group in path:
        picked = [alive.pop(position) for position in sorted(group, reverse=True)]
        while len(picked) > 1:
            a, b = picked.pop(), picked.pop()
            i, j = sorted((order.index(a), order.index(b)))
            out.append((i, j))
            order.pop(j)
            order.pop(i)
            order.append(count)
            picked.append(count)
            count += 1
        alive.append(picked[0])
    while len(order) > 1:
        out.append((0, 1))
        order = [*order[2:], count]
        count += 1
    return tuple(out)


@cached(maxsize=4096)
def plan(equation: Equation) -> Plan:
    """The plan of an equation; cached, so that a structure is planned once."""
    return plan_along(equation, find_path(equation))


def plan_along(equation: Equation, path: Path) -> Plan:
    """The plan of an equation along a path of pairs."""
    size = equation.size_dict
    count = lambda labels: math.prod(size[label] for label in labels)
    place = {label: n for n, label in enumerate(equation.output)}
    # The operand whose axes come first in the output is on the left, so that less is transposed.
    first = lambda labels: min((place[x] for x in labels if x in place), default=len(place))
    operands: list[Labels] = list(equation.inputs)
    alive = sum(count(labels) for labels in operands)
    given = set(range(len(operands)))
    steps, flops, moved, peak = [], 0, 0, alive
    largest = max(map(count, operands), default=1)
    serials = list(range(len(operands)))
    for i, j in path:
        right, left = operands.pop(j), operands.pop(i)
        serial_right, serial_left = serials.pop(j), serials.pop(i)
        swapped = first(right) < first(left)
        if swapped:
            left, right = right, left
            serial_left, serial_right = serial_right, serial_left
        needed = set(equation.output).union(*operands)
        sum_left = tuple(a for a, x in enumerate(left) if x not in needed and x not in right)
        sum_right = tuple(a for a, x in enumerate(right) if x not in needed and x not in left)
        left = tuple(x for a, x in enumerate(left) if a not in sum_left)
        right = tuple(x for a, x in enumerate(right) if a not in sum_right)
        shared = [x for x in left if x in right]
        summed = [x for x in shared if x not in needed]
        batched = [x for x in shared if x in needed]
        axes = lambda labels, names: tuple(labels.index(x) for x in names)
        steps.append(
            Step(
                (i, j),
                swapped,
                sum_left,
                sum_right,
                (axes(left, summed), axes(right, summed)),
                (axes(left, batched), axes(right, batched)),
            )
        )
        result = (
            *batched,
            *(x for x in left if x not in shared),
            *(x for x in right if x not in shared),
        )
        moved += count(left) + count(right) + count(result)
        flops += (2 if summed else 1) * count(result) * count(summed)
        alive += count(result)
        peak, largest = max(peak, alive), max(largest, count(result))
        for serial, labels in ((serial_left, left), (serial_right, right)):
            if serial not in given:  # operands that the caller holds stay alive
                alive -= count(labels)
        operands.append(result)
        serials.append(-1)
    last = operands[0] if operands else ()
    final_sum = tuple(a for a, x in enumerate(last) if x not in equation.output)
    kept = [x for x in last if x in equation.output]
    permutation = tuple(kept.index(x) for x in equation.output)
    return Plan(tuple(steps), final_sum, permutation, flops, peak, largest, moved)
