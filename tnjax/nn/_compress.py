"""`compress`: a trained model in, a smaller one out."""

import dataclasses
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import PRNGKeyArray

from .._failed import thrown
from .._status import Status
from ._growth.grow import Grow, GrowStep, grow_layers
from ._growth.start import SVD_START, starting_networks
from ._job import Job, chosen_ranks, limit_of, measured
from ._judge import Judge
from ._layers import stacked_on_host
from ._options import Method, as_method, with_old_keywords
from ._result import Comparison, CompressedLayer, CompressResult, layer_records, weight_error
from ._spectra import LayerSpectra, Spectra
from ._tap import Moments
from ._task import Calibration, Task, check_loss, validate
from ._training import Training
from .model import Network, Slot


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

    Two methods. `Spectra` (the default) approximates all weights at once, ranks shared out among
    layers by their spectra. With data (`calibration`, or the batches of a task) it is the error of
    the outputs that is made small, by SVDs of the whitened weights; with a task, the result is
    then fine-tuned. `Grow` starts at half of these ranks and grows the bonds of all layers
    together by what the task's own loss says, training in between.

    Layers that gain nothing are left dense, and what cannot be compressed is named in the
    result's `skipped`. With data, the result says how plain and whitened SVDs of the same size do
    (`rows`, `table()`).

    Args:
        model: an Equinox model or a Flax nnx module; not changed.
        problem: a `Task`: loss, batches and validation batches.
        layers: paths of layers, "blocks.0.expand", or patterns, "blocks.*".
        budget: parameters of all layers that are named, or a fraction (below 1) of their weights.
        method: `Grow(...)` or `Spectra(...)` with their options, "grow" or "spectra" for their
            defaults, or "auto".
        key: for all random numbers; `jax.random.key(0)` by default.
        calibration: unlabeled data that the layers are measured on; by default the batches of the
            task.
        training: on the task: how long, how fast, which arrays.
        on_step: called with every `GrowStep`; of `Spectra` with a task, before and after training.
        throw: raise `Failed` where the status of the result is a failure.

    Returns:
        The compressed model, with a record of every layer and of every move.

    Raises:
        ValueError: if a layer is not found or cannot be compressed, a weight or the loss is not
            finite, the budget is too small for a start, or options contradict each other.
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
        320

    Reference:
        arXiv 2008.05437, section 5.4; Novikov et al., arXiv 1509.06569; Wang et al.,
        arXiv 2403.07378 (whitened SVD).
    """
    begin = time.perf_counter()
    job = Job.of(model, layers, problem, training, calibration, on_step)
    adapter = job.adapter
    limit = limit_of(budget, job.dense_params)
    method = as_method(method)
    if training is not None and problem is None:
        raise ValueError("compress: `training` needs a task; pass `problem=Task(...)`.")
    if problem is not None:
        check_loss(problem, model)
    key = jax.random.key(0) if key is None else key
    dense_metric = None if problem is None else validate(model, problem, adapter)
    if dense_metric is not None and not math.isfinite(dense_metric):
        raise ValueError(
            f"compress: the metric is {dense_metric} for the dense model. Look at the loss and the "
            "data."
        )
    seen, judge = measured(job, method, key), job.judge()
    if isinstance(method, Grow):
        found = _grown(job, limit, method, seen, judge, key)
    else:
        found = _approximated(job, limit, method, seen, judge)
    records = layer_records(adapter, found.model, job.chosen, seen)
    result = CompressResult(
        found.model,
        records,
        found.metric,
        dense_metric,
        found.path,
        found.status,
        time.perf_counter() - begin,
        job.skipped,
        _rows(job, seen, judge, found, sum(r.num_params for r in records)),
        _reason(found.reason, records),
    )
    return thrown("compress", result, throw)


@dataclasses.dataclass(frozen=True)
class _Found:
    model: Any
    metric: float | None = None
    status: Status = Status.MAX_PARAMS
    path: tuple[GrowStep, ...] = ()
    reason: str = ""


def _grown(
    job: Job,
    limit: int,
    grow: Grow,
    seen: Mapping[str, Moments],
    judge: Judge | None,
    key: PRNGKeyArray,
) -> _Found:
    """The best model on validation data within the budget, and all moves."""
    if job.task is None:
        raise ValueError("compress: growth needs a task; pass `problem=Task(...)`.")
    for what, wrong in (
        ("embeddings", [slot.name for slot in job.chosen if slot.kind == "embedding"]),
        ("stacked layers", [slot.name for slot in job.chosen if slot.stack]),
    ):
        if wrong:
            raise ValueError(
                f"compress: {what} ({', '.join(wrong)}) are compressed by method=Spectra() only; "
                "leave them out of `layers`."
            )
    networks, biases = {}, {}
    grown = list(job.chosen)
    if grow.start is None:
        dense = [slot for slot in job.chosen if slot.layout is None]
        spectra = LayerSpectra.of(dense, moments=seen)
        taken = sum(slot.layout.num_params for slot in job.chosen if slot.layout is not None)
        ranks = chosen_ranks(spectra, limit - taken, Spectra(), judge) if dense else {}
        half = {name: -(-rank // SVD_START().divisor) for name, rank in ranks.items()}
        networks, biases = spectra.networks(half)
        grown = [slot for slot in job.chosen if ranks.get(slot.name) != 0]
    networks |= starting_networks(
        job.adapter, job.model, [s for s in grown if s.name not in networks], grow.start
    )
    networks = {slot.name: networks[slot.name] for slot in grown}
    left = sum(slot.size for slot in job.chosen if slot.name not in networks)
    replaced = job.adapter.replaced(job.model, networks, biases, forward=grow.forward)
    path, reason = grow_layers(
        replaced,
        networks,
        limit - left,
        grow,
        job.trainer(job.task, replaced),
        job.training,
        key=key,
        on_step=job.told,
    )
    within = [step for step in reversed(path) if step.num_params <= limit - left]
    best = min(within or path[-1:], key=lambda step: step.metric)  # of equals the last
    if best.num_params < path[-1].num_params:
        reason = f"{best.num_params} parameters were best on the validation data; {reason}"
    return _Found(best.model, best.metric, best.status, tuple(path), reason)


def _approximated(
    job: Job,
    limit: int,
    method: Spectra,
    seen: Mapping[str, Moments],
    judge: Judge | None,
) -> _Found:
    """The approximated model, fine-tuned where there is a task."""
    spectra = LayerSpectra.of(job.chosen, family=method.family, moments=seen, ridge=method.ridge)
    networks, biases = spectra.networks(chosen_ranks(spectra, limit, method, judge))
    replaced = job.adapter.replaced(job.model, networks, biases, forward=method.forward)
    if job.task is None:
        return _Found(replaced)
    training, size = job.training, _size(networks)
    trainer = job.trainer(job.task, replaced)
    start = validate(replaced, job.task, job.adapter)
    first = job.told(GrowStep((), size, start, Status.MAX_STEPS, replaced))
    trained = trainer(
        replaced,
        steps=training.last(0),
        schedule=training.factor(0),
        checks=training.checks,
    )
    last = job.told(GrowStep((), size, trained.metric, trained.status, trained.model))
    return _Found(trained.model, trained.metric, trained.status, (first, last))


def _rows(
    job: Job,
    seen: Mapping[str, Moments],
    judge: Judge | None,
    found: _Found,
    size: int,
) -> tuple[Comparison, ...]:
    """Plain and whitened SVDs of as many parameters as the result has, and the result."""
    if judge is None:
        return ()
    rows = []
    for name, found_moments in (("plain SVD", {}), ("whitened SVD", seen)):
        if name == "whitened SVD" and not seen:
            continue
        spectra = LayerSpectra.of(job.chosen, moments=found_moments)
        try:
            ranks = chosen_ranks(spectra, size, Spectra(), judge)
        except ValueError:  # fewer parameters than an SVD of rank one has
            continue
        networks, biases = spectra.networks(ranks)
        arrays = judge.placed(networks, biases)
        pairs = [(s.matrix, _matrix(s, networks)) for s in job.chosen]
        total = _size(networks) + sum(s.size for s in job.chosen if s.name not in networks)
        errors = weight_error(pairs), judge.output_error(arrays), judge.metric(arrays)
        rows.append(Comparison(name, total, *errors))
    now = job.adapter.slots(found.model)
    arrays = judge.trained(job.adapter, found.model)
    error = weight_error([(slot.matrix, now[slot.name].matrix) for slot in job.chosen])
    metric = found.metric
    return (*rows, Comparison("compressed", size, error, judge.output_error(arrays), metric))


def _matrix(slot: Slot, networks: Mapping[str, Network]) -> np.ndarray:
    """The weight of a layer's network, or its own where it has none."""
    if slot.name not in networks:
        return slot.matrix
    return stacked_on_host(*networks[slot.name])


def _size(networks: Mapping[str, Network]) -> int:
    """Entries of all cores, of stacked layers all of them."""
    return sum(int(np.size(core)) for _, cores in networks.values() for core in cores)


def _reason(reason: str, records: Sequence[CompressedLayer]) -> str:
    dense = [record.name for record in records if record.dense]
    if not dense:
        return reason
    left = f"left dense, as they would save little: {', '.join(dense)}"
    return f"{reason}; {left}" if reason else left
