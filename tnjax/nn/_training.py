"""Training a model on its task: how long, how fast, which arrays; and the loop."""

import dataclasses
import fnmatch
import functools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax

from .._status import Status
from .._tuned import tuned
from ..solve.gradients import promoting
from ._task import Task, jit, mean_value
from .adapters import adapter_for
from .model import Adapter, Build, below

Schedule = Callable[[int], Any]


@dataclasses.dataclass(frozen=True)
class Warming:
    """Training after a move.

    Attributes:
        steps: steps over which the updates rise to full length when a move has made the optimizer
            start anew.
    """

    steps: int = 10


ADAM = optax.adam(1e-3)  # one object, so that compiled programs are found again

WARMING = tuned("layer_training", Warming())


@dataclasses.dataclass(frozen=True, kw_only=True)
class Training:
    """How `compress` trains.

    Args:
        transformation: optax; Adam at 1e-3 by default. Pass the same object again to reuse
            compiled programs.
        steps: of training after every move of a growth.
        final_steps: of training at the end; 0 for none.
        total_steps: of all training, in place of `final_steps`: what the moves leave is the length
            of the last training, and growth ends when nothing would be left.
        schedule: factor of the updates by the number of steps that all trainings have had, such as
            `optax.linear_schedule(1.0, 0.0, 500)`; always 1 by default. (A schedule inside of
            `transformation` begins anew after every move, as its state does.)
        checks: validations on the way of every training; the best model on them is kept.
        train_only: "layers" trains the cores and biases of the replaced layers; "all" every
            floating array.
        frozen: a path or pattern of arrays that never change, "embed.*", or several.

    Raises:
        ValueError: if a number is negative, `total_steps` is less than `steps`, or `train_only`
            is unknown.

    Example:
        >>> import optax
        >>> from tnjax.nn import Training
        >>> training = Training(transformation=optax.adam(1e-2), steps=50, frozen="embed.*")
        >>> training.frozen
        ('embed.*',)
    """

    transformation: optax.GradientTransformation | None = None
    steps: int = 100
    final_steps: int = 200
    total_steps: int | None = None
    schedule: Schedule | None = None
    checks: int = 4
    train_only: Literal["layers", "all"] = "layers"
    frozen: str | Sequence[str] = ()

    def __post_init__(self) -> None:
        for name in ("steps", "final_steps", "checks"):
            if getattr(self, name) < 0:
                raise ValueError(f"Training: {name}={getattr(self, name)}; expected 0 or more.")
        if self.total_steps is not None and self.total_steps < self.steps:
            raise ValueError(
                f"Training: total_steps={self.total_steps} are less than steps={self.steps} of "
                "training for the start alone."
            )
        if self.train_only not in ("layers", "all"):
            raise ValueError(
                f'Training: train_only={self.train_only!r}; expected "layers" or "all".'
            )
        patterns = (self.frozen,) if isinstance(self.frozen, str) else tuple(self.frozen)
        object.__setattr__(self, "frozen", patterns)

    def after_move(self, done: int) -> int:
        """Steps of training after a move, with `done` steps before it."""
        return self.steps if self.total_steps is None else min(self.steps, self.total_steps - done)

    def spent(self, done: int, cuts: int) -> bool:
        """Whether another move and the cuts would leave nothing for the last training."""
        return self.total_steps is not None and done + cuts * self.steps >= self.total_steps

    def last(self, done: int) -> int:
        """Steps of the last training."""
        return self.final_steps if self.total_steps is None else self.total_steps - done

    def factor(self, done: int) -> Schedule:
        """Factor of the updates of a training that begins after `done` steps."""
        factor = self.schedule or (lambda step: 1.0)
        if not done:
            return factor
        return lambda step: factor(done + step) * min(1.0, (step + 1) / WARMING().steps)

    def names(self, layers: Iterable[str], arrays: Iterable[str]) -> Callable[[str], bool]:
        """The predicate of the arrays that are trained.

        Args:
            layers: names of the replaced layers.
            arrays: paths of all floating arrays of the model that is trained.

        Raises:
            ValueError: if a pattern in `frozen` matches no array.
        """
        inside, arrays = tuple(below(name, "") for name in layers), list(arrays)
        for pattern in self.frozen:
            if not fnmatch.filter(arrays, pattern):
                raise ValueError(
                    f"Training: frozen={pattern!r} matches no array of the compressed model; "
                    f"arrays: {', '.join(arrays[:20])}{', ...' if len(arrays) > 20 else ''}."
                )

        def names(path: str) -> bool:
            if any(fnmatch.fnmatchcase(path, pattern) for pattern in self.frozen):
                return False
            return self.train_only == "all" or path.startswith(inside)

        return names


@dataclasses.dataclass(frozen=True)
class Trained:
    """What a training found.

    Attributes:
        model: the best one on validation data.
        last: the model at the end.
        metric: of `model`, on validation data.
        status: how the training ended; `Status.NON_FINITE` if the loss was not finite.
        steps: that were made.

    Example:
        >>> import equinox as eqx, jax, jax.numpy as jnp, optax
        >>> from tnjax.nn import Task, train
        >>> model = eqx.nn.Linear(2, 1, key=jax.random.key(0))
        >>> task = Task(lambda model, x: jnp.mean(jax.vmap(model)(x) ** 2), [jnp.ones((4, 2))])
        >>> found = train((model,), Task(lambda m, x: task.loss(m[0], x), task.batches),
        ...               names=lambda path: True, transformation=optax.sgd(0.1), steps=5)
        >>> found.status.name, found.steps
        ('MAX_STEPS', 5)
    """

    model: Any
    last: Any
    metric: float
    status: Status
    steps: int


@functools.lru_cache(maxsize=256)
def _step_program(loss: Callable, build: Build, transformation, tier: str) -> Callable:
    def step(live, frozen, state, batch, factor):
        value, gradient = jax.value_and_grad(lambda x: loss(build({**frozen, **x}), batch))(live)
        with promoting():
            change, state = transformation.update(gradient, state, live)
            new = jax.tree.map(lambda x, d: x + (factor * d).astype(x.dtype), live, change)
        return new, state, value

    return jit(step, tier)


@dataclasses.dataclass(frozen=True)
class Trainer:
    """Trains models of one kind on a task.

    Attributes:
        task: loss, batches and validation batches.
        adapter: of the model's framework.
        names: of the arrays to train.
        transformation: optax.
    """

    task: Task
    adapter: Adapter
    names: Callable[[str], bool]
    transformation: optax.GradientTransformation

    def __call__(
        self,
        model: Any,
        batches: Iterator[Any] | None = None,
        *,
        steps: int,
        schedule: Schedule | None = None,
        checks: int = 4,
        tier: str = "full",
    ) -> Trained:
        """Train; see `train`. `tier` is that of the compilation."""
        arrays, build = self.adapter.arrays(model)
        live = {name: array for name, array in arrays.items() if self.names(name)}
        frozen = {name: array for name, array in arrays.items() if name not in live}
        if not live:
            raise ValueError(f"train: nothing to train; arrays of the model: {', '.join(arrays)}.")
        metric = self._metric(build, frozen, tier)
        step = _step_program(self.task.loss, build, self.transformation, tier)
        with promoting():
            state = self.transformation.init(live)
        best, best_metric = live, metric(live)
        if not math.isfinite(best_metric):
            best_metric = math.inf
        batches = self.task.epochs() if batches is None else batches
        every, status, done = max(1, steps // max(checks, 1)), Status.MAX_STEPS, 0
        for done in range(1, steps + 1):
            factor = np.float32(1.0 if schedule is None else schedule(done - 1))
            live, state, value = step(live, frozen, state, next(batches), factor)
            if done % every and done < steps:
                continue
            if not bool(jnp.isfinite(value)):
                status = Status.NON_FINITE
                break
            now = metric(live)
            if now <= best_metric:  # of equals the one that has trained longer
                best, best_metric = live, now
        last = best if status is Status.NON_FINITE else live
        model = lambda live: build({**frozen, **live})
        return Trained(model(best), model(last), best_metric, status, done)

    def _metric(self, build: Build, frozen: Mapping[str, Any], tier: str) -> Callable:
        """Trained arrays -> mean metric over the validation batches."""
        task = self.task
        function = task.metric or task.loss
        return lambda live: mean_value(function, build, task.held_out(), tier)({**frozen, **live})


def train(
    model: Any,
    task: Task,
    *,
    names: Callable[[str], bool],
    transformation: optax.GradientTransformation,
    steps: int,
    checks: int = 4,
    schedule: Schedule | None = None,
    batches: Iterator[Any] | None = None,
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

    Returns:
        The best model, the last one, the best one's metric, and how the training ended.

    Raises:
        ValueError: if no array is accepted.

    Example:
        >>> import equinox as eqx, jax, jax.numpy as jnp, optax
        >>> from tnjax.nn import Task, train, validate
        >>> model = eqx.nn.MLP(2, 1, 4, 1, key=jax.random.key(0))
        >>> task = Task(lambda model, x: jnp.mean(jax.vmap(model)(x) ** 2), [jnp.ones((4, 2))])
        >>> found = train(model, task, names=lambda path: path.endswith("bias"),
        ...               transformation=optax.sgd(0.1), steps=5)
        >>> found.metric < validate(model, task)
        True
        >>> bool((found.model.layers[0].weight == model.layers[0].weight).all())
        True
    """
    trainer = Trainer(task, adapter_for(model), names, transformation)
    return trainer(model, batches, steps=steps, schedule=schedule, checks=checks)
