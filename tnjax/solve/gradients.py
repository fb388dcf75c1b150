"""Any optax transformation as a solver."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import equinox as eqx
import jax
import optax
from jax import lax
from jax.typing import ArrayLike

from .._network import TensorNetwork
from ..problems import Problem
from .real import from_real, to_real
from .solver import Solver


class Optax(Solver):
    """Gradient steps by an optax transformation, `optax.lbfgs()` included.

    One step of the driver is `updates` updates, after which the error is looked at. Networks
    with complex cores are optimized in their real and imaginary parts.

    Args:
        transformation: e.g. `optax.adam(1e-2)`. Pass the same object again to reuse programs.
        max_steps: steps at the most, each of `updates` updates.
        rtol, patience: end after `patience` steps that each lower the best error by less than
            the fraction `rtol`.
        updates: updates in one step.

    Example:
        >>> import optax
        >>> from tnjax import Optax
        >>> Optax(optax.adam(1e-2), updates=50).max_steps
        200
    """

    transformation: Any = eqx.field(static=True)
    max_steps: int
    rtol: float
    patience: int
    updates: int

    def __init__(
        self,
        transformation: optax.GradientTransformation,
        max_steps: int = 200,
        rtol: float = 1e-4,
        patience: int = 5,
        updates: int = 10,
    ):
        self.transformation = transformation
        self.max_steps = max_steps
        self.rtol = rtol
        self.patience = patience
        self.updates = updates

    def init(self, problem: Problem, network: TensorNetwork) -> Any:
        with promoting():
            return optax.with_extra_args_support(self.transformation).init(to_real(network))

    def step(
        self, problem: Problem, network: TensorNetwork, state: Any
    ) -> tuple[TensorNetwork, Any]:
        rebuild = from_real(network.structure, network.dtype)
        loss = lambda x: problem.loss(rebuild(x))
        project = (lambda x: problem.feasible(rebuild(x)).cores) if problem.nonnegative else None
        x, state = descend(
            self.transformation, loss, to_real(network), state, self.updates, project
        )
        return rebuild(x), state


@contextlib.contextmanager
def promoting() -> Iterator[None]:
    """JAX's usual promotion of dtypes and ranks, which optax counts on, whatever the user has set
    for his own code."""
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


def descend(
    transformation: optax.GradientTransformation,
    loss: Callable[[Any], Any],
    x: Any,
    state: Any,
    count: ArrayLike,
    project: Callable[[Any], Any] | None = None,
) -> tuple[Any, Any]:
    """`count` updates of `x` by an optax transformation, line searches included; `project` brings
    each one back to what is allowed."""
    optimizer = optax.with_extra_args_support(transformation)

    def update(_, carry):
        x, state = carry
        value, gradient = jax.value_and_grad(loss)(x)
        with promoting():
            change, state = optimizer.update(
                gradient, state, x, value=value, grad=gradient, value_fn=loss
            )
            x = optax.apply_updates(x, change)
        return x if project is None else project(x), state

    return lax.fori_loop(0, count, update, (x, state))
