"""Fit a structure, then screen all candidates: two programs for each capacity."""

import dataclasses
import time
from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array

from ... import _compile, _interrupt
from ..._network import TensorNetwork
from ..._structure import Edge, Structure
from ..._tuned import tuned
from ...moves.cores import Cores, pad, unpad
from ...problems import Problem
from ...solve.programs import fitted
from ...solve.solver import Limits, Solver
from ..screening.candidates import draw_slices
from ..screening.screens import Screen, Screened
from ..strategy import Fit
from .work import fit_work, screen_work


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """A fit and a screen.

    Attributes:
        screen_bytes: bytes that one screen may hold for its candidates before it works through them
            in chunks.
    """

    screen_bytes: int = 1024**3


EVALUATION = tuned("evaluation", Evaluation())


class Evaluated(NamedTuple):
    """An evaluation on the host, cores in their own shapes.

    `screened` still has the shapes of `capacity`; it is None where nothing was screened. `work` is
    a forecast in flops (see `_work`).
    """

    cores: Cores
    error: float
    screened: Screened | None
    programs: int
    compile_seconds: float
    screen_seconds: float
    work: float


@dataclasses.dataclass(frozen=True)
class Screening:
    """What to screen after a fit.

    Attributes:
        screen: by which.
        edges: the candidates.
        seed: of their starts.
        increment: ranks that each edge grows by.
    """

    screen: Screen
    edges: tuple[Edge, ...]
    seed: Sequence[int]
    increment: int = 1


def evaluate(
    problem: Problem,
    solver: Solver,
    structure: Structure,
    cores: Cores,
    capacity: Structure,
    *,
    limits: Limits,
    screening: Screening | None,
) -> Evaluated:
    """Fit `cores` and, where wanted and the target is not met, screen candidates."""
    network = TensorNetwork(capacity, pad(structure, cores, capacity))
    passes = 2 * solver.expected_passes
    work = passes * problem.loop_entries(capacity)
    sweep_flops = problem.sweep_flops(capacity)
    ran = fitted(
        problem, solver, network, limits, work=work, passes=passes, sweep_flops=sweep_flops
    )
    best, best_error, steps = ran.value
    error = float(best_error)
    programs, compile_seconds = ran.programs, ran.seconds
    spent = fit_work(capacity, sweep_flops, int(steps))
    found = unpad(structure, tuple(map(np.asarray, jax.device_get(best.cores))), capacity)
    _interrupt.note(problem, Fit(structure, found, error))
    _interrupt.checkpoint()
    screened, screen_seconds = None, 0.0
    if screening is not None and error > limits.target_error:
        edges, seed, increment = screening.edges, screening.seed, screening.increment
        starts = draw_slices(structure, capacity, edges, problem.dtype, seed, increment=increment)
        looked_at = problem.sketch(capacity.num_params)
        args = (looked_at, screening.screen, best, starts)
        batch_size = screen_batch_size(looked_at, capacity, len(edges))
        work = passes * looked_at.loop_entries(capacity)
        begin = time.perf_counter()
        ran = _compile.run(screen_program, (edges, batch_size), args, work=work, passes=passes)
        screened = jax.device_get(ran.value)
        screen_seconds = time.perf_counter() - begin - ran.seconds
        programs += ran.programs
        compile_seconds += ran.seconds
        spent += screen_work(sweep_flops, len(edges))
    return Evaluated(
        found,
        error,
        screened,
        programs,
        compile_seconds,
        screen_seconds,
        spent,
    )


def screen_program(
    edges: tuple[Edge, ...],
    batch_size: int,
    problem: Problem,
    screen: Screen,
    network: TensorNetwork,
    starts: tuple[Array, ...],
) -> Screened:
    """All edges, as a function for `_compile.run`; the static arguments come first."""
    return screen(problem, network, edges, starts, batch_size=batch_size)


def screen_batch_size(problem: Problem, structure: Structure, num_edges: int) -> int:
    """Candidates that fit into the screen's share of memory at once."""
    return max(1, min(num_edges, EVALUATION().screen_bytes // problem.fit_peak_bytes(structure)))
