"""What `tnjax complete` may see: entries of a dense tensor, or of a list of entries."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ._arguments import share
from ._common import InputError, parse_dims
from ._words import in_labels, in_options

if TYPE_CHECKING:
    from .._report.run_complete import Observed
    from ..io import Mode, TensorData
    from ..problems.coordinates import Entries
    from ._complete_options import CompleteOptions


def read_observed(options: CompleteOptions) -> Observed:
    """Read the input of a completion, and the mask of a dense one."""
    from ..io import holds_coordinates

    if holds_coordinates(options.input):
        return _from_coordinates(options)
    return _from_dense(options)


def _from_coordinates(options: CompleteOptions) -> Observed:
    from .._report.run_complete import Observed
    from ..io import parse_labels, read_coordinates

    for name in ("observed", "reshape", "variable"):
        if getattr(options, name) is not None:
            raise InputError(f"--{name} is for dense input; {options.input} lists entries.")
    names = parse_names(options.modes)
    try:
        found = read_coordinates(
            options.input,
            value=options.value,
            modes=names,
            weights=options.weights,
            labels=parse_labels(options.labels),
        )
    except ValueError as error:
        raise InputError(in_options(str(error))) from error
    try:
        training, test = _prepared(
            options, found.indices, found.values, found.shape, weights=found.weights
        )
    except InputError as error:
        raise InputError(in_options(in_labels(str(error), found.modes))) from error
    about = "" if found.modes is None else f"{options.input.name}: {found.describe()}"
    return Observed(found.shape, training, test, found.modes, about=about)


def _from_dense(options: CompleteOptions) -> Observed:
    from .._report.run_complete import Observed, places, unraveled
    from ..io import plan_reshape

    for name in ("value", "modes", "weights", "labels"):
        if getattr(options, name) is not None:
            raise InputError(
                f"--{name} names columns of a table; {options.input} is a dense tensor."
            )
    data = read_named(options.input, options.variable)
    array = data.array
    known = ~np.isnan(array)
    infinite = int(np.isinf(array).sum())
    if infinite:
        raise InputError(
            f"{options.input}: {infinite} of {array.size} entries are infinite; mark what is "
            "missing as NaN."
        )
    plan = plan_reshape(
        array.shape,
        parse_dims(options.reshape, array.shape) or array.shape,
        digits=options.digits,
        fit=options.fit,
    )
    mask = known & _mask(options, array.shape)
    where = places(plan)
    seen, rest = plan.cut(mask), plan.cut(known & ~mask)
    training, test = _prepared(
        options,
        unraveled(where[seen], plan.dims),
        plan.cut(array)[seen],
        plan.dims,
        unseen=(unraveled(where[rest], plan.dims), plan.cut(array)[rest]),
    )
    about = about_tensor(options.input, data)
    return Observed(plan.dims, training, test, data.modes, data, mask, plan, about)


def read_named(path: Path, variable: str | None) -> TensorData:
    """Read a dense tensor; refusals spell options as the command line does."""
    from ..io import read_tensor

    try:
        return read_tensor(path, variable)
    except ValueError as error:
        raise InputError(in_options(str(error))) from error


def about_tensor(path: Path, data: TensorData) -> str:
    """One line on what the axes are and what was done to the numbers; "" if that is nothing."""
    words = list(data.notes)
    if data.modes is not None:
        words.insert(0, ", ".join(_axis(mode) for mode in data.modes))
    return f"{path.name}: {'; '.join(words)}" if words else ""


def _axis(mode: Mode) -> str:
    """Name and size of a mode, and its first and last label where they say more than numbers."""
    if mode.labels == tuple(map(str, range(mode.size))) or not mode.labels:
        return f"{mode.name} {mode.size}"
    return f"{mode.name} {mode.size} ({mode.labels[0]} to {mode.labels[-1]})"


def _mask(options: CompleteOptions, shape: tuple[int, ...]) -> np.ndarray:
    """What --observed lets be seen."""
    import jax

    from ..io import random_mask, read_mask

    if options.observed is None:
        return np.ones(shape, bool)
    try:
        part = share(options.observed)
    except ValueError:
        return read_mask(options.observed, shape)
    if not 0 < part <= 1:
        raise InputError(
            f"--observed {options.observed}: expected a file, or a share above 0 and at most 1."
        )
    return random_mask(shape, part, key=jax.random.key(abs(options.seed)))


def _prepared(
    options: CompleteOptions,
    indices: np.ndarray,
    values: np.ndarray,
    dims: tuple[int, ...],
    *,
    weights: np.ndarray | None = None,
    unseen: tuple[np.ndarray, np.ndarray] | None = None,
) -> tuple[Entries, Entries | None]:
    """Entries for training, and those for the test: the unseen ones and the share --test."""
    import jax

    from ..problems.coordinates import Entries, checked_entries, split_entries

    real = np.dtype(options.dtype)
    kind = np.result_type(real, np.complex64) if np.iscomplexobj(values) else real
    with np.errstate(over="ignore"):
        values = values.astype(kind)
    try:
        entries = checked_entries(indices, values, dims, weights, options.duplicates)
        test = None
        if options.test:
            key = jax.random.fold_in(jax.random.key(options.seed), 1)
            shares = (1 - options.test, options.test)
            keep, aside = split_entries(len(entries.values), shares, key=key)
            entries, test = entries.take(keep), entries.take(aside)
    except ValueError as error:
        raise InputError(f"{options.input}: {error}") from error
    if unseen is not None and len(unseen[1]):
        more = Entries(unseen[0], unseen[1].astype(kind), np.ones(len(unseen[1]), real))
        test = more if test is None else Entries(*map(np.concatenate, zip(test, more)))
    return entries, test


def parse_names(text: str | None) -> tuple[str, ...] | None:
    """The names of columns that --modes lists."""
    if text is None:
        return None
    names = tuple(text.split(","))
    if not all(names):
        raise InputError(f"--modes {text!r}: expected names of columns such as user,film.")
    return names
