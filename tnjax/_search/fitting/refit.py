"""Fit one structure from given cores: what strategies without screening need."""

import jax
import numpy as np

from ... import _compile
from ..._network import TensorNetwork
from ..._structure import Structure
from ...moves.cores import Cores, pad, unpad
from ...problems import Problem
from ...solve._fit import limits_of
from ...solve._solver import Limits, Solver, drive, start
from ..strategy import Fit, Info


def refit(
    problem: Problem,
    solver: Solver,
    structure: Structure,
    cores: Cores,
    *,
    capacity: Structure | None = None,
    target_error: float | None = None,
    effort: float = 1.0,
    give_up: bool = False,
) -> tuple[Fit, Info]:
    """The best cores from a start, and the account of it; never worse than the start.

    Args:
        capacity: ranks that the program is compiled for, the structure's own by default.
        target_error: stop at or below it.
        effort: times the solver's steps.
        give_up: stop once the target is out of reach, when nothing else counts.
    """
    capacity = structure if capacity is None else capacity
    network = TensorNetwork(capacity, pad(structure, cores, capacity))
    limits = limits_of(
        solver,
        problem,
        target_error=target_error,
        max_steps=max(1, round(effort * solver.max_steps)),
        give_up=give_up,
    )
    args = (problem, solver, network, limits)
    passes = round(effort * solver.expected_passes)
    ran = _compile.run(_run, (), args, work=passes * problem.work, passes=passes)
    best, error = jax.device_get(ran.value)
    fitted = unpad(structure, tuple(map(np.asarray, best.cores)), capacity)
    fit = Fit(structure, fitted, float(error))
    return fit, Info(None, ran.programs, ran.seconds, (fit,))


def assess(problem: Problem, structure: Structure, cores: Cores) -> tuple[Fit, Info]:
    """The error of a network as it is."""
    args = (problem, TensorNetwork(structure, [np.asarray(core, problem.dtype) for core in cores]))
    ran = _compile.run(_error, (), args, work=problem.work)
    error = float(ran.value)
    fit = Fit(structure, tuple(map(np.asarray, cores)), error)
    return fit, Info(None, ran.programs, ran.seconds, (fit,))


def _error(problem: Problem, network: TensorNetwork):
    return problem.error(network)


def _run(problem: Problem, solver: Solver, network: TensorNetwork, limits: Limits):
    state = drive(solver, problem, start(solver, problem, network), limits)
    return state.best, state.best_error
