"""Nodes that share a core, nonnegative decompositions, and data drawn anew."""

import itertools

import jax
import numpy as np
import optax
import pytest

from tests.helpers import DTYPES, normal
from tnjax import (
    ALS,
    Completion,
    Decomposition,
    Structure,
    TensorNetwork,
    Tied,
    TreeSearch,
    fit,
    search,
)
from tnjax.solve import random_start

KEY = jax.random.key(0)
RESCAL = Structure.from_edges((6, 6, 4), {(0, 2): 2, (1, 2): 2})
REAL = [dtype for dtype in DTYPES if dtype.startswith("float")]


def relations(dtype, seed=0, nonnegative=False) -> np.ndarray:
    rng = np.random.default_rng(seed)
    draw = rng.random if nonnegative else rng.standard_normal
    a, r = draw((6, 2)), draw((4, 2, 2))
    return np.einsum("ia,kab,jb->ijk", a, r, a).astype(dtype)


def tied_network(dtype, seed=0) -> TensorNetwork:
    a = normal((6, 2), dtype, (seed, 0))
    return TensorNetwork(RESCAL, [a, a, normal((4, 2, 2), dtype, (seed, 1))])


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_loss_and_its_equations_are_those_of_the_tied_network(dtype):
    x = relations(dtype)
    problem, network = Tied(Decomposition(x), [(0, 1)]), tied_network(dtype)
    a, _, r = (np.asarray(core, complex) for core in network.cores)
    unit = x.astype(complex) / np.linalg.norm(x)
    error = unit - np.einsum("ia,kab,jb->ijk", a, r, a)
    tolerance = 1e-4 if dtype in ("float32", "complex64") else 1e-11
    np.testing.assert_allclose(problem.loss(network), np.linalg.norm(error) ** 2, rtol=tolerance)
    # What is at the second node does not matter.
    other = TensorNetwork(RESCAL, [network.cores[0], 5 * network.cores[1], network.cores[2]])
    np.testing.assert_allclose(problem.loss(other), problem.loss(network), rtol=tolerance)
    # Each place of the core by itself, as dense least squares in NumPy.
    as_subject = np.einsum("kab,jb->jka", r, a).reshape(-1, 2)
    as_object = np.einsum("ia,kab->ikb", a, r).reshape(-1, 2)
    rows = unit.reshape(6, -1), unit.transpose(1, 0, 2).reshape(6, -1)
    gram = sum(m.conj().T @ m for m in (as_subject, as_object))
    rhs = sum(y @ m.conj() for y, m in zip(rows, (as_subject, as_object), strict=True))
    found = problem.normal_equations(other, 0)
    np.testing.assert_allclose(found[0][0], gram, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(found[1], rhs, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("dtype", REAL)
@pytest.mark.parametrize("nonnegative", [False, True])
def test_planted_relations_are_found_by_equal_cores(dtype, nonnegative):
    for seed in range(2):
        x = relations(dtype, seed, nonnegative)
        problem = Tied(Decomposition(x, nonnegative=nonnegative), [(0, 1)])
        solver = ALS(max_steps=300, rtol=1e-5, patience=5)
        found = fit(problem, RESCAL, key=KEY, solver=solver, num_starts=4)
        assert found.error < 1e-2
        first, second, core = map(np.asarray, found.network.cores)
        np.testing.assert_array_equal(first, second)
        assert not nonnegative or min(first.min(), core.min()) >= 0
        dense = np.einsum("ia,kab,jb->ijk", first, core, first)
        assert np.linalg.norm(dense - x) < 1.01e-2 * np.linalg.norm(x)


def test_no_sweep_raises_the_loss_of_tied_cores():
    x = relations(REAL[-1], 3) + 0.3 * normal((6, 6, 4), REAL[-1], 4)  # so that some loss is left
    problem = Tied(Decomposition(x), [(0, 1)])
    solver, network = ALS(), tied_network(REAL[-1], 5)
    step = jax.jit(lambda network, state: solver.step(problem, network, state))
    losses, state = [float(problem.loss(network))], solver.init(problem, network)
    for _ in range(15):
        network, state = step(network, state)
        losses.append(float(problem.loss(network)))
    assert all(b <= a * (1 + 1e-5) for a, b in itertools.pairwise(losses)), losses
    assert losses[-1] < 0.5 * losses[0]


def test_gradients_go_to_the_first_node_of_a_group():
    problem, network = Tied(Decomposition(relations("float32")), [(0, 1)]), tied_network("float32")
    slope = jax.grad(problem.loss)(network)
    assert not np.any(slope.cores[1])
    assert np.any(slope.cores[0])
    found = fit(problem, RESCAL, key=KEY, solver=optax.adam(0.03), max_steps=40)
    assert found.error < 0.3


def test_tied_entries_are_completed():
    x = relations(REAL[-1], 1)
    seen = np.random.default_rng(0).random(x.shape) < 0.7
    problem = Tied(Completion.from_mask(x, seen), [(0, 1)])
    solver = ALS(max_steps=200, rtol=1e-5, patience=5)
    found = fit(problem, RESCAL, key=KEY, solver=solver, num_starts=4)
    dense = np.asarray(found.network.to_dense())
    assert np.linalg.norm((dense - x)[~seen]) < 0.05 * np.linalg.norm(x[~seen])


@pytest.mark.parametrize("groups", [[], [(0,)], [(0, 1), (1, 2)], [(0, 0)]])
def test_groups_that_mean_nothing_are_refused(groups):
    with pytest.raises(ValueError, match="groups of two or more nodes"):
        Tied(Decomposition(np.ones((2, 2))), groups)


def test_cores_of_different_shapes_cannot_be_tied():
    problem = Tied(Decomposition(np.ones((6, 6, 4))), [(0, 2)])
    with pytest.raises(ValueError, match="have the shapes"):
        fit(problem, RESCAL, key=KEY)
    problem = Tied(Decomposition(np.ones((6, 6, 4))), [(0, 7)])
    with pytest.raises(ValueError, match="3 nodes"):
        fit(problem, RESCAL, key=KEY)


@pytest.mark.parametrize("dtype", REAL)
def test_nonnegative_cores_are_optimal_within_their_bounds(dtype):
    x = np.abs(normal((7, 6, 5), dtype)) - np.dtype(dtype).type(0.5)
    problem = Decomposition(x, nonnegative=True)
    solver = ALS(max_steps=300, rtol=1e-6, patience=10)
    found = fit(problem, Structure.cp(x.shape, 3), key=KEY, solver=solver)
    a, b, c = (np.asarray(core, np.float64) for core in found.network.cores)
    assert min(core.min() for core in (a, b, c)) == 0
    # The conditions of Karush, Kuhn and Tucker, in NumPy.
    design = np.einsum("jr,kr->jkr", b, c).reshape(-1, 3)
    slope = (a @ design.T - x.reshape(7, -1)) @ design
    scale = np.abs(x.reshape(7, -1) @ design).max()
    assert slope.min() > -1e-2 * scale
    assert np.abs(slope * a).max() < 1e-2 * scale * a.max()


def test_a_search_for_nonnegative_cores_keeps_them_so():
    rng = np.random.default_rng(0)
    x = np.einsum("ia,ja,ka->ijk", *(rng.random((5, 2)) for _ in range(3)))
    problem = Decomposition(x, nonnegative=True)
    result = search(problem, key=KEY, target_error=0.05)
    assert result.error <= 0.05
    assert min(np.asarray(core).min() for core in result.network.cores) >= 0
    with pytest.raises(ValueError, match="singular values"):
        search(problem, key=KEY, strategy=TreeSearch(), target_error=0.05)
    with pytest.raises(ValueError, match="real entries"):
        Decomposition(x + 0j, nonnegative=True)


@pytest.mark.parametrize("dtype", DTYPES)
def test_data_are_perturbed_and_resampled_in_their_units(dtype):
    x = 7 * normal((4, 5, 3), dtype, 1)
    problem = Decomposition(x)
    dense = lambda problem: np.asarray(problem.target) * problem.scale
    factors = dense(problem.perturbed(0.1, key=KEY)) / x
    assert np.abs(factors.imag).max() < 1e-5
    assert 0.85 < np.abs(factors - 1).max() / 0.1 <= 1 + 1e-4
    start = random_start(problem, Structure.cp(x.shape, 2), key=KEY)
    inner = start * (1 / problem.scale)
    drawn = problem.resampled(inner, key=KEY)
    truth = np.asarray(start.to_dense())
    before, after = (np.sort_complex((y - truth).ravel()) for y in (x, dense(drawn)))
    np.testing.assert_allclose(after.real, before.real, rtol=1e-3, atol=1e-4)
    assert np.abs(np.linalg.norm(np.asarray(drawn.target)) - 1) < 1e-5
    assert not np.allclose(dense(drawn), x)


def test_entries_are_drawn_with_replacement():
    x = normal((6, 7), REAL[-1])
    problem = Completion.from_mask(x)
    network = random_start(problem, Structure.rank_one(x.shape), key=KEY)
    drawn = problem.resampled(network, key=KEY)
    times = np.asarray(drawn.training.weights) * x.size
    np.testing.assert_allclose(times, np.round(times), atol=1e-4)
    assert abs(times.sum() - x.size) < 1e-3
    assert 0.5 < (times > 0).mean() < 0.75  # 1 - 1/e of them
    values = np.asarray(problem.perturbed(0.2, key=KEY).training.values)
    ratio = values / np.asarray(problem.training.values)
    assert 0.17 < np.abs(ratio - 1).max() <= 0.2 + 1e-5
