"""Choices and scores by held-out entries."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import PRNGKeyArray

from .._network import TensorNetwork
from .._structure import Structure
from ..problems import Completion, Supervised
from ._fit import FitResult, fit
from .limits import SolverLike


@dataclasses.dataclass(frozen=True)
class CrossValidation:
    """Held-out errors of k fits, each without one fold.

    Attributes:
        errors: of each fold, on its own entries.
        mean, standard_error: of these errors (the standard deviation over sqrt(k); folds share
            training entries, so that it is somewhat too small).

    Example:
        >>> from tnjax import CrossValidation
        >>> score = CrossValidation((1.0, 2.0, 3.0))
        >>> score.mean, round(score.standard_error, 4)
        (2.0, 0.5774)
    """

    errors: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Of the errors of all folds."""
        return float(np.mean(self.errors))

    @property
    def standard_error(self) -> float:
        """The standard deviation of the errors over the root of their number."""
        return float(np.std(self.errors, ddof=1) / math.sqrt(len(self.errors)))


def cross_validate(
    folds: Sequence[Completion],
    structure: Structure,
    *,
    key: PRNGKeyArray,
    solver: SolverLike = None,
    **options: Any,
) -> CrossValidation:
    """Fit a structure once for each fold and score it on what was held out.

    A fit keeps its best network by the same entries, so that the score is a little too good; the
    comparison of structures and options is what it is for.

    Args:
        folds: from `Completion.folds`; they share one compiled program.
        structure, key, solver, options: as of `fit`.

    Returns:
        The error of each fold, their mean and its standard error.

    Raises:
        ValueError: for fewer than two folds, or one without held-out entries.

    Example:
        >>> import jax, numpy as np
        >>> from tnjax import Completion, Structure, TensorNetwork, cross_validate
        >>> rank_one = Structure.rank_one((5, 6))
        >>> truth = TensorNetwork.random(rank_one, key=jax.random.key(1))
        >>> indices = np.argwhere(np.ones((5, 6)))
        >>> folds = Completion.folds(
        ...     indices, truth.entries(indices), (5, 6), count=3, key=jax.random.key(0)
        ... )
        >>> score = cross_validate(folds, rank_one, key=jax.random.key(0))
        >>> len(score.errors), score.mean < 1e-3
        (3, True)
    """
    if len(folds) < 2 or any(fold.held_out is None for fold in folds):
        raise ValueError(
            f"cross_validate: expected two or more folds, each with held-out entries (see "
            f"Completion.folds), got {len(folds)}."
        )
    fits = [fit(fold, structure, key=key, solver=solver, **options) for fold in folds]
    return CrossValidation(tuple(result.error for result in fits))


@dataclasses.dataclass(frozen=True)
class RidgeChoice:
    """The ridge with the lowest held-out error.

    Attributes:
        ridge: that one.
        problem, result: the problem with it, and its fit.
        errors: held-out error of every ridge of the grid.

    Example:
        >>> import jax, numpy as np, tnjax
        >>> table = np.outer(np.arange(1.0, 9.0), np.arange(1.0, 10.0))
        >>> problem = tnjax.Completion.from_mask(table, validation=0.2, key=jax.random.key(0))
        >>> rank_one = tnjax.Structure.rank_one((8, 9))
        >>> choice = tnjax.choose_ridge(problem, rank_one, key=jax.random.key(0), grid=(0.0, 1.0))
        >>> choice.ridge, sorted(choice.errors)
        (0.0, [0.0, 1.0])
    """

    ridge: float
    problem: Completion | Supervised
    result: FitResult
    errors: dict[float, float]


def choose_ridge(
    problem: Completion | Supervised,
    structure: Structure | TensorNetwork,
    *,
    key: PRNGKeyArray | None = None,
    grid: Sequence[float] = (0.0, 1e-3, 1e-2, 1e-1, 1.0, 10.0),
    solver: SolverLike = None,
    **options: Any,
) -> RidgeChoice:
    """Fit a structure with every ridge of a grid, from one start and by one compiled program, and
    choose by the held-out entries; the first of equals.

    Args:
        problem: with held-out entries.
        structure: to start at random cores, or a network to improve.
        key, solver, options: as of `fit`.
        grid: the ridges to try, in units of one entry.

    Returns:
        The best ridge, the problem with it, its fit, and the errors of all.

    Raises:
        ValueError: if nothing is held out, or the grid is empty or has a negative ridge.

    Example:
        >>> import jax, numpy as np
        >>> from tnjax import Completion, Structure, choose_ridge
        >>> rng = np.random.default_rng(0)
        >>> table = np.outer(rng.random(8), rng.random(9)) + 0.1 * rng.standard_normal((8, 9))
        >>> problem = Completion.from_mask(table, validation=0.2, key=jax.random.key(0))
        >>> train = Structure.tensor_train((8, 9), 3)
        >>> choice = choose_ridge(problem, train, key=jax.random.key(0), grid=(0.0, 0.1, 1.0))
        >>> choice.ridge > 0
        True
    """
    if problem.held_out is None:
        raise ValueError("choose_ridge: the problem holds nothing out; give it `validation=0.1`.")
    if not grid:
        raise ValueError("choose_ridge: the grid is empty.")
    fits: dict[float, tuple[Completion | Supervised, FitResult]] = {}
    for ridge in map(float, grid):
        trial = problem.with_ridge(ridge)
        fits[ridge] = trial, fit(trial, structure, key=key, solver=solver, **options)
    errors = {ridge: result.error for ridge, (_, result) in fits.items()}
    best = min(errors, key=lambda ridge: errors[ridge])
    return RidgeChoice(best, *fits[best], errors)
