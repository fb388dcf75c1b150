"""Programs are kept as long as they may be of use, and no longer."""

import gc

import jax
import jax.numpy as jnp
import numpy as np

from tnjax import Decomposition, Structure, TensorNetwork, _compile, fit
from tnjax.problems import Objective


def loss(x, data):
    return jnp.sum((x - data) ** 2)


def test_a_default_solver_finds_its_programs_again():
    data = np.random.default_rng(0).standard_normal((3, 4))
    problem = Objective(loss, data.shape, data=data)
    start = TensorNetwork.random(Structure.rank_one(data.shape), key=jax.random.key(0))
    fit(problem, start, max_steps=2)
    before = len(_compile._cache)
    again = fit(problem, start, max_steps=2)
    assert len(_compile._cache) == before
    assert again.compile_seconds == 0


def test_clearing_the_caches_of_jax_frees_the_programs():
    problem = Decomposition(np.random.default_rng(0).standard_normal((3, 4, 5)))
    train = Structure.rank_one((3, 4, 5))
    for _ in range(2):  # and once more, for what was made afterwards
        first = fit(problem, train, key=jax.random.key(0), max_steps=2)
        assert len(_compile._cache) > 0
        jax.clear_caches()
        gc.collect()
        assert len(_compile._cache) == 0
        again = fit(problem, train, key=jax.random.key(0), max_steps=2)
        np.testing.assert_array_equal(first.network.cores[0], again.network.cores[0])
