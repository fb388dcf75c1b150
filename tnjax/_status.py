"""How a fit or a search ended."""

import enum
from typing import SupportsInt


class Status(enum.Enum):
    """How a fit or a search ended. The values appear in `result.json`.

    `ok` tells whether it came as far as it was asked to: it met the target, or ended by a limit
    or because there was nothing left to try. What was interrupted, or broke down, did not.

    Example:
        >>> from tnjax import Status
        >>> Status.TARGET_REACHED.ok, Status.MAX_PARAMS.ok, Status.NON_FINITE.ok
        (True, True, False)
        >>> Status.MAX_STEPS.message
        'the allowed number of steps was used'
    """

    RUNNING = "running"
    TARGET_REACHED = "target_reached"
    STAGNATED = "stagnated"
    MAX_STEPS = "max_steps"
    MAX_PARAMS = "max_params"
    MAX_FLOPS = "max_flops"
    MAX_FITTED = "max_fitted"
    MAX_SECONDS = "max_seconds"
    MEMORY_LIMIT = "memory_limit"
    NO_CANDIDATES = "no_candidates"
    NON_FINITE = "non_finite"
    INTERRUPTED = "interrupted"
    PRECISION = "precision"

    @property
    def ok(self) -> bool:
        """Whether the fit or search came as far as it was asked to."""
        return self in _SUCCESSES

    @property
    def message(self) -> str:
        """One line for people."""
        return _MESSAGES[self]

    @property
    def code(self) -> int:
        """The integer that stands for it inside compiled programs."""
        return list(Status).index(self)

    @classmethod
    def from_code(cls, code: SupportsInt) -> "Status":
        """The status that `code` stands for."""
        return list(cls)[int(code)]


_SUCCESSES = frozenset(
    {
        Status.TARGET_REACHED,
        Status.STAGNATED,
        Status.PRECISION,
        Status.MAX_STEPS,
        Status.MAX_PARAMS,
        Status.MAX_FLOPS,
        Status.MAX_FITTED,
        Status.MAX_SECONDS,
        Status.MEMORY_LIMIT,
        Status.NO_CANDIDATES,
    }
)

_MESSAGES = {
    Status.RUNNING: "not finished",
    Status.TARGET_REACHED: "the target error was reached",
    Status.STAGNATED: "the error stopped falling",
    Status.MAX_STEPS: "the allowed number of steps was used",
    Status.MAX_PARAMS: "no allowed move fits the parameter budget",
    Status.MAX_FLOPS: "no allowed move fits the budget of flops",
    Status.MAX_FITTED: "the allowed number of structures was fitted",
    Status.MAX_SECONDS: "the allowed time was used",
    Status.MEMORY_LIMIT: "no allowed move fits the memory limit",
    Status.NO_CANDIDATES: "no allowed edge is left to grow",
    Status.NON_FINITE: "the loss became NaN or infinite and retries did not help",
    Status.PRECISION: "the error is down to what the precision of the data tells, above the target",
    Status.INTERRUPTED: "interrupted; the best network so far was kept",
}
