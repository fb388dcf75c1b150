"""Targets below what the precision of the data can tell."""

import dataclasses

from .._status import Status
from .._tuned import tuned
from ..problems import Problem
from ..solve import fit
from .result import SearchResult


@dataclasses.dataclass(frozen=True)
class Precise:
    """Targets below the precision.

    Attributes:
        steps: sweeps towards the target that was asked for, of the network found.
    """

    steps: int = 60


PRECISE = tuned("precise", Precise())


def closest(problem: Problem, found: SearchResult, target_error: float) -> SearchResult:
    """The result of a search for what the precision can tell, its network fitted as far towards the
    target that was asked for as it goes. The status says whether that was met."""
    if found.status is not Status.TARGET_REACHED or found.error <= target_error:
        return found
    final = fit(problem, found.network, target_error=target_error, max_steps=PRECISE().steps)
    network, error = found.network, found.error
    if final.error < error:
        network, error = final.network, final.error
    status = Status.TARGET_REACHED if error <= target_error else Status.PRECISION
    return dataclasses.replace(found, network=network, error=error, status=status)


def judged_again(found: SearchResult, target_error: float | None) -> SearchResult:
    """The result with a status that its error bears out, which may have been measured anew."""
    if target_error is None:
        return found
    met = found.error <= target_error
    if met is (found.status is Status.TARGET_REACHED):
        return found
    if met:
        stopped = found.status in (Status.INTERRUPTED, Status.NON_FINITE)
        return found if stopped else dataclasses.replace(found, status=Status.TARGET_REACHED)
    return dataclasses.replace(found, status=Status.STAGNATED)
