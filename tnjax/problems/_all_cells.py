"""Least squares over all cells of a tensor: the Gram matrices are those of the network alone."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
from jax import lax
from jaxtyping import Array

from .. import _lean as lean
from .._network import TensorNetwork
from .._structure import Structure
from ..contract import kernels
from ..contract.cost import layers_pay, num_bonds
from ..contract.equation import environment_labels, gram_labels, sizes
from ._base import LeastSquares


class Part(NamedTuple):
    """Something contracted with the cores of all nodes but some; of all nodes, with none."""

    nodes: tuple[int, ...] | None
    array: Array


class Partial(NamedTuple):
    """The data, and the layers where they are known, contracted as far as pays."""

    data: Part
    gram: Part | None = None


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
            return lax.expand_dims(kernels.gram(network.structure, network.cores, (node,)), (0,))
        return lax.expand_dims(kernels.layered_gram(network.structure, layers, (node,)), (0,))

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
                out.append(
                    (lean.product(rows, gram.T) + lean.product(more, extra.T)).reshape(core.shape)
                )
            return TensorNetwork(structure, out)

        return [gram[None] for gram in grams], product


def parted(
    network: TensorNetwork,
    nodes: tuple[int, ...],
    layers: Sequence[Array] | None,
    partial: Partial,
) -> Partial:
    """`partial` contracted further, with the cores of all nodes but `nodes`. Data only where at
    least half of them goes away, so that all that is alive is no more than they are; a Gram matrix
    only if it is no larger than that of one of the nodes, or than the data."""
    structure, (data, gram) = network.structure, partial
    size = sizes(structure)
    count = lambda labels: math.prod(size[label] for label in labels)
    if len(nodes) == 1 or 2 * count(environment_labels(structure, nodes)) <= data.array.size:
        array = kernels.environment(structure, network.cores, nodes, data.array, given=data.nodes)
        data = Part(nodes, array)
    entries = count(gram_labels(structure, nodes))
    bonds = num_bonds(structure)
    small = entries <= max(data.array.size, *(bonds[node] ** 2 for node in nodes))
    if layers is not None and (len(nodes) == 1 or small):
        given, known = (None, None) if gram is None else gram
        array = kernels.layered_gram(structure, layers, nodes, given=given, gram=known)
        gram = Part(nodes, array)
    return Partial(data, gram)


def _interleaved(network: TensorNetwork) -> Callable[[TensorNetwork], TensorNetwork]:
    """The product of the normal operator, where layers do not pay."""
    structure, cores = network.structure, network.cores

    def pulled_back(right):  # J^H T(right), conjugated
        return jax.grad(lambda left: kernels.inner(structure, left, right).real)(cores)

    _, forward = jax.linearize(pulled_back, cores)
    return lambda v: TensorNetwork(structure, forward(v.cores)).conj()
