"""Programs that choose an option for every bond, and their solution by looking at all choices."""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

# Rounding of a sum over chosen options.
_ROUNDING = 1e-9


@dataclasses.dataclass(frozen=True)
class Program:
    """Choose one option for every bond.

    Attributes:
        nodes: for each core, the logarithm of the product of its mode sizes, and its bonds.
        logs: for each bond, the logarithm of the rank that each option counts with.
    """

    nodes: tuple[tuple[float, tuple[int, ...]], ...]
    logs: tuple[np.ndarray, ...]

    @property
    def choices(self) -> int:
        """In how many ways the options can be chosen."""
        return math.prod(len(logs) for logs in self.logs)

    def sizes(self, chosen: Sequence[int]) -> np.ndarray:
        """Core sizes, given the option of every bond."""
        ranks = [float(logs[c]) for logs, c in zip(self.logs, chosen, strict=True)]
        return np.exp([log + math.fsum(ranks[e] for e in bonds) for log, bonds in self.nodes])


@dataclasses.dataclass(frozen=True)
class Solution:
    """The options found (None if there are none that fit, or the nodes were used up before) and a
    lower bound of what was minimized."""

    chosen: tuple[int, ...] | None
    bound: float


def best_choice(
    program: Program,
    *,
    costs: Sequence[np.ndarray] | None = None,
    max_params: float | None = None,
    at_most: tuple[Sequence[np.ndarray], float] | None = None,
    at_least: Sequence[tuple[dict[int, np.ndarray], float]] = (),
) -> Solution:
    """The choice with the fewest parameters, or the smallest sum of costs, of all there are.

    Args:
        program: with so few choices that a number for each is no burden.
        costs: for each option of every bond; the parameters are minimized without.
        max_params: parameters at most.
        at_most: a number for each option of every bond, and what those chosen may sum up to.
        at_least: rows of the same kind, for some bonds, that must reach a value.
    """
    options = np.indices([len(logs) for logs in program.logs])
    options = options.reshape(len(program.logs), -1)
    total = lambda values: np.sum([v[options[bond]] for bond, v in values], axis=0)
    logs = [values[options[bond]] for bond, values in enumerate(program.logs)]
    sizes = [np.exp(log + sum(logs[e] for e in bonds)) for log, bonds in program.nodes]
    params = np.sum(sizes, axis=0)
    fits = np.ones(options.shape[1], bool)
    if max_params is not None:
        fits &= params <= max_params * (1 + _ROUNDING)
    if at_most is not None:
        values, most = at_most
        fits &= total(enumerate(values)) <= most * (1 + _ROUNDING)
    for row, least in at_least:
        fits &= total(row.items()) >= least - _ROUNDING
    if not fits.any():
        return Solution(None, 0.0)
    objective = params if costs is None else total(enumerate(costs))
    best = int(np.argmin(np.where(fits, objective, np.inf)))
    return Solution(tuple(int(n) for n in options[:, best]), float(objective[best]))
