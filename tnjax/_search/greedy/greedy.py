"""Greedy growth of bonds, one best increment at a time, then whatever makes the network smaller.

The phases are objects of their own modules; `FOLLOWS` says which one is next.
"""

import dataclasses

import numpy as np

from ..._network import TensorNetwork
from ..._status import Status
from ...problems import Problem
from ..screening.screens import Spectral
from ..strategy import Budget, Info, MoveRecord, Strategy
from . import grouped, incumbent, infer, neighbors, train
from .effort import counted, left
from .fits import advance, fit, holding, judged
from .grow import Growing
from .measure import measured
from .options import Options
from .phase import Phase
from .rival import Rivals
from .shrink import Prune, Swap
from .state import TIDYING, GreedyState, Outcome

PHASES: dict[str, Phase] = {
    phase.name: phase
    for phase in (
        incumbent.Early(),
        infer.Infer(),
        grouped.Grouped(),
        incumbent.Incumbent(),
        Growing(),
        Prune(),
        Swap(),
        *neighbors.PHASES,
        Rivals(),
    )
}

# What comes after a phase that has nothing more to try, if it is enabled, or else after that one.
FOLLOWS = {
    "early": "infer",
    "infer": "incumbent",
    "incumbent": "grow",
    "grouped": "grow",
    **dict(zip(TIDYING, (*TIDYING[1:], "rival"), strict=True)),
    "rival": "done",
}
# Wherever a search is, a target that is met, or met with less, leads to the first of `TIDYING`.
_SMALLER = TIDYING[0]


@dataclasses.dataclass(frozen=True)
class Greedy(Options, Strategy):
    r"""Greedy-TN: start at rank one, grow the bond that pays best, prune at the end.

    All candidate bonds are evaluated together (`screen`) with the old cores frozen, the one with
    the largest gain / cost^power is grown by its new slices, and all cores are fitted again.
    When the target error is met, whatever makes the network smaller and keeps it met is done, the
    cheap moves first: ranks are taken away, moved from one bond to another, led along other ways;
    bonds of a node move to a new internal node; bonds among several nodes give way to a hyperedge.
    Of a dense tensor the ranks of all unfoldings tell beforehand which of these are in vain.
    Of a dense tensor the best tree of truncated SVDs, as `TreeSearch` finds it, is held meanwhile:
    the search returns it if it is stopped before growth meets the target, and goes on with it if
    growth needs as many parameters (with `infer` and `internal`).

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
        effort: what is done once the target is met. "quick": ranks are taken away, for at most
            half of the work that it took to meet the target. "normal": all of this, until it has
            taken about as much work as it took to meet the target, by a forecast of flops, which
            every machine makes alike; a small problem is always looked at in full. "thorough":
            all of this, to its end.
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

    @property
    def cites(self) -> tuple[str, ...]:
        spectral = isinstance(self.the_screen(), Spectral)
        return ("hashemizadeh2020", "evci2022") if spectral else ("hashemizadeh2020",)

    def check(self, problem: Problem) -> None:
        self.solver_for(problem)

    def init(
        self, problem: Problem, start: TensorNetwork, budget: Budget, *, seed: tuple[int, ...]
    ) -> tuple[GreedyState, Info]:
        """Fit the start and screen its candidates."""
        structure = start.structure
        edges = self.candidates(structure)
        if not edges:
            raise ValueError(
                f"Greedy: there is no bond to grow in {structure}. A tensor of one mode is "
                "already one core; use `fit`, or give another start."
            )
        cores = tuple(np.asarray(core) for core in start.cores)
        known = train.found(self, problem, structure, budget)
        if known is not None:
            state = GreedyState(structure, cores, structure, (*seed, 0))
            state, info = holding(self, problem, state, known), Info(MoveRecord("train"))
            info = dataclasses.replace(info, fits=(known,))
            return self._after(problem, state, info, Outcome.MET, budget), info
        roomy = structure
        for edge in edges:
            roomy = roomy.with_rank(edge, max(2, roomy.rank(edge)))
        if self.max_rank != 1 and self.capacity(problem, structure, None, edges) == roomy:
            capacity = roomy
        else:
            capacity = structure
        state, move = GreedyState(structure, cores, capacity, (*seed, 0)), MoveRecord("start")
        if infer.applies(self, problem, structure, budget):  # before anything is screened
            first = incumbent.is_first(problem)
            first = first and incumbent.applies(self, problem, structure, budget)
            state = dataclasses.replace(state, phase="early" if first else "infer")
            state, info = fit(self, problem, budget, state, move, do_screen=False)
            state, info, outcome = judged(budget, state, info)
        else:
            state, info, outcome = advance(self, problem, budget, state, move)
            if outcome is Outcome.STAY and grouped.applies(self, problem, state):
                state = dataclasses.replace(state, phase="grouped")
            elif outcome is Outcome.STAY and incumbent.applies(self, problem, structure, budget):
                state = dataclasses.replace(state, phase="incumbent")
        return self._after(problem, state, info, outcome, budget), info

    def step(
        self, problem: Problem, state: GreedyState, budget: Budget
    ) -> tuple[GreedyState, Info]:
        """One move, one failed try of a move, or a change of the phase."""
        state, info, outcome = PHASES[state.phase].step(self, problem, state, budget)
        return self._after(problem, state, info, outcome, budget), info

    def _after(
        self, problem: Problem, state: GreedyState, info: Info, outcome: Outcome, budget: Budget
    ) -> GreedyState:
        """The state in the phase that an outcome leads to, its work counted."""
        if outcome is Outcome.MET:
            state = dataclasses.replace(state, status=Status.TARGET_REACHED)
            if self.prune:
                state = measured(self, problem, state, budget)
        name = self._next(problem, state, outcome)
        if name == "done":
            state = dataclasses.replace(state, phase=name)
        elif outcome is not Outcome.STAY:
            state = PHASES[name].entered(self, problem, state, budget)
        return counted(self.effort, state, info)

    def _next(self, problem: Problem, state: GreedyState, outcome: Outcome) -> str:
        if outcome is Outcome.STAY:
            return state.phase
        if outcome is Outcome.RIVAL:
            return "rival"
        if outcome is Outcome.STOP or (outcome is Outcome.MET and not self.prune):
            return "done"
        if outcome in (Outcome.MET, Outcome.SMALLER):
            return _SMALLER
        over = state.phase in TIDYING and left(self.effort, state) <= 0
        name = FOLLOWS[state.phase]
        while name != "done" and (
            (over and name in TIDYING) or not PHASES[name].enabled(self, problem, state)
        ):
            name = FOLLOWS[name]
        return name
