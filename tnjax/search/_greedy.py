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
from ._evaluate import evaluate
from ._moves import Cores, grow, shrink
from ._screen import Screen, Screened, Spectral, Trial
from ._store import storable
from ._strategy import Budget, Fit, Info, Move, State, Strategy

# A swap looks at candidates after so much of a full fit of the shrunken network ...
_SWAP_EFFORT = 0.25
# ... and goes on if the best predicted gain, old cores frozen, times this would do.
_REFIT_FACTOR = 3.0

_SCREENS = {"spectral": Spectral, "trial": Trial}

storable(Screened)


@storable
@dataclasses.dataclass(frozen=True)
class GreedyState(State):
    """All that the next step depends on.

    Attributes:
        structure, cores, error: the current network, in units of the problem (see its `scale`).
        capacity: the ranks that programs are compiled for.
        screened: gains and slices of all candidate edges, in the shapes of `capacity`.
        seed: of the run, with the number of evaluations so far.
        phase: "grow", "prune", "swap" or "done".
        queue: bonds that the phase has not tried yet.
        status: why growth ended, once it has.
        lowest, fruitless: the lowest error of the growth, and the moves since then.
    """

    structure: Structure
    cores: Cores
    capacity: Structure
    seed: tuple[int, ...]
    error: float = math.inf
    screened: Any = None
    phase: str = "grow"
    queue: tuple[Edge, ...] = ()
    status: Status = Status.RUNNING
    lowest: float = math.inf
    fruitless: int = 0

    @property
    def done(self) -> bool:
        return self.phase == "done"

    @property
    def tidying(self) -> bool:
        return self.phase in ("prune", "swap")


@dataclasses.dataclass(frozen=True)
class Greedy(Strategy):
    r"""Greedy-TN: start at rank one, grow the bond that pays best, prune at the end.

    All candidate bonds are evaluated together (`screen`) with the old cores frozen, the one with
    the largest gain / cost^power is grown by its new slices, and all cores are fitted again.
    When the target error is met, ranks are taken away again as long as it stays met, and moved
    from one bond to another as long as that saves parameters.

    Args:
        screen: "spectral" (top singular pair of each edge's environment), "trial" (the paper's:
            train the new slices), or a `Screen`.
        power: exponent of the cost, the parameters that a move adds; 0 scores the raw gain,
            as the paper does.
        increment: ranks added in one move.
        edges: bonds that may grow; all pairs of nodes and all hyperedges of the start by default.
        max_degree: largest number of bonds on a node.
        max_rank: largest rank of a bond.
        prune: take ranks away at the end, largest saving first, while the target stays met.
        swap: then take a rank from one bond and grow others, if that meets the target with fewer
            parameters; with `prune` only.
        solver: for the cores, as in `fit`; ALS for least squares, L-BFGS for other losses.

    Raises:
        ValueError: for an option out of its range.

    Example:
        >>> from tnjax import Greedy
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
    swap: bool = True
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

    def check(self, problem: Problem) -> None:
        as_solver(self.solver, problem)

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
        if self.max_rank != 1 and self._capacity(problem, structure, None, edges) == roomy:
            capacity = roomy
        else:
            capacity = structure
        state = GreedyState(structure, cores, capacity, (*seed, 0))
        return self._advance(problem, budget, state, Move("start"))

    def step(
        self, problem: Problem, state: GreedyState, budget: Budget
    ) -> tuple[GreedyState, Info]:
        """One move, one failed try of a move, or a change of the phase."""
        if state.phase == "grow":
            return self._grow(problem, state, budget)
        if state.queue:
            edge, state = state.queue[0], dataclasses.replace(state, queue=state.queue[1:])
            attempt = self._prune if state.phase == "prune" else self._swap
            return attempt(problem, state, budget, edge)
        if state.phase == "prune" and self.swap:
            return self._enter(state, "swap"), Info()
        return dataclasses.replace(state, phase="done"), Info()

    # Growth ---------------------------------------------------------------------------

    def _grow(self, problem, state, budget):
        if state.fruitless > problem.patience > 0:  # held-out entries say that it is enough
            return dataclasses.replace(state, phase="done", status=Status.STAGNATED), Info()
        edges = self._edges(state.structure)
        order = self.ranking(problem, state, edges, budget)
        allowed = [e for e in order if not self._forbidden(problem, state.structure, e, budget)]
        if not allowed or state.screened.gain[edges.index(allowed[0])] <= 0:
            reasons = {self._forbidden(problem, state.structure, edge, budget) for edge in order}
            status = Status.STAGNATED if allowed else Status.NO_CANDIDATES
            for budgeted in (Status.MAX_PARAMS, Status.MAX_FLOPS, Status.MEMORY_LIMIT):
                if not allowed and budgeted in reasons:
                    status = budgeted
            return dataclasses.replace(state, phase="done", status=status), Info()
        edge = allowed[0]
        position = edges.index(edge)
        terms = []
        for slices in state.screened.slices:
            where = [slice_position(state.structure, state.capacity, k, edge) for k in edge]
            parts = zip(edge, where, strict=True)
            term = [np.asarray(slices[k][position][w]) for k, w in parts]
            terms.append(balanced_slices(term))
        structure, cores = grow(state.structure, state.cores, edge, terms)
        ranked = [e for e in order if self._may_grow(structure, e)]
        capacity = self._capacity(problem, structure, state.capacity, ranked)
        state = dataclasses.replace(state, structure=structure, cores=cores, capacity=capacity)
        return self._advance(problem, budget, state, Move("grow", edge, self.increment))

    def ranking(
        self, problem: Problem, state: GreedyState, edges: tuple[Edge, ...], budget: Budget
    ) -> list[Edge]:
        """Edges by descending gain / cost^power; ties go to the first.

        A gain past what the target still needs counts as no more than that, so that the last
        move is not dearer than it must be. (Raw gains, power 0, are compared as they are.)
        """
        gain = np.asarray(state.screened.gain, np.float64)
        if budget.target_error is not None and self.power > 0:
            loss, goal = map(problem.loss_of_error, (state.error, budget.target_error))
            gain = np.minimum(gain, max(loss - goal, 0.0))
        params = lambda structure: problem.num_params(structure)
        grown = [state.structure.grow(edge, self.increment) for edge in edges]
        cost = np.asarray([params(s) - params(state.structure) for s in grown], np.float64)
        score = gain / cost**self.power
        return [edges[i] for i in np.argsort(-score, kind="stable")]

    def _advance(
        self,
        problem: Problem,
        budget: Budget,
        state: GreedyState,
        move: Move,
        effort: float = 1.0,
    ) -> tuple[GreedyState, Info]:
        """Fit the state's structure, screen, and see whether that is enough."""
        state, info = self._fit(problem, budget, state, move, effort=effort)
        if not math.isfinite(state.error):
            return dataclasses.replace(state, phase="done", status=Status.NON_FINITE), info
        if budget.target_error is not None and state.error <= budget.target_error:
            state = dataclasses.replace(state, status=Status.TARGET_REACHED, phase="done")
            return self._enter(state, "prune") if self.prune else state, info
        better = state.error < state.lowest
        return dataclasses.replace(
            state,
            phase="grow",
            status=Status.RUNNING,
            lowest=min(state.error, state.lowest),
            fruitless=0 if better else state.fruitless + 1,
        ), info

    # Pruning and swapping -------------------------------------------------------------

    def _enter(self, state: GreedyState, phase: str) -> GreedyState:
        """Begin a phase that tries every bond in turn, the largest saving first."""
        saving = lambda edge: self._added(state.structure, edge, -1)
        queue = sorted(state.structure.edges, key=saving, reverse=True)
        return dataclasses.replace(state, phase=phase, queue=tuple(queue))

    def _prune(self, problem, state: GreedyState, budget, edge):
        """One rank less on `edge`, if the target stays met."""
        structure, cores = shrink(state.structure, state.cores, edge)
        trial = dataclasses.replace(state, structure=structure, cores=cores)
        move = Move("prune", edge, 1)
        trial, info = self._fit(problem, budget, trial, move, effort=3.0, do_screen=False)
        if trial.error <= budget.target_error:
            return self._enter(trial, "prune"), info
        return state, dataclasses.replace(info, move=None)

    def _swap(self, problem, state: GreedyState, budget, edge):
        """One rank from `edge` to where it does more: accepted if the target is met with fewer
        parameters than before. Only bonds with room in the compiled program can grow."""
        smaller = dataclasses.replace(
            budget, max_params=state.structure.num_params - 1, capacity=state.capacity
        )
        structure, cores = shrink(state.structure, state.cores, edge)
        trial = dataclasses.replace(state, structure=structure, cores=cores)
        trial, info = self._advance(problem, smaller, trial, Move("swap", edge, 1), _SWAP_EFFORT)
        to: list[Edge] = []
        if trial.phase == "grow" and not self._promising(problem, trial, smaller):
            return state, dataclasses.replace(info, move=None)
        while trial.phase == "grow":
            trial, grown = self._grow(problem, trial, smaller)
            info = info + grown
            if grown.move is not None and grown.move.edge is not None:
                to.append(grown.move.edge)
        if trial.status is Status.TARGET_REACHED and trial.error <= budget.target_error:
            return self._enter(trial, "prune"), dataclasses.replace(
                info, move=Move("swap", edge, 1, tuple(to))
            )
        return state, dataclasses.replace(info, move=None)

    def _promising(self, problem: Problem, state: GreedyState, budget: Budget) -> bool:
        """Whether one growth within the budget could meet the target, the refit included."""
        edges = self._edges(state.structure)
        allowed = [
            c
            for c, e in enumerate(edges)
            if not self._forbidden(problem, state.structure, e, budget)
        ]
        best = max((float(state.screened.gain[c]) for c in allowed), default=0.0)
        loss, goal = map(problem.loss_of_error, (state.error, budget.target_error or 0.0))
        return _REFIT_FACTOR * best >= loss - goal

    # Helpers --------------------------------------------------------------------------

    def _fit(
        self,
        problem: Problem,
        budget: Budget,
        state: GreedyState,
        move: Move,
        *,
        effort: float = 1.0,
        do_screen: bool = True,
    ) -> tuple[GreedyState, Info]:
        """Fit the state's structure within `effort` times the solver's steps, and screen. Without
        screening, only reaching the target counts."""
        solver: Solver = as_solver(self.solver, problem)
        out = evaluate(
            problem,
            solver,
            self.screen if isinstance(self.screen, Screen) else _SCREENS[self.screen](),
            state.structure,
            state.cores,
            state.capacity,
            self._edges(state.structure),
            limits=limits_of(
                solver,
                problem,
                target_error=budget.target_error,
                max_steps=max(1, round(effort * solver.max_steps)),
                give_up=not do_screen,
            ),
            seed=state.seed,
            do_screen=do_screen,
            increment=self.increment,
        )
        state = dataclasses.replace(
            state,
            cores=out.cores,
            error=out.error,
            screened=out.screened,
            seed=(*state.seed[:-1], state.seed[-1] + 1),
        )
        fits = (Fit(state.structure, out.cores, out.error),)
        return state, Info(move, out.programs, out.compile_seconds, fits)

    def _capacity(self, problem: Problem, needed, current, ranked) -> Structure:
        return plan_capacity(needed, current, ranked, self.max_rank, problem.flops)

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

    def _forbidden(
        self, problem: Problem, structure: Structure, edge: Edge, budget: Budget
    ) -> Status | None:
        """Why an edge must not grow, or None."""
        if not self._may_grow(structure, edge):
            return Status.NO_CANDIDATES
        return budget.forbids(problem, structure.grow(edge, self.increment))
