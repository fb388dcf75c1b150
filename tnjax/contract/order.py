"""The order of a contraction of many operands: found in time near linear in their number.

Trees are contracted from their leaves to a root, which is optimal. What has loops is swept by a
frontier, after the trees that hang on it. Where a sweep is poor and the operands are few enough,
the path of a search (see `path`) takes its place.
"""

import collections
import dataclasses
import math
from collections.abc import Iterable, Iterator, Sequence

from .._tuned import tuned
from .equation import Equation
from .path import find_path

Group = tuple[int, ...]
Pairs = list[tuple[int, int]]


@dataclasses.dataclass(frozen=True)
class Orders:
    """Orders for many operands.

    Attributes:
        greedy_operands: operands up to which a path that is searched for is compared with the sweep
            of a network with loops (it takes seconds for so many).
        greedy_gain: factor by which that path must save flops: its programs have more kinds of
            steps.
        all_joined: groups from which on those that all share labels are taken as they come (to
            choose the next takes a second for so many).
    """

    greedy_operands: int = 300
    greedy_gain: float = 2.0
    all_joined: int = 500


ORDERS = tuned("orders", Orders(), traced=True)


def pairs_of(equation: Equation, groups: Sequence[Group]) -> Pairs:
    """Which two values are contracted, step by step. Operands are the values 0, 1, ...; each step
    appends one. The value that has come the furthest is the first of a pair.

    Args:
        equation: of one operand or more.
        groups: operands that belong together, as the two layers of a node do; each operand is in
            one group.
    """
    order = _Order(equation, groups)
    for component in order.components():
        order.contract(component)
    order.join()
    return order.pairs


class _Order:
    """The pairs found this far, and what is left to contract."""

    def __init__(self, equation: Equation, groups: Sequence[Group]):
        self.equation, self.groups = equation, groups
        self.size = equation.size_dict
        self.output = set(equation.output)
        self.labels = [{x for n in group for x in equation.inputs[n]} for group in groups]
        self.touching: dict[int, list[int]] = collections.defaultdict(list)
        for g, labels in enumerate(self.labels):
            for label in labels:
                self.touching[label].append(g)
        self.pairs: Pairs = []
        self.roots: list[int] = []
        self.depth = [0] * len(equation.inputs)  # steps in a row that made a value
        self.has_loops = False

    def components(self) -> list[list[int]]:
        """Groups that labels connect, in order."""
        seen: set[int] = set()
        out = []
        for start in range(len(self.groups)):
            if start not in seen:
                found = list(self._distances(start))
                seen.update(found)
                out.append(sorted(found))
        return out

    def _neighbors(self, g: int) -> set[int]:
        return {other for x in self.labels[g] for other in self.touching[x]} - {g}

    def _distances(self, start: int) -> dict[int, int]:
        """Groups by their distance from one of them, the nearest first."""
        found, used = {start: 0}, set()
        queue = collections.deque([start])
        while queue:
            g = queue.popleft()
            for label in sorted(self.labels[g] - used):
                used.add(label)
                for other in self.touching[label]:
                    if other not in found:
                        found[other] = found[g] + 1
                        queue.append(other)
        return found

    def contract(self, component: list[int]) -> None:
        """All groups of a component to one value."""
        trees, core = self._peeled(component)
        if not core:
            end = _last(self._distances(component[0]))
            trees = self._rooted(end)
            core = [end]
        messages: dict[int, list[int]] = collections.defaultdict(list)
        for g, parent in trees:
            messages[parent].append(self._absorb(None, g, messages.pop(g, [])))
        starts = [core[0]]
        if len(core) > 1 and self._sparse(component):
            inside = set(core)
            far = [g for g in self._distances(core[0]) if g in inside][-1]
            starts = sorted({core[0], far, [g for g in self._distances(far) if g in inside][-1]})
        sweeps = [self._swept(start, core) for start in starts]
        value: int | None = None
        for g in min(sweeps, key=lambda sweep: sweep[0])[1]:
            value = self._absorb(value, g, messages.pop(g, []))
        assert value is not None
        self.roots.append(value)

    def join(self) -> None:
        """Components have no label in common: the smallest first."""
        value, *rest = self.roots
        for other in rest:
            value = self._pair(value, other)
        if self.has_loops and len(self.equation.inputs) <= ORDERS().greedy_operands:
            greedy = appended(find_path(self.equation), len(self.equation.inputs))
            saved = log_flops(self.equation, self.pairs) - log_flops(self.equation, greedy)
            if saved > math.log2(ORDERS().greedy_gain):
                self.pairs = greedy

    def _pair(self, left: int, right: int) -> int:
        self.pairs.append((left, right))
        self.depth.append(1 + max(self.depth[left], self.depth[right]))
        return len(self.depth) - 1

    def _absorb(self, value: int | None, g: int, messages: list[int]) -> int:
        """The value times a group and the messages of the trees that hang on it."""
        # The message of the longest tree goes on as the value, so that chains stay chains.
        messages = sorted(messages, key=lambda message: -self.depth[message])
        first, *others = self.groups[g]
        if value is None and messages:
            value = messages.pop(0)
        value = first if value is None else self._pair(value, first)
        for other in (*messages, *others):
            value = self._pair(value, other)
        return value

    def _peeled(self, component: list[int]) -> tuple[list[tuple[int, int]], list[int]]:
        """Groups that touch one other group alone, taken off one by one, each with the group that
        it hung on; and what is left, which has loops. Nothing is left of a tree."""
        left = {g: self._neighbors(g) for g in component} if self._sparse(component) else {}
        if not left:
            self.has_loops = True
            return [], component
        queue = collections.deque(g for g in component if len(left[g]) <= 1)
        taken = []
        while queue:
            g = queue.popleft()
            if g not in left or len(left) == 1:
                continue
            (parent,) = left.pop(g)
            left[parent].discard(g)
            taken.append((g, parent))
            if len(left[parent]) <= 1:
                queue.append(parent)
        if len(left) == 1:
            return [], []
        self.has_loops = True
        return taken, sorted(left)

    def _sparse(self, component: list[int]) -> bool:
        """Whether few groups share a label, so that neighbors can be listed."""
        count = sum(len(self.touching[x]) for g in component for x in self.labels[g])
        return len(component) == 1 or count <= 16 * len(component) + 16

    def _rooted(self, root: int) -> list[tuple[int, int]]:
        """The groups of a tree from its leaves to `root`, each with its parent."""
        parents, order = {root: root}, [root]
        for g in order:
            for other in sorted(self._neighbors(g)):
                if other not in parents:
                    parents[other] = g
                    order.append(other)
        return [(g, parents[g]) for g in reversed(order) if g != root]

    def _swept(self, start: int, core: list[int]) -> tuple[float, list[int]]:
        """The order of a frontier that grows from `start` by the group that keeps it smallest, and
        the logarithm of the frontier's largest size."""
        waiting = {x: len(groups) for x, groups in self.touching.items()}
        logs = {x: math.log2(n) for x, n in self.size.items()}
        left, order = set(core), []
        frontier: dict[int, float] = {}
        near, g, worst = set(), start, 0.0
        if len(core) > ORDERS().all_joined and not self._sparse(core):
            return worst, core
        while True:
            order.append(g)
            left.discard(g)
            near.discard(g)
            for x in self.labels[g]:
                waiting[x] -= 1
                frontier[x] = logs[x]
                near.update(other for other in self.touching[x] if other in left)
            worst = max(worst, sum(frontier.values()))
            for x in self.labels[g]:
                if not waiting[x] and x not in self.output:
                    del frontier[x]
            if not left:
                return worst, order

            def grows(other: int) -> tuple[float, int]:
                own = self.labels[other]
                new = sum(logs[x] for x in own if x not in frontier and waiting[x] > 1)
                return new - sum(logs[x] for x in own if x in frontier and waiting[x] == 1), other

            g = min(near or left, key=grows)


def _last(distances: dict[int, int]) -> int:
    return next(reversed(distances))


def appended(path: Iterable[Sequence[int]], count: int) -> Pairs:
    """A path of positions (all popped, the result appended) as values that are appended: operands
    are 0, 1, ..., each step makes one more."""
    alive, pairs = list(range(count)), []
    for group in path:
        picked = [alive.pop(position) for position in sorted(group, reverse=True)]
        while len(picked) > 1:
            pairs.append((picked.pop(0), picked.pop(0)))
            picked.insert(0, count + len(pairs) - 1)
        alive += picked
    return pairs


def log_flops(equation: Equation, pairs: Pairs) -> float:
    """The logarithm (base 2) of the multiplications of an order: sizes may be beyond all floats."""
    size, total = equation.size_dict, 0
    for labels, _ in contracted(equation, pairs):
        total += math.prod(size[x] for x in labels)
    return math.log2(max(total, 1))


def contracted(
    equation: Equation, pairs: Pairs
) -> Iterator[tuple[tuple[int, ...], tuple[int, ...]]]:
    """For each step all labels of its two operands, and those of its result."""
    left = collections.Counter(x for labels in equation.inputs for x in labels)
    left.update(equation.output)
    values: list[tuple[int, ...]] = list(equation.inputs)
    for a, b in pairs:
        first, second = values[a], values[b]
        both = dict.fromkeys((*first, *second))
        left.subtract(first)
        left.subtract(second)
        result = tuple(x for x in both if left[x] > 0)
        left.update(result)
        values.append(result)
        yield tuple(both), result
