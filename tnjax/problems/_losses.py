r"""Losses of a prediction and an observed value, entry by entry.

Each tells, besides its value and slope, the curvature of a parabola that touches it at the
prediction: least squares with these weights then lowers the loss (iteratively reweighted least
squares), and every solver of least squares problems serves every loss. For Huber and Bernoulli
the parabola lies above the loss, so that a full step never raises it; for Poisson and a user's
own loss it is Newton's, and `ALS` shortens a step that goes too far.

Reference:
    Huber, Robust Statistics, section 7.8; Jaakkola and Jordan, Statistics and Computing 10
    (2000), for the logistic bound.
"""

import abc
import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

# Standard deviations of a normal distribution in its median distance from the median.
_NORMAL = 1.4826


@dataclasses.dataclass(frozen=True)
class Loss(abc.ABC):
    """A loss of one prediction and one value; all methods work elementwise.

    Example:
        >>> import jax.numpy as jnp
        >>> from tnjax.problems import Huber, Loss
        >>> isinstance(Huber(2.0), Loss)
        True
        >>> Huber(2.0).gradient(jnp.array([1.0, 9.0]), jnp.zeros(2)).tolist()
        [1.0, 2.0]
    """

    @abc.abstractmethod
    def value(self, prediction: Array, value: Array | np.ndarray) -> Array:
        """The loss."""

    @abc.abstractmethod
    def gradient(self, prediction: Array, value: Array | np.ndarray) -> Array:
        """Its derivative by the prediction."""

    @abc.abstractmethod
    def weight(self, prediction: Array, value: Array | np.ndarray) -> Array:
        """Curvature, positive, of the parabola that stands for the loss at the prediction."""

    def mean(self, prediction: Array) -> Array:
        """The expected value that a prediction means: the inverse link."""
        return prediction

    def check(self, values: np.ndarray) -> None:
        """Raise `ValueError` for values that the loss cannot have."""
        self.check_dtype(values)

    def check_dtype(self, values: Array | np.ndarray) -> None:
        """Raise `ValueError` for complex values (traced ones too) unless the loss is quadratic."""
        if np.iscomplexobj(values) and not self.quadratic:
            raise ValueError(f"loss {type(self).__name__}: expected real values, got complex ones.")

    def for_values(self, values: np.ndarray) -> "Loss":
        """The loss in the units of the values that it is for."""
        return self

    @property
    def quadratic(self) -> bool:
        """Whether the parabola is the loss itself."""
        return False


@dataclasses.dataclass(frozen=True)
class Squared(Loss):
    """(prediction - value)²: noise of one variance.

    Example:
        >>> import jax.numpy as jnp
        >>> from tnjax import Squared
        >>> Squared().value(jnp.array([3.0]), jnp.array([1.0])).tolist()
        [4.0]
    """

    def value(self, prediction: Array, value: Array | np.ndarray) -> Array:
        return jnp.abs(prediction - value) ** 2

    def gradient(self, prediction: Array, value: Array | np.ndarray) -> Array:
        return 2 * (prediction - value)

    def weight(self, prediction: Array, value: Array | np.ndarray) -> Array:
        return jnp.full(prediction.shape, 2, jnp.finfo(prediction.dtype).dtype)

    @property
    def quadratic(self) -> bool:
        return True


@dataclasses.dataclass(frozen=True)
class Huber(Loss):
    """Half the square up to `delta`, linear beyond: values with outliers.

    Args:
        delta: where a residual begins to count as an outlier, in the units of the values.
        relative: delta counts in robust standard deviations of the values instead: 1.4826 times
            the median distance from their median (where that is zero, the mean distance). So is
            "huber" meant, with a delta of 0.5.

    Raises:
        ValueError: if delta is not a positive number.

    Example:
        >>> import jax.numpy as jnp
        >>> from tnjax import Huber
        >>> Huber(delta=1.0).value(jnp.array([0.5, 3.0]), jnp.zeros(2)).tolist()
        [0.125, 2.5]

    Reference:
        Huber, Annals of Mathematical Statistics 35 (1964).
    """

    delta: float = 1.0
    relative: bool = False

    def __post_init__(self) -> None:
        if not np.isfinite(self.delta) or self.delta <= 0:
            raise ValueError(f"Huber: delta must be a positive number, got {self.delta!r}.")

    def for_values(self, values: np.ndarray) -> "Huber":
        if not self.relative:
            return self
        distance = np.abs(values - np.median(values)).astype(np.float64)
        scale = _NORMAL * float(np.median(distance)) or float(distance.mean())
        return Huber(self.delta * scale if scale > 0 else self.delta)

    def value(self, prediction: Array, value: Array | np.ndarray) -> Array:
        size = jnp.abs(prediction - value)
        capped = jnp.minimum(size, self.delta)
        return capped * (size - capped / 2)

    def gradient(self, prediction: Array, value: Array | np.ndarray) -> Array:
        return jnp.clip(prediction - value, -self.delta, self.delta)

    def weight(self, prediction: Array, value: Array | np.ndarray) -> Array:
        return self.delta / jnp.maximum(jnp.abs(prediction - value), self.delta)


@dataclasses.dataclass(frozen=True)
class Poisson(Loss):
    """Counts whose rate is the exponential of the prediction: half the deviance.

    Example:
        >>> import jax.numpy as jnp
        >>> from tnjax import Poisson
        >>> Poisson().mean(jnp.log(jnp.array([2.0]))).round(6).tolist()
        [2.0]

    Reference:
        McCullagh and Nelder, Generalized Linear Models, chapter 6.
    """

    def value(self, prediction: Array, value: Array | np.ndarray) -> Array:
        positive = jnp.where(value > 0, value, 1)
        saturated = jnp.where(value > 0, value * jnp.log(positive) - value, 0)
        return jnp.exp(prediction) - value * prediction + saturated

    def gradient(self, prediction: Array, value: Array | np.ndarray) -> Array:
        return jnp.exp(prediction) - value

    def weight(self, prediction: Array, value: Array | np.ndarray) -> Array:
        return jnp.exp(jnp.clip(prediction, -15, 30))

    def mean(self, prediction: Array | np.ndarray) -> Array:
        return jnp.exp(prediction)

    def check(self, values: np.ndarray) -> None:
        super().check(values)
        if (values < 0).any():
            raise ValueError(
                f"loss Poisson: counts cannot be negative, got {values.min()}. Use another loss, "
                "or shift the values."
            )


@dataclasses.dataclass(frozen=True)
class Bernoulli(Loss):
    """True or false, the prediction being the log odds: the cross-entropy.

    Example:
        >>> import jax.numpy as jnp
        >>> from tnjax import Bernoulli
        >>> Bernoulli().mean(jnp.array([0.0])).tolist()
        [0.5]

    Reference:
        McCullagh and Nelder, Generalized Linear Models, chapter 4.
    """

    def value(self, prediction: Array, value: Array | np.ndarray) -> Array:
        return jax.nn.softplus(prediction) - value * prediction

    def gradient(self, prediction: Array, value: Array | np.ndarray) -> Array:
        return jax.nn.sigmoid(prediction) - value

    def weight(self, prediction: Array, value: Array | np.ndarray) -> Array:
        size = jnp.abs(prediction)
        safe = jnp.where(size > 1e-3, size, 1)
        return jnp.where(size > 1e-3, jnp.tanh(safe / 2) / (2 * safe), 0.25)

    def mean(self, prediction: Array | np.ndarray) -> Array:
        return jax.nn.sigmoid(prediction)

    def check(self, values: np.ndarray) -> None:
        super().check(values)
        if (values < 0).any() or (values > 1).any():
            raise ValueError(
                "loss Bernoulli: values must lie between 0 (false) and 1 (true), got "
                f"{values.min()} to {values.max()}."
            )


@dataclasses.dataclass(frozen=True)
class Softmax(Loss):
    """One of several classes, the predictions being their log odds: the cross-entropy.

    It sees all outputs of a sample at once, in the last axis, and so is for `Supervised` only; the
    values are the probabilities of the classes.

    Example:
        >>> import jax.numpy as jnp
        >>> from tnjax.problems import Softmax
        >>> Softmax().mean(jnp.zeros((1, 4))).tolist()
        [[0.25, 0.25, 0.25, 0.25]]

    Reference:
        Boehning, Annals of the Institute of Statistical Mathematics 44 (1992), for the bound.
    """

    def value(self, prediction: Array, value: Array | np.ndarray) -> Array:
        total = jax.nn.logsumexp(prediction, axis=-1)
        return total * jnp.sum(value, -1) - jnp.sum(value * prediction, -1)

    def gradient(self, prediction: Array, value: Array | np.ndarray) -> Array:
        total = jnp.sum(value, -1, keepdims=True)
        return jax.nn.softmax(prediction, axis=-1) * total - value

    def weight(self, prediction: Array, value: Array | np.ndarray) -> Array:
        return jnp.full(prediction.shape, 0.5, prediction.dtype)

    def mean(self, prediction: Array | np.ndarray) -> Array:
        return jax.nn.softmax(jnp.asarray(prediction), axis=-1)

    def root(self, prediction: Array, vector: Array) -> Array:
        r"""$R v$ for a matrix with $R^T R$ the Hessian of each sample at the prediction."""
        p = jax.nn.softmax(prediction, axis=-1)
        return jnp.sqrt(p) * (vector - jnp.sum(p * vector, -1, keepdims=True))

    def check(self, values: np.ndarray) -> None:
        super().check(values)
        if (values < 0).any() or np.abs(values.sum(-1) - 1).max(initial=0) > 1e-5:
            raise ValueError(
                "loss Softmax: the values of a sample are probabilities of its classes: 0 or more, "
                "and 1 in all."
            )


@dataclasses.dataclass(frozen=True)
class Custom(Loss):
    """A user's differentiable function of (prediction, value), derived by autodiff.

    Args:
        function: real scalars to a real scalar, in JAX.
    """

    function: Callable[[Array, Array], Array]

    def value(self, prediction: Array, value: Array | np.ndarray) -> Array:
        return jnp.vectorize(self.function)(prediction, value)

    def gradient(self, prediction: Array, value: Array | np.ndarray) -> Array:
        return jnp.vectorize(jax.grad(self.function))(prediction, value)

    def weight(self, prediction: Array, value: Array | np.ndarray) -> Array:
        second = jnp.vectorize(jax.grad(jax.grad(self.function)))(prediction, value)
        return jnp.maximum(second, 1e-6)


def on_host(
    function: Callable[[Any, Any], Any], prediction: np.ndarray, values: np.ndarray
) -> np.ndarray:
    """The value, gradient or weight of a loss at samples on the host, in arrays of few sizes, since
    operations are compiled for each of them."""
    count = len(prediction)
    size = 1 << max(count - 1, 0).bit_length()
    wide = lambda x: jnp.asarray(np.concatenate([x, np.repeat(x[:1], size - count, 0)]))
    return np.asarray(function(wide(prediction), wide(values)))[:count]


_NAMED = {
    "squared": Squared(),
    "huber": Huber(0.5, relative=True),
    "poisson": Poisson(),
    "bernoulli": Bernoulli(),
}


def as_loss(loss: str | Loss | Callable[[Array, Array], Array]) -> Loss:
    """The loss meant by a name, a `Loss` or a function of (prediction, value).

    Raises:
        ValueError: if it is none of these.

    Example:
        >>> from tnjax.problems._losses import as_loss
        >>> as_loss("huber")
        Huber(delta=0.5, relative=True)
    """
    if isinstance(loss, Loss):
        return loss
    if isinstance(loss, str) and loss in _NAMED:
        return _NAMED[loss]
    if callable(loss):
        return Custom(loss)
    raise ValueError(
        f"loss: expected one of {', '.join(_NAMED)}, Huber(delta), or a function of "
        f"(prediction, value), got {loss!r}."
    )


def loss_for(values: Any, loss: str | Loss | Callable[[Array, Array], Array], known: bool) -> Loss:
    """The loss of given values; what is in them is looked at only if they are known.

    Raises:
        ValueError: if it is no loss, or the values are not possible under it, or are not known and
            it needs their spread.
    """
    loss = as_loss(loss)
    if known:
        loss.check(values)
        return loss.for_values(values)
    loss.check_dtype(values)
    if isinstance(loss, Huber) and loss.relative:
        raise ValueError(
            'Completion: "huber" is relative to the spread of the values, which are traced; '
            "pass Huber(delta) with a delta in their units."
        )
    return loss
