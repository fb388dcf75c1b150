"""A learned distribution: what it says about rows and variables."""

import dataclasses
import functools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from .._network import TensorNetwork
from .._structure import Structure
from .._tuned import tuned
from ..contract import hypertree, log_rows
from . import _ancestral
from . import _likelihood as likelihood
from ._likelihood import Kind
from ._rows import as_values


@dataclasses.dataclass(frozen=True)
class Queries:
    """Questions to a distribution.

    Attributes:
        table: entries of a table of probabilities at the most.
        rows: rows that are looked at together.
        beam: partial rows that a search for the most likely one keeps.
    """

    table: int = 2**20
    rows: int = 2**14
    beam: int = 64


QUERIES = tuned("density_queries", Queries())


class MostLikely(NamedTuple):
    """A row of high probability.

    Attributes:
        values: categories, shape [variables].
        log_prob: its log-probability, in nats.
        exact: whether no row can be more likely; else none that was looked at is.

    Example:
        >>> import numpy as np
        >>> from tnjax import DensityModel, Structure, TensorNetwork
        >>> coin = TensorNetwork(Structure.rank_one((2,)), [np.asarray([1.0, 3.0])])
        >>> DensityModel(coin, "nonnegative").most_likely().exact
        True
    """

    values: np.ndarray
    log_prob: float
    exact: bool


class DensityModel(eqx.Module):
    """A probability distribution of discrete variables, given by a network.

    Rows are categories 0, 1, 2, ...; -1 or NaN where a value is not known, which is summed out.

    Args:
        network: its entries, or their squares, are the probabilities up to a factor.
        kind: "nonnegative" (entries) or "born" (squares).
        given: values of variables that are known, as pairs (variable, category): then all that
            the model says is said given these.

    Example:
        >>> import numpy as np
        >>> from tnjax import DensityModel, Structure, TensorNetwork
        >>> coin = TensorNetwork(Structure.rank_one((2,)), [np.asarray([1.0, 3.0])])
        >>> model = DensityModel(coin, "nonnegative")
        >>> print(model.marginal([0]))
        [0.25 0.75]
    """

    network: TensorNetwork
    kind: Kind = eqx.field(static=True)
    given: tuple[tuple[int, int], ...] = eqx.field(static=True, default=())

    @property
    def dims(self) -> tuple[int, ...]:
        """Numbers of categories."""
        return self.network.dims

    def log_prob(self, rows: Any) -> Float[np.ndarray, " rows"]:
        """Log-probability of each row, in nats; of what is known of it, where values are missing.

        Args:
            rows: categories, shape [rows, variables].

        Raises:
            ValueError: for a category that the model does not know, or other columns.
        """
        values = self._checked(rows)
        known, unlike = self._with_given(values)
        found = self._logs(known)
        if self.given:
            nothing = np.full((1, len(self.dims)), -1, np.int32)
            found = found - self._logs(self._with_given(nothing)[0])[0]
        return np.where(unlike, -np.inf, found)

    def anomaly_scores(self, rows: Any) -> Float[np.ndarray, " rows"]:
        """How unlikely each row is: its negative log-probability, in nats."""
        return -self.log_prob(rows)

    def marginal(self, subset: Sequence[int]) -> Float[np.ndarray, "..."]:
        """Probabilities of all categories of some variables, one axis for each of them in order.

        Raises:
            ValueError: for a variable that is not there or named twice, or a table of more than
                2^20 entries.
        """
        subset = self._variables(subset)
        shape = tuple(self.dims[v] for v in subset)
        size = math.prod(shape)
        if size > QUERIES().table:
            raise ValueError(
                f"DensityModel: a table of {len(subset)} variables would have {size} entries, more "
                f"than {QUERIES().table}; ask for fewer variables, or draw samples."
            )
        rows = np.full((size, len(self.dims)), -1, np.int32)
        if subset:
            rows[:, subset] = np.stack(np.unravel_index(np.arange(size), shape), 1)
        return np.exp(self.log_prob(rows)).reshape(shape)

    def conditional(self, given: Mapping[int, int]) -> "DensityModel":
        """The distribution given the values of some variables.

        Args:
            given: category of each variable that is known.

        Raises:
            ValueError: for a variable or category that is not there, one that is known to be
                another, or a condition of probability zero.
        """
        known = dict(self.given)
        self._variables(list(given))
        for variable, value in given.items():
            if value != int(value) or not 0 <= value < self.dims[variable]:
                raise ValueError(
                    f"DensityModel: variable {variable} has the categories 0 to "
                    f"{self.dims[variable] - 1}, got {value!r}."
                )
            if known.setdefault(int(variable), int(value)) != value:
                raise ValueError(
                    f"DensityModel: variable {variable} is given as {known[variable]} already."
                )
        model = DensityModel(self.network, self.kind, tuple(sorted(known.items())))
        nothing = np.full((1, len(self.dims)), -1, np.int32)
        if not np.isfinite(model._logs(model._with_given(nothing)[0])[0]):
            raise ValueError(f"DensityModel: the condition {dict(given)} has probability 0.")
        return model

    def entropy(self, subset: Sequence[int] | None = None) -> float:
        """Entropy of some variables, of all by default, in nats.

        Raises:
            ValueError: if their table would have more than 2^20 entries. (The mean of
                `anomaly_scores` of samples estimates the entropy of all.)
        """
        subset = range(len(self.dims)) if subset is None else subset
        table = self.marginal(list(subset))
        positive = table[table > 0]
        return float(-np.sum(positive * np.log(positive)))

    def mutual_information(self, a: Sequence[int], b: Sequence[int]) -> float:
        """Mutual information of two sets of variables, in nats.

        Raises:
            ValueError: if they overlap, or the table of both would have more than 2^20 entries.
        """
        joint = self.marginal([*a, *b])
        sizes = [math.prod(self.dims[v] for v in part) for part in (a, b)]
        joint = joint.reshape(sizes)
        product = joint.sum(1, keepdims=True) * joint.sum(0, keepdims=True)
        some = joint > 0
        return float(max(0.0, np.sum(joint[some] * np.log(joint[some] / product[some]))))

    def sample(self, key: PRNGKeyArray, count: int) -> Int[np.ndarray, "count variables"]:
        """Exact, independent samples.

        A tree of kind "nonnegative" is drawn from its root to the leaves; else one variable after
        the other, given those before.

        Raises:
            ValueError: if `count` is not positive.
        """
        if count != int(count) or count < 1:
            raise ValueError(f"DensityModel: expected a positive number of samples, got {count!r}.")
        seed = [int(word) for word in np.asarray(jax.random.key_data(key)).ravel()]
        rng = np.random.default_rng(seed)
        known = self._with_given(np.full((1, len(self.dims)), -1, np.int32))[0][0]
        plan = hypertree.layout(self.network.structure)
        if plan is not None and self.kind == "nonnegative":
            return _ancestral.sample(self.network, plan, known, int(count), rng)
        rows = np.repeat(known[None], int(count), 0)
        for variable in np.flatnonzero(known < 0):
            logs = self._branches(rows, int(variable))
            noise = rng.gumbel(size=logs.shape)
            rows[:, variable] = np.argmax(logs + noise, 1)
        return rows

    def most_likely(self) -> MostLikely:
        """A row of the highest probability, by a search that extends partial rows.

        A partial row is at least as likely as each of its extensions, so that the search often
        proves its result.
        """
        known = self._with_given(np.full((1, len(self.dims)), -1, np.int32))[0]
        rows, left_out = known, -np.inf
        base = float(self._logs(known)[0])
        for variable in self._order():
            if known[0, variable] >= 0:
                continue
            logs = self._branches(rows, variable)
            order = np.argsort(-logs, axis=None, kind="stable")
            kept, gone = order[: QUERIES().beam], order[QUERIES().beam :]
            if len(gone):
                left_out = max(left_out, float(logs.flat[gone[0]]))
            parents, values = np.unravel_index(kept, logs.shape)
            rows = rows[parents]
            rows[:, variable] = values
        logs = self._logs(rows)
        best = int(np.argmax(logs))
        exact = bool(logs[best] >= left_out)
        return MostLikely(rows[best], float(logs[best]) - base, exact)

    def filled(self, rows: Any) -> Int[np.ndarray, "rows variables"]:
        """The rows with each missing value replaced by its most likely one, given what the row
        says."""
        values = self._with_given(self._checked(rows))[0]
        out = values.copy()
        for variable in np.flatnonzero((values < 0).any(0)):
            holes = values[:, variable] < 0
            out[holes, variable] = np.argmax(self._branches(values[holes], int(variable)), 1)
        return out

    # -----------------------------------------------------------------------------------------

    def _order(self) -> Iterator[int]:
        """Variables, neighbors in the network near each other."""
        tree = hypertree.rooted(self.network.structure)
        nodes = range(self.network.structure.num_nodes) if tree is None else tree.order
        for node in nodes:
            yield from self.network.structure.legs[node]

    def _branches(self, rows: np.ndarray, variable: int) -> np.ndarray:
        """Log-probabilities of rows with each category of a variable, [rows, categories]."""
        size = self.dims[variable]
        wide = np.repeat(rows, size, 0)
        wide[:, variable] = np.tile(np.arange(size), len(rows))
        return self._logs(wide).reshape(len(rows), size)

    def _logs(self, values: np.ndarray) -> np.ndarray:
        """Log-probabilities without what is given, in pieces of a few sizes."""
        out, most = [], QUERIES().rows
        tree = self.kind == "nonnegative" and log_rows.has_loop(self.network.structure)
        for begin in range(0, len(values), most):
            part = values[begin : begin + most]
            size = min(most, 1 << (len(part) - 1).bit_length())
            filled = np.concatenate([part, np.repeat(part[:1], size - len(part), 0)])
            complete = bool((part >= 0).all())
            if tree:
                stack = hypertree.stacked_on_host(self.network.structure, self.network.cores)
                found = _tree_log_probs(self.network.structure, stack, filled)
            else:
                found = _log_probs(self.kind, complete, self.network, filled)
            out.append(np.asarray(found)[: len(part)])
        return np.concatenate(out).astype(np.float64)

    def _with_given(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The rows with what is given, and whether they say something else."""
        values, unlike = values.copy(), np.zeros(len(values), bool)
        for variable, value in self.given:
            unlike |= (values[:, variable] >= 0) & (values[:, variable] != value)
            values[:, variable] = value
        return values, unlike

    def _checked(self, rows: Any) -> np.ndarray:
        values = as_values(rows, "DensityModel")
        if values.shape[1] != len(self.dims):
            raise ValueError(
                f"DensityModel: rows have {values.shape[1]} columns, the model has "
                f"{len(self.dims)} variables."
            )
        over = (values >= np.asarray(self.dims)).any(0)
        if over.any():
            column = int(np.argmax(over))
            raise ValueError(
                f"DensityModel: column {column} has the category {values[:, column].max()}, but "
                f"the model knows 0 to {self.dims[column] - 1}; put -1 for what is not known."
            )
        return values

    def _variables(self, subset: Sequence[int]) -> list[int]:
        out = [int(v) for v in subset]
        if len(set(out)) != len(out) or any(not 0 <= v < len(self.dims) for v in out):
            raise ValueError(
                f"DensityModel: expected different variables from 0 to {len(self.dims) - 1}, got "
                f"{list(subset)}."
            )
        return out


@functools.partial(jax.jit, static_argnums=(0, 1))
def _log_probs(kind: Kind, complete: bool, network: TensorNetwork, values: Array) -> Array:
    logs = likelihood.unnormalized(kind, network, values, complete)
    return logs - likelihood.normalization(kind, network).log_abs()


@functools.partial(jax.jit, static_argnums=0)
def _tree_log_probs(structure: Structure, stack: Array, values: Array) -> Array:
    """Of a tree without negative entries, in a program that does not grow with its nodes."""
    plan = hypertree.layout(structure)
    assert plan is not None
    nothing = jnp.full((1, len(structure.dims)), -1, jnp.int32)
    mass = log_rows.tree_entries(plan, stack, nothing).log_abs()
    return log_rows.tree_entries(plan, stack, values).log_abs() - mass
