"""`compress`: a trained model in, a smaller one out."""

import dataclasses
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax
import numpy as np
import optax
from jaxtyping import PRNGKeyArray

from .._failed import thrown
from .._status import Status
from ._allocate import budget_of
from ._growth.grow import Grow, GrowStep, grow_layers
from ._growth.start import starting_networks
from ._layout import Layout
from ._measure import moments
from ._options import Method, as_method, with_old_keywords
from ._spectra import Spectra, approximate
from ._task import Calibration, Task, validate
from ._training import Trainer, Training
from .adapters import adapter_for
from .model import Adapter, Slot, pick


@dataclasses.dataclass(frozen=True)
class CompressedLayer:
    """What became of one layer.

    Attributes:
        name, kind, shape: of the dense layer, its weight as a matrix.
        layout: of the network in its place.
        dense_params, num_params: entries of weight and cores.
        error: relative Frobenius error of the weight (of a trained layer: its distance).

    Example:
        >>> import equinox as eqx, jax, tnjax
        >>> model = eqx.nn.MLP(16, 4, 32, 1, key=jax.random.key(0))
        >>> (layer,) = tnjax.compress(model, layers="layers.0", budget=0.5).layers
        >>> layer.name, layer.kind, layer.shape, layer.dense_params, layer.num_params
        ('layers.0', 'linear', (32, 16), 512, 240)
    """

    name: str
    kind: str
    shape: tuple[int, int]
    layout: Layout
    dense_params: int
    num_params: int
    error: float


@dataclasses.dataclass(frozen=True)
class CompressResult:
    """What `compress` found.

    Attributes:
        model: the compressed model, of the framework that was given.
        layers: one record per replaced layer.
        metric: on the task's validation data, the model's and the dense model's before
            (`dense_metric`); None without a task.
        path: moves of a growth, in order.
        status: of the last training.
        seconds: wall time.

    Example:
        >>> import equinox as eqx, jax, tnjax
        >>> model = eqx.nn.MLP(16, 4, 32, 1, key=jax.random.key(0))
        >>> tnjax.compress(model, layers="layers.0", budget=0.5)
        CompressResult(1 layers, params=240 of 512, status=MAX_PARAMS)
    """

    model: Any
    layers: tuple[CompressedLayer, ...]
    metric: float | None
    dense_metric: float | None
    path: tuple[GrowStep, ...]
    status: Status
    seconds: float

    @property
    def num_params(self) -> int:
        """Parameters of all networks."""
        return sum(layer.num_params for layer in self.layers)

    @property
    def dense_params(self) -> int:
        """Parameters of the weights that they replace."""
        return sum(layer.dense_params for layer in self.layers)

    def __repr__(self) -> str:
        metric = "" if self.metric is None else f", metric={self.metric:.4g}"
        return (
            f"CompressResult({len(self.layers)} layers, params={self.num_params} of "
            f"{self.dense_params}{metric}, status={self.status.name})"
        )


@with_old_keywords
def compress(
    model: Any,
    problem: Task | None = None,
    *,
    layers: str | Iterable[str],
    budget: float,
    method: Method = "auto",
    key: PRNGKeyArray | None = None,
    calibration: Calibration | None = None,
    training: Training | None = None,
    on_step: Callable[[GrowStep], Any] | None = None,
    throw: bool = False,
) -> CompressResult:
    """Replace layers of a model by tensor networks within a number of parameters.

    Two methods. `Grow` starts every layer at a small network and grows the bonds of all layers
    together by what the task's own loss says, training in between (default where a task is
    given). `Spectra` approximates the weights at once, ranks shared out among layers by their
    spectra; with `calibration`, the error of the outputs instead of the weights; with a task, the
    result is then fine-tuned (default without a task, where no data are needed).

    Args:
        model: an Equinox model or a Flax nnx module; not changed.
        problem: a `Task`: loss, batches and validation batches.
        layers: paths of layers, "blocks.0.expand", or patterns, "blocks.*".
        budget: parameters of all networks, or a fraction (below 1) of the weights they replace.
        method: `Grow(...)` or `Spectra(...)` with their options, "grow" or "spectra" for their
            defaults, or "auto".
        key: for all random numbers; `jax.random.key(0)` by default.
        calibration: for `Spectra`: unlabeled data.
        training: on the task: how long, how fast, which arrays.
        on_step: called with every `GrowStep`.
        throw: raise `Failed` where the status of the result is a failure.

    Returns:
        The compressed model, with a record of every layer and of every move.

    Raises:
        ValueError: if a layer is not found, the budget is too small for a start, options
            contradict each other, or the loss is not finite.
        Failed: with `throw` only.

    Example:
        >>> import equinox as eqx, jax
        >>> from tnjax import compress
        >>> from tnjax.nn import Spectra
        >>> model = eqx.nn.MLP(16, 4, 32, 1, key=jax.random.key(0))
        >>> result = compress(model, layers="layers.*", budget=0.5)
        >>> [layer.name for layer in result.layers], result.num_params <= 320
        (['layers.0', 'layers.1'], True)
        >>> uniform = Spectra(allocation="uniform")
        >>> compress(model, layers="layers.*", budget=0.5, method=uniform).num_params
        252

    Reference:
        arXiv 2008.05437, section 5.4; Novikov et al., arXiv 1509.06569.
    """
    begin = time.perf_counter()
    adapter = adapter_for(model)
    chosen = pick(adapter.slots(model), layers)
    limit = budget_of(budget, sum(slot.size for slot in chosen))
    method = as_method(method, problem, calibration)
    if training is not None and problem is None:
        raise ValueError("compress: `training` needs a task; pass `problem=Task(...)`.")
    job = _Job(adapter, model, chosen, problem, training or Training())
    key = jax.random.key(0) if key is None else key
    dense_metric = None if problem is None else validate(model, problem, adapter)
    if isinstance(method, Grow):
        found, path = _grown(job, limit, method, key, on_step)
    else:
        found, path = _approximated(job, limit, method, calibration, key), ()
    result = CompressResult(
        found.model,
        _records(adapter, found.model, chosen),
        found.metric,
        dense_metric,
        path,
        found.status,
        time.perf_counter() - begin,
    )
    return thrown("compress", result, throw)


@dataclasses.dataclass(frozen=True)
class _Job:
    """What is compressed, and how it is trained."""

    adapter: Adapter
    model: Any
    chosen: Sequence[Slot]
    task: Task | None
    training: Training

    def trainer(self, task: Task, replaced: Any) -> Trainer:
        """Of models with the arrays of `replaced`."""
        arrays, _ = self.adapter.arrays(replaced)
        names = self.training.names([slot.name for slot in self.chosen], arrays)
        transformation = self.training.transformation or optax.adam(1e-3)
        return Trainer(task, self.adapter, names, transformation)


@dataclasses.dataclass(frozen=True)
class _Found:
    model: Any
    metric: float | None = None
    status: Status = Status.MAX_PARAMS


def _grown(
    job: _Job,
    limit: int,
    grow: Grow,
    key: PRNGKeyArray,
    on_step: Callable[[GrowStep], Any] | None,
) -> tuple[_Found, tuple[GrowStep, ...]]:
    """The best model of the last size, and all moves."""
    if job.task is None:
        raise ValueError("compress: growth needs a task; pass `problem=Task(...)`.")
    wrong = [slot.name for slot in job.chosen if slot.kind == "embedding"]
    if wrong:
        raise ValueError(
            f"compress: embeddings ({', '.join(wrong)}) are compressed by method=Spectra() only; "
            "leave them out of `layers`."
        )
    networks = starting_networks(job.adapter, job.model, job.chosen, grow.start)
    replaced = job.adapter.replaced(job.model, networks, forward=grow.forward)
    path = grow_layers(
        replaced,
        networks,
        limit,
        grow,
        job.trainer(job.task, replaced),
        job.training,
        key=key,
        on_step=on_step,
    )
    same = [step for step in reversed(path) if step.num_params == path[-1].num_params]
    best = min(same, key=lambda step: step.metric)  # of equals the last
    return _Found(best.model, best.metric, best.status), tuple(path)


def _approximated(
    job: _Job,
    limit: int,
    spectra: Spectra,
    calibration: Calibration | None,
    key: PRNGKeyArray,
) -> _Found:
    """The approximated model, fine-tuned where there is a task."""
    adapter, measured = job.adapter, None
    if calibration is not None:
        tapped = [slot for slot in job.chosen if slot.kind != "embedding"]
        measured = moments(adapter, job.model, tapped, calibration, key=key)
    networks, biases = approximate(
        job.chosen,
        limit,
        family=spectra.family,
        moments=measured,
        allocation=spectra.allocation,
        ridge=spectra.ridge,
    )
    replaced = adapter.replaced(job.model, networks, biases, forward=spectra.forward)
    if job.task is None:
        return _Found(replaced)
    training = job.training
    trained = job.trainer(job.task, replaced)(
        replaced,
        steps=training.last(0),
        schedule=training.factor(0),
        checks=training.checks,
    )
    return _Found(trained.model, trained.metric, trained.status)


def _records(adapter: Adapter, model: Any, chosen: Sequence[Slot]) -> tuple[CompressedLayer, ...]:
    found = adapter.slots(model)
    records = []
    for slot in chosen:
        layout = found[slot.name].layout
        assert layout is not None
        distance = np.linalg.norm(found[slot.name].matrix - slot.matrix)
        norm = max(float(np.linalg.norm(slot.matrix)), 1e-300)
        shape = (slot.matrix.shape[0], slot.matrix.shape[1])
        records.append(
            CompressedLayer(
                slot.name,
                slot.kind,
                shape,
                layout,
                slot.size,
                layout.num_params,
                float(distance / norm),
            )
        )
    return tuple(records)
