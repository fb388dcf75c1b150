"""How much work a greedy search does, above all once the target is met."""

import dataclasses
import math

from ..._tuned import tuned
from ..strategy import Info
from .state import GreedyState

EFFORTS = ("quick", "normal", "thorough")


@dataclasses.dataclass(frozen=True)
class Effort:
    """The work that is done; once the target is met, unless `effort="thorough"`.

    Attributes:
        large: parameters below which a network grows one bond at a time (each counts, and decides
            on the graph), and from which on it is compared with networks of fixed formats.
        deciding: fits that decide whether a smaller network meets the target may take so many times
            the solver's steps.
        floor: what is always allowed, in flops by the forecast of `fitting.work`: about five
            seconds of one core.
        again: what else is with "normal", as a multiple of what it took to meet the target.
        pruning: what may be done beyond to take ranks away, which what was changed last needs, as
            another such multiple.
    """

    large: int = 1000
    deciding: float = 3.0
    floor: float = 3e9
    again: float = 1.0
    pruning: float = 0.5


EFFORT = tuned("effort", Effort())


def counted(effort: str, state: GreedyState, info: Info) -> GreedyState:
    """The state with the work of a step; done, if that was the last one that its effort allows."""
    work = state.work + info.work
    grown = state.grown
    if grown is None and state.tidying:
        grown = work
    state = dataclasses.replace(state, work=work, grown=grown)
    rival = state.phase == "rival" and state.rival is not None and not state.rival.stride
    # With "normal", fixed formats are looked at in any case: that is cheap beside what they save.
    if rival and grown is not None and effort == "quick":
        return dataclasses.replace(state, phase="done")
    return state


def allowed(effort: str, state: GreedyState) -> float:
    """Work that may be done to make the network smaller, other than by taking ranks away."""
    if effort == "thorough" or state.grown is None:
        return math.inf
    return 0.0 if effort == "quick" else max(EFFORT().floor, EFFORT().again * state.grown)


def left(effort: str, state: GreedyState) -> float:
    """What of it may still be done."""
    return allowed(effort, state) - (0.0 if state.grown is None else state.work - state.grown)


def affords(effort: str, state: GreedyState, work: float) -> bool:
    """Whether an attempt may begin: as long as any work is left, if it alone is not too much."""
    return left(effort, state) > 0 and work <= allowed(effort, state)


def left_for_ranks(effort: str, state: GreedyState) -> float:
    """What may still be done to take ranks away."""
    if state.grown is None:
        return math.inf
    return left(effort, state) + max(EFFORT().floor, EFFORT().pruning * state.grown)


def spent(effort: str, state: GreedyState) -> bool:
    """Whether a phase must end before its queue does."""
    still = left_for_ranks if state.phase == "prune" else left
    return still(effort, state) <= 0
