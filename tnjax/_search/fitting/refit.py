"""Fit one structure from given cores: what strategies without screening need."""

import jax
import numpy as np

from ... import _compile, _interrupt
from ..._network import TensorNetwork
from ..._structure import Structure
from ...moves.cores import Cores, pad, unpad
from ...problems import Problem
from ...solve.limits import limits_of
from ...solve.programs import fitted
from ...solve.solver import Solver
from ..strategy import Fit, Info
from .work import fit_work


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
        problem: what to fit to.
        solver: of the cores.
        structure, cores: the start, in the units of the solvers (see `Problem.scale`).
        capacity: ranks that the program is compiled for, the structure's own by default.
        target_error: stop at or below it.
        effort: times the solver's steps.
        give_up: stop once the target is out of reach, when nothing else counts.

    Returns:
        the fit, and what it took, for a strategy to hand on.

    Example:
        >>> import jax, numpy as np
        >>> from tnjax import ALS, Decomposition, Structure, TensorNetwork
        >>> from tnjax.strategies import refit
        >>> problem = Decomposition(np.ones((3, 4)))
        >>> start = TensorNetwork.random(Structure.rank_one((3, 4)), key=jax.random.key(0))
        >>> fit, info = refit(problem, ALS(), start.structure, start.cores)
        >>> fit.error < 1e-3, info.fitted
        (True, 1)
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
    passes = round(effort * solver.expected_passes)
    sweep_flops = problem.sweep_flops(capacity)
    ran = fitted(
        problem,
        solver,
        network,
        limits,
        work=passes * problem.work,
        passes=passes,
        sweep_flops=sweep_flops,
    )
    best, error, steps = jax.device_get(ran.value)
    found = unpad(structure, tuple(map(np.asarray, best.cores)), capacity)
    fit = Fit(structure, found, float(error))
    _interrupt.note(problem, fit)
    _interrupt.checkpoint()
    work = fit_work(capacity, sweep_flops, int(steps))
    return fit, Info(None, ran.programs, ran.seconds, (fit,), work=work)


def assess(problem: Problem, structure: Structure, cores: Cores) -> tuple[Fit, Info]:
    """The error of a network as it is.

    Args:
        problem: what it is compared with.
        structure, cores: the network, in the units of the solvers.

    Returns:
        the network as a fit, and what it took.

    Example:
        >>> import numpy as np
        >>> from tnjax import Decomposition, Structure
        >>> from tnjax.strategies import assess
        >>> nothing = Structure.rank_one((3, 4))
        >>> fit, _ = assess(Decomposition(np.ones((3, 4))), nothing, (np.zeros(3), np.zeros(4)))
        >>> round(fit.error, 6)
        1.0
    """
    args = (problem, TensorNetwork(structure, [np.asarray(core, problem.dtype) for core in cores]))
    ran = _compile.run(_error, (), args, work=problem.work)
    error = float(ran.value)
    fit = Fit(structure, tuple(map(np.asarray, cores)), error)
    _interrupt.note(problem, fit)
    return fit, Info(None, ran.programs, ran.seconds, (fit,))


def _error(problem: Problem, network: TensorNetwork):
    return problem.error(network)
