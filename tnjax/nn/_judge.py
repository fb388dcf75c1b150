"""What approximations of layers do to the model, by one program for all of them: the dense model
with other numbers in its weights."""

import functools
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ._layers import stacked_on_host
from ._measure import STATISTICS
from ._tap import dense_layout
from ._task import Calibration, Task, fresh, jit, mean_value
from .model import Adapter, Build, Network, Slot, below, core_names


class Judge:
    """Measures networks in place of layers.

    Args:
        adapter: of the model's framework.
        model: the dense one.
        slots: the layers.
        task: gives loss and metric, or None.
        calibration: gives outputs, or None.
    """

    def __init__(
        self,
        adapter: Adapter,
        model: Any,
        slots: Sequence[Slot],
        task: Task | None,
        calibration: Calibration | None,
    ):
        dense = {slot.name: (dense_layout(*slot.shape), (slot.matrix,)) for slot in slots}
        self._arrays, self._build = adapter.arrays(adapter.replaced(model, dense))
        self._places = {s.name: core_names(s.name, dense[s.name][0])[0] for s in slots}
        self._task, self._calibration = task, calibration
        self._outputs: list[Any] | None = None

    def loss(self, networks: Mapping[str, Network], biases: Mapping[str, Any]) -> float:
        """What to choose by: the loss on some of the training batches, else the output error."""
        if self._task is None:
            return self.output_error(self.placed(networks, biases)) or 0.0
        batches = list(itertools.islice(fresh(self._task.batches), STATISTICS().batches))
        value = mean_value(self._task.loss, self._build, batches, "fast")
        return value(self.placed(networks, biases))

    def metric(self, arrays: Mapping[str, Any]) -> float | None:
        """On the validation batches; None without a task."""
        task = self._task
        if task is None:
            return None
        function = task.metric or task.loss
        return mean_value(function, self._build, task.held_out(), "fast")(dict(arrays))

    def output_error(self, arrays: Mapping[str, Any]) -> float | None:
        """Relative Frobenius error of the outputs on the calibration; None without one."""
        if self._calibration is None:
            return None
        program = _forward(self._calibration.forward, self._build)
        if self._outputs is None:
            self._outputs = [program(self._arrays, b) for b in fresh(self._calibration.batches)]
        square = lambda tree: sum(
            float(jnp.sum(jnp.abs(jnp.asarray(x)) ** 2)) for x in jax.tree.leaves(tree)
        )
        lost = size = 0.0
        for batch, before in zip(fresh(self._calibration.batches), self._outputs, strict=False):
            after = program(dict(arrays), batch)
            lost += square(jax.tree.map(lambda a, b: a - b, after, before))
            size += square(before)
        return float(np.sqrt(lost / size)) if size > 0 else float(np.sqrt(lost))

    def placed(
        self, networks: Mapping[str, Network], biases: Mapping[str, Any]
    ) -> dict[str, Array]:
        """The arrays of the dense model with the networks' weights."""
        new = {name: stacked_on_host(*network) for name, network in networks.items()}
        return self._with(new, biases)

    def trained(self, adapter: Adapter, model: Any) -> dict[str, Array]:
        """The arrays of the dense model for a compressed one."""
        arrays, _ = adapter.arrays(model)
        kept = {name: x for name, x in arrays.items() if name in self._arrays}
        found = adapter.slots(model)
        new = self._with({name: found[name].matrix for name in self._places}, {})
        return {**new, **kept, **{place: new[place] for place in self._places.values()}}

    def _with(self, matrices: Mapping[str, Any], biases: Mapping[str, Any]) -> dict[str, Array]:
        new = {self._places[name]: matrix for name, matrix in matrices.items()}
        new |= {below(name, "bias"): bias for name, bias in biases.items()}
        like = lambda path, x: jnp.asarray(
            np.reshape(np.asarray(x, np.float64), self._arrays[path].shape),
            self._arrays[path].dtype,
        )
        return {**self._arrays, **{path: like(path, x) for path, x in new.items()}}


@functools.lru_cache(maxsize=64)
def _forward(forward: Any, build: Build) -> Any:
    return jit(lambda arrays, batch: forward(build(arrays), batch), "fast")
