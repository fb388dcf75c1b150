"""Features of several fits: which are the same, and how much so."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float


def similarities(fits: Sequence[Sequence[np.ndarray]]) -> Float[np.ndarray, "fits rank fits rank"]:
    """The product over the factors of the cosines (without signs) of their columns, for each two
    features. A column of zeros is like none.

    Args:
        fits: the factors of each fit, [entries, rank].
    """
    total = np.ones(())
    for factors in zip(*fits, strict=True):
        columns = np.stack(factors).astype(np.result_type(factors[0], np.float64))
        norms = np.linalg.norm(columns, axis=1, keepdims=True)
        columns = columns / np.where(norms > 0, norms, 1)
        fits_count, entries, rank = columns.shape
        flat = columns.transpose(1, 0, 2).reshape(entries, -1)
        total = total * np.abs(flat.conj().T @ flat)
    return total.reshape(fits_count, rank, fits_count, rank)


def matched(
    similarity: Float[np.ndarray, "fits rank fits rank"], first: int
) -> Float[np.ndarray, "fits rank"]:
    """The silhouettes of all features, those of the same number belonging together.

    Each fit in turn is matched with the others by the Hungarian method, until nothing changes.

    Args:
        similarity: of each two features, between 0 and 1.
        first: the fit that the others are matched with at first.

    Returns:
        Shape [fits, rank], between -1 and 1; ones if there is one feature only.
    """
    from scipy.optimize import linear_sum_assignment

    fits, rank = similarity.shape[:2]
    if rank == 1:
        return np.ones((fits, 1))
    best = lambda matrix: linear_sum_assignment(matrix, maximize=True)[1]
    order = np.stack([best(similarity[first, :, n]) for n in range(fits)])
    for _ in range(fits * rank):  # a few are enough: each raises the similarity within features
        before = order.copy()
        for n in range(fits):
            others = [similarity[m, order[m], n] for m in range(fits) if m != n]
            order[n] = best(np.sum(others, axis=0))
        if np.array_equal(order, before):
            break
    every = np.arange(fits)
    sorted_by = similarity[every[:, None], order][:, :, every[:, None], order]
    return silhouettes(1 - sorted_by)


def silhouettes(
    distance: Float[np.ndarray, "fits rank fits rank"],
) -> Float[np.ndarray, "fits rank"]:
    """Of points [fits, rank], those of one column a cluster: (b - a) / max(a, b), for a the mean
    distance to the others of the cluster, and b that to the points of the nearest other one.

    Reference:
        Rousseeuw, J. Comput. Appl. Math. 20 (1987).
    """
    fits, rank = distance.shape[:2]
    fit, every = np.arange(fits)[:, None], np.arange(rank)
    between = distance.sum(2)  # [fits, rank, rank]
    own = (between[:, every, every] - distance[fit, every, fit, every]) / (fits - 1)
    other = between / fits
    other[:, every, every] = np.inf
    nearest = other.min(-1)
    largest = np.maximum(own, nearest)
    return (nearest - own) / np.where(largest > 0, largest, 1)
