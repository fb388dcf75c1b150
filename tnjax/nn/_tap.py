"""Measuring what flows through a layer, by one backward pass of the whole model.

A tapped layer is a dense one with two more parameters, zero all the time, whose gradients are
statistics: the second moment of its inputs and the mean square of its outputs' gradients. So they
come out of any model in any framework, under `jit`, `vmap` and `scan`, however often the layer is
used, and JAX turns the sums over the batch into matrix products.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array

from .._structure import Structure
from ._layout import Layout


def dense_layout(rows: int, columns: int) -> Layout:
    """One node that is the whole matrix: the dense layer as a network.

    Args:
        rows, columns: sizes of the matrix.

    Returns:
        A layout whose one core is the matrix [rows, columns].

    Raises:
        ValueError: if a size is not positive.

    Example:
        >>> from tnjax.nn import dense_layout
        >>> dense_layout(3, 4).core_shapes
        ((3, 4),)
    """
    return Layout(Structure((rows, columns), ((0, 1),), {}), 1)


@dataclasses.dataclass(frozen=True, repr=False)
class TappedLayout(Layout):
    """A dense matrix with its two taps: cores are the matrix, the moment tap and the slope tap."""

    @property
    def core_shapes(self) -> tuple[tuple[int, ...], ...]:
        side = self.columns + 1
        return (self.rows, self.columns), (side, side), (self.rows,)

    def apply(self, cores: tuple[Array, ...], x: Array, *, precision: lax.PrecisionLike) -> Array:
        matrix, moment, slope = cores
        seen = jnp.asarray(x, moment.dtype)
        extended = jnp.concatenate([seen, jnp.ones((*x.shape[:-1], 1), seen.dtype)], axis=-1)
        tap = jnp.dot(jax.lax.stop_gradient(extended), moment, precision=precision)
        return _inject(tap, extended, slope, jnp.dot(x, matrix.T, precision=precision))


def tapped(matrix: np.ndarray) -> tuple[TappedLayout, tuple[np.ndarray, ...]]:
    """Layout and cores of a tapped dense layer."""
    *stack, rows, columns = matrix.shape
    layout = TappedLayout(Structure((rows, columns), ((0, 1),), {}), 1)
    # Sums over a batch lose too much in 16 bits.
    dtype = np.promote_types(matrix.dtype, np.float32)
    taps = [np.zeros((*stack, *shape), dtype) for shape in layout.core_shapes[1:]]
    return layout, (matrix, *taps)


@jax.custom_vjp
def _inject(tap: Array, extended: Array, slope: Array, out: Array) -> Array:
    """`out`; backwards, the tap receives the inputs and the slope tap the squared gradients."""
    return out


def _forward(tap, extended, slope, out):
    return out, extended


def _backward(extended, gradient):
    # Vectors without influence on the loss (padding, masked positions) are not counted.
    used = jnp.any(gradient != 0, axis=-1, keepdims=True)
    wide = jnp.asarray(gradient, extended.dtype)
    square = jnp.sum(wide**2, axis=tuple(range(gradient.ndim - 1)))
    return jnp.where(used, extended, 0), jnp.zeros_like(extended), square, gradient


_inject.defvjp(_forward, _backward)


@dataclasses.dataclass(frozen=True)
class Moments:
    """Statistics of a layer over calibration data, double precision.

    Attributes:
        mean: of the inputs, [columns].
        covariance: of the inputs, [columns, columns].
        slope: mean square of the gradient with respect to each output, [rows].
        count: vectors seen.

    All but the count have leading axes for stacked layers.
    """

    mean: np.ndarray
    covariance: np.ndarray
    slope: np.ndarray
    count: int

    @property
    def second(self) -> np.ndarray:
        """Second moment of the inputs, [columns, columns]."""
        return self.covariance + self.mean[..., :, None] * self.mean[..., None, :]

    @property
    def sensitivity(self) -> float:
        """What a unit of mean square error in each output, over all vectors, does to the model's
        outputs or its loss: the sum of squared gradients with respect to one output."""
        return max(float(self.slope.mean()) * self.count, 1e-300)

    def curvature(self, batches: int) -> float:
        """Mean square of an output's gradient of a vector's own loss, where the tapped loss was
        the mean over as many vectors as came in `batches` (the empirical Fisher matrix)."""
        return max(float(self.slope.mean()) * (self.count / batches) ** 2, 1e-300)

    @classmethod
    def of(cls, moment: np.ndarray, slope: np.ndarray) -> "Moments":
        """From the summed gradients of the two taps."""
        counts = np.maximum(np.asarray(moment[..., -1, -1], np.float64), 1.0)[..., None]
        mean = np.asarray(moment[..., -1, :-1], np.float64) / counts
        second = np.asarray(moment[..., :-1, :-1], np.float64) / counts[..., None]
        covariance = second - mean[..., :, None] * mean[..., None, :]
        slopes = np.asarray(slope, np.float64) / counts
        return cls(mean, covariance, slopes, int(counts.mean()))
