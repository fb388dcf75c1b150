"""Linear operators as networks on a tree: cores with axes [out, in, children, parent]."""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from .._network import TensorNetwork
from ..operators import SumOfProducts
from ._tree import Cores, Tree, to_cores

Place = tuple[tuple[int, int], ...]  # sites with the numbers of their matrices
IDENTITY, DONE = 0, 1


def operator_cores(tree: Tree, operator: SumOfProducts | TensorNetwork, dtype: DTypeLike) -> Cores:
    """The cores of an operator on the tree of a state.

    Raises:
        ValueError: if it does not fit the state.
    """
    dims = tree.structure.dims
    if isinstance(operator, SumOfProducts):
        if operator.dims != dims:
            raise ValueError(
                f"evolve: the operator acts on sites of the sizes {operator.dims}, but the network "
                f"has the modes {dims}."
            )
        return _of_sum(tree, operator, dtype)
    legs = tuple((*own, *(len(dims) + mode for mode in own)) for own in tree.structure.legs)
    given = operator.structure
    bonds = {tree.edge(node) for node in tree.inner}
    if given.dims != (*dims, *dims) or given.legs != legs or not bonds >= set(given.edges):
        raise ValueError(
            f"evolve: the operator is {given}; expected the modes {(*dims, *dims)} (those that it "
            f"gives, then those that it takes), the legs {legs} and bonds of the tree "
            f"{sorted(bonds)}."
        )
    return tuple(core.astype(dtype) for core in to_cores(tree, operator, 2))


def _of_sum(tree: Tree, operator: SumOfProducts, dtype: DTypeLike) -> Cores:
    """The network of a sum of products.

    A bond has one state for products that have not begun below it, one for the sum of those that
    are finished there, and one for each different beginning. This is exact; a model of nearest
    neighbors on a chain has bonds of 3.
    """
    below = _sites_below(tree)
    terms = [matrices for _, matrices in operator.terms]
    coefficients = [value for value, _ in operator.terms]
    inside = lambda place, node: tuple(pair for pair in place if pair[0] in below[node])
    states: dict[int, dict[Place, int]] = {}
    for node in tree.inner:
        pairs = [(inside(place, node), place) for place in operator.places]
        begun = sorted({here for here, place in pairs if here and here != place})
        states[node] = {here: 2 + n for n, here in enumerate(begun)}
    cores = []
    for node in range(len(tree.parents)):
        children, is_root = tree.children[node], node == tree.root
        size = tree.size(node)
        bonds = [2 + len(states[child]) for child in children]
        core = np.zeros((size, size, *bonds, 1 if is_root else 2 + len(states[node])), dtype)
        one, quiet = np.eye(size, dtype=dtype), (IDENTITY,) * len(children)
        done = 0 if is_root else DONE
        if not is_root:
            core[:, :, *quiet, IDENTITY] = one
        for k in range(len(children)):
            core[:, :, *quiet[:k], DONE, *quiet[k + 1 :], done] = one
        for place, matrices, value in zip(operator.places, terms, coefficients, strict=True):
            here = inside(place, node)
            parts = [inside(place, child) for child in children]
            if not here and (place or not is_root):
                continue  # it has not begun; the identity is added at the root
            if here and here == place and here in parts:
                continue  # a child has finished it
            own = _matrix(tree, node, matrices, dtype)
            at = tuple(
                states[c][p] if p else IDENTITY for c, p in zip(children, parts, strict=True)
            )
            if here == place:
                core[:, :, *at, done] += value * own
            else:
                core[:, :, *at, states[node][here]] = own
        cores.append(jnp.asarray(core))
    return tuple(cores)


def _sites_below(tree: Tree) -> dict[int, set[int]]:
    below: dict[int, set[int]] = {}
    for node in tree.order:
        below[node] = set(tree.structure.legs[node]).union(*(below[c] for c in tree.children[node]))
    return below


def _matrix(tree: Tree, node: int, matrices: Mapping[int, Any], dtype: DTypeLike) -> np.ndarray:
    """The product of the matrices of a term on the legs of a node."""
    out = np.ones((1, 1), dtype)
    for mode in tree.structure.legs[node]:
        size = tree.structure.dims[mode]
        out = np.kron(out, matrices.get(mode, np.eye(size, dtype=dtype)))
    return out
