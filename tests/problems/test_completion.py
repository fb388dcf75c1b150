"""Completion: normal equations and errors against NumPy, monotone sweeps, bad input."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.helpers import dense_oracle, random_network
from tnjax import (
    ALS,
    Completion,
    Greedy,
    Status,
    Structure,
    TensorNetwork,
    choose_ridge,
    cross_validate,
    fit,
    relative_error,
    search,
    split_entries,
)
from tnjax.io import random_mask
from tnjax.problems import samples as _samples
from tnjax.problems.samples import Blocks, predict

pytestmark = pytest.mark.filterwarnings("ignore:Slices without an observed entry")

RING = Structure.tensor_ring((4, 3, 4), 2)
TREE = Structure.from_edges((3, 4, 3), {(0, 3): 2, (1, 3): 3, (2, 3): 2})
CP = Structure.cp((3, 4, 3), 2)
MERGED = Structure.from_edges((3, 4, 3), {(0, 1): 3}, legs=[(0, 2), (1,)])
STRUCTURES = {"ring": RING, "internal": TREE, "hyperedge": CP, "two-legs": MERGED}


def data(shape, seed=0, share=0.6, dtype=np.float64):
    rng = np.random.default_rng(seed)
    mask = rng.random(shape) < share
    for mode, dim in enumerate(shape):  # every slice has an entry
        for i in range(dim):
            mask[tuple(i if m == mode else 0 for m in range(len(shape)))] = True
    tensor = rng.standard_normal(shape)
    if np.issubdtype(dtype, np.complexfloating):
        tensor = tensor + 1j * rng.standard_normal(shape)
    return tensor.astype(dtype), np.argwhere(mask)


def problem_of(shape, seed=0, dtype=np.float64, **options):
    tensor, indices = data(shape, seed, dtype=dtype)
    return Completion(indices, tensor[tuple(indices.T)], shape, **options), tensor, indices


def brute_force(structure, cores, node, indices, weights, target):
    """Normal equations of the whole core at once, from one dense tensor for each core entry."""
    columns = []
    for n in range(cores[node].size):
        one = np.zeros(cores[node].size)
        one[n] = 1
        changed = [*cores]
        changed[node] = one.reshape(cores[node].shape)
        columns.append(dense_oracle(structure, changed)[tuple(indices.T)])
    jacobian = np.stack(columns, 1)
    return (jacobian.conj().T * weights) @ jacobian, (jacobian.conj().T * weights) @ target


@pytest.mark.parametrize("pieces", [False, True], ids=["whole", "pieces"])
@pytest.mark.parametrize("structure", STRUCTURES.values(), ids=STRUCTURES)
def test_normal_equations_are_those_of_numpy(structure, pieces, monkeypatch):
    if pieces:
        monkeypatch.setattr(_samples, "piece_size", lambda structure, dtype: 10)
    dtype = np.complex128 if structure is RING else np.float64
    problem, tensor, indices = problem_of(structure.dims, dtype=dtype)
    network = random_network(structure, dtype=dtype)
    values = tensor[tuple(indices.T)] / problem.scale
    weights = np.full(len(values), 1 / len(values))
    nodes = range(structure.num_nodes)
    equations = jax.jit(lambda network: [problem.normal_equations(network, n) for n in nodes])
    for node, (gram, rhs) in enumerate(equations(network)):
        rows, bonds = rhs.shape
        full = np.zeros((rows, bonds, rows, bonds), gram.dtype)
        full[np.arange(rows), :, np.arange(rows), :] = gram
        expected = brute_force(structure, network.cores, node, indices, weights, values)
        unused = np.trace(np.asarray(gram), axis1=1, axis2=2) == bonds  # set to the identity
        keep = np.repeat(~unused, bonds)
        found = full.reshape(rows * bonds, -1)
        np.testing.assert_allclose(found[keep][:, keep], expected[0][keep][:, keep], atol=1e-12)
        np.testing.assert_allclose(rhs.ravel()[keep], expected[1][keep], atol=1e-12)
    prediction = predict(structure, network.cores, jnp.asarray(indices))
    exact = dense_oracle(structure, network.cores)[tuple(indices.T)]
    np.testing.assert_allclose(prediction, exact, atol=1e-12)


def test_blocks_hold_every_sample_once_in_its_row():
    column = np.random.default_rng(0).integers(0, 7, 1000)
    column[column == 3] = 2
    blocks = Blocks.of(column, 7)
    real = blocks.samples < 1000
    assert sorted(blocks.samples[real]) == list(range(1000))
    rows = np.broadcast_to(np.asarray(blocks.rows)[:, None], real.shape)
    np.testing.assert_array_equal(rows[real], column[blocks.samples[real]])
    assert (np.diff(blocks.rows) >= 0).all()
    other = Blocks.of(np.zeros(1000, int), 7)
    assert other.samples.shape == blocks.samples.shape


def test_error_looks_at_the_held_out_entries_only_and_equals_numpys():
    tensor, indices = data(RING.dims)
    values = tensor[tuple(indices.T)]
    weights = np.random.default_rng(1).random(len(values))
    held = np.arange(0, len(values), 4)
    problem = Completion(indices, values, RING.dims, weights=weights, validation=held)
    rest = np.setdiff1d(np.arange(len(values)), held)
    network = random_network(RING)
    predicted = dense_oracle(RING, network.cores)[tuple(indices.T)]

    def oracle(rows):
        root = np.sqrt(weights[rows])
        residual = root * (predicted - values)[rows]
        return np.linalg.norm(residual) / np.linalg.norm(root * values[rows])

    inner = network / problem.scale
    np.testing.assert_allclose(problem.error(inner), oracle(held), rtol=1e-12)
    np.testing.assert_allclose(problem.training_error(inner), oracle(rest), rtol=1e-12)
    np.testing.assert_allclose(problem.loss(inner), oracle(rest) ** 2, rtol=1e-12)
    everything = Completion(indices, values, RING.dims, weights=weights)
    goal = everything.loss_of_error(float(everything.error(inner)))
    np.testing.assert_allclose(goal, everything.loss(inner), rtol=1e-12)


@pytest.mark.parametrize("options", [{}, {"ridge": 0.3}, {"smooth": {0: 0.1, 1: 0.3}}])
def test_a_sweep_never_raises_the_training_loss(options):
    problem, *_ = problem_of(TREE.dims, validation=0.2, key=jax.random.key(0), **options)
    network = problem.prepared(TensorNetwork.random(TREE, key=jax.random.key(1)))
    solver = ALS()
    step = jax.jit(lambda network, state: solver.step(problem, network, state))
    loss = jax.jit(lambda network: problem.loss(network))
    losses, state = [loss(network)], solver.init(problem, network)
    for _ in range(25):
        network, state = step(network, state)
        losses.append(loss(network))
    assert np.all(np.diff(losses) <= 1e-13)
    assert losses[-1] < 0.9 * losses[0]


def test_a_dense_mask_and_coordinates_are_one_problem():
    tensor, indices = data(RING.dims)
    mask = np.zeros(RING.dims, bool)
    mask[tuple(indices.T)] = True
    holes = np.where(mask, tensor, np.nan)
    network = random_network(RING)
    errors = [
        float(problem.error(network))
        for problem in (
            Completion(indices, tensor[tuple(indices.T)], RING.dims),
            Completion.from_mask(holes),
            Completion.from_mask(holes, mask),
        )
    ]
    np.testing.assert_allclose(errors, errors[0], rtol=1e-13)


def test_unseen_slices_are_warned_about_and_predicted_as_zero():
    tensor, indices = data(RING.dims, share=0.8)
    indices = indices[(indices[:, 0] != 2) & (indices[:, 1] != 1)]
    with pytest.warns(UserWarning, match=r"1 of 4 in mode 0 \(2\).*There zero is predicted"):
        problem = Completion(indices, tensor[tuple(indices.T)], RING.dims)
    for start in (RING, random_network(RING)):
        result = fit(problem, start, key=jax.random.key(0), max_steps=2)
        dense = np.asarray(result.network.to_dense())
        assert abs(dense[2]).max() < 1e-15 * abs(dense).max()
        assert abs(dense[:, 1]).max() < 1e-15 * abs(dense).max()


def test_a_completion_is_recovered():
    shape, train = (6, 6, 6), Structure.tensor_train((6, 6, 6), 2)
    tensor = np.asarray(TensorNetwork.random(train, key=jax.random.key(3)).to_dense())
    _, indices = data(shape)
    problem = Completion(indices, 1e6 * tensor[tuple(indices.T)], shape)
    result = fit(problem, train, key=jax.random.key(0), num_starts=4, max_steps=200)
    assert float(relative_error(result.network, 1e6 * tensor)) < 1e-2


BAD = {
    "range": (dict(indices=[[0, 4]]), r"indices\[0, 1\] = 4 is outside 0..3"),
    "negative": (dict(indices=[[-1, 0]]), r"indices\[0, 0\] = -1 is outside"),
    "float": (dict(indices=[[0.0, 0.0]]), "indices must be integers, got float64"),
    "columns": (dict(indices=[[0, 0, 0]]), r"expected indices \[entries, 2\]"),
    "lengths": (dict(values=[1.0, 2.0]), r"expected indices \[entries, 2\]"),
    "empty": (dict(indices=np.zeros((0, 2), int), values=[]), "no entry is observed"),
    "nan": (dict(values=[np.nan]), "1 of 1 values are NaN"),
    "text": (dict(values=["a"]), "values that are numbers, got <U1"),
    "zero": (dict(values=[0.0]), "all zero"),
    "twice": (dict(indices=[[0, 0], [0, 0]], values=[1.0, 2.0]), "1 entries are given more than"),
    "shape": (dict(shape=(3, 0)), "shape of positive sizes"),
    "weights": (dict(weights=[-1.0]), "weights must be finite"),
    "ridge": (dict(ridge=-1.0), "ridge must be 0 or more"),
    "share": (dict(validation=1.5), "share between 0 and 1"),
    "key": (dict(validation=0.5), "needs `key="),
    "held": (dict(validation=[0]), "some, not all"),
    "offsets": (dict(offsets="rows"), "offsets='rows'"),
    "loss": (dict(loss="hinge"), "loss: expected one of squared"),
    "smooth": (dict(smooth={5: 1.0}), "for modes 0..1"),
    "counts": (dict(values=[-1.0], loss="poisson"), "counts cannot be negative"),
    "binary": (dict(values=[2.0], loss="bernoulli"), r"between 0 \(false\) and 1"),
}


@pytest.mark.parametrize(("change", "message"), BAD.values(), ids=BAD)
def test_bad_input_says_what_was_expected(change, message):
    options = dict(indices=[[0, 0]], values=[1.0], shape=(3, 4)) | change
    with pytest.raises(ValueError, match=message):
        Completion(**options)


def test_a_mask_must_fit():
    with pytest.raises(ValueError, match="boolean mask of shape"):
        Completion.from_mask(np.ones((2, 3)), np.ones((3, 2), bool))
    with pytest.raises(ValueError, match="no entry is observed"):
        Completion.from_mask(np.full((2, 3), np.nan))
    with pytest.raises(ValueError, match="1 of 6 values are NaN"):
        Completion.from_mask(np.array([[1.0, np.nan, 1], [1, 1, 1]]), np.ones((2, 3), bool))


def test_duplicates_are_merged_as_asked():
    indices, values = [[1, 1], [0, 1], [1, 1]], [1.0, 5.0, 3.0]
    weights = [1.0, 1.0, 3.0]
    with pytest.warns(UserWarning, match="without an observed entry"):
        added = Completion(indices, values, (2, 2), duplicates="sum")
    with pytest.warns(UserWarning, match="without an observed entry"):
        mean = Completion(indices, values, (2, 2), weights=weights, duplicates="mean")
    np.testing.assert_array_equal(added.training.indices, [[1, 1], [0, 1]])
    np.testing.assert_allclose(added.training.values * added.scale, [4, 5])
    np.testing.assert_allclose(mean.training.values * mean.scale, [2.5, 5])
    np.testing.assert_allclose(mean.training.weights, [0.8, 0.2])


def test_splits_are_by_key_and_cover_everything():
    parts = split_entries(100, (0.7, 0.2, 0.1), key=jax.random.key(0))
    assert [len(part) for part in parts] == [70, 20, 10]
    assert sorted(np.concatenate(parts)) == list(range(100))
    again = split_entries(100, (0.7, 0.2, 0.1), key=jax.random.key(0))
    other = split_entries(100, (0.7, 0.2, 0.1), key=jax.random.key(1))
    np.testing.assert_array_equal(parts[2], again[2])
    assert (parts[2] != other[2]).any()
    with pytest.raises(ValueError, match="sum to 1"):
        split_entries(10, (0.5, 0.6), key=jax.random.key(0))


def test_nothing_of_the_size_of_the_tensor_is_planned():
    shape = (20,) * 10
    indices = np.random.default_rng(0).integers(0, 20, (500, 10))
    problem = Completion(indices, np.ones(500), shape, duplicates="mean")
    train = Structure.tensor_train(shape, 2)
    assert problem.fit_peak_bytes(train) < 2**26
    assert problem.flops(train) < 10**7
    result = fit(problem, train, key=jax.random.key(0), max_steps=2)
    assert np.isfinite(result.error)


def test_a_fit_bears_that_the_held_out_error_rises_before_it_falls():
    truth = np.multiply.outer(np.outer(np.linspace(1, 2, 5), np.linspace(-1.5, 2, 4)), [1.0, 3, 2])
    indices = np.argwhere(random_mask(truth.shape, 2 / 3, key=jax.random.key(1)))
    values = truth[tuple(indices.T)]
    key = jax.random.key(4)
    problem = Completion(indices, values, truth.shape, validation=0.1, key=key)
    result = fit(problem, Structure.rank_one(truth.shape), key=key, max_steps=100)
    assert (np.diff(result.history) > 0).any()
    assert result.error < 1e-9


def test_folds_cover_the_entries_and_score_a_structure():
    tensor, indices = data((6, 6, 6))
    values = tensor[tuple(indices.T)]
    folds = Completion.folds(indices, values, (6, 6, 6), count=4, key=jax.random.key(0))
    held = [np.asarray(fold.held_out.indices) for fold in folds if fold.held_out is not None]
    together = np.concatenate(held)
    assert len(np.unique(together, axis=0)) == len(together) >= len(values) - 3
    score = cross_validate(folds, Structure.rank_one((6, 6, 6)), key=jax.random.key(0))
    np.testing.assert_allclose(score.standard_error, np.std(score.errors, ddof=1) / 2)
    assert 0.8 < score.mean < 1.5
    with pytest.raises(ValueError, match="two or more folds"):
        cross_validate(folds[:1], Structure.rank_one((6, 6, 6)), key=jax.random.key(0))


def test_the_ridge_is_chosen_by_held_out_entries():
    rng = np.random.default_rng(0)
    truth = np.einsum("i,j,k", *rng.random((3, 6)))
    noisy = truth + 0.3 * truth.std() * rng.standard_normal(truth.shape)
    problem = Completion.from_mask(
        noisy, rng.random(truth.shape) < 0.5, validation=0.25, key=jax.random.key(1)
    )
    wide = Structure.tensor_train((6, 6, 6), 4)
    choice = choose_ridge(problem, wide, key=jax.random.key(0), grid=(0.0, 0.1, 100.0))
    assert choice.ridge == 0.1
    assert choice.result.error == min(choice.errors.values()) < choice.errors[0.0]
    assert float(choice.problem.penalty) == pytest.approx(0.1 / problem.training.count)
    with pytest.raises(ValueError, match="holds nothing out"):
        choose_ridge(Completion.from_mask(noisy), wide, key=jax.random.key(0))


def test_a_search_ends_by_held_out_entries_and_returns_its_best_network():
    rng = np.random.default_rng(0)
    truth = np.einsum("i,j,k", *rng.random((3, 5)))
    noisy = truth + 0.5 * truth.std() * rng.standard_normal(truth.shape)
    problem = Completion.from_mask(
        noisy, rng.random(truth.shape) < 0.8, validation=0.25, key=jax.random.key(1)
    )
    result = search(problem, key=jax.random.key(0), max_params=1000, strategy=Greedy())
    assert result.status is Status.STAGNATED
    assert result.error == min(step.error for step in result.path)
    assert result.path[-1].error > result.error
    inner = result.network / problem.scale
    np.testing.assert_allclose(problem.error(inner), result.error, rtol=1e-9)


@pytest.mark.slow
def test_a_planted_ring_is_found_from_five_percent_and_the_benchmark_writes_it(tmp_path):
    path = Path(__file__).parents[2] / "experiments" / "benchmarks" / "completion.py"
    out = tmp_path / "completion.json"
    command = ["--parts", "planted", "--structures", "ring 20^4, 5 %", "--cores", "normal"]
    command += ["--seeds", "1", "--out", str(out)]
    for arguments in (command, ["--one", "sweep", "1000", "0"]):
        subprocess.run(
            [sys.executable, str(path), *arguments],
            check=True,
            env={**os.environ, "XLA_FLAGS": ""},  # it computes for long: let the compiler optimize
            capture_output=True,
        )
    assert [row["hit"] for row in json.loads(out.read_text())["planted"]] == [True]


def test_a_node_without_legs_and_bonds_is_a_number_that_starts_as_well():
    truth = np.multiply.outer(np.outer([1.0, 2, 3, 4], [1.0, 2, 3]), [1.0, 3, 2])
    problem = Completion.from_mask(truth, random_mask(truth.shape, 0.9, key=jax.random.key(0)))
    found = fit(problem, Structure.tucker(truth.shape, 1), key=jax.random.key(0), max_steps=50)
    assert found.error < 1e-6


def test_sketch_is_a_part_of_the_entries_in_the_same_units_and_whole_where_there_are_few():
    rng = np.random.default_rng(0)
    shape, count = (9, 8, 700), 45_000
    seen = rng.choice(np.prod(shape), count, replace=False)
    indices = np.stack(np.unravel_index(seen, shape), 1)
    values = 3 + rng.standard_normal(count)
    problem = Completion(indices, values, shape, validation=0.1, key=jax.random.key(0))
    sketch = problem.sketch(100)
    assert sketch.training.count == 2**14
    assert problem.held_out is not None
    assert sketch.held_out is not None
    assert sketch.held_out.count / problem.held_out.count == pytest.approx(2**14 / 40_500, rel=1e-2)
    known = {tuple(row): value for row, value in zip(indices, values, strict=True)}
    rows = np.asarray(sketch.training.indices)
    expected = np.asarray([known[tuple(row)] for row in rows]) / problem.scale
    np.testing.assert_allclose(sketch.training.values, expected, rtol=1e-5)
    assert float(sketch.training.weights.sum()) == pytest.approx(1, rel=1e-4)
    for mode, layout in enumerate(sketch.blocks):
        of_block = np.repeat(np.asarray(layout.rows), layout.samples.shape[1])
        ids = np.asarray(layout.samples).ravel()
        real = ids < len(rows)
        np.testing.assert_array_equal(np.sort(ids[real]), np.arange(len(rows)))
        np.testing.assert_array_equal(rows[ids[real], mode], of_block[real])
    assert problem.sketch(5000) is problem
