"""Smoothness of the represented tensor along some of its axes."""

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int

from .._network import TensorNetwork
from ..contract import kernels
from ._axes import Axis, Term, axis_of, check_axis, terms


class Coupled(NamedTuple):
    """Normal equations whose rows are tied to each other.

    Attributes:
        gram: of each row by itself [rows or 1, bonds, bonds].
        tied: what the other rows add: rows [rows, bonds] to rows, linear; None for nothing.
    """

    gram: Array
    tied: Callable[[Array], Array] | None


class _Graph(eqx.Module):
    """Neighbors along a mode."""

    mode: int = eqx.field(static=True)
    pairs: Int[Array, "pairs 2"]

    @classmethod
    def of(cls, mode: int, pairs: Any, dim: int) -> "_Graph":
        pairs = np.asarray(pairs)
        fits = pairs.ndim == 2 and pairs.shape[1] == 2 and pairs.dtype.kind in "iu"
        if not fits or ((pairs < 0) | (pairs >= dim)).any() or (pairs[:, 0] == pairs[:, 1]).any():
            raise ValueError(
                f"Completion: the graph of mode {mode} must list pairs of different indices "
                f"in 0..{dim - 1}."
            )
        return cls(mode, jnp.asarray(pairs, np.int32))

    @property
    def term(self) -> Any:
        return {self.mode: self.pairs[:, 0]}, {self.mode: self.pairs[:, 1]}


class Smoothness(eqx.Module):
    r"""Squared differences of neighboring slices (the quadratic form of a graph Laplacian).

    $$S(T) = \sum_a \frac{\mu_a}{\prod_k n_k} \sum_t \Big\|\sum_p c_p\, T^{(t, p)}\Big\|_F^2$$

    for axes a, whose terms t are made of parts $T^{(t, p)}$ of the tensor: for neighbors that are
    alike those at i + 1 and at i. It is a function of the tensor and not of the cores, so that no
    gauge escapes it, and is computed by contracting the network with itself: never densified.

    Attributes:
        axes: what is smooth; None for a graph.
        strengths: $\mu_a$.
        coefficients: $c_p$ of each axis.
        graphs: for None in `axes`, in their order: the mode, and pairs of neighbors [pairs, 2].
        undecided: numbers of the axes whose strengths the held-out entries are to choose.
    """

    axes: tuple[Axis | None, ...] = eqx.field(static=True)
    strengths: Float[Array, " axes"]
    coefficients: tuple[Float[Array, " _"], ...]
    graphs: tuple[_Graph, ...]
    undecided: tuple[int, ...] = eqx.field(static=True, default=())

    @classmethod
    def of(
        cls,
        smooth: Mapping[Any, float | str],
        graphs: Mapping[int, np.ndarray],
        shape: Sequence[int],
        dtype: DTypeLike,
    ) -> "Smoothness":
        """From options; a mode without a graph is a path, index i next to i + 1. A strength of
        "auto" is zero until it is chosen.

        Raises:
            ValueError: for a mode that is not there, a negative strength, or a pair of a graph
                that is not two different indices of its mode.
        """
        axes, found = [], []
        for key in (*smooth, *(mode for mode in graphs if mode not in smooth)):
            strength = smooth.get(key, -1.0)
            known = isinstance(key, Axis) or key in range(len(shape))
            number = 0.0 if strength == "auto" else strength
            if not known or isinstance(number, str) or not 0 <= number < math.inf:
                raise ValueError(
                    f"Completion: smooth={dict(smooth)!r}; expected a strength of 0 or more (or "
                    f'"auto") for modes 0..{len(shape) - 1}, and one for each mode of `graphs`.'
                )
            if not isinstance(key, Axis) and key in graphs:
                found.append(_Graph.of(int(key), graphs[key], shape[int(key)]))
                axes.append(None)
            else:
                axis = key if isinstance(key, Axis) else axis_of(key, shape)
                check_axis(axis, shape)
                axes.append(axis)
        strengths = [0.0 if value == "auto" else float(value) for value in smooth.values()]
        undecided = tuple(n for n, value in enumerate(smooth.values()) if value == "auto")
        parts = [(1.0, -1.0) if axis is None else axis.coefficients for axis in axes]
        coefficients = tuple(jnp.asarray(part, dtype) for part in parts)
        real = jnp.finfo(dtype).dtype
        return cls(tuple(axes), jnp.asarray(strengths, real), coefficients, tuple(found), undecided)

    def penalty(self, network: TensorNetwork) -> Array:
        """S(T)."""
        total = jnp.zeros((), network.dtype)
        for part in self._parts(network):
            for p, q, times in part.pairs():
                gram = kernels.layered_gram(network.structure, part.layers(p, q), ())
                total += times * part.factor(p, q) * gram.reshape(())
        return total.real

    def coupled_equations(self, network: TensorNetwork, node: int) -> Coupled:
        """What S adds to the normal equations of a core, rows that it ties to each other too."""
        matrix = _matrix(network, node)
        gram, pieces = jnp.zeros((1, *matrix.shape[1:] * 2), matrix.dtype), []
        for part in self._parts(network):
            for p, q, _ in part.pairs():
                block = part.factor(p, q) * part.gram(node, p, q)
                left, right = part.rows(node, p), part.rows(node, q)
                if p != q and not part.alike(node, p, q):
                    pieces += [(left, right, block), (right, left, block.conj().T)]
                    continue
                block = block if p == q else block + block.conj().T
                gram = _added(gram, left, block, len(matrix))
        return Coupled(gram, _operator(pieces) if pieces else None)

    def normal_equations(self, network: TensorNetwork, node: int) -> tuple[Array, Array]:
        """The same with every row by itself: rows that S ties to each other are untied by a
        parabola that lies above it at the present core (the parts of a term by themselves, as many
        times as there are parts), so that solving for every row lowers S plus any other function
        of the rows.

        Returns:
            gram [rows or 1, bonds, bonds], rhs [rows, bonds].
        """
        matrix = _matrix(network, node)
        exact, tied = self.coupled_equations(network, node)
        if tied is None:
            return exact, jnp.zeros_like(matrix)
        more = jnp.zeros_like(exact)
        for part in self._parts(network):
            if part.ties(node):
                count = len(part.term)
                for p in range(count):
                    block = (count - 1) * part.factor(p, p) * part.gram(node, p, p)
                    more = _added(more, part.rows(node, p), block, len(matrix))
        pulled = (more @ matrix[..., None])[..., 0] - tied(matrix)
        return exact + more, pulled

    def _parts(self, network: TensorNetwork) -> Iterator["_Part"]:
        """The terms of all axes at a network."""
        plain = {k: _pair(core, core) for k, core in enumerate(_matrices(network))}
        graphs = iter(self.graphs)
        for n, axis in enumerate(self.axes):
            weight = (self.strengths[n] / math.prod(network.dims)).astype(network.dtype)
            found = (next(graphs).term,) if axis is None else terms(axis, network.dims)
            for term in found:
                yield _Part(network, term, weight, self.coefficients[n], plain)


@dataclasses.dataclass(frozen=True)
class _Part:
    """A term at a network: its parts are networks that share all cores but for what is picked.

    Attributes:
        plain: for each node the product of its core with itself over its legs.
    """

    network: TensorNetwork
    term: Term
    weight: Array
    coefficients: Array
    plain: Mapping[int, Array]

    def pairs(self) -> Iterator[tuple[int, int, int]]:
        """Two parts, and how often their product counts."""
        for p, q in itertools.combinations_with_replacement(range(len(self.term)), 2):
            yield p, q, 1 if p == q else 2

    def factor(self, p: int, q: int) -> Array:
        c = self.coefficients
        return self.weight * (c[p].conj() * c[q]).astype(self.weight.dtype)

    def layers(self, p: int, q: int, without: int | None = None) -> list[Array]:
        """For each node the cores of two parts contracted over their legs, [bonds, bonds]."""
        out = []
        for node, core in enumerate(_matrices(self.network)):
            left, right = self.rows(node, p), self.rows(node, q)
            if left is None or node == without:
                out.append(self.plain[node])
            else:
                out.append(_pair(core[left], core[right]))
        return out

    def gram(self, node: int, p: int, q: int) -> Array:
        """Of the other cores of two parts [bonds, bonds]."""
        pairs = self.layers(p, q, without=node)
        return kernels.layered_gram(self.network.structure, pairs, (node,))

    def rows(self, node: int, p: int) -> Any:
        """The rows of a core that a part picks; None for all of them."""
        legs, dims, pick = self.network.structure.legs[node], self.network.dims, self.term[p]
        if not any(mode in pick for mode in legs):
            return None
        found = np.zeros((), np.int32)
        for mode in legs:
            index = pick.get(mode, np.arange(dims[mode], dtype=np.int32))
            found = found[..., None] * dims[mode] + index
        return found.reshape(-1)

    def alike(self, node: int, p: int, q: int) -> bool:
        """Whether two parts pick the same rows."""
        legs = self.network.structure.legs[node]
        return all(self.term[p].get(mode) is self.term[q].get(mode) for mode in legs)

    def ties(self, node: int) -> bool:
        return any(not self.alike(node, 0, p) for p in range(1, len(self.term)))


def _operator(pieces: Sequence[tuple[Any, Any, Array]]) -> Callable[[Array], Array]:
    """Rows to rows: those on the left get those on the right, each times its matrix."""

    def tied(x: Array) -> Array:
        out = jnp.zeros_like(x)
        for left, right, block in pieces:
            out = out.at[left].add(x[right] @ block.T)
        return out

    return tied


def _added(gram: Array, rows: Any, block: Array, count: int) -> Array:
    """Gram matrices [count or 1, bonds, bonds] with a block more in some rows (None: in all)."""
    if rows is None:
        return gram + block[None]
    times = jnp.zeros(count, block.real.dtype).at[rows].add(1)
    return gram + times[:, None, None].astype(block.dtype) * block[None]


def _matrices(network: TensorNetwork) -> list[Array]:
    return [_matrix(network, node) for node in range(network.structure.num_nodes)]


def _matrix(network: TensorNetwork, node: int) -> Array:
    """A core as a matrix of its rows by its bonds."""
    legs = network.structure.legs[node]
    rows = math.prod(network.dims[mode] for mode in legs)
    return network.cores[node].reshape(rows, -1)


def _pair(left: Array, right: Array) -> Array:
    return lax.dot(left.conj().T, right, precision=kernels.FULL)
