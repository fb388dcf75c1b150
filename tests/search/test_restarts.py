"""Completion of exact low-rank matrices: a bad fit is repeated before a bond grows on."""

import jax
import numpy as np
import pytest

from tnjax import Completion, search


def observed(shape, rank, kind, seed):
    """A matrix, and where it is seen: half of the entries, at random or in a window of each row."""
    rng = np.random.default_rng(seed)
    matrix = rng.normal(size=(shape[0], rank)) @ rng.normal(size=(rank, shape[1]))
    if kind == "random":
        return matrix, rng.random(shape) >= 0.5
    seen = np.ones(shape, bool)
    for row in seen:
        row[(rng.integers(0, shape[1]) + np.arange(shape[1] // 2)) % shape[1]] = False
    return matrix, seen


@pytest.mark.parametrize(
    ("kind", "seed"), [("random", 2), ("random", 3), ("window", 1), ("window", 2)]
)
def test_the_planted_rank_is_found(kind, seed):
    matrix, seen = observed((30, 24), 2, kind, seed)
    key = jax.random.key(seed)
    problem = Completion.from_mask(matrix, seen, validation=0.1, key=key)
    found = search(problem, key=key, target_error=1e-4)
    missed = np.asarray(found.network.to_dense()) - matrix
    assert np.linalg.norm(missed[~seen]) <= 1e-3 * np.linalg.norm(matrix[~seen])
    assert found.num_params == 2 * sum(matrix.shape)
