"""Which bonds of a learned graph come back when the data are drawn anew."""

import dataclasses
from collections.abc import Callable
from typing import Any, Unpack

import jax
import numpy as np
from jaxtyping import Float, PRNGKeyArray

from .._limits import Limits, SearchLimits, positive
from .._network import TensorNetwork, scaled
from .._structure import Structure
from .._tracing import new_array, refuse_trace
from ..problems import Problem
from .search import search
from .strategy import Strategy


@dataclasses.dataclass(frozen=True)
class Stability:
    """Bonds that searches on resampled data found.

    Attributes:
        structure: of the result that was looked at; its nodes number rows and columns.
        frequencies: share of the searches that joined each two nodes, shape [nodes, nodes],
            symmetric, zero on the diagonal. A hyperedge joins each two of its nodes.
        mean_ranks: the mean rank of the bonds that were found between each two nodes, same shape;
            1 where there was none.
        elsewhere: bonds for each search, on average, that lead to nodes which the structure does
            not have: they hold modes of several of its nodes (a search may merge some), or none.
        structures: that the searches found.

    Example:
        >>> import numpy as np
        >>> from tnjax import Stability, Structure
        >>> train = Structure.tensor_train((3, 4), 2)
        >>> shares = np.array([[0.0, 1.0], [1.0, 0.0]])
        >>> print(Stability(train, shares, 1 + shares, 0.0, (train, train)).table())
        nodes  rank  frequency  mean rank
        0-1       2       1.00       2.00
    """

    structure: Structure
    frequencies: Float[np.ndarray, "nodes nodes"]
    mean_ranks: Float[np.ndarray, "nodes nodes"]
    elsewhere: float
    structures: tuple[Structure, ...]

    @property
    def rows(self) -> tuple[tuple[int, int, int, float, float], ...]:
        """Of each two nodes that the structure or a search joins: their numbers, the rank of the
        bond in the structure, frequency and mean rank; the most frequent first."""
        nodes, out = range(self.structure.num_nodes), []
        ranks = _pair_ranks(self.structure)
        for a in nodes:
            for b in range(a + 1, len(nodes)):
                rank, share = ranks.get((a, b), 1), float(self.frequencies[a, b])
                if rank > 1 or share > 0:
                    out.append((a, b, rank, share, float(self.mean_ranks[a, b])))
        return tuple(sorted(out, key=lambda row: (-row[3], row)))

    def table(self) -> str:
        """`rows` as text."""
        lines = ["nodes  rank  frequency  mean rank"]
        for a, b, rank, share, mean in self.rows:
            lines.append(f"{f'{a}-{b}':<5}  {rank:>4}  {share:>9.2f}  {mean:>9.2f}")
        return "\n".join(lines)


def stability(
    problem: Problem,
    result: Any,
    *,
    key: PRNGKeyArray,
    resamplings: int = 20,
    strategy: Strategy | None = None,
    limits: Limits | None = None,
    on_search: Callable[[int], None] | None = None,
    **plain_limits: Unpack[SearchLimits],
) -> Stability:
    """How sure each bond of a learned graph is: search again on resampled data, and count.

    The network that was found is taken for the truth. For a decomposition its residuals are put
    back in another order, noise of the level that it left; a `Completion` or `Supervised` draws as
    many samples as it has from them (a bootstrap).

    Args:
        problem: that the result is of; one that can be `resampled`.
        result: of `search` or `fit` on it, or a network.
        key: `jax.random.key(seed)`.
        resamplings: searches.
        strategy: as of `search`; take the one that the result was found by.
        limits: as of `search`, as one value or as keywords. Without any, a search ends at the error
            of the network on the problem.
        on_search: called with the number of searches made, after each.
        plain_limits: see `limits`.

    Returns:
        For each two nodes how often a bond joined them, and its mean rank.

    Raises:
        ValueError: for a problem that cannot be resampled, `resamplings` that are not positive, and
            as of `search`.

    Example:
        >>> import jax, numpy as np, tnjax
        >>> train = tnjax.Structure.tensor_train((5, 6, 5), 2)
        >>> tensor = tnjax.TensorNetwork.random(train, key=jax.random.key(1)).to_dense()
        >>> noise = 0.05 * np.random.default_rng(0).standard_normal(tensor.shape)
        >>> problem = tnjax.Decomposition(np.asarray(tensor) + noise * np.std(tensor))
        >>> result = tnjax.search(problem, key=jax.random.key(0), target_error=0.05)
        >>> found = tnjax.stability(problem, result, key=jax.random.key(2), resamplings=3)
        >>> float(found.frequencies[0, 1]), float(found.frequencies[0, 2])
        (1.0, 0.0)

    Reference:
        Efron and Tibshirani, "An Introduction to the Bootstrap" (1993), chapter 9; Friedman,
        Goldszmidt, Wyner, "Data Analysis with Bayesian Networks: A Bootstrap Approach", UAI 1999.
    """
    refuse_trace("stability", "call it outside", (problem, key, new_array()))
    positive(resamplings, "stability: resamplings")
    network: TensorNetwork = result if isinstance(result, TensorNetwork) else result.network
    problem = problem.placed(None)
    inner = scaled(network.astype(problem.dtype), 1 / problem.scale)
    if limits is None and not plain_limits:
        limits = Limits(target_error=float(problem.error(inner)))
    found = []
    for count, one in enumerate(jax.random.split(key, resamplings), 1):
        data_key, search_key = jax.random.split(one)
        drawn = problem.resampled(inner, key=data_key)
        ran = search(drawn, key=search_key, strategy=strategy, limits=limits, **plain_limits)
        found.append(ran.structure)
        if on_search is not None:
            on_search(count)
    return _counted(network.structure, tuple(found))


def _counted(structure: Structure, found: tuple[Structure, ...]) -> Stability:
    total = np.zeros((structure.num_nodes,) * 2)
    times, elsewhere = np.zeros_like(total), 0
    for other in found:
        places, joined = _places(structure, other), {}
        for nodes, rank in _pair_ranks(other).items():
            a, b = sorted(places[node] for node in nodes)
            if a < 0:
                elsewhere += 1
            elif a < b:
                joined[a, b] = joined.get((a, b), 1) * rank
        for (a, b), rank in joined.items():
            times[[a, b], [b, a]] += 1
            total[[a, b], [b, a]] += rank
    ranks = np.where(times > 0, total / np.maximum(times, 1), 1.0)
    return Stability(structure, times / len(found), ranks, elsewhere / len(found), found)


def _pair_ranks(structure: Structure) -> dict[tuple[int, int], int]:
    """The ranks between each two nodes that are joined; of several bonds their product."""
    found: dict[tuple[int, int], int] = {}
    for edge, rank in structure.edges.items():
        for place, a in enumerate(edge):
            for b in edge[place + 1 :]:
                found[a, b] = found.get((a, b), 1) * rank
    return found


def _places(structure: Structure, other: Structure) -> list[int]:
    """For each node of another structure the one here that has all of its modes, or joins the
    same modes if it has none; -1 if there is no such node."""
    around = [_around(structure, node) for node in range(structure.num_nodes)]
    places = []
    for node, legs in enumerate(other.legs):
        if legs:
            fits = [k for k, own in enumerate(structure.legs) if set(legs) <= set(own)]
        else:
            seen = _around(other, node)
            fits = [k for k, own in enumerate(structure.legs) if not own and around[k] == seen]
        places.append(fits[0] if fits else -1)
    return places


def _around(structure: Structure, node: int) -> set[tuple[int, ...]]:
    """The modes of all that a node is joined to."""
    return {structure.legs[k] for edge in structure.core_edges(node) for k in edge}
