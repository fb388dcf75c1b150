"""Smaller structures near the one found: other ways for bonds, internal nodes, hyperedges."""

import abc
import dataclasses
from collections.abc import Callable, Iterable
from typing import Any, ClassVar

import numpy as np

from ..._structure import Structure
from ..._tuned import tuned
from ...moves import Merge, Move, Split
from ...moves.neighbors import chosen, hyperedges, merges, rewirings, splits, stars
from ...problems import Problem
from ..spectra.tree_svd import tree_svd
from ..strategy import Budget, MoveRecord
from .decide import decided, refitted
from .effort import EFFORT
from .fits import Step
from .measure import MEASURING
from .options import Options
from .phase import Queued
from .state import GreedyState, Outcome
from .tries import Batch, admits, affordable, batch_work, batched, run_batch


@dataclasses.dataclass(frozen=True)
class Neighbors:
    """Changes of the graph, once the target is met.

    Attributes:
        blind_tries: where nothing is known of the cuts, each phase tries only so many.
        bold: stars come before everything else is tried only if they leave this part of the
            parameters, or less.
        star_tries: stars that are tried before everything else, without a limit by work.
        rewire_tries: rewirings that are tried.
        internal_tries: stars that are tried with splits and merges.
        hyperedge_tries: hyperedges that are tried.
    """

    blind_tries: int = 4
    bold: float = 0.8
    star_tries: int = 2
    rewire_tries: int = 16
    internal_tries: int = 4
    hyperedge_tries: int = 4


NEIGHBORS = tuned("neighbors", Neighbors())


Queue = tuple[GreedyState, tuple[Any, ...]]


class Tree(Queued):
    """The tree that the spectra choose, by truncated singular value decompositions."""

    name = "tree"

    def enabled(self, options: Options, problem: Problem, state: GreedyState) -> bool:
        return options.internal

    def candidates(
        self, options: Options, problem: Problem, state: GreedyState, budget: Budget
    ) -> Queue:
        tree = state.tree
        if tree is None or options.edges is not None:
            return state, ()
        smaller = problem.num_params(tree) < problem.num_params(state.structure)
        return state, (tree,) if smaller and admits(options, problem, state, budget, tree) else ()

    def attempt(
        self,
        options: Options,
        problem: Problem,
        state: GreedyState,
        budget: Budget,
        item: Structure,
    ) -> Step:
        network = tree_svd(problem.dense_target, item)
        found = network.structure, tuple(map(np.asarray, network.cores))
        return refitted(options, problem, state, budget, found, MoveRecord("tree"), effort=1.0)


class _Tried(Queued):
    """Structures that are tried several at a time, from random cores."""

    kind: ClassVar[str]
    # Whether the first start of each has the cores carried over. (Those of bonds do not tell a
    # hyperedge or an internal node.)
    warm: ClassVar[bool] = False

    @property
    @abc.abstractmethod
    def tries(self) -> int:
        """How many structures, at the most."""

    def candidates(
        self, options: Options, problem: Problem, state: GreedyState, budget: Budget
    ) -> Queue:
        found = self.picked(options, problem, state, budget, self.together(options, problem, state))
        if found:  # a forecast plans contractions, so it is made only if there is something to try
            most = affordable(problem, state.structure, options.num_starts)
            found = found[: min(most, NEIGHBORS().blind_tries) if state.cuts is None else most]
        return batched(problem, state, budget, found, options.num_starts)

    def together(self, options: Options, problem: Problem, state: GreedyState) -> Iterable[Move]:
        """All that may be tried."""
        return ()

    def picked(
        self,
        options: Options,
        problem: Problem,
        state: GreedyState,
        budget: Budget,
        moves: Iterable[Move],
    ) -> tuple[Move, ...]:
        """Those that save the most and are not ruled out."""
        allowed = lambda after: admits(options, problem, state, budget, after)
        return chosen(moves, state.structure, allowed, problem.num_params, self.tries)

    def work(self, problem: Problem, item: Any) -> float:
        return batch_work(problem, item) if isinstance(item, Batch) else 0.0

    def attempt(
        self, options: Options, problem: Problem, state: GreedyState, budget: Budget, item: Any
    ) -> Step:
        before = state.structure
        state, info, fit = run_batch(problem, state, budget, item, warm=self.warm)
        if fit is None:
            return state, info, Outcome.STAY
        trial = dataclasses.replace(
            state,
            structure=fit.structure,
            cores=fit.cores,
            error=fit.error,
            screened=None,
            firm=(),
        )
        edges = sorted({*before.edges, *fit.structure.edges})
        rank = lambda structure, edge: structure.edges.get(edge, 1)
        grown = tuple(e for e in edges if rank(fit.structure, e) > rank(before, e))
        shrunk = [e for e in edges if rank(fit.structure, e) < rank(before, e)]
        move = MoveRecord(self.kind, shrunk[0], 1, grown)
        info = dataclasses.replace(info, move=move)
        return decided(options, problem, state, trial, budget, info)


def _free(options: Options) -> bool:
    """Whether any bond may grow."""
    return options.edges is None


def _definite(state: GreedyState) -> bool:
    return state.cuts is None or state.cuts.definite >= MEASURING().definite


def _worth_trying(problem: Problem, state: GreedyState) -> bool:
    """Whether determined fits are of use: of least squares, and of data that have ranks."""
    squares = problem.least_squares is not None and not problem.nonnegative
    return _definite(state) and squares


def _smaller_stars(problem: Problem, state: GreedyState, part: float) -> Iterable[Move]:
    if state.cuts is None:
        return ()
    structure, most = state.structure, problem.num_params(state.structure) * part
    found = stars(structure, state.cuts.rank)
    return (move for move in found if problem.num_params(move.after(structure)) < most)


class Stars(_Tried):
    """Bonds of a node that move to a new internal one, where that saves much."""

    name, kind = "stars", "star"

    @property
    def tries(self) -> int:
        return NEIGHBORS().star_tries

    def enabled(self, options: Options, problem: Problem, state: GreedyState) -> bool:
        return options.internal

    def together(self, options: Options, problem: Problem, state: GreedyState) -> Iterable[Move]:
        if not _free(options) or not _worth_trying(problem, state):
            return ()
        return _smaller_stars(problem, state, NEIGHBORS().bold)


class Rewire(_Tried):
    """Ranks that change place, and bonds that are led along other ways."""

    name, kind, warm = "rewire", "rewire", True

    @property
    def tries(self) -> int:
        return NEIGHBORS().rewire_tries

    def enabled(self, options: Options, problem: Problem, state: GreedyState) -> bool:
        return options.rewire

    def together(self, options: Options, problem: Problem, state: GreedyState) -> Iterable[Move]:
        if not _worth_trying(problem, state):
            return ()
        return rewirings(state.structure, options.candidates(state.structure))


class Internal(_Tried):
    """A node split in two, or two merged; then stars that save anything."""

    name, kind = "internal", "star"

    @property
    def tries(self) -> int:
        return NEIGHBORS().internal_tries

    def enabled(self, options: Options, problem: Problem, state: GreedyState) -> bool:
        return options.internal

    def candidates(
        self, options: Options, problem: Problem, state: GreedyState, budget: Budget
    ) -> Queue:
        if not _free(options):
            return state, ()
        structure = state.structure
        moves: list[Move] = list(merges(structure))
        if _definite(state):
            moves += splits(structure, state.cores, budget.target_error or 0.0)
        alone = self.picked(options, problem, state, budget, moves)
        state, batches = super().candidates(options, problem, state, budget)
        return state, (*alone, *batches)

    def together(self, options: Options, problem: Problem, state: GreedyState) -> Iterable[Move]:
        return _smaller_stars(problem, state, 1.0) if _worth_trying(problem, state) else ()

    def attempt(
        self, options: Options, problem: Problem, state: GreedyState, budget: Budget, item: Any
    ) -> Step:
        if not isinstance(item, Split | Merge):
            return super().attempt(options, problem, state, budget, item)
        found = item.apply(state.structure, state.cores)
        if isinstance(item, Split):
            move = MoveRecord("split", (item.node, found[0].num_nodes - 1), item.rank)
        else:
            move = MoveRecord("merge", (item.a, item.b))
        return refitted(options, problem, state, budget, found, move, effort=EFFORT().deciding)


class Hyperedges(_Tried):
    """One hyperedge in the place of all bonds among some nodes."""

    name, kind = "hyperedges", "hyperedge"

    @property
    def tries(self) -> int:
        return NEIGHBORS().hyperedge_tries

    def enabled(self, options: Options, problem: Problem, state: GreedyState) -> bool:
        return options.hyperedges

    def together(self, options: Options, problem: Problem, state: GreedyState) -> Iterable[Move]:
        if not _free(options) or not _worth_trying(problem, state):
            return ()
        cuts = state.cuts
        bounded: Callable[[Structure], bool] = lambda after: cuts is None or cuts.admits(after)
        return hyperedges(state.structure, bounded, problem.num_params)


PHASES = (Tree(), Stars(), Rewire(), Internal(), Hyperedges())
