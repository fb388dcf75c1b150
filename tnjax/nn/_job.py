"""What a compression works on: layers, data, ranks; shared by `compress` and `plan`."""

import dataclasses
import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from jaxtyping import PRNGKeyArray

from ._allocate import Blocks, budget_of
from ._growth.grow import GrowStep
from ._judge import Judge
from ._measure import moments, task_moments
from ._spectra import LayerSpectra, Spectra
from ._tap import Moments
from ._task import Calibration, Task
from ._training import ADAM, Trainer, Training
from .adapters import adapter_for
from .model import Adapter, Skipped, Slot, as_patterns, below, named, pick


@dataclasses.dataclass(frozen=True)
class Job:
    """What is compressed, on which data, and how it is trained."""

    adapter: Adapter
    model: Any
    chosen: Sequence[Slot]
    skipped: tuple[Skipped, ...]
    task: Task | None
    training: Training
    calibration: Calibration | None
    on_step: Callable[[GrowStep], Any] | None

    @classmethod
    def of(
        cls,
        model: Any,
        layers: str | Iterable[str],
        task: Task | None = None,
        training: Training | None = None,
        calibration: Calibration | None = None,
        on_step: Callable[[GrowStep], Any] | None = None,
    ) -> "Job":
        """The layers that are named, all of finite numbers.

        Raises:
            ValueError: if a pattern names no layer that can be compressed, or a weight is not
                finite.
        """
        adapter = adapter_for(model)
        patterns, refused = as_patterns(layers), adapter.refused(model)
        chosen = pick(adapter.slots(model), patterns, refused)
        skipped = tuple(Skipped(*found) for found in refused.items() if named(found[0], patterns))
        check_weights(chosen)
        training = training or Training()
        # A bias that must not change cannot make up for what a weight loses.
        chosen = [
            dataclasses.replace(slot, bias=None)
            if named(below(slot.name, "bias"), training.frozen)
            else slot
            for slot in chosen
        ]
        return cls(adapter, model, chosen, skipped, task, training, calibration, on_step)

    @property
    def dense_params(self) -> int:
        """Entries of all weights."""
        return sum(slot.size for slot in self.chosen)

    def judge(self) -> Judge | None:
        """What tells approximations apart; None without data."""
        if self.task is None and self.calibration is None:
            return None
        return Judge(self.adapter, self.model, self.chosen, self.task, self.calibration)

    def trainer(self, task: Task, replaced: Any) -> Trainer:
        """Of models with the arrays of `replaced`."""
        arrays, _ = self.adapter.arrays(replaced)
        names = self.training.names([slot.name for slot in self.chosen], arrays)
        return Trainer(task, self.adapter, names, self.training.transformation or ADAM)

    def told(self, step: GrowStep) -> GrowStep:
        """The step, after whoever listens has heard of it."""
        if self.on_step is not None:
            self.on_step(step)
        return step


def check_weights(chosen: Sequence[Slot]) -> None:
    for slot in chosen:
        if not np.isfinite(np.asarray(slot.matrix, np.float64)).all():
            raise ValueError(
                f"compress: layer {slot.name!r} has weights that are NaN or infinite. Look at the "
                "model, or leave the layer out of `layers`."
            )


def limit_of(budget: float, dense: int) -> int:
    limit = budget_of(budget, dense)
    if limit > dense:
        warnings.warn(
            f"compress: the budget of {limit} parameters is more than the {dense} of the dense "
            "weights; the networks may be larger than the layers that they replace.",
            UserWarning,
            stacklevel=4,
        )
    return limit


def measured(job: Job, method: Any, key: PRNGKeyArray) -> dict[str, Moments]:
    """Moments of the layers' inputs: by the calibration, else by the task; none without data, or
    for blocks, which cannot be whitened."""
    tapped = [slot for slot in job.chosen if slot.kind != "embedding"]
    blocks = isinstance(method, Spectra) and isinstance(method.family, Blocks)
    if not tapped or (blocks and job.calibration is None):
        return {}
    if job.calibration is not None:
        return moments(job.adapter, job.model, tapped, job.calibration, key=key)
    if job.task is not None:
        return task_moments(job.adapter, job.model, tapped, job.task)
    return {}


def chosen_ranks(
    spectra: LayerSpectra, limit: int, method: Spectra, judge: Judge | None
) -> dict[str, int]:
    """Ranks by the allocation that is asked for; "auto" takes the one that the data favor."""
    allocation = method.allocation
    whole = all(slot.name in spectra.moments for slot in spectra.slots)
    if allocation != "auto" or judge is None or not whole:
        return spectra.ranks(limit, allocation, method.spare)
    ways = [spectra.ranks(limit, way, method.spare) for way in ("output", "uniform")]
    if ways[0] == ways[1]:
        return ways[0]
    return min(ways, key=lambda ranks: judge.loss(*spectra.networks(ranks)))
