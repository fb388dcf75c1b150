"""One feature for each category."""

import dataclasses
from typing import Any, Literal

import numpy as np

from ._base import FeatureMap, Fitted, Floats, Missing, is_missing, missing_values

Unseen = Literal["refuse", "mean"]


@dataclasses.dataclass(frozen=True)
class FittedCategorical(Fitted):
    """One-hot features of the categories that were seen.

    Attributes:
        name: of the column.
        categories: what was seen, sorted: words, numbers or booleans; None for missing values.
        mean: the share of each, which stands for a category that was not seen.
        unseen, missing: as of `Categorical`.

    Example:
        >>> from tnjax.features import Categorical
        >>> Categorical().fit(["b", "a", "b"])(["a", "b"]).tolist()
        [[1.0, 0.0], [0.0, 1.0]]
    """

    name: str
    categories: tuple[str | int | float | bool | None, ...]
    mean: Floats
    unseen: Unseen
    missing: Missing

    @property
    def names(self) -> tuple[str, ...]:
        return tuple("missing" if label is None else str(label) for label in self.categories)

    def __call__(self, column: Any) -> np.ndarray:
        labels = _labels(column, self.name)
        place = {label: n for n, label in enumerate(self.categories)}
        out = np.zeros((len(labels), len(place)))
        for row, label in enumerate(labels):
            if label in place:
                out[row, place[label]] = 1
            elif label is None and self.missing == "refuse":
                count = sum(other is None for other in labels)
                raise ValueError(missing_values(self.name, count, len(labels)))
            elif label is not None and self.unseen == "refuse":
                some = ", ".join(map(repr, self.categories[:5]))
                more = ", ..." if len(self.categories) > 5 else ""
                raise ValueError(
                    f"{self.name}: the category {label!r} in row {row} was not seen in training "
                    f'(seen: {some}{more}). Take it out, or use Categorical(unseen="mean").'
                )
            else:
                out[row] = self.mean
        return out


@dataclasses.dataclass(frozen=True)
class Categorical(FeatureMap):
    """One-hot features: 1 for the category of the row, 0 for all others.

    Args:
        unseen: a category that was not seen in training is refused ("refuse"), or gets the
            average of the features over the training data ("mean").
        missing: missing values are refused ("refuse"), or are a category of their own where they
            were seen in training, and get the average otherwise ("allow").

    Example:
        >>> from tnjax.features import Categorical
        >>> fitted = Categorical(unseen="mean").fit(["b", "a", "b", "a"])
        >>> fitted(["c"]).tolist()
        [[0.5, 0.5]]
    """

    unseen: Unseen = "refuse"
    missing: Missing = "refuse"

    def fit(self, column: Any, name: str = "the column") -> FittedCategorical:
        if self.unseen not in ("refuse", "mean") or self.missing not in ("refuse", "allow"):
            raise ValueError(
                f'Categorical: expected unseen="refuse" or "mean" and missing="refuse" or "allow", '
                f"got {self.unseen!r} and {self.missing!r}."
            )
        labels = _labels(column, name)
        gone = sum(label is None for label in labels)
        if gone and self.missing == "refuse":
            raise ValueError(missing_values(name, gone, len(labels)))
        counts: dict[Any, int] = {}
        for label in labels:
            counts[label] = counts.get(label, 0) + 1
        if len(counts) < 2:
            what = "there is no value" if not counts else f"all values are {next(iter(counts))!r}"
            raise ValueError(f"{name}: {what}; a constant column tells nothing. Leave it out.")
        order = sorted(counts, key=_sort_key)
        mean = tuple(counts[label] / len(labels) for label in order)
        return FittedCategorical(name, tuple(order), mean, self.unseen, self.missing)


def _labels(column: Any, name: str) -> list[Any]:
    """Plain values, None where one is missing."""
    array = np.asarray(column)
    if array.ndim != 1:
        raise ValueError(f"{name}: expected one column [samples], got shape {list(array.shape)}.")
    labels = [None if is_missing(value) else value for value in array.tolist()]
    for label in labels:
        if not isinstance(label, (str, int, float, bool, type(None))):
            raise ValueError(
                f"{name}: a category is a word, a number or a boolean, got {label!r} of type "
                f"{type(label).__name__}."
            )
    return labels


def _sort_key(label: Any) -> tuple[int, Any]:
    if label is None:
        return (2, 0)
    return (1, label) if isinstance(label, str) else (0, label)
