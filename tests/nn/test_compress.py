"""Compression of whole models: statistics, ranks, growth, files of any framework."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import tnjax
import tnjax.nn as tnn
from tests.helpers import normal
from tnjax.nn import _measure
from tnjax.nn import flax as tnf
from tnjax.nn import model as _model
from tnjax.nn._growth.increments import choose, with_growth

KEY = jax.random.key(0)
SGD = optax.sgd(0.05)

pytestmark = pytest.mark.quick


class Net(eqx.Module):
    embed: eqx.nn.Embedding
    conv: eqx.nn.Conv1d
    hidden: eqx.nn.Linear
    out: eqx.nn.Linear

    def __init__(self, key):
        keys = jax.random.split(key, 4)
        self.embed = eqx.nn.Embedding(5, 8, key=keys[0], dtype=jnp.float32)
        self.conv = eqx.nn.Conv1d(8, 8, 3, padding=1, key=keys[1], dtype=jnp.float32)
        self.hidden = eqx.nn.Linear(8, 16, key=keys[2], dtype=jnp.float32)
        self.out = eqx.nn.Linear(16, 2, key=keys[3], dtype=jnp.float32)

    def __call__(self, index):
        x = jax.vmap(self.embed)(index)
        x = jnp.tanh(self.conv(x.T)).T.mean(0)
        return self.out(jnp.tanh(self.hidden(x)))


class FlaxNet(nnx.Module):
    def __init__(self, rngs):
        self.hidden = nnx.List([nnx.Linear(8, 16, rngs=rngs), nnx.Linear(16, 4, rngs=rngs)])

    def __call__(self, x):
        return self.hidden[1](jnp.tanh(self.hidden[0](x)))


def loss(model, batch):
    return jnp.mean((jax.vmap(model)(batch[0]) - batch[1]) ** 2)


@pytest.fixture(scope="module")
def net():
    return Net(jax.random.key(0))


@pytest.fixture(scope="module")
def batches():
    index = np.random.default_rng(0).integers(0, 5, (3, 6, 4))
    return [
        (jnp.asarray(i), jnp.asarray(normal((6, 2), "float32", k))) for k, i in enumerate(index)
    ]


def test_one_backward_pass_gives_gradients_and_moments_of_all_layers(net, batches):
    adapter = tnn.adapter_for(net)
    slots = _model.pick(adapter.slots(net), ["conv", "hidden"])
    task = tnn.Task(loss, batches)
    gradients, moments = _measure.functional_gradients(adapter, net, slots, task, batches)
    weights = lambda m: (m.conv.weight, m.hidden.weight)
    mean = lambda w: sum(loss(eqx.tree_at(weights, net, w), b) for b in batches) / len(batches)
    conv, hidden = jax.grad(mean)(weights(net))
    np.testing.assert_allclose(gradients["conv"], conv.reshape(8, -1), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(gradients["hidden"], hidden, rtol=1e-4, atol=1e-6)

    images = [jax.vmap(net.embed)(i).T for batch, _ in batches for i in batch]
    x = np.stack([jnp.tanh(net.conv(image)).T.mean(0) for image in images])
    np.testing.assert_allclose(moments["hidden"].mean, x.mean(0), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(
        moments["hidden"].covariance, np.cov(x.T, bias=True), rtol=1e-3, atol=1e-5
    )
    padded = np.stack([np.pad(image, ((0, 0), (1, 1))) for image in images])
    patches = np.stack([padded[:, :, k : k + 4] for k in range(3)], axis=2).reshape(18, 24, 4)
    patches = patches.transpose(0, 2, 1).reshape(-1, 24)
    assert moments["conv"].count == len(patches)
    np.testing.assert_allclose(
        moments["conv"].covariance, np.cov(patches.T, bias=True), rtol=1e-3, atol=1e-5
    )


def test_vectors_without_influence_are_not_counted(net):
    adapter = tnn.adapter_for(net)
    slots = _model.pick(adapter.slots(net), "hidden")
    index = jnp.asarray([[0, 1, 2, 3], [4, 3, 2, 1]])
    masked = lambda model, batch: jax.vmap(model)(batch) * jnp.array([[1.0], [0.0]], jnp.float32)
    found = _measure.moments(adapter, net, slots, tnn.Calibration(masked, [index]), key=KEY)
    assert found["hidden"].count == 1


def brute_force(families, budget):
    """The best ranks by trying all of them."""
    import itertools

    best, ranks = -1.0, None
    for trial in itertools.product(*(range(1, len(f.gains) + 1) for f in families)):
        if sum(r * f.cost for r, f in zip(trial, families)) <= budget:
            value = sum(f.gains[:r].sum() for r, f in zip(trial, families))
            if value > best:
                best, ranks = value, list(trial)
    return best, ranks


@pytest.mark.parametrize("seed", range(5))
def test_ranks_are_the_optimum_of_the_knapsack(seed):
    rng = np.random.default_rng(seed)
    families = [tnn.Family(np.sort(rng.exponential(size=4))[::-1], 3) for _ in range(4)]
    assert tnn.allocate(families, 27) == brute_force(families, 27)[1]
    uneven = [tnn.Family(f.gains, int(rng.integers(1, 5))) for f in families]
    found = tnn.allocate(uneven, 25)
    assert sum(r * f.cost for r, f in zip(found, uneven)) <= 25
    value = sum(f.gains[:r].sum() for r, f in zip(found, uneven))
    largest = max(f.gains.max() for f in uneven)
    assert value >= brute_force(uneven, 25)[0] - largest  # greedy: off by one item at the most


def test_without_data_the_weight_error_is_least(net):
    result = tnjax.compress(net, layers=["hidden", "conv"], budget=200)
    assert result.num_params <= 200
    given = {"hidden": np.asarray(net.hidden.weight), "conv": np.asarray(net.conv.weight)}
    for layer in result.layers:
        matrix = given[layer.name].reshape(layer.shape)
        values = np.linalg.svd(matrix, compute_uv=False)
        rank = max(layer.layout.structure.ranks, default=1)
        expected = 0 if layer.dense else np.linalg.norm(values[rank:]) / np.linalg.norm(values)
        assert layer.error == pytest.approx(expected, rel=1e-4)
    index = jnp.arange(4)
    with pytest.warns(UserWarning, match=r"600 parameters is more than the 320 of the dense"):
        full = tnjax.compress(net, layers=["hidden", "conv"], budget=600)
    np.testing.assert_allclose(full.model(index), net(index), rtol=1e-4, atol=1e-5)


def test_calibration_lowers_the_output_error(net):
    """Inputs that live on a plane: rank two of the outputs is enough, of the weight it is not."""
    rng = np.random.default_rng(1)
    x = jnp.asarray(rng.standard_normal((64, 2)) @ rng.standard_normal((2, 8)) + 3, jnp.float32)
    linear = net.hidden
    model = (linear,)
    forward = lambda model, batch: jax.vmap(model[0])(batch)
    calibration = tnn.Calibration(forward, [x[:32], x[32:]])
    plain = tnjax.compress(model, layers="0", budget=2 * 24)
    method = tnn.Spectra(ridge=1e-4)
    found = tnjax.compress(model, layers="0", budget=2 * 24, calibration=calibration, method=method)
    error = lambda result: tnjax.relative_error(forward(result.model, x), forward(model, x))
    assert error(found) < 1e-3 < 0.05 < error(plain)


def test_blocks_share_out_ranks_too(net):
    result = tnjax.compress(
        net, layers="hidden", budget=96, method=tnn.Spectra(family=tnn.Blocks(4, 2))
    )
    assert result.layers[0].layout.copies
    values = np.linalg.svd(
        np.asarray(net.hidden.weight).reshape(4, 4, 2, 4).transpose(1, 2, 0, 3), compute_uv=False
    )
    rank = result.layers[0].layout.structure.rank((0, 1))
    expected = np.sqrt((values[..., rank:] ** 2).sum() / (values**2).sum())
    assert result.layers[0].error == pytest.approx(expected, rel=1e-4)


def test_embeddings_are_approximated(net):
    result = tnjax.compress(net, layers="embed", budget=39)
    index = jnp.asarray([1, 0, 4, 4])
    table = result.model.embed.weight
    np.testing.assert_allclose(jax.vmap(result.model.embed)(index), table[index], rtol=1e-5)


@pytest.fixture(scope="module")
def grown(net, batches):
    task = tnn.Task(loss, batches[:2], validation=batches[2:])
    steps = []
    result = tnjax.compress(
        net,
        task,
        layers=["hidden", "conv"],
        budget=150,
        method=tnn.Grow(screen_batches=2, start="digits"),
        training=tnn.Training(steps=5, final_steps=5, transformation=SGD),
        on_step=steps.append,
    )
    return task, result, steps


def test_growth_respects_the_budget_and_keeps_the_best(net, grown):
    task, result, steps = grown
    assert tuple(steps) == result.path
    sizes = [step.num_params for step in result.path]
    assert sizes == sorted(sizes)
    assert 100 < sizes[-1] <= 150
    assert result.metric == min(step.metric for step in result.path)
    assert result.num_params in sizes
    assert result.reason
    assert result.metric == pytest.approx(tnn.validate(result.model, task), rel=1e-5)
    assert result.dense_metric == pytest.approx(tnn.validate(net, task), rel=1e-5)
    layers = {layer for step in result.path for layer, _, _ in step.grown}
    assert layers == {"hidden", "conv"}


def test_growth_beyond_the_budget_is_cut_back(net, batches):
    task = tnn.Task(loss, batches[:2], validation=batches[2:])
    result = tnjax.compress(
        net,
        task,
        layers=["hidden", "conv"],
        budget=100,
        method=tnn.Grow(overshoot=1.6, start="digits"),
        training=tnn.Training(steps=4, total_steps=20, transformation=SGD),
    )
    sizes = [step.num_params for step in result.path]
    assert max(sizes) == sizes[-2] > 110
    assert 80 < sizes[-1] <= 100
    within = [step for step in result.path if step.num_params <= 100]
    assert result.metric == min(step.metric for step in within)
    assert all(by < 0 for _, _, by in result.path[-1].grown)
    layouts = tnn.adapter_for(net).layouts
    before, after = layouts(result.path[-2].model), layouts(result.path[-1].model)
    for layer, bond, by in result.path[-1].grown:
        assert after[layer].structure.rank(bond) == before[layer].structure.rank(bond) + by
    assert result.metric == pytest.approx(tnn.validate(result.model, task), rel=1e-5)


def test_one_schedule_for_all_trainings(net, batches):
    """The factor of every update is that of the steps so far, over all moves; what the moves leave
    of the steps is the last training."""
    seen = []

    def schedule(step):
        seen.append(step)
        return 0.0

    task = tnn.Task(loss, batches[:2], validation=batches[2:])
    training = tnn.Training(steps=3, total_steps=11, schedule=schedule, transformation=SGD)
    digits = tnn.Grow(start="digits")
    result = tnjax.compress(net, task, layers="hidden", budget=90, method=digits, training=training)
    assert seen == list(range(11))
    assert 2 <= len(result.path) <= 4
    np.testing.assert_array_equal(result.model.hidden.bias, net.hidden.bias)  # updates of length 0


def test_the_schedule_scales_the_updates(net, batches):
    task = tnn.Task(loss, batches[:1])
    options = {"names": lambda name: name.endswith("out.weight"), "steps": 1}
    options["transformation"] = optax.sgd(0.1)
    move = lambda **extra: tnn.train(net, task, **options, **extra).last.out.weight - net.out.weight
    full, half = move(), move(schedule=lambda step: 0.5)
    assert jnp.abs(full).max() > 0
    np.testing.assert_allclose(half, full / 2, rtol=1e-4, atol=1e-7)


def test_of_equals_the_one_that_trained_longer(net, batches):
    flat = lambda model, batch: jnp.zeros(())
    task = tnn.Task(loss, batches[:2], validation=batches[2:], metric=flat)
    every = {"names": lambda name: True, "transformation": optax.sgd(0.05)}
    trained = tnn.train(net, task, steps=4, checks=2, **every)
    np.testing.assert_array_equal(trained.model.out.weight, trained.last.out.weight)
    assert not np.array_equal(trained.model.out.weight, net.out.weight)
    training = tnn.Training(steps=2, final_steps=2, transformation=SGD)
    result = tnjax.compress(net, task, layers="hidden", budget=90, method="grow", training=training)
    assert result.model is result.path[-1].model


def test_frozen_parts_stay_frozen(net, grown):
    _, result, _ = grown
    for part in (lambda m: m.embed.weight, lambda m: m.out.weight, lambda m: m.out.bias):
        np.testing.assert_array_equal(part(result.model), part(net))


def test_growth_in_flax():
    model = FlaxNet(nnx.Rngs(0))
    x, y = jnp.asarray(normal((12, 8), "float32")), jnp.asarray(normal((12, 4), "float32", 1))
    mse = lambda model, batch: jnp.mean((model(batch[0]) - batch[1]) ** 2)
    task = tnn.Task(mse, [(x[:6], y[:6])], validation=[(x[6:], y[6:])])
    before = np.asarray(model(x))
    result = tnjax.compress(
        model,
        task,
        layers="hidden.*",
        budget=90,
        method=tnn.Grow(screen_batches=1),
        training=tnn.Training(steps=2, final_steps=0, frozen="hidden.1.bias", train_only="all"),
    )
    np.testing.assert_array_equal(model(x), before)  # the model given is not changed
    assert isinstance(result.model.hidden[0], tnf.TNLinear)
    assert result.num_params <= 90
    np.testing.assert_array_equal(
        result.model.hidden[1].bias.get_value(), model.hidden[1].bias.get_value()
    )
    with pytest.warns(UserWarning, match="more than the 192"):
        full = tnjax.compress(model, layers="hidden.*", budget=400)
    np.testing.assert_allclose(full.model(x), before, rtol=1e-4, atol=1e-5)


def test_cuts_in_several_moves(net, batches):
    """From a chain beyond the budget, by equal factors, within the steps that there are."""
    task = tnn.Task(loss, batches[:2], validation=batches[2:])
    chain = tnn.tt_matrix((4, 4), (2, 4), 8)
    seen = []
    result = tnjax.compress(
        net,
        task,
        layers="hidden",
        budget=48,
        method=tnn.Grow(start={"hidden": chain}, overshoot=chain.num_params / 48, cuts=2),
        training=tnn.Training(
            steps=3,
            total_steps=10,
            schedule=lambda step: seen.append(step) or 1.0,
            transformation=SGD,
        ),
    )
    assert [step.num_params for step in result.path] == [192, 96, 48]
    assert [step.grown for step in result.path[1:]] == [
        (("hidden", (0, 1), -4),),
        (("hidden", (0, 1), -2),),
    ]
    assert seen == list(range(10))


@pytest.fixture(scope="module")
def small_task():
    """One layer of three nodes whose dense weight would fit exactly."""
    key = jax.random.key(3)
    model = (eqx.nn.Linear(8, 8, key=key, dtype=jnp.float32),)
    x = jnp.asarray(normal((64, 8), "float32"))
    y = x @ jnp.asarray(normal((8, 8), "float32", 1)).T
    mse = lambda model, batch: jnp.mean((jax.vmap(model[0])(batch[0]) - batch[1]) ** 2)
    layout = tnn.paired((2, 2, 2), (2, 2, 2))
    networks = {"0": (layout, tnn.project(layout, np.asarray(model[0].weight)).cores)}
    adapter = tnn.adapter_for(model)
    replaced = adapter.replaced(model, networks)
    return adapter, replaced, networks, tnn.Task(mse, [(x, y)]), [(x, y)]


def test_the_gradient_screen_predicts_the_gain(small_task):
    """For a squared error with white inputs the predicted gain is nearly the true one, and
    growing by the slices that were found brings it."""
    adapter, model, networks, task, batches = small_task
    found = tnn.GradientScreen()(adapter, model, networks, task, batches, increment=1, key=KEY)
    assert [c.edge for c in found] == [(0, 1), (0, 2), (1, 2)]
    before = tnn.validate(model, task)
    gains = {}
    for candidate in found:
        lengths = [
            before
            - tnn.validate(adapter.replaced(model, with_growth(networks, [candidate], t)), task)
            for t in (3.0, 1.0, 0.3, 0.1)
        ]
        gains[candidate.edge] = max(lengths)
    assert min(gains.values()) > 0
    predicted = max(found, key=lambda c: c.gain).edge
    assert gains[predicted] >= 0.8 * max(gains.values())


def test_trials_train_the_new_slices_only(small_task):
    adapter, model, networks, task, batches = small_task
    screen = tnn.TrialScreen(steps=30, transformation=optax.adam(3e-2))
    found = screen(adapter, model, networks, task, batches, increment=1, key=KEY)
    for candidate in found:
        larger = with_growth(networks, [candidate])
        grown = adapter.replaced(model, larger)
        assert candidate.gain > 0
        gain = tnn.validate(model, task) - tnn.validate(grown, task)
        assert gain == pytest.approx(candidate.gain, rel=1e-3)


def test_choice_is_by_gain_per_cost_within_the_budget():
    term = (np.ones(1), np.ones(1))
    make = lambda gain, cost, edge, ranks=1: tnn.Candidate("a", edge, gain, cost, (term,) * ranks)
    cheap, rich, dear = make(1.0, 1, (0, 1)), make(3.0, 16, (2, 3)), make(9.0, 1000, (4, 5))
    power = lambda p, goal: [c.edge for c in choose([cheap, rich, dear], 0, goal, 100, p)]
    assert power(0.0, 1) == [(2, 3)]
    assert power(0.5, 1) == [(0, 1)]
    assert power(0.5, 10) == [(0, 1), (2, 3)]
    assert choose([make(-1.0, 1, (0, 1))], 0, 10, 100, 0.5) == []
    (part,) = choose([make(1.0, 30, (0, 1), ranks=6)], 0, 17, 100, 0.5)
    assert (len(part.slices), part.cost) == (3, 15)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layers": "nothing"}, "no layer is named 'nothing'.*embed, conv, hidden, out"),
        ({"budget": 3}, "less than rank one"),
        ({"budget": -1}, "budget"),
        ({"budget": 1.5}, "neither a whole number"),
        ({"method": "grow"}, "growth needs a task"),
        ({"method": "magic"}, "method="),
        ({"method": tnn.Spectra(allocation="output")}, "needs calibration"),
        ({"training": tnn.Training()}, "`training` needs a task"),
    ],
)
def test_bad_options_are_told(net, options, message, unchecked):
    with pytest.raises(ValueError, match=message):
        tnjax.compress(net, **{"layers": "hidden", "budget": 0.5, **options})


@pytest.mark.parametrize(
    ("make", "options", "message"),
    [
        (tnn.Grow, {"overshoot": 0.5}, r"overshoot=0\.5; expected 1 or more"),
        (tnn.Grow, {"cuts": 0}, "cuts=0; expected 1 or more"),
        (tnn.Grow, {"screen_batches": 0}, "screen_batches=0; expected 1 or more"),
        (tnn.Grow, {"factor": 1.0}, r"factor=1\.0; expected more than 1"),
        (tnn.Grow, {"screen": "psychic"}, "unknown screen 'psychic'"),
        (tnn.Spectra, {"allocation": "fair"}, "allocation='fair'"),
        (tnn.Spectra, {"ridge": -1.0}, r"ridge=-1\.0"),
        (tnn.Forward, {"mode": "both"}, "mode='both'"),
        (tnn.Training, {"steps": 3, "total_steps": 2}, "total_steps=2 are less than steps=3"),
        (tnn.Training, {"final_steps": -1}, "final_steps=-1; expected 0 or more"),
        (tnn.Training, {"train_only": "none"}, "train_only='none'"),
    ],
)
def test_values_check_their_options(make, options, message, unchecked):
    with pytest.raises(ValueError, match=message):
        make(**options)


def test_frozen_patterns_are_names_not_letters():
    arrays = ["embed.weight", "out.weight", "hidden.cores.0", "hidden.bias"]
    trained = lambda frozen, only="all": [
        name
        for name in arrays
        if tnn.Training(frozen=frozen, train_only=only).names(["hidden"], arrays)(name)
    ]
    assert trained("embed.*") == trained(["embed.*"]) == arrays[1:]
    assert trained(("embed.*", "*.bias")) == ["out.weight", "hidden.cores.0"]
    assert trained("hidden.bias", "layers") == ["hidden.cores.0"]
    with pytest.raises(ValueError, match=r"frozen='embedding' matches no array .*embed\.weight"):
        trained("embedding")


def test_a_frozen_pattern_that_matches_nothing_is_told(net, batches):
    task = tnn.Task(loss, batches)
    training = tnn.Training(steps=1, frozen=["embed.*", "hidden.weight"])
    for method in ("grow", "spectra"):
        with pytest.raises(ValueError, match=r"'hidden\.weight' matches no array"):
            tnjax.compress(net, task, layers="hidden", budget=0.9, method=method, training=training)


def test_keywords_of_version_0_1_still_work(net, batches):
    """With a warning that says what to write; the model is the same."""
    task = tnn.Task(loss, batches[:2], validation=batches[2:])
    options = {"layers": "hidden", "budget": 96}
    with pytest.warns(
        DeprecationWarning, match=r"Grow\(factor=\.\.\.\), .*Training\(.*key=jax\.random"
    ) as seen:
        old = tnjax.compress(
            net,
            task,
            **options,
            steps=1,
            final_steps=0,
            factor_per_move=1.8,
            mode="weight",
            seed=3,
            transformation=SGD,
        )
    assert len(seen) == 1
    new = tnjax.compress(
        net,
        task,
        **options,
        method=tnn.Grow(factor=1.8, forward=tnn.Forward(mode="weight")),
        training=tnn.Training(steps=1, final_steps=0, transformation=SGD),
        key=jax.random.key(3),
    )
    assert eqx.tree_equal(old.model, new.model)
    assert old.model.hidden.mode == "weight"
    with pytest.warns(DeprecationWarning, match=r"Spectra\(allocation"):
        old = tnjax.compress(net, **options, allocation="uniform", steps=3)
    new = tnjax.compress(net, **options, method=tnn.Spectra(allocation="uniform"))
    assert eqx.tree_equal(old.model, new.model)
    with pytest.raises(TypeError, match="unexpected keyword argument 'speed'"):
        tnjax.compress(net, **options, speed=3)
    with pytest.warns(DeprecationWarning, match=r"key=jax\.random\.key\(3\)"):
        found = tnn.project(tnn.low_rank(3, 4, 2), normal((3, 4)), seed=3)
    assert found.error < 1


def test_the_key_decides_the_draws_of_trials(small_task):
    adapter, model, networks, task, batches = small_task
    draw = lambda key: [
        candidate.gain
        for candidate in tnn.TrialScreen(steps=1)(
            adapter, model, networks, task, batches, increment=1, key=key
        )
    ]
    assert draw(KEY) == draw(KEY) != draw(jax.random.key(1))
    assert draw(jax.random.fold_in(KEY, 1)) != draw(KEY)


def test_bad_tasks_are_told(net, batches):
    with pytest.raises(ValueError, match="only once"):
        tnn.Task(loss, iter(batches))
    with pytest.raises(ValueError, match="no batch"):
        tnn.Task(loss, [])
    with pytest.raises(ValueError, match="Equinox model or a Flax"):
        tnjax.compress(lambda x: x, layers="a", budget=1)
    task = tnn.Task(loss, batches)
    with pytest.raises(ValueError, match="embeddings"):
        tnjax.compress(net, task, layers="embed", budget=0.5, method="grow")
    start = {"hidden": tnn.paired((2, 2), (2, 2))}
    with pytest.raises(ValueError, match=r"padded: give larger dims with rows=16, columns=8"):
        tnjax.compress(net, task, layers="hidden", budget=0.9, method=tnn.Grow(start=start))
    monarch = {"hidden": tnn.monarch(16, 8, 2)}
    with pytest.raises(ValueError, match="do not grow"):
        tnjax.compress(net, task, layers="hidden", budget=0.9, method=tnn.Grow(start=monarch))


def test_a_loss_that_is_not_finite_is_told(net, batches):
    bad = lambda model, batch: jnp.log(-jnp.abs(loss(model, batch)))
    with pytest.raises(ValueError, match=r"metric is (nan|inf)"):
        tnjax.compress(
            net,
            tnn.Task(bad, batches),
            layers="hidden",
            budget=0.9,
            training=tnn.Training(steps=1, final_steps=0),
        )


def test_infinite_weights_are_told_by_name(net):
    bad = eqx.tree_at(lambda m: m.hidden.weight, net, net.hidden.weight.at[0, 0].set(jnp.inf))
    with pytest.raises(ValueError, match="layer 'hidden' has weights that are NaN or infinite"):
        tnjax.compress(bad, layers=["conv", "hidden"], budget=0.5)


def test_a_weight_of_zeros_can_be_trained(net):
    zero = eqx.tree_at(lambda m: m.hidden.weight, net, jnp.zeros_like(net.hidden.weight))
    result = tnjax.compress(zero, layers="hidden", budget=48)
    assert result.layers[0].error == 0
    sizes = [float(jnp.abs(core).max()) for core in result.model.hidden.cores]
    assert max(sizes) > 0 == min(sizes)


def test_sixteen_bits_stay_sixteen_bits(batches):
    small = jax.tree.map(
        lambda x: jnp.asarray(x, jnp.bfloat16) if eqx.is_inexact_array(x) else x,
        Net(jax.random.key(4)),
    )
    half = [(i, jnp.asarray(y, jnp.bfloat16)) for i, y in batches[:1]]
    task = tnn.Task(loss, half)
    training = tnn.Training(steps=1, final_steps=0, transformation=SGD)
    with jax.numpy_dtype_promotion("standard"):
        for method in ("spectra", "grow", tnn.Grow(start="digits")):
            result = tnjax.compress(
                small, task, layers="hidden", budget=100, method=method, training=training
            )
            dtypes = {x.dtype for x in jax.tree.leaves(eqx.filter(result.model, eqx.is_array))}
            assert dtypes == {jnp.dtype(jnp.bfloat16)}


def test_losses_and_batches_of_another_shape_are_told(net, batches):
    compress = lambda task: tnjax.compress(net, task, layers="hidden", budget=48)
    with pytest.raises(ValueError, match=r"loss\(model, batch\) returned a tuple"):
        compress(tnn.Task(lambda m, b: (loss(m, b), 1.0), batches))
    with pytest.raises(ValueError, match=r"metric\(model, batch\) returned not one number"):
        compress(tnn.Task(loss, batches, metric=lambda m, b: jax.vmap(m)(b[0])))
    with pytest.raises(ValueError, match=r"loss\(model, batch\) failed: "):
        compress(tnn.Task(lambda m, b: loss(m, b["x"]), batches))
    with pytest.raises(ValueError, match=r"batches is a dict with the keys \['x', 'y'\]"):
        tnn.Task(loss, {"x": batches, "y": batches})
    with pytest.raises(ValueError, match="`layers` names nothing"):
        tnjax.compress(net, layers=[], budget=48)


def test_small_layers_are_left_dense_and_said_so():
    model = eqx.nn.MLP(32, 2, 32, 2, dtype=jnp.float32, key=jax.random.key(5))
    result = tnjax.compress(model, layers="*", budget=0.3)
    head = result.layers[-1]
    assert (head.name, head.dense, head.error) == ("layers.2", True, 0)
    assert head.num_params == head.dense_params == 64
    assert isinstance(result.model.layers[2], eqx.nn.Linear)
    assert result.num_params <= 0.3 * result.dense_params
    assert "layers.2" in result.reason
    assert "layers.2  " in result.table()
    every = tnjax.compress(model, layers="*", budget=0.3, method=tnn.Spectra(spare=0))
    assert not any(layer.dense for layer in every.layers)


def test_a_layer_is_never_larger_than_its_weight():
    """Below the dense size: a layer whose rank would cost as much as the weight stays dense."""
    rng = np.random.default_rng(0)
    flat, steep = rng.standard_normal((8, 8)), np.outer(*rng.standard_normal((2, 8)))
    slots = [tnn.Slot("flat", "linear", flat, None), tnn.Slot("steep", "linear", steep, None)]
    networks, _ = tnn.approximate(slots, 100)
    assert list(networks) == ["steep"]
    assert networks["steep"][0].num_params < 64


def test_the_whitened_svd_is_start_and_row(net, batches):
    """With data, every method is compared with whitened SVDs of its size; the numbers are those
    of the models themselves."""
    task = tnn.Task(loss, batches[:2], validation=batches[2:])
    calibration = tnn.Calibration(lambda m, b: jax.vmap(m)(b), [index for index, _ in batches])
    given = {"layers": ["hidden", "conv"], "budget": 150}
    result = tnjax.compress(net, calibration=calibration, **given)
    plain, white, own = result.rows
    assert [row.name for row in result.rows] == ["plain SVD", "whitened SVD", "compressed"]
    assert white.output_error == pytest.approx(own.output_error, rel=1e-4)
    assert white.output_error < plain.output_error
    assert plain.error < white.error
    run = lambda model: np.concatenate([jax.vmap(model)(index) for index, _ in batches])
    expected = np.linalg.norm(run(result.model) - run(net)) / np.linalg.norm(run(net))
    assert own.output_error == pytest.approx(expected, rel=1e-3)
    inputs = jnp.concatenate(
        [
            jnp.tanh(net.conv(jax.vmap(net.embed)(i).T)).T.mean(0)[None]
            for b, _ in batches
            for i in b
        ]
    )
    (hidden,) = [layer for layer in result.layers if layer.name == "hidden"]
    change = jax.vmap(result.model.hidden)(inputs) - jax.vmap(net.hidden)(inputs)
    size = inputs @ net.hidden.weight.T
    expected = np.linalg.norm(change) / np.linalg.norm(size)
    assert hidden.output_error == pytest.approx(expected, rel=1e-3)

    training = tnn.Training(steps=3, final_steps=3, transformation=SGD)
    grown = tnjax.compress(
        net, task, **given, method="grow", calibration=calibration, training=training
    )
    assert [row.name for row in grown.rows] == ["plain SVD", "whitened SVD", "compressed"]
    assert grown.rows[2].metric == grown.metric
    assert grown.path[0].num_params <= 80
    assert "whitened SVD" in grown.table()
