"""`compress`: a trained model in, a smaller one out."""

import dataclasses
import fnmatch
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import optax

from .._status import Status
from ._allocate import Blocks, LowRank, budget_of
from ._formats import factor, paired
from ._grow import GrowStep, Lengths, current, grow_layers
from ._layout import Layout
from ._measure import moments
from ._project import project
from ._screening import GradientScreen, LayerScreen, TrialScreen
from ._spectra import Allocation, approximate
from ._task import Calibration, Schedule, Task, train, validate
from .model import Adapter, Slot, adapter_for, pick

_SCREENS = {"gradient": GradientScreen, "trial": TrialScreen}
Starts = Mapping[str, Layout] | Callable[[Slot], Layout]


@dataclasses.dataclass(frozen=True)
class CompressedLayer:
    """What became of one layer.

    Attributes:
        name, kind, shape: of the dense layer, its weight as a matrix.
        layout: of the network in its place.
        dense_params, num_params: entries of weight and cores.
        error: relative Frobenius error of the weight (of a trained layer: its distance).
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


def compress(
    model: Any,
    problem: Task | None = None,
    *,
    layers: str | Iterable[str],
    budget: float,
    method: Literal["auto", "grow", "spectra"] = "auto",
    start: Starts | None = None,
    screen: str | LayerScreen = "gradient",
    family: LowRank | Blocks | None = None,
    calibration: Calibration | None = None,
    allocation: Allocation = "auto",
    ridge: float = 0.01,
    train_only: Literal["layers", "all"] = "layers",
    frozen: Sequence[str] = (),
    transformation: optax.GradientTransformation | None = None,
    steps: int = 100,
    final_steps: int = 200,
    total_steps: int | None = None,
    schedule: Schedule | None = None,
    checks: int = 4,
    factor_per_move: float = 1.5,
    power: float = 0.5,
    overshoot: float = 1.0,
    cuts: int = 1,
    screen_batches: int = 4,
    mode: str = "auto",
    checkpoint: bool = False,
    seed: int = 0,
    on_step: Callable[[GrowStep], Any] | None = None,
) -> CompressResult:
    """Replace layers of a model by tensor networks within a number of parameters.

    Two methods. "grow" starts every layer at a small network and grows the bonds of all layers
    together by what the task's own loss says, training in between (default where a task is
    given). "spectra" approximates the weights at once, ranks shared out among layers by their
    spectra; with `calibration`, the error of the outputs instead of the weights; with a task, the
    result is then fine-tuned (default without a task, where no data are needed).

    Args:
        model: an Equinox model or a Flax nnx module; not changed.
        problem: a `Task`: loss, batches and validation batches.
        layers: paths of layers, "blocks.0.expand", or patterns, "blocks.*".
        budget: parameters of all networks, or a fraction (below 1) of the weights they replace.
        method: see above.
        start: for "grow": layouts by path, or a function of a `Slot` to its layout; the cores are
            fitted to the weights. By default a layer that is a network already grows from what
            it is, and a dense one starts at paired digits of sizes near 4 without bonds, padded
            where sizes do not factor.
        screen: for "grow": "gradient", "trial" (the paper's), or a `LayerScreen`.
        family: for "spectra": `LowRank()` or `Blocks(...)`.
        calibration: for "spectra": unlabeled data.
        allocation, ridge: for "spectra", as explained in `tnjax.nn.approximate`.
        train_only: "layers" trains the cores and biases of the replaced layers; "all" every
            floating array.
        frozen: paths or patterns of arrays that never change, "embed.*".
        transformation: optax; Adam at 1e-3 by default.
        steps: of training after every move.
        final_steps: of fine-tuning at the end; 0 for none.
        total_steps: of all training, in place of `final_steps`: what the moves leave is the length
            of the last training, and growth ends when nothing would be left.
        schedule: factor of the updates by the number of steps that all trainings have had, such as
            `optax.linear_schedule(1.0, 0.0, 500)`; always 1 by default. (A schedule inside of
            `transformation` begins anew after every move, as its state does.)
        checks: validations on the way of every training; the best model on them is kept.
        factor_per_move: a move grows bonds until the parameters have risen by this factor.
        power: exponent of the cost in gain / cost^power.
        overshoot: growth goes on to about so many times the budget, and bonds are then cut back to
            it before the last training: a network learns faster while it is larger, and ranks that
            training has shown to be of little use go. Steps take longer, too.
        cuts: moves in which bonds are cut back, with training in between.
        screen_batches: training batches that the screen looks at.
        mode, checkpoint: of the new layers' forward pass.
        seed: for all random numbers.
        on_step: called with every `GrowStep`.

    Raises:
        ValueError: if a layer is not found, the budget is too small for a start, options
            contradict each other, or the loss is not finite.

    Example:
        >>> import equinox as eqx, jax
        >>> from tnjax import compress
        >>> model = eqx.nn.MLP(16, 4, 32, 1, key=jax.random.key(0))
        >>> result = compress(model, layers="layers.*", budget=0.5)
        >>> [layer.name for layer in result.layers], result.num_params <= 320
        (['layers.0', 'layers.1'], True)

    Reference:
        arXiv 2008.05437, section 5.4; Novikov et al., arXiv 1509.06569.
    """
    begin = time.perf_counter()
    adapter = adapter_for(model)
    chosen = pick(adapter.slots(model), layers)
    limit = budget_of(budget, sum(slot.size for slot in chosen))
    if method == "auto":
        method = "spectra" if problem is None or calibration is not None else "grow"
    if method not in ("grow", "spectra"):
        raise ValueError(f'method={method!r}; expected "auto", "grow" or "spectra".')
    if train_only not in ("layers", "all"):
        raise ValueError(f'train_only={train_only!r}; expected "layers" or "all".')
    lengths = Lengths(steps, final_steps, total_steps, schedule, checks)
    names = _trainable(chosen, train_only, frozen)
    transformation = optax.adam(1e-3) if transformation is None else transformation
    dense_metric = None if problem is None else validate(model, problem, adapter)
    options = {"mode": mode, "checkpoint": checkpoint}
    path: list[GrowStep] = []
    metric, status = None, Status.MAX_PARAMS
    if method == "grow":
        if problem is None:
            raise ValueError('compress: method="grow" needs a task; pass `problem=Task(...)`.')
        wrong = [slot.name for slot in chosen if slot.kind == "embedding"]
        if wrong:
            raise ValueError(
                f"compress: embeddings ({', '.join(wrong)}) are compressed by "
                'method="spectra" only; leave them out of `layers`.'
            )
        path = grow_layers(
            adapter,
            model,
            _starts(adapter, model, chosen, start),
            problem,
            limit,
            screen=_screen(screen),
            names=names,
            transformation=transformation,
            lengths=lengths,
            factor=factor_per_move,
            power=power,
            overshoot=overshoot,
            cuts=cuts,
            screen_batches=screen_batches,
            seed=seed,
            options=options,
            on_step=on_step,
        )
        size = path[-1].num_params
        same = [step for step in reversed(path) if step.num_params == size]
        best = min(same, key=lambda step: step.metric)  # of equals the last
        found, metric, status = best.model, best.metric, best.status
    else:
        measured = None
        if calibration is not None:
            tapped = [slot for slot in chosen if slot.kind != "embedding"]
            measured = moments(adapter, model, tapped, calibration, seed=seed)
        networks, biases = approximate(
            chosen, limit, family=family, moments=measured, allocation=allocation, ridge=ridge
        )
        found = adapter.replaced(model, networks, biases, **options)
        if problem is not None:
            trained = train(
                found,
                problem,
                names=names,
                transformation=transformation,
                steps=lengths.final(0),
                schedule=lengths.schedule(0),
                checks=checks,
                adapter=adapter,
            )
            found, metric, status = trained.model, trained.metric, trained.status
    return CompressResult(
        found,
        _records(adapter, found, chosen),
        metric,
        dense_metric,
        tuple(path),
        status,
        time.perf_counter() - begin,
    )


def default_start(slot: Slot) -> Layout:
    """Digits of sizes near 4, a row and a column digit on every node, padded where needed."""
    rows, columns = slot.matrix.shape
    count = max(2, round(np.log(max(min(rows, columns), 4)) / np.log(4)))
    return paired(
        factor(rows, count, pad=True), factor(columns, count, pad=True), rows=rows, columns=columns
    )


def _starts(adapter: Adapter, model: Any, chosen: Sequence[Slot], start: Starts | None) -> dict:
    networks = {}
    for slot in chosen:
        if start is None and slot.layout is not None:
            networks |= current(adapter, model, {slot.name: (slot.layout, ())})
            continue
        if start is None:
            layout = default_start(slot)
        elif callable(start):
            layout = start(slot)
        elif slot.name in start:
            layout = start[slot.name]
        else:
            raise ValueError(f"compress: `start` has no layout for layer {slot.name!r}.")
        if layout.shape != slot.matrix.shape:
            raise ValueError(
                f"compress: the layout for {slot.name!r} is {layout.shape}, its weight "
                f"{slot.matrix.shape}. Sizes that do not factor are padded: give larger dims with "
                f"rows={slot.matrix.shape[0]}, columns={slot.matrix.shape[1]}, or use "
                "`factor(size, count, pad=True)`."
            )
        networks[slot.name] = (layout, project(layout, slot.matrix).cores)
    return networks


def _screen(screen: str | LayerScreen) -> LayerScreen:
    if isinstance(screen, LayerScreen):
        return screen
    if screen not in _SCREENS:
        raise ValueError(
            f"compress: unknown screen {screen!r}; choose one of {', '.join(_SCREENS)}."
        )
    return _SCREENS[screen]()


def _trainable(chosen: Sequence[Slot], train_only: str, frozen: Sequence[str]):
    """The predicate of array paths that are trained."""
    inside = tuple(f"{slot.name}." for slot in chosen)

    def names(path: str) -> bool:
        if any(fnmatch.fnmatchcase(path, pattern) for pattern in frozen):
            return False
        return train_only == "all" or path.startswith(inside)

    return names


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
