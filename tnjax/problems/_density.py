"""Probability distributions of discrete variables as tensor networks."""

import dataclasses
from collections.abc import Sequence
from typing import Any, cast

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, PRNGKeyArray, Real

from .._network import TensorNetwork
from .._structure import Structure
from .._tuned import tuned
from ..contract import log_rows
from ..contract.log_rows import LogScaled, total
from . import _likelihood as likelihood
from ._base import Problem
from ._chow_liu import chow_liu, independent, tree_network
from ._density_model import DensityModel
from ._likelihood import Kind
from ._rows import (
    Rows,
    as_rows,
    as_values,
    checked_dims,
    checked_weights,
    is_traced,
    split_rows,
    traced_rows,
)

STARTS = ("chow-liu", "independent")


@dataclasses.dataclass(frozen=True)
class Tables:
    """Tables of probabilities that a search starts from.

    Attributes:
        smoothing: pseudo-counts, in rows, spread over each row of a table: no value that is
            possible has probability zero. Jeffreys' prior of two categories has one in all.
    """

    smoothing: float = 1.0


TABLES = tuned("density_tables", Tables())


class Point(eqx.Module):
    """The probabilities of a sum of networks, before they are normalized.

    Attributes:
        terms: the networks.
        values: entries at the rows; for "born" at those without missing values.
        partial: for "born" the squares at the others; None where there are none.
        whole: sum of all entries, or of their squares.
    """

    terms: tuple[TensorNetwork, ...]
    values: LogScaled
    partial: LogScaled | None
    whole: LogScaled


class Density(Problem):
    r"""A probability distribution of discrete variables, learned from samples.

    Kind "nonnegative": $p(x) = T(x) / \sum_y T(y)$ of a network without negative entries. Kind
    "born": $p(x) = |T(x)|^2 / \|T\|^2$. The loss is the mean negative log-likelihood of the samples
    in nats; so is the error, of the rows that are held out if there are any.

    Missing values are summed out: a row counts by the probability of what is there. Everything is
    contracted with logarithms beside it, so that 1,500 variables neither overflow nor underflow.

    `search` starts from the Chow-Liu tree, a network of exactly that distribution. By default it
    grows hidden variables on it (`LatentTree`; "nonnegative"), or ranks of its bonds (`Greedy`;
    "born"). `Setup(start="independent")`, a structure, or a network are other starts. Its result
    has the `model`, a `DensityModel`.

    Args:
        samples: categories 0, 1, 2, ... of each variable, -1 or NaN where a value is missing,
            shape [rows, variables].
        dims: number of categories of each variable; by the samples where it is not given.
        kind: "nonnegative" or "born".
        weights: of the rows, 0 or more, shape [rows]; all alike by default.
        validation: rows that decide when to stop: a share of the samples between 0 and 1, drawn
            by `key`, or rows of their own, shape [rows, variables].
        key: `jax.random.key(...)`, for a share.
        dtype: of the cores: floating, for "born" also complex; float by default.

    Raises:
        ValueError: for a table that is empty or has other values, a column that is constant where
            `dims` does not say what it may be, more categories than 1,024, weights that are no
            weights, an unknown kind, or a share without a key.

    Example:
        >>> import jax, numpy as np, tnjax
        >>> rng = np.random.default_rng(0)
        >>> coins = rng.integers(2, size=(500, 3))
        >>> coins[:, 2] = coins[:, 0] ^ (rng.random(500) < 0.1)
        >>> density = tnjax.Density(coins, validation=0.2, key=jax.random.key(0))
        >>> result = tnjax.search(density, key=jax.random.key(0), max_steps=1)
        >>> bool(result.model.mutual_information([0], [2]) > 0.2)
        True

    Reference:
        Han et al., "Unsupervised Generative Modeling Using Matrix Product States", PRX 8 (2018);
        Glasser et al., "Expressive power of tensor-network factorizations", arXiv 1907.03741.
    """

    rows: Rows
    held_out: Rows | None
    dims: tuple[int, ...] = eqx.field(static=True)
    kind: Kind = eqx.field(static=True)
    _dtype: Any = eqx.field(static=True)

    def __init__(
        self,
        samples: Any,
        dims: Sequence[int] | None = None,
        *,
        kind: str = "nonnegative",
        weights: Any = None,
        validation: Any = None,
        key: PRNGKeyArray | None = None,
        dtype: Any = None,
    ):
        if kind not in ("born", "nonnegative"):
            raise ValueError(f'Density: kind must be "born" or "nonnegative", got {kind!r}.')
        self.kind = cast(Kind, kind)
        self._dtype = _checked_dtype(kind, dtype)
        real = jnp.finfo(self._dtype).dtype
        if is_traced(samples, weights, validation):
            self._from_traced(samples, dims, weights, validation, real)
            return
        values = as_values(samples)
        given = checked_weights(weights, len(values), "Density")
        other = None
        if validation is not None and np.ndim(validation) == 0:
            share = float(validation)
            if not 0 < share < 1:
                raise ValueError(
                    "Density: validation must be a share between 0 and 1, or rows of their own, "
                    f"got {validation!r}."
                )
            if key is None:
                raise ValueError(
                    "Density: a share for validation is drawn at random; give "
                    "key=jax.random.key(0)."
                )
            seed = [int(word) for word in np.asarray(jax.random.key_data(key)).ravel()]
            self.dims = checked_dims(values, dims, "Density")
            (values, given), other = split_rows(values, given, share, seed, "Density")
        else:
            self.dims = checked_dims(values, dims, "Density")
            if validation is not None:
                rows = as_values(validation, "Density: validation")
                _check_columns(rows, self.dims)
                other = rows, np.ones(len(rows))
        self.rows = as_rows(values, given, real)
        self.held_out = None if other is None else as_rows(*other, real)

    def _from_traced(self, samples, dims, weights, validation, real) -> None:
        if dims is None:
            raise ValueError("Density: traced samples need `dims`, the numbers of categories.")
        if validation is not None and np.ndim(validation) == 0:
            raise ValueError("Density: traced samples are not split; give rows for validation.")
        self.dims = tuple(int(size) for size in dims)
        self.rows = traced_rows(samples, weights, real)
        self.held_out = None if validation is None else traced_rows(validation, None, real)

    # What it is ------------------------------------------------------------------------------

    @property
    def shape(self) -> tuple[int, ...]:
        """Numbers of categories."""
        return self.dims

    @property
    def dtype(self) -> jnp.dtype:
        """Of the cores."""
        return self._dtype

    @property
    def nonnegative(self) -> bool:
        """Whether cores have no negative entries: for that kind."""
        return self.kind == "nonnegative"

    @property
    def likelihood_rows(self) -> Rows | None:
        """The rows, for kind "nonnegative"."""
        return self.rows if self.nonnegative else None

    @property
    def judging_rows(self) -> Rows:
        """The rows that `error` is about."""
        return self.rows if self.held_out is None else self.held_out

    @property
    def num_samples(self) -> int:
        """Different rows; `batch_loss` weighs them."""
        return self.rows.values.shape[0]

    @property
    def default_strategy(self) -> str | None:
        """Hidden trees for "nonnegative"."""
        return "tnjax.strategies:LatentTree" if self.nonnegative else None

    def prepared(self, network: TensorNetwork) -> TensorNetwork:
        """Without negative entries where none are allowed."""
        if not self.nonnegative:
            return network
        return TensorNetwork(network.structure, [jnp.abs(core) for core in network.cores])

    def named_start(self, name: str | None) -> TensorNetwork | None:
        """The network of a start: "chow-liu" (the default) or "independent".

        Args:
            name: which one; None for the default.

        Returns:
            the network, or None if there is no start of that name.

        Example:
            >>> import numpy as np, tnjax
            >>> rows = np.asarray([[0, 0], [1, 1], [0, 0], [1, 0]])
            >>> tnjax.Density(rows).named_start("chow-liu").structure.ranks
            (2,)
        """
        if name not in (None, *STARTS):
            return None
        smoothing = TABLES().smoothing
        if name == "independent":
            structure: Structure = Structure.rank_one(self.dims)
            tables = tuple(independent(self.rows, self.dims, smoothing))
        else:
            parents, hidden = chow_liu(self.rows, self.dims, smoothing)
            structure, tables = tree_network(parents, self.dims, hidden)
        root = np.sqrt if self.kind == "born" else np.asarray
        return TensorNetwork(structure, [root(table).astype(self._dtype) for table in tables])

    @property
    def cites(self) -> tuple[str, ...]:
        return ("han2018",) if self.kind == "born" else ()

    def model(self, network: TensorNetwork) -> DensityModel:
        """The distribution that a network is."""
        return DensityModel(network, self.kind)

    def everything(self) -> "Density":
        """The same problem with nothing held out: for a last fit of a network whose structure the
        held-out rows have chosen.

        Example:
            >>> import jax, numpy as np
            >>> from tnjax import Density
            >>> coins = np.random.default_rng(0).integers(2, size=(50, 3))
            >>> density = Density(coins, validation=0.2, key=jax.random.key(0))
            >>> density.rows.count, density.everything().rows.count
            (40.0, 50.0)
        """
        if self.held_out is None:
            return self
        parts = (self.rows, self.held_out)
        values = np.concatenate([np.asarray(part.values) for part in parts])
        weights = np.concatenate([np.asarray(part.weights) * part.count for part in parts])
        return self._with(rows=as_rows(values, weights, weights.dtype), held_out=None)

    # Forecasts -------------------------------------------------------------------------------

    @property
    def work(self) -> int:
        """Values of all rows."""
        return self.rows.values.size

    def flops(self, structure: Structure) -> int:
        """Of the probabilities of all rows."""
        return log_rows.flops(structure, self.rows.values.shape[0])

    def sweep_flops(self, structure: Structure) -> int:
        """Of a gradient."""
        return 3 * self.flops(structure)

    def fit_peak_bytes(self, structure: Structure) -> int:
        """Rows, and the intermediates that are held together for a gradient."""
        held = min(self.rows.values.shape[0], log_rows.rows_at_once(structure))
        size = np.dtype(self._dtype).itemsize
        return 4 * self.rows.values.size + 3 * size * log_rows.peak_size(structure, held)

    # The loss --------------------------------------------------------------------------------

    def loss(self, network: TensorNetwork) -> Real[Array, ""]:
        """Mean negative log-likelihood of the samples, in nats."""
        return self._mean(network, self.rows)

    def error(self, network: TensorNetwork) -> Real[Array, ""]:
        """Mean negative log-likelihood of the rows that are held out; without any, the loss."""
        return self._mean(network, self.judging_rows)

    def batch_loss(self, network: TensorNetwork, ids: Int[Array, " batch"]) -> Real[Array, ""]:
        """The loss estimated by some of the rows."""
        rows = self.rows
        values, weights = jnp.asarray(rows.values)[ids], jnp.asarray(rows.weights)[ids]
        complete = rows.complete == rows.values.shape[0]
        logs = likelihood.unnormalized(self.kind, network, values, complete)
        share = jnp.asarray(rows.values.shape[0] / ids.shape[0], weights.dtype)
        norm = likelihood.normalization(self.kind, network).log_abs()
        return -share * jnp.vdot(weights, logs - norm)

    def _mean(self, network: TensorNetwork, rows: Rows) -> Array:
        return _negative_log(self.kind, rows, self._point(network, rows))

    def _parts(self, rows: Rows) -> tuple[Array, Array]:
        """Rows whose entries count, and for "born" those with missing values."""
        values = jnp.asarray(rows.values)
        end = rows.complete if self.kind == "born" else values.shape[0]
        return values[:end], values[end:]

    def _point(self, network: TensorNetwork, rows: Rows) -> Point:
        full, missing = self._parts(rows)
        partial = None
        if missing.shape[0]:
            partial = likelihood.squares(network, network, missing)
        whole = likelihood.normalization(self.kind, network)
        return Point((network,), likelihood.amplitudes(network, full), partial, whole)

    def linearize(self, network: TensorNetwork) -> Point:
        """The probabilities of the samples before they are normalized."""
        return self._point(network, self.rows)

    def shifted(self, point: Point, delta: TensorNetwork) -> Point:
        """The point of the sum. With missing values "born" needs networks of one structure."""
        full, missing = self._parts(self.rows)
        values = total([point.values, likelihood.amplitudes(delta, full)])
        if self.kind == "nonnegative":
            whole = total([point.whole, likelihood.mass(delta)])
            return Point((*point.terms, delta), values, None, whole)
        both = lambda of: [of(term, delta).times(2) for term in point.terms] + [of(delta, delta)]
        whole = total([point.whole, *both(likelihood.overlap)])
        partial = point.partial
        if partial is not None:
            square = lambda a, b: likelihood.squares(a, b, missing)
            partial = total([partial, *both(square)])
        return Point((*point.terms, delta), values, partial, whole)

    def perturbed_loss(self, point: Point, delta: TensorNetwork) -> Real[Array, ""]:
        """The loss at the sum."""
        return _negative_log(self.kind, self.rows, self.shifted(point, delta))


def _negative_log(kind: Kind, rows: Rows, point: Point) -> Array:
    """The mean negative log-likelihood."""
    weights = jnp.asarray(rows.weights)
    logs = point.values.log_abs()
    if kind == "born":
        logs = 2 * logs
        if point.partial is not None:
            logs = jnp.concatenate([logs, point.partial.log_abs()])
    return point.whole.log_abs() - jnp.vdot(weights, logs)


def _checked_dtype(kind: str, dtype: Any) -> jnp.dtype:
    dtype = jnp.zeros(()).dtype if dtype is None else jnp.zeros((), dtype).dtype
    if not jnp.issubdtype(dtype, jnp.inexact) or jnp.finfo(dtype).bits < 32:
        raise ValueError(f"Density: dtype must be single or double precision, got {dtype}.")
    if kind == "nonnegative" and jnp.issubdtype(dtype, jnp.complexfloating):
        raise ValueError('Density: complex cores are for kind="born"; nonnegative ones are real.')
    return dtype


def _check_columns(rows: np.ndarray, dims: Sequence[int]) -> None:
    if rows.shape[1] != len(dims):
        raise ValueError(
            f"Density: validation has {rows.shape[1]} columns, the samples have {len(dims)}."
        )
    over = rows.max(0) >= np.asarray(dims)
    if over.any():
        column = int(np.argmax(over))
        raise ValueError(
            f"Density: column {column} of validation has the category "
            f"{int(rows[:, column].max())}, "
            f"which the samples do not have; give dims, or leave these rows out."
        )
