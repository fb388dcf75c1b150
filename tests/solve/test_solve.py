"""Solvers and `fit`: against NumPy, stopping rules, statuses, complex data, many starts."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jaxtyping import TypeCheckError

from tests.helpers import dense_oracle
from tnjax import (
    ALS,
    Completion,
    Decomposition,
    GaussNewton,
    LevenbergMarquardt,
    Objective,
    Optax,
    Problem,
    Status,
    Structure,
    TensorNetwork,
    fit,
    relative_error,
)
from tnjax.contract.cost import layers_pay
from tnjax.problems import _all_cells
from tnjax.solve.limits import limits_of
from tnjax.solve.rows import solve_rows
from tnjax.solve.solver import drive, start

TREE = Structure.from_edges((3, 4, 3, 2), {(0, 4): 2, (1, 4): 2, (2, 4): 2, (2, 3): 2})
RING = Structure.tensor_ring((4, 3, 4), 2)


def planted(structure, seed, dtype=np.float64):
    key = jax.random.key(seed)
    return np.asarray(TensorNetwork.random(structure, key=key, dtype=dtype).to_dense())


def noisy(structure, seed):
    rng = np.random.default_rng(seed)
    tensor = planted(structure, seed)
    return tensor + 0.3 * np.linalg.norm(tensor) / np.sqrt(tensor.size) * rng.standard_normal(
        tensor.shape
    )


@pytest.mark.parametrize("dtype", [np.float64, np.complex128, np.float32])
def test_normal_equations_solve_the_least_squares_problem_of_a_core(dtype):
    problem = Decomposition(planted(RING, 0, dtype) + planted(RING, 1, dtype))
    network = TensorNetwork.random(RING, key=jax.random.key(2), dtype=dtype)

    @jax.jit
    def solved(network):
        asked = [problem.normal_equations(network, node) for node in range(3)]
        return [solve_rows(gram, rhs, jnp.zeros_like(rhs), 1e-14) for gram, rhs in asked]

    for node, step in enumerate(solved(network)):
        basis = []
        for index in range(step.size):
            cores = list(network.cores)
            one = np.zeros(step.size, dtype)
            one[index] = 1
            cores[node] = one.reshape(cores[node].shape)
            basis.append(dense_oracle(RING, cores).ravel())
        target = np.asarray(problem.target).ravel()
        exact = np.linalg.lstsq(np.stack(basis, 1), target, rcond=None)[0]
        tolerance = 1e-3 if dtype == np.float32 else 1e-9
        np.testing.assert_allclose(step.ravel(), exact, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("structure", [RING, TREE], ids=["ring", "tree"])
@pytest.mark.parametrize("dtype", [np.float64, np.complex128, np.float32])
def test_sweeps_from_shared_layers_are_those_from_the_cores(structure, dtype, monkeypatch):
    problem = Decomposition(planted(structure, 0, dtype) + planted(structure, 1, dtype))
    solver = ALS()
    found = []
    for layered in (True, False):
        monkeypatch.setattr(_all_cells, "layers_pay", lambda structure, x=layered: x)
        network = TensorNetwork.random(structure, key=jax.random.key(2), dtype=dtype)
        assert (problem.layers(network) is None) is not layered
        sweep = jax.jit(lambda p, n: solver.step(p, n, solver.init(p, n))[0])
        for _ in range(3):
            network = sweep(problem, network)
        found.append(np.asarray(network.to_dense()))
    tolerance = 1e-3 if dtype == np.float32 else 1e-9
    np.testing.assert_allclose(*found, rtol=tolerance, atol=tolerance)


SHARING = {
    "seven modes": Structure.from_edges(
        (3, 2, 3, 2, 3, 2, 3), {(0, 4): 2, (1, 2): 2, (2, 5): 3, (3, 6): 2, (0, 6): 2, (4, 5): 2}
    ),
    "hyperedge": Structure.cp((5, 4, 3, 4), 3),
    "three modes": Structure.tensor_train((6, 5, 7), 2),
    "high ranks": Structure.tensor_ring((3, 3, 3, 3), 4),
    "internal node": Structure.tucker((4, 5, 6, 3), (2, 2, 2, 2)),
}


@pytest.mark.parametrize("structure", SHARING.values(), ids=SHARING.keys())
@pytest.mark.parametrize("dtype", [np.float64, np.complex128])
def test_a_sweep_sets_each_core_to_its_optimum_in_turn(structure, dtype):
    """Against dense least squares in NumPy, one core after the other: what halves of the nodes
    share must be that of the cores as they are then."""
    problem = Decomposition(planted(structure, 0, dtype) + planted(structure, 1, dtype))
    network = TensorNetwork.random(structure, key=jax.random.key(2), dtype=dtype)
    solver = ALS()
    found = jax.jit(lambda p, n: solver.step(p, n, solver.init(p, n))[0])(problem, network)
    cores = [np.asarray(core) for core in network.cores]
    target = np.asarray(problem.target).ravel()
    for node, core in enumerate(cores):
        columns = []
        for index in range(core.size):
            one = np.eye(core.size, dtype=dtype)[index].reshape(core.shape)
            columns.append(
                dense_oracle(structure, [*cores[:node], one, *cores[node + 1 :]]).ravel()
            )
        basis = np.stack(columns, 1)
        cores[node] = np.linalg.lstsq(basis, target, rcond=None)[0].reshape(core.shape)
    expected = dense_oracle(structure, cores)
    np.testing.assert_allclose(found.to_dense(), expected, rtol=1e-5, atol=1e-7)


def test_layers_are_shared_where_that_costs_little():
    assert layers_pay(Structure.tensor_ring((16, 16, 16, 16), 4))
    assert layers_pay(Structure.cp((20, 20, 20), 30))
    assert not layers_pay(Structure.tucker((30, 30, 30), (15, 15, 15)))  # 15^6 entries in one
    full = Structure.from_edges((5,) * 6, dict.fromkeys(itertools.combinations(range(6), 2), 3))
    assert not layers_pay(full)


@pytest.mark.parametrize("layered", [True, False])
@pytest.mark.parametrize("dtype", [np.float64, np.complex128])
def test_normal_operator_is_the_jacobian_and_its_adjoint(dtype, layered, monkeypatch):
    if not layered:
        monkeypatch.setattr(_all_cells, "layers_pay", lambda structure: False)
    structure = Structure.from_edges((3, 2, 3), {(0, 1): 2, (0, 3): 2, (1, 3): 2, (2, 3): 2})
    network = TensorNetwork.random(structure, key=jax.random.key(2), dtype=dtype)
    v = TensorNetwork.random(structure, key=jax.random.key(3), dtype=dtype)
    problem = Decomposition(planted(structure, 0, dtype))

    @jax.jit
    def asked(network, v):
        grams, product = problem.normal_operator(network)
        nodes = range(structure.num_nodes)
        return grams, [problem.normal_equations(network, node)[0] for node in nodes], product(v)

    grams, again, moved = asked(network, v)
    columns = []
    for node, core in enumerate(network.cores):
        for index in range(core.size):
            cores = list(network.cores)
            cores[node] = np.eye(core.size, dtype=dtype)[index].reshape(core.shape)
            columns.append(dense_oracle(structure, cores).ravel())
    jacobian = np.stack(columns, 1)
    flat = lambda network: np.concatenate([np.ravel(core) for core in network.cores])
    expected = jacobian.conj().T @ (jacobian @ flat(v))
    np.testing.assert_allclose(flat(moved), expected, rtol=1e-10, atol=1e-10)
    for gram, other in zip(grams, again, strict=True):
        np.testing.assert_allclose(gram, other, rtol=1e-10, atol=1e-12)


def test_functional_gradient_matches_finite_differences():
    data = np.random.default_rng(0).standard_normal(RING.dims)
    network = TensorNetwork.random(RING, key=jax.random.key(2))
    loss = lambda x, y: jnp.sum(jnp.log1p((x - y) ** 2))
    of_network = lambda n, y: loss(n.to_dense(), y)
    decomposition = Decomposition(data)
    square = lambda x: jnp.sum((decomposition.target - x) ** 2)
    other = lambda x: loss(x, data)
    cases = [
        (decomposition, square),
        (Objective(loss, RING.dims, data=data), other),
        (Objective(of_network, RING.dims, of="network", data=data), other),
    ]
    dense = np.asarray(network.to_dense())
    direction = np.random.default_rng(1).standard_normal(RING.dims)
    for problem, value in cases:
        h = 1e-5
        slope = float(value(dense + h * direction) - value(dense - h * direction)) / (2 * h)
        found = float(jnp.vdot(problem.functional_gradient(network), direction))
        np.testing.assert_allclose(found, slope, rtol=1e-6)


@pytest.mark.parametrize("dtype", [np.float64, np.complex128])
def test_functional_gradients_by_autodiff_are_those_of_each_problem(dtype):
    data = planted(RING, 0, dtype)
    network = TensorNetwork.random(RING, key=jax.random.key(2), dtype=dtype)
    some = np.argwhere(np.random.default_rng(0).random(RING.dims) < 0.5)
    for problem in (
        Decomposition(data),
        Completion(some, data[tuple(some.T)], RING.dims),
        Objective(lambda x, y: jnp.sum(jnp.abs(x - y) ** 2), RING.dims, data=data, dtype=dtype),
    ):
        own = problem.functional_gradient(network)
        np.testing.assert_allclose(Problem.functional_gradient(problem, network), own, atol=1e-12)


def test_als_never_raises_the_error_and_reports_the_true_one():
    tensor = noisy(TREE, 0)
    result = fit(Decomposition(tensor), TREE, key=jax.random.key(1), max_steps=30)
    assert np.all(np.diff(result.history) <= 1e-12)
    true = np.linalg.norm(np.asarray(result.network.to_dense()) - tensor) / np.linalg.norm(tensor)
    np.testing.assert_allclose(result.error, true, rtol=1e-10)
    np.testing.assert_allclose(result.error, result.history.min(), rtol=1e-12)


@pytest.mark.parametrize(("dtype", "floor"), [(np.float64, 1e-12), (np.float32, 2e-5)])
def test_als_reaches_the_floor_of_the_precision(dtype, floor):
    structure = Structure.tensor_ring((7,) * 5, (2, 3, 4, 5, 5))
    solver = ALS(max_steps=100, rtol=1e-6)
    tensor = planted(structure, 101, dtype)
    result = fit(Decomposition(tensor), structure, key=jax.random.key(1), solver=solver)
    assert result.error < floor
    assert result.network.dtype == dtype


SOLVERS = {
    "als": ALS(max_steps=100),
    "gauss-newton": GaussNewton(max_steps=100),
    "levenberg-marquardt": LevenbergMarquardt(max_steps=100),
    "adam": Optax(optax.adam(3e-2), max_steps=200),
    "lbfgs": optax.lbfgs(),
}


@pytest.mark.parametrize(
    ("name", "dtype"),
    [*((name, np.float64) for name in SOLVERS), ("als", np.complex128), ("lbfgs", np.complex128)],
)
def test_every_solver_recovers_a_representable_tensor(name, dtype):
    tensor = planted(TREE, 3, dtype) * 1e-20
    result = fit(
        Decomposition(tensor),
        TREE,
        key=jax.random.key(4),
        solver=SOLVERS[name],
        target_error=1e-4,
        num_starts=3,
    )
    assert result.status is Status.TARGET_REACHED
    assert result.error <= 1e-4
    assert float(relative_error(result.network, tensor)) <= 1.01e-4


@pytest.mark.parametrize("solver", SOLVERS.values(), ids=SOLVERS)
def test_room_filled_with_zeros_stays_zero(solver):
    """What the search's capacities rely on, for every solver."""
    from tnjax.moves.cores import pad, unpad
    from tnjax.solve.limits import as_solver

    problem = Decomposition(noisy(TREE, 0))
    solver = as_solver(solver, problem)
    small = TensorNetwork.random(TREE, key=jax.random.key(1))
    large = TREE.grow((0, 4)).grow((2, 3), 2).grow((0, 1))
    padded = TensorNetwork(large, pad(TREE, small.cores, large))
    limits = limits_of(solver, problem, target_error=None, max_steps=5)
    state = jax.jit(lambda p, n: drive(solver, p, start(solver, p, n), limits))(problem, padded)
    inside = unpad(TREE, state.best.cores, large)
    back = pad(TREE, inside, large)
    for a, b in zip(back, state.best.cores, strict=True):
        np.testing.assert_array_equal(a, b)
    assert float(state.best_error) < float(problem.error(small))


def test_stopping_rules_give_their_status():
    problem = Decomposition(noisy(RING, 0))
    key = jax.random.key(0)
    assert fit(problem, RING, key=key, target_error=0.9).status is Status.TARGET_REACHED
    few = fit(problem, RING, key=key, max_steps=2)
    assert (few.status, few.steps, len(few.history)) == (Status.MAX_STEPS, 2, 2)
    assert fit(problem, RING, key=key, max_steps=500).status is Status.STAGNATED
    timed = fit(
        problem,
        RING,
        key=key,
        solver=ALS(rtol=0.0, patience=10**9),
        max_steps=10**6,
        max_seconds=0.2,
    )
    assert timed.status is Status.MAX_SECONDS
    assert timed.steps % 10 == 0


def test_a_loss_that_is_never_finite_gives_a_status_and_no_nan():
    problem = Objective(lambda x: jnp.sum(x) * jnp.nan, RING.dims)
    result = fit(problem, RING, key=jax.random.key(0), solver=optax.adam(1e-2))
    assert result.status is Status.NON_FINITE
    assert not result.status.ok
    assert all(jnp.isfinite(core).all() for core in result.network.cores)


def test_a_step_that_explodes_keeps_the_best_network():
    problem = Decomposition(noisy(RING, 0))
    start = fit(problem, RING, key=jax.random.key(0)).network
    result = fit(problem, start, solver=Optax(optax.sgd(1e12), max_steps=20))
    assert result.status in (Status.NON_FINITE, Status.STAGNATED)
    assert np.isfinite(result.error)
    assert result.error <= float(relative_error(start, noisy(RING, 0))) + 1e-12


def test_fit_goes_on_from_a_network_and_is_never_worse():
    tensor = noisy(RING, 0)
    problem = Decomposition(tensor)
    first = fit(problem, RING, key=jax.random.key(0), max_steps=3)
    second = fit(problem, first.network, max_steps=3)
    assert second.error <= first.error
    np.testing.assert_allclose(second.history[0] <= first.error, True)


def test_many_starts_are_at_least_as_good_as_the_first():
    problem = Decomposition(noisy(TREE, 7))
    many = fit(problem, TREE, key=jax.random.key(0), num_starts=6)
    singles = [
        fit(
            problem,
            TensorNetwork.random(TREE, key=key, dtype=problem.dtype) * problem.scale,
        ).error
        for key in jax.random.split(jax.random.key(0), 6)
    ]
    np.testing.assert_allclose(many.error, min(singles), rtol=1e-8)


def test_any_differentiable_loss_is_minimized():
    counts = np.random.default_rng(0).poisson(np.exp(planted(RING, 1)))
    data = jnp.asarray(counts, jnp.float64)
    poisson = lambda x, y: jnp.mean(jnp.exp(x) - y * x)
    result = fit(Objective(poisson, RING.dims, data=data), RING, key=jax.random.key(0))
    rate = np.log(counts.mean())
    assert result.error < float(poisson(jnp.full(RING.dims, rate), data))


def test_als_refuses_a_loss_that_is_no_least_squares():
    problem = Objective(lambda x: jnp.sum(x**2), RING.dims)
    with pytest.raises(ValueError, match="ALS needs a least squares problem"):
        fit(problem, RING, key=jax.random.key(0), solver=ALS())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(solver="als"), "solver"),
        (dict(target_error=-1.0), "target_error: expected a positive number"),
        (dict(target_error=float("nan")), "target_error: expected a positive number"),
        (dict(max_steps=0), "max_steps: expected a positive number"),
        (dict(key=None), "fit needs `key="),
    ],
)
def test_bad_arguments_say_what_was_expected(options, message):
    options = {"key": jax.random.key(0), **options}
    with pytest.raises((ValueError, TypeCheckError), match=message):
        fit(Decomposition(planted(RING, 0)), RING, **options)


def test_a_fit_over_the_memory_limit_is_refused():
    with pytest.raises(ValueError, match=r"more than the memory limit of 1 KiB"):
        fit(Decomposition(planted(RING, 0)), RING, key=jax.random.key(0), memory_limit=1024)


def test_shape_and_dtype_of_the_start_must_fit():
    problem = Decomposition(planted(RING, 0))
    with pytest.raises(ValueError, match="the structure represents"):
        fit(problem, TREE, key=jax.random.key(0))
    start = TensorNetwork.random(RING, key=jax.random.key(0), dtype=jnp.float32)
    with pytest.raises(ValueError, match="float32"):
        fit(problem, start)
    with pytest.raises(ValueError, match="num_starts"):
        fit(problem, start.astype(jnp.float64), num_starts=2)


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (np.zeros((2, 3)), "zero everywhere"),
        (np.array([[1.0, np.nan]]), "1 of 2 entries are NaN"),
        (np.array([[1.0, np.inf]]), "NaN or infinite"),
        (np.zeros((0, 3)), "no empty one"),
        (np.asarray(3.0), "one or more modes"),
        (np.array([["a", "b"]]), "tensor of numbers"),
    ],
)
def test_a_tensor_that_cannot_be_decomposed_is_refused(tensor, message):
    with pytest.raises(ValueError, match=message):
        Decomposition(tensor)


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_extreme_scales_survive_in_single_precision(scale):
    train = Structure.tensor_train((4, 3, 4), 2)
    tensor = (planted(train, 1, np.float32) / 30 * scale).astype(np.float32)
    options = dict(key=jax.random.key(0), max_steps=50, num_starts=4)
    result = fit(Decomposition(tensor), train, **options)
    assert result.error < 1e-2
    assert float(relative_error(result.network, tensor)) < 1e-2


def test_problem_is_scaled_and_the_result_is_not():
    tensor = 1e6 * planted(RING, 1)
    problem = Decomposition(tensor)
    np.testing.assert_allclose(problem.scale, np.linalg.norm(tensor))
    result = fit(problem, RING, key=jax.random.key(0), max_steps=100)
    np.testing.assert_allclose(result.network.norm(), np.linalg.norm(tensor), rtol=1e-2)
