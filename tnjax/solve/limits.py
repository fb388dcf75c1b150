"""What a call asks of a solver: which one, when to stop, and shapes that fit."""

import functools

import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from .._structure import Structure
from .._tracing import traced
from ..problems import Problem
from ._als import ALS
from ._em import EM
from .gradients import Optax
from .solver import Limits, Solver

SolverLike = Solver | optax.GradientTransformation | None


def as_solver(solver: SolverLike, problem: Problem) -> Solver:
    """The solver meant by what a user passes: a `Solver`, an optax transformation, or None.

    Args:
        solver: what was passed.
        problem: what it shall solve.

    Returns:
        the solver. For None that is `ALS` where the loss is a sum of squares, `EM` for the
        likelihood of a network without negative entries, else L-BFGS.

    Raises:
        ValueError: if it is none of these, or cannot treat the problem.

    Example:
        >>> import numpy as np
        >>> from tnjax import Decomposition
        >>> from tnjax.solve import as_solver
        >>> type(as_solver(None, Decomposition(np.ones((2, 3))))).__name__
        'ALS'
    """
    if solver is None and problem.likelihood_rows is not None:
        solver = EM()
    elif solver is None:
        solver = ALS() if problem.least_squares is not None else Optax(_lbfgs())
    elif isinstance(solver, optax.GradientTransformation):
        solver = Optax(solver)
    if not isinstance(solver, Solver):
        raise ValueError(
            f"solver: expected ALS(), GaussNewton(), an optax transformation or None, got "
            f"{solver!r}."
        )
    solver.check(problem)
    return solver


@functools.cache
def _lbfgs() -> optax.GradientTransformation:
    """One object for all fits: programs are known by the functions in it."""
    return optax.lbfgs()


def limits_of(
    solver: Solver,
    problem: Problem,
    *,
    target_error: float | Float[Array, ""] | None,
    max_steps: int,
    give_up: bool = False,
) -> Limits:
    """A solver's own limits with those of a call, in the dtypes that programs expect."""
    real = jnp.finfo(problem.dtype).dtype
    target = -np.inf if target_error is None else target_error
    number = lambda x, dtype: (jnp if traced(x) else np).asarray(x, dtype)
    limit = number(target, real)
    if not traced(target) and limit > target:  # rounded up: what meets it may miss the target
        limit = np.asarray(np.nextafter(limit, np.asarray(-np.inf, real)), real)
    return Limits(
        limit,
        number(max_steps, np.int32),
        number(solver.rtol, real),
        number(solver.patience + problem.patience, np.int32),
        np.asarray(give_up),
    )


def check_shape(problem: Problem, structure: Structure) -> None:
    """Raise `ValueError` unless the structure represents tensors of the problem's shape."""
    if tuple(problem.shape) != structure.dims:
        raise ValueError(
            f"The problem has the shape {tuple(problem.shape)}, but the structure represents "
            f"tensors of shape {structure.dims}."
        )
