"""Ranks for many matrices at once, from their spectra: parameters go where they buy the most."""

import dataclasses
import heapq
import math
from collections.abc import Sequence

import numpy as np

from ._formats import block_tensor_train, low_rank
from ._layout import Layout
from ._project import padded_tensor, project


@dataclasses.dataclass(frozen=True)
class Family:
    """Layouts of one matrix that differ by one rank, with what each rank buys.

    Attributes:
        gains: decrease of the squared error by the first, second, ... rank, [ranks]; never rising.
        cost: parameters of each rank.
        dense: parameters of the matrix itself: what it costs to leave it as it is. None where that
            is no choice.

    Example:
        >>> import numpy as np
        >>> from tnjax.nn import LowRank
        >>> LowRank().family(np.diag([3.0, 2.0, 1.0])).gains.round(6).tolist()
        [9.0, 4.0, 1.0]
    """

    gains: np.ndarray
    cost: int
    dense: int | None = None

    def at_least_dense(self, rank: int) -> bool:
        """Whether networks of this rank have as many parameters as the matrix."""
        return self.dense is not None and rank * self.cost >= self.dense


def allocate(
    families: Sequence[Family], budget: int, *, weights: Sequence[float] | None = None
) -> list[int]:
    r"""Ranks that maximize the weighted sum of gains within a number of parameters.

    Gains never rise with the rank, so that taking the best gain per parameter first is optimal
    up to the last item that does not fit (the fractional knapsack); what is left then goes to the
    best items that still fit. Every matrix gets rank one at least. Where a rank would cost as much
    as the matrix itself, the matrix is left dense, which has no error (where `Family.dense` allows
    it).

    Args:
        families: one for each matrix.
        budget: parameters for all of them.
        weights: factor of each matrix's gains, 1 by default.

    Returns:
        The rank of every matrix; 0 for one that is left dense.

    Raises:
        ValueError: if the budget does not give every matrix one rank.

    Example:
        >>> import numpy as np
        >>> from tnjax.nn import Family, allocate
        >>> steep = Family(np.array([9.0, 1.0, 0.1]), 10)
        >>> flat = Family(np.array([4.0, 4.0, 4.0]), 10)
        >>> allocate([steep, flat], 40)
        [1, 3]
    """
    weights = [1.0] * len(families) if weights is None else list(weights)
    costs = [_first(family) for family in families]
    least = sum(costs)
    if budget < least:
        raise ValueError(
            f"A budget of {budget} parameters is less than rank one for all {len(families)} "
            f"layers, which takes {least}. Raise the budget, or leave layers out."
        )
    ranks = [0 if family.at_least_dense(1) else 1 for family in families]
    left = budget - least
    queue = [_next(family, ranks[n], weights[n], n) for n, family in enumerate(families)]
    queue = [item for item in queue if item is not None]
    heapq.heapify(queue)
    while queue:
        _, n, rank, cost = heapq.heappop(queue)
        if cost > left:
            continue
        ranks[n] = rank
        left -= cost
        item = _next(families[n], rank, weights[n], n)
        if item is not None:
            heapq.heappush(queue, item)
    return ranks


def _first(family: Family) -> int:
    """Parameters of a matrix at the least."""
    return family.cost if family.dense is None else min(family.cost, family.dense)


def _next(
    family: Family, rank: int, weight: float, number: int
) -> tuple[float, int, int, int] | None:
    """What comes after a rank: (order, number, rank, parameters more); None after the last."""
    if not 0 < rank < len(family.gains):
        return None
    if not family.at_least_dense(rank + 1):
        gain = float(family.gains[rank])
        return -weight * gain / family.cost, number, rank + 1, family.cost
    gain = float(family.gains[rank:].sum())
    cost = (family.dense or 0) - rank * family.cost
    return (-weight * gain / max(cost, 1), number, 0, cost) if gain > 0 else None


@dataclasses.dataclass(frozen=True)
class LowRank:
    """W = A B for every layer: one singular value per rank.

    Example:
        >>> from tnjax.nn import LowRank
        >>> LowRank().layout((8, 6), 2).num_params
        28
    """

    def family(self, matrix: np.ndarray) -> Family:
        """What every rank buys for a matrix [rows, columns]."""
        return Family(np.linalg.svd(matrix, compute_uv=False) ** 2, sum(matrix.shape))

    def layout(self, shape: tuple[int, int], rank: int) -> Layout:
        """The layout of a matrix of this shape and rank."""
        return low_rank(*shape, rank)

    def cores(self, matrix: np.ndarray, layout: Layout) -> tuple[np.ndarray, ...]:
        """The best cores of the layout for a matrix."""
        return self.from_factors(np.linalg.svd(matrix, full_matrices=False), layout)

    def from_factors(
        self, factors: tuple[np.ndarray, np.ndarray, np.ndarray], layout: Layout
    ) -> tuple[np.ndarray, ...]:
        """The best cores of the layout for a matrix whose SVD (U, s, V) is known."""
        u, s, v = factors
        rank = layout.structure.rank((0, 1))
        keep = min(rank, len(s))
        fill = ((0, 0), (0, rank - keep))
        cores = np.pad(u[:, :keep], fill), np.pad((s[:keep, None] * v[:keep]).T, fill)
        return tuple(core if rank > 1 else core.reshape(-1) for core in cores)


@dataclasses.dataclass(frozen=True)
class Blocks:
    """A Block Tensor-Train for every layer: `row_blocks` x `column_blocks` low-rank blocks of one
    shared rank, rows dealt out to the blocks in turn.

    Args:
        row_blocks, column_blocks: numbers of blocks.

    Example:
        >>> from tnjax.nn import Blocks
        >>> Blocks(2, 3).layout((8, 6), 1).num_params
        36
    """

    row_blocks: int
    column_blocks: int

    def layout(self, shape: tuple[int, int], rank: int) -> Layout:
        """The layout of a matrix of this shape, with blocks of this rank."""
        rows, columns = shape
        return block_tensor_train(
            (-(-rows // self.row_blocks), self.row_blocks),
            (self.column_blocks, -(-columns // self.column_blocks)),
            rank,
            rows=rows,
            columns=columns,
        )

    def family(self, matrix: np.ndarray) -> Family:
        """What every rank buys for a matrix [rows, columns]."""
        layout = self.layout(matrix.shape, 2)
        blocks = padded_tensor(layout, matrix).transpose(1, 2, 0, 3)
        values = np.linalg.svd(blocks, compute_uv=False)
        return Family((values**2).sum((0, 1)), layout.num_params // 2)

    def cores(self, matrix: np.ndarray, layout: Layout) -> tuple[np.ndarray, ...]:
        """The best cores of the layout for a matrix."""
        return project(layout, matrix).cores


def root_pair(covariance: np.ndarray, ridge: float) -> tuple[np.ndarray, np.ndarray]:
    """The square root of a covariance and its inverse, with a ridge relative to the mean
    variance: whitening of the inputs."""
    values, vectors = np.linalg.eigh(covariance)
    values = np.maximum(values, 0) + ridge * max(values.mean(), np.finfo(float).tiny)
    root = np.sqrt(values)
    return (vectors * root) @ vectors.T, (vectors / root) @ vectors.T


def budget_of(budget: float, dense: int) -> int:
    """Parameters meant by a budget: an integer, or a fraction of the dense weights.

    Raises:
        ValueError: unless it is a positive integer or a fraction in (0, 1).
    """
    if isinstance(budget, bool) or not math.isfinite(budget) or budget <= 0:
        raise ValueError(f"budget: expected parameters, or a fraction in (0, 1); got {budget!r}.")
    if budget < 1:
        return int(budget * dense)
    if budget != int(budget):
        raise ValueError(f"budget: {budget!r} is neither a whole number nor a fraction below 1.")
    return int(budget)
