"""Changes of a structure that carry the cores along: host side, NumPy, exact where they can be.

Cores are small; doing this on the host compiles nothing.
"""

from collections.abc import Iterable, Sequence

import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array

from .._structure import Edge, Structure

Cores = tuple[np.ndarray | Array, ...]


def grow(
    structure: Structure, cores: Cores, edge: Edge, slices: Sequence[Sequence[np.ndarray]]
) -> tuple[Structure, Cores]:
    """Append slices to a bond; one entry of `slices` for each new rank, with one array for each
    node of the edge (its core's shape without the axis of the bond)."""
    new = structure.grow(edge, len(slices))
    out = list(cores)
    for position, node in enumerate(edge):
        axis = new.axis(node, edge)
        core = out[node] if edge in structure.edges else np.expand_dims(out[node], axis)
        # A slice that was found in a higher precision must not carry it into the network.
        fresh = [np.expand_dims(pair[position], axis).astype(core.dtype) for pair in slices]
        out[node] = np.concatenate([core, *fresh], axis)
    return new, tuple(out)


def shrink(structure: Structure, cores: Cores, edge: Edge) -> tuple[Structure, Cores]:
    """One rank less on a bond, at the smallest change of its two end cores' product.

    Both are factored by QR and the product of the triangles by SVD (Eckart and Young), so the
    choice does not depend on the gauge. On a hyperedge, the term with the smallest product of
    norms is dropped.
    """
    new = structure.shrink(edge)
    out = [np.asarray(core) for core in cores]
    axes = [structure.axis(node, edge) for node in edge]
    if len(edge) == 2:
        a, b = (out[node] for node in edge)
        parts = _truncate_pair(a, b, axes[0], axes[1], structure.edges[edge] - 1)
    else:
        norms = [
            np.linalg.norm(
                np.moveaxis(out[node], axis, 0).reshape(structure.edges[edge], -1), axis=1
            )
            for node, axis in zip(edge, axes, strict=True)
        ]
        weakest = int(np.argmin(np.prod(norms, axis=0)))
        parts = [np.delete(out[node], weakest, axis) for node, axis in zip(edge, axes, strict=True)]
    for node, axis, part in zip(edge, axes, parts, strict=True):
        out[node] = part if edge in new.edges else np.asarray(np.take(part, 0, axis))
    return new, tuple(out)


def shrunk(structure: Structure, cores: Cores, to: Structure) -> tuple[Structure, Cores]:
    """As many ranks less on each bond as it has more than in another structure with the same
    nodes, one after the other as in `shrink`."""
    old = structure
    for edge in structure.edges:
        while old.rank(edge) > to.rank(edge):
            old, cores = shrink(old, cores, edge)
    return old, cores


def _truncate_pair(a, b, axis_a: int, axis_b: int, rank: int) -> list[np.ndarray]:
    a, b = np.moveaxis(a, axis_a, -1), np.moveaxis(b, axis_b, 0)
    qa, ra = np.linalg.qr(a.reshape(-1, a.shape[-1]))
    qb, rb = np.linalg.qr(b.reshape(len(b), -1).T)
    left, right = two_factors(ra @ rb.T, rank)
    left, right = qa @ left, right @ qb.T
    left = left.reshape(*a.shape[:-1], rank)
    right = right.reshape(rank, *b.shape[1:])
    return [np.moveaxis(left, -1, axis_a), np.moveaxis(right, 0, axis_b)]


def two_factors(matrix: np.ndarray, rank: int) -> tuple[np.ndarray, np.ndarray]:
    """The best factors of a rank, of equal norms; zero where the matrix has no more ranks."""
    u, s, v = np.linalg.svd(matrix, full_matrices=False)
    root = np.sqrt(s[:rank])
    missing = rank - len(root)
    left, right = u[:, :rank] * root, root[:, None] * v[:rank]
    return np.pad(left, ((0, 0), (0, missing))), np.pad(right, ((0, missing), (0, 0)))


def pad(structure: Structure, cores: Cores, capacity: Structure) -> Cores:
    """The cores in the larger shapes of `capacity`, filled with zeros: the same tensor."""
    return tuple(pad_core(structure, node, core, capacity) for node, core in enumerate(cores))


def pad_core(structure: Structure, node: int, core: ArrayLike, capacity: Structure) -> np.ndarray:
    """One core in the shape that it has in `capacity`, filled with zeros."""
    core = np.asarray(core)
    padded = np.zeros(capacity.core_shape(node), core.dtype)
    where: list[slice | int] = [slice(None)] * len(structure.legs[node])
    for edge in capacity.core_edges(node):
        where.append(slice(structure.rank(edge)) if edge in structure.edges else 0)
    padded[tuple(where)] = core
    return padded


def unpad(structure: Structure, cores: Cores, capacity: Structure) -> Cores:
    """The inverse of `pad`."""
    out = []
    for node, core in enumerate(cores):
        where: list[slice | int] = [slice(None)] * len(structure.legs[node])
        for edge in capacity.core_edges(node):
            where.append(slice(structure.rank(edge)) if edge in structure.edges else 0)
        out.append(np.asarray(np.asarray(core)[tuple(where)]))
    return tuple(out)


def connected_parts(nodes: Iterable[int], edges: Iterable[Edge]) -> dict[int, int]:
    """For each node a number that it shares with all nodes that bonds connect it to."""
    parts = {node: node for node in nodes}
    for edge in edges:
        joined = {parts[node] for node in edge}
        parts = {node: min(joined) if part in joined else part for node, part in parts.items()}
    return parts
