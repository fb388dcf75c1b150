"""Statistics of all layers of a model by one backward pass per batch."""

import dataclasses
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray

from .._tuned import tuned
from ._tap import Moments, tapped
from ._task import Calibration, Task, fresh, gradient_program
from .model import Adapter, Slot, core_names


@dataclasses.dataclass(frozen=True)
class Statistics:
    """What layers are measured on where only a task is given.

    Attributes:
        batches: of training, at the most: some hundred vectors tell the covariance of some hundred
            inputs.
    """

    batches: int = 16


STATISTICS = tuned("layer_statistics", Statistics())


def moments(
    adapter: Adapter,
    model: Any,
    slots: Sequence[Slot],
    calibration: Calibration,
    *,
    key: PRNGKeyArray,
) -> dict[str, Moments]:
    """Input moments of layers, and the sensitivity of the outputs to theirs.

    The loss of the backward pass is the inner product of the outputs with random signs, whose
    squared gradient is, on average, the squared Jacobian: no labels are needed.
    """

    def probe(model, batch, key):
        leaves = jax.tree.leaves(calibration.forward(model, batch))
        keys = jax.random.split(key, len(leaves))
        signs = lambda k, leaf: jax.random.rademacher(k, leaf.shape, leaf.dtype)
        return sum(jnp.sum(leaf * signs(k, leaf)) for k, leaf in zip(keys, leaves, strict=True))

    batches = (
        (batch, jax.random.fold_in(key, n)) for n, batch in enumerate(fresh(calibration.batches))
    )
    sums, _ = _tapped_gradients(adapter, model, slots, lambda m, b: probe(m, *b), batches)
    return {name: Moments.of(moment, slope) for name, (_, moment, slope) in sums.items()}


def task_moments(
    adapter: Adapter, model: Any, slots: Sequence[Slot], task: Task
) -> dict[str, Moments]:
    """Input moments of layers, and the sensitivity of the task's loss, on some training batches."""
    batches = itertools.islice(fresh(task.batches), STATISTICS().batches)
    sums, _ = _tapped_gradients(adapter, model, slots, task.loss, batches)
    return {name: Moments.of(moment, slope) for name, (_, moment, slope) in sums.items()}


def functional_gradients(
    adapter: Adapter, model: Any, slots: Sequence[Slot], task: Task, batches: Sequence[Any]
) -> tuple[dict[str, np.ndarray], dict[str, Moments]]:
    """The gradient of the mean loss with respect to every layer's dense weight, with the moments
    of its inputs: one backward pass for all layers."""
    sums, count = _tapped_gradients(adapter, model, slots, task.loss, batches)
    gradients = {name: np.asarray(g, np.float64) / count for name, (g, _, _) in sums.items()}
    return gradients, {name: Moments.of(m, s) for name, (_, m, s) in sums.items()}


def _tapped_gradients(
    adapter: Adapter, model: Any, slots: Sequence[Slot], loss: Callable, batches
) -> tuple[Mapping[str, list[np.ndarray]], int]:
    """Summed gradients of matrix and taps, for each layer, and the number of batches."""
    networks = {slot.name: tapped(slot.matrix) for slot in slots}
    arrays, build = adapter.arrays(adapter.replaced(model, networks))
    names = {slot.name: core_names(slot.name, networks[slot.name][0]) for slot in slots}
    live = {name: arrays.pop(name) for group in names.values() for name in group}
    gradient = gradient_program(loss, build, "full")
    total, count = None, 0
    for batch in batches:
        new = gradient(live, arrays, batch)
        total = new if total is None else jax.tree.map(jnp.add, total, new)
        count += 1
    if total is None:
        raise ValueError("There is no batch to measure on.")
    for name, array in total.items():
        if not bool(jnp.isfinite(array).all()):
            raise ValueError(
                f"The loss has gradients that are not finite (at {name}): nothing can be measured. "
                "Look at the model and the data."
            )
    return {key: [np.asarray(total[n]) for n in group] for key, group in names.items()}, count
