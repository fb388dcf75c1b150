"""Gradient steps on random batches of sampled entries."""

import dataclasses
from typing import Any

import equinox as eqx
import jax
import optax
from jax import lax

from .._network import TensorNetwork
from .._tuned import tuned
from ..problems import Completion, Problem
from .real import from_real, to_real
from .solver import Solver


@dataclasses.dataclass(frozen=True)
class MinibatchCosts:
    """Steps on batches of entries.

    Attributes:
        expected_passes: passes over the prediction that a fit is forecast to make: decides how to
            compile.
    """

    expected_passes: int = 100


MINIBATCH = tuned("minibatch", MinibatchCosts())


class Minibatch(Solver):
    """Updates by an optax transformation, each on a few entries of a `Completion`.

    The entries stay on the device; every update draws its own, with replacement. For data that
    do not fit there, see `fit_stream`.

    Args:
        transformation: e.g. `optax.adam(1e-2)`. Pass the same object again to reuse programs.
        batch_size: entries in one update.
        updates: updates in one step, after which the error is looked at.
        max_steps: steps at the most.
        rtol, patience: end after `patience` steps that each lower the best error by less than
            the fraction `rtol`.
        seed: of the draws.

    Raises:
        ValueError: if `batch_size` or `updates` is not positive.

    Example:
        >>> import optax
        >>> from tnjax import Minibatch
        >>> Minibatch(optax.adam(1e-2), batch_size=256).updates
        100
    """

    transformation: Any = eqx.field(static=True)
    batch_size: int = eqx.field(static=True)
    updates: int = eqx.field(static=True)
    max_steps: int
    rtol: float
    patience: int
    seed: int

    def __init__(
        self,
        transformation: optax.GradientTransformation,
        batch_size: int = 1024,
        updates: int = 100,
        max_steps: int = 200,
        rtol: float = 1e-4,
        patience: int = 10,
        seed: int = 0,
    ):
        if batch_size < 1 or updates < 1:
            raise ValueError(
                f"Minibatch: batch_size and updates must be positive, got {batch_size} and "
                f"{updates}."
            )
        self.transformation = transformation
        self.batch_size = int(batch_size)
        self.updates = int(updates)
        self.max_steps = max_steps
        self.rtol = rtol
        self.patience = patience
        self.seed = seed

    def check(self, problem: Problem) -> None:
        if not isinstance(problem, Completion):
            raise ValueError(
                f"Minibatch needs a Completion, got {type(problem).__name__}; use Optax for it."
            )

    def init(self, problem: Problem, network: TensorNetwork):
        optimizer = optax.with_extra_args_support(self.transformation)
        return optimizer.init(to_real(network)), jax.random.key(self.seed)

    def step(self, problem: Completion, network: TensorNetwork, state):
        inner, key = state
        count = problem.training.count

        def update(_, carry):
            cores, inner, key = carry
            key, now = jax.random.split(key)
            ids = jax.random.randint(now, (self.batch_size,), 0, count)
            cores, inner = batch_update(
                self.transformation, problem, network.structure, cores, inner, ids
            )
            return cores, inner, key

        start = (to_real(network), inner, key)
        cores, inner, key = lax.fori_loop(0, self.updates, update, start)
        return from_real(network.structure, network.dtype)(cores), (inner, key)

    @property
    def expected_passes(self) -> int:
        return MINIBATCH().expected_passes


def batch_update(transformation, problem: Completion, structure, cores, state, ids):
    """One update on the entries with these numbers; the gradient is an unbiased estimate."""
    rebuild = from_real(structure, problem.dtype)
    optimizer = optax.with_extra_args_support(transformation)
    loss = lambda cores: problem.batch_loss(rebuild(cores), ids)
    value, gradient = jax.value_and_grad(loss)(cores)
    change, state = optimizer.update(
        gradient, state, cores, value=value, grad=gradient, value_fn=loss
    )
    updated: Any = optax.apply_updates(cores, change)
    network = rebuild(updated)
    return to_real(problem.feasible(network)), state
