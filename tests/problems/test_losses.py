"""Losses entry by entry: slopes and parabolas by finite differences, monotone fits for each."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tnjax import (
    ALS,
    Bernoulli,
    Completion,
    GaussNewton,
    Huber,
    LevenbergMarquardt,
    Poisson,
    Squared,
    Structure,
    fit,
    search,
)
from tnjax.problems._losses import as_loss

pytestmark = pytest.mark.filterwarnings("ignore:Slices without an observed entry")

TRAIN = Structure.tensor_train((4, 3, 4), 2)


def pseudo_huber(prediction, value):
    return jnp.sqrt(1 + (prediction - value) ** 2) - 1


LOSSES = {
    "squared": (Squared(), lambda rng: rng.standard_normal(60)),
    "huber": (Huber(0.5), lambda rng: rng.standard_normal(60) * 3),
    "poisson": (Poisson(), lambda rng: rng.poisson(2.0, 60).astype(float)),
    "bernoulli": (Bernoulli(), lambda rng: rng.integers(0, 2, 60).astype(float)),
    "custom": (as_loss(pseudo_huber), lambda rng: rng.standard_normal(60)),
}


@pytest.mark.parametrize(("loss", "draw"), LOSSES.values(), ids=LOSSES)
def test_slopes_are_derivatives_and_parabolas_lie_above(loss, draw):
    rng = np.random.default_rng(0)
    values, p = jnp.asarray(draw(rng)), jnp.asarray(2 * rng.standard_normal(60))
    h = 1e-6
    slope = (loss.value(p + h, values) - loss.value(p - h, values)) / (2 * h)
    np.testing.assert_allclose(loss.gradient(p, values), slope, rtol=1e-5, atol=1e-7)
    assert (loss.weight(p, values) > 0).all()
    assert (loss.value(p, values) >= -1e-12).all()
    if isinstance(loss, (Squared, Huber, Bernoulli)):
        q = jnp.asarray(3 * rng.standard_normal(60))
        step = q - p
        parabola = loss.value(p, values) + loss.gradient(p, values) * step
        parabola = parabola + loss.weight(p, values) * step**2 / 2
        assert (loss.value(q, values) <= parabola + 1e-12).all()


def problem_for(name, **options):
    loss, draw = LOSSES[name]
    rng = np.random.default_rng(1)
    indices = np.argwhere(np.ones(TRAIN.dims))
    values = draw(rng)[: len(indices)]
    indices = indices[rng.permutation(len(indices))[: len(values)]]
    return Completion(indices, np.resize(values, len(indices)), TRAIN.dims, loss=loss, **options)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize(
    "solver", [ALS(max_steps=30), GaussNewton(max_steps=30)], ids=["als", "gn"]
)
def test_every_loss_is_led_down_without_a_rise(name, solver):
    problem = problem_for(name, ridge=1e-3)
    result = fit(problem, TRAIN, key=jax.random.key(0), solver=solver)
    zero = float(problem.error(result.network * 0))
    assert result.error < 0.9 * zero
    if isinstance(solver, ALS) and name != "squared":
        # the penalties are a part of what falls, so that the bare loss may rise by them alone
        assert np.diff(result.history).max() < 1e-3


@pytest.mark.parametrize("name", ["squared", "poisson"])
def test_nonnegative_cores_stay_so_and_the_loss_falls(name):
    problem = problem_for(name, nonnegative=True, offsets=None)
    result = fit(problem, TRAIN, key=jax.random.key(0), max_steps=20)
    assert all((core >= 0).all() for core in result.network.cores)
    assert np.all(np.diff(result.history) <= 1e-12)
    assert result.error < float(problem.error(result.network * 0))
    for solver in (GaussNewton(), LevenbergMarquardt()):
        with pytest.raises(ValueError, match="cannot keep cores nonnegative"):
            fit(problem, TRAIN, key=jax.random.key(0), solver=solver)


def test_nonnegative_rows_are_those_of_scipy():
    from scipy.optimize import nnls

    from tnjax.solve.rows import nonnegative_rows

    rng = np.random.default_rng(0)
    matrices, targets = rng.standard_normal((5, 9, 4)), rng.standard_normal((5, 9))
    gram = np.einsum("ria,rib->rab", matrices, matrices)
    rhs = np.einsum("ria,ri->ra", matrices, targets)
    x = jnp.ones((5, 4))
    for _ in range(40):
        x = nonnegative_rows(jnp.asarray(gram), jnp.asarray(rhs), x)
    for row in range(5):
        exact, _ = nnls(matrices[row], targets[row])
        np.testing.assert_allclose(x[row], exact, atol=1e-6)


def test_offsets_are_the_means_of_an_additive_table():
    rng = np.random.default_rng(0)
    rows, columns = rng.standard_normal(30), rng.standard_normal(40)
    table = 3 + rows[:, None] + columns[None]
    problem = Completion.from_mask(table, rng.random(table.shape) < 0.8, offsets="modes")
    assert problem.offsets is not None
    everywhere = np.argwhere(np.ones_like(table))
    left = table.ravel() - problem.offsets.at(everywhere)
    assert np.std(left) < 0.15 * np.std(table)
    structure = Structure.rank_one(table.shape)
    result = fit(problem, structure, key=jax.random.key(0))
    predicted = problem.predict(result.network, everywhere)
    np.testing.assert_allclose(
        result.error,
        np.linalg.norm(np.asarray(predicted - table.ravel())[np.asarray(_observed(problem))])
        / np.linalg.norm(table.ravel()[_observed(problem)]),
        rtol=1e-6,
    )


def _observed(problem):
    return np.ravel_multi_index(np.asarray(problem.training.indices).T, problem.shape)


@pytest.mark.parametrize(("loss", "mean"), [(Poisson(), np.log), (Bernoulli(), None)])
def test_a_mean_offset_is_that_of_the_link(loss, mean):
    values = np.array([0.0, 1, 1, 1])
    indices = [[0, 0], [0, 1], [1, 0], [1, 1]]
    problem = Completion(indices, values, (2, 2), loss=loss, offsets="mean")
    expected = np.log(0.75) if mean else np.log(3.0)
    assert problem.offsets is not None
    np.testing.assert_allclose(problem.offsets.mean, expected, rtol=1e-6)


def test_smoothness_is_that_of_the_dense_tensor_and_fills_gaps():
    network = Structure.tensor_ring((5, 4, 3), 2)
    tensor = np.sin(np.arange(5))[:, None, None] * np.ones((5, 4, 3))
    mask = np.ones(tensor.shape, bool)
    mask[2] = False
    problem = Completion.from_mask(tensor, mask, smooth={0: 0.5, 1: 0.2})
    result = fit(problem, network, key=jax.random.key(0), max_steps=200)
    inner = result.network / problem.scale
    dense = np.asarray(inner.to_dense())
    expected = (
        0.5 * (np.diff(dense, axis=0) ** 2).sum() + 0.2 * (np.diff(dense, axis=1) ** 2).sum()
    ) / dense.size
    assert problem.smoothness is not None
    np.testing.assert_allclose(problem.smoothness.penalty(inner), expected, rtol=1e-9)
    middle = (dense[1] + dense[3]) / 2
    np.testing.assert_allclose(dense[2], middle, rtol=0.2)


def test_a_search_of_nonnegative_cores_tries_no_step_that_could_lose_it():
    truth = np.einsum("ia,ja,ka->ijk", *np.random.default_rng(0).random((3, 3, 2)))
    problem = Completion.from_mask(truth, nonnegative=True)
    result = search(problem, key=jax.random.key(0), target_error=0.05)
    assert result.error <= 0.05
    assert all((np.asarray(core) >= 0).all() for core in result.network.cores)
    assert {step.move.kind for step in result.path}.isdisjoint({"rewire", "hyperedge"})
