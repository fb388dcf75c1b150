"""`LatentTree`, `EM`, and Born chains: likelihoods that rise, edges that are recovered."""

import itertools

import jax
import numpy as np
import optax
import pytest
import scipy.optimize

import tnjax
from tests.helpers import by_precision, needs_double
from tnjax import EM, Density, LatentTree, Structure, TensorNetwork
from tnjax._search.screening import hidden

KEY = jax.random.key(0)


def planted(seed: int, count: int, parents=(-1, 0, 0, 1, 1, 2)) -> np.ndarray:
    """Rows of a binary tree of observed variables."""
    rng = np.random.default_rng(seed)
    rows = np.zeros((count, len(parents)), int)
    for v, parent in enumerate(parents):
        kept = rng.random(count) < rng.uniform(0.75, 0.9)
        rows[:, v] = (
            np.where(kept, rows[:, parent], 1 - rows[:, parent])
            if v
            else rng.integers(2, size=count)
        )
    return rows


@pytest.mark.parametrize("seed", range(20))
def test_planted_edges_are_recovered(seed):
    parents = (-1, 0, 0, 1, 1, 2)
    structure = Density(planted(seed, 20_000)).named_start(None).structure
    assert sum(len(edge) - 1 for edge in structure.edges) == 5
    for v, p in enumerate(parents):
        if p >= 0:
            assert any({v, p} <= set(edge) for edge in structure.edges)


@pytest.fixture(scope="module")
def mixture() -> np.ndarray:
    """Two clusters in six variables, which no tree of observed variables tells."""
    rng = np.random.default_rng(0)
    cluster = rng.integers(2, size=600)
    chances = np.asarray([[0.9] * 6, [0.15] * 6])
    return (rng.random((600, 6)) < chances[cluster]).astype(int)


STRUCTURES = {
    "families": Structure.from_edges((2,) * 6, {(0, 1, 2): 2, (2, 3, 4, 5): 3}),
    "tree": Structure.from_edges((2,) * 6, {(0, 6): 2, (1, 6): 2, (2, 6): 2, (2, 3): 2, (3, 4): 2}),
    "ring": Structure.tensor_ring((2,) * 6, 2),
}


@pytest.mark.parametrize("name", STRUCTURES)
def test_no_update_lowers_the_likelihood(name, mixture):
    density = Density(mixture)
    network = density.prepared(TensorNetwork.random(STRUCTURES[name], key=KEY))
    solver = EM(smoothing=0.0, updates=1)
    step = jax.jit(lambda network: solver.step(density, network, ())[0])
    losses = [float(density.loss(network))]
    for _ in range(6):
        network = step(network)
        losses.append(float(density.loss(network)))
    assert all(b <= a + by_precision(1e-12, 1e-5) for a, b in itertools.pairwise(losses))
    assert losses[-1] < losses[0] - 0.01


def test_zeros_that_fill_up_a_bond_stay_zeros(mixture):
    density, small = Density(mixture), Structure.from_edges((2,) * 6, {(0, 1, 2, 3, 4, 5): 2})
    large = small.with_rank((0, 1, 2, 3, 4, 5), 4)
    network = density.prepared(TensorNetwork.random(small, key=KEY))
    pad = lambda core: np.pad(np.asarray(core), [(0, 0), (0, 2)])
    filled = TensorNetwork(large, [pad(core) for core in network.cores])
    a, b = (EM(updates=3).step(density, x, ())[0] for x in (network, filled))
    assert all(not core[:, 2:].any() for core in b.cores)
    assert float(density.loss(b)) == pytest.approx(float(density.loss(a)), abs=1e-5)


def test_the_gain_of_a_new_state_is_what_the_network_gains(mixture):
    density = Density(mixture)
    start = density.named_start(None)
    tree = hidden.Tree.of(start.structure, start.cores)
    found = hidden.posterior(tree, np.asarray(density.rows.values))
    weights = np.asarray(density.rows.weights, float)
    rng, marginals = np.random.default_rng(0), tree.marginals()
    steps = [k for k, inner in enumerate(tree.below) if inner]
    states = [hidden.new_state(tree, found, weights, marginals[k], k, rng) for k in steps]
    state = max(states, key=lambda one: one.gain)
    after = TensorNetwork(*hidden.grown(tree, [state], 0.0, 0.0, rng).cores())
    before = float(density.loss(start))
    assert state.gain > 0.01
    # The tables are one step of expectation and maximization further on than the gain.
    assert float(density.loss(after)) <= before - state.gain + by_precision(1e-4, 1e-3)


def test_leaving_a_state_out_costs_what_is_said(mixture):
    density = Density(mixture)
    start = density.named_start(None)
    tree = hidden.Tree.of(start.structure, start.cores)
    found = hidden.posterior(tree, np.asarray(density.rows.values))
    tree = hidden.grown(tree, [], 0.1, 0.0, np.random.default_rng(0))
    found = hidden.posterior(tree, np.asarray(density.rows.values))
    costs = hidden.without(tree, found, np.asarray(density.rows.weights, float))
    (step, state), cost = min(costs.items())
    structure, cores = tree.cores()
    edge = hidden.own_edge(tree, step)
    cut = [np.array(core) for core in cores]
    for node in edge:
        index = [slice(None)] * cut[node].ndim
        index[structure.axis(node, edge)] = state
        cut[node][tuple(index)] = 0
    before = float(density.loss(TensorNetwork(structure, cores)))
    after = float(density.loss(TensorNetwork(structure, cut)))
    assert after - before == pytest.approx(cost, abs=by_precision(1e-9, 1e-4))


def test_a_search_finds_hidden_clusters(mixture):
    density = Density(mixture[:400], validation=mixture[400:])
    result = tnjax.search(density, key=KEY, max_steps=2)
    assert result.status.ok
    start = float(density.error(density.named_start(None)))
    assert result.error < start - 0.02
    assert result.error == pytest.approx(-result.model.log_prob(mixture[400:]).mean(), abs=1e-4)
    again = tnjax.search(density, key=KEY, max_steps=2)
    assert again.error == result.error
    assert again.structure == result.structure


def test_without_held_out_rows_the_criterion_stops():
    rows = np.random.default_rng(0).integers(2, size=(300, 3))
    result = tnjax.search(Density(rows), key=KEY, max_steps=20)
    assert len(result.path) == 1
    assert result.structure == Density(rows).named_start(None).structure
    assert result.status is tnjax.Status.STAGNATED


def test_what_is_no_hidden_tree_is_refused(mixture):
    density = Density(mixture)
    ring = tnjax.Setup(start=Structure.tensor_ring((2,) * 6, 2))
    with pytest.raises(ValueError, match="expected a tree"):
        tnjax.search(density, key=KEY, max_steps=1, setup=ring)
    with pytest.raises(ValueError, match='kind "nonnegative"'):
        tnjax.search(Density(mixture, kind="born"), key=KEY, max_steps=1, strategy=LatentTree())


def test_a_born_machine_grows_from_the_chow_liu_tree(mixture):
    density = Density(mixture[:400, :4], kind="born", validation=mixture[400:, :4])
    result = tnjax.search(density, key=KEY, max_steps=1)
    start = float(density.error(density.named_start(None)))
    assert result.error <= start
    assert result.model.kind == "born"
    assert result.error == pytest.approx(-result.model.log_prob(mixture[400:, :4]).mean(), abs=1e-4)


def numpy_born_chain(rows: np.ndarray, cores: list[np.ndarray]) -> float:
    """The direct implementation: the dense amplitudes, their gradient, and L-BFGS of SciPy."""
    n, shapes = rows.shape[1], [core.shape for core in cores]
    data = np.bincount(rows @ (1 << np.arange(n)[::-1]), minlength=2**n) / len(rows)
    splits = np.cumsum([core.size for core in cores])[:-1]

    def loss(x: np.ndarray):
        parts = [p.reshape(s) for p, s in zip(np.split(x, splits), shapes, strict=True)]
        left, right = [np.ones((1, 1))], [np.ones((1, 1))]
        for core in parts[:-1]:
            left.append(np.einsum("ia,aub->iub", left[-1], core).reshape(-1, core.shape[2]))
        for core in parts[:0:-1]:
            right.append(np.einsum("aub,bj->auj", core, right[-1]).reshape(len(core), -1))
        right = right[::-1]
        amplitude = np.einsum("ia,aub,bj->iuj", left[0], parts[0], right[0]).ravel()
        norm = amplitude @ amplitude
        value = np.log(norm) - data[data > 0] @ np.log(amplitude[data > 0] ** 2)
        with np.errstate(divide="ignore", invalid="ignore"):
            slope = 2 * amplitude / norm - np.where(data > 0, 2 * data / amplitude, 0)
        slopes = [
            np.einsum("iuj,ia,bj->aub", slope.reshape(len(a), 2, -1), a, b).ravel()
            for a, b in zip(left, right, strict=True)
        ]
        return value, np.concatenate(slopes)

    x = np.concatenate([core.ravel() for core in cores])
    return scipy.optimize.minimize(
        loss, x, jac=True, method="L-BFGS-B", options={"maxiter": 500}
    ).fun


@needs_double
def test_a_born_chain_is_trained_as_far_as_by_numpy():
    rows = planted(0, 400, (-1, *range(11)))
    train = Structure.tensor_train((2,) * 12, 2)
    density = Density(rows, kind="born")
    rng = np.random.default_rng(0)
    cores = []
    for k in range(12):
        a, b = (1 if k == 0 else 2), (1 if k == 11 else 2)
        cores.append(np.full((a, 2, b), 0.5) + 0.2 * rng.standard_normal((a, 2, b)))
    expected = numpy_born_chain(rows, cores)
    ours = [core.transpose(1, 0, 2).reshape(train.core_shape(k)) for k, core in enumerate(cores)]
    solver = tnjax.Optax(optax.lbfgs(), max_steps=50, rtol=1e-7)
    found = tnjax.fit(density, TensorNetwork(train, ours), solver=solver)
    assert found.error <= expected + 5e-3
