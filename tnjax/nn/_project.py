"""From a dense matrix to the cores of a layout: truncated SVDs along a tree, then least squares."""

import dataclasses
import itertools
import math
import warnings
from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray

from .._deprecated import key_for_seed
from .._keys import generator
from .._network import TensorNetwork
from .._structure import Edge
from .._tuned import tuned
from ..contract import host
from ..problems import Completion, Decomposition
from ..solve import fit
from ._layout import Layout


@dataclasses.dataclass(frozen=True)
class FilledBonds:
    """Weights projected on a layout.

    Attributes:
        noise: entries of bonds outside of the tree, relative to their core.
        exact: relative error of the SVDs at which no least squares are made.
        fills: times that padding is filled in by what the SVDs say of it: least squares from zeros
            get stuck where they are, and 300 of 16 x 6 with 8 missing took it from 0.1 to 1e-7.
        fills_of_large: the same for larger tensors, whose SVDs take long.
        small: entries up to which a tensor is small.
    """

    noise: float = 0.1
    exact: float = 1e-12
    fills: int = 300
    fills_of_large: int = 10
    small: int = 4096


PROJECTION = tuned("layer_projection", FilledBonds())


@dataclasses.dataclass(frozen=True)
class Projection:
    """The cores found for a matrix.

    Attributes:
        cores: of `layout.core_shapes`.
        error: relative Frobenius error, ||W - found|| / ||W||.

    Example:
        >>> import numpy as np
        >>> from tnjax.nn import low_rank, project
        >>> found = project(low_rank(2, 2, 1), np.diag([4.0, 3.0]))
        >>> [core.shape for core in found.cores], round(found.error, 6)
        ([(2,), (2,)], 0.6)
    """

    cores: tuple[np.ndarray, ...]
    error: float


@key_for_seed
def project(
    layout: Layout, matrix: np.ndarray, *, sweeps: int = 20, key: PRNGKeyArray | None = None
) -> Projection:
    """Approximate a dense matrix by a layout.

    Sizes that are padded: entries that do not exist carry no weight in the least squares.
    Bonds that form a tree (low rank, TT-matrix, Tucker, block-wise low rank) start at truncated
    SVDs from the leaves to the root: the optimum for one bond, and near it for several. Where
    there is more than one bond, alternating least squares improve on that, and fill the bonds
    that close loops, which start at small random numbers.

    Args:
        layout: gives the shapes.
        matrix: [rows, columns], finite.
        sweeps: of least squares at the most; none are made where the SVD is optimal.
        key: for the bonds outside the tree; `jax.random.key(0)` by default.

    Returns:
        The cores, of `layout.core_shapes`, and their error.

    Raises:
        ValueError: if the shape is not the layout's, an entry is not finite, or the layout has
            copies outside the block pattern of Block Tensor-Trains.

    Example:
        >>> import numpy as np
        >>> from tnjax.nn import low_rank, project
        >>> matrix = np.arange(12.0).reshape(3, 4)
        >>> round(project(low_rank(3, 4, 2), matrix).error, 6)
        0.0
    """
    matrix = np.asarray(matrix)
    if matrix.shape != layout.shape:
        raise ValueError(f"project: expected a matrix {layout.shape}, got {matrix.shape}.")
    if not np.isfinite(matrix).all():
        raise ValueError("project: the matrix has entries that are NaN or infinite.")
    own = jnp.issubdtype(matrix.dtype, jnp.floating)
    dtype = matrix.dtype if own else np.dtype(np.float32)
    tensor = padded_tensor(layout, matrix)
    tree = spanning_tree(layout)
    cores = _tree_svd(layout, tensor, tree, generator(key))
    if sweeps and layout.shape != (layout.padded_rows, layout.padded_columns):
        cores = _filled(layout, tensor, tree, cores)
    norm = float(np.linalg.norm(tensor))
    bonds = [edge for edge in layout.structure.edges if not set(edge) & set(layout.copies)]
    padded = layout.shape != (layout.padded_rows, layout.padded_columns)
    start_error = _error(layout, cores, matrix)
    improves = (len(bonds) > 1 or padded) and start_error > PROJECTION().exact * norm
    if improves and sweeps and not layout.copies:
        problem = _problem(layout, tensor.astype(np.promote_types(dtype, np.float32)))
        start = TensorNetwork(layout.structure, [core.astype(problem.dtype) for core in cores])
        found = fit(problem, start, max_steps=sweeps)
        fitted = [np.asarray(core, np.float64) for core in found.network.cores]
        # The weights of least squares are not those of the error where padding was filled in.
        if _error(layout, fitted, matrix) < start_error:
            cores = fitted
    error = _error(layout, cores, matrix)
    return Projection(
        tuple(core.astype(dtype) for core in cores), float(error / norm) if norm else 0.0
    )


def _filled(
    layout: Layout, tensor: np.ndarray, tree: list[Edge], cores: list[np.ndarray]
) -> list[np.ndarray]:
    """The SVDs again and again with what they say of the padding in place of zeros, for a tree."""
    if layout.copies or len(layout.structure.edges) >= len(layout.nodes):
        return cores
    settings = PROJECTION()
    steps = settings.fills if tensor.size <= settings.small else settings.fills_of_large
    padding = np.ones((layout.padded_rows, layout.padded_columns), bool)
    padding[: layout.rows, : layout.columns] = False
    padding = padding.reshape(tensor.shape)
    work, norm = tensor.copy(), float(np.linalg.norm(tensor))
    for _ in range(steps):
        full = host.contract(layout.weight_equation(), cores)
        lost = np.linalg.norm((full - work)[~padding])
        if lost <= settings.exact * norm:
            break
        work[padding] = full[padding]
        cores = _tree_svd(layout, work, tree, generator(None))
    return cores


def _error(layout: Layout, cores: Sequence[np.ndarray], matrix: np.ndarray) -> float:
    return float(np.linalg.norm(rebuild(layout, cores) - np.asarray(matrix, np.float64)))


def _problem(layout: Layout, tensor: np.ndarray) -> Completion | Decomposition:
    """The whole tensor, or of a padded one the entries that the matrix has."""
    if layout.shape == (layout.padded_rows, layout.padded_columns):
        return Decomposition(tensor)
    entries = np.indices(layout.shape).reshape(2, -1)
    count, dims = layout.num_row_modes, layout.structure.dims
    digits = [
        *np.unravel_index(entries[0], dims[:count]),
        *np.unravel_index(entries[1], dims[count:]),
    ]
    with warnings.catch_warnings():
        # Digits that only padding has are no entries of the matrix, whatever they are.
        warnings.simplefilter("ignore", UserWarning)
        return Completion(np.stack(digits, 1), tensor[tuple(digits)], dims)


def padded_tensor(layout: Layout, matrix: np.ndarray) -> np.ndarray:
    """The matrix filled up with zeros, in the modes of the layout, double precision."""
    widths = ((0, layout.padded_rows - layout.rows), (0, layout.padded_columns - layout.columns))
    return np.pad(np.asarray(matrix, np.float64), widths).reshape(layout.structure.dims)


def rebuild(layout: Layout, cores: Sequence[np.ndarray]) -> np.ndarray:
    """The dense matrix on the host, double precision."""
    operands = [np.asarray(core, np.float64) for core in cores]
    full = host.contract(layout.weight_equation(), operands)
    full = full.reshape(layout.padded_rows, layout.padded_columns)
    return full[: layout.rows, : layout.columns]


def spanning_tree(layout: Layout) -> list[Edge]:
    """Bonds of a spanning tree of the cores, largest ranks first, filled up with pairs that have
    no bond (rank 1) where the graph is not connected."""
    structure, nodes = layout.structure, layout.nodes
    pairs = [edge for edge in structure.edges if len(edge) == 2 and set(edge) <= set(nodes)]
    pairs.sort(key=lambda edge: -structure.edges[edge])
    pairs += list(itertools.pairwise(nodes))
    part = {node: node for node in nodes}
    tree = []
    for a, b in pairs:
        if part[a] != part[b]:
            tree.append((a, b))
            old, new = part[b], part[a]
            part = {node: new if p == old else p for node, p in part.items()}
    return tree


def _tree_svd(
    layout: Layout, tensor: np.ndarray, tree: list[Edge], rng: np.random.Generator
) -> list[np.ndarray]:
    """Truncated SVDs from the leaves to the root. Axes are named: modes by number, bonds by edge;
    modes of copies are batch axes of every SVD."""
    structure = layout.structure
    copied = [structure.legs[node][0] for node in layout.copies]
    for node in layout.copies:
        (edge,) = structure.core_edges(node)
        if set(edge) != {node, *layout.nodes}:
            raise ValueError(
                f"project: the copy {node} is not on all cores of {layout}; only layouts whose "
                "copies are (Block Tensor-Trains, Monarch) are found from a dense matrix."
            )
    names: list = list(range(tensor.ndim))
    order = copied + [mode for mode in names if mode not in copied]
    tensor, names = tensor.transpose(order), order
    found: dict[int, tuple[np.ndarray, list]] = {}
    bonds = {node: [edge for edge in tree if node in edge] for node in layout.nodes}
    open_bonds = {node: list(edges) for node, edges in bonds.items()}
    remaining = list(layout.nodes)
    while len(remaining) > 1:
        # Any leaf will do; node 0 stays as the root where it can.
        leaf = min((k for k in remaining if len(open_bonds[k]) == 1), key=lambda k: (k == 0, k))
        (edge,) = open_bonds[leaf]
        mine = [m for m in structure.legs[leaf]] + [e for e in bonds[leaf] if e != edge]
        rest = [name for name in names if name not in mine and name not in copied]
        rank = structure.rank(edge)
        left, right = _truncated(tensor, names, copied, mine, rest, rank)
        found[leaf] = (left, [*copied, *mine, edge])
        tensor, names = right, [*copied, edge, *rest]
        remaining.remove(leaf)
        (other,) = set(edge) - {leaf}
        open_bonds[other].remove(edge)
    found[remaining[0]] = (tensor, names)
    return _balanced([_arranged(layout, node, *found[node], rng) for node in layout.nodes])


def _truncated(tensor, names, copied, mine, rest, rank):
    """Batched truncated SVD of the axes `mine` against `rest`, filled with zeros to `rank`."""
    size = dict(zip(names, tensor.shape, strict=True))
    shape = lambda axes: [size[name] for name in axes]
    order = [names.index(name) for name in (*copied, *mine, *rest)]
    matrix = tensor.transpose(order).reshape(
        *shape(copied), math.prod(shape(mine)), math.prod(shape(rest))
    )
    left, right = low_rank_factors(matrix, rank)
    return left.reshape(*shape(copied), *shape(mine), rank), right.reshape(
        *shape(copied), rank, *shape(rest)
    )


def low_rank_factors(matrix: np.ndarray, rank: int) -> tuple[np.ndarray, np.ndarray]:
    """The best A [..., rows, rank] with orthonormal columns, and B, for A B; zeros past the rank
    of the matrix."""
    u, s, v = np.linalg.svd(matrix, full_matrices=False)
    keep = min(rank, s.shape[-1])
    left, right = u[..., :keep], s[..., :keep, None] * v[..., :keep, :]
    fill = rank - keep
    batch = ((0, 0),) * (matrix.ndim - 2)
    return np.pad(left, (*batch, (0, 0), (0, fill))), np.pad(right, (*batch, (0, fill), (0, 0)))


def _arranged(layout: Layout, node: int, core: np.ndarray, names: list, rng) -> np.ndarray:
    """The axes in the order of the structure; bonds outside the tree get small random numbers."""
    structure = layout.structure
    swap = {structure.core_edges(copy)[0]: structure.legs[copy][0] for copy in layout.copies}
    wanted = [*structure.legs[node], *(swap.get(e, e) for e in structure.core_edges(node))]
    extra = [name for name in wanted if name not in names]
    gone = tuple(axis for axis, name in enumerate(names) if name not in wanted)
    core = core.squeeze(gone)  # bonds of rank 1 that only complete the tree
    names = [name for name in names if name in wanted] + extra
    if extra:
        ranks = [structure.edges[edge] for edge in extra]
        scale = PROJECTION().noise * np.sqrt(np.mean(core**2))
        filled = scale * rng.standard_normal((*core.shape, *ranks))
        filled[(..., *(0 for _ in extra))] = core
        core = filled
    return core.transpose([names.index(name) for name in wanted])


def _balanced(cores: list[np.ndarray]) -> list[np.ndarray]:
    norms = np.asarray([np.linalg.norm(core) for core in cores])
    if not (norms > 0).all():
        return cores
    mean = np.exp(np.log(norms).mean())
    return [core * (mean / norm) for core, norm in zip(cores, norms, strict=True)]
