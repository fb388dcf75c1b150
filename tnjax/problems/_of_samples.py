"""What losses of samples have in common, whatever a sample is."""

import abc
import dataclasses
from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from .. import _lean as lean
from .._network import TensorNetwork
from .._tuned import tuned
from ._base import LeastSquares
from ._losses import Loss
from .coordinates import check_ridge
from .samples import Predictions


@dataclasses.dataclass(frozen=True)
class HeldOut:
    """Problems with samples that are held out.

    Attributes:
        patience: sweeps that the held-out error may rise for: the first ones from a random start
            often do.
    """

    patience: int = 5


JUDGED = tuned("judged", HeldOut(), traced=True)


Kind = TypeVar("Kind", bound="OfSamples")


class OfSamples(LeastSquares):
    """A weighted mean of losses of samples and penalties on the cores, and a part of the samples
    that is held out, if any is.

    A subclass says what the samples are: `training` and `held_out` have `values`, `weights`,
    `base`, `unit`, `count` and `take`.
    """

    training: eqx.AbstractVar[Any]
    held_out: eqx.AbstractVar[Any]
    penalty: eqx.AbstractVar[Float[Array, ""]]
    loss_function: eqx.AbstractVar[Loss]

    @abc.abstractmethod
    def _predicted(self, network: TensorNetwork, samples: Any) -> Array:
        """What the network alone predicts, without the offsets."""

    @abc.abstractmethod
    def stream(self, inputs: Any, values: Any) -> Any:
        """Further samples that stay on disk, for `chunk`, which takes some rows of them.

        Args:
            inputs: of the samples, as the problem was given them.
            values: one for each sample.

        Returns:
            the inputs as a pytree of arrays [samples, ...], memory-mapped as they were given.

        Raises:
            ValueError: for another number of inputs than of values, no sample, or a problem whose
                samples cannot be read in parts.
        """

    @abc.abstractmethod
    def chunk(self, inputs: Any, values: Any) -> tuple[Any, Array]:
        """Further samples, for `of_chunk`: checked, in the units of the solvers.

        Args:
            inputs: of `stream`, or some rows of them.
            values: one for each of these samples.

        Raises:
            ValueError: for inputs and values that do not fit the problem.
        """

    @abc.abstractmethod
    def of_chunk(self: Kind, inputs: Any, values: Array) -> Kind:
        """The same loss of other samples, of equal weight.

        Args:
            inputs: of `chunk`, or some rows of them.
            values: of `chunk`, or some rows of them.
        """

    @property
    def quadratic(self) -> bool:
        return self.loss_function.quadratic

    @property
    def num_samples(self) -> int:
        return self.training.count

    @property
    def resolution(self) -> float:
        return float(jnp.finfo(self.dtype).eps)

    @property
    def patience(self) -> int:
        return 0 if self.held_out is None else JUDGED().patience

    def loss(self, network: TensorNetwork) -> Array:
        return self._mean_loss(self.training, self._at(network, self.training)) + self.penalties(
            network
        )

    def error(self, network: TensorNetwork) -> Array:
        samples = self.training if self.held_out is None else self.held_out
        return self._error(samples, self._at(network, samples))

    def training_error(self, network: TensorNetwork) -> Array:
        """`error` over the samples of training, whatever is held out."""
        return self._error(self.training, self._at(network, self.training))

    def loss_of_error(self, error: float) -> float:
        samples = self.training if self.held_out is None else self.held_out
        return (error / float(samples.unit)) ** 2 if self.loss_function.quadratic else error

    def batch_loss(self, network: TensorNetwork, ids: Int[Array, " batch"]) -> Array:
        """The loss over some samples of training, an unbiased estimate where they are drawn from
        all with equal chances."""
        part = self.training.take(ids)
        return self._mean_loss(part, self._at(network, part)) + self.penalties(network)

    def linearize(self, network: TensorNetwork) -> Predictions:
        held = None if self.held_out is None else self._at(network, self.held_out)
        return Predictions(self._at(network, self.training), held)

    def shifted(self, point: Predictions, delta: TensorNetwork) -> Predictions:
        held = point.held_out
        if self.held_out is not None and held is not None:
            held = held + self._predicted(delta, self.held_out)
        return Predictions(point.training + self._predicted(delta, self.training), held)

    def perturbed_loss(self, point: Predictions, delta: TensorNetwork) -> Array:
        added = self._predicted(delta, self.training)
        return self._mean_loss(self.training, point.training + added)

    @property
    def judges(self) -> bool:
        return self.held_out is not None or not self.loss_function.quadratic

    def judged(self, point: Predictions, delta: TensorNetwork) -> Array:
        """By how much `delta` lowers the loss of all samples together, where it lowers the loss of
        the held-out ones; else the fall of the held-out loss, which is not positive.

        The held-out samples alone would be few to compare candidates by, those of training alone
        are what the candidates were fitted to.
        """
        known = self._decrease(self.training, point.training, delta)
        if self.held_out is None or point.held_out is None:
            return known
        held = self._decrease(self.held_out, point.held_out, delta)
        share = self.held_out.count / (self.held_out.count + self.training.count)
        return jnp.where(held > 0, share * held + (1 - share) * known, held)

    def _decrease(self, samples: Any, before: Array, delta: TensorNetwork) -> Array:
        after = before + self._predicted(delta, samples)
        return self._mean_loss(samples, before) - self._mean_loss(samples, after)

    def _at(self, network: TensorNetwork, samples: Any) -> Array:
        return samples.base.astype(network.dtype) + self._predicted(network, samples)

    def _mean_loss(self, samples: Any, prediction: Array) -> Array:
        return jnp.sum(samples.weights * self.loss_function.value(prediction, samples.values))

    def _error(self, samples: Any, prediction: Array) -> Array:
        loss = self._mean_loss(samples, prediction)
        return samples.unit * jnp.sqrt(loss) if self.loss_function.quadratic else loss

    def perturbed(self: Kind, noise: Any, *, key: PRNGKeyArray) -> Kind:
        values = self.training.values
        factors = 1 + noise * jax.random.uniform(key, values.shape, self.penalty.dtype, -1, 1)
        values = values * factors.astype(values.dtype)
        return eqx.tree_at(lambda problem: problem.training.values, self, values)

    def resampled(self: Kind, network: TensorNetwork, *, key: PRNGKeyArray) -> Kind:
        weights, count = jnp.asarray(self.training.weights), self.training.count
        drawn = jax.random.randint(key, (count,), 0, count)
        times = jnp.zeros_like(weights).at[drawn].add(1)
        weights = weights * times
        return eqx.tree_at(
            lambda problem: problem.training.weights, self, weights / jnp.sum(weights)
        )

    def with_ridge(self: Kind, ridge: float) -> Kind:
        """The same problem with another ridge (and the same compiled programs)."""
        check_ridge(ridge, type(self).__name__)
        penalty = jnp.asarray(ridge / self.training.count, self.penalty.dtype)
        return eqx.tree_at(lambda problem: problem.penalty, self, penalty)

    def penalties(self, network: TensorNetwork) -> Array:
        """What the loss adds to that of the samples: ridge, for one."""
        square = lambda core: lean.real(lean.inner(core, core))
        return self.penalty * jnp.sum(jnp.stack([square(core) for core in network.cores]))
