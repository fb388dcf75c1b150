"""One fit, or several of one shape, as programs.

A fit is one program. Where it may be stopped and is forecast to take long, it is two: one for its
start and one for some steps at a time. The loops are the same, and so are the bits.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import _compile, _interrupt, _mesh
from .._network import TensorNetwork
from .._status import Status
from .._tuned import tuned
from ..problems import Problem
from .solver import FitState, Limits, Solver, drive, start


@dataclasses.dataclass(frozen=True)
class Looks:
    """How often a running fit is looked at.

    Attributes:
        chunk_flops: flops between two looks whether to stop: about half a second of a core that
            does not compute anything else.
        whole_flops: flops of a fit that is not looked at in between.
    """

    chunk_flops: float = 1e9
    whole_flops: float = 2e9


LOOKS = tuned("looks", Looks())


def fitted(
    problem: Problem,
    solver: Solver,
    network: TensorNetwork,
    limits: Limits,
    *,
    work: int,
    passes: int,
    sweep_flops: float,
) -> _compile.Ran:
    """Fit a network.

    Args:
        work, passes: as of `_compile.run`.
        sweep_flops: of one step.

    Returns:
        (the best network, its error, the steps made); where it was stopped, the result of the steps
        until then.
    """
    loop = Loop(_whole, _begin, _advance, running=_running)
    return run_loop(
        loop,
        (problem, solver),
        network,
        limits,
        work=work,
        passes=passes,
        step_flops=sweep_flops,
    )


def fitted_together(
    permuted: bool,
    problem: Problem,
    solver: Solver,
    networks: TensorNetwork,
    limits: Limits,
    *,
    work: int,
    passes: int,
    sweep_flops: float,
) -> _compile.Ran:
    """Fit networks along a leading axis, which the problem has as well if it is `permuted`; see
    `fitted`."""
    loop = Loop(_whole_batch, _begin_batch, _advance_batch, running=_running, static=(permuted,))
    return run_loop(
        loop,
        (problem, solver),
        networks,
        limits,
        work=work,
        passes=passes,
        step_flops=sweep_flops,
    )


def _running(state: FitState) -> bool:
    """Whether a fit goes on, or one of several."""
    return bool((np.asarray(state.status) == Status.RUNNING.code).any())


@dataclasses.dataclass(frozen=True)
class Loop:
    """A loop of steps as three programs, each with `static` and the shared arguments first.

    Attributes:
        whole: (first, limits) to (the best, its error, the steps made).
        begin: first to the state before the first step, which has these three, too.
        advance: (state, limits, pause) to the state after some steps.
        running: whether a state is not the last one.
        static: arguments that a program is compiled for.
        chunk: steps that are made together in any case.
    """

    whole: Callable[..., Any]
    begin: Callable[..., Any]
    advance: Callable[..., Any]
    running: Callable[[Any], bool]
    static: tuple[Any, ...] = ()
    chunk: int = 1


def run_loop(
    loop: Loop,
    shared: tuple[Any, ...],
    first: Any,
    limits: Limits,
    *,
    work: int,
    passes: int,
    step_flops: float,
) -> _compile.Ran:
    """A loop of steps, as one program or by and by.

    Args:
        loop: its programs.
        shared, first, limits: their arguments.
        work, passes: of the whole, as of `_compile.run`.
        step_flops: of a step.

    Returns:
        the result; where it was stopped, the result of the steps until then.
    """
    whole, static, most = loop.whole, loop.static, int(limits.max_steps)
    args = (*shared, first, limits)
    if not _interrupt.watched() or most * step_flops <= LOOKS().whole_flops:
        return _compile.run(whole, static, args, work=work, passes=passes, partial=True)
    made = _compile.interpreted(whole, static, args, work=work, passes=passes)
    if made is not None:
        ran = _compile.run(whole, static, args, work=work, passes=passes, partial=True)
        return ran._replace(
            programs=made.programs + ran.programs, seconds=made.seconds + ran.seconds
        )
    ran = _compile.run(loop.begin, static, (*shared, first), work=work, passes=None, partial=True)
    state, made, seconds, done = ran.value, ran.programs, ran.seconds, 0
    steps = loop.chunk * max(1, int(LOOKS().chunk_flops / (step_flops * loop.chunk)))
    while done < most and _interrupt.pending() is None:
        done = min(done + steps, most)
        args = (*shared, state, limits, np.asarray(done, np.int32))
        ran = _compile.run(loop.advance, static, args, work=work, passes=None, partial=True)
        state, made, seconds = ran.value, made + ran.programs, seconds + ran.seconds
        if not loop.running(state):
            break
    return _compile.Ran((state.best, state.best_error, state.steps), made, seconds)


def _whole(problem: Problem, solver: Solver, network: TensorNetwork, limits: Limits):
    state = drive(solver, problem, start(solver, problem, network), limits)
    return state.best, state.best_error, state.steps


def _begin(problem: Problem, solver: Solver, network: TensorNetwork) -> FitState:
    return start(solver, problem, network)


def _advance(problem: Problem, solver: Solver, state: FitState, limits: Limits, pause) -> FitState:
    return drive(solver, problem, state, limits, pause)


def _vmapped(permuted: bool, problem: Problem, function: Callable):
    return _mesh.vmapped(function, problem.mesh, (0 if permuted else None, 0))


def _whole_batch(permuted: bool, problem: Problem, solver: Solver, networks, limits: Limits):
    one = lambda problem, network: _whole(problem, solver, network, limits)
    return _vmapped(permuted, problem, one)(problem, networks)


def _begin_batch(permuted: bool, problem: Problem, solver: Solver, networks) -> FitState:
    one = lambda problem, network: start(solver, problem, network)
    return _vmapped(permuted, problem, one)(problem, networks)


def _advance_batch(permuted: bool, problem: Problem, solver: Solver, states, limits, pause):
    one = lambda problem, state: drive(solver, problem, state, limits, pause)
    return _vmapped(permuted, problem, one)(problem, states)
