"""What a search found, step by step."""

import dataclasses
from collections.abc import Sequence

from .._network import TensorNetwork
from .._status import Status
from .._structure import Edge, Structure


@dataclasses.dataclass(frozen=True)
class Move:
    """A change of the structure.

    Attributes:
        kind: "start", "grow", "prune", or "swap" (ranks from `edge` to others).
        edge: the bond that grew, or lost ranks.
        by: how many ranks.
        to: for a swap, the bonds that grew, in order.
    """

    kind: str
    edge: Edge | None = None
    by: int = 0
    to: tuple[Edge, ...] = ()

    def __str__(self) -> str:
        if self.edge is None:
            return self.kind
        words = ["-".join(map(str, edge)) for edge in (self.edge, *self.to)]
        return f"{self.kind} {' to '.join(words[:2])}{'+' if len(words) > 2 else ''}"


@dataclasses.dataclass(frozen=True)
class Step:
    """One accepted move.

    Attributes:
        move: what was changed.
        structure, num_params, error: after the move and its fit.
        seconds: wall time of this step, its failed tries included.
        compile_seconds: the part of it spent tracing and compiling.
        programs: programs compiled in this step.
        fitted: structures fitted in this step.
    """

    move: Move
    structure: Structure
    num_params: int
    error: float
    seconds: float
    compile_seconds: float
    programs: int
    fitted: int = 1


@dataclasses.dataclass(frozen=True)
class SearchResult:
    """The outcome of `search`.

    Attributes:
        network: the network found; the smallest one that meets the target error where one was
            asked for and reached, else the one with the lowest error.
        error: its error; for a decomposition the unsquared relative Frobenius error.
        path: one `Step` for every accepted move, the start included.
        status: why the search ended.
        fitted: structures fitted in all, rejected ones included.
        programs: programs compiled; 0 if all were there.
        seconds, compile_seconds: wall time of all, and the part spent tracing and compiling.
        seed_key: the raw data of the key, so that the run can be repeated.
    """

    network: TensorNetwork
    error: float
    path: tuple[Step, ...]
    status: Status
    fitted: int
    programs: int
    seconds: float
    compile_seconds: float
    seed_key: tuple[int, ...]

    @property
    def structure(self) -> Structure:
        return self.network.structure

    @property
    def num_params(self) -> int:
        return self.structure.num_params

    @property
    def pareto(self) -> tuple[Step, ...]:
        """The steps that no other one beats in both parameters and error, smallest first."""
        return pareto(self.path)

    def __repr__(self) -> str:
        return (
            f"SearchResult(error={self.error:.3g}, {self.structure!r}, steps={len(self.path)}, "
            f"status={self.status.value}, seconds={self.seconds:.3g})"
        )


def pareto(steps: Sequence[Step]) -> tuple[Step, ...]:
    """Steps that are not dominated in (num_params, error), by ascending parameters."""
    best, front = float("inf"), []
    for step in sorted(steps, key=lambda s: (s.num_params, s.error)):
        if step.error < best:
            best = step.error
            front.append(step)
    return tuple(front)
