"""Minibatches from the device and from disk."""

import jax
import numpy as np
import optax
import pytest

from tnjax import (
    Completion,
    Decomposition,
    Minibatch,
    Status,
    Structure,
    Supervised,
    TensorNetwork,
    fit,
    fit_stream,
    relative_error,
)
from tnjax.features import Categorical, Polynomial

TRAIN = Structure.tensor_train((4, 4, 4), 2)
TRUTH = TensorNetwork.random(TRAIN, key=jax.random.key(1))
INDICES = np.argwhere(np.ones(TRAIN.dims))
VALUES = 1e3 * np.asarray(TRUTH.entries(INDICES))


def test_minibatches_recover_a_network():
    held = np.arange(0, len(VALUES), 5)
    problem = Completion(INDICES, VALUES, TRAIN.dims, validation=held)
    solver = Minibatch(optax.adam(2e-2), batch_size=16, updates=50, max_steps=100)
    result = fit(problem, TRAIN, key=jax.random.key(0), solver=solver, target_error=1e-2)
    assert result.error < 5e-2
    with pytest.raises(ValueError, match="as of a Completion, got Decomposition"):
        fit(Decomposition(np.ones((2, 3))), Structure.rank_one((2, 3)), solver=solver)
    with pytest.raises(ValueError, match="must be positive"):
        Minibatch(optax.adam(1e-2), batch_size=0)


def test_the_gradient_of_a_batch_is_unbiased():
    weights = np.random.default_rng(0).random(len(VALUES))
    problem = Completion(INDICES, VALUES, TRAIN.dims, weights=weights, ridge=0.1)
    network = problem.prepared(TensorNetwork.random(TRAIN, key=jax.random.key(3)))
    one = jax.jit(jax.vmap(jax.grad(lambda n, i: problem.batch_loss(n, i[None])), (None, 0)))
    mean = jax.tree.map(lambda g: g.mean(0), one(network, np.arange(len(VALUES))))
    full = jax.jit(jax.grad(lambda n: problem.loss(n)))(network)
    for a, b in zip(mean.cores, full.cores, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)


def test_entries_on_disk_are_fitted_chunk_by_chunk(tmp_path):
    np.save(tmp_path / "indices.npy", INDICES)
    np.save(tmp_path / "values.npy", VALUES)
    indices = np.load(tmp_path / "indices.npy", mmap_mode="r")
    values = np.load(tmp_path / "values.npy", mmap_mode="r")
    rows = np.arange(0, len(VALUES), 3)
    problem = Completion(INDICES[rows], VALUES[rows], TRAIN.dims)
    options = dict(key=jax.random.key(0), chunk_size=21, batch_size=5)
    result = fit_stream(
        problem,
        indices,
        values,
        TRAIN,
        transformation=optax.adam(2e-2),
        epochs=250,
        target_error=2e-2,
        **options,
    )
    assert result.status is Status.TARGET_REACHED
    assert float(relative_error(result.network, np.reshape(VALUES, TRAIN.dims))) < 0.1
    best = fit_stream(problem, indices, values, result.network, **options)
    assert best.error <= result.error * (1 + 1e-12)
    with pytest.raises(ValueError, match="not an integer in range"):
        fit_stream(problem, INDICES + 1, VALUES, TRAIN, **options)
    with pytest.raises(ValueError, match="NaN or infinite"):
        fit_stream(problem, INDICES, VALUES * np.nan, TRAIN, **options)
    with pytest.raises(ValueError, match=r"expected indices \[entries, 3\]"):
        fit_stream(problem, INDICES[:3], VALUES, TRAIN, **options)


def test_tables_on_disk_are_fitted_chunk_by_chunk(tmp_path):
    """Columns by name, their features made for each chunk; classes that a chunk may not have."""
    rng = np.random.default_rng(0)
    x, kind = rng.uniform(-1, 1, 300).astype(np.float32), rng.choice(["a", "b"], 300)
    classes = np.where(x > 0.3, 1 + (kind == "a"), 0)
    table = {}
    for name, column in {"x": x, "kind": kind}.items():
        np.save(tmp_path / f"{name}.npy", column)
        table[name] = np.load(tmp_path / f"{name}.npy", mmap_mode="r")
    maps = {"x": Polynomial(3), "kind": Categorical()}
    part = {name: column[:150] for name, column in table.items()}
    problem = Supervised(part, classes[:150], loss="softmax", maps=maps, ridge=1e-3)
    network = TensorNetwork.random(
        Structure.tensor_train(problem.shape, 2), key=jax.random.key(0), dtype=problem.dtype
    )
    options = dict(
        key=jax.random.key(1), chunk_size=16, batch_size=8, transformation=optax.adam(2e-2)
    )
    result = fit_stream(problem, table, classes, network, epochs=30, **options)
    likeliest = result.model.predict(table).argmax(1)
    assert (likeliest == classes).mean() > 0.95
    with pytest.raises(ValueError, match=r"near sample .* class 3 was not among the 3 classes"):
        fit_stream(problem, table, classes + 1, network, **options)
    with pytest.raises(ValueError, match="got 300 of 'x'"):
        fit_stream(problem, table, classes[:-1], network, **options)
    rows = [column[:, None] * np.ones(2) for column in (x, x**2)]
    squared = Supervised([part[:150] for part in rows], x[:150], ridge=1e-3)
    with pytest.raises(ValueError, match=r"near sample .* NaN or infinite"):
        fit_stream(squared, rows, x * np.nan, Structure.rank_one((2, 2)), **options)
    with pytest.raises(ValueError, match=r"expected features of sizes \[\(2,\), \(2,\)\]"):
        fit_stream(squared, [rows[0], x[:, None]], x, Structure.rank_one((2, 2)), **options)
