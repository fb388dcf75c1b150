"""Data in precisions that JAX does not compute in, and at the ends of those that it does."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tnjax import Completion, Decomposition, Structure, fit
from tnjax.problems import Objective

RNG = np.random.default_rng(0)
EXACT = np.einsum("i,j,k->ijk", *(RNG.integers(1, 3, size=n) for n in (3, 4, 5))).astype(float)
INDICES = np.argwhere(np.ones(EXACT.shape))


def decomposed(tensor):
    return Decomposition(tensor)


def completed(tensor):
    return Completion(INDICES, np.asarray(tensor).ravel(), tensor.shape)


def masked(tensor):
    return Completion.from_mask(tensor)


@pytest.mark.parametrize("problem", [decomposed, completed, masked])
@pytest.mark.parametrize(
    ("given", "held"),
    [
        ("float16", "float32"),
        (jnp.bfloat16, "float32"),
        (jnp.float8_e4m3fn, "float32"),
        (np.longdouble, "float64"),
        (np.clongdouble, "complex128"),
    ],
)
def test_other_precisions_are_computed_in_one_that_jax_has(problem, given, held):
    with pytest.warns(UserWarning, match=f"computed in {held}"):
        found = problem(EXACT.astype(given))
    assert found.dtype == held
    result = fit(found, Structure.rank_one(EXACT.shape), key=jax.random.key(0))
    np.testing.assert_allclose(result.network.to_dense(), EXACT.astype(given).astype(held), 1e-4)


@pytest.mark.parametrize("problem", [decomposed, completed, masked])
def test_the_usual_precisions_are_taken_as_they_are(problem):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for dtype in ("float32", "float64", "complex64", "complex128"):
            assert problem(EXACT.astype(dtype)).dtype == dtype


def test_half_precision_in_a_trace():
    half = lambda x: Decomposition(x).target
    with pytest.warns(UserWarning, match="float32"):
        assert jax.eval_shape(half, jnp.asarray(EXACT, jnp.float16)).dtype == "float32"


def test_a_loss_has_cores_of_a_dtype_that_can_be_fitted():
    with pytest.raises(ValueError, match="bfloat16"):
        Objective(lambda x: jnp.sum(x**2), (3, 4), dtype=jnp.bfloat16)


@pytest.mark.parametrize("problem", [decomposed, completed, masked])
@pytest.mark.parametrize(("dtype", "factor"), [("float64", 1e-310), ("float32", 1e-42)])
def test_denormal_data_are_refused(problem, dtype, factor):
    with pytest.raises(ValueError, match="Multiply the data by a factor"):
        problem((EXACT * factor).astype(dtype))
    smallest = float(jnp.finfo(dtype).tiny)
    found = problem((EXACT * (100 * smallest)).astype(dtype))
    result = fit(found, Structure.rank_one(EXACT.shape), key=jax.random.key(0))
    assert result.error < 1e-5
