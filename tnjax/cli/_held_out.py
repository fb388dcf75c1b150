"""What `tnjax complete` holds out, and what it says of that."""

from __future__ import annotations

import dataclasses
import math
import warnings
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ._common import InputError

if TYPE_CHECKING:
    from .._report.run_complete import Observed
    from ._complete_options import CompleteOptions


class Held(NamedTuple):
    """What `Completion` takes as `validation`, and the entries with what is held out in words."""

    validation: float | np.ndarray | None
    observed: Observed


def held_out(options: CompleteOptions, observed: Observed, asked: np.ndarray | None) -> Held:
    """What --validation asks for.

    Args:
        options: of the run.
        observed: the entries.
        asked: those of --predict, as the user counts them.
    """
    share = options.validation
    if not isinstance(share, str):
        words = f"single entries (a share of {share:g})" if share else ""
        return Held(share or None, dataclasses.replace(observed, held=words))
    import jax

    from ..problems import held_out_like

    names = None if observed.modes is None else [mode.name for mode in observed.modes]
    key = jax.random.key(options.seed)
    indices = _in_source(observed)
    try:
        found = held_out_like(indices, observed.source_shape, key=key, predict=asked)
    except ValueError as error:
        raise InputError(f"{options.input}: {error} (--validation 0)") from error
    warning = found.warning(names)
    if warning is not None:
        warnings.warn(warning, stacklevel=2)
    return Held(found.numbers, dataclasses.replace(observed, held=found.describe(names)))


def _in_source(observed: Observed) -> np.ndarray:
    """The training entries as the user counts them: a reshape hides the shape of gaps."""
    from .._report.run_complete import places, unraveled

    indices = observed.training.indices
    if observed.plan is None or observed.dims == observed.source_shape:
        return indices
    where = places(observed.plan)
    back = np.zeros(math.prod(observed.dims), np.int64)
    inside = tuple(slice(n) for n in where.shape)
    back[where.ravel()] = (
        np.arange(math.prod(observed.source_shape)).reshape(observed.source_shape)[inside].ravel()
    )
    flat = np.ravel_multi_index(tuple(indices.T), observed.dims)
    return unraveled(back[flat], observed.source_shape)
