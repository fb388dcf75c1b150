"""Trees with internal nodes and merged modes, chosen from the spectra of the data."""

import dataclasses
import math
from typing import Any

from ..._structure import Structure
from ..._tuned import tuned
from ...problems import Problem
from ..spectra.ranks import ranks_for_budget, ranks_for_error
from ..spectra.trees import best_trees
from ..spectra.unfoldings import Unfoldings
from ..strategy import Budget
from .proposing import FITTING, Proposing


@dataclasses.dataclass(frozen=True)
class TreeLadder:
    """Trees that `TreeSearch` chooses by a parameter budget.

    Attributes:
        bisections: bisections of the error for a parameter budget.
    """

    bisections: int = 8


TREE_LADDER = tuned("tree_search", TreeLadder())


@dataclasses.dataclass(frozen=True)
class TreeSearch(Proposing):
    """The cheapest trees by the singular values of the unfoldings, no structure fitted to rank
    them.

    Which bonds a tree has, which modes share a node and which nodes have none follows from the
    spectra of all cuts: dynamic programming over sets of modes finds trees, an integer program
    their ranks. The best few are made by truncated SVDs, fitted, and trimmed; as a fit lowers the
    error, smaller ranks are tried as well. Needs the tensor, so decompositions only, and a target
    error or a parameter budget.

    Args:
        count: trees that are fitted at the most.
        trim: take single ranks away at the end while the target stays met.
        solver: for the cores, as in `fit`; ALS by default.

    Raises:
        ValueError: if `count` is not positive.

    Example:
        >>> from tnjax import TreeSearch
        >>> TreeSearch(count=1).trim
        True

    Reference:
        Guo et al., "Tensor Network Structure Search with Program Synthesis", arXiv 2502.02711.
        Trees come from dynamic programming here, not from enumeration.
    """

    count: int = 3
    trim: bool = True
    solver: Any = None

    def __post_init__(self) -> None:
        if self.count != int(self.count) or self.count < 1:
            raise ValueError(f"TreeSearch: count must be a positive integer, got {self.count!r}.")

    @property
    def cites(self) -> tuple[str, ...]:
        return ("guo2025",)

    @property
    def word(self) -> str:
        return "tree"

    def check(self, problem: Problem) -> None:
        super().check(problem)
        check_dense(problem, "TreeSearch")

    def groups(
        self, problem: Problem, budget: Budget, seed: tuple[int, ...]
    ) -> tuple[tuple[Structure, ...], ...]:
        check_limits(budget, "TreeSearch")
        dims = problem.counted_shape
        groups: list[tuple[Structure, ...]] = []
        target = budget.target_error
        if target is not None and target < 1:
            groups.extend(self._ladders(problem, target))
        limit = budget.max_params
        fits = lambda group: budget.forbids(problem, group[0]) is None
        if limit is not None and not any(map(fits, groups)):
            low, high = (1e-3 if target is None else target), 1.0
            unfoldings = Unfoldings(problem.dense_target, low)
            for _ in range(TREE_LADDER().bisections):
                error = math.sqrt(low * high)
                found = best_trees(unfoldings, error, count=1, dims=dims)[0]
                if found.num_params > limit:
                    low = error
                    continue
                high = error
                ranks = ranks_for_budget(found.tree, unfoldings, limit, dims=dims) or found.ranks
                groups.append((found.tree.structure(ranks),))
            groups = groups[::-1][: self.count]  # the lowest error last found first
        return tuple(groups)

    def ladder(self, problem: Problem, error: float) -> tuple[Structure, ...]:
        """The best tree by ranks that keep an error, and the same with ranks for larger ones, which
        a fit may bring back to it."""
        return self._ladders(problem, error)[0]

    def _ladders(self, problem: Problem, error: float) -> list[tuple[Structure, ...]]:
        """Such a ladder for each of the best trees, the smallest tree first."""
        dims, ladders = problem.counted_shape, []
        unfoldings = Unfoldings(problem.dense_target, error)
        for found in best_trees(unfoldings, error, count=self.count, dims=dims):
            ranks = [found.ranks]
            for factor in FITTING().bold[1:]:
                if factor * error < 1:
                    ranks.append(ranks_for_error(found.tree, unfoldings, factor * error, dims=dims))
            ladders.append(tuple(dict.fromkeys(map(found.tree.structure, ranks))))
        return ladders


def check_dense(problem: Problem, what: str) -> None:
    """Raise `ValueError` unless the problem has a dense tensor to take spectra of."""
    if not problem.is_dense:
        raise ValueError(
            f"{what} reads the singular values of a dense tensor and needs a Decomposition, got "
            f"{type(problem).__name__}. Use another strategy, such as Greedy()."
        )


def check_limits(budget: Budget, what: str) -> None:
    """Raise `ValueError` without a target error and a parameter budget."""
    if budget.target_error is None and budget.max_params is None:
        raise ValueError(f"{what}: give target_error or max_params; it chooses ranks by them.")
