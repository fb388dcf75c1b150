r"""Growth candidates as networks of one shape.

Only the cores on a bond carry its index, so growing it by one slice adds one term:

$$T_{grown} = T_{old} + \Delta T(a, b, \ldots)$$

where $\Delta T$ is the same network with the cores on the bond replaced by their new slices and
its index held at one value. That is exact. Embedding the slices at position 0 of the bond's
axis, with zeros elsewhere, gives every candidate the shapes of the current network, so that
candidates are evaluated together under `vmap`. A hyperedge works alike, with a slice for each of
its nodes; a bond that is not there yet has no axis, and its slices are whole cores.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jax import lax
from jax.typing import DTypeLike

from ... import _lean as lean
from ..._network import TensorNetwork
from ..._structure import Edge, Structure

Stack = tuple[np.ndarray, ...]


def draw_slices(
    structure: Structure,
    capacity: Structure,
    edges: Sequence[Edge],
    dtype: DTypeLike,
    seed: Sequence[int],
    *,
    increment: int,
) -> Stack:
    """Gaussian slices of unit norm, embedded in the shapes of `capacity`.

    They depend on the seed and the edge alone, so that an edge's slices do not depend on which
    others are evaluated with it. Drawn on the host: nothing is compiled for it.

    Returns:
        for each node an array [increment, edges, ...core]; zero where the edge does not touch
        the node, at other positions of the edge's axis, and past the ranks of `structure`.
    """
    shapes = [capacity.core_shape(node) for node in range(capacity.num_nodes)]
    out = tuple(np.zeros((increment, len(edges), *shape), dtype) for shape in shapes)
    for c, edge in enumerate(edges):
        rng = np.random.default_rng([*seed, *edge])
        for node in edge:
            where = slice_position(structure, capacity, node, edge)
            for n in range(increment):
                target = out[node][n, c][where]
                fresh = rng.standard_normal(target.shape)
                if np.iscomplexobj(target):
                    fresh = fresh + 1j * rng.standard_normal(target.shape)
                out[node][n, c][where] = fresh / np.linalg.norm(fresh)
    return out


def slice_position(
    structure: Structure, capacity: Structure, node: int, edge: Edge
) -> tuple[slice | int, ...]:
    """Where in a core of `capacity` the new slice of `edge` lies: position 0 on the edge's own
    axis, within the ranks of `structure` on the others."""
    where: list[slice | int] = [slice(None)] * len(structure.legs[node])
    for other in capacity.core_edges(node):
        if other == edge or other not in structure.edges:
            where.append(0)
        else:
            where.append(slice(structure.edges[other]))
    return tuple(where)


def on_edge(structure: Structure, edges: Sequence[Edge]) -> np.ndarray:
    """Whether a node is on an edge: booleans [edges, nodes]."""
    return np.asarray([[k in edge for k in range(structure.num_nodes)] for edge in edges])


def candidate_networks(
    old: TensorNetwork, edges: Sequence[Edge], slices: Sequence[Any]
) -> TensorNetwork:
    """The networks ΔT, stacked over edges: slices where an edge touches a node, old cores
    elsewhere.

    Args:
        old: the network that grows.
        edges: the bonds that may.
        slices: for each node an array [edges, *core], zero where an edge does not touch it.

    Returns:
        a network whose cores are [edges, *core]: for `over_candidates`.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from tnjax import Structure, TensorNetwork
        >>> from tnjax.screens import candidate_networks
        >>> old = TensorNetwork.random(Structure.rank_one((3, 4)), key=jax.random.key(0))
        >>> slices = (jnp.ones((1, 3)), jnp.ones((1, 4)))
        >>> [core.shape for core in candidate_networks(old, ((0, 1),), slices).cores]
        [(1, 3), (1, 4)]
    """
    member = on_edge(old.structure, edges)
    cores = []
    for node, core in enumerate(old.cores):
        every = lax.broadcast_in_dim(
            core, (len(edges), *core.shape), tuple(range(1, core.ndim + 1))
        )
        cores.append(
            lax.add(slices[node], lax.mul(lean.along_first(~member[:, node], every), every))
        )
    return stacked(old.structure, cores)


def stacked(structure: Structure, cores: Sequence[Any]) -> TensorNetwork:
    """A network whose cores have a leading axis: what `vmap` maps over."""
    return TensorNetwork.unchecked(structure, cores)


def balanced_slices(slices: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The same term, its slices scaled to equal norms."""
    norms = np.asarray([np.linalg.norm(part) for part in slices])
    if not (norms > 0).all():
        return list(slices)
    mean = np.exp(np.log(norms).mean())
    return [
        part * np.asarray(mean / norm, part.dtype) for part, norm in zip(slices, norms, strict=True)
    ]
