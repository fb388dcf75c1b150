"""Growing the networks of several layers at once under a task's loss."""

import dataclasses
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from .._search.screening.candidates import balanced_slices
from .._status import Status
from ..moves.cores import grow as grow_bond
from ._cut_back import cut_back
from ._layout import Layout
from ._measure import functional_gradients
from ._screening import Candidate, LayerScreen
from ._task import Schedule, Task, mean_value, train
from .model import Adapter

# Factors of new slices that the line search tries.
_LENGTHS = (1.0, 0.3, 0.1, 0.03, 0.01, 0.001)

# From so many steps on a program is compiled with all optimizations.
_LONG = 100
# Steps over which the updates rise to full length when a move has made the optimizer start anew.
_WARM = 10
# Of a limit beyond the budget; what is missing there is not worth a move.
_ENOUGH = 0.9

Networks = Mapping[str, tuple[Layout, Sequence[Any]]]
Increments = tuple[tuple[str, tuple[int, ...], int], ...]


@dataclasses.dataclass(frozen=True)
class Lengths:
    """How long to train.

    Attributes:
        steps: after every move.
        final_steps: at the end.
        total_steps: of all trainings; what the moves leave is then the length of the last one.
        factor: of the updates by the number of steps that all trainings have had.
        checks: validations on the way of each.
    """

    steps: int
    final_steps: int
    total_steps: int | None = None
    factor: Schedule | None = None
    checks: int = 4

    def __post_init__(self) -> None:
        if self.total_steps is not None and self.total_steps < self.steps:
            raise ValueError(
                f"compress: total_steps={self.total_steps} are less than steps={self.steps} of "
                "training for the start alone."
            )

    def move(self, done: int) -> int:
        """Steps of the next move's training."""
        return self.steps if self.total_steps is None else min(self.steps, self.total_steps - done)

    def spent(self, done: int, cuts: int) -> bool:
        """Whether another move would leave nothing for the last training, after so many cuts."""
        return self.total_steps is not None and done + cuts * self.steps >= self.total_steps

    def final(self, done: int) -> int:
        """Steps of the last training."""
        return self.final_steps if self.total_steps is None else self.total_steps - done

    def schedule(self, done: int) -> Schedule:
        """Factor of the updates of a training that begins after so many steps."""
        factor = self.factor or (lambda step: 1.0)
        if not done:
            return factor
        return lambda step: factor(done + step) * min(1.0, (step + 1) / _WARM)


@dataclasses.dataclass(frozen=True)
class GrowStep:
    """One move: what grew, and the model after its training.

    Attributes:
        grown: (layer, bond, ranks) of every increment of the move; empty for the start and for a
            last training of the same networks, negative where bonds were cut back.
        num_params: of all networks.
        metric: on validation data.
        status: how the training ended.
        model: the best model of this size on validation data.
    """

    grown: Increments
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
    lengths: Lengths,
    factor: float,
    power: float,
    overshoot: float,
    cuts: int,
    screen_batches: int,
    seed: int,
    options: Mapping[str, Any],
    on_step: Callable[[GrowStep], Any] | None,
) -> list[GrowStep]:
    """Train, screen all bonds of all layers, grow the best ones, until the budget times
    `overshoot` is used; then cut back to the budget in `cuts` moves.

    A move grows bonds, by gain / cost^`power`, until the parameters have risen by `factor`.
    """
    for name, (layout, _) in networks.items():
        if layout.copies:
            raise ValueError(
                f"compress: layer {name!r} has copy nodes ({layout}), which do not grow. Start "
                "from `tnjax.nn.paired` or another layout without copies."
            )
    if overshoot < 1:
        raise ValueError(f"compress: overshoot={overshoot!r}; expected 1 or more.")
    if cuts < 1:
        raise ValueError(f"compress: cuts={cuts!r}; expected 1 or more.")
    total, limit = num_params(networks), int(overshoot * budget)
    enough = limit if overshoot == 1 else _ENOUGH * limit
    if total > limit:
        times = f" times overshoot={overshoot:g}" if overshoot > 1 else ""
        raise ValueError(
            f"compress: the start has {total} parameters, more than the budget of {budget}{times}. "
            "Give smaller starting layouts, or a larger budget."
        )
    stream = task.epochs()
    model = adapter.replaced(model, networks, **options)
    path: list[GrowStep] = []
    done = 0

    def trained(steps: int, grown: Increments) -> Any:
        """The last model of a training; the path has the best one."""
        nonlocal done
        found = train(
            model,
            task,
            names=names,
            transformation=transformation,
            steps=steps,
            schedule=lengths.schedule(done),
            checks=lengths.checks,
            batches=stream,
            adapter=adapter,
            tier="full" if steps >= _LONG else "fast",
        )
        if not math.isfinite(found.metric):
            raise ValueError(
                f"compress: the metric is {found.metric} before and after training with "
                f"{total} parameters. Look at the loss and the data, or lower the learning rate."
            )
        path.append(GrowStep(grown, total, found.metric, found.status, found.model))
        if on_step is not None:
            on_step(path[-1])
        done += steps
        return found.last

    grown: Increments = ()
    for number in itertools.count():
        model = trained(lengths.move(done), grown)
        networks = current(adapter, model, networks)
        batches = list(itertools.islice(stream, screen_batches))
        if total >= enough or lengths.spent(done, cuts):
            break
        increment = max(1, round((factor - 1) * _typical_rank(networks)))
        candidates = screen(
            adapter, model, networks, task, batches, increment=increment, seed=seed + number
        )
        chosen = choose(candidates, total, min(limit, math.ceil(total * factor)), limit, power)
        if not chosen:
            break
        model = _best_length(adapter, model, networks, chosen, task, batches, options)
        networks = current(adapter, model, with_growth(networks, chosen))
        total = num_params(networks)
        grown = tuple((c.layer, c.edge, len(c.slices)) for c in chosen)
    grown = ()
    for size in _sizes(total, budget, cuts):
        if grown:
            model = trained(lengths.move(done), grown)
            networks = current(adapter, model, networks)
        networks, grown = _within(adapter, model, networks, task, batches, size)
        model, total = adapter.replaced(model, networks, **options), num_params(networks)
    last = lengths.final(done)
    if last or grown:
        trained(last, grown)
    return path


def _sizes(total: int, budget: int, cuts: int) -> list[int]:
    """Parameters after every cut, by equal factors; none where the budget is met already."""
    if total <= budget:
        return []
    ratio = budget / total
    return [int(total * ratio ** (k / cuts)) for k in range(1, cuts)] + [budget]


def num_params(networks: Networks) -> int:
    return sum(layout.num_params for layout, _ in networks.values())


def _within(adapter, model, networks, task, batches, budget) -> tuple[dict, Increments]:
    """The networks cut back to the budget, and (layer, bond, -ranks) of every cut."""
    slots = [adapter.slots(model)[name] for name in networks]
    _, moments = functional_gradients(adapter, model, slots, task, batches)
    second = {name: found.second for name, found in moments.items()}
    importance = {name: found.curvature(len(batches)) for name, found in moments.items()}
    return cut_back(networks, budget, second, importance)


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
