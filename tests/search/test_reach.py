"""What is said of targets that cannot be met, or should not be."""

import warnings

import jax
import numpy as np
import pytest
from scipy import stats

from tnjax import Decomposition, Greedy, Structure, TensorNetwork, search
from tnjax._search.reach import _quartiles, noise_level
from tnjax._search.spectra.cuts import telling_cuts
from tnjax._search.spectra.unfoldings import Unfoldings

KEY = jax.random.key(0)


def planted(dims=(18, 15, 16), rank=3, noise=0.0, seed=0):
    network = TensorNetwork.random(
        Structure.cp(dims, rank), key=jax.random.key(seed), dtype=np.float64
    )
    tensor = np.asarray(network.to_dense())
    wild = np.random.default_rng(seed).standard_normal(dims)
    return tensor + noise * np.linalg.norm(tensor) / np.linalg.norm(wild) * wild


def level(tensor, target):
    return noise_level(Unfoldings(tensor, target), telling_cuts(tensor.shape, 1e11))


@pytest.mark.parametrize("noise", [0.01, 0.05, 0.3])
def test_the_noise_beside_a_network_is_told_by_its_unfoldings(noise):
    for seed in range(3):
        found = level(planted((24, 20, 22), noise=noise, seed=seed), noise / 3)
        truth = noise / np.sqrt(1 + noise**2)  # of all, not of the network alone
        np.testing.assert_allclose(found, truth, rtol=0.1)


def test_what_is_no_noise_is_not_taken_for_it():
    grid = np.linspace(0, 1, 20)
    smooth = 1 / (1 + grid[:, None, None] + grid[:, None] ** 2 + 3 * grid)
    assert level(smooth, 1e-3) is None
    assert level(planted(), 1e-3) is None
    steps = np.cumsum(np.random.default_rng(0).standard_normal((20, 20, 20)), axis=1)
    assert level(steps, 1e-2) is None


def test_quartiles_of_noise_are_those_of_random_matrices():
    rng = np.random.default_rng(0)
    for rows, columns in ((300, 300), (300, 900)):
        noise = rng.standard_normal((rows, columns))
        values = np.linalg.svd(noise, compute_uv=False) ** 2 / columns
        found = stats.scoreatpercentile(values, [25, 50, 75])
        np.testing.assert_allclose(_quartiles(rows / columns), found, rtol=0.05)


def test_a_target_below_the_noise_is_said_to_be_so_at_first():
    tensor = planted((14, 13, 15), noise=0.05)
    with pytest.warns(UserWarning, match=r"about [45](.\d)? % of noise: a target error of 1 %"):
        search(Decomposition(tensor), key=KEY, target_error=0.01, max_fitted=2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        search(Decomposition(tensor), key=KEY, target_error=0.055, max_fitted=2)


def test_a_target_below_the_precision_is_said_to_be_so():
    tensor = planted((6, 5, 4), rank=1)
    for dtype, target in ((np.float32, 1e-9), (np.float64, 1e-16)):
        with pytest.warns(UserWarning, match=f"below what {np.dtype(dtype)} can tell"):
            search(Decomposition(tensor.astype(dtype)), key=KEY, target_error=target, max_steps=1)


def test_a_network_larger_than_the_tensor_is_said_to_be_so():
    tensor = np.random.default_rng(0).standard_normal((4, 4, 4))
    with pytest.warns(UserWarning, match="(more than|as many as) the 64 entries"):
        found = search(
            Decomposition(tensor),
            key=KEY,
            target_error=1e-6,
            strategy=Greedy(infer=False, prune=False),
        )
    assert found.structure.num_nodes == 1  # the tensor itself
    assert found.num_params == 64
    assert found.status.ok
    np.testing.assert_allclose(found.network.to_dense(), tensor, rtol=1e-12)


@pytest.mark.parametrize("shape", [(6, 4), (3, 4, 3)])
def test_no_bond_outgrows_what_its_sides_can_use(shape):
    tensor = np.random.default_rng(0).standard_normal(shape)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = search(
            Decomposition(tensor),
            key=KEY,
            target_error=1e-14,
            strategy=Greedy(infer=False, prune=False),
            max_steps=60,
        )
    for step in found.path:
        structure = step.structure
        for edge, rank in structure.edges.items():
            for node in edge if len(edge) == 2 else ():
                size = int(np.prod(structure.core_shape(node)))
                assert rank <= size // rank
        assert step.num_params <= 2 * tensor.size
