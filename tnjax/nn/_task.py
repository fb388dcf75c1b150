"""What a model is for: the user's loss on the user's batches; and what it does, for calibration."""

import dataclasses
import functools
import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .._compile import _options
from .._status import Status
from .model import Adapter, Build, adapter_for

Batches = Iterable[Any] | Callable[[], Iterable[Any]]
Schedule = Callable[[int], Any]


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
            if given is not None and next(iter(fresh(given)), None) is None:
                raise ValueError(f"Task: {name} holds no batch.")

    def epochs(self) -> Iterator[Any]:
        """Training batches without end."""
        while True:
            yield from fresh(self.batches)

    def held_out(self) -> Iterable[Any]:
        return fresh(self.batches if self.validation is None else self.validation)


@dataclasses.dataclass(frozen=True)
class Calibration:
    """Unlabeled data that show a layer its inputs.

    Args:
        forward: `forward(model, batch)`, the outputs whose change matters: an array or a pytree.
        batches: as in `Task`; inputs alone.

    Raises:
        ValueError: if forward is not callable or there is no batch.
    """

    forward: Callable[[Any, Any], Any]
    batches: Batches

    def __post_init__(self) -> None:
        if not callable(self.forward):
            raise ValueError(f"Calibration: forward must be callable, got {self.forward!r}.")
        if next(iter(fresh(self.batches)), None) is None:
            raise ValueError("Calibration: batches holds no batch.")


def fresh(batches: Batches) -> Iterable[Any]:
    """The batches from the first one."""
    return batches() if callable(batches) else batches


def jit(function: Callable, tier: str = "full") -> Callable:
    """`jax.jit` with the options of one of the package's tiers."""
    return jax.jit(function, compiler_options=_options(jax.default_backend(), tier))


@functools.lru_cache(maxsize=256)
def _value_program(loss: Callable, build: Build, tier: str) -> Callable:
    return jit(lambda arrays, batch: loss(build(arrays), batch), tier)


@functools.lru_cache(maxsize=256)
def gradient_program(loss: Callable, build: Build, tier: str) -> Callable:
    """(live, rest, batch) -> gradient of the loss with respect to the arrays in `live`."""
    return jit(
        lambda live, rest, batch: jax.grad(lambda x: loss(build({**rest, **x}), batch))(live), tier
    )


@functools.lru_cache(maxsize=256)
def _step_program(loss: Callable, build: Build, transformation, tier: str) -> Callable:
    def step(live, frozen, state, batch, factor):
        value, gradient = jax.value_and_grad(lambda x: loss(build({**frozen, **x}), batch))(live)
        change, state = transformation.update(gradient, state, live)
        new = jax.tree.map(lambda x, d: x + (factor * d).astype(x.dtype), live, change)
        return new, state, value

    return jit(step, tier)


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
    return mean_value(task.metric or task.loss, build, task.held_out())(arrays)


def mean_value(
    function: Callable, build: Build, batches: Iterable[Any], tier: str = "full"
) -> Callable[[dict], float]:
    """arrays -> mean of `function(model, batch)` over the batches."""
    program = _value_program(function, build, tier)
    return lambda arrays: float(np.mean([float(program(arrays, batch)) for batch in batches]))


def train(
    model: Any,
    task: Task,
    *,
    names: Callable[[str], bool],
    transformation,
    steps: int,
    checks: int = 4,
    schedule: Schedule | None = None,
    batches: Iterator[Any] | None = None,
    adapter: Adapter | None = None,
    tier: str = "full",
) -> Trained:
    """Train the arrays whose path `names` accepts; all others stay as they are, bit by bit.

    The model is validated before, `checks` times on the way, and at the end; the best one is
    returned, the latest of equals, which is never worse than the start.

    Args:
        model: an Equinox model or a Flax nnx module; not changed.
        task: loss, batches and validation batches.
        names: of the arrays to train.
        transformation: optax. Pass the same object again to reuse compiled programs.
        steps: at the most; a loss that is not finite ends the training.
        checks: validations on the way.
        schedule: factor of the updates at step 0, 1, ...; always 1 by default.
        batches: a running iterator to go on with; the task's from its start by default.
        adapter, tier: of the model's framework, and of the compilation.

    Raises:
        ValueError: if no array is accepted.
    """
    adapter = adapter or adapter_for(model)
    arrays, build = adapter.arrays(model)
    live = {name: array for name, array in arrays.items() if names(name)}
    frozen = {name: array for name, array in arrays.items() if name not in live}
    if not live:
        raise ValueError(f"train: nothing to train; arrays of the model: {', '.join(arrays)}.")

    step = _step_program(task.loss, build, transformation, tier)
    function = task.metric or task.loss
    metric = lambda arrays: mean_value(function, build, task.held_out(), tier)(arrays)
    state = transformation.init(live)
    best, best_metric = live, metric(arrays)
    if not math.isfinite(best_metric):
        best_metric = math.inf
    batches = task.epochs() if batches is None else batches
    every, status, done = max(1, steps // max(checks, 1)), Status.MAX_STEPS, 0
    for done in range(1, steps + 1):
        factor = np.float32(1.0 if schedule is None else schedule(done - 1))
        live, state, value = step(live, frozen, state, next(batches), factor)
        if done % every and done < steps:
            continue
        if not bool(jnp.isfinite(value)):
            status = Status.NON_FINITE
            break
        now = metric({**frozen, **live})
        if now <= best_metric:  # of equals the one that has trained longer
            best, best_metric = live, now
    last = best if status is Status.NON_FINITE else live
    model = lambda live: build({**frozen, **live})
    return Trained(model(best), model(last), best_metric, status, done)
