"""`run`: a fit as a function of pytrees, for programs of one's own."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from .._limits import positive
from .._network import TensorNetwork, scaled
from .._status import Status
from .._structure import Structure
from .._tracing import refuse_trace, traced
from ..problems import Problem
from ._adjoint import Adjoint, ForwardOnly
from .limits import SolverLike, as_solver, check_shape, limits_of


class Solution(eqx.Module):
    """What `run` found, a pytree of arrays; under `vmap` each has the lanes in front.

    Attributes:
        network: the best network seen, in the units of the data; never worse than the start.
        error: its error (for a decomposition the unsquared relative Frobenius error).
        status_code: why the fit ended, as an integer; `status` says it in words.
        steps: steps of the solver that were made.
        history: the error after each step, shape [max_steps]; NaN after the last one.

    Example:
        >>> import jax, tnjax
        >>> problem = tnjax.Decomposition(jax.numpy.ones((3, 4)))
        >>> rank_one = tnjax.Structure.rank_one((3, 4))
        >>> start = tnjax.solve.random_start(problem, rank_one, key=jax.random.key(0))
        >>> solution = tnjax.solve.run(problem, start, max_steps=5)
        >>> bool(solution.ok), solution.history.shape
        (True, (5,))
    """

    network: TensorNetwork
    error: Float[Array, ""]
    status_code: Int[Array, ""]
    steps: Int[Array, ""]
    history: Float[Array, " max_steps"]

    @property
    def ok(self) -> Bool[Array, "..."]:
        """Whether the fit came as far as it was asked to; an array, also in a trace."""
        good = np.asarray([status.ok for status in Status])
        return jnp.asarray(good)[self.status_code]

    @property
    def status(self) -> Status:
        """Why the fit ended.

        Raises:
            ValueError: inside of a trace, or for several fits together.
        """
        refuse_trace("Solution.status", "use `status_code` or `ok`", self.status_code)
        if np.ndim(self.status_code):
            raise ValueError(
                f"Solution.status: these are fits of shape {np.shape(self.status_code)}; pick one, "
                "e.g. jax.tree.map(lambda x: x[0], solution).status, or read `status_code`."
            )
        return Status.from_code(self.status_code)


def run(
    problem: Problem,
    network: TensorNetwork,
    *,
    solver: SolverLike = None,
    target_error: float | Float[Array, ""] | None = None,
    max_steps: int | None = None,
    adjoint: Adjoint | None = None,
) -> Solution:
    """Fit the cores of a network to a problem: `fit` without its host.

    A pure function that traces under `jax.jit`, `vmap` (over tensors, masks, weights, keys and
    starts), `lax.map`, `shard_map` and, with an `adjoint`, `grad`. It compiles nothing itself,
    looks at no clock, and checks shapes only.

    `jax.shard_map` needs `check_vma=False` with `Checkpointed` and with `optax.lbfgs()`, whose
    loops do not tell what differs from device to device.

    Args:
        problem: may be made inside of the trace, e.g. `Decomposition(x)` with a traced `x`.
        network: the start, in the units of the data; see `random_start`.
        solver: as of `fit`.
        target_error: stop at or below this error; may be traced.
        max_steps: stop after so many steps of the solver; its own limit by default. A Python
            integer: it is the length of the history.
        adjoint: what derivatives in reverse mode are made by: `Checkpointed()` for those of the
            steps that were made, `Implicit()` for those of the optimum. Without it the fit stops
            as early as it can, and `jax.grad` through it is refused.

    Returns:
        The best network with its error and status: arrays, one for each lane of a `vmap`.

    Raises:
        ValueError: if shapes or dtypes differ, the solver cannot treat the problem, a limit is
            not positive, or `max_steps` is traced.

    Example:
        >>> import jax
        >>> from tnjax import Decomposition, Structure
        >>> from tnjax.solve import random_start, run
        >>> ring = Structure.tensor_ring((4, 5, 6), 2)
        >>> @jax.jit
        ... @jax.vmap
        ... def fits(tensor, key):
        ...     problem = Decomposition(tensor)
        ...     return run(problem, random_start(problem, ring, key=key))
        >>> tensors = jax.random.normal(jax.random.key(0), (3, 4, 5, 6))
        >>> solutions = fits(tensors, jax.random.split(jax.random.key(1), 3))
        >>> solutions.error.shape, solutions.network.cores[0].shape
        ((3,), (3, 4, 2, 2))
    """
    solver = as_solver(solver, problem)
    check_shape(problem, network.structure)
    if network.dtype != problem.dtype:
        raise ValueError(
            f"The start has dtype {network.dtype}, the problem {problem.dtype}; use "
            "`network.astype`."
        )
    length = solver.max_steps if max_steps is None else max_steps
    if traced(length):
        raise ValueError(
            "run: max_steps is traced, but it is the length of the history: pass a Python integer "
            "(where the solver is an argument of the program, close over it or pass max_steps)."
        )
    positive(length, "max_steps")
    if not isinstance(target_error, jax.Array):
        positive(target_error, "target_error")
    length = int(length)
    limits = limits_of(solver, problem, target_error=target_error, max_steps=length)
    adjoint = ForwardOnly() if adjoint is None else adjoint
    inside = scaled(network, 1 / problem.scale)
    state = adjoint.fitted(solver, problem, inside, limits, length)
    finite = jnp.isfinite(state.best_error)
    code = jnp.where(finite, state.status, Status.NON_FINITE.code).astype(state.status.dtype)
    return Solution(
        scaled(state.best, problem.scale), state.best_error, code, state.steps, state.history
    )


def random_start(problem: Problem, structure: Structure, *, key: PRNGKeyArray) -> TensorNetwork:
    """A random start for `run`, in the units of the data: what `fit` draws for this key.

    Args:
        problem: may be traced, as may the key.
        structure: of the problem's shape.
        key: `jax.random.key(seed)`.

    Returns:
        cores of the problem's dtype; those of a `Completion` have the data's size and, outside
        of a trace, start from what pairs of entries tell.

    Raises:
        ValueError: if the shapes differ.

    Example:
        >>> import jax, numpy as np
        >>> from tnjax import Decomposition, Structure
        >>> from tnjax.solve import random_start
        >>> problem = Decomposition(np.ones((4, 5)))
        >>> train = Structure.tensor_train((4, 5), 2)
        >>> random_start(problem, train, key=jax.random.key(0)).structure == train
        True
    """
    check_shape(problem, structure)
    (network,) = random_starts(problem, structure, key, 1)
    return scaled(network, problem.scale)


def random_starts(
    problem: Problem, structure: Structure, key: PRNGKeyArray, count: int
) -> list[TensorNetwork]:
    """So many starts, in the units of the solvers."""
    draw = lambda key: TensorNetwork.random(structure, key=key, dtype=problem.dtype)
    return [problem.prepared(draw(key)) for key in jax.random.split(key, count)]
