"""The interface of strategies: a pair of pure functions on a state that can be written to disk."""

import abc
import dataclasses
from typing import Any

import numpy as np

from .._network import TensorNetwork, scaled
from .._status import Status
from .._storable import storable
from .._structure import Edge, Structure
from ..moves.cores import Cores
from ..problems import Problem
from ..solve import FitResult


@dataclasses.dataclass(frozen=True)
class Budget:
    """Limits that a strategy must respect.

    Attributes:
        target_error: the error to reach; the cheaper a network that reaches it, the better.
            Without one, the lower the error the better.
        max_params: core entries that no network may exceed.
        max_flops: what one evaluation of a network may cost (the problem's `flops`).
        memory_limit: bytes that fitting a network may need by the forecast.
        fits_left: structures that may still be fitted. Several in one step never exceed it; a
            step that fits one after another may finish its try.

    Example:
        >>> from tnjax.strategies import Budget
        >>> budget = Budget(target_error=0.1, max_params=500)
        >>> budget.meets(0.08), budget.meets(0.2)
        (True, False)
    """

    target_error: float | None = None
    max_params: int | None = None
    memory_limit: int | None = None
    max_flops: int | None = None
    fits_left: int | None = None

    def forbids(self, problem: Problem, structure: Structure) -> Status | None:
        """Why a structure must not be tried, or None if it may."""
        if self.max_params is not None and problem.num_params(structure) > self.max_params:
            return Status.MAX_PARAMS
        if self.max_flops is not None and problem.flops(structure) > self.max_flops:
            return Status.MAX_FLOPS
        limit = self.memory_limit
        if limit is not None and problem.fit_peak_bytes(structure) > limit:
            return Status.MEMORY_LIMIT
        return None

    def meets(self, error: float) -> bool:
        """Whether there is a target and the error is at or below it."""
        return self.target_error is not None and error <= self.target_error


@dataclasses.dataclass(frozen=True)
class MoveRecord:
    """What one step changed in the structure: an entry of `SearchResult.path`.

    The changes themselves, with what they do to cores, are in `tnjax.moves`.

    Attributes:
        kind: "start", "grow", "prune", "swap" (ranks from `edge` to others), or the word of
            another strategy.
        edge: the bond that grew, or lost ranks.
        by: how many ranks.
        to: for a swap, the bonds that grew, in order; for a growth, those that grew with `edge`.

    Example:
        >>> from tnjax import MoveRecord
        >>> print(MoveRecord("grow", (0, 2), 1), "/", MoveRecord("swap", (0, 1), 1, ((1, 2),)))
        grow 0-2 / swap 0-1 to 1-2
    """

    kind: str
    edge: Edge | None = None
    by: int = 0
    to: tuple[Edge, ...] = ()

    def __str__(self) -> str:
        if self.edge is None:
            return self.kind
        words = ["-".join(map(str, edge)) for edge in (self.edge, *self.to)]
        if self.kind == "grow":
            return f"grow {', '.join(words)}"
        return f"{self.kind} {' to '.join(words[:2])}{'+' if len(words) > 2 else ''}"


@storable
@dataclasses.dataclass(frozen=True)
class Fit:
    """One fitted structure, accepted or not.

    Attributes:
        structure: which one.
        cores: in units of the problem (see its `scale`); shapes as `structure.core_shape` tells.
        error: of the fit.

    Example:
        >>> import numpy as np
        >>> from tnjax import Structure
        >>> from tnjax.strategies import Fit
        >>> Fit(Structure.rank_one((3, 4)), (np.ones(3), np.ones(4)), 0.2).error
        0.2
    """

    structure: Structure
    cores: Cores
    error: float

    @classmethod
    def of(cls, problem: Problem, found: FitResult) -> "Fit":
        """What `fit` found, for strategies: its network is in the units of the data, those of a
        strategy are in units of the problem.

        Example:
            >>> import jax, numpy as np, tnjax
            >>> from tnjax.strategies import Fit
            >>> problem = tnjax.Decomposition(np.arange(1.0, 7.0).reshape(2, 3))
            >>> train = tnjax.Structure.tensor_train((2, 3), 2)
            >>> one = Fit.of(problem, tnjax.fit(problem, train, key=jax.random.key(0)))
            >>> dense = tnjax.TensorNetwork(one.structure, one.cores).to_dense()
            >>> round(float(np.linalg.norm(dense)), 4)  # that of the data is 9.54
            1.0
        """
        network = scaled(found.network, 1 / problem.scale)
        cores = tuple(np.asarray(core) for core in network.cores)
        return cls(network.structure, cores, float(found.error))


@dataclasses.dataclass(frozen=True)
class Info:
    """What a step did.

    Attributes:
        move: what was accepted; None if nothing was.
        programs, compile_seconds: made in this step, and how long that took.
        fits: every structure fitted in this step, rejected ones too.
        screen_seconds: spent on the gains of candidates.
        save: the state is worth a checkpoint even though nothing was accepted.
        work: in flops, by a forecast (see `_work`); strategies that do not need it leave it out.

    Example:
        >>> from tnjax.strategies import Info, MoveRecord
        >>> both = Info(MoveRecord("grow", (0, 1), 1), programs=1) + Info(programs=2)
        >>> both.move.kind, both.programs, both.fitted
        ('grow', 3, 0)
    """

    move: MoveRecord | None = None
    programs: int = 0
    compile_seconds: float = 0.0
    fits: tuple[Fit, ...] = ()
    screen_seconds: float = 0.0
    save: bool = False
    work: float = 0.0

    @property
    def fitted(self) -> int:
        """Number of structures fitted."""
        return len(self.fits)

    def __add__(self, other: "Info") -> "Info":
        return Info(
            self.move,
            self.programs + other.programs,
            self.compile_seconds + other.compile_seconds,
            self.fits + other.fits,
            self.screen_seconds + other.screen_seconds,
            self.save or other.save,
            self.work + other.work,
        )


def next_seed(seed: tuple[int, ...]) -> tuple[int, ...]:
    """Of what is drawn after this: seeds of a run end with a counter."""
    return (*seed[:-1], seed[-1] + 1)


class State(abc.ABC):
    """What `search` reads from the state of any strategy.

    A state is a frozen dataclass, registered with `storable`, of values that can be stored:
    JSON's, tuples, dicts, structures, statuses, arrays, and other storable dataclasses. It holds
    all that the next step depends on, random seeds included.

    Attributes:
        structure, cores, error: the network that the search returns if it ends here, in units of
            the problem (see its `scale`).
        status: why the search ended, or would end here.

    Example:
        >>> import dataclasses
        >>> from tnjax import Status, Structure
        >>> from tnjax.strategies import State, storable
        >>> @storable
        ... @dataclasses.dataclass(frozen=True)
        ... class Walked(State):
        ...     structure: Structure
        ...     cores: tuple
        ...     error: float
        ...     status: Status
        ...     left: int
        ...     @property
        ...     def done(self):
        ...         return self.left == 0
        >>> Walked(Structure.rank_one((3, 4)), (), 1.0, Status.RUNNING, left=2).doing
        'searching'
    """

    structure: Structure
    cores: Cores
    error: float
    status: Status

    @property
    @abc.abstractmethod
    def done(self) -> bool:
        """Whether there is no next step."""

    @property
    def held(self) -> Fit | None:
        """Another network, which meets the target while that of the state does not: then the search
        returns it if it ends here. None by default."""
        return None

    @property
    def tidying(self) -> bool:
        """Whether all that was asked for is reached, and steps only make the network cheaper:
        then neither `max_steps` nor `max_seconds` changes the status."""
        return False

    @property
    def doing(self) -> str:
        """What the next step is for, in a few plain words that a person reads while it runs."""
        if self.done:
            return "finished"
        return "making it smaller" if self.tidying else "searching"


class Strategy(abc.ABC):
    """How to search: a frozen dataclass of options with two pure functions.

    `search` calls `init` once and `step` until the state is done or a limit is met. The same seed
    must give the same states, and the state after `init` must be no worse than the start.

    What a strategy sees may be the HOSVD core of a large tensor (see `Setup.compress`), whose modes
    are smaller; one whose options are meant for the tensor itself says so by `on_core`.

    Example:
        >>> import jax, tnjax
        >>> from tnjax.strategies import AskTell, Greedy, Strategy
        >>> issubclass(Greedy, Strategy), issubclass(AskTell, Strategy)
        (True, True)
        >>> problem = tnjax.Decomposition(jax.numpy.ones((3, 4)))
        >>> Greedy().check(problem)  # says nothing: the strategy can treat the problem
    """

    @property
    def cites(self) -> tuple[str, ...]:
        """What `SearchResult.citation` names: keys of entries known to tnjax, or BibTeX entries."""
        return ()

    @property
    def on_core(self) -> bool:
        """Whether the strategy may search on the HOSVD core in place of the tensor."""
        return True

    @abc.abstractmethod
    def check(self, problem: Problem) -> None:
        """Raise `ValueError` if the strategy cannot treat the problem."""

    @abc.abstractmethod
    def init(
        self, problem: Problem, start: TensorNetwork, budget: Budget, *, seed: tuple[int, ...]
    ) -> tuple[State, Info]:
        """Fit the start, and prepare whatever the first step needs."""

    @abc.abstractmethod
    def step(self, problem: Problem, state: Any, budget: Budget) -> tuple[State, Info]:
        """One move, one failed try of a move, or one population of structures."""
