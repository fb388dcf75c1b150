"""The interface of solvers, and the loop that drives every one of them."""

import abc
import dataclasses
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from .._network import TensorNetwork
from .._status import Status
from .._tuned import tuned
from ..problems import Problem

SolverState = Any


@dataclasses.dataclass(frozen=True)
class Solvers:
    """Steps of any solver.

    Attributes:
        max_failures: steps that may give NaN or infinity before a fit is over.
        expected_passes: passes over the prediction that a fit is forecast to make: decides how to
            compile.
    """

    max_failures: int = 5
    expected_passes: int = 20


SOLVERS = tuned("solvers", Solvers(), traced=True)


class Solver(eqx.Module):
    """One way to improve the cores of a network of fixed structure: a pair of pure functions.

    `init(problem, network) -> state` and `step(problem, network, state) -> (network, state)`;
    `recover(state)` answers a step that gave NaN or infinity. The solver says what a step is (a
    sweep, some updates, an outer iteration); `drive` decides when to stop.

    A core that is zero on one index of a bond at every node of that bond must stay so: the
    search holds ranks at a larger capacity, filled with zeros. Every method whose step is made
    of gradients or environments has this property.

    Attributes:
        max_steps: steps at the most.
        rtol, patience: a fit ends after `patience` steps that each lower the best error by less
            than the fraction `rtol`.

    Example:
        >>> import equinox as eqx, jax, jax.numpy as jnp, tnjax
        >>> from tnjax.solve import Solver
        >>> class Descent(Solver):
        ...     max_steps: int = 200
        ...     rtol: float = 1e-6
        ...     patience: int = 5
        ...     rate: float = 0.05
        ...     def init(self, problem, network):
        ...         return ()
        ...     def step(self, problem, network, state):
        ...         slope = jax.grad(problem.loss)(network)
        ...         return jax.tree.map(lambda x, g: x - self.rate * g, network, slope), state
        >>> rank_one = tnjax.Structure.rank_one((3, 4))
        >>> problem = tnjax.Decomposition(jnp.ones((3, 4)))
        >>> tnjax.fit(problem, rank_one, key=jax.random.key(0), solver=Descent()).error < 0.1
        True
    """

    max_steps: eqx.AbstractVar[int]
    rtol: eqx.AbstractVar[float]
    patience: eqx.AbstractVar[int]

    @abc.abstractmethod
    def init(self, problem: Problem, network: TensorNetwork) -> SolverState:
        """The state before the first step; a pytree."""

    @abc.abstractmethod
    def step(
        self, problem: Problem, network: TensorNetwork, state: SolverState
    ) -> tuple[TensorNetwork, SolverState]:
        """The network after one step, and the next state."""

    def recover(self, state: SolverState) -> SolverState:
        """The state after a step that gave NaN or infinity and was taken back."""
        return state

    @property
    def expected_passes(self) -> int:
        """Passes over the prediction that a fit is expected to make: decides how to compile."""
        return SOLVERS().expected_passes

    def check(self, problem: Problem) -> None:
        """Raise `ValueError` if the solver cannot treat this problem."""


class Limits(eqx.Module):
    """When to stop; traced, so that one program serves every limit.

    Attributes:
        target_error: stop at or below it.
        max_steps: steps at the most.
        rtol: stop after `patience` steps that each lowered the best error by less than this
            fraction of itself.
        patience: see `rtol`.
        give_up: whether to stop as stagnated once the target is out of reach even if every step
            that is left lowered the error as much as the last one did. For trials whose outcome
            is of no use unless the target is met.
    """

    target_error: Float[Array | np.ndarray, ""]
    max_steps: Int[Array | np.ndarray, ""]
    rtol: Float[Array | np.ndarray, ""]
    patience: Int[Array | np.ndarray, ""]
    give_up: Bool[Array | np.ndarray, ""]


class FitState(eqx.Module):
    """What a fit carries from step to step; `best` is never worse than the start."""

    network: TensorNetwork
    solver: SolverState
    best: TensorNetwork
    best_error: Float[Array, ""]
    last_gain: Float[Array, ""]
    idle: Int[Array, ""]
    failures: Int[Array, ""]
    steps: Int[Array, ""]
    status: Int[Array, ""]
    history: Float[Array, " steps"]


def start(
    solver: Solver, problem: Problem, network: TensorNetwork, history_size: int = 0
) -> FitState:
    """The state before the first step. `history_size` errors will be recorded."""
    network = problem.feasible(network)
    error = problem.error(network)
    zero = jnp.zeros((), jnp.int32)
    return FitState(
        network,
        solver.init(problem, network),
        network,
        jnp.where(jnp.isfinite(error), error, jnp.inf),
        jnp.full_like(error, jnp.inf),
        zero,
        zero,
        zero,
        zero,
        jnp.full((history_size,), jnp.nan, error.dtype),
    )


def drive(
    solver: Solver,
    problem: Problem,
    state: FitState,
    limits: Limits,
    pause: Int[Array | np.ndarray, ""] | None = None,
) -> FitState:
    """Step until the target is met, nothing improves, or the steps are used: one `while_loop`.

    The loop also ends once `pause` steps are made, with the status `RUNNING`. To go on from there
    gives what one loop gives.
    """
    running = Status.RUNNING.code

    def body(state: FitState) -> FitState:
        new, error = advanced(solver, problem, state, limits)
        if not state.history.size:
            return new
        history = state.history.at[state.steps].set(error, mode="drop")
        return eqx.tree_at(lambda s: s.history, new, history)

    def going(state: FitState) -> Array:
        on = ended(state, limits) == running
        return on if pause is None else on & (state.steps < pause)

    state = lax.while_loop(going, body, state)
    return eqx.tree_at(lambda s: s.status, state, ended(state, limits).astype(state.status.dtype))


def advanced(
    solver: Solver, problem: Problem, state: FitState, limits: Limits
) -> tuple[FitState, Float[Array, ""]]:
    """One step, and the error after it. A step that gave NaN or infinity is taken back."""
    network, inner = solver.step(problem, state.network, state.solver)
    error = problem.error(network)
    finite = jnp.isfinite(error) & _all_finite(network)
    better = finite & (error < state.best_error)
    enough = finite & (error < state.best_error * (1 - limits.rtol))
    new = FitState(
        _select(finite, network, state.best),
        _select(finite, inner, solver.recover(state.solver)),
        _select(better, network, state.best),
        jnp.where(better, error, state.best_error),
        jnp.where(finite, state.best_error - error, state.last_gain),
        jnp.where(enough, 0, state.idle + finite.astype(jnp.int32)),
        state.failures + (~finite).astype(jnp.int32),
        state.steps + 1,
        state.status,
        state.history,
    )
    return new, jnp.where(finite, error, state.best_error)


def ended(state: FitState, limits: Limits) -> Int[Array, ""]:
    """The code of the status: why the fit is at its end, or that it is running."""
    left = jnp.maximum(limits.max_steps - state.steps, 0)
    missing = state.best_error - limits.target_error
    reach = state.last_gain * left.astype(state.last_gain.dtype)
    hopeless = limits.give_up & (reach < missing) & (state.steps > 2)
    cases = [
        (state.best_error <= limits.target_error, Status.TARGET_REACHED),
        (state.failures >= SOLVERS().max_failures, Status.NON_FINITE),
        ((state.idle >= limits.patience) | hopeless, Status.STAGNATED),
        (state.steps >= limits.max_steps, Status.MAX_STEPS),
    ]
    return jnp.select([c for c, _ in cases], [s.code for _, s in cases], Status.RUNNING.code)


def _all_finite(network: TensorNetwork) -> Array:
    return jnp.all(jnp.stack([jnp.isfinite(core).all() for core in network.cores]))


def _select(condition: Array, yes, no):
    return jax.tree.map(lambda a, b: lax.select(condition, a, b), yes, no)
