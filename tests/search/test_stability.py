"""Bonds that come back on resampled data."""

import jax
import numpy as np
import pytest

from tests.helpers import needs_double
from tnjax import (
    Completion,
    Decomposition,
    Objective,
    Stability,
    Structure,
    TensorNetwork,
    search,
    stability,
)
from tnjax._report.stability import stability_table
from tnjax._search.stability import _counted

KEY = jax.random.key(0)


def noisy(structure: Structure, noise: float, seed: int) -> np.ndarray:
    truth = np.asarray(TensorNetwork.random(structure, key=jax.random.key(seed)).to_dense())
    error = np.random.default_rng(seed).standard_normal(truth.shape)
    return truth + noise * np.linalg.norm(truth) * error / np.linalg.norm(error)


def test_frequencies_and_ranks_are_counted():
    train = Structure.tensor_train((3, 4, 5), (2, 3))
    others = (train, train.grow((0, 1)), Structure.cp((3, 4, 5), 4))
    found = _counted(train, others)
    third = 1 / 3
    np.testing.assert_allclose(found.frequencies, [[0, 1, third], [1, 0, 1], [third, 1, 0]])
    np.testing.assert_allclose(found.mean_ranks, [[1, 3, 4], [3, 1, 10 / 3], [4, 10 / 3, 1]])
    assert found.elsewhere == 0
    assert found.rows[-1] == (0, 2, 1, third, 4.0)


def test_nodes_are_known_by_their_modes():
    train = Structure.tensor_train((3, 4, 5), 2)
    found = _counted(train, (train.relabel([2, 0, 1]),))
    np.testing.assert_allclose(found.frequencies, _counted(train, (train,)).frequencies)
    merged = Structure((3, 4, 5), ((0, 1), (2,)), {(0, 1): 3})
    found = _counted(train, (train, merged))
    assert found.elsewhere == 0.5
    assert found.frequencies.max() == 0.5
    found = _counted(merged, (train, train.grow((0, 2))))  # the one looked at is the coarser
    assert found.elsewhere == 0
    np.testing.assert_allclose(found.frequencies, [[0, 1], [1, 0]])
    np.testing.assert_allclose(found.mean_ranks, [[1, 3], [3, 1]])
    # Internal nodes by those that they join.
    tree = Structure.hierarchical_tucker((3, 3, 3, 3), 2)
    found = _counted(tree, (tree.relabel([0, 1, 2, 3, 5, 4]),))
    assert found.elsewhere == 0
    assert all(found.frequencies[edge] == 1 for edge in tree.edges)


@needs_double
def test_planted_bonds_come_back_and_others_do_not():
    ring = Structure.tensor_ring((4, 5, 4, 5), 2)
    problem = Decomposition(noisy(ring, 0.1, 1))
    result = search(problem, key=KEY, target_error=0.1)
    assert result.structure == ring
    told = []
    found = stability(problem, result, key=KEY, resamplings=2, on_search=told.append)
    assert isinstance(found, Stability)
    assert told == [1, 2]
    assert len(found.structures) == 2
    np.testing.assert_array_equal(found.frequencies, found.frequencies.T)
    assert all(found.frequencies[edge] == 1 for edge in ring.edges)
    assert found.frequencies[0, 2] == found.frequencies[1, 3] == 0
    section = stability_table(found).body()
    assert '<th scope="row">0-1</th><td>2</td><td>1</td><td>2</td>' in section


@needs_double
def test_entries_are_drawn_anew_for_a_completion():
    train = Structure.tensor_train((5, 5, 5), 2)
    x = noisy(train, 0.05, 2)
    seen = np.random.default_rng(0).random(x.shape) < 0.8
    problem = Completion.from_mask(x, seen)
    result = search(problem, key=KEY, target_error=0.06)
    found = stability(problem, result, key=KEY, resamplings=1, target_error=0.06)
    assert found.frequencies[0, 1] == found.frequencies[1, 2] == 1


def test_problems_that_cannot_be_drawn_anew_are_refused():
    problem = Objective(lambda tensor: (tensor**2).sum(), (3, 4))
    rank_one = TensorNetwork.random(Structure.rank_one((3, 4)), key=KEY)
    with pytest.raises(ValueError, match="cannot resample"):
        stability(problem, rank_one, key=KEY, resamplings=1)
    with pytest.raises(ValueError, match="positive number"):
        stability(Decomposition(np.ones((3, 4))), rank_one, key=KEY, resamplings=0)
