"""The plan of a sweep: operands are absorbed one by one into a train over the labels that are open.

The train begins with a site of size 1 whose label is `START`; it stays to the end, where it holds
the value. All of this looks at labels and sizes only.
"""

import collections
import dataclasses
import functools
import itertools
import math
from collections.abc import Iterator, Sequence

from .equation import Equation

START = -1


@dataclasses.dataclass(frozen=True)
class Step:
    """One operand is absorbed.

    Attributes:
        operand: its place.
        swaps: places of the train; the site at each of them and the next one are exchanged, first.
        first: place of the first of the sites that are contracted with the operand.
        sites: their labels, one or more.
        made: labels of the sites that take their place, one or more.
    """

    operand: int
    swaps: tuple[int, ...]
    first: int
    sites: tuple[int, ...]
    made: tuple[int, ...]


@functools.lru_cache(maxsize=1024)
def sweep(equation: Equation, order: tuple[int, ...] | None) -> tuple[Step, ...]:
    """The steps of a sweep in an order of the operands, or in the best order that is found.

    The best is that whose trains have the fewest entries if nothing is cut off. Sweeps begin at
    operands with the fewest labels (a corner of a grid); the next operand is the one that needs the
    fewest swaps and makes the train the shortest, and among equals the first or the last one, so
    that one of the sweeps follows the rows of a grid and one its columns.
    """
    if order is not None:
        return tuple(_Sweep(equation).in_order(order))
    fewest = min(map(len, equation.inputs))
    starts = [n for n, labels in enumerate(equation.inputs) if len(labels) == fewest]
    tried = []
    for start, sign in itertools.product({starts[0], starts[-1]}, (1, -1)):
        found = _Sweep(equation)
        steps = tuple(found.greedy(start, sign))
        tried.append((found.cost, steps))
    return min(tried, key=lambda pair: pair[0])[1]


class _Sweep:
    """The labels of the train, and what is left to absorb."""

    def __init__(self, equation: Equation):
        self.equation = equation
        self.logs = {label: math.log2(size) for label, size in equation.sizes}
        self.train: list[int] = [START]
        self.touching: dict[int, list[int]] = collections.defaultdict(list)
        for n, labels in enumerate(equation.inputs):
            for label in labels:
                self.touching[label].append(n)
        self.left = dict.fromkeys(range(len(equation.inputs)))
        self.cost: tuple[float, int] = (0.0, 0)  # the longest train, all swaps

    def in_order(self, order: Sequence[int]) -> Iterator[Step]:
        for n in order:
            yield self.absorb(n)

    def greedy(self, start: int, sign: int) -> Iterator[Step]:
        yield self.absorb(start)
        while self.left:
            near = {n for label in self.train for n in self._users(label)} or self.left
            yield self.absorb(min(near, key=lambda n: (*self._strain(n), sign * n)))

    def absorb(self, n: int) -> Step:
        """Take an operand out of those that are left."""
        del self.left[n]
        own = self.equation.inputs[n]
        places = [place for place, label in enumerate(self.train) if label in own]
        places = places or [len(self.train) - 1]
        swaps = _gathered(places)
        for place in swaps:
            self.train[place : place + 2] = reversed(self.train[place : place + 2])
        first = places[len(places) // 2] - len(places) // 2
        sites = self.train[first : first + len(places)]
        made = [x for x in sites if x not in own or self._users(x)]
        fresh = [x for x in own if x not in sites and self._users(x)]
        if not made and not fresh:  # its neighbor takes what is left of it
            first -= 1
            sites = self.train[first : first + 1] + sites
            made = sites[:1]
        made = self._arranged(first, len(sites), made, fresh)
        self.train[first : first + len(sites)] = made
        length = sum(self.logs.get(label, 0) for label in self.train)
        self.cost = max(self.cost[0], length), self.cost[1] + len(swaps)
        return Step(n, tuple(swaps), first, tuple(sites), tuple(made))

    def _users(self, label: int) -> list[int]:
        return [n for n in self.touching.get(label, ()) if n in self.left]

    def _strain(self, n: int) -> tuple[int, float]:
        """Swaps that an operand needs, and by how much it makes the train longer."""
        own = self.equation.inputs[n]
        places = [place for place, label in enumerate(self.train) if label in own]
        grown = 0.0
        for label in own:
            used_up = self._users(label) == [n]
            grown += self.logs[label] * ((label not in self.train) - used_up)
        return len(_gathered(places)), grown

    def _arranged(self, first: int, count: int, kept: list[int], fresh: list[int]) -> list[int]:
        """The order of new sites that brings labels of one operand together.

        Among equals those that are used first come last: that is the side where a sweep goes on.
        """
        later = lambda label: -min(self._users(label), default=-1)
        fresh = sorted(fresh, key=later)
        before, after = self.train[:first], self.train[first + count :]
        orders = [fresh, fresh[::-1]] if len(fresh) > 4 else itertools.permutations(fresh)
        cuts = {len(kept), int(START in kept)}
        ways = [[*kept[:cut], *x, *kept[cut:]] for x in orders for cut in cuts]
        return min(ways, key=lambda way: self._spread([*before, *way, *after]))

    def _spread(self, train: list[int]) -> int:
        """Sites that lie between labels of one operand."""
        reach: dict[int, list[int]] = {}
        for place, label in enumerate(train):
            for n in self._users(label):
                reach.setdefault(n, []).append(place)
        return sum(places[-1] - places[0] + 1 - len(places) for places in reach.values())


def _gathered(places: Sequence[int]) -> list[int]:
    """Swaps that bring sites together around the middle one of them."""
    middle, swaps = len(places) // 2, []
    for k in range(middle - 1, -1, -1):
        goal = places[middle] - (middle - k)
        swaps += range(places[k], goal)
    for k in range(middle + 1, len(places)):
        goal = places[middle] + (k - middle)
        swaps += range(places[k] - 1, goal - 1, -1)
    return swaps
