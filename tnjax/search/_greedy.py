"""Greedy growth of bonds, one best increment at a time, then pruning."""

import dataclasses
import itertools
import math
from typing import Any

import numpy as np

from .._network import TensorNetwork
from .._status import Status
from .._structure import Edge, Structure, as_edge
from ..objectives import Problem
from ..solve import Solver
from ..solve._fit import as_solver, limits_of
from ._candidates import balanced_slices, slice_position
from ._capacity import plan_capacity
from ._evaluate import Evaluated, evaluate, fit_peak_bytes
from ._moves import Cores, grow, shrink
from ._result import Move
from ._screen import Screen, Screened, Spectral, Trial

PR = 1
_SCREENS = {"spectral": Spectral, "trial": Trial}


@dataclasses.dataclass(frozen=True)
class Budget:
    """Limits that a strategy must respect: stop at the error, stay within the parameters."""

    target_error: float | None = None
    max_params: int | None = None
    memory_limit: int | None = None


@dataclasses.dataclass(frozen=True)
class GreedyState:
    """All that the next step depends on.

    Attributes:
        structure, cores, error: the current network, in units of the problem (see its `scale`).
        capacity: the ranks that programs are compiled for.
        screened: gains and slices of all candidate edges, in the shapes of `capacity`.
        seed: of the run, with the number of evaluations so far.
        phase: "grow", "prune" or "done".
        status: why growth ended, once it has.
    """

    structure: Structure
    cores: Cores
    error: float
    capacity: Structure
    screened: Screened
    seed: tuple[int, ...]
    phase: str
    status: Status


@dataclasses.dataclass(frozen=True)
class Info:
    """What a step did; `move` is None if it only changed the phase."""

    move: Move | None
    programs: int = 0
    compile_seconds: float = 0.0
    fitted: int = 0


@dataclasses.dataclass(frozen=True)
class Greedy:
    r"""Greedy-TN: start at rank one, grow the bond that pays best, prune at the end.

    All candidate bonds are evaluated together (`screen`) with the old cores frozen, the one with
    the largest gain / cost^power is grown by its new slices, and all cores are fitted again.
    When the target error is met, ranks are taken away again as long as it stays met.

    Args:
        screen: "spectral" (top singular pair of each edge's environment), "trial" (the paper's:
            train the new slices), or a `Screen`.
        power: exponent of the cost, the parameters that a move adds; 0 scores the raw gain,
            as the paper does.
        increment: ranks added in one move.
        edges: bonds that may grow; all pairs of nodes and all hyperedges of the start by default.
        max_degree: largest number of bonds on a node.
        max_rank: largest rank of a bond.
        prune: take ranks away at the end, largest saving first.
        solver: for the cores, as in `fit`; ALS for least squares, L-BFGS for other losses.

    Raises:
        ValueError: for an option out of its range.

    Example:
        >>> Greedy(screen="trial", power=0.0).power
        0.0

    Reference:
        arXiv 2008.05437, algorithm 1.
    """

    screen: str | Screen = "spectral"
    power: float = 0.5
    increment: int = 1
    edges: tuple[Edge, ...] | None = None
    max_degree: int | None = None
    max_rank: int | None = None
    prune: bool = True
    solver: Any = None

    def __post_init__(self) -> None:
        if not isinstance(self.screen, Screen) and self.screen not in _SCREENS:
            raise ValueError(
                f"Greedy: unknown screen {self.screen!r}; choose one of {', '.join(_SCREENS)}."
            )
        if not math.isfinite(self.power) or self.power < 0:
            raise ValueError(f"Greedy: power must be 0 or more, got {self.power!r}.")
        for name, least in (("increment", 1), ("max_degree", 1), ("max_rank", 1)):
            value = getattr(self, name)
            if value is not None and (value != int(value) or value < least):
                raise ValueError(f"Greedy: {name} must be an integer >= {least}, got {value!r}.")
        if self.edges is not None:
            object.__setattr__(self, "edges", tuple(as_edge(edge) for edge in self.edges))

    # The pair of functions ------------------------------------------------------------

    def init(
        self, problem: Problem, start: TensorNetwork, budget: Budget, *, seed: tuple[int, ...]
    ) -> tuple[GreedyState, Info]:
        """Fit the start and screen its candidates."""
        structure = start.structure
        edges = self._edges(structure)
        if not edges:
            raise ValueError(
                f"Greedy: there is no bond to grow in {structure}. A tensor of one mode is "
                "already one core; use `fit`, or give another start."
            )
        cores = tuple(np.asarray(core) for core in start.cores)
        roomy = structure
        for edge in edges:
            roomy = roomy.with_rank(edge, max(2, roomy.rank(edge)))
        if self.max_rank != 1 and plan_capacity(structure, None, edges, self.max_rank) == roomy:
            capacity = roomy
        else:
            capacity = structure
        return self._advance(
            problem, budget, structure, cores, capacity, seed=(*seed, 0), move=Move("start")
        )

    def step(
        self, problem: Problem, state: GreedyState, budget: Budget
    ) -> tuple[GreedyState, Info]:
        """One move: the best growth, or one rank less, or the end."""
        if state.phase == "grow":
            return self._grow(problem, state, budget)
        return self._prune(problem, state, budget)

    # Growth ---------------------------------------------------------------------------

    def _grow(self, problem, state, budget):
        edges = self._edges(state.structure)
        order = self.ranking(state, edges)
        allowed = [e for e in order if not self._forbidden(state.structure, e, budget)]
        gains = dict(zip(edges, state.screened.gain, strict=True))
        if not allowed or gains[allowed[0]] <= 0:
            reasons = {self._forbidden(state.structure, edge, budget) for edge in order}
            status = Status.STAGNATED if allowed else Status.NO_CANDIDATES
            for budgeted in (Status.MAX_PARAMS, Status.MEMORY_LIMIT):
                if not allowed and budgeted in reasons:
                    status = budgeted
            return dataclasses.replace(state, phase="done", status=status), Info(None)
        edge = allowed[0]
        position = edges.index(edge)
        terms = []
        for slices in state.screened.slices:
            where = [slice_position(state.structure, state.capacity, k, edge) for k in edge]
            term = [slices[k][position][w] for k, w in zip(edge, where, strict=True)]
            terms.append(balanced_slices(term))
        structure, cores = grow(state.structure, state.cores, edge, terms)
        ranked = [e for e in order if self._may_grow(structure, e)]
        capacity = plan_capacity(structure, state.capacity, ranked, self.max_rank)
        return self._advance(
            problem,
            budget,
            structure,
            cores,
            capacity,
            seed=state.seed,
            move=Move("grow", edge, self.increment),
        )

    def ranking(self, state: GreedyState, edges: tuple[Edge, ...]) -> list[Edge]:
        """Edges by descending gain / cost^power; ties go to the first."""
        gain = np.asarray(state.screened.gain, np.float64)
        cost = np.asarray([self._added(state.structure, edge) for edge in edges], np.float64)
        score = gain / cost**self.power
        return [edges[i] for i in np.argsort(-score, kind="stable")]

    def _advance(self, problem, budget, structure, cores, capacity, *, seed, move):
        out = self._evaluate(problem, budget, structure, cores, capacity, seed=seed, do_screen=True)
        phase, status = "grow", Status.RUNNING
        if not math.isfinite(out.error):
            phase, status = "done", Status.NON_FINITE
        elif budget.target_error is not None and out.error <= budget.target_error:
            phase, status = ("prune" if self.prune else "done"), Status.TARGET_REACHED
        state = GreedyState(
            structure,
            out.cores,
            out.error,
            capacity,
            out.screened,
            (*seed[:-1], seed[-1] + 1),
            phase,
            status,
        )
        return state, Info(move, out.programs, out.compile_seconds, 1)

    # Pruning --------------------------------------------------------------------------

    def _prune(self, problem, state, budget):
        """Take one rank away, the largest saving first, if the target stays met."""
        edges = sorted(
            state.structure.edges,
            key=lambda edge: self._added(state.structure, edge, -1),
            reverse=True,
        )
        programs, seconds = 0, 0.0
        for tries, edge in enumerate(edges, start=1):
            structure, cores = shrink(state.structure, state.cores, edge)
            out = self._evaluate(
                problem, budget, structure, cores, state.capacity, seed=state.seed, do_screen=False
            )
            programs, seconds = programs + out.programs, seconds + out.compile_seconds
            if out.error <= budget.target_error:
                new = dataclasses.replace(
                    state, structure=structure, cores=out.cores, error=out.error
                )
                return new, Info(Move("prune", edge, 1), programs, seconds, tries)
        done = dataclasses.replace(state, phase="done")
        return done, Info(None, programs, seconds, len(edges))

    # Helpers --------------------------------------------------------------------------

    def _evaluate(
        self, problem, budget, structure, cores, capacity, *, seed, do_screen: bool
    ) -> Evaluated:
        solver: Solver = as_solver(self.solver, problem)
        limits = limits_of(
            solver,
            problem,
            target_error=budget.target_error,
            max_steps=solver.max_steps if do_screen else 3 * solver.max_steps,
            rtol=None if do_screen else PR * solver.rtol,
        )
        screen = self.screen if isinstance(self.screen, Screen) else _SCREENS[self.screen]()
        return evaluate(
            problem,
            solver,
            screen,
            structure,
            cores,
            capacity,
            self._edges(structure),
            limits=limits,
            seed=seed,
            do_screen=do_screen,
            increment=self.increment,
        )

    def _edges(self, structure: Structure) -> tuple[Edge, ...]:
        """Candidates: the same for a whole search, so that programs are shared."""
        if self.edges is not None:
            for edge in self.edges:
                structure.rank(edge)
            return self.edges
        pairs = itertools.combinations(range(structure.num_nodes), 2)
        return (*pairs, *(edge for edge in structure.edges if len(edge) > 2))

    def _added(self, structure: Structure, edge: Edge, sign: int = 1) -> int:
        """Parameters that growing (or shrinking) an edge adds (or saves)."""
        changed = structure.with_rank(
            edge, structure.rank(edge) + sign * (self.increment if sign > 0 else 1)
        )
        return sign * (changed.num_params - structure.num_params)

    def _may_grow(self, structure: Structure, edge: Edge) -> bool:
        rank = structure.rank(edge)
        if self.max_rank is not None and rank + self.increment > self.max_rank:
            return False
        if self.max_degree is not None and edge not in structure.edges:
            return all(structure.degree(node) < self.max_degree for node in edge)
        return True

    def _forbidden(self, structure: Structure, edge: Edge, budget: Budget) -> Status | None:
        """Why an edge must not grow, or None."""
        if not self._may_grow(structure, edge):
            return Status.NO_CANDIDATES
        grown = structure.grow(edge, self.increment)
        if budget.max_params is not None and grown.num_params > budget.max_params:
            return Status.MAX_PARAMS
        limit = budget.memory_limit
        if limit is not None and fit_peak_bytes(grown, np.float64) > limit:
            return Status.MEMORY_LIMIT
        return None
