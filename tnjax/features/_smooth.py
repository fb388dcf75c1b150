"""Polynomials and waves: functions of a number, ordered from the smoothest to the roughest."""

import dataclasses
import math
from typing import Any

import numpy as np

from ._base import FeatureMap, Floats, Missing, Numeric, seen_numbers

# Squared norm of a polynomial on the training data, relative to that of the variable times the one
# before, below which it is rounding: as many distinct values as that were not seen.
_RANK = 1e-12


def check_integer(map: Any, name: str, least: int) -> int:
    """An option of a map, if it is an integer of at least `least`."""
    value = getattr(map, name)
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ValueError(
            f"{type(map).__name__}: {name} must be an integer of {least} or more, got {value!r}."
        )
    return value


def check_smoothness(map: Any) -> float:
    """The smoothness of a map, if it is a number of 0 or more."""
    if not 0 <= map.smoothness < math.inf:
        raise ValueError(
            f"{type(map).__name__}: smoothness must be 0 or more, got {map.smoothness!r}."
        )
    return float(map.smoothness)


@dataclasses.dataclass(frozen=True)
class FittedPolynomial(Numeric):
    r"""Polynomials that are orthonormal over the values seen in training.

    Attributes:
        centers, norms: of the recurrence $n_{k+1} p_{k+1} = (t - c_k) p_k - n_k p_{k-1}$, with the
            range of the values taken to -1 .. 1.
        smoothness: as of `Polynomial`.

    Example:
        >>> import numpy as np
        >>> from tnjax.features import Polynomial
        >>> x = np.random.default_rng(0).exponential(size=50)
        >>> features = Polynomial(4, smoothness=0).fit(x)(x)
        >>> bool(np.allclose(features.T @ features / 50, np.eye(5)))
        True
    """

    centers: Floats
    norms: Floats
    smoothness: float

    @property
    def _words(self) -> tuple[str, ...]:
        return tuple("1" if k == 0 else f"x^{k}" for k in range(len(self.norms) + 1))

    def _basis(self, x: np.ndarray) -> np.ndarray:
        t = _unit(x, self.low, self.high)
        columns = [np.ones_like(t)]
        for k, (center, norm) in enumerate(zip(self.centers, self.norms, strict=True)):
            last = self.norms[k - 1] * columns[k - 1] if k else 0.0
            columns.append(((t - center) * columns[k] - last) / norm)
        return np.stack(columns, 1) * _decay(len(columns), self.smoothness)


@dataclasses.dataclass(frozen=True)
class Polynomial(FeatureMap):
    """Powers of a number, made orthonormal over the training data.

    Args:
        degree: of the highest power; lower where fewer distinct values are seen.
        smoothness: the k-th one is divided by (1 + k)^smoothness, so that a ridge on the cores
            prefers smooth functions.
        missing: missing values are refused ("refuse"), or have a feature of their own where they
            were seen in training, and the average of the features otherwise ("allow").

    Example:
        >>> import numpy as np
        >>> from tnjax.features import Polynomial
        >>> Polynomial(3).fit(np.arange(10.0)).names
        ('1', 'x^1', 'x^2', 'x^3')

    Reference:
        Gautschi, Orthogonal Polynomials: Computation and Approximation, section 2.2.
    """

    degree: int = 3
    smoothness: float = 1.0
    missing: Missing = "refuse"

    def fit(self, column: Any, name: str = "the column") -> FittedPolynomial:
        check_integer(self, "degree", 1)
        smoothness = check_smoothness(self)
        seen, kept = seen_numbers(column, name, self.missing)
        t = _unit(seen, kept["low"], kept["high"])
        last, now, norm = np.zeros_like(t), np.ones_like(t), 0.0
        centers, norms = [], []
        for _ in range(self.degree):
            center = float(np.mean(t * now * now))
            after = (t - center) * now - norm * last
            square = float(np.mean(after**2))
            if square <= _RANK * float(np.mean((t * now) ** 2)):
                break
            norm = math.sqrt(square)
            last, now = now, after / norm
            centers.append(center)
            norms.append(norm)
        fitted = FittedPolynomial(
            **kept, centers=tuple(centers), norms=tuple(norms), smoothness=smoothness
        )
        return fitted._settled(seen)


@dataclasses.dataclass(frozen=True)
class FittedFourier(Numeric):
    """Waves over the range of the values, or of a period.

    Attributes:
        count, period, smoothness: as of `Fourier`.

    Example:
        >>> import numpy as np
        >>> from tnjax.features import Fourier
        >>> hours = Fourier(5, period=24.0).fit(np.arange(24.0))
        >>> bool(np.allclose(hours([1.0]), hours([25.0])))
        True
    """

    count: int
    period: float | None
    smoothness: float

    @property
    def _words(self) -> tuple[str, ...]:
        if self.period is None:
            return tuple("1" if k == 0 else f"cos{k}" for k in range(self.count))
        waves = ((k + 1) // 2 for k in range(self.count))
        return tuple(
            "1" if k == 0 else f"{'sin' if k % 2 else 'cos'}{wave}" for k, wave in enumerate(waves)
        )

    @property
    def _clipped(self) -> bool:
        return self.period is None

    def _basis(self, x: np.ndarray) -> np.ndarray:
        k = np.arange(self.count)
        if self.period is None:
            waves = np.cos(np.pi * k * ((_unit(x, self.low, self.high) + 1) / 2)[:, None])
            order = k
        else:
            order = (k + 1) // 2
            phase = 2 * np.pi * order * (np.asarray(x) / self.period)[:, None]
            waves = np.where(k % 2 == 1, np.sin(phase), np.cos(phase))
        sizes = np.where(order > 0, math.sqrt(2), 1) / (1.0 + order) ** self.smoothness
        return waves * sizes


@dataclasses.dataclass(frozen=True)
class Fourier(FeatureMap):
    """Cosines over the range of the values, or with a period sines and cosines.

    Args:
        count: functions, the constant among them.
        period: in the units of the column, for what comes round again: 24 for an hour of the day.
        smoothness: the functions of k waves are divided by (1 + k)^smoothness, so that a ridge on
            the cores prefers smooth functions.
        missing: as of `Polynomial`.

    Example:
        >>> import numpy as np
        >>> from tnjax.features import Fourier
        >>> Fourier(3, period=7.0).fit(np.arange(14.0)).names
        ('1', 'sin1', 'cos1')
    """

    count: int = 8
    period: float | None = None
    smoothness: float = 1.0
    missing: Missing = "refuse"

    def fit(self, column: Any, name: str = "the column") -> FittedFourier:
        count = check_integer(self, "count", 2)
        smoothness = check_smoothness(self)
        if self.period is not None and not 0 < self.period < math.inf:
            raise ValueError(f"Fourier: period must be a positive number, got {self.period!r}.")
        seen, kept = seen_numbers(column, name, self.missing)
        period = None if self.period is None else float(self.period)
        fitted = FittedFourier(**kept, count=count, period=period, smoothness=smoothness)
        return fitted._settled(seen)


def _unit(x: np.ndarray, low: float, high: float) -> np.ndarray:
    """The range taken to -1 .. 1; a single value to 0."""
    if low == high:
        return np.zeros_like(np.asarray(x, np.float64))
    return (np.asarray(x) - low) / (high - low) * 2 - 1


def _decay(count: int, smoothness: float) -> np.ndarray:
    return (1.0 + np.arange(count)) ** -smoothness
