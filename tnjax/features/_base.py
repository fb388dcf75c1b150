"""What every map from a column to features offers."""

import abc
import dataclasses
from typing import Any, Literal, TypeVar

import numpy as np

Missing = Literal["refuse", "allow"]
Floats = tuple[float, ...]


class Fitted(abc.ABC):
    """A map that knows its column: the same values always give the same features. A frozen
    dataclass of numbers and words, which `to_json` saves.

    Example:
        >>> import numpy as np
        >>> from tnjax.features import Polynomial
        >>> fitted = Polynomial(2).fit(np.arange(5.0))
        >>> fitted(np.array([0.0, 4.0])).shape, fitted.size
        ((2, 3), 3)
    """

    @property
    @abc.abstractmethod
    def names(self) -> tuple[str, ...]:
        """What each feature is, in a word, for instance "x^2"."""

    @property
    def size(self) -> int:
        """The number of features."""
        return len(self.names)

    @abc.abstractmethod
    def __call__(self, column: Any) -> np.ndarray:
        """The features of values.

        Args:
            column: values [samples].

        Returns:
            floats [samples, size].

        Raises:
            ValueError: for values that the map was not made for.
        """

    def transform(self, column: Any) -> np.ndarray:
        """The same as calling it.

        Args:
            column: values [samples].

        Returns:
            floats [samples, size].
        """
        return self(column)


class FeatureMap(abc.ABC):
    """The choice of a map, before it has seen a column; a frozen dataclass of options.

    Example:
        >>> import numpy as np
        >>> from tnjax.features import Categorical, FeatureMap
        >>> isinstance(Categorical(), FeatureMap)
        True
        >>> Categorical().fit(["b", "a", "b"]).names
        ('a', 'b')
    """

    @abc.abstractmethod
    def fit(self, column: Any, name: str = "the column") -> Fitted:
        """The map for a column of training data.

        Args:
            column: values [samples].
            name: of the column, for messages.

        Raises:
            ValueError: for a column that tells nothing, or has values that the map is not for.
        """


Kind = TypeVar("Kind", bound="Numeric")


@dataclasses.dataclass(frozen=True)
class Numeric(Fitted):
    """What maps of numbers have in common.

    Attributes:
        name: of the column.
        low, high: of the values seen. What lies beyond is taken for the nearer of them.
        mean: the average of each feature, which stands for a missing value where none was seen.
        missing: "refuse" or "allow".
        own: whether missing values have a feature of their own, the last one.
    """

    name: str
    low: float
    high: float
    mean: Floats
    missing: Missing
    own: bool

    @abc.abstractmethod
    def _basis(self, x: np.ndarray) -> np.ndarray:
        """The features of finite values within the range, without the one for missing values."""

    @property
    @abc.abstractmethod
    def _words(self) -> tuple[str, ...]:
        """Names of the features, without the one for missing values."""

    @property
    def _clipped(self) -> bool:
        """Whether the range seen is all that the map is for."""
        return True

    @property
    def names(self) -> tuple[str, ...]:
        return (*self._words, "missing") if self.own else self._words

    def __call__(self, column: Any) -> np.ndarray:
        x = numbers(column, self.name)
        gone = np.isnan(x)
        if gone.any() and self.missing == "refuse":
            raise ValueError(missing_values(self.name, int(gone.sum()), len(x)))
        out = np.zeros((len(x), len(self.mean)))
        there = ~gone
        inside = np.clip(x[there], self.low, self.high) if self._clipped else x[there]
        basis = self._basis(inside)
        out[np.ix_(there, np.arange(basis.shape[1]))] = basis
        if self.own:
            out[gone, -1] = 1
        else:
            out[gone] = np.asarray(self.mean)
        return out

    def _settled(self: Kind, seen: np.ndarray) -> Kind:
        """The map with the averages of its features."""
        mean = self._basis(seen).mean(0)
        mean = (*mean.tolist(), 0.0) if self.own else tuple(mean.tolist())
        return dataclasses.replace(self, mean=mean)


def seen_numbers(column: Any, name: str, missing: Missing) -> tuple[np.ndarray, dict[str, Any]]:
    """The values of a column of training data that are there, and what `Numeric` keeps of it.

    Raises:
        ValueError: for words among numbers, missing values that are refused, an empty column, or
            one whose values are all equal.
    """
    if missing not in ("refuse", "allow"):
        raise ValueError(f'{name}: missing={missing!r}; expected "refuse" or "allow".')
    x = numbers(column, name)
    gone = np.isnan(x)
    if gone.any() and missing == "refuse":
        raise ValueError(missing_values(name, int(gone.sum()), len(x)))
    seen = x[~gone]
    if not len(seen):
        raise ValueError(f"{name}: there is no value to learn from; leave the column out.")
    low, high = float(seen.min()), float(seen.max())
    if low == high and not gone.any():
        raise ValueError(
            f"{name}: all {len(seen)} values are {low:g}; a constant column tells nothing. Leave "
            "it out."
        )
    kept = {"name": name, "low": low, "high": high, "mean": (), "missing": missing}
    return seen, {**kept, "own": bool(gone.any())}


def numbers(column: Any, name: str) -> np.ndarray:
    """A column as floats [samples]; NaN where a value is missing.

    Raises:
        ValueError: for anything that is no number, infinite values, or another shape.
    """
    array = np.asarray(column)
    if array.dtype.kind in "US" and not isinstance(column, np.ndarray):
        array = np.asarray(column, object)  # NumPy makes words of all numbers beside one
    if array.ndim != 1:
        raise ValueError(f"{name}: expected one column [samples], got shape {list(array.shape)}.")
    if array.dtype.kind in "OUS":
        array = _parsed(array, name)
    if array.dtype.kind not in "biuf":
        raise ValueError(f"{name}: expected numbers, got {array.dtype}.")
    array = array.astype(np.float64)
    if np.isinf(array).any():
        raise ValueError(f"{name}: {int(np.isinf(array).sum())} values are infinite.")
    return array


def _parsed(array: np.ndarray, name: str) -> np.ndarray:
    """Numbers among Python objects; no word is taken for one."""
    out = np.empty(len(array))
    for row, value in enumerate(array.tolist()):
        if is_missing(value):
            out[row] = np.nan
        elif isinstance(value, (int, float, np.number)) and not isinstance(value, complex):
            out[row] = float(value)
        else:
            raise ValueError(
                f"{name}: {value!r} in row {row} is no number. Take it out, or use Categorical() "
                "for a column of words."
            )
    return out


def is_missing(value: Any) -> bool:
    """None, NaN, and what pandas means by a missing value, all of which differ from themselves."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, (float, np.floating)) and bool(np.isnan(value))


def missing_values(name: str, count: int, of: int) -> str:
    """The sentence that refuses them."""
    return (
        f'{name}: {count} of {of} values are missing. Fill them in, or pass missing="allow" to '
        "the map."
    )


def tuples(array: Any) -> Any:
    """An array as nested tuples of plain numbers."""
    nested = lambda x: tuple(map(nested, x)) if isinstance(x, list) else x
    return nested(np.asarray(array).tolist())
