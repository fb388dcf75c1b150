"""How much work a greedy search does once the target is met."""

import dataclasses
import math

from ..._tuned import tuned
from ..strategy import Info
from .state import GreedyState

EFFORTS = ("quick", "normal", "thorough")


@dataclasses.dataclass(frozen=True)
class Effort:
    """The work of `effort="normal"` once the target is met.

    Attributes:
        floor: what is always allowed, in flops by the forecast of `fitting.work`: some ten seconds
            of one core.
        again: what else is, as a multiple of what it took to meet the target.
    """

    floor: float = 1e10
    again: float = 1.0


EFFORT = tuned("effort", Effort())


def counted(effort: str, state: GreedyState, info: Info) -> GreedyState:
    """The state with the work of a step; done, if that was the last one that its effort allows."""
    work = state.work + info.work
    grown = state.grown
    if grown is None and state.tidying and state.phase != "rival":
        grown = work
    state = dataclasses.replace(state, work=work, grown=grown)
    rival = state.phase == "rival" and state.rival is not None and not state.rival.stride
    if rival and grown is not None and left(effort, state) <= 0:
        return dataclasses.replace(state, phase="done")
    return state


def left(effort: str, state: GreedyState) -> float:
    """Work that may still be done to make the network smaller, other than by taking ranks away."""
    if effort == "thorough" or state.grown is None:
        return math.inf
    allowed = 0.0 if effort == "quick" else max(EFFORT().floor, EFFORT().again * state.grown)
    return allowed - (state.work - state.grown)


def spent(effort: str, state: GreedyState) -> bool:
    """Whether a phase must end before its queue does. Taking ranks away is cheap, and what was
    changed last needs it."""
    return state.phase != "prune" and left(effort, state) <= 0
