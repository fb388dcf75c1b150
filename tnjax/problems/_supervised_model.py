"""What a search for a function of features found, as a function."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._network import TensorNetwork
from ..contract.designs import Blocks
from ..features import Columns
from . import featured
from ._losses import Loss
from ._targets import checked_features


class SupervisedModel(eqx.Module):
    """A function of features.

    Attributes:
        network: in the units of the data.
        offset: added to what the network gives, [] or [outputs].
        loss_function: whose inverse link makes expected values of predictions.
        blocks: the modes of each array of features.
        columns: the maps of a table's columns; None where features are arrays.

    Example:
        >>> import jax, numpy as np
        >>> from tnjax import Structure, Supervised, fit
        >>> x = np.linspace(-1, 1, 20)
        >>> features = [np.stack([np.ones(20), x], 1), np.stack([np.ones(20), x**2], 1)]
        >>> problem = Supervised(features, x * x**2)
        >>> train = Structure.tensor_train((2, 2), 2)
        >>> model = fit(problem, train, key=jax.random.key(0)).model
        >>> bool(np.allclose(model.predict(features), x**3, atol=1e-3))
        True
    """

    network: TensorNetwork
    offset: Float[np.ndarray, "*outputs"]
    loss_function: Loss = eqx.field(static=True)
    blocks: Blocks = eqx.field(static=True)
    columns: Columns | None = eqx.field(static=True)

    def link(self, features: Any) -> Array:
        """Predictions before the inverse link: log odds of "logistic" and "softmax", the values
        themselves of the squared loss.

        Args:
            features: arrays or a table, as they were learned from.

        Returns:
            [samples], or [samples, outputs].

        Raises:
            ValueError: for features of other shapes, or columns that the maps were not made for.
        """
        arrays = checked_features(features if self.columns is None else self.columns(features))
        dims = self.network.dims
        expected = [tuple(dims[mode] for mode in block) for block in self.blocks]
        given = [array.shape[1:] for array in arrays]
        if given != expected:
            raise ValueError(
                f"predict: expected features with shapes [samples, ...] of {expected}, got {given}."
            )
        dtype = self.network.dtype
        parts = tuple(jnp.asarray(array, dtype) for array in arrays)
        found = featured.predict_jit(self.network.structure, self.blocks, self.network.cores, parts)
        offset = jnp.asarray(self.offset, dtype)
        return found + (offset[None] if offset.ndim else offset)

    def predict(self, features: Any) -> Array:
        """Expected values: numbers, or probabilities of the classes.

        Args:
            features: arrays or a table, as they were learned from.

        Returns:
            [samples], or [samples, outputs].

        Raises:
            ValueError: as of `link`.
        """
        return self.loss_function.mean(self.link(features))
