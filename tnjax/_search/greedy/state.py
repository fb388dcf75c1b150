"""What a greedy search knows, and how one of its steps may end."""

import dataclasses
import enum
import math
from typing import Any

from ..._status import Status
from ..._storable import storable
from ..._structure import Edge, Structure
from ...moves.cores import Cores
from ..fitting.population import Group
from ..screening.screens import Screened
from ..spectra.cuts import CutBounds
from ..strategies.proposing import ProposingState
from ..strategy import Fit, State, next_seed

# Phases that only make a network smaller, in their order.
TIDYING = ("prune", "swap", "tree", "stars", "rewire", "internal", "hyperedges")
# In words, for whoever waits.
_DOING = {
    "early": "reading trees off the spectra",
    "infer": "inferring the graph from ranks",
    "grouped": "completing with modes in groups",
    "incumbent": "reading trees off the spectra",
    "grow": "growing",
    "rival": "comparing with a CP network",
}

storable(Screened)
storable(CutBounds)


class Outcome(enum.Enum):
    """How a step of a phase ended; `greedy.FOLLOWS` says which phase is next.

    STAY: the phase goes on. ENDED: it has nothing more to try. MET: the target is met for the
    first time, or with another network. SMALLER: the target is met with fewer parameters.
    RIVAL: a network of a fixed format took over. STOP: the search is over.
    """

    STAY = enum.auto()
    ENDED = enum.auto()
    MET = enum.auto()
    SMALLER = enum.auto()
    RIVAL = enum.auto()
    STOP = enum.auto()


@storable
@dataclasses.dataclass(frozen=True)
class Rival:
    """What is known of CP networks, with which a growing one is compared.

    Attributes:
        rank, cores: of the last one, or the best one, once it is the search's own.
        compared: parameters of the network that it was compared with.
        stride: ranks to go on by; 0 before it is the search's own.
        ended: whether that was made as small as may be.
        tucker: whether Tucker networks were tried.
    """

    rank: int = 1
    cores: Cores = ()
    compared: int = 0
    stride: int = 0
    ended: bool = False
    tucker: bool = False


@storable
@dataclasses.dataclass(frozen=True)
class GreedyState(State):
    """All that the next step depends on.

    Attributes:
        structure, cores, error: the current network, in units of the problem (see its `scale`).
        capacity: the ranks that programs are compiled for.
        screened: gains and slices of all candidate edges, in the shapes of `capacity`.
        seed: of the run, with the number of evaluations so far.
        phase: "early", "infer", "grouped", "incumbent", "grow", "rival", one of `TIDYING`, or
            "done".
        queue: what the phase has not tried yet: bonds, or moves.
        firm: bonds that missed the target by far when a rank was taken away, and have not changed.
        status: why growth ended, once it has.
        lowest, fruitless: the lowest error of the growth, and the moves since then.
        cuts: what the data demand of every network, once and where it is known.
        tree: the smallest tree that meets the target by the spectra, where it is known.
        rival: the CP network that the growing one is compared with, of data without ranks.
        freed: the structure that was last fitted again because its fit may be stuck.
        vain: how often in a row that did not help.
        measured: whether the data have been asked for both.
        work: what all steps so far took, in flops by a forecast.
        grown: what they took until the target was met.
        groups: shapes for which there are programs to try structures with.
        incumbent: a network that meets the target while growth does not yet.
        incumbent_work: what making it smaller took, in the same flops.
        trail: parameters and errors of the networks that growth went through.
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
    rival: Rival | None = None
    freed: Structure | None = None
    vain: int = 0
    measured: bool = False
    work: float = 0.0
    grown: float | None = None
    groups: tuple[Group, ...] = ()
    incumbent: ProposingState | None = None
    incumbent_work: float = 0.0
    trail: tuple[tuple[int, float], ...] = ()

    @property
    def done(self) -> bool:
        return self.phase == "done"

    @property
    def tidying(self) -> bool:
        met = self.status is Status.TARGET_REACHED
        return self.phase in TIDYING or (self.phase == "rival" and met)

    @property
    def held(self) -> Fit | None:
        found = self.incumbent
        return None if found is None else Fit(found.structure, found.cores, found.error)

    @property
    def doing(self) -> str:
        if self.phase == "grow" and self.incumbent is not None:
            return "growing a smaller network"
        return "making it smaller" if self.tidying else _DOING.get(self.phase, super().doing)

    def next_seed(self) -> tuple[int, ...]:
        """Of the evaluation after this one."""
        return next_seed(self.seed)
