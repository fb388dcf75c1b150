"""Hidden variables on a tree, grown by what they tell about the rows."""

import dataclasses
import math
from typing import Any

import numpy as np

from ... import _interrupt
from ..._network import TensorNetwork
from ..._status import Status
from ..._storable import storable
from ..._structure import Structure
from ..._tuned import tuned
from ...moves.cores import Cores, pad, unpad
from ...problems import Problem, Rows
from ...solve import EM, Solver, as_solver, fit_tree
from ..fitting.refit import assess, refit
from ..screening import hidden
from ..strategy import Budget, Fit, Info, MoveRecord, State, Strategy, next_seed

_RANKS = (2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128)


@dataclasses.dataclass(frozen=True)
class LatentGrowth:
    """Growth of hidden variables.

    Attributes:
        pays: bonds grow together whose new state gains this part of what the best one gains.
        softness: mass that each table gives to entries that were zero.
        noise: relative standard deviation of random factors on all tables.
        least: nats by which a move must lower the error of held-out rows.
        tries: moves in a row that may fail.
        looked_at: values (rows times variables) that are looked at for gains.
        drops: nats that the states that are left out together may cost.
    """

    pays: float = 0.3
    softness: float = 0.02
    noise: float = 0.4
    least: float = 2e-4
    tries: int = 3
    looked_at: int = 2**20
    drops: float = 5e-4


LATENT_GROWTH = tuned("latent_growth", LatentGrowth())


@storable
@dataclasses.dataclass(frozen=True)
class LatentState(State):
    """Where the search stands.

    Attributes:
        seed: of what is drawn next.
        failed: moves in a row that did not help.
        pruned: whether states were left out since the last growth.
        done: whether there is no next step.
    """

    structure: Structure
    cores: Cores
    error: float
    status: Status
    seed: tuple
    failed: int = 0
    pruned: bool = False
    done: bool = False

    @property
    def doing(self) -> str:
        if self.done:
            return "finished"
        return "growing" if not self.failed else "trying another way to grow"


@dataclasses.dataclass(frozen=True)
class LatentTree(Strategy):
    """Hidden variables on a tree, for a `Density` of kind "nonnegative" (its default).

    Each node of the tree carries a variable, and shares a bond with its children, whose index is a
    hidden variable. From the Chow-Liu tree, whose hidden variables are the variables themselves,
    hidden variables get more states: all bonds are asked what one more state would gain with all
    cores frozen, those that gain the most grow together, and all cores are fitted again. A move
    counts if the error falls (of held-out rows; without any, if it pays by the Bayesian information
    criterion). Where it does not, all bonds grow by one state, and at last states are left out that
    tell nothing.

    Args:
        max_rank: states of a hidden variable at the most.
        prune: leave out states at the end.
        solver: of the cores; `EM()` by default.

    Raises:
        ValueError: if `max_rank` is below 2.

    Example:
        >>> from tnjax.strategies import LatentTree
        >>> LatentTree(max_rank=8).prune
        True

    Reference:
        Choi et al., "Learning latent tree graphical models", JMLR 12 (2011); Liu and Van den
        Broeck, "Tractable regularization of probabilistic circuits", NeurIPS 2021, for hidden
        Chow-Liu trees.
    """

    max_rank: int = 64
    prune: bool = True
    solver: Any = None

    def __post_init__(self) -> None:
        if self.max_rank != int(self.max_rank) or self.max_rank < 2:
            raise ValueError(
                f"LatentTree: max_rank must be an integer >= 2, got {self.max_rank!r}."
            )

    @property
    def cites(self) -> tuple[str, ...]:
        return ("choi2011",)

    @property
    def on_core(self) -> bool:
        return False

    def check(self, problem: Problem) -> None:
        if problem.likelihood_rows is None:
            raise ValueError(
                'LatentTree is for a Density of kind "nonnegative", got '
                f"{type(problem).__name__}; use Greedy() for it."
            )
        self._solver(problem)

    def init(
        self, problem: Problem, start: TensorNetwork, budget: Budget, *, seed: tuple[int, ...]
    ) -> tuple[LatentState, Info]:
        """The start as it is, then fitted with all entries of its tables."""
        structure, cores = start.structure, tuple(map(np.asarray, start.cores))
        tree = hidden.Tree.of(structure, cores)
        if isinstance(self._solver(problem), EM):
            fit, info = self._refit(problem, tree, budget, max_steps=0)
            fit = dataclasses.replace(fit, cores=cores)
        else:
            fit, info = assess(problem, structure, cores)
        seed = (*seed, 0)
        if not budget.meets(fit.error) and structure.edges:
            options = LATENT_GROWTH()
            rng = np.random.default_rng(seed)
            soft = hidden.grown(tree, (), options.softness, 0.0, rng)
            fitted, more = self._refit(problem, soft, budget)
            info = info + more
            if fitted.error < fit.error:
                fit = fitted
        status = Status.TARGET_REACHED if budget.meets(fit.error) else Status.RUNNING
        done = budget.meets(fit.error) or not structure.edges
        status = Status.NO_CANDIDATES if done and status is Status.RUNNING else status
        state = LatentState(fit.structure, fit.cores, fit.error, status, seed, done=done)
        return state, dataclasses.replace(info, move=MoveRecord("start"))

    def step(
        self, problem: Problem, state: LatentState, budget: Budget
    ) -> tuple[LatentState, Info]:
        """New hidden states; where they do not help, in other places, then fewer of them."""
        seed = next_seed(state.seed)
        if state.failed >= LATENT_GROWTH().tries:
            return self._pruned(problem, state, budget, seed)
        rows = problem.likelihood_rows
        assert rows is not None
        rng = np.random.default_rng(seed)
        tree = hidden.Tree.of(state.structure, state.cores)
        states = self._new_states(tree, rows, rng)
        every = state.failed > 0 or not states or states[0].gain <= 0
        chosen, reason = self._chosen(problem, tree, states, budget, every)
        if not chosen:
            ended = dataclasses.replace(state, failed=LATENT_GROWTH().tries, status=reason)
            return dataclasses.replace(ended, seed=seed), Info()
        options = LATENT_GROWTH()
        after = hidden.grown(tree, chosen, options.softness, options.noise, rng)
        fit, info = self._refit(problem, after, budget)
        if not self._pays(problem, rows, state, fit):
            if problem.judging_rows is rows:  # else the search would take the larger one after all
                info = dataclasses.replace(info, fits=())
            return dataclasses.replace(state, seed=seed, failed=state.failed + 1), info
        edges = [hidden.own_edge(tree, one.step) for one in chosen]
        move = MoveRecord("grow", edges[0], 1, tuple(edges[1:]))
        met = budget.meets(fit.error)
        status = Status.TARGET_REACHED if met else Status.RUNNING
        new = LatentState(fit.structure, fit.cores, fit.error, status, seed, done=met)
        return new, dataclasses.replace(info, move=move)

    def _solver(self, problem: Problem) -> Solver:
        return as_solver(self.solver, problem)

    def _refit(
        self, problem: Problem, tree: hidden.Tree, budget: Budget, max_steps: int | None = None
    ) -> tuple[Fit, Info]:
        """All cores, in a program for ranks of one size, which several moves share."""
        structure, cores = tree.cores()
        cores = tuple(core.astype(problem.dtype) for core in cores)
        rank = max(structure.ranks, default=1)
        room = min((r for r in _RANKS if r >= rank), default=rank)
        capacity = Structure(
            structure.dims, structure.legs, {edge: room for edge in structure.edges}
        )
        solver, target = self._solver(problem), budget.target_error
        if not isinstance(solver, EM):
            options: Any = dict(capacity=capacity, target_error=target)
            return refit(problem, solver, structure, cores, **options)
        wide = pad(structure, cores, capacity)
        ran = fit_tree(problem, solver, capacity, wide, target_error=target, max_steps=max_steps)
        fit = Fit(structure, unpad(structure, ran.cores, capacity), ran.error)
        _interrupt.note(problem, fit)
        _interrupt.checkpoint()
        return fit, Info(None, ran.programs, ran.seconds, (fit,))

    def _new_states(
        self, tree: hidden.Tree, rows: Rows, rng: np.random.Generator
    ) -> list[hidden.NewState]:
        """The best new state of each bond, the largest gain first."""
        values, weights = _some(rows, rng)
        found = hidden.posterior(tree, values)
        marginals = tree.marginals()
        steps = [k for k, inner in enumerate(tree.below) if inner]
        steps = [k for k in steps if tree.tables[k].shape[2] < self.max_rank]
        states = [hidden.new_state(tree, found, weights, marginals[k], k, rng) for k in steps]
        return sorted(states, key=lambda one: -one.gain)

    def _chosen(
        self,
        problem: Problem,
        tree: hidden.Tree,
        states: list[hidden.NewState],
        budget: Budget,
        every: bool,
    ) -> tuple[list[hidden.NewState], Status]:
        """Those that grow together within the budget."""
        least = LATENT_GROWTH().pays * states[0].gain if states and not every else -np.inf
        structure, reason = tree.cores()[0], Status.NO_CANDIDATES
        chosen = []
        for one in states:
            if one.gain < least:
                break
            larger = structure.grow(hidden.own_edge(tree, one.step))
            forbidden = budget.forbids(problem, larger)
            if forbidden is None:
                structure = larger
                chosen.append(one)
            elif not chosen:
                reason = forbidden
        return chosen, reason

    def _pays(self, problem: Problem, rows: Rows, state: LatentState, fit: Fit) -> bool:
        """Whether a larger network is worth it."""
        gain = state.error - fit.error
        if problem.judging_rows is not rows:
            return gain > LATENT_GROWTH().least
        more = problem.num_params(fit.structure) - problem.num_params(state.structure)
        return bool(gain * rows.count > 0.5 * math.log(max(rows.count, 2.0)) * more)

    def _pruned(
        self, problem: Problem, state: LatentState, budget: Budget, seed: tuple[int, ...]
    ) -> tuple[LatentState, Info]:
        """The states left out that together cost next to nothing; then the search is over."""
        status = Status.STAGNATED if state.status is Status.RUNNING else state.status
        ended = dataclasses.replace(state, status=status, seed=seed, done=True)
        rows = problem.likelihood_rows
        assert rows is not None
        if not self.prune or (budget.fits_left is not None and budget.fits_left < 1):
            return ended, Info()
        tree = hidden.Tree.of(state.structure, state.cores)
        values, weights = _some(rows, np.random.default_rng(seed))
        costs = hidden.without(tree, hidden.posterior(tree, values), weights)
        gone, spent = [], 0.0
        for at, cost in sorted(costs.items(), key=lambda item: item[1]):
            spent += max(cost, 0.0)
            if spent > LATENT_GROWTH().drops:
                break
            gone.append(at)
        smaller = hidden.dropped(tree, gone)
        edge = next((hidden.own_edge(tree, step) for step, _ in gone), None)
        if edge is None or smaller.cores()[0] == state.structure:
            return ended, Info()
        fit, info = self._refit(problem, smaller, budget)
        if fit.error > state.error + LATENT_GROWTH().least:
            return ended, info
        new = LatentState(fit.structure, fit.cores, fit.error, status, seed, done=True)
        return new, dataclasses.replace(info, move=MoveRecord("prune", edge, 1))


def _some(rows: Rows, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """The rows with weights of sum one, or some of them where they are many."""
    values, weights = np.asarray(rows.values), np.asarray(rows.weights, np.float64)
    most = max(1, LATENT_GROWTH().looked_at // values.shape[1])
    if len(values) > most:
        picked = np.sort(rng.choice(len(values), most, replace=False))
        values, weights = values[picked], weights[picked]
    return values, weights / weights.sum()
