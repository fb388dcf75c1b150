"""A learned distribution of the rows of a table."""

from collections.abc import Mapping
from typing import Any, Literal

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Float, PRNGKeyArray

from ..features import Codebook
from ._density_model import DensityModel


class TableDensity(eqx.Module):
    """A distribution of rows: a `DensityModel` of their codes.

    Attributes:
        model: of the codes.
        codes: of the columns.

    Example:
        >>> import jax, numpy as np
        >>> from tnjax import Density, search
        >>> from tnjax.features import Codebook
        >>> from tnjax.problems import TableDensity
        >>> rng = np.random.default_rng(0)
        >>> x = rng.normal(size=400)
        >>> table = {"x": x, "sign": np.where(x > 0, "plus", "minus")}
        >>> codes = Codebook.fit(table)
        >>> density = Density(codes.encode(table), codes.dims)
        >>> result = search(density, key=jax.random.key(0), max_steps=1)
        >>> model = TableDensity(result.model, codes)
        >>> model.filled({"x": np.asarray([1.0]), "sign": np.asarray([None])})["sign"].tolist()
        ['plus']
    """

    model: DensityModel
    codes: Codebook = eqx.field(static=True)

    def log_prob(
        self, table: Mapping[str, Any], *, unseen: Literal["refuse", "missing"] = "refuse"
    ) -> Float[np.ndarray, " rows"]:
        """The log-density of rows, in nats: a probability of the categories times the densities of
        numbers within their bins; of what is known of a row, where values are missing.

        Args:
            table: columns by name.
            unseen: whether a category that was not seen in n rows of training is refused, or taken
                for one of probability 1 / (n + 1).

        Raises:
            ValueError: for other columns, and categories that are refused.
        """
        codes = self.codes.encode(table, unseen=unseen)
        return self.model.log_prob(codes) + self.codes.log_density(table)

    def sample(self, key: PRNGKeyArray, count: int) -> dict[str, np.ndarray]:
        """Exact, independent samples of rows: columns by name.

        Raises:
            ValueError: if `count` is not positive.
        """
        first, second = jax.random.split(key)
        seed = [int(word) for word in np.asarray(jax.random.key_data(second)).ravel()]
        return self.codes.decode(self.model.sample(first, count), np.random.default_rng(seed))

    def filled(self, table: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """The table with each missing value replaced by its most likely one given what the row
        says; of a number by the mean of its most likely bin.

        Args:
            table: columns by name.

        Raises:
            ValueError: for other columns, and categories that were not seen in training.
        """
        codes = self.codes.encode(table)
        likely = self.codes.decode(self.model.filled(codes))
        out = {}
        for number, (name, column) in enumerate(likely.items()):
            gone = codes[:, number] < 0
            kind = object if column.dtype.kind == "O" else np.float64
            given = np.asarray(table[name])
            if not gone.any():
                out[name] = given
                continue
            out[name] = given.astype(object if given.dtype.kind in "OUSb" else kind)
            out[name][gone] = column[gone]
        return out
