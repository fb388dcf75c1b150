"""Greedy growth of bonds, one best increment at a time, then whatever makes the network smaller."""

import dataclasses
import itertools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..._network import TensorNetwork
from ..._status import Status
from ..._structure import Edge, Structure, as_edge
from ...moves import Grow
from ...moves.cores import Cores, connected_parts, pad_core
from ...problems import Completion, Decomposition, Problem
from ...solve import Solver
from ...solve._fit import as_solver, limits_of
from ..fitting.capacity import plan_capacity
from ..fitting.evaluate import evaluate
from ..fitting.population import Group
from ..screening.candidates import balanced_slices, slice_position
from ..screening.screens import Screen, Screened, Spectral, Trial
from ..spectra.cuts import CutBounds
from ..storage.values import storable
from ..strategy import Budget, Fit, Info, Move, State, Strategy
from . import effort as _effort
from . import grouped as _coarse
from . import infer as _infer
from . import rival as _rival
from . import tidy as _tidy
from .effort import EFFORTS

# A network of fewer parameters grows one bond at a time: each counts, and decides on the graph.
_LARGE = 1000
# Bonds that grow in one move score at least so much of the best, gain together at most this part
# of what the target needs (the other, where they join separate parts of the network), and are
# fitted by this share of the solver's steps.
_BURST_SCORE = 0.5
_BURST_GAIN = 0.25
_BURST_GAIN_APART = 0.5
_BURST_EFFORT = 0.4
# Where no bond gains this part of what the target needs, many moves are to come, and the parameters
# of each count by a higher power, which keeps single cores from growing huge, and so does the root
# of the factor by which it makes a sweep dearer, which keeps the graph sparse.
_FAR = 0.1
_FAR_POWER = 0.75

_SCREENS = {"spectral": Spectral, "trial": Trial}

storable(Screened)
storable(CutBounds)


class _Scores(NamedTuple):
    """Of all candidates: the gains, no larger than what is needed for the target, and what they
    are ranked by; and what is needed."""

    gains: np.ndarray
    values: np.ndarray
    needed: float


@storable
@dataclasses.dataclass(frozen=True)
class GreedyState(State):
    """All that the next step depends on.

    Attributes:
        structure, cores, error: the current network, in units of the problem (see its `scale`).
        capacity: the ranks that programs are compiled for.
        screened: gains and slices of all candidate edges, in the shapes of `capacity`.
        seed: of the run, with the number of evaluations so far.
        phase: "infer", "grow", "rival", one of the phases that make the network smaller, or "done".
        queue: what the phase has not tried yet: bonds, or moves.
        firm: bonds that missed the target by far when a rank was taken away, and have not changed.
        status: why growth ended, once it has.
        lowest, fruitless: the lowest error of the growth, and the moves since then.
        cuts: what the data demand of every network, once and where it is known.
        tree: the smallest tree that meets the target by the spectra, once it is met.
        rival: the CP network that the growing one is compared with, of data without ranks.
        freed: the structure that was last fitted again because its fit may be stuck.
        measured: whether the data have been asked for both.
        work: what all steps so far took, in flops by a forecast (see `_work`).
        grown: what they took until the target was met.
        groups: shapes for which there are programs to try structures with.
    """

    structure: Structure
    cores: Cores
    capacity: Structure
    seed: tuple[int, ...]
    error: float = math.inf
    screened: Any = None
    phase: str = "grow"
    queue: tuple[Any, ...] = ()
    firm: tuple[Edge, ...] = ()
    status: Status = Status.RUNNING
    lowest: float = math.inf
    fruitless: int = 0
    cuts: CutBounds | None = None
    tree: Structure | None = None
    rival: _rival.Rival | None = None
    freed: Structure | None = None
    measured: bool = False
    work: float = 0.0
    grown: float | None = None
    groups: tuple[Group, ...] = ()

    @property
    def done(self) -> bool:
        return self.phase == "done"

    @property
    def tidying(self) -> bool:
        met = self.status is Status.TARGET_REACHED
        return self.phase in _tidy.PHASES or (self.phase == "rival" and met)


@dataclasses.dataclass(frozen=True)
class Greedy(Strategy):
    r"""Greedy-TN: start at rank one, grow the bond that pays best, prune at the end.

    All candidate bonds are evaluated together (`screen`) with the old cores frozen, the one with
    the largest gain / cost^power is grown by its new slices, and all cores are fitted again.
    When the target error is met, whatever makes the network smaller and keeps it met is done, the
    cheap moves first: ranks are taken away, moved from one bond to another, led along other ways;
    bonds of a node move to a new internal node; bonds among several nodes give way to a hyperedge.
    Of a dense tensor the ranks of all unfoldings tell beforehand which of these are in vain.

    Args:
        screen: "spectral" (top singular pair of each edge's environment), "trial" (the paper's:
            train the new slices), or a `Screen`.
        power: exponent of the cost, the parameters that a move adds; 0 scores the raw gain,
            as the paper does.
        increment: ranks added in one move.
        burst: share of the parameters up to which a move may add, by growing several bonds that
            pay about equally well, while the target is far (where the cost also counts by a power
            of 0.75 at least, and flops); 0 grows one bond at a time, always by `power`.
        edges: bonds that may grow; all pairs of nodes and all hyperedges of the start by default.
        max_degree: largest number of bonds on a node.
        max_rank: largest rank of a bond.
        infer: before anything grows, try the graphs whose smallest cuts have the ranks of all
            unfoldings (`inferred_graphs`), from several random starts. Only for
            dense tensors that have ranks, up to noise, and from a start without bonds. In growth,
            where the cuts say that a structure could meet the target and its fit does not, the fit
            may be stuck: it is repeated like that before a bond grows. Of a completion whose
            start explains nothing that is held out, first a tensor with modes put together in
            groups is completed, then decomposed (squared loss, up to 10^7 cells and ten modes).
        prune: take ranks away at the end, largest saving first, while the target stays met.
        swap: then take a rank from one bond and grow others, if that meets the target with fewer
            parameters; with `prune` only.
        rewire: then try smaller structures near the one found, each from several starts at once
            by Levenberg-Marquardt (least squares problems); with `prune` only.
        internal: then take the smallest tree that the singular values of the data allow (with
            nodes that carry several modes or none), if it is smaller; split nodes, where that
            saves parameters, so that internal nodes arise, and merge those that turn out
            superfluous; with `prune` only.
        hyperedges: then try one hyperedge in the place of all bonds among some nodes; as `rewire`.
            Of dense data that were found to have no ranks (see `infer`), such as images, the
            growing network is compared with the CP network of as many parameters, now and then
            and at last; where that is closer, it goes on in its place. At last a Tucker network is
            tried as well (up to four modes).
        num_starts: starts of each of these structures.
        effort: what is done once the target is met. "quick": ranks are taken away, nothing else.
            "normal": all of this, until it has taken about as much work as it took to meet the
            target, by a forecast of flops, which every machine makes alike; a small problem is
            always looked at in full. "thorough": all of this, to its end.
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

    def check(self, problem: Problem) -> None:
        as_solver(self.solver, problem)

    # The pair of functions ------------------------------------------------------------

    def init(
        self, problem: Problem, start: TensorNetwork, budget: Budget, *, seed: tuple[int, ...]
    ) -> tuple[GreedyState, Info]:
        """Fit the start and screen its candidates."""
        state, info = self._begun(problem, start, budget, seed=seed)
        return _effort.counted(self, state, info), info

    def _begun(
        self, problem: Problem, start: TensorNetwork, budget: Budget, *, seed: tuple[int, ...]
    ) -> tuple[GreedyState, Info]:
        structure = start.structure
        edges = self.candidates(structure)
        if not edges:
            raise ValueError(
                f"Greedy: there is no bond to grow in {structure}. A tensor of one mode is "
                "already one core; use `fit`, or give another start."
            )
        cores = tuple(np.asarray(core) for core in start.cores)
        roomy = structure
        for edge in edges:
            roomy = roomy.with_rank(edge, max(2, roomy.rank(edge)))
        if self.max_rank != 1 and self.capacity(problem, structure, None, edges) == roomy:
            capacity = roomy
        else:
            capacity = structure
        state = GreedyState(structure, cores, capacity, (*seed, 0))
        if _infer.applies(self, problem, structure, budget):  # before anything is screened
            state = dataclasses.replace(state, phase="infer")
            state, info = self.fit(problem, budget, state, Move("start"), do_screen=False)
            return self.judged(problem, budget, state, info)
        state, info = self.advance(problem, budget, state, Move("start"))
        if state.phase == "grow" and _coarse.applies(self, problem, state):
            state = dataclasses.replace(state, phase="infer")
        return state, info

    def step(
        self, problem: Problem, state: GreedyState, budget: Budget
    ) -> tuple[GreedyState, Info]:
        """One move, one failed try of a move, or a change of the phase."""
        state, info = self._moved(problem, state, budget)
        return _effort.counted(self, state, info), info

    def _moved(
        self, problem: Problem, state: GreedyState, budget: Budget
    ) -> tuple[GreedyState, Info]:
        if state.phase == "grow":
            return self.grow(problem, state, budget)
        if state.phase == "rival":
            assert isinstance(problem, Decomposition)
            return _rival.step(self, problem, state, budget)
        if state.phase == "infer":
            if isinstance(problem, Completion):
                return _coarse.step(self, problem, state, budget)
            return _infer.step(self, problem, state, budget)
        return _tidy.step(self, problem, state, budget)

    # Growth ---------------------------------------------------------------------------

    def grow(self, problem: Problem, state: GreedyState, budget: Budget):
        """Grow the best bond that may, and fit; the state is done if there is none."""
        if state.fruitless > problem.patience > 0:  # held-out entries say that it is enough
            return dataclasses.replace(state, phase="done", status=Status.STAGNATED), Info()
        if _infer.may_be_stuck(problem, state):
            return _infer.freed(self, problem, state, budget)
        if _rival.due(self, problem, state):
            assert isinstance(problem, Decomposition)
            return _rival.compare(self, problem, state, budget)
        edges = self.candidates(state.structure)
        scores = self._scores(problem, state, edges, budget)
        order = [edges[i] for i in np.argsort(-scores.values, kind="stable")]  # ties: the first
        allows = lambda edge: not self.forbidden(problem, state.structure, edge, budget)
        first = next(filter(allows, order), None)
        if first is None or state.screened.gain[edges.index(first)] <= 0:
            status = Status.STAGNATED
            if first is None:
                reasons = {self.forbidden(problem, state.structure, edge, budget) for edge in order}
                worst = (Status.MEMORY_LIMIT, Status.MAX_FLOPS, Status.MAX_PARAMS)
                status = next((s for s in worst if s in reasons), Status.NO_CANDIDATES)
            return dataclasses.replace(state, phase="done", status=status), Info()
        grown = self.together(problem, state, edges, order[order.index(first) :], scores, budget)
        structure, cores = state.structure, state.cores
        for edge in grown:
            terms = [
                self._slices(state, structure, edge, [core[edges.index(edge)] for core in slices])
                for slices in state.screened.slices
            ]
            move = Grow(edge, self.increment, tuple(terms))
            structure, cores = move.apply(structure, cores)
        ranked = [e for e in order if self._may_grow(structure, e)]
        capacity = self.capacity(problem, structure, state.capacity, ranked)
        state = dataclasses.replace(state, structure=structure, cores=cores, capacity=capacity)
        move = Move("grow", first, self.increment, tuple(grown[1:]))
        effort = 1.0 if len(grown) == 1 else _BURST_EFFORT
        return self.advance(problem, budget, state, move, effort)

    def together(
        self,
        problem: Problem,
        state: GreedyState,
        edges: tuple[Edge, ...],
        order: Sequence[Edge],
        scores: _Scores,
        budget: Budget,
    ) -> list[Edge]:
        """The first of `order` and what may grow in one move with it: bonds that pay about as
        well, as long as they gain a part of what the target still needs and no more.

        Where they add a small share of the parameters, that is a small part: so it is in large
        networks far from the target, where one increment more or less is of no account. Bonds
        that join what is not connected yet, and each other at no node, hardly know of each other.
        """
        now = problem.num_params(state.structure)
        if not self.burst or now < _LARGE:
            return [order[0]]
        gains, values, needed = scores
        structure, gained, grown, taken = state.structure, 0.0, [], set()
        parts = connected_parts(range(structure.num_nodes), structure.edges)
        best = values[edges.index(order[0])]
        for edge in order:
            place = edges.index(edge)
            if values[place] < _BURST_SCORE * best:
                break
            larger = structure.grow(edge, self.increment)
            if grown:
                apart = taken.isdisjoint(edge) and len({parts[node] for node in edge}) > 1
                part = _BURST_GAIN_APART if apart else _BURST_GAIN
                small = apart or problem.num_params(larger) <= (1 + self.burst) * now
                if not small or gained + gains[place] > part * needed:
                    continue
                if self.forbidden(problem, structure, edge, budget):
                    continue
            structure, gained = larger, gained + gains[place]
            grown.append(edge)
            taken |= set(edge)
        return grown

    def _slices(
        self, state: GreedyState, structure: Structure, edge: Edge, cores: Sequence
    ) -> tuple[np.ndarray, ...]:
        """The new slices of an edge, as its cores in `structure` need them (the state's, grown at
        other bonds since it was screened)."""
        bare, grown = state.structure.with_rank(edge, 1), structure.with_rank(edge, 1)
        term = []
        for node in edge:
            where = slice_position(state.structure, state.capacity, node, edge)
            term.append(pad_core(bare, node, np.asarray(cores[node][where]), grown))
        return tuple(balanced_slices(term))

    def _scores(
        self, problem: Problem, state: GreedyState, edges: tuple[Edge, ...], budget: Budget
    ) -> _Scores:
        """What growing each edge is worth: gain / cost^power.

        A gain past what the target still needs counts as no more than that, so that the last
        move is not dearer than it must be. (Raw gains, power 0, are compared as they are.)
        """
        gain = np.asarray(state.screened.gain, np.float64)
        needed = problem.loss_of_error(state.error)
        if budget.target_error is not None:
            needed = max(needed - problem.loss_of_error(budget.target_error), 0.0)
            gain = np.minimum(gain, needed) if self.power > 0 else gain
        now = problem.num_params(state.structure)
        grown = [state.structure.grow(edge, self.increment) for edge in edges]
        cost = np.asarray([problem.num_params(s) - now for s in grown], np.float64)
        power, large = self.power, self.burst and now >= _LARGE
        if large and 0 < power < _FAR_POWER and gain.max() < _FAR * needed:
            power = _FAR_POWER
            flops = np.asarray([problem.sweep_flops(s) for s in grown], np.float64)
            dearer = np.sqrt(flops / problem.sweep_flops(state.structure))
            return _Scores(gain, gain / (cost**power * dearer), needed)
        return _Scores(gain, gain / cost**power, needed)

    def advance(
        self,
        problem: Problem,
        budget: Budget,
        state: GreedyState,
        move: Move,
        effort: float = 1.0,
    ) -> tuple[GreedyState, Info]:
        """Fit the state's structure, screen, and see whether that is enough."""
        state, info = self.fit(problem, budget, state, move, effort=effort)
        return self.judged(problem, budget, state, info)

    def judged(self, problem: Problem, budget: Budget, state: GreedyState, info: Info):
        """What comes after a fit."""
        if not math.isfinite(state.error):
            return dataclasses.replace(state, phase="done", status=Status.NON_FINITE), info
        if budget.meets(state.error):
            return self.met(problem, state, budget), info
        better = state.error < state.lowest
        return dataclasses.replace(
            state,
            phase="infer" if state.phase == "infer" else "grow",
            status=Status.RUNNING,
            lowest=min(state.error, state.lowest),
            fruitless=0 if better else state.fruitless + 1,
        ), info

    def met(self, problem: Problem, state: GreedyState, budget: Budget) -> GreedyState:
        """The state with the target met: it is done, or whatever makes it smaller begins."""
        state = dataclasses.replace(state, status=Status.TARGET_REACHED, phase="done")
        return _tidy.begin(self, problem, state, budget) if self.prune else state

    def holding(self, problem: Problem, state: GreedyState, fit: Fit) -> GreedyState:
        """The state with another network, in a capacity of its own."""
        capacity = self.capacity(problem, fit.structure, None, ())
        return dataclasses.replace(
            state, structure=fit.structure, cores=fit.cores, error=fit.error, capacity=capacity
        )

    # Helpers --------------------------------------------------------------------------

    def fit(
        self,
        problem: Problem,
        budget: Budget,
        state: GreedyState,
        move: Move,
        *,
        effort: float = 1.0,
        do_screen: bool = True,
        give_up: bool = False,
    ) -> tuple[GreedyState, Info]:
        """Fit the state's structure within `effort` times the solver's steps, and screen. Where
        only reaching the target counts, `give_up` as soon as that is out of reach."""
        solver: Solver = as_solver(self.solver, problem)
        out = evaluate(
            problem,
            solver,
            self.screen if isinstance(self.screen, Screen) else _SCREENS[self.screen](),
            state.structure,
            state.cores,
            state.capacity,
            self.candidates(state.structure),
            limits=limits_of(
                solver,
                problem,
                target_error=budget.target_error,
                max_steps=max(1, round(effort * solver.max_steps)),
                give_up=give_up,
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
        return state, Info(
            move, out.programs, out.compile_seconds, fits, out.screen_seconds, work=out.work
        )

    def capacity(self, problem: Problem, needed, current, ranked) -> Structure:
        """The ranks to compile for."""
        return plan_capacity(needed, current, ranked, self.max_rank, problem.sweep_flops)

    def candidates(self, structure: Structure) -> tuple[Edge, ...]:
        """Candidates: the same for a whole search, so that programs are shared."""
        if self.edges is not None:
            for edge in self.edges:
                structure.rank(edge)
            return self.edges
        pairs = itertools.combinations(range(structure.num_nodes), 2)
        return (*pairs, *(edge for edge in structure.edges if len(edge) > 2))

    def _may_grow(self, structure: Structure, edge: Edge) -> bool:
        rank = structure.rank(edge)
        if self.max_rank is not None and rank + self.increment > self.max_rank:
            return False
        if self.max_degree is not None and edge not in structure.edges:
            return all(structure.degree(node) < self.max_degree for node in edge)
        return True

    def forbidden(
        self, problem: Problem, structure: Structure, edge: Edge, budget: Budget
    ) -> Status | None:
        """Why an edge must not grow, or None."""
        if not self._may_grow(structure, edge):
            return Status.NO_CANDIDATES
        return budget.forbids(problem, structure.grow(edge, self.increment))
