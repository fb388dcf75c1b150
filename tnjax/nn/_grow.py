"""Growing the networks of several layers at once under a task's loss."""

import dataclasses
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from .._status import Status
from ..search._candidates import balanced_slices
from ..search._moves import grow as grow_bond
from ._layout import Layout
from ._model import Adapter
from ._screening import Candidate, LayerScreen
from ._task import Task, mean_value, train

# Factors of new slices that the line search tries.
_LENGTHS = (1.0, 0.3, 0.1, 0.03, 0.01, 0.001)

Networks = Mapping[str, tuple[Layout, Sequence[Any]]]


@dataclasses.dataclass(frozen=True)
class GrowStep:
    """One move: what grew, and the model after its training.

    Attributes:
        grown: (layer, bond, ranks) of every increment of the move; empty for the start.
        num_params: of all networks.
        metric: on validation data.
        status: how the training ended.
        model: the best model of this size on validation data.
    """

    grown: tuple[tuple[str, tuple[int, ...], int], ...]
    num_params: int
    metric: float
    status: Status
    model: Any


def grow_layers(
    adapter: Adapter,
    model: Any,
    networks: Networks,
    task: Task,
    budget: int,
    *,
    screen: LayerScreen,
    names: Callable[[str], bool],
    transformation: Any,
    steps: int,
    final_steps: int,
    factor: float,
    power: float,
    screen_batches: int,
    seed: int,
    options: Mapping[str, Any],
    on_step: Callable[[GrowStep], Any] | None,
) -> list[GrowStep]:
    """Train, screen all bonds of all layers, grow the best ones, until the budget is used.

    A move grows bonds, by gain / cost^`power`, until the parameters have risen by `factor`.
    """
    for name, (layout, _) in networks.items():
        if layout.copies:
            raise ValueError(
                f"compress: layer {name!r} has copy nodes ({layout}), which do not grow. Start "
                "from `tnjax.nn.paired` or another layout without copies."
            )
    total = sum(layout.num_params for layout, _ in networks.values())
    if total > budget:
        raise ValueError(
            f"compress: the start has {total} parameters, more than the budget of {budget}. Give "
            "smaller starting layouts, or a larger budget."
        )
    stream = task.epochs()
    model = adapter.replaced(model, networks, **options)
    path: list[GrowStep] = []
    grown: tuple = ()
    for number in itertools.count():
        trained = train(
            model,
            task,
            names=names,
            transformation=transformation,
            steps=steps,
            batches=stream,
            adapter=adapter,
            tier="fast",  # a structure lives for a few steps only
        )
        model = trained.last
        if not math.isfinite(trained.metric):
            raise ValueError(
                f"compress: the metric is {trained.metric} before and after training with "
                f"{total} parameters. Look at the loss and the data, or lower the learning rate."
            )
        path.append(GrowStep(grown, total, trained.metric, trained.status, trained.model))
        if on_step is not None:
            on_step(path[-1])
        networks = current(adapter, model, networks)
        increment = max(1, round((factor - 1) * _typical_rank(networks)))
        batches = list(itertools.islice(stream, screen_batches))
        candidates = screen(
            adapter, model, networks, task, batches, increment=increment, seed=seed + number
        )
        chosen = choose(candidates, total, min(budget, math.ceil(total * factor)), budget, power)
        if not chosen:
            break
        model = _best_length(adapter, model, networks, chosen, task, batches, options)
        networks = current(adapter, model, with_growth(networks, chosen))
        total = sum(layout.num_params for layout, _ in networks.values())
        grown = tuple((c.layer, c.edge, len(c.slices)) for c in chosen)
    if final_steps:
        trained = train(
            model,
            task,
            names=names,
            transformation=transformation,
            steps=final_steps,
            batches=stream,
            adapter=adapter,
        )
        path.append(GrowStep((), total, trained.metric, trained.status, trained.model))
        if on_step is not None:
            on_step(path[-1])
    return path


def current(adapter: Adapter, model: Any, networks: Networks) -> dict:
    """The layouts with the cores that the model has now."""
    arrays, _ = adapter.arrays(model)
    return {
        name: (
            layout,
            tuple(np.asarray(arrays[f"{name}.cores.{k}"]) for k in range(len(layout.core_shapes))),
        )
        for name, (layout, _) in networks.items()
    }


def _typical_rank(networks: Networks) -> float:
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


def _best_length(adapter, model, networks, chosen, task, batches, options) -> Any:
    """The model with the chosen slices, all of them times the factor with the least loss. The
    candidates were found one by one, so that together they may go too far; a factor of zero, a
    saddle, is not tried."""
    best, least = None, math.inf
    for factor in _LENGTHS:
        longer = adapter.replaced(model, with_growth(networks, chosen, factor), **options)
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
