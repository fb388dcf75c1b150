"""A gauge in which the singular values of a core tell what truncating it does to the tensor."""

import numpy as np

from .._structure import Structure
from .cores import Cores


def gauged(structure: Structure, cores: Cores, node: int) -> Cores:
    """The same tensor, all bonds orthogonalized towards a node.

    Nodes are visited from the far ones inwards; each is factored by QR across its bond towards
    `node` (the first on a shortest path), and the triangle goes to the neighbor. On a tree all
    other cores are then isometries, and truncating the core of `node` changes the tensor by as much
    as the core; with loops that is an estimate. Hyperedges keep their gauge.

    Args:
        structure: of the network.
        cores: of shapes `structure.core_shape`.
        node: whose core gets what the others lose.

    Returns:
        Cores of the same shapes.

    Example:
        >>> import numpy as np
        >>> from tnjax import Structure
        >>> from tnjax.moves import gauged
        >>> rng = np.random.default_rng(0)
        >>> train = Structure.tensor_train((4, 5), 2)
        >>> left, _ = gauged(train, (rng.standard_normal((4, 2)), rng.standard_normal((5, 2))), 1)
        >>> bool(np.allclose(left.T @ left, np.eye(2)))
        True

    Reference:
        Schollwöck, Annals of Physics 326 (2011), section 4.4, for chains.
    """
    out = [np.asarray(core) for core in cores]
    distance, queue = {node: 0}, [node]
    towards: dict[int, tuple[int, ...]] = {}
    for k in queue:
        for edge in structure.core_edges(k):
            other = edge[0] if edge[1] == k else edge[1]
            if len(edge) == 2 and other not in distance:
                distance[other], towards[other] = distance[k] + 1, edge
                queue.append(other)
    for k in reversed(queue[1:]):
        edge = towards[k]
        near = edge[0] if edge[1] == k else edge[1]
        axis, axis_near = structure.axis(k, edge), structure.axis(near, edge)
        matrix = np.moveaxis(out[k], axis, -1)
        rank = matrix.shape[-1]
        if matrix.size // rank < rank:  # fewer rows than columns: nothing to make orthogonal
            continue
        q, r = np.linalg.qr(matrix.reshape(-1, rank))
        out[k] = np.moveaxis(q.reshape(matrix.shape), -1, axis)
        out[near] = np.moveaxis(np.tensordot(r, out[near], (1, axis_near)), 0, axis_near)
    return tuple(out)
