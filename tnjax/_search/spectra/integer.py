r"""Integer programs over the ranks of a graph, solved by HiGHS, or one by one where they are few.

The parameters of a network, $\sum_v \prod_{m \in v} n_m \prod_{e \ni v} r_e$, are a convex
function of the logarithms of its ranks. Each bond chooses one of its options by binary variables;
the size of each core is bounded from below by tangents of the exponential, and tangents are added
at the solution until they are tight there. Every round is a relaxation, so its bound is one for
the program itself.
"""

import dataclasses
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ... import _interrupt
from ..._tuned import tuned
from .choices import Program, Solution, best_choice


@dataclasses.dataclass(frozen=True)
class IntegerPrograms:
    """Integer programs over the ranks of a graph.

    Attributes:
        tangent_ratio: ratio of neighboring points where the first tangents touch; they are 1 % off
            between them.
        rounds: rounds of new tangents.
        nodes: nodes of HiGHS's tree for one program: the clock must not decide.
            Programs of ranks need at most some fifty.
        tight: relative gap at which a program counts as solved.
        few: choices that are looked at one by one, without HiGHS.
    """

    tangent_ratio: float = 1.35
    rounds: int = 8
    nodes: int = 2000
    tight: float = 1e-4
    few: int = 20_000


INTEGER = tuned("integer", IntegerPrograms())


def minimize_params(
    program: Program,
    *,
    at_most: tuple[Sequence[np.ndarray], float] | None = None,
    at_least: Sequence[tuple[dict[int, np.ndarray], float]] = (),
    nodes: int | None = None,
) -> Solution:
    """The fewest parameters.

    Args:
        program: bonds, options and cores.
        at_most: a number for each option of every bond, and what those chosen may sum up to.
        at_least: rows of the same kind, for some bonds, that must reach a value.
        nodes: of HiGHS's tree at most, in each round; by default those of `INTEGER`. Not seconds,
            so that the same program has the same solution however busy the machine is. A deadline
            (see `_interrupt`) raises.
    """
    if program.choices <= INTEGER().few:
        return best_choice(program, at_most=at_most, at_least=at_least)
    relaxed = _Relaxation(program)
    if at_most is not None:
        values, most = at_most
        scale = max(most, 1e-300)
        shares = {bond: np.minimum(v / scale, 2.0) for bond, v in enumerate(values)}
        relaxed.bound(shares, -np.inf, most / scale)
    for rows, least in at_least:
        relaxed.bound(rows, least, np.inf)
    relaxed.touch_everywhere()
    objective = np.zeros(relaxed.width)
    objective[relaxed.binaries :] = 1.0
    value = lambda chosen: float(program.sizes(chosen).sum()) / relaxed.unit
    chosen, bound = relaxed.minimize(objective, value, nodes)
    return Solution(chosen, bound * relaxed.unit)


def minimize_cost(program: Program, costs: Sequence[np.ndarray], max_params: float) -> Solution:
    """The smallest sum of the chosen options' costs with at most `max_params` parameters."""
    if program.choices <= INTEGER().few:
        return best_choice(program, costs=costs, max_params=max_params)
    relaxed = _Relaxation(program, max_params)
    relaxed.touch_everywhere()
    scale = max(float(sum(np.max(c) for c in costs)), 1e-300)
    objective = np.zeros(relaxed.width)
    objective[: relaxed.binaries] = np.concatenate(list(costs)) / scale * 1e3
    cost = lambda chosen: sum(c[o] for c, o in zip(costs, chosen, strict=True))
    value = lambda chosen: float(cost(chosen) / scale * 1e3)
    chosen, bound = relaxed.minimize(objective, value)
    return Solution(chosen, bound * scale / 1e3)


class _Relaxation:
    """A program with a binary variable for each option of each bond, then the size of each core in
    some unit, which tangents bound from below."""

    def __init__(self, program: Program, max_params: float | None = None):
        self.program, self.max_params = program, max_params
        self.starts = np.cumsum([0, *(len(logs) for logs in program.logs)])
        self.binaries, self.cores = int(self.starts[-1]), len(program.nodes)
        self.width = self.binaries + self.cores
        self.low = program.sizes([int(np.argmin(logs)) for logs in program.logs])
        self.high = program.sizes([int(np.argmax(logs)) for logs in program.logs])
        self.unit = float(self.low.sum()) if max_params is None else float(max_params) / 100
        self.rows: list[tuple[dict[int, float], float, float]] = []  # coefficients, least, most
        for bond, logs in enumerate(program.logs):
            self.bound({bond: np.ones(len(logs))}, 1.0, 1.0)

    def _spread(self, values: Mapping[int, np.ndarray]) -> dict[int, float]:
        """Coefficients of the options of bonds."""
        return {
            int(self.starts[bond]) + option: float(number)
            for bond, numbers in values.items()
            for option, number in enumerate(numbers)
        }

    def bound(self, values: Mapping[int, np.ndarray], least: float, most: float) -> None:
        """Bounds of the sum of the chosen options' values, for some bonds."""
        self.rows.append((self._spread(values), least, most))

    def touch_everywhere(self) -> None:
        """The bound of the parameters, and tangents over all sizes that the cores may have."""
        if self.max_params is not None:
            total = {self.binaries + node: 1.0 for node in range(self.cores)}
            self.rows.append((total, -np.inf, self.max_params / self.unit))
        for node in range(self.cores):
            span = math.log(self.high[node] / self.low[node])
            steps = max(1, math.ceil(span / math.log(INTEGER().tangent_ratio)))
            for size in np.unique(np.geomspace(self.low[node], self.high[node], steps + 1)):
                self._touch(node, float(size))

    def _touch(self, node: int, size: float) -> None:
        """size_v / unit >= size / unit * (1 + log size_v - log size)"""
        log, bonds = self.program.nodes[node]
        slopes = {bond: -size / self.unit * self.program.logs[bond] for bond in bonds}
        row = {self.binaries + node: 1.0} | self._spread(slopes)
        self.rows.append((row, size / self.unit * (1 + log - math.log(size)), np.inf))

    def minimize(
        self,
        objective: np.ndarray,
        value: Callable[[Sequence[int]], float],
        nodes: int | None = None,
    ) -> tuple[tuple[int, ...] | None, float]:
        """The best options found and a lower bound, by rounds of new tangents; `value` is the
        objective with the true sizes."""
        nodes = INTEGER().nodes if nodes is None else nodes
        slack = 1 + INTEGER().tight
        best, best_value, bound = None, math.inf, 0.0
        for _ in range(INTEGER().rounds):
            found = self._solved(objective, nodes)
            if found.mip_dual_bound is not None and math.isfinite(found.mip_dual_bound):
                bound = max(bound, float(found.mip_dual_bound))
            if found.x is None:
                break
            chosen = tuple(int(np.argmax(found.x[a:b])) for a, b in itertools.pairwise(self.starts))
            sizes = self.program.sizes(chosen)
            fits = self.max_params is None or sizes.sum() <= self.max_params * (1 + 1e-9)
            if fits and value(chosen) < best_value:
                best, best_value = chosen, value(chosen)
            told = found.x[self.binaries :] * slack
            loose = [node for node in range(self.cores) if sizes[node] / self.unit > told[node]]
            if found.status != 0 or not loose or best_value <= bound * slack:
                break
            for node in loose:
                self._touch(node, float(sizes[node]))
        return best, bound

    def _solved(self, objective: np.ndarray, nodes: int) -> Any:
        """The solution of the relaxation, or what there is of it after so many nodes."""
        from scipy import optimize  # a third of what a small search imports; not all need it

        _interrupt.checkpoint()
        matrix, least, most = _assemble(self.rows, self.width)
        options: dict[str, float] = {"mip_rel_gap": INTEGER().tight, "node_limit": nodes}
        left = _interrupt.left()
        if left is not None:
            options["time_limit"] = max(left, 1e-3)
        upper = np.append(np.ones(self.binaries), self.high / self.unit * (1 + 1e-9))
        lower = np.append(np.zeros(self.binaries), self.low / self.unit * (1 - 1e-9))
        found = optimize.milp(
            objective,
            integrality=np.append(np.ones(self.binaries), np.zeros(self.cores)),
            bounds=optimize.Bounds(lower, upper),  # pyright: ignore[reportArgumentType]
            constraints=optimize.LinearConstraint(matrix, least, most),
            options=options,
        )
        _interrupt.checkpoint()  # nothing is made of a solution that the clock cut short
        return found


def _assemble(rows, width: int):
    from scipy import sparse

    entries = [(r, c, v) for r, (row, _, _) in enumerate(rows) for c, v in row.items()]
    index, column, value = (np.asarray(x) for x in zip(*entries, strict=True))
    # Older SciPys hand these to the solver as they are, which takes 32 bits only.
    index, column = index.astype(np.int32), column.astype(np.int32)
    matrix = sparse.csr_array((value, (index, column)), shape=(len(rows), width))
    return matrix, np.asarray([row[1] for row in rows]), np.asarray([row[2] for row in rows])
