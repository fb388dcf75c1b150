"""Networks of several layers at once: what they are now, and with chosen bonds grown."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..._search.screening.candidates import balanced_slices
from ..._tuned import tuned
from ...moves.cores import grow as grow_bond
from .._layout import Layout
from .._linear import Forward
from .._task import Task, mean_value
from ..model import Adapter, core_names
from .screening import Candidate


@dataclasses.dataclass(frozen=True)
class LineSearch:
    """New slices of layers.

    Attributes:
        lengths: factors of new slices that the line search tries.
    """

    lengths: tuple[float, ...] = (1.0, 0.3, 0.1, 0.03, 0.01, 0.001)


LINE_SEARCH = tuned("layer_increments", LineSearch())


Networks = Mapping[str, tuple[Layout, Sequence[Any]]]


def num_params(networks: Networks) -> int:
    """Parameters of all networks."""
    return sum(layout.num_params for layout, _ in networks.values())


def current(adapter: Adapter, model: Any, networks: Networks) -> dict:
    """The layouts with the cores that the model has now."""
    arrays, _ = adapter.arrays(model)
    return {
        name: (layout, tuple(np.asarray(arrays[core]) for core in core_names(name, layout)))
        for name, (layout, _) in networks.items()
    }


def typical_rank(networks: Networks) -> float:
    """Median over the layers of their largest ranks."""
    ranks = [max(layout.structure.ranks, default=1) for layout, _ in networks.values()]
    return float(np.median(ranks))


def choose(
    candidates: Sequence[Candidate], total: int, goal: int, budget: int, power: float
) -> list[Candidate]:
    """The best candidates by gain / cost^power until `goal` parameters, never past the budget.

    A candidate too large for what is left gives its first ranks only. The bonds of a move share no
    core, so that their costs add up.
    """
    order = sorted(candidates, key=lambda c: -c.gain / c.cost**power)
    chosen: list[Candidate] = []
    touched: set[tuple[str, int]] = set()
    for candidate in order:
        if candidate.gain <= 0 or total >= goal:
            break
        nodes = {(candidate.layer, node) for node in candidate.edge}
        each = candidate.cost // len(candidate.slices)
        ranks = min(len(candidate.slices), max((goal - total) // each, 1))
        if total + ranks * each > budget or touched & nodes:
            continue
        candidate = dataclasses.replace(
            candidate, cost=ranks * each, slices=candidate.slices[:ranks]
        )
        chosen.append(candidate)
        touched |= nodes
        total += candidate.cost
    return chosen


def best_length(
    adapter: Adapter,
    model: Any,
    networks: Networks,
    chosen: Sequence[Candidate],
    task: Task,
    batches: Sequence[Any],
    forward: Forward,
) -> Any:
    """The model with the chosen slices, all of them times the factor with the least loss. The
    candidates were found one by one, so that together they may go too far; a factor of zero, a
    saddle, is not tried."""
    best, least = None, math.inf
    for factor in LINE_SEARCH().lengths:
        grown = with_growth(networks, chosen, factor)
        longer = adapter.replaced(model, grown, forward=forward)
        arrays, build = adapter.arrays(longer)
        value = mean_value(task.loss, build, batches, "fast")(arrays)
        if best is None or value < least or not math.isfinite(least):
            best, least = longer, value
    return best


def with_growth(networks: Networks, chosen: Sequence[Candidate], factor: float = 1.0) -> dict:
    """The networks with the chosen slices appended, every new term times `factor`."""
    new: dict[str, tuple[Layout, Any]] = {
        name: (layout, tuple(cores)) for name, (layout, cores) in networks.items()
    }
    for candidate in chosen:
        layout, cores = new[candidate.layer]
        root = factor ** (1 / len(candidate.edge))
        terms = [[root * part for part in balanced_slices(list(t))] for t in candidate.slices]
        structure, cores = grow_bond(layout.structure, cores, candidate.edge, terms)
        new[candidate.layer] = (dataclasses.replace(layout, structure=structure), cores)
    return new
