"""Strategies that propose whole structures: fit each in turn, keep the best, trim its ranks."""

import abc
import dataclasses
import math
from typing import Any

import numpy as np

from ..._init import host_cores
from ..._network import TensorNetwork
from ..._status import Status
from ..._storable import storable
from ..._structure import Edge, Structure
from ..._tuned import tuned
from ...moves.cores import Cores, pad, shrink
from ...problems import Problem
from ...solve import ALS, Solver
from ...solve.limits import as_solver
from ..fitting.refit import assess, refit
from ..spectra.tree_svd import Tree, decompose
from ..strategy import Budget, Fit, Info, MoveRecord, State, Strategy, next_seed


@dataclasses.dataclass(frozen=True)
class Fitting:
    """Structures that are proposed, fitted and trimmed.

    Attributes:
        effort: effort of a fit, in units of the solver's own steps.
        largest_gram: bonds of one core, all together, past which it is not fitted: its Gram matrix
            is the square.
        bold: factors of the target error that ranks are chosen for, as long as the target is met: a
            fit lowers the error that truncation leaves.
        stride: trimming takes a bond's rank over this at a time at first, single ranks at the end.
    """

    effort: float = 3.0
    largest_gram: int = 4096
    bold: tuple[float, ...] = (1.0, 1.12, 1.25, 1.4, 1.6, 1.85, 2.2, 2.7)
    stride: int = 8


FITTING = tuned("proposing", Fitting())


@storable
@dataclasses.dataclass(frozen=True)
class ProposingState(State):
    """All that the next step depends on.

    Attributes:
        structure, cores, error: the best network so far, in units of the problem.
        seed: of the run, with the number of fits so far.
        groups: structures to try; in each group the safe ones first, and what comes after one
            that fails is left out.
        phase: "propose", "trim" or "done".
        queue: bonds that trimming has not tried yet.
        coarse: whether trimming still takes several ranks at a time.
        capacity: the ranks that trimming is compiled for.
        status: why the search ended, once it has.
    """

    structure: Structure
    cores: Cores
    error: float
    seed: tuple[int, ...]
    groups: tuple[tuple[Structure, ...], ...] = ()
    phase: str = "propose"
    queue: tuple[Edge, ...] = ()
    coarse: bool = True
    capacity: Structure | None = None
    status: Status = Status.RUNNING

    @property
    def done(self) -> bool:
        return self.phase == "done"

    @property
    def tidying(self) -> bool:
        return self.phase == "trim"

    @property
    def doing(self) -> str:
        return "trying proposed networks" if self.phase == "propose" else super().doing


class Proposing(Strategy):
    """A strategy that names structures before it fits them. Subclasses say which."""

    solver: Any
    trim: bool

    @abc.abstractmethod
    def groups(
        self, problem: Problem, budget: Budget, seed: tuple[int, ...]
    ) -> tuple[tuple[Structure, ...], ...]:
        """The structures to try, see `ProposingState`."""

    def start_cores(self, problem: Problem, structure: Structure, state: ProposingState) -> Cores:
        """Where the fit of a proposed structure starts: truncated SVDs of the data where there
        are data and no loops, else cores drawn at random."""
        tree = tree_of(problem, structure)
        if tree is not None:
            ranks = {edge: structure.rank(edge) for edge in tree.edges}
            network = decompose(problem.dense_target, tree, ranks=ranks)
            return pad(network.structure, network.cores, structure)
        return host_cores(structure, np.random.default_rng(state.seed), problem.dtype)

    def check(self, problem: Problem) -> None:
        as_solver(self.solver, problem)

    # The pair of functions ------------------------------------------------------------

    def init(
        self, problem: Problem, start: TensorNetwork, budget: Budget, *, seed: tuple[int, ...]
    ) -> tuple[ProposingState, Info]:
        """Fit the start and make the proposals."""
        fit, info = self._fit(problem, start.structure, start.cores, budget)
        state = ProposingState(fit.structure, fit.cores, fit.error, (*seed, 1))
        if not math.isfinite(fit.error):
            state = dataclasses.replace(state, phase="done", status=Status.NON_FINITE)
        else:
            state = dataclasses.replace(state, groups=self.groups(problem, budget, seed))
        return state, dataclasses.replace(info, move=MoveRecord("start"))

    def step(
        self, problem: Problem, state: ProposingState, budget: Budget
    ) -> tuple[ProposingState, Info]:
        """Fit the next proposal, or try to take ranks from a bond."""
        if state.phase == "trim":
            return self._trim(problem, state, budget)
        groups = [list(group) for group in state.groups]
        while groups:
            if not groups[0]:
                groups.pop(0)
                continue
            structure = groups[0].pop(0)
            dear = problem.num_params(structure) >= problem.num_params(state.structure)
            if budget.forbids(problem, structure) or (budget.meets(state.error) and dear):
                continue
            return self._propose(problem, state, budget, structure, groups)
        return self._end_of_proposals(state, budget), Info()

    def _propose(self, problem, state: ProposingState, budget: Budget, structure, groups):
        cores = self.start_cores(problem, structure, state)
        fit, info = self._fit(problem, structure, cores, budget, give_up=budget.meets(state.error))
        if budget.target_error is not None and not budget.meets(fit.error):
            groups = groups[1:]  # the bolder ones of its kind will miss the target too
        state = dataclasses.replace(
            state,
            seed=next_seed(state.seed),
            groups=tuple(map(tuple, groups)),
        )
        if not better(problem, budget, fit, state):
            return state, info
        state = dataclasses.replace(
            state, structure=fit.structure, cores=fit.cores, error=fit.error
        )
        return state, dataclasses.replace(info, move=MoveRecord(self.word))

    @property
    def word(self) -> str:
        """What its moves are called."""
        return "propose"

    def _end_of_proposals(self, state: ProposingState, budget: Budget) -> ProposingState:
        if budget.meets(state.error):
            state = dataclasses.replace(state, status=Status.TARGET_REACHED)
            if self.trim and state.structure.edges and not self._final(state.structure):
                return dataclasses.replace(
                    state,
                    phase="trim",
                    capacity=state.structure,
                    queue=self._order(state.structure),
                )
        else:
            limited = budget.max_params is not None or budget.max_flops is not None
            status = Status.MAX_PARAMS if limited else Status.STAGNATED
            state = dataclasses.replace(state, status=status)
        return dataclasses.replace(state, phase="done")

    def _final(self, structure: Structure) -> bool:
        """Whether there is nothing to trim: of two nodes, no smaller rank does (Eckart, Young)."""
        return structure.num_nodes == 2 and self.word in ("svd", "tree")

    # Trimming -------------------------------------------------------------------------

    def _trim(self, problem, state: ProposingState, budget: Budget):
        if not state.queue:
            if not state.coarse:
                return dataclasses.replace(state, phase="done"), Info()
            queue = self._order(state.structure)
            return dataclasses.replace(state, coarse=False, queue=queue), Info()
        edge, queue = state.queue[0], state.queue[1:]
        state = dataclasses.replace(state, queue=queue)
        rank = state.structure.rank(edge)
        by = max(1, rank // FITTING().stride) if state.coarse else 1
        if state.coarse and by == 1:
            return state, Info()  # left to the end
        structure, cores = state.structure, state.cores
        for _ in range(by):
            structure, cores = shrink(structure, cores, edge)
        fit, info = self._fit(problem, structure, cores, budget, state.capacity, give_up=True)
        if not budget.meets(fit.error):
            return state, info
        state = dataclasses.replace(state, structure=structure, cores=fit.cores, error=fit.error)
        state = dataclasses.replace(state, queue=self._order(structure))
        return state, dataclasses.replace(info, move=MoveRecord("prune", edge, by))

    @staticmethod
    def _order(structure: Structure) -> tuple[Edge, ...]:
        """Bonds, the largest saving first."""
        saving = lambda edge: structure.num_params - structure.shrink(edge).num_params
        return tuple(sorted(structure.edges, key=saving, reverse=True))

    def _fit(
        self, problem, structure, cores, budget: Budget, capacity=None, give_up: bool = False
    ) -> tuple[Fit, Info]:
        """Fit a network, or only look at its error where a sweep would be out of proportion."""
        solver: Solver = as_solver(self.solver, problem)
        if isinstance(solver, ALS) and not sweepable(capacity or structure):
            return assess(problem, structure, cores)
        return refit(
            problem,
            solver,
            structure,
            cores,
            capacity=capacity,
            target_error=budget.target_error,
            effort=FITTING().effort,
            give_up=give_up,
        )


def tree_of(problem: Problem, structure: Structure) -> Tree | None:
    """The tree by which truncated SVDs of the data give the cores of a structure; None where
    there are no data, or there is a loop."""
    if not problem.is_dense:
        return None
    try:
        return Tree.of(structure)
    except ValueError:
        return None


def sweepable(structure: Structure) -> bool:
    """Whether the Gram matrices of a sweep are of a size to speak of."""
    legs = structure.legs
    nodes = range(structure.num_nodes)
    rows = max(math.prod(structure.core_shape(node)[len(legs[node]) :]) for node in nodes)
    return rows <= FITTING().largest_gram


def better(problem: Problem, budget: Budget, new: Fit, old: Any) -> bool:
    """Whether a fit is nearer to what is wanted: meet the target, then few parameters; as long
    as the target is not met, a low error."""
    if not math.isfinite(new.error):
        return False
    if not budget.meets(old.error):
        return new.error < old.error
    fewer = problem.num_params(new.structure) < problem.num_params(old.structure)
    return budget.meets(new.error) and fewer
