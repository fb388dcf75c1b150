"""The columns of a table as discrete variables: categories by label, numbers in bins."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from ._base import Floats, is_missing, numbers
from .kinds import Table, is_words, narrowed

Label = str | int | float | bool


@dataclasses.dataclass(frozen=True)
class Labels:
    """A column of categories.

    Attributes:
        name: of the column.
        labels: what was seen: words, numbers or booleans, sorted.
        count: rows (their weights) in which something was seen.

    Example:
        >>> import numpy as np
        >>> from tnjax.features import Codebook
        >>> color = Codebook.fit({"color": np.asarray(["red", "blue", "red"])}).columns[0]
        >>> color.labels, color.size
        (('blue', 'red'), 2)
    """

    name: str
    labels: tuple[Label, ...]
    count: float

    @property
    def size(self) -> int:
        """The number of categories."""
        return len(self.labels)

    def encode(self, column: Any) -> np.ndarray:
        """Numbers of the categories [rows]; -1 where a value is missing, -2 where it was not seen
        in training.

        Args:
            column: values [rows].
        """
        column = np.asarray(column)
        if column.dtype.kind in "biuf" and not isinstance(self.labels[0], str):
            known = np.asarray(self.labels, np.float64)
            given = column.astype(np.float64)
            place = np.minimum(np.searchsorted(known, given), len(known) - 1)
            codes = np.where(known[place] == given, place, -2)
            return np.where(np.isnan(given), -1, codes).astype(np.int32)
        place = {label: code for code, label in enumerate(self.labels)}
        codes = [-1 if is_missing(x) else place.get(x, -2) for x in column.tolist()]
        return np.asarray(codes, np.int32)

    def log_density(self, column: Any, codes: np.ndarray) -> np.ndarray:
        """Nothing to add to the logarithm of a probability [rows]; for a category that was not
        seen, that of what is met less often than once in all rows.

        Args:
            column: values [rows].
            codes: as `encode` gives them.
        """
        return np.where(codes == -2, -np.log(self.count + 1), 0.0)

    def decode(self, codes: np.ndarray, rng: np.random.Generator | None = None) -> np.ndarray:
        """The labels of categories [rows].

        Args:
            codes: numbers of categories [rows].
            rng: not looked at.
        """
        words = any(isinstance(label, str) for label in self.labels)
        return np.asarray(self.labels, object if words else None)[codes]


@dataclasses.dataclass(frozen=True)
class Bins:
    r"""A column of numbers in bins.

    Within a bin numbers are spread evenly; the density of the first and the last one falls off
    exponentially, $e^{-|x - e| / s} / s$ from their edge e, so that no number is impossible.

    Attributes:
        name: of the column.
        edges: between the bins, values of the training data; each belongs to the bin below it.
        tails: mean distance s of the values in the first bin from their edge, and in the last.

    Example:
        >>> import numpy as np
        >>> from tnjax.features import Codebook
        >>> age = Codebook.fit({"age": np.arange(100.0)}, bins=4).columns[0]
        >>> age.encode([3.0, 40.0, 1000.0, np.nan]).tolist()
        [0, 1, 3, -1]
    """

    name: str
    edges: Floats
    tails: tuple[float, float]

    @property
    def size(self) -> int:
        """The number of bins."""
        return len(self.edges) + 1

    def encode(self, column: Any) -> np.ndarray:
        """Numbers of the bins [rows]; -1 where a value is missing.

        Args:
            column: numbers [rows].

        Raises:
            ValueError: for words.
        """
        x = numbers(column, f"column {self.name}")
        codes = np.searchsorted(np.asarray(self.edges), x)
        return np.where(np.isnan(x), -1, codes).astype(np.int32)

    def log_density(self, column: Any, codes: np.ndarray) -> np.ndarray:
        """The logarithm of the density of numbers within their bins [rows].

        Args:
            column: numbers [rows].
            codes: as `encode` gives them.
        """
        x, edges = numbers(column, f"column {self.name}"), np.asarray(self.edges)
        out = np.zeros(len(x))
        last = codes == len(edges)
        for at, edge, scale in ((codes == 0, edges[0], 0), (last, edges[-1], 1)):
            size = self.tails[scale]
            out[at] = -np.abs(x[at] - edge) / size - np.log(size)
        inside = (codes > 0) & ~last
        out[inside] = -np.log(np.diff(edges)[codes[inside] - 1])
        return out

    def decode(self, codes: np.ndarray, rng: np.random.Generator | None = None) -> np.ndarray:
        """Numbers within bins [rows].

        Args:
            codes: numbers of bins [rows].
            rng: draws them; without it they are the means of the bins.
        """
        low = np.asarray([self.edges[0], *self.edges])[codes]
        width = np.asarray([0.0, *np.diff(self.edges), 0.0])[codes]
        slope = np.zeros(self.size)
        slope[0], slope[-1] = -self.tails[0], self.tails[1]
        share = np.full(len(codes), 0.5) if rng is None else 1 - rng.random(len(codes))
        far = np.ones(len(codes)) if rng is None else rng.exponential(size=len(codes))
        return low + width * share + slope[codes] * far


@dataclasses.dataclass(frozen=True)
class Codebook:
    """The columns of a table as discrete variables, and back.

    Columns of words and booleans are categories; so are numbers of which few are distinct. Other
    numbers are put into bins that hold equally many rows. Missing values stay missing.

    Attributes:
        columns: a `Labels` or `Bins` for each column, in their order.

    Example:
        >>> import numpy as np
        >>> from tnjax.features import Codebook
        >>> table = {"x": np.linspace(0, 1, 50), "kind": np.asarray(["a", "b"] * 25)}
        >>> codes = Codebook.fit(table, bins=5)
        >>> codes.dims, codes.encode(table)[-1].tolist()
        ((5, 2), [4, 1])
        >>> codes.decode(np.asarray([[0, 1]]))["kind"].tolist()
        ['b']
    """

    columns: tuple[Labels | Bins, ...]

    @classmethod
    def fit(cls, table: Mapping[str, Any], bins: int = 8, weights: Any = None) -> "Codebook":
        """The codes for a table of training data.

        Args:
            table: columns [rows] by name.
            bins: of a column of numbers; with at most as many distinct values it is categories.
            weights: of the rows, 0 or more; all alike by default.

        Raises:
            ValueError: for fewer than 2 bins, an empty table, a column without a value, infinite
                numbers, or words and numbers in one column.
        """
        if bins != int(bins) or bins < 2:
            raise ValueError(f"Codebook: bins must be an integer of 2 or more, got {bins!r}.")
        columns = {str(name): narrowed(np.asarray(table[name])) for name in table}
        rows = len(next(iter(columns.values()), ()))
        if not rows:
            raise ValueError("The table is empty: there is no row to learn from.")
        shares = np.ones(rows) if weights is None else np.asarray(weights, np.float64)
        return cls(tuple(_coded(name, c, int(bins), shares) for name, c in columns.items()))

    @property
    def names(self) -> tuple[str, ...]:
        """Of the columns."""
        return tuple(column.name for column in self.columns)

    @property
    def dims(self) -> tuple[int, ...]:
        """The number of categories of each column."""
        return tuple(column.size for column in self.columns)

    def encode(
        self, table: Mapping[str, Any], *, unseen: Literal["refuse", "missing"] = "refuse"
    ) -> np.ndarray:
        """Categories as integers [rows, columns], -1 where a value is missing.

        Args:
            table: columns by name; others are not looked at.
            unseen: whether a category that was not seen in training is refused, or missing.

        Raises:
            ValueError: for a column that is not there, and categories that are refused.
        """
        codes = [column.encode(_column(table, column.name)) for column in self.columns]
        for column, found in zip(self.columns, codes, strict=True):
            if unseen == "refuse" and (found == -2).any():
                row = int(np.argmax(found == -2))
                value = _column(table, column.name).tolist()[row]
                raise ValueError(_unseen(column, value, row))
        return np.maximum(np.stack(codes, 1), -1)

    def log_density(self, table: Mapping[str, Any]) -> np.ndarray:
        """What is added to the log-probability of the categories of rows, so that it is that of the
        rows [rows]: densities of numbers within their bins, and for a category that was not seen in
        n rows of training, a factor of 1 / (n + 1).

        Args:
            table: columns by name.
        """
        columns = [(column, _column(table, column.name)) for column in self.columns]
        parts = [column.log_density(values, column.encode(values)) for column, values in columns]
        return np.sum(parts, 0)

    def decode(self, codes: np.ndarray, rng: np.random.Generator | None = None) -> Table:
        """Columns by name.

        Args:
            codes: categories [rows, columns], none missing.
            rng: draws numbers within their bins; without it they are the means of the bins.
        """
        parts = zip(self.columns, np.asarray(codes).T, strict=True)
        return {column.name: column.decode(part, rng) for column, part in parts}

    def to_json(self) -> list[dict[str, Any]]:
        """Values of JSON, which `from_json` reads."""
        return [dataclasses.asdict(column) for column in self.columns]

    @classmethod
    def from_json(cls, data: Any) -> "Codebook":
        """From what `to_json` made.

        Args:
            data: values of JSON.

        Raises:
            ValueError: for anything else.
        """
        try:
            return cls(tuple(map(_from_json, data)))
        except (TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"Codebook: damaged codes of a table ({error}).") from error


def _from_json(data: Mapping[str, Any]) -> Labels | Bins:
    given: dict[str, Any] = {n: tuple(v) if isinstance(v, list) else v for n, v in data.items()}
    return Labels(**given) if "labels" in given else Bins(**given)


def _column(table: Mapping[str, Any], name: str) -> np.ndarray:
    try:
        return narrowed(np.asarray(table[name]))
    except (KeyError, IndexError) as error:
        raise ValueError(f"The table has no column {name}.") from error


def _coded(name: str, column: np.ndarray, bins: int, weights: np.ndarray) -> Labels | Bins:
    """The code of a column of training data."""
    if is_words(column):
        return _labels(name, column, weights)
    values = numbers(column, f"column {name}")
    there = ~np.isnan(values) & (weights > 0)
    x, w = values[there], weights[there]
    distinct = np.unique(x)
    if len(distinct) <= bins:
        return _labels(name, column, weights)
    levels = np.arange(1, bins) / bins
    quantiles = np.quantile(x, levels, weights=w, method="inverted_cdf")
    # Each of the outer bins needs values beyond its edge.
    edges = np.unique(np.clip(quantiles, distinct[1], distinct[-2]))
    below, above = x <= edges[0], x > edges[-1]
    low = np.average(edges[0] - x[below], weights=w[below])
    high = np.average(x[above] - edges[-1], weights=w[above])
    return Bins(name, tuple(edges.tolist()), (float(low), float(high)))


def _labels(name: str, column: np.ndarray, weights: np.ndarray) -> Labels:
    seen: set[Any] = set()
    count = 0.0
    for value, weight in zip(column.tolist(), weights.tolist(), strict=True):
        if weight > 0 and not is_missing(value):
            seen.add(value)
            count += weight
    if not seen:
        raise ValueError(f"Column {name} has no value to learn from; leave it out.")
    kinds = {isinstance(value, str) for value in seen}
    for value in seen:
        if not isinstance(value, (str, int, float, bool)):
            raise ValueError(
                f"Column {name}: a category is a word, a number or a boolean, got {value!r} of "
                f"type {type(value).__name__}."
            )
    if len(kinds) > 1:
        word = next(value for value in seen if isinstance(value, str))
        raise ValueError(
            f"Column {name} holds numbers and words, such as {word!r}; make all of them words, or "
            "mend it."
        )
    return Labels(name, tuple(sorted(seen)), count)


def _unseen(column: Labels | Bins, value: Any, row: int) -> str:
    known = column.labels if isinstance(column, Labels) else ()
    some = ", ".join(map(repr, known[:5])) + (", ..." if len(known) > 5 else "")
    return (
        f"Column {column.name}: the category {value!r} in row {row} was not seen in training "
        f"(seen: {some})."
    )
