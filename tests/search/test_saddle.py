"""Sums of product states that are orthogonal in many modes: growth of bonds alone is at a saddle
point as soon as one of the terms is found."""

import jax
import numpy as np
import pytest

from tnjax import Decomposition, Greedy, Structure, relative_error, search
from tnjax.problems import Objective


def corners(size, modes):
    """Ones at the corners of a cube: sums of orthogonal product states, all of the same norm."""
    tensor = np.zeros((size,) * modes)
    for n in range(size):
        tensor[(n,) * modes] = 1
    return tensor


def one_excitation(modes):
    """A W state: a one in one place, in each of the modes."""
    tensor = np.zeros((2,) * modes)
    for n in range(modes):
        tensor[tuple(int(m == n) for m in range(modes))] = 1
    return tensor


def orthogonal(size, modes, rank, rng):
    frames = [np.linalg.qr(rng.standard_normal((size, size)))[0] for _ in range(modes)]
    out = np.zeros((size,) * modes)
    for r in range(rank):
        term = np.ones(())
        for frame in frames:
            term = np.multiply.outer(term, frame[:, r])
        out += (1 + 0.3 * r) * term
    return out


@pytest.mark.parametrize(("size", "modes"), [(2, 6), (3, 4)])
def test_growth_leaves_the_saddle_between_orthogonal_terms(size, modes):
    tensor = corners(size, modes)
    result = search(
        Decomposition(tensor),
        key=jax.random.key(0),
        strategy=Greedy(infer=False),
        target_error=1e-3,
        max_steps=12,
    )
    assert result.status.ok
    assert float(relative_error(result.network, tensor)) <= 1e-3
    assert result.num_params <= Structure.cp((size,) * modes, size).num_params


def test_growth_leaves_it_for_other_losses():
    tensor = corners(2, 4)

    def loss(x, data):
        return ((x - data) ** 2).sum()

    problem = Objective(loss, tensor.shape, data=tensor)
    result = search(problem, key=jax.random.key(0), target_error=1e-6, max_steps=6)
    assert float(relative_error(result.network, tensor)) <= 1e-2
    assert result.num_params <= Structure.cp(tensor.shape, 2).num_params


@pytest.mark.parametrize(
    ("tensor", "known"),
    [
        (corners(2, 7), Structure.cp((2,) * 7, 2)),
        (one_excitation(6), Structure.tensor_train((2,) * 6, 2)),
        (orthogonal(4, 4, 3, np.random.default_rng(0)), Structure.cp((4,) * 4, 3)),
    ],
    ids=["corners", "one excitation", "orthogonal"],
)
def test_the_known_size_is_found(tensor, known):
    result = search(Decomposition(tensor), key=jax.random.key(0), target_error=1e-3)
    assert float(relative_error(result.network, tensor)) <= 1e-3
    assert result.num_params <= known.num_params
