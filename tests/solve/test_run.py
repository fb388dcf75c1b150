"""`tnjax.solve.run`: inside of jit, vmap, lax.map and shard_map; what refuses to be there."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import tnjax
from tnjax import (
    ALS,
    Completion,
    Decomposition,
    GaussNewton,
    LevenbergMarquardt,
    Minibatch,
    Objective,
    Optax,
    Status,
    Structure,
    TensorNetwork,
    _compile,
    fit,
)
from tnjax.problems.samples import Blocks
from tnjax.solve import random_start, run

ROOT = Path(__file__).parents[2]
RING = Structure.tensor_ring((4, 5, 6), 2)
INDICES = np.argwhere(np.ones(RING.dims))


def tensors(count: int, noise: float = 0.1) -> np.ndarray:
    """Planted rings with noise, norms from 1e-3 to 1e3."""
    draw = np.random.default_rng(0)
    keys = jax.random.split(jax.random.key(7), count)
    dense = [np.asarray(TensorNetwork.random(RING, key=key).to_dense()) for key in keys]
    sizes = np.logspace(-3, 3, count)
    return np.stack(
        [s * (x + noise * draw.standard_normal(x.shape) / 11) for s, x in zip(sizes, dense)]
    )


def one(tensor, key, **options):
    problem = Decomposition(tensor)
    return run(problem, random_start(problem, RING, key=key), **options)


def squared(x, y):
    return jnp.sum(jnp.abs(x - y) ** 2)


def test_fits_under_jit_and_vmap_are_one_program_and_those_of_fit():
    stack, keys = tensors(5), jax.random.split(jax.random.key(1), 5)
    program = jax.jit(jax.vmap(one))
    found = program(stack, keys)
    program(stack[::-1], keys[::-1])
    assert program._cache_size() == 1
    for lane, (tensor, key) in enumerate(zip(stack, keys, strict=True)):
        single = fit(Decomposition(tensor), RING, key=key)
        assert abs(float(found.error[lane]) - single.error) < 1e-8
        solution = jax.tree.map(lambda x, lane=lane: x[lane], found)
        assert solution.status == single.status
        steps = int(solution.steps)
        np.testing.assert_allclose(solution.history[:steps], single.history, atol=1e-8)
        assert np.isnan(solution.history[steps:]).all()
        # In the units of the data, by an oracle that knows no problem.
        away = np.linalg.norm(tensor - np.asarray(solution.network.to_dense()))
        np.testing.assert_allclose(away / np.linalg.norm(tensor), single.error, rtol=1e-8)


SOLVERS = {
    "als": ALS(max_steps=6),
    "levenberg": LevenbergMarquardt(max_steps=6),
    "newton": GaussNewton(max_steps=4, cg_steps=5),
    "adam": Optax(optax.adam(1e-2), max_steps=3),
    "lbfgs": Optax(optax.lbfgs(), max_steps=2, updates=3),
}


@pytest.mark.parametrize("name", SOLVERS)
def test_every_solver_fits_traced_tensors_as_fit_does(name):
    stack, keys = tensors(2), jax.random.split(jax.random.key(1), 2)
    solver = SOLVERS[name]
    found = jax.jit(jax.vmap(lambda x, k: one(x, k, solver=solver)))(stack, keys)
    for lane, (tensor, key) in enumerate(zip(stack, keys, strict=True)):
        single = fit(Decomposition(tensor), RING, key=key, solver=solver)
        assert single.steps == found.steps[lane]
        # Rounding decides on single conjugate gradient iterations, which stop at 1e-3.
        tolerance = 1e-2 if name == "levenberg" else 1e-6
        np.testing.assert_allclose(found.error[lane], single.error, rtol=tolerance)


@pytest.mark.parametrize("dtype", [np.float32, np.complex128])
def test_other_dtypes_are_kept(dtype):
    tensor = np.asarray(TensorNetwork.random(RING, key=jax.random.key(3), dtype=dtype).to_dense())
    found = jax.jit(one)(3 * tensor, jax.random.key(0))
    assert found.network.dtype == dtype
    assert found.error.dtype == np.real(tensor).dtype
    single = fit(Decomposition(3 * tensor), RING, key=jax.random.key(0))
    np.testing.assert_allclose(
        found.error, single.error, atol=1e-3 if dtype == np.float32 else 1e-8
    )


def test_an_objective_with_traced_data_is_fitted():
    tensor = tensors(3)[1]

    @jax.jit
    def program(tensor, key):
        problem = Objective(squared, RING.dims, data=tensor)
        return run(problem, random_start(problem, RING, key=key), max_steps=20)

    found = program(tensor, jax.random.key(0))
    problem = Objective(squared, RING.dims, data=tensor)
    single = fit(problem, RING, key=jax.random.key(0), max_steps=20)
    np.testing.assert_allclose(found.error, single.error, rtol=1e-6)


# Completion ---------------------------------------------------------------------------------


def masks(count: int, share: float = 0.7) -> np.ndarray:
    return np.random.default_rng(1).random((count, *RING.dims)) < share


@pytest.mark.parametrize("loss", ["squared", tnjax.Huber()], ids=["squared", "huber"])
def test_masks_under_vmap_complete_as_the_entries_alone_do(loss):
    tensor = tensors(3)[1]
    start = TensorNetwork.random(RING, key=jax.random.key(2))
    options = dict(loss=loss, ridge=1e-3)

    def completed(mask):
        problem = Completion.from_mask(jnp.where(mask, tensor, jnp.nan), mask, **options)
        return run(problem, start, max_steps=8)

    stack = masks(3)
    found = jax.jit(jax.vmap(completed))(stack)
    for lane, mask in enumerate(stack):
        single = fit(Completion.from_mask(tensor, mask, **options), start, max_steps=8)
        np.testing.assert_allclose(found.error[lane], single.error, rtol=1e-7)
        dense = jax.tree.map(lambda x, lane=lane: x[lane], found.network).to_dense()
        np.testing.assert_allclose(dense, single.network.to_dense(), rtol=1e-4, atol=1e-6)


def test_weights_and_values_under_vmap_complete_as_one_by_one():
    stack = tensors(3)
    values = stack.reshape(3, -1)
    weights = np.random.default_rng(3).random(values.shape)
    start = TensorNetwork.random(RING, key=jax.random.key(2))

    def completed(values, weights):
        problem = Completion(INDICES, values, RING.dims, weights=weights)
        return run(problem, start * problem.scale, max_steps=6)

    found = jax.jit(jax.vmap(completed))(values, weights)
    for lane in range(3):
        problem = Completion(INDICES, values[lane], RING.dims, weights=weights[lane])
        single = fit(problem, start * problem.scale, max_steps=6)
        np.testing.assert_allclose(found.error[lane], single.error, rtol=1e-7)


def test_traced_indices_complete_as_those_on_the_host():
    tensor = tensors(3)[1]
    draw = np.random.default_rng(4)
    indices = np.stack([draw.permutation(INDICES)[:90] for _ in range(2)])
    values = np.stack([tensor[tuple(rows.T)] for rows in indices])
    start = TensorNetwork.random(RING, key=jax.random.key(2))

    def completed(indices, values):
        held = np.arange(9)
        problem = Completion(indices, values, RING.dims, validation=held)
        return run(problem, start, max_steps=6)

    found = jax.jit(jax.vmap(completed))(indices, values)
    for lane in range(2):
        problem = Completion(indices[lane], values[lane], RING.dims, validation=np.arange(9))
        single = fit(problem, start, max_steps=6)
        np.testing.assert_allclose(found.error[lane], single.error, rtol=1e-7)


def test_blocks_of_a_traced_column_are_those_of_the_host():
    for dim, count in ((7, 300), (300, 40), (1, 5)):
        column = np.random.default_rng(dim).integers(0, max(1, dim - 2), count)
        host, inside = (
            Blocks.of(column, dim),
            jax.jit(Blocks.in_trace, static_argnums=1)(column, dim),
        )
        np.testing.assert_array_equal(host.rows, inside.rows)
        np.testing.assert_array_equal(host.samples, inside.samples)


def test_random_starts_of_a_traced_completion_have_the_size_of_the_data():
    tensor = 1e3 * tensors(3)[1]

    def start(values, key):
        problem = Completion(INDICES, values, RING.dims)
        return random_start(problem, RING, key=key)

    keys = jax.random.split(jax.random.key(0), 200)
    starts = jax.jit(jax.vmap(start, (None, 0)))(tensor.ravel(), keys)
    dense = jax.vmap(lambda network: network.to_dense())(starts)
    ratio = jnp.sqrt(jnp.mean(dense**2)) / np.sqrt(np.mean(tensor**2))
    assert 0.7 < ratio < 1.4


def test_minibatches_are_drawn_in_a_trace():
    tensor = tensors(3)[1]
    start = TensorNetwork.random(RING, key=jax.random.key(2))
    solver = Minibatch(optax.adam(1e-2), batch_size=16, updates=5, max_steps=3)
    program = jax.jit(lambda v: run(Completion(INDICES, v, RING.dims), start, solver=solver))
    found = program(tensor.ravel())
    single = fit(Completion(INDICES, tensor.ravel(), RING.dims), start, solver=solver)
    np.testing.assert_allclose(found.error, single.error, rtol=1e-6)


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"offsets": "mean"}, "offsets"),
        ({"duplicates": "sum"}, "merge"),
        ({"weights": np.ones(3)}, "one weight"),
        ({"loss": "no such"}, "expected one of"),
    ],
)
def test_options_that_need_the_entries_are_refused_in_a_trace(options, word):
    make = lambda values: Completion(INDICES, values, RING.dims, **options).loss
    with pytest.raises(ValueError, match=word):
        jax.jit(make)(np.ones(len(INDICES)))


# Other transformations ----------------------------------------------------------------------


def test_starts_under_vmap_and_lax_map_are_those_of_single_runs():
    problem = Decomposition(tensors(1)[0])
    keys = jax.random.split(jax.random.key(1), 3)
    each = lambda key: run(problem, random_start(problem, RING, key=key), max_steps=5).error
    single = [float(each(key)) for key in keys]
    assert len(set(single)) == 3
    np.testing.assert_allclose(jax.vmap(each)(keys), single, rtol=1e-9)
    np.testing.assert_allclose(jax.lax.map(each, keys), single, rtol=1e-9)


def test_a_problem_made_outside_goes_through_jit_as_an_argument():
    problem = Decomposition(1e3 * tensors(1)[0])
    start = random_start(problem, RING, key=jax.random.key(0))
    found = jax.jit(run)(problem, start)
    single = fit(problem, start)
    np.testing.assert_allclose(found.error, single.error, rtol=1e-9)
    np.testing.assert_allclose(found.network.to_dense(), single.network.to_dense(), rtol=1e-6)


def test_each_lane_stops_at_its_own_target():
    tensor = tensors(1, noise=0)[0]
    targets = np.asarray([0.5, 1e-2])
    problem = Decomposition(tensor)
    start = random_start(problem, RING, key=jax.random.key(3))
    found = jax.vmap(lambda t: run(problem, start, target_error=t, max_steps=100))(targets)
    assert (found.error <= targets).all()
    assert found.steps[0] < found.steps[1]
    assert found.ok.all()
    assert (found.status_code == Status.TARGET_REACHED.code).all()


def test_bad_tensors_are_a_status_of_their_lane():
    stack, keys = tensors(4), jax.random.split(jax.random.key(1), 4)
    stack[1], stack[2, 0, 0, 0] = 0, np.nan
    found = jax.jit(jax.vmap(one))(stack, keys)
    np.testing.assert_array_equal(found.ok, [True, False, False, True])
    alone = fit(Decomposition(stack[3]), RING, key=keys[3])
    np.testing.assert_allclose(found.error[3], alone.error, atol=1e-8)


def test_shard_map_over_devices_is_vmap():
    flags = f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count=4"
    done = subprocess.run(
        [sys.executable, ROOT / "tests" / "run_worker.py"],
        env={**os.environ, "XLA_FLAGS": flags, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    for name, (split, whole) in json.loads(done.stdout).items():
        np.testing.assert_allclose(split, whole, rtol=1e-6, err_msg=name)


# What refuses -------------------------------------------------------------------------------


def test_what_works_on_the_host_says_what_to_use_in_a_trace(tmp_path):
    tensor = tensors(1)[0]
    key = jax.random.key(0)
    problem = Decomposition(tensor)
    network = TensorNetwork.random(RING, key=key)
    calls = {
        "traced tensor": lambda x: fit(Decomposition(x * tensor), RING, key=key),
        "nothing traced": lambda x: fit(problem, RING, key=key),
        "search": lambda x: tnjax.search(Decomposition(x * tensor), key=key, target_error=0.5),
        "search, nothing traced": lambda x: tnjax.search(problem, key=key, target_error=0.5),
        "to_quimb": lambda x: tnjax.to_quimb(network * x),
        "to_tensorly": lambda x: tnjax.to_tensorly(network * x),
        "save": lambda x: tnjax.save(tmp_path / "x.safetensors", network * x),
    }
    for name, call in calls.items():
        with pytest.raises(ValueError, match=r"inside of a trace .*tnjax\.solve\.run") as caught:
            jax.jit(call)(2.0)
        assert "\n" not in str(caught.value), name
    with pytest.raises(ValueError, match=r"fit was called inside of a trace"):
        jax.vmap(lambda key: fit(problem, RING, key=key).error)(jax.random.split(key, 2))
    with pytest.raises(ValueError, match=r"fit was called inside of a trace"):
        jax.grad(lambda x: fit(Decomposition(x), RING, key=key).error)(tensor)
    assert not list(tmp_path.iterdir())


def test_arguments_that_do_not_fit_are_refused(unchecked):
    problem = Decomposition(tensors(1)[0])
    start = random_start(problem, RING, key=jax.random.key(0))
    with pytest.raises(ValueError, match="the structure represents"):
        run(problem, TensorNetwork.random(Structure.rank_one((4, 5)), key=jax.random.key(0)))
    with pytest.raises(ValueError, match=r"use `network\.astype`"):
        run(problem, start.astype(np.float32))
    with pytest.raises(ValueError, match="max_steps: expected a positive"):
        run(problem, start, max_steps=0)
    with pytest.raises(ValueError, match="max_steps is traced"):
        jax.jit(lambda n: run(problem, start, max_steps=n).error)(3)
    with pytest.raises(ValueError, match="least squares problem"):
        run(Objective(jnp.sum, RING.dims), start, solver=ALS())
    with pytest.raises(ValueError, match="pick one"):
        _ = jax.vmap(lambda key: run(problem, start))(jax.random.split(jax.random.key(0), 2)).status
    with pytest.raises(ValueError, match=r"use `status_code` or `ok`"):
        jax.jit(lambda x: run(problem, start).status and x)(1.0)


# One program for many limits ----------------------------------------------------------------


def test_a_fit_makes_no_program_for_another_limit_of_steps():
    problem = Decomposition(tensors(1)[0])
    start = random_start(problem, RING, key=jax.random.key(0))
    _compile.clear_cache()
    solver = Optax(optax.adam(1e-2), rtol=0.0, patience=1000)
    made = []
    for steps in (5, 20, 50, 7, 120, 100):
        before = made_programs()
        result = fit(problem, start, solver=solver, max_steps=steps)
        assert len(result.history) == result.steps == steps
        assert np.isfinite(result.history).all()
        made.append(made_programs() - before)
    # A start and a loop, perhaps once more compiled where it was interpreted; then a longer
    # history, once.
    assert made[1:4] == [0, 0, 0] or sum(made[1:4]) == 1, made
    assert made[5] == 0, made


def made_programs() -> int:
    return sum(len(forms.compiled) + (forms.host is not None) for forms in _compile._cache.values())
