"""Some of many samples, enough to tell candidates apart."""

import dataclasses
from typing import Any

import jax.numpy as jnp
import numpy as np

from .._tuned import tuned
from .samples import Blocks, HostSamples, Samples


@dataclasses.dataclass(frozen=True)
class Sketch:
    """Entries of training that candidates are screened on.

    Attributes:
        entries: at least so many ...
        per_param: ... and so many a parameter.
    """

    entries: int = 2**14
    per_param: int = 25


SKETCH = tuned("sketch", Sketch())


def sketched(
    training: Samples, held_out: Samples | None, shape: tuple[int, ...], num_params: int
) -> tuple[Samples, Samples | None, tuple[Blocks, ...]] | None:
    """A part of the samples, the same one every time, and its blocks; None where that would not
    be less than half of them. Its size is a power of two, so that programs are shared."""
    wanted = SKETCH().entries
    while wanted < SKETCH().per_param * num_params:
        wanted *= 2
    if 2 * wanted > training.count:
        return None
    mesh = training.mesh
    if held_out is not None:
        share = wanted / training.count
        held_out = Samples.of(_thinned(held_out, max(1, int(share * held_out.count))), mesh)
    part = _thinned(training, wanted)
    return Samples.of(part, mesh), held_out, part.blocks(shape, mesh)


def is_none(leaf: Any) -> bool:
    return leaf is None


def _thinned(samples: Samples, count: int) -> HostSamples:
    rng = np.random.default_rng([samples.count, count])
    part = samples.picked(np.sort(rng.choice(samples.count, count, replace=False)))
    weights = jnp.asarray(part.weights)
    total = weights.sum()
    weights = jnp.where(total > 0, weights / total, 1 / count)
    return part._replace(weights=np.asarray(weights))
