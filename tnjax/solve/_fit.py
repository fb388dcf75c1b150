"""`fit`: the best cores for one structure."""

import dataclasses
import math
import time
from typing import Any, Unpack

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray

from .. import _compile, _interrupt, _mesh
from .._failed import thrown
from .._limits import FitLimits, Limits, limits_from, positive
from .._network import TensorNetwork, scaled
from .._processes import agree
from .._status import Status
from .._structure import Structure
from .._tracing import new_array, refuse_trace
from .._tuned import tuned
from ..contract.cost import check_fit_memory
from ..problems import Problem
from ._run import random_starts
from .limits import SolverLike, as_solver, check_shape, limits_of
from .solver import FitState, Solver, drive, start
from .solver import Limits as SolverLimits


@dataclasses.dataclass(frozen=True)
class Fit:
    """The host loop of a fit.

    Attributes:
        chunk: steps between two looks at the clock.
        history: errors that a fit has room for at least. More come in powers of two, so that one
            program serves many limits.
        passes: steps up to which a fit is forecast to go on: decides how to compile.
    """

    chunk: int = 10
    history: int = 64
    passes: int = 100


FIT = tuned("fit", Fit())


@dataclasses.dataclass(frozen=True)
class FitResult:
    """What `fit` found.

    Attributes:
        network: the best network seen; never worse than the start.
        error: its error (for a decomposition the unsquared relative Frobenius error).
        status: why the fit ended.
        steps: steps of the solver that were made.
        history: error after each step, shape [steps].
        seconds, compile_seconds: wall time in all, and the part of it spent compiling.
        model: what the network means for the problem: a `SupervisedModel`, for instance. None where
            the network says it all.

    Example:
        >>> import jax, tnjax
        >>> problem = tnjax.Decomposition(jax.numpy.ones((3, 4)))
        >>> found = tnjax.fit(problem, tnjax.Structure.rank_one((3, 4)), key=jax.random.key(0))
        >>> found.error < 1e-3, found.structure.num_params, found.history.shape == (found.steps,)
        (True, 7, True)
    """

    network: TensorNetwork
    error: float
    status: Status
    steps: int
    history: np.ndarray
    seconds: float
    compile_seconds: float
    model: Any = None

    @property
    def structure(self) -> Structure:
        """The structure of `network`."""
        return self.network.structure

    def __repr__(self) -> str:
        return (
            f"FitResult(error={self.error:.3g}, {self.structure!r}, steps={self.steps}, "
            f"status={self.status.value}, seconds={self.seconds:.3g})"
        )


def fit(
    problem: Problem,
    structure_or_network: Structure | TensorNetwork,
    *,
    key: PRNGKeyArray | None = None,
    solver: SolverLike = None,
    num_starts: int = 1,
    limits: Limits | None = None,
    throw: bool = False,
    **plain_limits: Unpack[FitLimits],
) -> FitResult:
    """Fit the cores of one structure to a problem.

    Args:
        problem: a `Decomposition`, an `Objective`, or any other `Problem`.
        structure_or_network: a structure to start at random cores, or a network to improve.
        key: for random starts; required with a structure.
        solver: `ALS()` (default for least squares), `GaussNewton()`, or any optax
            transformation, for example `optax.adam(1e-2)` or `optax.lbfgs()` (default otherwise).
        num_starts: so many random starts run together under `vmap`; the best one is returned.
        limits: when to end, in one value. Its fields are keywords here as well, and mostly given
            so: `target_error`, `max_steps` (of the solver, its own limit by default),
            `max_seconds` (looked at every few steps), and `memory_limit`; see `Limits`.
        throw: raise `Failed` where the status of the result is a failure.
        plain_limits: see `limits`.

    Returns:
        The best network seen, in the units of the data, its error, why the fit ended, and its
        history.

    Raises:
        ValueError: if shapes differ, the solver cannot treat the problem, a limit is not
            positive, a key or start is missing, or it is called inside of a trace (where
            `tnjax.solve.run` is the one to call).
        MemoryLimitError: (a `ValueError`) before anything is allocated.
        Failed: with `throw` only.

    Example:
        >>> import jax, numpy as np
        >>> from tnjax import Decomposition, Structure, fit
        >>> problem = Decomposition(np.random.default_rng(0).standard_normal((4, 5, 6)))
        >>> result = fit(problem, Structure.tensor_train((4, 5, 6), (4, 6)), key=jax.random.key(0))
        >>> result.error < 1e-3
        True
    """
    begin = time.perf_counter()
    refuse_trace(
        "fit",
        "use tnjax.solve.run, which can be traced",
        (problem, structure_or_network, key, dict(plain_limits), new_array()),
    )
    solver = as_solver(solver, problem)
    asked = limits_from("fit", limits, dict(plain_limits), FitLimits)
    positive(num_starts, "fit: num_starts")
    structure = structure_or_network
    if isinstance(structure, TensorNetwork):
        structure = structure.structure
    devices = _mesh.size(problem.mesh, _mesh.CANDIDATES)
    limit = asked.memory_limit
    limit = None if limit is None else limit // -(-num_starts // devices)
    check_fit_memory(structure, problem.fit_peak_bytes, limit)
    networks = _starts(problem, structure_or_network, key, num_starts)
    lanes = _mesh.rounded_up(num_starts, devices)
    networks = _mesh.filled_up(networks, lanes)
    chosen = dataclasses.replace(
        asked, max_steps=solver.max_steps if asked.max_steps is None else int(asked.max_steps)
    )
    result = _fitted(problem, solver, networks, num_starts, chosen, begin)
    result = dataclasses.replace(result, model=problem.model(result.network))
    return thrown("fit", result, throw)


def _fitted(
    problem: Problem,
    solver: Solver,
    networks: TensorNetwork,
    num_starts: int,
    limits: Limits,
    begin: float,
) -> FitResult:
    """From several starts; the best of all. The clock is read between pieces of the loop."""
    max_steps, max_seconds = limits.max_steps, limits.max_seconds
    assert max_steps is not None
    looks = max_seconds is not None or _interrupt.watched()
    chunk = FIT().chunk if looks else max_steps
    passes = min(max_steps, FIT().passes)
    work = problem.work * passes * num_starts

    size = max(FIT().history, 1 << (max_steps - 1).bit_length())
    first = _compile.run(_start, (size,), (solver, problem, networks), work=work)
    states, compile_seconds, done = first.value, first.seconds, 0
    while True:
        done = min(done + chunk, max_steps)
        now = limits_of(solver, problem, target_error=limits.target_error, max_steps=done)
        args = (solver, problem, states, now)
        ran = _compile.run(_drive, (), args, work=work, passes=passes, partial=True)
        states, compile_seconds = ran.value, compile_seconds + ran.seconds
        statuses = np.asarray(states.status)
        if done >= max_steps or not (statuses == Status.MAX_STEPS.code).any():
            break
        if (statuses == Status.TARGET_REACHED.code).any():
            break
        stopped = _interrupt.pending()
        if stopped is not None:
            statuses = np.full_like(statuses, stopped.code)
            break
        if max_seconds is None:
            continue
        over, _ = agree(problem.mesh, time.perf_counter() - begin > max_seconds, False)
        if over:
            statuses = np.full_like(statuses, Status.MAX_SECONDS.code)
            break
    states = jax.device_get(states)
    best = int(np.argmin(states.best_error))
    state: FitState = jax.tree.map(lambda leaf: leaf[best], states)
    steps = int(state.steps)
    error = float(state.best_error)
    return FitResult(
        scaled(state.best, problem.scale),
        error,
        Status.from_code(statuses[best]) if math.isfinite(error) else Status.NON_FINITE,
        steps,
        np.asarray(state.history[:steps]),
        time.perf_counter() - begin,
        compile_seconds,
    )


def _starts(
    problem: Problem,
    given: Structure | TensorNetwork,
    key: PRNGKeyArray | None,
    count: int,
) -> TensorNetwork:
    """The starts, stacked along a leading axis."""
    if isinstance(given, TensorNetwork):
        check_shape(problem, given.structure)
        if count != 1:
            raise ValueError("num_starts > 1 draws random starts: pass a structure, not a network.")
        if given.dtype != problem.dtype:
            raise ValueError(
                f"The start has dtype {given.dtype}, the problem {problem.dtype}; use "
                "`network.astype`."
            )
        scaled_start = scaled(given, 1 / problem.scale)
        return jax.tree.map(lambda leaf: np.asarray(leaf)[None], scaled_start)
    check_shape(problem, given)
    if key is None:
        raise ValueError("fit needs `key=jax.random.key(seed)` to draw its start.")
    networks = random_starts(problem, given, key, count)
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *networks)


def _start(
    history_size: int, solver: Solver, problem: Problem, networks: TensorNetwork
) -> FitState:
    one = lambda network: start(solver, problem, network, history_size)
    return _mesh.vmapped(one, problem.mesh)(networks)


def _drive(solver: Solver, problem: Problem, states: FitState, limits: SolverLimits) -> FitState:
    return _mesh.vmapped(lambda state: drive(solver, problem, state, limits), problem.mesh)(states)
