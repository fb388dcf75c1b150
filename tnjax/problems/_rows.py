"""Rows of discrete variables, as a density learns from them."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import numpy as np
from jaxtyping import Array, Float, Int

from .._tracing import traced
from .._tuned import tuned


@dataclasses.dataclass(frozen=True)
class Reading:
    """What is accepted as rows of categories.

    Attributes:
        categories: of one variable at the most: more are numbers that nobody has binned.
    """

    categories: int = 1024


READING = tuned("density_rows", Reading())


class Rows(eqx.Module):
    """Rows with weights. Equal rows are one, of the sum of their weights.

    Attributes:
        values: category of each variable, -1 where it is missing, shape [rows, variables]. Rows
            without missing values come first.
        weights: they sum to one, shape [rows].
        complete: rows without missing values.
        count: sum of the weights that were given; the number of rows where none were.

    Example:
        >>> import numpy as np
        >>> from tnjax import Density
        >>> rows = Density(np.asarray([[0, 1], [1, 0], [0, 1]])).rows
        >>> rows.values.shape, rows.complete, rows.count
        ((2, 2), 2, 3.0)
    """

    values: Int[Array | np.ndarray, "rows variables"]
    weights: Float[Array | np.ndarray, " rows"]
    complete: int = eqx.field(static=True)
    count: float = eqx.field(static=True)


def as_values(samples: Any, owner: str = "Density") -> np.ndarray:
    """Categories as integers [rows, variables], -1 where a value is missing.

    Raises:
        ValueError: for what is no table of categories, naming the column.
    """
    given = np.asarray(samples)
    if given.ndim != 2:
        raise ValueError(
            f"{owner}: samples must be a table [rows, variables], got shape {given.shape}."
        )
    if not given.size:
        raise ValueError(
            f"{owner}: the table is empty (shape {given.shape}); give one row and one column or "
            "more."
        )
    if given.dtype.kind not in "biuf":
        raise ValueError(
            f"{owner}: samples must be numbers of categories 0, 1, 2, ..., got {given.dtype}; "
            "number the categories first."
        )
    if given.dtype.kind != "f":
        low = given.min(0)
        if given.dtype.kind == "i" and (low < -1).any():
            _refuse(owner, int(np.argmax(low < -1)), f"the value {int(low.min())}")
        if given.max() >= 2**31:
            _refuse(owner, int(np.argmax(given.max(0))), f"the value {given.max()}")
        return given.astype(np.int32)
    filled = np.where(np.isnan(given), -1.0, given)
    bad = (filled != np.round(filled)) | (filled < -1) | (filled >= 2**31)
    if bad.any():
        row, column = map(int, np.argwhere(bad)[0])
        _refuse(owner, column, f"the value {given[row, column]:g}")
    return filled.astype(np.int32)


def _refuse(owner: str, column: int, what: str) -> None:
    raise ValueError(
        f"{owner}: column {column} has {what}; expected the numbers of categories 0, 1, 2, ..., "
        "and -1 or NaN where a value is missing."
    )


def checked_dims(values: np.ndarray, dims: Sequence[int] | None, owner: str) -> tuple[int, ...]:
    """The number of categories of each variable, by the data where they are not given.

    Raises:
        ValueError: naming the column and what to do.
    """
    missing = (values < 0).all(0)
    if missing.any():
        raise ValueError(
            f"{owner}: column {int(np.argmax(missing))} has no value in any row; leave it out."
        )
    top = values.max(0) + 1
    if dims is None:
        low = np.where(values < 0, np.iinfo(np.int32).max, values).min(0)
        constant = low + 1 == top
        if constant.any():
            column = int(np.argmax(constant))
            raise ValueError(
                f"{owner}: column {column} is constant, every value is {int(low[column])}; leave "
                "it out, or tell by `dims` how many categories it may have."
            )
        dims = [int(size) for size in top]
    if len(dims) != values.shape[1]:
        raise ValueError(
            f"{owner}: dims has {len(dims)} sizes, but the table has {values.shape[1]} columns."
        )
    for column, (size, seen) in enumerate(zip(dims, top, strict=True)):
        if size != int(size) or size < 1:
            raise ValueError(f"{owner}: dims must be positive integers, got {size!r}.")
        if seen > size:
            raise ValueError(
                f"{owner}: column {column} has the category {int(seen) - 1}, but dims allows "
                f"0 to {size - 1}."
            )
        if size > READING().categories:
            raise ValueError(
                f"{owner}: column {column} has {size} categories, more than "
                f"{READING().categories}; put a number into bins, or rare categories together."
            )
    return tuple(int(size) for size in dims)


def checked_weights(weights: Any, count: int, owner: str) -> np.ndarray:
    """Weights of the rows in double precision, ones by default.

    Raises:
        ValueError: for another number of them, a negative one, or none that is positive.
    """
    if weights is None:
        return np.ones(count)
    given = np.asarray(weights, np.float64)
    if given.shape != (count,):
        raise ValueError(
            f"{owner}: weights must be one for each of {count} rows, got shape {given.shape}."
        )
    if not np.isfinite(given).all() or (given < 0).any() or not given.sum() > 0:
        raise ValueError(
            f"{owner}: weights must be finite, 0 or more, and not all 0, got "
            f"{given.min():g} to {given.max():g}."
        )
    return given


def as_rows(values: np.ndarray, weights: np.ndarray, dtype: Any) -> Rows:
    """Rows of which equal ones are put together; those of no weight are left out."""
    kept = weights > 0
    unique, where = np.unique(values[kept], axis=0, return_inverse=True)
    summed = np.bincount(where.reshape(-1), weights[kept], minlength=len(unique))
    order = np.argsort((unique < 0).any(1), kind="stable")
    unique, summed = unique[order], summed[order]
    complete = int((unique >= 0).all(1).sum())
    count = float(summed.sum())
    return Rows(unique, np.asarray(summed / count, dtype), complete, count)


def traced_rows(values: Array, weights: Array | None, dtype: Any) -> Rows:
    """Rows inside of a trace, taken as complete, none of them looked at."""
    import jax.numpy as jnp

    count = values.shape[0]
    weights = jnp.ones(count, dtype) if weights is None else jnp.asarray(weights, dtype)
    return Rows(jnp.asarray(values, jnp.int32), weights / weights.sum(), count, float(count))


def split_rows(
    values: np.ndarray, weights: np.ndarray, share: float, seed: Sequence[int], owner: str
) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Rows to learn from, and a share of them held out at random.

    Raises:
        ValueError: if one of the two would have no rows.
    """
    count = len(values)
    held = round(share * count)
    if not 0 < held < count:
        raise ValueError(
            f"{owner}: validation={share:g} of {count} rows leaves {count - held} to learn from "
            f"and {held} to validate on; both need one row or more."
        )
    order = np.random.default_rng(list(seed)).permutation(count)
    test, train = np.sort(order[:held]), np.sort(order[held:])
    if not weights[train].sum() > 0 or not weights[test].sum() > 0:
        raise ValueError(f"{owner}: the rows that were drawn all have weight 0; use another key.")
    return (values[train], weights[train]), (values[test], weights[test])


def is_traced(*arrays: Any) -> bool:
    """Whether one of them is known inside of a trace only."""
    return traced(*arrays)
