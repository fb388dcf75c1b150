"""Gradients through `tnjax.solve.run` against central differences."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.flatten_util import ravel_pytree

from tnjax import (
    ALS,
    Completion,
    Decomposition,
    Huber,
    LevenbergMarquardt,
    Optax,
    Structure,
    TensorNetwork,
)
from tnjax.contract import kernels
from tnjax.solve import Checkpointed, Implicit, run
from tnjax.solve._implicit import across_gauge
from tnjax.solve.real import from_real, to_real

TRAIN = Structure.tensor_train((3, 4, 3), 2)
INDICES = np.argwhere(np.ones(TRAIN.dims))
CONVERGED = ALS(max_steps=400, rtol=1e-13, patience=5)
# With the Hessian, and by conjugate gradients.
IMPLICIT = Implicit(), Implicit(dense=0)
START = TensorNetwork.random(TRAIN, key=jax.random.key(2))


def data() -> np.ndarray:
    """Near a train with ranks 2, so that optima are well conditioned; its norm is not 1."""
    dense = np.asarray(TensorNetwork.random(TRAIN, key=jax.random.key(1)).to_dense())
    return 5 * (dense + 0.02 * np.random.default_rng(0).standard_normal(dense.shape))


def both(problem, **options):
    """The error, and an entry: it depends on the cores by way of the tensor alone, and on the
    units."""
    found = run(problem, START, **options)
    return jnp.stack([found.error, found.network.to_dense()[1, 2, 0]])


def error(problem, **options):
    return run(problem, START, **options).error


def check(function, x, adjoint, *, step=1e-4, rtol=1e-5):
    """`function(x, adjoint)`: its derivatives along a direction, without differentiating a fit."""
    along = jnp.asarray(np.random.default_rng(5).standard_normal(x.shape))
    value = jax.jit(lambda t: function(x + t * along, None))
    # Five points: an error of step^4, so that rounding matters as little.
    points = [(-2, 1 / 12), (-1, -8 / 12), (1, 8 / 12), (2, -1 / 12)]
    expected = sum(c * np.asarray(value(k * step)) for k, c in points) / step
    jacobian = jax.jit(jax.jacrev(lambda x: function(x, adjoint)))(x)
    assert (abs(expected) > 1e-6).all()
    np.testing.assert_allclose(jnp.tensordot(jacobian, along, x.ndim), expected, rtol=rtol)


@pytest.mark.parametrize("every", [None, 2])
def test_checkpointed_gradients_are_those_of_the_steps(every):
    solver = ALS(max_steps=5, rtol=0)
    function = lambda x, adjoint: both(Decomposition(x), solver=solver, adjoint=adjoint)
    check(function, data(), Checkpointed(every))


def test_checkpointed_gradients_through_gradient_steps():
    solver = Optax(optax.adam(1e-2), max_steps=4, updates=3)
    function = lambda x, adjoint: both(Decomposition(x), solver=solver, adjoint=adjoint)
    check(function, data(), Checkpointed())


@pytest.mark.parametrize(
    "solver",
    [CONVERGED, LevenbergMarquardt(max_steps=60, rtol=1e-13)],
    ids=["als", "levenberg"],
)
def test_implicit_gradients_are_those_of_the_optimum(solver):
    function = lambda x, adjoint: both(Decomposition(x), solver=solver, adjoint=adjoint)
    check(function, data(), Implicit(), step=1e-3)  # fits converge to 1e-9 or so


def test_implicit_gradients_without_the_hessian_are_the_same():
    function = lambda adjoint: jax.jit(
        jax.jacrev(lambda x: both(Decomposition(x), solver=CONVERGED, adjoint=adjoint))
    )
    dense, free = (function(adjoint)(data()) for adjoint in IMPLICIT)
    np.testing.assert_allclose(free, dense, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("adjoint", [Checkpointed(), Implicit()])
def test_gradients_by_the_weights_of_a_completion(adjoint):
    tensor = data()
    weights = jnp.asarray(0.5 + np.random.default_rng(6).random(tensor.size))
    solver = CONVERGED if isinstance(adjoint, Implicit) else ALS(max_steps=4, rtol=0)

    def function(weights, adjoint):
        ridge = 0.0 if solver is CONVERGED else 1e-3
        problem = Completion(INDICES, tensor.ravel(), TRAIN.dims, weights=weights, ridge=ridge)
        return both(problem, solver=solver, adjoint=adjoint)

    check(function, weights, adjoint)


def test_gradients_where_steps_are_halved():
    tensor = data()

    def function(values, adjoint):
        problem = Completion(INDICES, values, TRAIN.dims, loss=Huber())
        return both(problem, solver=ALS(max_steps=3, rtol=0), adjoint=adjoint)

    check(function, tensor.ravel(), Checkpointed())


def test_gradients_under_vmap_are_those_one_by_one():
    matrix = data().reshape(3, 12)
    stack = np.stack([matrix, 2 * matrix[::-1]])
    start = TensorNetwork.random(Structure.tensor_train((3, 12), 2), key=jax.random.key(2))
    for adjoint, solver in ((Checkpointed(), ALS(max_steps=4)), (Implicit(), CONVERGED)):
        gradient = jax.grad(
            lambda x, solver=solver, adjoint=adjoint: (
                run(Decomposition(x), start, solver=solver, adjoint=adjoint).error
            )
        )
        together = jax.jit(jax.vmap(gradient))(stack)
        alone = np.stack([jax.jit(gradient)(x) for x in stack])
        np.testing.assert_allclose(together, alone, rtol=1e-5, atol=1e-8)


def test_an_adjoint_does_not_change_what_is_found():
    solver = ALS(max_steps=9, rtol=1e-3)
    plain = jax.jit(lambda x: run(Decomposition(x), START, solver=solver))(data())
    for adjoint in (Checkpointed(2), Implicit()):
        other = jax.jit(
            lambda x, a=adjoint: run(Decomposition(x), START, solver=solver, adjoint=a)
        )(data())
        assert (other.steps, other.status_code) == (plain.steps, plain.status_code)
        assert other.history.shape == plain.history.shape
        np.testing.assert_allclose(other.error, plain.error, rtol=1e-9)
        np.testing.assert_allclose(other.history, plain.history, rtol=1e-9)
        np.testing.assert_allclose(
            other.network.to_dense(), plain.network.to_dense(), rtol=1e-7, atol=1e-9
        )


def test_implicit_gradients_of_a_fit_that_stopped_early_are_nan():
    early = lambda x: error(Decomposition(x), solver=ALS(max_steps=1), adjoint=Implicit())
    assert np.isnan(jax.jit(jax.grad(early))(data())).all()


STRUCTURES = {
    "train": TRAIN,
    "ring": Structure.tensor_ring((3, 4, 3), 2),
    "hyperedge": Structure.cp((3, 4, 3), 2),
    "internal node": Structure.from_edges((3, 4, 3), {(0, 3): 2, (1, 3): 2, (2, 3): 2}),
}


@pytest.mark.parametrize("dtype", [np.float64, np.complex128])
@pytest.mark.parametrize("name", STRUCTURES)
def test_across_the_gauge_is_where_the_tensor_moves(name, dtype):
    structure = STRUCTURES[name]
    network = TensorNetwork.random(structure, key=jax.random.key(0), dtype=dtype)
    rebuild = from_real(structure, network.dtype)
    x, unravel = ravel_pytree(to_real(network))

    def dense(x):
        tensor = kernels.dense(structure, rebuild(unravel(x)).cores).ravel()
        return jnp.concatenate([tensor.real, tensor.imag])

    jacobian = np.asarray(jax.jit(jax.jacobian(dense))(x))
    _, sizes, rows = np.linalg.svd(jacobian)
    rank = int((sizes > 1e-9 * sizes[0]).sum())
    moving = rows[:rank].T @ rows[:rank]
    found = jax.jit(lambda network, v: jax.vmap(across_gauge(network))(v))(network, jnp.eye(x.size))
    # No motion of the tensor is lost, and where the gauge is all that is free, no other is left.
    np.testing.assert_allclose(found @ moving, moving, atol=1e-9)
    np.testing.assert_allclose(found @ found, found, atol=1e-9)
    if name in ("train", "hyperedge"):
        np.testing.assert_allclose(found, moving, atol=1e-9)


def test_cores_move_as_little_as_they_can_whatever_solves():
    def core(x, adjoint):
        found = run(Decomposition(x), START, solver=CONVERGED, adjoint=adjoint)
        return found.network.cores[1][0, 0, 0]

    dense, free = (jax.jit(jax.grad(lambda x, a=a: core(x, a)))(data()) for a in IMPLICIT)
    np.testing.assert_allclose(free, dense, rtol=1e-5, atol=1e-8)


def test_checkpoints_take_less_memory_than_a_plain_scan_and_give_its_gradient():
    def plain(x, steps):
        problem, solver = Decomposition(x), ALS()
        begin = START * (1 / problem.scale)

        def body(carry, _):
            return solver.step(problem, *carry), None

        (network, _), _ = jax.lax.scan(body, (begin, solver.init(problem, begin)), length=steps)
        return problem.error(network)

    def checked(x, steps):
        solver = ALS(max_steps=steps, rtol=-1.0)  # goes on where rounding alone is left
        return error(Decomposition(x), solver=solver, adjoint=Checkpointed())

    def made(function, steps):
        return jax.jit(jax.grad(lambda x: function(x, steps))).lower(data()).compile()

    size = lambda program: program.memory_analysis().temp_size_in_bytes
    programs = [made(function, 100) for function in (checked, plain)]
    assert size(programs[0]) < size(programs[1]) / 4
    np.testing.assert_allclose(*(program(data()) for program in programs), rtol=1e-6, atol=1e-10)
    # It grows with the root of the steps.
    assert size(made(checked, 400)) < 2.5 * size(programs[0])


def test_reverse_mode_without_an_adjoint_names_them():
    function = lambda x: error(Decomposition(x), max_steps=3)
    for transformed in (jax.grad(function), jax.jit(jax.grad(function))):
        with pytest.raises(ValueError, match=r"Checkpointed\(\) .*\.Implicit\(\)"):
            transformed(data())
    _, forward = jax.jvp(function, (data(),), (data(),))
    np.testing.assert_allclose(forward, 0, atol=1e-9)  # a relative error has no scale


def test_adjoints_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="every=0"):
        Checkpointed(0)
    problem = Completion(INDICES, np.abs(data()).ravel(), TRAIN.dims, nonnegative=True)
    with pytest.raises(ValueError, match="Checkpointed"):
        run(problem, START, adjoint=Implicit())
