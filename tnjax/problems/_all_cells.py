"""Least squares over all cells of a tensor: the Gram matrices are those of the network alone."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array

from .._network import TensorNetwork
from .._structure import Structure
from ..contract import kernels
from ..contract.cost import layers_pay
from ._base import LeastSquares


class AllCells(LeastSquares):
    """Every cell counts alike, so that a network contracted with itself gives the curvature."""

    def layers(self, network: TensorNetwork) -> list[Array] | None:
        structure, cores = network.structure, network.cores
        return list(kernels.layers(structure, cores, cores)) if layers_pay(structure) else None

    def layer(self, structure: Structure, node: int, core: Array) -> Array:
        return kernels.layer(structure, node, core, core)

    def _gram(
        self, network: TensorNetwork, node: int, layers: Sequence[Array] | None = None
    ) -> Array:
        """The Gram matrix [1, bonds, bonds] of one node."""
        if layers is None:
            return kernels.gram(network.structure, network.cores, (node,))[None]
        return kernels.layered_gram(network.structure, layers, node)[None]

    def normal_operator(
        self, network: TensorNetwork
    ) -> tuple[list[Array], Callable[[TensorNetwork], TensorNetwork]]:
        # By contracting the network with itself: no dense tensor is made.
        structure, cores, layers = network.structure, network.cores, self.layers(network)
        if layers is None:
            nodes = range(structure.num_nodes)
            return [self._gram(network, node) for node in nodes], _interleaved(network)
        made = lambda layers: kernels.layer_grams(structure, layers)
        grams, change = jax.linearize(made, tuple(layers))

        def product(v: TensorNetwork) -> TensorNetwork:
            changes = change(kernels.layers(structure, cores, v.cores))
            out = []
            for core, other, gram, extra in zip(cores, v.cores, grams, changes, strict=True):
                rows, more = (x.reshape(-1, gram.shape[0]) for x in (other, core))
                out.append((_times(rows, gram.T) + _times(more, extra.T)).reshape(core.shape))
            return TensorNetwork(structure, out)

        return [gram[None] for gram in grams], product


def _interleaved(network: TensorNetwork) -> Callable[[TensorNetwork], TensorNetwork]:
    """The product of the normal operator, where layers do not pay."""
    structure, cores = network.structure, network.cores

    def pulled_back(right):  # J^H T(right), conjugated
        return jax.grad(lambda left: kernels.inner(structure, left, right).real)(cores)

    _, forward = jax.linearize(pulled_back, cores)
    return lambda v: TensorNetwork(structure, forward(v.cores)).conj()


def _times(a: Array, b: Array) -> Array:
    return jnp.matmul(a, b, precision=kernels.FULL)
