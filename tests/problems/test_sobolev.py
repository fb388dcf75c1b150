"""Smooth cores, and strengths that held-out entries choose."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tnjax import ALS, Completion, Structure, TensorNetwork, choose_prior, fit, search
from tnjax.problems import SmoothMode

KEY = jax.random.key(0)
SHAPE = (12, 9)
TRAIN = Structure.tensor_train(SHAPE, 2)


def table(seed=0, noise=0.3):
    rng = np.random.default_rng(seed)
    rows, columns = np.arange(12)[:, None] / 3, np.arange(9)[None] / 4
    smooth = np.sin(rows + columns) + columns
    return smooth, smooth + noise * rng.standard_normal(SHAPE), rng.random(SHAPE) < 0.7


def problem_of(smooth, **options):
    _, data, seen = table()
    return Completion.from_mask(data, seen, smooth=smooth, **options)


def test_the_penalty_is_that_of_the_rows_of_the_cores():
    modes = {0: SmoothMode(2.0), 1: SmoothMode(3.0, differences=2, periodic=True)}
    problem = problem_of(modes)
    network = TensorNetwork.random(TRAIN, key=KEY, dtype=jnp.float64)
    a, b = map(np.asarray, network.cores)
    around = np.concatenate([b[-1:], b, b[:1]])
    expected = 2 * (np.diff(a, axis=0) ** 2).sum() + 3 * (np.diff(around, n=2, axis=0) ** 2).sum()
    count = problem.training.count
    np.testing.assert_allclose(problem.penalties(network), expected / count, rtol=1e-12)
    residual = np.asarray(problem.residual(network))
    np.testing.assert_allclose((residual**2).sum(), problem.loss(network), rtol=1e-12)


def test_sweeps_end_where_the_slope_is_zero():
    problem = problem_of({0: SmoothMode(2.0), 1: SmoothMode(1.0, differences=2)}, ridge=0.1)
    solver, inner = ALS(), TensorNetwork.random(TRAIN, key=KEY)  # `fit` keeps the lowest error
    state = solver.init(problem, inner)
    step = jax.jit(lambda network, state: solver.step(problem, network, state))
    for _ in range(400):
        inner, state = step(inner, state)
    slope = jax.jit(jax.grad(problem.loss))(inner)
    assert max(float(abs(core).max()) for core in slope.cores) < 1e-5


def test_held_out_entries_choose_what_helps_beyond_them():
    smooth, data, seen = table()
    options = dict(validation=0.2, key=KEY)
    plain = Completion.from_mask(data, seen, **options)
    problem = Completion.from_mask(data, seen, smooth="auto", ridge="auto", **options)
    assert problem.undecided == ("ridge", "cores 0", "cores 1")
    wide = Structure.tensor_train(SHAPE, 4)
    told = []
    choice = choose_prior(problem, wide, key=KEY, on_try=lambda *each: told.append(each))
    assert tuple(told) == choice.tried
    assert choice.result.error <= min(error for _, error in told)
    assert max(choice.strengths.values()) > 0
    error = lambda network: np.linalg.norm((np.asarray(network.to_dense()) - smooth)[~seen])
    assert error(choice.result.network) < 0.8 * error(fit(plain, wide, key=KEY).network)
    # A strength of zero is the network of today.
    same = fit(problem, wide, key=KEY, max_steps=4).network
    for a, b in zip(same.cores, fit(plain, wide, key=KEY, max_steps=4).network.cores):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-9)


def test_a_search_begins_with_what_was_chosen():
    _, data, seen = table()
    problem = Completion.from_mask(data, seen, validation="auto", key=KEY, ridge="auto")
    result = search(problem, key=KEY, max_params=90, max_steps=1)
    assert result.path[0].structure == Structure.cp(SHAPE, 4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(smooth="soft"), "smooth='soft'"),
        (dict(smooth={7: "auto"}), "a mode of 0..1"),
        (dict(smooth={0: SmoothMode(-1.0)}), "a strength of 0 or more"),
        (dict(smooth={0: SmoothMode(1.0, differences=3)}), "1 or 2 differences"),
        (dict(ridge="strong"), "ridge must be"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        problem_of(**{"smooth": None, **options})


def test_nothing_to_choose_is_refused():
    with pytest.raises(ValueError, match="something to choose"):
        choose_prior(problem_of(None, validation=0.2, key=KEY), TRAIN, key=KEY)
