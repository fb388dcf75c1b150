"""Checked features, targets and weights of a table."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from .._tracing import traced
from ._losses import Bernoulli, Loss, Softmax, as_loss

_NAMES = {"logistic": Bernoulli(), "softmax": Softmax()}


class Table(NamedTuple):
    """Rows on the host: features of each block [samples, *dims], values [samples] or [samples,
    outputs], weights [samples]."""

    features: tuple[np.ndarray, ...]
    values: np.ndarray
    weights: np.ndarray

    def take(self, rows: np.ndarray) -> "Table":
        return Table(tuple(x[rows] for x in self.features), self.values[rows], self.weights[rows])


def checked_features(features: Any) -> tuple[np.ndarray, ...]:
    """Arrays of one floating dtype and one number of samples.

    Raises:
        ValueError: for anything else, no sample, or a feature that is not finite.
    """
    if traced(features):
        raise ValueError("Supervised: features cannot be traced; make the problem outside.")
    if isinstance(features, np.ndarray) or not isinstance(features, Sequence) or not features:
        raise ValueError(
            "Supervised: expected a list of arrays [samples, d_k], one for each feature column, "
            f"got {type(features).__name__}. Make one from a table by tnjax.features.Columns."
        )
    arrays = [np.asarray(part) for part in features]
    for k, array in enumerate(arrays):
        if array.dtype.kind not in "biuf":
            raise ValueError(
                f"Supervised: features[{k}] has dtype {array.dtype}, expected numbers; a map of "
                "tnjax.features turns other columns into some."
            )
        if array.ndim < 2 or not array.size:
            raise ValueError(
                f"Supervised: features[{k}] has shape {list(array.shape)}, expected [samples, d_k] "
                "with at least one sample and one feature."
            )
        if len(array) != len(arrays[0]):
            raise ValueError(
                f"Supervised: features[{k}] has {len(array)} samples, features[0] has "
                f"{len(arrays[0])}."
            )
        if not np.isfinite(array).all():
            wrong = array.size - int(np.isfinite(array).sum())
            raise ValueError(
                f"Supervised: {wrong} of {array.size} numbers of features[{k}] are NaN or infinite."
            )
    floating = [array.dtype for array in arrays if array.dtype.kind == "f"]
    given = np.result_type(*floating) if floating else np.float64
    dtype = jax.dtypes.canonicalize_dtype(np.promote_types(given, np.float32))
    return tuple(array.astype(dtype) for array in arrays)


def checked_targets(
    targets: Any, loss: Any, count: int, dtype: np.dtype
) -> tuple[np.ndarray, Loss]:
    """Targets as the loss wants them, and the loss.

    Raises:
        ValueError: for targets that do not fit the samples or the loss, or of one class only.
    """
    loss = _NAMES.get(loss, loss) if isinstance(loss, str) else loss
    loss = as_loss(loss)
    values = np.asarray(targets)
    if values.dtype.kind not in "biuf":
        raise ValueError(
            f"Supervised: expected targets that are numbers, got {values.dtype}. Number the "
            "classes from 0, or use tnjax.sklearn.TNClassifier."
        )
    if values.ndim not in (1, 2) or len(values) != count or not values.size:
        raise ValueError(
            f"Supervised: expected targets [samples] or [samples, outputs] for {count} samples, "
            f"got shape {list(values.shape)}."
        )
    wrong = values.size - int(np.isfinite(values).sum())
    if wrong:
        raise ValueError(
            f"Supervised: {wrong} of {values.size} targets are NaN or infinite. Leave out their "
            "samples."
        )
    if isinstance(loss, Softmax) and values.ndim == 1:
        values = _one_hot(values)
    values = values.astype(dtype)
    loss.check(values)
    if len(np.unique(values, axis=0)) == 1 and count > 1:
        only = "of one class only" if isinstance(loss, (Bernoulli, Softmax)) else "all equal"
        raise ValueError(f"Supervised: the targets are {only}; there is nothing to learn.")
    return values, loss.for_values(values)


def _one_hot(values: np.ndarray) -> np.ndarray:
    """Numbers of classes as one-hot rows."""
    numbers = values.astype(np.int64)
    if (numbers != values).any() or numbers.min() < 0:
        raise ValueError(
            "Supervised: softmax needs targets that are numbers of classes 0, 1, 2, ..., or rows "
            "of probabilities [samples, classes]."
        )
    size = int(numbers.max()) + 1
    if size > len(numbers):
        raise ValueError(
            f"Supervised: the largest class is {size - 1}, but there are {len(numbers)} samples; "
            "number the classes from 0 without gaps."
        )
    return np.eye(max(size, 2))[numbers]


def checked_weights(weights: Any, count: int, dtype: np.dtype) -> np.ndarray:
    """One for each sample.

    Raises:
        ValueError: for another number of them, or weights that are negative or all zero.
    """
    weights = np.ones(count) if weights is None else np.asarray(weights)
    if weights.shape != (count,) or weights.dtype.kind not in "biuf":
        raise ValueError(
            f"Supervised: expected one weight for each of {count} samples, got {weights.dtype} of "
            f"shape {list(weights.shape)}."
        )
    if not (np.isfinite(weights).all() and (weights >= 0).all() and weights.any()):
        raise ValueError("Supervised: weights must be finite, 0 or more, and not all zero.")
    return weights.astype(dtype)
