"""Splines and bumps: functions of a number that know where the data lie."""

import dataclasses
import math
from typing import Any

import numpy as np

from ._base import FeatureMap, Floats, Missing, Numeric, seen_numbers, tuples
from ._smooth import check_integer, check_smoothness

# Share of a Gram matrix that is added to its diagonal: directions that the data do not show.
_JITTER = 1e-9


@dataclasses.dataclass(frozen=True)
class FittedSpline(Numeric):
    """Cubic splines that are orthonormal over the values seen in training, from the smoothest to
    the roughest.

    Attributes:
        knots: with those beyond the range.
        mixture: of the B-splines, [splines, features].

    Example:
        >>> import numpy as np
        >>> from tnjax.features import Spline
        >>> x = np.linspace(0, 1, 60) ** 2
        >>> features = Spline(6, smoothness=0).fit(x)(x)
        >>> bool(np.allclose(features.T @ features / 60, np.eye(6), atol=1e-6))
        True
    """

    knots: Floats
    mixture: tuple[Floats, ...]

    @property
    def _words(self) -> tuple[str, ...]:
        size = len(self.mixture[0])
        return tuple("1" if k == 0 else f"spline{k}" for k in range(size))

    def _basis(self, x: np.ndarray) -> np.ndarray:
        return _b_splines(np.asarray(x), np.asarray(self.knots)) @ np.asarray(self.mixture)


@dataclasses.dataclass(frozen=True)
class Spline(FeatureMap):
    """Cubic splines with knots at quantiles of the training data.

    The B-splines are turned into functions that are orthonormal over the data, ordered by how
    rough they are (the differences of their coefficients): first the constant, then nearly a line.

    Args:
        count: functions, 4 or more; fewer where fewer distinct values are seen.
        smoothness: a function of roughness r, that of the line being 1, is divided by
            r^(smoothness / 2), so that a ridge on the cores prefers smooth functions.
        missing: as of `Polynomial`.

    Example:
        >>> import numpy as np
        >>> from tnjax.features import Spline
        >>> Spline(5).fit(np.linspace(0, 1, 20)).size
        5

    Reference:
        Demmler, Reinsch, Numerische Mathematik 24 (1975); Eilers, Marx, Statistical Science 11
        (1996), for the differences.
    """

    count: int = 6
    smoothness: float = 1.0
    missing: Missing = "refuse"

    def fit(self, column: Any, name: str = "the column") -> FittedSpline:
        count = check_integer(self, "count", 4)
        smoothness = check_smoothness(self)
        seen, kept = seen_numbers(column, name, self.missing)
        inner = np.quantile(seen, np.linspace(0, 1, count - 2)[1:-1])
        low, high = kept["low"], kept["high"]
        if low == high:
            high = low + 1.0
        inner = np.unique(inner[(inner > low) & (inner < high)])
        knots = np.concatenate([[low] * 4, inner, [high] * 4])
        splines = _b_splines(seen, knots)
        gram = splines.T @ splines / len(seen)
        values, vectors = np.linalg.eigh(gram)
        kept_values = values > _JITTER * values.max()
        white = vectors[:, kept_values] / np.sqrt(values[kept_values])
        differences = np.diff(np.eye(splines.shape[1]), axis=0)
        rough, turned = np.linalg.eigh(white.T @ differences.T @ differences @ white)
        mixture = white @ turned
        if len(rough) > 1:
            sizes = np.maximum(rough / max(rough[1], _JITTER), 1.0) ** (-smoothness / 2)
            mixture = mixture * sizes
        if float((splines @ mixture[:, 0]).mean()) < 0:
            mixture[:, 0] *= -1
        fitted = FittedSpline(**kept, knots=tuples(knots), mixture=tuples(mixture))
        return fitted._settled(seen)


@dataclasses.dataclass(frozen=True)
class FittedRadial(Numeric):
    """Gaussian bumps, mixed so that their inner products are those of a Gaussian kernel.

    Attributes:
        centers: of the bumps.
        width: their standard deviation.
        mixture: [bumps, bumps], the inverse root of their kernel matrix.

    Example:
        >>> import numpy as np
        >>> from tnjax.features import Radial
        >>> x = np.linspace(0, 1, 30)
        >>> features = Radial(8).fit(x)(x)[:, 1:]
        >>> bool(np.allclose((features**2).sum(1), 1, atol=0.02))  # the kernel of x with itself
        True
    """

    centers: Floats
    width: float
    mixture: tuple[Floats, ...]

    @property
    def _words(self) -> tuple[str, ...]:
        return ("1", *(f"bump{k}" for k in range(1, len(self.mixture[0]) + 1)))

    def _basis(self, x: np.ndarray) -> np.ndarray:
        bumps = _bumps(np.asarray(x), np.asarray(self.centers), self.width)
        return np.concatenate([np.ones((len(bumps), 1)), bumps @ np.asarray(self.mixture)], 1)


@dataclasses.dataclass(frozen=True)
class Radial(FeatureMap):
    """Gaussian bumps at quantiles of the training data, and the constant.

    They are mixed so that a ridge on their weights is that of a Gaussian kernel machine (Nystroem's
    method).

    Args:
        count: bumps.
        width: the standard deviation of a bump, in mean distances of two centers.
        missing: as of `Polynomial`.

    Example:
        >>> import numpy as np
        >>> from tnjax.features import Radial
        >>> Radial(4).fit(np.linspace(0, 1, 20)).size
        5

    Reference:
        Williams, Seeger, NIPS 2000.
    """

    count: int = 8
    width: float = 1.5
    missing: Missing = "refuse"

    def fit(self, column: Any, name: str = "the column") -> FittedRadial:
        count = check_integer(self, "count", 2)
        if not 0 < self.width < math.inf:
            raise ValueError(f"Radial: width must be a positive number, got {self.width!r}.")
        seen, kept = seen_numbers(column, name, self.missing)
        centers = np.unique(np.quantile(seen, np.linspace(0, 1, count)))
        span = kept["high"] - kept["low"] or 1.0
        width = float(self.width) * span / max(len(centers) - 1, 1)
        values, vectors = np.linalg.eigh(_bumps(centers, centers, width))
        kept_values = values > _JITTER * values.max()
        mixture = vectors[:, kept_values] / np.sqrt(values[kept_values])
        fitted = FittedRadial(
            **kept, centers=tuples(centers), width=width, mixture=tuples(mixture[:, ::-1])
        )
        return fitted._settled(seen)


def _bumps(x: np.ndarray, centers: np.ndarray, width: float) -> np.ndarray:
    return np.exp(-((x[:, None] - centers) ** 2) / (2 * width**2))


def _b_splines(x: np.ndarray, knots: np.ndarray) -> np.ndarray:
    """Cubic B-splines by de Boor's recurrence, [samples, splines]."""
    last = np.flatnonzero(np.diff(knots) > 0)[-1]
    span = np.clip(np.searchsorted(knots, x, side="right") - 1, 3, last)
    out = (np.arange(len(knots) - 1) == span[:, None]).astype(np.float64)
    for degree in range(1, 4):
        left, right = knots[:-degree], knots[degree:]
        width = right - left
        safe = np.where(width > 0, width, 1)
        rising = np.where(width > 0, (x[:, None] - left) / safe, 0)
        falling = np.where(width > 0, (right - x[:, None]) / safe, 0)
        out = rising[:, :-1] * out[:, :-1] + falling[:, 1:] * out[:, 1:]
    return out
