"""JAX's own flags, which users set for all of their programs: nothing here relies on defaults.

Under `jax_disable_jit` every operation runs by itself, so problems and limits are the smallest.
"""

import contextlib

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tnjax import (
    ALS,
    Completion,
    Decomposition,
    GaussNewton,
    Greedy,
    LevenbergMarquardt,
    Objective,
    Structure,
    TensorNetwork,
    fit,
    load,
    relative_error,
    save,
    search,
)
from tnjax.problems import SparseDecomposition
from tnjax.solve import Checkpointed, Implicit, run

KEY = jax.random.key(0)
SHAPE = (3, 4, 2)
TRAIN = Structure.tensor_train(SHAPE, 2)
PROMOTIONS = ["ranks and dtypes"]


@contextlib.contextmanager
def both():
    with jax.numpy_rank_promotion("raise"), jax.numpy_dtype_promotion("strict"):
        yield


FLAGS = {
    "ranks": lambda: jax.numpy_rank_promotion("raise"),
    "dtypes": lambda: jax.numpy_dtype_promotion("strict"),
    "ranks and dtypes": both,
    "no jit": jax.disable_jit,
}
REAL = ["float64", "float32"]
DTYPES = [*REAL, "complex128"]


@contextlib.contextmanager
def flagged(name):
    """Under a flag, with nothing compiled before it was set."""
    jax.clear_caches()
    with FLAGS[name]():
        yield


def data(dtype="float64"):
    rng = np.random.default_rng(0)
    tensor = rng.standard_normal(SHAPE)
    if np.dtype(dtype).kind == "c":
        tensor = tensor + 1j * rng.standard_normal(SHAPE)
    return tensor.astype(dtype)


def completion(dtype, **options):
    mask = np.random.default_rng(1).random(SHAPE) < 0.85
    return Completion.from_mask(data(dtype), mask, **options)


def squared(x, data):
    return jnp.sum((x - data) ** 2)


def of_network(network):
    picked = network.entries(np.asarray([[0, 0, 0], [2, 3, 1]]))
    return network.norm() ** 2 - 2 * picked.sum()


def finite(network):
    assert all(np.isfinite(core).all() for core in network.cores)


@pytest.mark.parametrize("flag", ["ranks", "dtypes", "no jit"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_networks_are_read_and_changed(flag, dtype, tmp_path):
    network = TensorNetwork.random(TRAIN, key=KEY, dtype=dtype)
    expected = np.einsum("ia,jab,kb->ijk", *map(np.asarray, network.cores))
    with flagged(flag):
        np.testing.assert_allclose(network.to_dense(), expected, rtol=2e-5, atol=1e-6)
        indices = np.argwhere(np.ones(SHAPE))
        np.testing.assert_allclose(network.entries(indices), expected.ravel(), rtol=2e-5, atol=1e-6)
        norm = np.linalg.norm(expected)
        np.testing.assert_allclose(network.norm(), norm, rtol=1e-5)
        np.testing.assert_allclose(network.inner(network), norm**2, rtol=1e-5)
        np.testing.assert_allclose((-2 * network).norm(), 2 * norm, rtol=1e-5)
        np.testing.assert_allclose((network * (3 + 4j) / 5).norm(), norm, rtol=1e-5)
        finite(network.balanced().conj())
        assert float(relative_error(network, expected)) < 1e-5
        save(tmp_path / "network.safetensors", network)
        again = load(tmp_path / "network.safetensors")
    assert again.dtype == dtype
    np.testing.assert_array_equal(again.cores[1], network.cores[1])


@pytest.mark.parametrize("flag", PROMOTIONS)
@pytest.mark.parametrize("dtype", ["float32", "complex128"])
@pytest.mark.parametrize(
    "solver",
    [ALS(), GaussNewton(), LevenbergMarquardt(), optax.adam(1e-2), optax.lbfgs()],
    ids=["als", "gauss-newton", "levenberg-marquardt", "adam", "lbfgs"],
)
def test_solvers(flag, dtype, solver):
    with flagged(flag):
        for problem in (Decomposition(data(dtype)), completion(dtype)):
            finite(fit(problem, TRAIN, key=KEY, solver=solver, max_steps=2, num_starts=2).network)


@pytest.mark.parametrize("flag", PROMOTIONS)
@pytest.mark.parametrize("dtype", REAL)
@pytest.mark.parametrize(
    "options",
    [
        {"offsets": "modes", "ridge": 0.1, "smooth": {0: 1.0, 1: 0.1}},
        {"nonnegative": True},
        {"loss": "huber"},
        {"loss": "poisson"},
        {"loss": "bernoulli"},
    ],
    ids=str,
)
def test_completions(flag, dtype, options):
    tensor = np.abs(data(dtype)) > 0.5 if "loss" in options else np.abs(data(dtype))
    problem = lambda: Completion.from_mask(tensor.astype(dtype), validation=0.2, key=KEY, **options)
    with flagged(flag):
        finite(fit(problem(), TRAIN, key=KEY, max_steps=2).network)
        finite(search(problem(), key=KEY, max_steps=1).network)


@pytest.mark.parametrize("flag", PROMOTIONS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_searches(flag, dtype):
    with flagged(flag):
        tensor = data(dtype)
        found = search(Decomposition(tensor), key=KEY, target_error=0.2)
        assert float(relative_error(found.network, tensor)) <= 0.2
        finite(
            search(
                Decomposition(tensor), key=KEY, strategy=Greedy(infer=False), max_steps=2
            ).network
        )
        where = np.argwhere(np.abs(tensor) > 0.5)
        sparse = SparseDecomposition(where, tensor[tuple(where.T)], SHAPE)
        finite(search(sparse, key=KEY, target_error=0.5).network)


@pytest.mark.parametrize("flag", PROMOTIONS)
@pytest.mark.parametrize(("dtype", "screen"), [("float32", "spectral"), ("float64", "trial")])
def test_any_loss(flag, dtype, screen):
    with flagged(flag):
        dense = Objective(squared, SHAPE, data=data(dtype), dtype=dtype)
        network = Objective(of_network, SHAPE, of="network", dtype=dtype)
        for problem in (dense, network):
            finite(search(problem, key=KEY, strategy=Greedy(screen=screen), max_steps=1).network)
        finite(fit(dense, TRAIN, key=KEY, solver=GaussNewton(), max_steps=2).network)


@pytest.mark.parametrize("flag", PROMOTIONS)
@pytest.mark.parametrize(
    ("adjoint", "structure"),
    [(Checkpointed(), TRAIN), (Implicit(), TRAIN), (Implicit(dense=1), Structure.cp(SHAPE, 2))],
    ids=["steps", "optimum", "by conjugate gradients"],
)
def test_gradients(flag, adjoint, structure):
    start = TensorNetwork.random(structure, key=KEY)
    error = lambda x: run(Decomposition(x), start, max_steps=3, adjoint=adjoint).error
    with flagged(flag):
        assert jax.grad(error)(jnp.asarray(data())).shape == SHAPE


def test_a_fit_without_jit_is_the_compiled_one():
    tensor = data()
    start = TensorNetwork.random(Structure.rank_one(SHAPE), key=KEY)
    expected = fit(Decomposition(tensor), start, max_steps=3)
    with flagged("no jit"):
        found = fit(Decomposition(tensor), start, max_steps=3)
        grown = search(Decomposition(tensor), key=KEY, max_steps=1, strategy=Greedy(infer=False))
        filled = search(completion("float64"), key=KEY, max_steps=1)
        loss = Objective(squared, SHAPE, data=tensor)
        lowered = fit(loss, start, solver=optax.adam(1e-2), max_steps=1)
    np.testing.assert_allclose(found.error, expected.error, rtol=1e-9)
    assert (grown.path[-1].move.kind, filled.path[-1].move.kind) == ("grow", "grow")
    finite(lowered.network)
