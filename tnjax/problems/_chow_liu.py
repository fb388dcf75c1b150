"""The best tree of observed variables, and the network that is this distribution."""

from collections.abc import Sequence

import numpy as np

from .._structure import Edge, Structure
from ._rows import Rows

Tables = list[np.ndarray]


def pair_counts(rows: Rows, dims: Sequence[int]) -> np.ndarray:
    """Weights of the rows by the categories of two variables, [categories, categories], where
    both are there; the categories of all variables stand one after the other."""
    values = np.asarray(rows.values)
    begins = np.cumsum([0, *dims])
    hot = np.zeros((len(values), begins[-1]), np.float32)
    seen = np.nonzero(values >= 0)
    hot[seen[0], begins[seen[1]] + values[seen]] = 1
    weights = np.asarray(rows.weights, np.float64) * rows.count
    return (hot * weights[:, None].astype(np.float32)).T @ hot


def mutual_informations(counts: np.ndarray, dims: Sequence[int], smoothing: float) -> np.ndarray:
    """Of every two variables, in nats; `smoothing` pseudo-counts are spread over each table."""
    begins = np.cumsum([0, *dims])[:-1]
    variables = np.repeat(np.arange(len(dims)), dims)
    sizes = np.asarray(dims, np.float64)[variables]
    joint = counts.astype(np.float64) + smoothing / (sizes[:, None] * sizes[None, :])
    blocks = lambda x: np.add.reduceat(np.add.reduceat(x, begins, 0), begins, 1)
    mass = blocks(joint)[variables][:, variables]
    with np.errstate(divide="ignore", invalid="ignore"):
        joint /= mass
        rows = np.add.reduceat(joint, begins, 1)[:, variables]
        columns = np.add.reduceat(joint, begins, 0)[variables]
        terms = np.where(joint > 0, joint * np.log(joint / (rows * columns)), 0.0)
    out = blocks(np.nan_to_num(terms))
    np.fill_diagonal(out, 0)
    return np.maximum(out, 0)


def spanning_tree(weights: np.ndarray) -> list[int]:
    """The parent of each node in the spanning tree of the largest weights; -1 at the root, the
    node with the largest sum of weights.

    Reference:
        Prim, Bell System Technical Journal 36 (1957).
    """
    count = len(weights)
    root = int(np.argmax(weights.sum(0)))
    parents = [-1] * count
    best, origin = weights[root].copy(), np.full(count, root)
    outside = np.ones(count, bool)
    outside[root] = False
    for _ in range(count - 1):
        node = int(np.argmax(np.where(outside, best, -np.inf)))
        parents[node], outside[node] = int(origin[node]), False
        closer = outside & (weights[node] > best)
        best[closer], origin[closer] = weights[node][closer], node
    return parents


def family_bonds(parents: Sequence[int]) -> list[Edge | None]:
    """For each node the bond that it shares with its children; None without any."""
    below: list[list[int]] = [[] for _ in parents]
    for node, parent in enumerate(parents):
        if parent >= 0:
            below[parent].append(node)
    return [tuple(sorted((node, *inner))) if inner else None for node, inner in enumerate(below)]


def tree_network(
    parents: Sequence[int], dims: Sequence[int], tables: Sequence[np.ndarray]
) -> tuple[Structure, tuple[np.ndarray, ...]]:
    """A tree of hidden variables as a network: node k carries variable k, and one bond, whose index
    is its hidden variable, joins it with all of its children.

    Args:
        parents: of each node; -1 at a root.
        dims: number of categories of each variable.
        tables: for each node the probabilities [category, hidden variable of the parent, own
            hidden variable] given the second; sizes of one where there is none.
    """
    bonds = family_bonds(parents)
    ranks = {e: tables[node].shape[2] for node, e in enumerate(bonds) if e is not None}
    structure = Structure.from_edges(tuple(dims), ranks)
    cores = []
    for node, table in enumerate(tables):
        parent = parents[node]
        above = bonds[parent] if parent >= 0 else None
        order = [{above: 1, bonds[node]: 2}[edge] for edge in structure.core_edges(node)]
        cores.append(
            table.transpose(0, *order, *({1, 2} - set(order))).reshape(structure.core_shape(node))
        )
    return structure, tuple(cores)


def chow_liu(
    rows: Rows, dims: Sequence[int], smoothing: float
) -> tuple[list[int], list[np.ndarray]]:
    """The tree of the highest likelihood and its tables, as `tree_network` takes them: the hidden
    variable of a node is its own category.

    Args:
        rows: of the training; a pair counts where both values are there.
        dims: number of categories of each variable.
        smoothing: pseudo-counts that are spread over each row of a table.

    Returns:
        the parents and the tables.

    Reference:
        Chow and Liu, IEEE Trans. Inf. Theory 14 (1968).
    """
    counts = pair_counts(rows, dims)
    parents = spanning_tree(mutual_informations(counts, dims, smoothing))
    begins = np.cumsum([0, *dims])
    part = lambda k: slice(begins[k], begins[k + 1])
    inner, tables = set(parents), []
    for node, parent in enumerate(parents):
        if parent < 0:
            table = np.diag(counts[part(node), part(node)])[:, None]
        else:
            table = counts[part(node), part(parent)]
        table = table.astype(np.float64) + smoothing / dims[node]
        mass = table.sum(0, keepdims=True)
        table = np.where(mass > 0, table / np.where(mass > 0, mass, 1), 1 / dims[node])
        table = table[:, :, None]
        if node in inner:
            table = table * np.eye(dims[node])[:, None, :]
        tables.append(table)
    return parents, tables


def independent(rows: Rows, dims: Sequence[int], smoothing: float) -> list[np.ndarray]:
    """The shares of the categories of each variable."""
    values, out = np.asarray(rows.values), []
    weights = np.asarray(rows.weights, np.float64) * rows.count
    for column, size in enumerate(dims):
        seen = values[:, column] >= 0
        counts = np.bincount(values[seen, column], weights[seen], minlength=size)
        counts = counts + smoothing / size
        out.append(counts / counts.sum())
    return out
