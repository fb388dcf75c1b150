"""Strategies that ask for a population of structures and are told how it fared.

One adaptor turns `begin`, `ask` and `tell` into the `init` and `step` that `search` drives: it
keeps to the budget, fits what was asked for together, starts every fit from the nearest one that
is known, and remembers the best network.
"""

import abc
import dataclasses
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..._init import host_cores
from ..._network import TensorNetwork
from ..._status import Status
from ..._storable import storable
from ..._structure import Structure, all_edges, as_edge
from ..._tuned import tuned
from ...moves.cores import Cores
from ...problems import Problem
from ...solve.limits import as_solver, limits_of
from ..archive import check_cost
from ..fitting.population import Group, Start, carried, distance, fit_population
from ..strategy import Budget, Fit, Info, MoveRecord, State, Strategy, next_seed


@dataclasses.dataclass(frozen=True)
class Asking:
    """Strategies that ask for fits and are told of them.

    Attributes:
        effort: steps of a fit, in those of the solver: there is no later fit that would make up for
            one that has not converged.
        pool: fitted networks that are kept to start others from.
    """

    effort: int = 3
    pool: int = 24


ASKING = tuned("ask_tell", Asking())


class Scored(NamedTuple):
    """A fitted structure with its score.

    Attributes:
        structure: which one.
        score: what `AskTell` compares, the lower the better.
        error: of its fit.

    Example:
        >>> from tnjax import Structure
        >>> from tnjax.strategies import Scored
        >>> Scored(Structure.rank_one((3, 4)), score=1.9, error=0.2).error
        0.2
    """

    structure: Structure
    score: float
    error: float


class Proposal(NamedTuple):
    """A structure that shall be fitted.

    Attributes:
        structure: which one.
        start: a network to start from; by default the nearest one that is known.
        order: of its nodes, in which it resembles other proposals; fits of like structures share a
            program.

    Example:
        >>> from tnjax import Structure
        >>> from tnjax.strategies import Proposal
        >>> Proposal(Structure.tensor_train((3, 4), 2)).start is None
        True
    """

    structure: Structure
    start: Fit | None = None
    order: tuple[int, ...] | None = None


@storable
@dataclasses.dataclass(frozen=True)
class AskTellState(State):
    """The state of every strategy that asks and is told.

    Attributes:
        structure, cores, error, status: see `State`; the best network so far.
        memory: what the strategy remembers.
        pool: fitted networks to start others from, the newest last.
        known: errors of all structures so far.
        groups: capacities of the populations so far.
        seed: of the run, with the number of rounds so far.
        finished: whether the strategy has asked for everything that it wants.
    """

    structure: Structure
    cores: Cores
    error: float
    status: Status
    memory: Any
    pool: tuple[Fit, ...]
    known: dict[Structure, float]
    groups: tuple[Group, ...]
    seed: tuple[int, ...]
    finished: bool = False

    @property
    def done(self) -> bool:
        return self.finished

    @property
    def tidying(self) -> bool:
        return self.status is Status.TARGET_REACHED


class View(NamedTuple):
    """What a strategy may look at when it asks.

    Attributes:
        best: the best structure so far.
        allowed: whether a structure is within the budget and could still become the best.
        rng: random numbers for this round.
        round: number of this round, from 0.

    Example:
        >>> import numpy as np
        >>> from tnjax import Structure
        >>> from tnjax.strategies import Scored, View
        >>> best = Scored(Structure.rank_one((3, 4)), score=1.9, error=0.2)
        >>> view = View(best, allowed=lambda structure: True, rng=np.random.default_rng(0), round=0)
        >>> view.allowed(view.best.structure.grow((0, 1)))
        True
    """

    best: Scored
    allowed: Any
    rng: np.random.Generator
    round: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class AskTell(Strategy):
    r"""A strategy as `begin`, `ask` and `tell`.

    Structures are compared by a score: with a target error $\varepsilon$,

    $$\log c + p \max(0, \log(e / \varepsilon))$$

    for the cost c and the error e, so that below the target only the cost counts; without a
    target the error. The published methods add the compression ratio and a multiple of the error.

    Args:
        cost: "num_params", "flops" or "peak_bytes".
        penalty: p of the score.
        max_rank: largest rank of a bond.
        warm: start fits from the nearest known network and not at random.
        solver: for the cores, as in `fit`.

    Example:
        >>> import dataclasses, jax, tnjax
        >>> from tnjax.strategies import AskTell, Proposal
        >>> @dataclasses.dataclass(frozen=True, kw_only=True)
        ... class Ladder(AskTell):
        ...     word = "ladder"
        ...     def begin(self, start):
        ...         return start.structure
        ...     def ask(self, memory, view):
        ...         return ([Proposal(memory.grow((0, 1)))] if view.round < 2 else []), memory
        ...     def tell(self, memory, found, view):
        ...         return memory.grow((0, 1))
        >>> diagonal = jax.numpy.array([3.0, 2.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0])
        >>> problem = tnjax.Decomposition(jax.numpy.diag(diagonal))
        >>> result = tnjax.search(problem, key=jax.random.key(0), strategy=Ladder(), max_params=60)
        >>> result.structure.rank((0, 1))
        3
    """

    cost: str = "num_params"
    penalty: float = 20.0
    max_rank: int = 6
    warm: bool = True
    solver: Any = None

    def __post_init__(self) -> None:
        name = type(self).__name__
        check_cost(self.cost)
        if not math.isfinite(self.penalty) or self.penalty <= 0:
            raise ValueError(f"{name}: penalty must be positive, got {self.penalty!r}.")
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.type is int and (isinstance(value, bool) or int(value) != value or value < 1):
                raise ValueError(f"{name}: {field.name} must be an integer >= 1, got {value!r}.")

    # What a strategy says -------------------------------------------------------------

    @property
    @abc.abstractmethod
    def word(self) -> str:
        """What a move of the strategy is called."""

    @abc.abstractmethod
    def begin(self, start: Scored) -> Any:
        """The memory after the start was fitted; a value that can be stored."""

    @abc.abstractmethod
    def ask(self, memory: Any, view: View) -> tuple[Sequence[Proposal], Any]:
        """Structures to fit next; none if the search is over."""

    @abc.abstractmethod
    def tell(self, memory: Any, found: Sequence[Scored], view: View) -> Any:
        """The memory after the fits; `found` are the structures that were asked for and allowed."""

    # The adaptor ----------------------------------------------------------------------

    def check(self, problem: Problem) -> None:
        as_solver(self.solver, problem)

    def init(
        self, problem: Problem, start: TensorNetwork, budget: Budget, *, seed: tuple[int, ...]
    ) -> tuple[AskTellState, Info]:
        cores = tuple(np.asarray(core) for core in start.cores)
        fits, groups, account = self._fit(problem, [Start(start.structure, cores)], (), budget)
        fit = fits[0]
        first = self._scored(problem, budget, fit.structure, fit.error)
        state = AskTellState(
            fit.structure,
            fit.cores,
            fit.error,
            _status(budget, fit.error),
            self.begin(first),
            (fit,),
            {fit.structure: fit.error},
            groups,
            (*seed, 0),
            finished=not math.isfinite(fit.error),
        )
        return state, dataclasses.replace(account, move=MoveRecord("start"))

    def step(
        self, problem: Problem, state: AskTellState, budget: Budget
    ) -> tuple[AskTellState, Info]:
        """One round: ask, fit, tell."""
        rng = np.random.default_rng(state.seed)
        best = self._scored(problem, budget, state.structure, state.error)
        allowed = lambda structure: self._allowed(problem, budget, best, structure)
        view = View(best, allowed, rng, state.seed[-1])
        proposals, memory = self.ask(state.memory, view)
        state = dataclasses.replace(state, seed=next_seed(state.seed))
        if not proposals:
            status = Status.STAGNATED if state.status is Status.RUNNING else state.status
            return dataclasses.replace(state, finished=True, status=status, memory=memory), Info()

        wanted = {p.structure: p for p in reversed(proposals) if allowed(p.structure)}
        new = [p for p in reversed(wanted.values()) if p.structure not in state.known]
        if budget.fits_left is not None:
            new = new[: budget.fits_left]
        starts = [Start(p.structure, self._start(problem, state, p, rng), p.order) for p in new]
        fits, groups, info = self._fit(problem, starts, state.groups, budget)
        known = state.known | {fit.structure: fit.error for fit in fits}
        found = [
            self._scored(problem, budget, structure, known[structure])
            for structure in reversed(wanted)
            if structure in known
        ]
        memory = self.tell(memory, found, view)
        state = dataclasses.replace(state, memory=memory, known=known, groups=groups)
        state = dataclasses.replace(
            state, pool=self._pool(problem, budget, state, fits), groups=groups
        )
        rank = lambda fit: self._rank(problem, budget, fit.structure, fit.error)
        winner = min(fits, key=rank, default=None)
        if winner is None or rank(winner) >= self._rank(
            problem, budget, state.structure, state.error
        ):
            return state, dataclasses.replace(info, save=bool(fits))
        state = dataclasses.replace(
            state,
            structure=winner.structure,
            cores=winner.cores,
            error=winner.error,
            status=_status(budget, winner.error),
        )
        return state, dataclasses.replace(info, move=MoveRecord(self.word))

    def _fit(
        self, problem: Problem, starts, groups: tuple[Group, ...], budget: Budget
    ) -> tuple[tuple[Fit, ...], tuple[Group, ...], Info]:
        solver = as_solver(self.solver, problem)
        out = fit_population(
            problem,
            solver,
            starts,
            groups,
            limits=limits_of(
                solver,
                problem,
                target_error=budget.target_error,
                max_steps=ASKING().effort * solver.max_steps,
            ),
            memory_limit=budget.memory_limit,
        )
        return out.fits, out.groups, Info(None, out.programs, out.compile_seconds, out.fits)

    def _start(
        self, problem: Problem, state: AskTellState, proposal: Proposal, rng: np.random.Generator
    ) -> Cores:
        structure, near, _ = proposal
        if near is None and self.warm:
            near = min(state.pool, key=lambda fit: distance(fit.structure, structure))
            if math.isinf(distance(near.structure, structure)):
                near = None
        if near is None:
            return host_cores(structure, rng, problem.dtype)
        return carried(near, structure, rng)

    def _pool(self, problem: Problem, budget: Budget, state: AskTellState, fits) -> tuple[Fit, ...]:
        """The best half of the pool by score, then the newest."""
        pool = (*state.pool, *fits)
        score = lambda fit: self._scored(problem, budget, fit.structure, fit.error).score
        finite = [n for n, fit in enumerate(pool) if math.isfinite(fit.error)]
        best = sorted(finite, key=lambda n: (score(pool[n]), n))[: ASKING().pool // 2]
        newest = [n for n in reversed(finite) if n not in best][: ASKING().pool // 2]
        return tuple(pool[n] for n in sorted({*best, *newest}))

    # Scores ---------------------------------------------------------------------------

    def _cost(self, problem: Problem, structure: Structure) -> int:
        return {
            "num_params": problem.num_params,
            "flops": problem.flops,
            "peak_bytes": problem.fit_peak_bytes,
        }[self.cost](structure)

    def _scored(
        self, problem: Problem, budget: Budget, structure: Structure, error: float
    ) -> Scored:
        if budget.target_error is None or not math.isfinite(error):
            return Scored(structure, error, error)
        excess = max(0.0, math.log(max(error, 1e-300) / budget.target_error))
        score = math.log(self._cost(problem, structure)) + self.penalty * excess
        return Scored(structure, score, error)

    def _rank(self, problem: Problem, budget: Budget, structure: Structure, error: float):
        """What the search is after: first the target, then the cost; else the error."""
        if not math.isfinite(error):
            return (2, math.inf, math.inf)
        if budget.meets(error):
            return (0, self._cost(problem, structure), error)
        return (1, error, self._cost(problem, structure))

    def _allowed(
        self, problem: Problem, budget: Budget, best: Scored, structure: Structure
    ) -> bool:
        """Within the budget and the largest rank, no larger than the dense tensor, and cheaper
        than a network that meets the target."""
        if max(structure.ranks, default=1) > max(self.max_rank, *best.structure.ranks, 1):
            return False
        dense = max(math.prod(structure.dims), best.structure.num_params)
        if structure.num_params > dense or budget.forbids(problem, structure) is not None:
            return False
        if structure == best.structure or not budget.meets(best.error):
            return True
        return self._cost(problem, structure) < self._cost(problem, best.structure)


def _status(budget: Budget, error: float) -> Status:
    if not math.isfinite(error):
        return Status.NON_FINITE
    return Status.TARGET_REACHED if budget.meets(error) else Status.RUNNING


def template_edges(template: str, structure: Structure) -> tuple[tuple[int, ...], ...]:
    """The bonds of a template ("train", "ring" or "full") over the nodes of a structure."""
    count = structure.num_nodes
    chain = [(k, k + 1) for k in range(count - 1)]
    if template == "train":
        return tuple(chain)
    if template == "ring":
        return tuple(chain) + (((0, count - 1),) if count > 2 else ())
    return all_edges(structure)


def check_template(name: str, template: str) -> None:
    """Raise `ValueError` unless there is such a template."""
    if template not in ("train", "ring", "full"):
        raise ValueError(
            f'{name}: unknown template {template!r}; choose "train", "ring" or "full".'
        )


def with_ranks(structure: Structure, ranks: dict) -> Structure:
    """The same nodes with exactly these bonds."""
    return dataclasses.replace(structure, edges={as_edge(e): r for e, r in ranks.items()})
