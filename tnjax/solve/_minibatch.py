"""Gradient steps on random batches of sampled entries."""

import dataclasses
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from jaxtyping import Array, PRNGKeyArray, UInt32

from .._deprecated import key_for_seed
from .._network import TensorNetwork
from .._structure import Structure
from .._tracing import traced
from .._tuned import tuned
from ..problems import Problem
from .gradients import promoting
from .real import Coordinates, from_real, to_real
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
    """Updates by an optax transformation, each on a few samples of the loss, such
    as entries of a `Completion`.

    The entries stay on the device; every update draws its own, with replacement. For data that
    do not fit there, see `fit_stream`.

    Args:
        transformation: e.g. `optax.adam(1e-2)`. Pass the same object again to reuse programs.
        batch_size: entries in one update.
        updates: updates in one step, after which the error is looked at.
        max_steps: steps at the most.
        rtol, patience: end after `patience` steps that each lower the best error by less than
            the fraction `rtol`.
        key: of the draws; `jax.random.key(0)` by default.

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
    key_data: UInt32[Array | np.ndarray, " words"]
    key_impl: str = eqx.field(static=True)

    @key_for_seed
    def __init__(
        self,
        transformation: optax.GradientTransformation,
        batch_size: int = 1024,
        updates: int = 100,
        max_steps: int = 200,
        rtol: float = 1e-4,
        patience: int = 10,
        *,
        key: PRNGKeyArray | None = None,
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
        key = jax.random.key(0) if key is None else key
        data = jax.random.key_data(key)  # as numbers, which every program takes
        self.key_data = data if traced(data) else np.asarray(data)
        self.key_impl = str(jax.random.key_impl(key))

    def check(self, problem: Problem) -> None:
        if not problem.num_samples:
            raise ValueError(
                f"Minibatch needs a loss that is a mean over samples, as of a Completion, got "
                f"{type(problem).__name__}; use Optax for it."
            )

    def init(self, problem: Problem, network: TensorNetwork) -> Any:
        optimizer = optax.with_extra_args_support(self.transformation)
        with promoting():
            return optimizer.init(to_real(network)), jax.random.wrap_key_data(
                jnp.asarray(self.key_data), impl=self.key_impl
            )

    def step(
        self, problem: Problem, network: TensorNetwork, state: Any
    ) -> tuple[TensorNetwork, Any]:
        inner, key = state
        count = problem.num_samples

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


def batch_update(
    transformation: optax.GradientTransformation,
    problem: Problem,
    structure: Structure,
    cores: Coordinates,
    state: Any,
    ids: Array,
) -> tuple[Coordinates, Any]:
    """One update on the entries with these numbers; the gradient is an unbiased estimate."""
    rebuild = from_real(structure, problem.dtype)
    optimizer = optax.with_extra_args_support(transformation)
    loss = lambda cores: problem.batch_loss(rebuild(cores), ids)
    value, gradient = jax.value_and_grad(loss)(cores)
    with promoting():
        change, state = optimizer.update(
            gradient, state, cores, value=value, grad=gradient, value_fn=loss
        )
        updated: Any = optax.apply_updates(cores, change)
    network = rebuild(updated)
    return to_real(problem.feasible(network)), state
