"""What a model is for: the user's loss on the user's batches; and what it does, for calibration."""

import dataclasses
import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .._compile import _options
from .._status import Status
from ._model import Adapter, adapter_for

Batches = Iterable[Any] | Callable[[], Iterable[Any]]


@dataclasses.dataclass(frozen=True)
class Task:
    """A loss of the model on batches of data.

    Args:
        loss: `loss(model, batch)`, a pure JAX function that returns the mean loss of a batch.
        batches: training data: a list (or another collection that can be gone through again), or
            a function that returns a fresh iterator. Batches are pytrees of arrays of one shape.
        validation: batches that are not trained on; the best model on them is returned. The
            training batches by default, which says nothing about new data.
        metric: `metric(model, batch)` to compare models on validation data, smaller is better; the
            loss by default. For an accuracy give the error rate.

    Raises:
        ValueError: if the loss is not callable or there is no batch.
    """

    loss: Callable[[Any, Any], Any]
    batches: Batches
    validation: Batches | None = None
    metric: Callable[[Any, Any], Any] | None = None

    def __post_init__(self) -> None:
        if not callable(self.loss):
            raise ValueError(f"Task: loss must be callable, got {self.loss!r}.")
        for name in ("batches", "validation"):
            given = getattr(self, name)
            if isinstance(given, Iterator):
                raise ValueError(
                    f"Task: {name} is an iterator, which can be gone through only once. Pass a "
                    "list, or a function that returns a fresh iterator."
                )
            if given is not None and next(iter(_fresh(given)), None) is None:
                raise ValueError(f"Task: {name} holds no batch.")

    def epochs(self) -> Iterator[Any]:
        """Training batches without end."""
        while True:
            yield from _fresh(self.batches)

    def held_out(self) -> Iterable[Any]:
        return _fresh(self.batches if self.validation is None else self.validation)


@dataclasses.dataclass(frozen=True)
class Calibration:
    """Unlabeled data that show a layer its inputs.

    Args:
        forward: `forward(model, batch)`, the outputs whose change matters: an array or a pytree.
        batches: as in `Task`; inputs alone.
    """

    forward: Callable[[Any, Any], Any]
    batches: Batches

    __post_init__ = lambda self: _check_calibration(self)


def _check_calibration(self: Calibration) -> None:
    if not callable(self.forward):
        raise ValueError(f"Calibration: forward must be callable, got {self.forward!r}.")
    if next(iter(_fresh(self.batches)), None) is None:
        raise ValueError("Calibration: batches holds no batch.")


def _fresh(batches: Batches) -> Iterable[Any]:
    return batches() if callable(batches) else batches


def jit(function: Callable) -> Callable:
    """`jax.jit` with the options of the package's full tier."""
    return jax.jit(function, compiler_options=_options(jax.default_backend(), "full"))


@dataclasses.dataclass(frozen=True)
class Trained:
    """The best model on validation data, its metric there, the last model, and how it ended."""

    model: Any
    last: Any
    metric: float
    status: Status
    steps: int


def validate(model: Any, task: Task, adapter: Adapter | None = None) -> float:
    """Mean metric over the validation batches."""
    arrays, build = (adapter or adapter_for(model)).arrays(model)
    return _mean_metric(task, build)(arrays)


def _mean_metric(task: Task, build) -> Callable[[dict], float]:
    metric = task.metric or task.loss
    one = jit(lambda arrays, batch: metric(build(arrays), batch))

    def mean(arrays: dict) -> float:
        values = [float(one(arrays, batch)) for batch in task.held_out()]
        return float(np.mean(values))

    return mean


def train(
    model: Any,
    task: Task,
    *,
    names: Callable[[str], bool],
    transformation,
    steps: int,
    checks: int = 4,
    batches: Iterator[Any] | None = None,
    adapter: Adapter | None = None,
) -> Trained:
    """Train the arrays whose path `names` accepts; all others stay as they are, bit by bit.

    The model is validated before, `checks` times on the way, and at the end; the best one is
    returned, which is never worse than the start.

    Raises:
        ValueError: if no array is accepted.
    """
    adapter = adapter or adapter_for(model)
    arrays, build = adapter.arrays(model)
    live = {name: array for name, array in arrays.items() if names(name)}
    frozen = {name: array for name, array in arrays.items() if name not in live}
    if not live:
        raise ValueError(f"train: nothing to train; arrays of the model: {', '.join(arrays)}.")

    def step(live, frozen, state, batch):
        loss = lambda live: task.loss(build({**frozen, **live}), batch)
        value, gradient = jax.value_and_grad(loss)(live)
        change, state = transformation.update(gradient, state, live)
        new = jax.tree.map(lambda x, d: x + d.astype(x.dtype), live, change)
        return new, state, value

    step = jit(step)
    metric = _mean_metric(task, build)
    state = transformation.init(live)
    best, best_metric = live, metric(arrays)
    if not math.isfinite(best_metric):
        best_metric = math.inf
    batches = task.epochs() if batches is None else batches
    every, status, done = max(1, steps // max(checks, 1)), Status.MAX_STEPS, 0
    for done in range(1, steps + 1):
        live, state, value = step(live, frozen, state, next(batches))
        if done % every and done < steps:
            continue
        if not bool(jnp.isfinite(value)):
            status = Status.NON_FINITE
            break
        now = metric({**frozen, **live})
        if now < best_metric:
            best, best_metric = live, now
    last = best if status is Status.NON_FINITE else live
    model = lambda live: build({**frozen, **live})
    return Trained(model(best), model(last), best_metric, status, done)
