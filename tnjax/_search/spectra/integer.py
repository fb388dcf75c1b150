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
from collections.abc import Sequence

import numpy as np

from ... import _interrupt
from ..._tuned import tuned
from .choices import Limits, Program, Solution, best_choice


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
        return best_choice(program, Limits(None, at_most, at_least))
    nodes = INTEGER().nodes if nodes is None else nodes
    return _solve(program, None, None, at_most, at_least, nodes)


def minimize_cost(program: Program, costs: Sequence[np.ndarray], max_params: float) -> Solution:
    """The smallest sum of the chosen options' costs with at most `max_params` parameters."""
    if program.choices <= INTEGER().few:
        return best_choice(program, Limits(max_params), costs)
    return _solve(program, costs, max_params, None, (), INTEGER().nodes)


def _solve(program, costs, max_params, at_most, at_least, nodes: int) -> Solution:
    from scipy import optimize  # a third of what a small search imports; not all need it

    starts = np.cumsum([0, *(len(logs) for logs in program.logs)])
    binaries, cores = int(starts[-1]), len(program.nodes)
    low = program.sizes([int(np.argmin(logs)) for logs in program.logs])
    high = program.sizes([int(np.argmax(logs)) for logs in program.logs])
    unit = float(low.sum()) if max_params is None else float(max_params) / 100
    rows: list[tuple[dict[int, float], float, float]] = []  # coefficients, least, most

    def spread(bond: int, values: np.ndarray) -> dict[int, float]:
        return {int(starts[bond]) + o: float(value) for o, value in enumerate(values)}

    for bond, logs in enumerate(program.logs):
        rows.append((spread(bond, np.ones(len(logs))), 1.0, 1.0))
    if at_most is not None:
        scale = max(at_most[1], 1e-300)
        row: dict[int, float] = {}
        for bond, values in enumerate(at_most[0]):
            row |= spread(bond, np.minimum(values / scale, 2.0))
        rows.append((row, -np.inf, at_most[1] / scale))
    for values, least in at_least:
        row = {}
        for bond, numbers in values.items():
            row |= spread(bond, numbers)
        rows.append((row, least, np.inf))
    if max_params is not None:
        rows.append(({binaries + v: 1.0 for v in range(cores)}, -np.inf, max_params / unit))

    def tangent(node: int, size: float) -> None:
        """size_v / unit >= size / unit * (1 + log size_v - log size)"""
        log, bonds = program.nodes[node]
        row = {binaries + node: 1.0}
        for bond in bonds:
            row |= spread(bond, -size / unit * program.logs[bond])
        rows.append((row, size / unit * (1 + log - math.log(size)), np.inf))

    for node in range(cores):
        span = math.log(high[node] / low[node])
        steps = max(1, math.ceil(span / math.log(INTEGER().tangent_ratio)))
        for size in np.unique(np.geomspace(low[node], high[node], steps + 1)):
            tangent(node, float(size))

    objective = np.zeros(binaries + cores)
    if costs is None:
        objective[binaries:] = 1.0
        value = lambda chosen: float(program.sizes(chosen).sum()) / unit
    else:
        scale = max(float(sum(np.max(c) for c in costs)), 1e-300)
        objective[:binaries] = np.concatenate(list(costs)) / scale * 1e3
        value = lambda chosen: float(
            sum(c[o] for c, o in zip(costs, chosen, strict=True)) / scale * 1e3
        )
    upper = np.append(np.ones(binaries), high / unit * (1 + 1e-9))
    lower = np.append(np.zeros(binaries), low / unit * (1 - 1e-9))
    best, best_value, bound = None, math.inf, 0.0
    for _ in range(INTEGER().rounds):
        _interrupt.checkpoint()
        matrix, least, most = _assemble(rows, binaries + cores)
        options = {"mip_rel_gap": INTEGER().tight, "node_limit": nodes}
        left = _interrupt.left()
        if left is not None:
            options["time_limit"] = max(left, 1e-3)
        found = optimize.milp(
            objective,
            integrality=np.append(np.ones(binaries), np.zeros(cores)),
            bounds=optimize.Bounds(lower, upper),  # pyright: ignore[reportArgumentType]
            constraints=optimize.LinearConstraint(matrix, least, most),
            options=options,
        )
        _interrupt.checkpoint()  # nothing is made of a solution that the clock cut short
        if found.mip_dual_bound is not None and math.isfinite(found.mip_dual_bound):
            bound = max(bound, float(found.mip_dual_bound))
        if found.x is None:
            break
        chosen = tuple(int(np.argmax(found.x[a:b])) for a, b in itertools.pairwise(starts))
        sizes = program.sizes(chosen)
        fits = max_params is None or sizes.sum() <= max_params * (1 + 1e-9)
        if fits and value(chosen) < best_value:
            best, best_value = chosen, value(chosen)
        slack = 1 + INTEGER().tight
        loose = [v for v in range(cores) if sizes[v] / unit > found.x[binaries + v] * slack]
        if found.status != 0 or not loose or best_value <= bound * slack:
            break
        for node in loose:
            tangent(node, float(sizes[node]))
    return Solution(best, bound * unit if costs is None else bound * scale / 1e3)


def _assemble(rows, width: int):
    from scipy import sparse

    entries = [(r, c, v) for r, (row, _, _) in enumerate(rows) for c, v in row.items()]
    index, column, value = (np.asarray(x) for x in zip(*entries, strict=True))
    # Older SciPys hand these to the solver as they are, which takes 32 bits only.
    index, column = index.astype(np.int32), column.astype(np.int32)
    matrix = sparse.csr_array((value, (index, column)), shape=(len(rows), width))
    return matrix, np.asarray([row[1] for row in rows]), np.asarray([row[2] for row in rows])
