"""Networks of which several nodes have the same core."""

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Int, PRNGKeyArray, Real

from .. import _lean as lean
from .._network import TensorNetwork, balance
from .._structure import Structure
from ._base import LeastSquares, Point, Problem


class Tied(LeastSquares):
    r"""A problem whose network has one core at several nodes.

    In RESCAL, $X_{ijk} \approx \sum_{ab} A_{ia} R_{kab} A_{jb}$, the factor A describes an entity
    as the subject and as the object of a relation. The network is a Tucker network of which two
    nodes are tied.

    Only the first node of a group counts, and solvers bring the others to it: `fit` and
    `tnjax.solve.run` return equal cores. `ALS` solves for a tied core with the sum of the normal
    equations at its nodes, the core at the other places held at its last value, and halves a step
    that raises the loss. A search changes single nodes, so it is not for tied ones.

    Args:
        problem: for instance a `Decomposition`, also a nonnegative one, or a `Completion`.
        groups: nodes that share a core, two or more in each group. Their cores must have the same
            shape: legs of equal sizes, then bonds of equal ranks in the order of the nodes that
            they lead to.

    Raises:
        ValueError: if a group has fewer than two nodes, or a node is named twice; in a fit, where
            cores of a group differ in shape.

    Example:
        >>> import jax, numpy as np, tnjax
        >>> rng = np.random.default_rng(0)
        >>> a, r = rng.random((8, 2)), rng.random((3, 2, 2))
        >>> relations = np.einsum("ia,kab,jb->ijk", a, r, a)
        >>> rescal = tnjax.Structure.from_edges((8, 8, 3), {(0, 2): 2, (1, 2): 2})
        >>> problem = tnjax.Tied(tnjax.Decomposition(relations), [(0, 1)])
        >>> found = tnjax.fit(problem, rescal, key=jax.random.key(0), max_steps=100)
        >>> found.error < 1e-2, bool((found.network.cores[0] == found.network.cores[1]).all())
        (True, True)

    Reference:
        Nickel, Tresp, Kriegel, "A Three-Way Model for Collective Learning on Multi-Relational
        Data", ICML 2011.
    """

    problem: Problem
    groups: tuple[tuple[int, ...], ...] = eqx.field(static=True)

    def __init__(self, problem: Problem, groups: Sequence[Sequence[int]]):
        self.problem = problem
        self.groups = tuple(tuple(int(node) for node in group) for group in groups)
        named = [node for group in self.groups for node in group]
        if not named or min(map(len, self.groups)) < 2 or len(set(named)) < len(named):
            raise ValueError(
                f"Tied: expected groups of two or more nodes, each node at most once, such as "
                f"[(0, 1)], got {groups!r}."
            )
        if problem.mesh is not None:
            raise ValueError("Tied: the problem lies on a mesh; take problem.placed(None).")

    def tied(self, network: TensorNetwork) -> TensorNetwork:
        """The network with the core of the first node of each group at all of its nodes.

        Raises:
            ValueError: if their shapes differ, or there is no such node.
        """
        cores = list(network.cores)
        for first, *rest in self.groups:
            for node in rest:
                _check_alike(network.structure, first, node)
                cores[node] = cores[first]
        return TensorNetwork.unchecked(network.structure, cores)

    # What the problem says ----------------------------------------------------------------

    @property
    def shape(self) -> tuple[int, ...]:
        return self.problem.shape

    @property
    def dtype(self) -> jnp.dtype:
        return self.problem.dtype

    @property
    def scale(self) -> Any:
        return self.problem.scale

    @property
    def nonnegative(self) -> bool:
        return self.problem.nonnegative

    @property
    def least_squares(self) -> "LeastSquares | None":
        return None if self.problem.least_squares is None else self

    @property
    def exact_rows(self) -> bool:
        return False  # the loss is no quadratic function of a core that it has twice

    def exact_core(self, node: int) -> bool:
        return self._squares.exact_core(node) and node not in (group[0] for group in self.groups)

    @property
    def quadratic(self) -> bool:
        return self.problem.least_squares is not None and self.problem.least_squares.quadratic

    @property
    def num_samples(self) -> int:
        return self.problem.num_samples

    @property
    def resolution(self) -> float:
        return self.problem.resolution

    @property
    def patience(self) -> int:
        return self.problem.patience

    @property
    def work(self) -> int:
        return self.problem.work

    def flops(self, structure: Structure) -> int:
        return self.problem.flops(structure)

    def sweep_flops(self, structure: Structure) -> int:
        return self.problem.sweep_flops(structure)

    def fit_peak_bytes(self, structure: Structure) -> int:
        return self.problem.fit_peak_bytes(structure)

    def loss_of_error(self, error: float) -> float:
        return self.problem.loss_of_error(error)

    def model(self, network: TensorNetwork) -> Any:
        return self.problem.model(network)

    def perturbed(self, noise: Any, *, key: PRNGKeyArray) -> "Tied":
        return self._with(problem=self.problem.perturbed(noise, key=key))

    def resampled(self, network: TensorNetwork, *, key: PRNGKeyArray) -> "Tied":
        return self._with(problem=self.problem.resampled(self.tied(network), key=key))

    # The same, of the tied network ---------------------------------------------------------

    def loss(self, network: TensorNetwork) -> Real[Array, ""]:
        return self.problem.loss(self.tied(network))

    def error(self, network: TensorNetwork) -> Real[Array, ""]:
        return self.problem.error(self.tied(network))

    def batch_loss(self, network: TensorNetwork, ids: Int[Array, " batch"]) -> Real[Array, ""]:
        return self.problem.batch_loss(self.tied(network), ids)

    def feasible(self, network: TensorNetwork) -> TensorNetwork:
        return self.tied(self.problem.feasible(network))

    def prepared(self, network: TensorNetwork) -> TensorNetwork:
        return self.tied(self.problem.prepared(self.tied(network)))

    def balanced(self, network: TensorNetwork) -> TensorNetwork:
        network = self.tied(network)  # equal norms stay so
        return TensorNetwork.unchecked(network.structure, balance(network.cores))

    def residual(self, network: TensorNetwork) -> Array:
        return self._squares.residual(self.tied(network))

    def tangent(self, network: TensorNetwork, at: TensorNetwork) -> Array:
        return self._squares.tangent(self.tied(network), self.tied(at))

    def normal_equations(
        self,
        network: TensorNetwork,
        node: int,
        point: Point = None,
        layers: Sequence[Array] | None = None,
        partial: Any = None,
    ) -> tuple[Array, Array]:
        """Of the first node of a group, the sum over its nodes; the others are told to be what the
        first one is."""
        network = self.tied(network)
        group = next((group for group in self.groups if node in group), (node,))
        if node != group[0]:
            gram, rhs = self._squares.normal_equations(network, node)
            unit = jnp.eye(gram.shape[-1], dtype=gram.dtype)[None]
            return unit, lean.reshape(network.cores[node], rhs.shape)
        gram, rhs = self._squares.normal_equations(network, node)
        for other in group[1:]:
            more, side = self._squares.normal_equations(network, other)
            rows = max(gram.shape[0], more.shape[0])  # one Gram matrix may be for all rows
            wide = lambda x, rows=rows: lax.broadcast_in_dim(x, (rows, *x.shape[1:]), (0, 1, 2))
            gram, rhs = wide(gram) + wide(more), rhs + side
        return gram, rhs

    @property
    def _squares(self) -> LeastSquares:
        squares = self.problem.least_squares
        assert squares is not None
        return squares


def _check_alike(structure: Structure, first: int, other: int) -> None:
    if max(first, other) >= structure.num_nodes:
        raise ValueError(
            f"Tied: the nodes {first} and {other} should share a core, but the network has "
            f"{structure.num_nodes} nodes."
        )
    shapes = structure.core_shape(first), structure.core_shape(other)
    if shapes[0] != shapes[1]:
        raise ValueError(
            f"Tied: the nodes {first} and {other} should share a core, but theirs have the shapes "
            f"{shapes[0]} and {shapes[1]}."
        )
