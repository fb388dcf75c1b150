"""What a compression would make of a model, said before anything is trained."""

import dataclasses
import functools
import statistics
import time
from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp

from ..contract.path import plan as path_of
from ._job import Job, chosen_ranks, limit_of, measured
from ._layout import Layout
from ._result import columns
from ._spectra import LayerSpectra, Spectra
from ._tap import dense_layout
from ._task import Calibration, Task, jit
from .model import Skipped


@dataclasses.dataclass(frozen=True)
class Machine:
    """What forecasts of seconds go by.

    Attributes:
        flops: of products of large matrices, each second.
        bytes: read from memory, each second.
        launch: seconds that an operation takes at the least.

    Example:
        >>> from tnjax.nn import Machine
        >>> Machine(flops=1e12, bytes=1e11, launch=1e-6).seconds(operations=1, flops=1e9, moved=0)
        0.001001
    """

    flops: float
    bytes: float
    launch: float

    def seconds(self, operations: int, flops: float, moved: float) -> float:
        """Of some operations: what is slower, computing or moving, and the launches."""
        return operations * self.launch + max(flops / self.flops, moved / self.bytes)

    @classmethod
    def measured(cls) -> "Machine":
        """Of the default device, by three small products; some tenths of a second, once."""
        return _measured_machine()


@functools.lru_cache(maxsize=1)
def _measured_machine() -> Machine:
    program = jit(lambda a, b: a @ b)

    def seconds(rows: int, inner: int, columns: int) -> float:
        a = jnp.ones((rows, inner), jnp.float32)
        b = jnp.ones((inner, columns), jnp.float32)
        times = []
        for _ in range(7):
            begin = time.perf_counter()
            jax.block_until_ready(program(a, b))
            times.append(time.perf_counter() - begin)
        return statistics.median(times[2:])

    launch = seconds(1, 8, 8)
    large, wide = seconds(512, 512, 512), seconds(1, 2048, 2048)
    least = launch / 10  # so that noise gives no infinite speed
    return Machine(
        2 * 512**3 / max(large - launch, least), 4 * 2048**2 / max(wide - launch, least), launch
    )


@dataclasses.dataclass(frozen=True)
class LayerPlan:
    """What a layer would become.

    Attributes:
        name, kind, shape: of the dense layer, its weight as a matrix.
        layout: of the network; one node where the layer is left dense.
        dense: whether it is left dense.
        num_params, dense_params: entries of cores and weight; of stacked layers, all of them.
        error: relative error: of the outputs where there are data, else of the weight.
        flops, dense_flops: of a forward pass of a batch of vectors.
        bytes, dense_bytes: of the parameters.
        seconds, dense_seconds: forecast of that forward pass.

    Example:
        >>> import equinox as eqx, jax
        >>> from tnjax.nn import plan
        >>> model = eqx.nn.MLP(16, 4, 32, 1, key=jax.random.key(0))
        >>> (layer,) = plan(model, layers="layers.0", budget=0.5).layers
        >>> layer.num_params, layer.flops, layer.dense_flops, layer.smaller
        (240, 480, 1024, True)
    """

    name: str
    kind: str
    shape: tuple[int, int]
    layout: Layout
    dense: bool
    num_params: int
    dense_params: int
    error: float
    flops: int
    dense_flops: int
    bytes: int
    dense_bytes: int
    seconds: float
    dense_seconds: float

    @property
    def smaller(self) -> bool:
        """Whether it has fewer parameters than the weight."""
        return self.num_params < self.dense_params

    @property
    def faster(self) -> bool:
        """Whether the forecast is below the dense layer's."""
        return self.seconds < self.dense_seconds

    @property
    def verdict(self) -> str:
        """What it gains: "smaller and faster", "smaller", "faster", "nothing", or "left dense"."""
        if self.dense:
            return "left dense"
        found = [word for word in ("smaller", "faster") if getattr(self, word)]
        return " and ".join(found) or "nothing"


@dataclasses.dataclass(frozen=True)
class Plan:
    """What `compress` with `Spectra` would do, layer by layer.

    Attributes:
        layers: all that are named.
        skipped: what the patterns name and no network can replace, with the reasons.
        batch: vectors that flops and seconds are for.

    Example:
        >>> import equinox as eqx, jax
        >>> from tnjax.nn import Machine, plan
        >>> model = eqx.nn.MLP(16, 4, 32, 1, key=jax.random.key(0))
        >>> slow = Machine(flops=1e9, bytes=1e9, launch=1e-9)
        >>> found = plan(model, layers="*", budget=0.5, batch=32, machine=slow)
        >>> found.layers[0].name, found.layers[0].verdict
        ('layers.0', 'smaller and faster')
        >>> found.num_params <= 320, found.dense_params
        (True, 640)
    """

    layers: tuple[LayerPlan, ...]
    skipped: tuple[Skipped, ...]
    batch: int

    @property
    def num_params(self) -> int:
        """Parameters of all layers that are named."""
        return sum(layer.num_params for layer in self.layers)

    @property
    def dense_params(self) -> int:
        """Parameters of their weights now."""
        return sum(layer.dense_params for layer in self.layers)

    def table(self) -> str:
        """All numbers as text."""
        head = ("layer", "params", "dense", "error", "Mflop", "dense", "ms", "dense", "gains")
        rows = [
            (
                *(x.name or "(the model)", str(x.num_params), str(x.dense_params)),
                *(f"{x.error:.3g}", f"{x.flops / 1e6:.4g}", f"{x.dense_flops / 1e6:.4g}"),
                *(f"{1e3 * x.seconds:.3g}", f"{1e3 * x.dense_seconds:.3g}", x.verdict),
            )
            for x in self.layers
        ]
        skipped = [f"skipped {s.name!r}: {s.reason}" for s in self.skipped]
        return "\n".join([columns([head, *rows]), *skipped])


def plan(
    model: Any,
    problem: Task | None = None,
    *,
    layers: str | Iterable[str],
    budget: float,
    method: Spectra | None = None,
    calibration: Calibration | None = None,
    batch: int = 1,
    machine: Machine | None = None,
) -> Plan:
    """What each layer would become, before anything is replaced or trained.

    Ranks are those that `compress` with the same arguments takes (of `Grow`, those that its growth
    is measured against), so that a budget can be chosen first. Layers that gain nothing are seen
    in `LayerPlan.verdict`: a network can be smaller and slower.

    Args:
        model: an Equinox model or a Flax nnx module; not changed.
        problem: a `Task`, whose batches weigh the errors.
        layers: paths of layers, "blocks.0.expand", or patterns, "blocks.*".
        budget: parameters of all layers that are named, or a fraction (below 1) of their weights.
        method: `Spectra()` by default.
        calibration: unlabeled data that weigh the errors.
        batch: vectors in a forward pass: samples, times positions of a convolution or a sequence.
        machine: to forecast seconds for; the default device, measured, by default.

    Returns:
        The plan, which `print(found.table())` shows.

    Raises:
        ValueError: as `compress`, or if the batch is not positive.

    Example:
        >>> import equinox as eqx, jax
        >>> from tnjax.nn import plan
        >>> model = eqx.nn.MLP(64, 4, 64, 2, key=jax.random.key(0))
        >>> found = plan(model, layers="*", budget=0.3)
        >>> [(layer.name, layer.dense) for layer in found.layers]
        [('layers.0', False), ('layers.1', False), ('layers.2', True)]
    """
    if batch < 1:
        raise ValueError(f"plan: batch={batch}; expected 1 or more vectors.")
    method = Spectra() if method is None else method
    job = Job.of(model, layers, problem, None, calibration)
    limit = limit_of(budget, job.dense_params)
    seen = measured(job, method, jax.random.key(0))  # the key that `compress` takes by default
    spectra = LayerSpectra.of(job.chosen, family=method.family, moments=seen, ridge=method.ridge)
    ranks = chosen_ranks(spectra, limit, method, job.judge())
    machine = Machine.measured() if machine is None else machine
    found = []
    for number, slot in enumerate(job.chosen):
        rank = ranks[slot.name]
        dense = dense_layout(*slot.shape)
        now = dense if slot.layout is None else slot.layout
        layout = spectra.family.layout(slot.shape, rank) if rank else now
        copies, itemsize = slot.size // (slot.shape[0] * slot.shape[1]), slot.matrix.dtype.itemsize
        flops, seconds = _forward(layout, batch, itemsize, machine)
        dense_flops, dense_seconds = _forward(dense, batch, itemsize, machine)
        if slot.kind == "embedding":  # rows are looked up
            flops, seconds, dense_flops, dense_seconds = 0, 0.0, 0, 0.0
        found.append(
            LayerPlan(
                *(slot.name, slot.kind, slot.shape, layout, not rank),
                copies * layout.num_params,
                slot.size,
                spectra.error(number, rank),
                copies * flops,
                copies * dense_flops,
                copies * layout.num_params * itemsize,
                slot.size * itemsize,
                copies * seconds,
                copies * dense_seconds,
            )
        )
    return Plan(tuple(found), job.skipped, batch)


def _forward(layout: Layout, batch: int, itemsize: int, machine: Machine) -> tuple[int, float]:
    """Flops and seconds of a forward pass in the cheaper way."""
    forecast = layout.forecast(batch)
    if forecast.best == "input":
        recipe, flops, moved = path_of(layout.apply_equation(batch)), forecast.input_flops, 0
        operations = len(recipe.steps)
    else:
        recipe, flops = path_of(layout.weight_equation()), forecast.weight_flops
        vectors = batch * (layout.padded_rows + layout.padded_columns)
        moved, operations = layout.padded_rows * layout.padded_columns + vectors, 1
        operations += len(recipe.steps)
    return flops, machine.seconds(operations, flops, itemsize * (recipe.moved + moved))
