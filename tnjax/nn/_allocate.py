"""Ranks for many matrices at once, from their spectra: parameters go where they buy the most."""

import dataclasses
import heapq
import math
from collections.abc import Sequence

import numpy as np

from ._formats import block_tensor_train, low_rank
from ._layout import Layout
from ._project import low_rank_factors, padded_tensor, project


@dataclasses.dataclass(frozen=True)
class Family:
    """Layouts of one matrix that differ by one rank, with what each rank buys.

    Attributes:
        gains: decrease of the squared error by the first, second, ... rank, [ranks]; never rising.
        cost: parameters of each rank.

    Example:
        >>> import numpy as np
        >>> from tnjax.nn import LowRank
        >>> LowRank().family(np.diag([3.0, 2.0, 1.0])).gains.round(6).tolist()
        [9.0, 4.0, 1.0]
    """

    gains: np.ndarray
    cost: int


def allocate(
    families: Sequence[Family], budget: int, *, weights: Sequence[float] | None = None
) -> list[int]:
    r"""Ranks that maximize the weighted sum of gains within a number of parameters.

    Gains never rise with the rank, so that taking the best gain per parameter first is optimal
    up to the last item that does not fit (the fractional knapsack); what is left then goes to the
    best items that still fit. Every matrix gets rank one at least.

    Args:
        families: one for each matrix.
        budget: parameters for all of them.
        weights: factor of each matrix's gains, 1 by default.

    Returns:
        The rank of every matrix.

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
    least = sum(family.cost for family in families)
    if budget < least:
        raise ValueError(
            f"A budget of {budget} parameters is less than rank one for all {len(families)} "
            f"layers, which takes {least}. Raise the budget, or leave layers out."
        )
    ranks = [1] * len(families)
    left = budget - least

    def score(n: int) -> float:
        return -weights[n] * float(families[n].gains[ranks[n]]) / families[n].cost

    queue = [(score(n), n) for n, f in enumerate(families) if len(f.gains) > 1]
    heapq.heapify(queue)
    while queue:
        _, n = heapq.heappop(queue)
        if families[n].cost > left:
            continue
        ranks[n] += 1
        left -= families[n].cost
        if ranks[n] < len(families[n].gains):
            heapq.heappush(queue, (score(n), n))
    return ranks


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
        rank = layout.structure.rank((0, 1))
        left, right = low_rank_factors(matrix, rank)
        return tuple(core if rank > 1 else core.reshape(-1) for core in (left, right.T))


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
