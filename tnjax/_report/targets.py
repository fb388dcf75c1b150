"""What a model of a table says about a column of targets, in tables and as parts of a report."""

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from ..problems import SupervisedModel
from ..problems.ablation import host_link, probabilities
from .sections import Curves, Section, Table

Columns = Mapping[str, np.ndarray]

_CLASSES = 20  # of a confusion matrix
_BINS = 10  # of a calibration curve
_DOTS = 1000  # of residuals
_LEAST = 1e-12  # a probability, where a logarithm is taken


@dataclasses.dataclass(frozen=True)
class Target:
    """A column that is predicted.

    Attributes:
        name: of the column.
        classes: its labels; none of numbers.

    Example:
        >>> import numpy as np
        >>> from tnjax._report.targets import Target
        >>> kind = Target("kind", ("a", "b", "c"))
        >>> kind.loss, kind.values(np.asarray(["c", "a"])).tolist()
        ('softmax', [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]])
    """

    name: str
    classes: tuple[str | float, ...]

    @property
    def loss(self) -> str:
        """Of `Supervised`."""
        if not self.classes:
            return "squared"
        return "logistic" if len(self.classes) == 2 else "softmax"

    def numbers(self, column: np.ndarray) -> np.ndarray:
        """Of classes [rows]."""
        place = {label: number for number, label in enumerate(self.classes)}
        return np.asarray([place[label] for label in column.tolist()], np.int64)

    def values(self, column: np.ndarray) -> np.ndarray:
        """As `Supervised` takes them."""
        if not self.classes:
            return column
        if len(self.classes) == 2:
            return self.numbers(column).astype(np.float64)
        return np.eye(len(self.classes))[self.numbers(column)]

    def expected(self, model: SupervisedModel, columns: Columns) -> np.ndarray:
        """What a model expects: numbers [rows], or probabilities [rows, classes]."""
        link = host_link(model, columns)
        return probabilities(link) if self.classes else link

    def likeliest(self, expected: np.ndarray) -> np.ndarray:
        """Predictions as the column has them."""
        if not self.classes:
            return expected
        words = isinstance(self.classes[0], str)
        return np.asarray(self.classes, object if words else None)[expected.argmax(1)]

    def columns(self, expected: np.ndarray) -> dict[str, np.ndarray]:
        """Predictions, and probabilities of the classes, as columns of a table."""
        found = {f"predicted_{self.name}": self.likeliest(expected)}
        for label, shares in zip(self.classes, expected.T if self.classes else (), strict=True):
            found[f"probability_{_plain(label)}"] = shares
        return found


class Judged(NamedTuple):
    """Rows and what a model expects of them.

    Attributes:
        name: what they were for: training, say.
        truth: the column of targets [rows].
        expected: as `Target.expected` gives it.
        weights: [rows].
    """

    name: str
    truth: np.ndarray
    expected: np.ndarray
    weights: np.ndarray


def surprise(target: Target, judged: Judged) -> np.ndarray:
    """How little each target fits: of numbers the distance from the prediction, of classes the
    negative logarithm of its probability, in nats [rows]."""
    if not target.classes:
        return np.abs(judged.truth - judged.expected)
    own = judged.expected[np.arange(len(judged.truth)), target.numbers(judged.truth)]
    return -np.log(np.maximum(own, _LEAST))


def scores(target: Target, judged: Judged) -> dict[str, float]:
    """In a few numbers, by their names."""
    average = lambda values: float(np.average(values, weights=judged.weights))
    if target.classes:
        right = judged.expected.argmax(1) == target.numbers(judged.truth)
        return {"accuracy": average(right), "log_loss": average(surprise(target, judged))}
    square = average((judged.truth - judged.expected) ** 2)
    spread = average((judged.truth - average(judged.truth)) ** 2)
    unexplained = square / spread if spread > 0 else float("nan")
    return {"r2": 1 - unexplained, "rmse": square**0.5}


def score_words(found: Mapping[str, float]) -> str:
    """The first of the scores in words."""
    name, value = next(iter(found.items()))
    return f"{'R²' if name == 'r2' else name} {value:.4g}"


def judged_sections(target: Target, judged: Judged) -> list[Section]:
    """A confusion matrix and a calibration curve, or residuals."""
    if not target.classes:
        return [_residuals(target, judged)]
    found: list[Section] = [_calibration(target, judged)]
    if len(target.classes) <= _CLASSES:
        found.insert(0, _confusion(target, judged))
    return found


def _confusion(target: Target, judged: Judged) -> Table:
    size = len(target.classes)
    counts = np.zeros((size, size), np.int64)
    np.add.at(counts, (target.numbers(judged.truth), judged.expected.argmax(1)), 1)
    words = list(map(_plain, target.classes))
    rows = [(word, *map(int, row)) for word, row in zip(words, counts, strict=True)]
    note = f"Rows of the set {judged.name!r}: from left to right the class predicted."
    return Table("Confusion matrix", (target.name, *words), rows, note)


def _calibration(target: Target, judged: Judged) -> Curves:
    """Of two classes the probability of the second, of more that of the likeliest one."""
    if len(target.classes) == 2:
        claimed, right = judged.expected[:, 1], target.numbers(judged.truth) == 1
        what = f"rows of class {_plain(target.classes[1])}"
    else:
        claimed = judged.expected.max(1)
        right = judged.expected.argmax(1) == target.numbers(judged.truth)
        what = "rows of the likeliest class"
    order = np.argsort(claimed, kind="stable")
    parts = np.array_split(order, min(_BINS, len(order)))
    points = [
        (
            float(np.average(claimed[part], weights=judged.weights[part])),
            float(np.average(right[part], weights=judged.weights[part])),
        )
        for part in parts
        if judged.weights[part].any()
    ]
    ends = [(0.0, 0.0), (1.0, 1.0)]
    note = f"Rows of the set {judged.name!r} in {len(parts)} groups of equally many."
    lines = {"model": points, "as claimed": ends}
    return Curves("Calibration", "probability claimed", f"share of {what}", lines, note)


def _residuals(target: Target, judged: Judged) -> Curves:
    ids = np.arange(len(judged.truth))
    if len(ids) > _DOTS:
        ids = np.random.default_rng(0).choice(ids, _DOTS, replace=False)
    x, y = judged.expected[ids], (judged.truth - judged.expected)[ids]
    dots = [(float(a), float(b)) for a, b in zip(x, y, strict=True)]
    ends = [(float(x.min()), 0.0), (float(x.max()), 0.0)]
    lines = {f"rows of the set {judged.name!r}": dots, "as predicted": ends}
    note = "What is left over should be alike everywhere: a bow or a funnel is still to be learned."
    y_axis = f"{target.name} minus prediction"
    return Curves("Residuals", f"{target.name} predicted", y_axis, lines, note, tuple(lines)[:1])


def _plain(label: Any) -> str:
    """A label as a word; whole numbers without a decimal point."""
    return f"{label:g}" if isinstance(label, float) else str(label)
