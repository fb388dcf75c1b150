"""Functions of features: against completion with one-hot features, NumPy and derivatives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.helpers import by_precision, needs_double
from tnjax import (
    ALS,
    Completion,
    GaussNewton,
    Structure,
    Supervised,
    TensorNetwork,
    choose_ridge,
    fit,
    search,
)
from tnjax.features import Categorical, Fourier, Polynomial
from tnjax.problems._additive import additive_network

RNG = np.random.default_rng(0)
SHAPE = (3, 4, 2)


def dense_predictions(network: TensorNetwork, features: list[np.ndarray]) -> np.ndarray:
    """By the dense tensor, outputs first."""
    tensor = np.asarray(network.to_dense(), np.float64)
    outputs = tensor.ndim - len(features)
    letters = "abcdefg"[: tensor.ndim]
    inputs = [f"s{letter}" for letter in letters[outputs:]]
    return np.einsum(
        f"{letters},{','.join(inputs)}->s{letters[:outputs]}", tensor, *map(np.asarray, features)
    )


@pytest.fixture(scope="module")
def entries():
    indices = np.argwhere(RNG.random(SHAPE) < 0.8)
    return indices, RNG.standard_normal(len(indices)), RNG.random(len(indices)) + 0.5


@pytest.fixture(scope="module")
def both(entries):
    """One problem as a completion, and with one-hot features."""
    indices, values, weights = entries
    held = [0, 5]
    options = dict(weights=weights, validation=held, ridge=0.3)
    one_hot = [np.eye(n)[indices[:, k]] for k, n in enumerate(SHAPE)]
    return (
        Completion(indices, values, SHAPE, **options),
        Supervised(one_hot, values, offsets=None, **options),
    )


@needs_double
@pytest.mark.parametrize("structure", [Structure.tensor_ring(SHAPE, 2)], ids=["ring"])
def test_one_hot_features_are_a_completion(both, structure):
    completion, supervised = both
    network = TensorNetwork.random(structure, key=jax.random.key(1))
    assert completion.scale == pytest.approx(supervised.scale, rel=1e-12)
    for what in ("loss", "error", "training_error"):
        ours, theirs = (getattr(p, what)(network) for p in (supervised, completion))
        assert ours == pytest.approx(float(theirs), abs=1e-10)
    slopes = [jax.grad(problem.loss)(network).cores for problem in both]
    for ours, theirs in zip(*slopes, strict=True):
        assert np.allclose(ours, theirs, atol=1e-10, rtol=0)
    fits = [fit(problem, network, solver=ALS(max_steps=4, rtol=0.0)) for problem in both]
    assert np.allclose(fits[0].history, fits[1].history, atol=1e-10, rtol=0)
    dense = [found.network.to_dense() for found in fits]
    assert np.allclose(*dense, atol=1e-9, rtol=0)


FEATURES = [RNG.standard_normal((20, n)) for n in SHAPE]
TARGETS = {
    "squared": RNG.standard_normal((20, 3)),
    "logistic": (RNG.random(20) < 0.5).astype(float),
    "softmax": RNG.integers(0, 3, 20),
}


@pytest.fixture(scope="module", params=list(TARGETS))
def problem(request):
    return Supervised(FEATURES, TARGETS[request.param], loss=request.param, ridge=0.1)


def start(problem: Supervised) -> TensorNetwork:
    """One with a loop, an internal node and two modes on one node."""
    modes = range(len(problem.shape))
    legs = [(0,), (1, 2), *((m,) for m in modes if m > 2), ()]
    last = len(legs) - 1
    edges = {(0, 1): 2, **{(k, last): 2 for k in range(last)}}
    structure = Structure(problem.shape, tuple(legs), edges)
    return TensorNetwork.random(structure, key=jax.random.key(2))


def test_losses_are_those_of_the_dense_tensor(problem):
    network = start(problem)
    samples = problem.training
    link = np.asarray(samples.base) + dense_predictions(network, FEATURES)
    values = np.asarray(samples.values)
    if values.ndim == 1:
        loss = np.mean(np.log1p(np.exp(link)) - values * link)
    elif problem.loss_function.quadratic:
        loss = np.mean(np.sum((link - values) ** 2, 1))
    else:
        odds = np.exp(link - link.max(1, keepdims=True))
        picked = (odds / odds.sum(1, keepdims=True) * values).sum(1)
        loss = -np.mean(np.log(picked))
    ridge = 0.1 / 20 * sum(float((np.asarray(core) ** 2).sum()) for core in network.cores)
    assert float(problem.loss(network)) == pytest.approx(loss + ridge, rel=1e-5)


@needs_double
@pytest.mark.parametrize("problem", ["softmax"], indirect=True)
def test_normal_equations_are_the_parabola_of_the_loss(problem):
    """The right-hand side minus what the core makes of the Gram matrix is minus half the slope, and
    the Gram matrix is half the curvature where the loss is squared."""
    network = start(problem)
    slope = jax.grad(problem.loss)(network).cores
    whole = tuple(range(network.structure.num_nodes))
    for node, core in enumerate(network.cores):
        gram, rhs = problem.normal_equations(network, node)
        x = np.asarray(core).reshape(rhs.shape)
        down = np.asarray(rhs) - np.einsum(
            "rmn,rn->rm", np.broadcast_to(gram, (len(rhs), *gram.shape[1:])), x
        )
        assert np.allclose(down.ravel(), -np.asarray(slope[node]).ravel() / 2, atol=1e-10)
        shared = problem.partial(network, whole[node : node + 2] or whole)
        again = problem.normal_equations(network, node, partial=shared)
        assert np.allclose(again[0], gram, atol=1e-12)
        assert np.allclose(again[1], rhs, atol=1e-12)


@needs_double
def test_the_tangent_of_softmax_has_the_hessian_of_the_loss():
    problem = Supervised(FEATURES, TARGETS["softmax"], loss="softmax", offsets=None)
    link = jnp.asarray(RNG.standard_normal((1, 3)))
    value = jnp.asarray(np.eye(3)[:1])
    loss = problem.loss_function
    hessian = np.asarray(jax.hessian(lambda z: loss.value(z, value)[0])(link))[0, :, 0]
    columns = [np.asarray(loss.root(link, e[None]))[0] for e in jnp.eye(3)]
    root = np.stack(columns, 1)
    assert np.allclose(root.T @ root, hessian, atol=1e-12)


@pytest.mark.parametrize("solver", [ALS(), GaussNewton()], ids=["als", "gauss_newton"])
def test_solvers_lower_every_loss(problem, solver):
    network = start(problem)
    before = float(problem.loss(network))
    found = fit(problem, network * problem.scale, solver=solver, max_steps=6).network
    assert float(problem.loss(found / problem.scale)) < before - 1e-3


def test_pieces_of_the_samples_give_what_all_of_them_give(monkeypatch):
    from tnjax.problems import featured

    problem = Supervised(FEATURES, TARGETS["squared"], ridge=0.1)
    network = start(problem)
    whole = problem.loss(network), *problem.normal_equations(network, 1)
    monkeypatch.setattr(featured, "piece_size", lambda *_: 8)
    pieces = problem.loss(network), *problem.normal_equations(network, 1)
    for a, b in zip(whole, pieces, strict=True):
        assert np.allclose(a, b, rtol=1e-5, atol=1e-6)


def test_the_start_is_the_best_sum_of_functions_of_one_column():
    x = RNG.uniform(-1, 1, (60, 3))
    y = x[:, 0] + np.sin(2 * x[:, 1]) - x[:, 2] ** 2
    table = {f"c{k}": x[:, k] for k in range(3)}
    maps = {name: Polynomial(3, smoothness=0) for name in table}
    problem = Supervised(table, y, maps=maps)
    network = additive_network(problem)
    assert network is not None
    assert network.structure.ranks == (2, 2)
    design = np.concatenate([part for part in problem.columns(table)], 1)
    ridge = 60 * 1e-3 * np.eye(design.shape[1])
    centered = y - y.mean()
    best = design @ np.linalg.solve(design.T @ design + ridge, design.T @ centered)
    found = np.asarray(problem.model(network * problem.scale).predict(table))
    assert np.allclose(found, y.mean() + best, atol=by_precision(1e-8, 1e-4))


def test_a_search_finds_what_columns_do_together():
    x = RNG.uniform(-1, 1, (150, 3))
    y = x[:, 0] + 2 * x[:, 1] * x[:, 2]
    table = {f"c{k}": x[:, k] for k in range(3)}
    maps = {name: Polynomial(2) for name in table}
    problem = Supervised(table, y, maps=maps, validation=0.2, key=jax.random.key(0), ridge=1e-3)
    assert float(problem.error(additive_network(problem))) > 0.3
    result = search(problem, key=jax.random.key(0), target_error=0.05, effort="quick")
    assert result.error <= 0.05
    new = RNG.uniform(-1, 1, (20, 3))
    predicted = result.model.predict({f"c{k}": new[:, k] for k in range(3)})
    assert np.abs(predicted - new[:, 0] - 2 * new[:, 1] * new[:, 2]).max() < 0.2


def test_samples_that_are_tensors():
    """y = <W, X>, W of rank one."""
    x = RNG.standard_normal((60, 3, 4))
    w = np.outer([1.0, 2.0, -1.0], [1.0, 0.0, 1.0, 3.0])
    problem = Supervised([x], np.einsum("sab,ab->s", x, w), offsets=None)
    found = fit(problem, Structure.rank_one((3, 4)), key=jax.random.key(0), max_steps=30)
    assert np.allclose(found.network.to_dense(), w, atol=1e-3)


def test_tables_in_double_precision_are_taken_without_a_word_where_jax_holds_single():
    with jax.enable_x64(False):
        problem = Supervised([np.ones((3, 1)), np.eye(3)], np.arange(3.0), ridge=1.0)
    assert problem.dtype == np.float32


def test_batches_and_a_ridge_by_held_out_samples():
    x = RNG.uniform(-1, 1, (80, 2))
    table = {"a": x[:, 0], "b": x[:, 1]}
    maps = {"a": Polynomial(2), "b": Polynomial(2)}
    problem = Supervised(
        table,
        x[:, 0] * x[:, 1],
        maps=maps,
        validation=0.25,
        key=jax.random.key(0),
    )
    train = Structure.tensor_train(problem.shape, 2)
    choice = choose_ridge(problem, train, key=jax.random.key(0), grid=(0.0, 100.0))
    assert choice.ridge == 0
    network = choice.result.network / problem.scale
    ids = jnp.arange(problem.num_samples)
    batches = [float(problem.batch_loss(network, part)) for part in (ids[:30], ids[30:])]
    assert np.mean(batches) == pytest.approx(float(problem.loss(network)), rel=1e-5)
    whole = problem.everything()
    assert whole.training.count == 80
    assert float(whole.training.weights.sum()) == pytest.approx(1, rel=1e-5)


def test_an_axis_with_a_map_is_known_between_its_coordinates():
    time = np.repeat(np.arange(24.0), 2)
    station = np.tile(["north", "south"], 24)
    wave = lambda t: np.sin(2 * np.pi * t / 24)
    values = np.where(station == "north", 1.0, 3.0) * wave(time)
    axes = {"time": Fourier(5, period=24.0), "station": Categorical()}
    problem = Completion.on_axes({"time": time, "station": station}, values, axes)
    train = Structure.tensor_train(problem.shape, 2)
    model = fit(problem, train, key=jax.random.key(0)).model
    at = {"time": [3.25, 27.25], "station": ["north", "south"]}
    expected = wave(3.25) * np.asarray([1.0, 3.0])
    assert np.allclose(model.predict(at), expected, atol=0.02)


@pytest.mark.parametrize(
    ("features", "targets", "options", "words"),
    [
        (np.ones((3, 2)), [1.0, 2, 3], {}, "expected a list of arrays"),
        ([], [1.0], {}, "expected a list of arrays"),
        ([np.ones((0, 2))], [], {}, "at least one sample"),
        ([np.ones((3, 2)), np.ones((2, 2))], [1.0, 2, 3], {}, "has 2 samples"),
        ([np.full((3, 2), np.nan)], [1.0, 2, 3], {}, "6 of 6 numbers of features"),
        ([np.ones((3, 1))], [1.0, np.nan, 3], {}, "1 of 3 targets are NaN"),
        ([np.ones((3, 1))], ["a", "b", "c"], {}, "expected targets that are numbers"),
        ([np.ones((3, 1))], [2.0, 2, 2], {}, "the targets are all equal"),
        ([np.ones((3, 1))], [1, 1, 1], {"loss": "logistic"}, "of one class only"),
        ([np.ones((3, 1))], [1, 1, 1], {"loss": "softmax"}, "of one class only"),
        ([np.ones((3, 1))], [0.5, 1, 2], {"loss": "softmax"}, "numbers of classes"),
        ([np.ones((3, 1))], [0, 1, 2], {"loss": "logistic"}, "between 0"),
        ([np.ones((2, 1))] * 3, [1.0, 2], {}, "2 samples are fewer than the 3 feature columns"),
        ([np.ones((3, 1))], [1.0, 2, 3], {"weights": [1, -1, 1]}, "weights must be finite"),
        ([np.ones((3, 1))], [1.0, 2, 3], {"validation": 0.5}, "needs `key="),
        ([np.ones((3, 1))], [1.0, 2, 3], {"ridge": -1.0}, "ridge must be 0 or more"),
        ([np.ones((3, 1))], [1.0, 2, 3], {"offsets": "modes"}, "expected .mean. or None"),
        ({"a": [1.0, 2.0]}, [1.0, 2], {"maps": {"b": Polynomial()}}, "has no column b"),
    ],
)
def test_bad_input_is_refused(features, targets, options, words):
    with pytest.raises(ValueError, match=words):
        Supervised(features, targets, **options)


def test_predictions_need_the_features_that_were_learned_from():
    problem = Supervised(FEATURES, TARGETS["squared"])
    model = problem.model(start(problem))
    assert model.predict(FEATURES).shape == (20, 3)
    with pytest.raises(ValueError, match="predict: expected features with shapes"):
        model.predict(FEATURES[:2])
