"""The algorithm of the paper, unchanged, as a baseline."""

import dataclasses
from typing import Any

from ..._network import TensorNetwork
from ..._structure import Edge
from ...problems import Problem
from ..strategy import Budget, Info, Strategy
from .greedy import Greedy, GreedyState


@dataclasses.dataclass(frozen=True)
class GreedyTrial(Strategy):
    """Greedy-TN as published: train the new slices of every bond, old cores frozen, and grow the
    bond whose loss is the smallest, whatever it costs. Nothing is ever taken away.

    The same as `Greedy(screen="trial", power=0.0, burst=0.0, infer=False, prune=False)`.

    Args:
        increment: ranks added in one move.
        edges: bonds that may grow; all pairs of nodes by default.
        max_degree: largest number of bonds on a node.
        max_rank: largest rank of a bond.
        solver: for the cores, as in `fit`.

    Example:
        >>> from tnjax import GreedyTrial
        >>> GreedyTrial(max_rank=3).max_rank
        3

    Reference:
        arXiv 2008.05437, algorithm 1.
    """

    increment: int = 1
    edges: tuple[Edge, ...] | None = None
    max_degree: int | None = None
    max_rank: int | None = None
    solver: Any = None

    def __post_init__(self) -> None:
        _ = self.greedy  # checks the options

    @property
    def cites(self) -> tuple[str, ...]:
        return ("hashemizadeh2020",)

    @property
    def greedy(self) -> Greedy:
        """The general strategy that it is a setting of."""
        return Greedy(
            screen="trial",
            power=0.0,
            increment=self.increment,
            burst=0.0,
            edges=self.edges,
            max_degree=self.max_degree,
            max_rank=self.max_rank,
            infer=False,
            prune=False,
            solver=self.solver,
        )

    def check(self, problem: Problem) -> None:
        self.greedy.check(problem)

    def init(
        self, problem: Problem, start: TensorNetwork, budget: Budget, *, seed: tuple[int, ...]
    ) -> tuple[GreedyState, Info]:
        return self.greedy.init(problem, start, budget, seed=seed)

    def step(
        self, problem: Problem, state: GreedyState, budget: Budget
    ) -> tuple[GreedyState, Info]:
        return self.greedy.step(problem, state, budget)
