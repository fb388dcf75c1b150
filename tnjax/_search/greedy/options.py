"""The options of `Greedy`, and what follows from them alone."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

from ..._status import Status
from ..._structure import Edge, Structure, all_edges, as_edge
from ...problems import Problem
from ...solve import Solver
from ...solve.limits import as_solver
from ..fitting.capacity import plan_capacity
from ..screening.screens import Screen, Spectral, Trial
from ..strategy import Budget
from .effort import EFFORTS

_SCREENS = {"spectral": Spectral, "trial": Trial}


def _most(structure: Structure, edge: Edge) -> int:
    """The rank of a bond of two nodes past which one of their cores, seen as a matrix of all else
    by this bond, has more columns than rows: more ranks represent nothing new."""
    sizes = (math.prod(structure.core_shape(node)) for node in edge)
    return min(sizes) // structure.rank(edge)


@dataclasses.dataclass(frozen=True)
class Options:
    """What phases read of `Greedy`, which explains each of them."""

    screen: str | Screen = "spectral"
    power: float = 0.5
    increment: int = 1
    burst: float = 0.1
    edges: tuple[Edge, ...] | None = None
    max_degree: int | None = None
    max_rank: int | None = None
    infer: bool = True
    prune: bool = True
    swap: bool = True
    rewire: bool = True
    internal: bool = True
    hyperedges: bool = True
    num_starts: int = 4
    effort: str = "normal"
    solver: Any = None

    def __post_init__(self) -> None:
        if not isinstance(self.screen, Screen) and self.screen not in _SCREENS:
            raise ValueError(
                f"Greedy: unknown screen {self.screen!r}; choose one of {', '.join(_SCREENS)}."
            )
        if self.effort not in EFFORTS:
            raise ValueError(
                f"Greedy: unknown effort {self.effort!r}; choose one of {', '.join(EFFORTS)}."
            )
        if not math.isfinite(self.power) or self.power < 0:
            raise ValueError(f"Greedy: power must be 0 or more, got {self.power!r}.")
        if not 0 <= self.burst < math.inf:
            raise ValueError(f"Greedy: burst must be 0 or more, got {self.burst!r}.")
        for name in ("increment", "max_degree", "max_rank", "num_starts"):
            value = getattr(self, name)
            if value is not None and (value != int(value) or value < 1):
                raise ValueError(f"Greedy: {name} must be an integer >= 1, got {value!r}.")
        if self.edges is not None:
            object.__setattr__(self, "edges", tuple(as_edge(edge) for edge in self.edges))

    def solver_for(self, problem: Problem) -> Solver:
        """The solver of the cores."""
        return as_solver(self.solver, problem)

    def the_screen(self) -> Screen:
        """The screen as a value, where it was named."""
        return self.screen if isinstance(self.screen, Screen) else _SCREENS[self.screen]()

    def capacity(
        self,
        problem: Problem,
        needed: Structure,
        current: Structure | None = None,
        ranked: Sequence[Edge] = (),
    ) -> Structure:
        """The ranks to compile for."""
        return plan_capacity(needed, current, ranked, self.max_rank, problem.sweep_flops)

    def candidates(self, structure: Structure) -> tuple[Edge, ...]:
        """Bonds that may grow: the same for a whole search, so that programs are shared."""
        if self.edges is not None:
            for edge in self.edges:
                structure.rank(edge)
            return self.edges
        return all_edges(structure)

    def may_grow(self, structure: Structure, edge: Edge) -> bool:
        """Whether an edge may grow, whatever that costs."""
        rank = structure.rank(edge)
        if self.max_rank is not None and rank + self.increment > self.max_rank:
            return False
        if len(edge) == 2 and rank >= _most(structure, edge):
            return False
        if self.max_degree is not None and edge not in structure.edges:
            return all(structure.degree(node) < self.max_degree for node in edge)
        return True

    def forbidden(
        self, problem: Problem, structure: Structure, edge: Edge, budget: Budget
    ) -> Status | None:
        """Why an edge must not grow, or None."""
        if not self.may_grow(structure, edge):
            return Status.NO_CANDIDATES
        return budget.forbids(problem, structure.grow(edge, self.increment))
