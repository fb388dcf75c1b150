"""What a model is for: the user's loss on the user's batches; and what it does, for calibration."""

import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import jax
import numpy as np

from .._compile import _options
from .adapters import adapter_for
from .model import Adapter, Build

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

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from tnjax.nn import Task
        >>> loss = lambda model, batch: jnp.mean((jax.vmap(model)(batch[0]) - batch[1]) ** 2)
        >>> batches = [(jnp.ones((4, 2)), jnp.ones((4, 1)))] * 3
        >>> next(Task(loss, batches).epochs())[0].shape
        (4, 2)
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
            _check_batches("Task", name, given)
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
        """The validation batches from the first one."""
        return fresh(self.batches if self.validation is None else self.validation)


@dataclasses.dataclass(frozen=True)
class Calibration:
    """Unlabeled data that show a layer its inputs.

    Args:
        forward: `forward(model, batch)`, the outputs whose change matters: an array or a pytree.
        batches: as in `Task`; inputs alone.

    Raises:
        ValueError: if forward is not callable or there is no batch.

    Example:
        >>> import equinox as eqx, jax, tnjax
        >>> from tnjax.nn import Calibration
        >>> model = eqx.nn.MLP(16, 4, 32, 1, key=jax.random.key(0))
        >>> batches = list(jax.random.normal(jax.random.key(1), (4, 8, 16)))
        >>> calibration = Calibration(lambda model, x: jax.vmap(model)(x), batches)
        >>> result = tnjax.compress(model, layers="layers.*", budget=0.5, calibration=calibration)
        >>> result.num_params <= 320
        True
    """

    forward: Callable[[Any, Any], Any]
    batches: Batches

    def __post_init__(self) -> None:
        if not callable(self.forward):
            raise ValueError(f"Calibration: forward must be callable, got {self.forward!r}.")
        _check_batches("Calibration", "batches", self.batches)
        if next(iter(fresh(self.batches)), None) is None:
            raise ValueError("Calibration: batches holds no batch.")


def _check_batches(owner: str, name: str, given: Any) -> None:
    if isinstance(given, Mapping):
        raise ValueError(
            f"{owner}: {name} is a dict with the keys {list(given)}: one batch, it seems. Pass a "
            "list of batches, [batch]."
        )


def _built(function: Callable, build: Build) -> Callable:
    return lambda arrays, batch: function(build(arrays), batch)


def check_loss(task: Task, model: Any) -> None:
    """See that loss and metric give one number for a batch, without computing it.

    Raises:
        ValueError: if they give something else, or fail; the message says which.
    """
    for name, batches in (("loss", task.batches), ("metric", task.held_out())):
        function = getattr(task, name)
        if function is None:
            continue
        batch = next(iter(fresh(batches)))
        arrays, build = adapter_for(model).arrays(model)
        try:
            out = jax.eval_shape(_built(function, build), arrays, batch)
        except (TypeError, ValueError, KeyError, IndexError, AttributeError) as error:
            raise ValueError(f"Task: {name}(model, batch) failed: {error}") from error
        shapes = jax.tree.leaves(out)
        if len(shapes) != 1 or out is not shapes[0] or out.shape != ():
            what = "a tuple" if isinstance(out, tuple) else "not one number"
            raise ValueError(
                f"Task: {name}(model, batch) returned {what} ({jax.tree.map(str, out)}); expected "
                "a number of shape (). Leave auxiliary outputs out: lambda m, b: loss(m, b)[0]."
            )


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


def validate(model: Any, task: Task, adapter: Adapter | None = None) -> float:
    """Mean metric over the validation batches.

    Args:
        model: an Equinox model or a Flax nnx module.
        task: gives the metric (the loss, where it has none) and the batches.
        adapter: of the model's framework; found by default.

    Returns:
        The mean over the batches, each of them counted once.

    Raises:
        ValueError: if the model is of no known framework.

    Example:
        >>> import equinox as eqx, jax, jax.numpy as jnp
        >>> from tnjax.nn import Task, validate
        >>> model = eqx.nn.MLP(2, 1, 4, 1, key=jax.random.key(0))
        >>> validate(model, Task(lambda model, x: jnp.mean(x), [jnp.ones(3), jnp.zeros(3)]))
        0.5
    """
    arrays, build = (adapter or adapter_for(model)).arrays(model)
    return mean_value(task.metric or task.loss, build, task.held_out())(arrays)


def mean_value(
    function: Callable, build: Build, batches: Iterable[Any], tier: str = "full"
) -> Callable[[dict], float]:
    """arrays -> mean of `function(model, batch)` over the batches."""
    program = _value_program(function, build, tier)
    return lambda arrays: float(np.mean([float(program(arrays, batch)) for batch in batches]))
