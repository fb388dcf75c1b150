"""What a status says is borne out by the error beside it, down to the last digit."""

import jax
import numpy as np
import pytest

from tnjax import Decomposition, Setup, Status, Structure, TensorNetwork, fit, search

RING = Structure.tensor_ring((5, 5, 5, 5), 2)


def planted(dtype, seed):
    truth = TensorNetwork.random(RING, key=jax.random.key(seed), dtype="float64")
    return np.asarray(truth.to_dense()).astype(dtype)


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("target", [1e-7, 1e-9])
def test_a_target_below_the_precision_costs_no_more_parameters(compress, target):
    tensor = planted("float32", 3)
    if compress:  # a tensor that the search makes smaller first
        tensor = np.tensordot(np.eye(20, 5, dtype="float32"), tensor, 1)
    with pytest.warns(UserWarning, match="float32 can tell"):
        found = search(
            Decomposition(tensor),
            key=jax.random.key(0),
            target_error=target,
            setup=Setup(compress=compress),
        )
    assert found.status in (Status.PRECISION, Status.TARGET_REACHED)
    assert (found.status is Status.TARGET_REACHED) == (found.error <= target)
    again = np.asarray(found.network.astype("float64").to_dense())
    wide = tensor.astype("float64")
    assert np.linalg.norm(again - wide) / np.linalg.norm(wide) < 1e-5
    assert found.num_params <= 1.5 * RING.num_params + 2 * tensor.shape[0] * RING.core_shape(0)[1]


@pytest.mark.parametrize("seed", range(3))
def test_a_fit_that_reaches_the_target_is_not_above_it(seed):
    problem = Decomposition(planted("float32", seed))
    start = fit(problem, RING, key=jax.random.key(seed), max_steps=50)
    for target in np.geomspace(1e-6, 0.3, 7):
        found = fit(problem, start.network, target_error=float(target), max_steps=1)
        assert (found.status is Status.TARGET_REACHED) == (found.error <= target)
    # The next number of single precision lies above this one.
    exact = start.error * (1 - 1e-9)
    found = fit(problem, start.network, target_error=exact, max_steps=1)
    assert (found.status is Status.TARGET_REACHED) == (found.error <= exact)


def test_every_status_has_a_sentence():
    assert all(status.message for status in Status)
    assert Status.from_code(Status.PRECISION.code) is Status.PRECISION
