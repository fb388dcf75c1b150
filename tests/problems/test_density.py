"""`Density`: the loss, its starts, and bad input, against direct computations in NumPy."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import tnjax
from tests.helpers import by_precision
from tnjax import Density, DensityModel, Structure, TensorNetwork

KEY = jax.random.key(0)
CLOSE = by_precision(1e-9, 1e-3)


def probabilities(network: TensorNetwork, kind: str) -> np.ndarray:
    dense = np.asarray(network.to_dense())
    table = np.abs(dense) ** 2 if kind == "born" else dense
    return table / table.sum()


def positive(network: TensorNetwork) -> TensorNetwork:
    return TensorNetwork(network.structure, [jnp.abs(core) for core in network.cores])


STRUCTURES = {
    "train": Structure.tensor_train((2, 3, 2, 4), 2),
    "ring": Structure.tensor_ring((2, 3, 2, 4), 2),
    "hyperedges": Structure.from_edges((2, 3, 2, 4), {(0, 1, 2): 2, (2, 3): 3}),
    "tree": Structure.from_edges(
        (2, 3, 2, 4), {(0, 4): 2, (1, 4): 2, (4, 5): 3, (2, 5): 2, (3, 5): 2}
    ),
}


@pytest.fixture(scope="module")
def samples() -> np.ndarray:
    rng = np.random.default_rng(0)
    rows = np.stack([rng.integers(size, size=30) for size in (2, 3, 2, 4)], 1)
    rows[3, 1] = rows[3, 2] = rows[8, 0] = -1
    return rows


def expected_loss(table: np.ndarray, rows: np.ndarray, weights: np.ndarray) -> float:
    logs = []
    for row in rows:
        index = tuple(slice(None) if value < 0 else value for value in row)
        logs.append(np.log(table[index].sum()))
    return -float(np.average(logs, weights=weights))


CASES = [("train", "nonnegative"), ("train", "complex"), ("ring", "born"), ("hyperedges", "born")]


@pytest.mark.parametrize(("name", "kind"), [*CASES, ("tree", "nonnegative")])
def test_the_loss_is_that_of_the_table(name, kind, samples):
    dtype = jnp.zeros((), complex if kind == "complex" else float).dtype
    kind = "born" if kind == "complex" else kind
    weights = np.random.default_rng(1).random(30)
    density = Density(samples, (2, 3, 2, 4), kind=kind, weights=weights, dtype=dtype)
    network = TensorNetwork.random(STRUCTURES[name], key=KEY, dtype=dtype)
    if kind == "nonnegative":
        network = positive(network)
    expected = expected_loss(probabilities(network, kind), samples, weights)
    assert float(jax.jit(lambda network: density.loss(network))(network)) == pytest.approx(
        expected, abs=CLOSE
    )
    model = DensityModel(network, kind)
    assert model.marginal([2, 0]) == pytest.approx(
        probabilities(network, kind).sum((1, 3)).T, abs=CLOSE
    )


@pytest.mark.parametrize("kind", ["nonnegative", "born"])
def test_an_added_network_changes_the_loss_as_the_sum_does(kind, samples):
    train, complete = STRUCTURES["train"], samples[(samples >= 0).all(1)]
    a, b = (TensorNetwork.random(train, key=jax.random.key(n)) for n in (1, 2))
    if kind == "nonnegative":
        a, b = positive(a), positive(b)
    density = Density(complete, (2, 3, 2, 4), kind=kind)
    whole = Structure((2, 3, 2, 4), ((0, 1, 2, 3),), {})
    both = TensorNetwork(whole, [a.to_dense() + 0.3 * b.to_dense()])
    point = density.linearize(a)
    expected = float(density.loss(both))
    perturbed = jax.jit(lambda point, t: density.perturbed_loss(point, b * t))
    value = lambda t: float(perturbed(point, jnp.asarray(t, b.dtype)))
    assert value(0.3) == pytest.approx(expected, abs=CLOSE)
    step = by_precision(1e-5, 1e-2)
    slope = (value(step) - value(-step)) / (2 * step)
    assert float(jax.jit(lambda point, b: density.slope(point, b))(point, b)) == pytest.approx(
        slope, rel=by_precision(1e-5, 2e-2)
    )


def test_batches_estimate_the_loss(samples):
    density = Density(samples, (2, 3, 2, 4), kind="born")
    network = TensorNetwork.random(STRUCTURES["train"], key=KEY)
    count = density.num_samples
    one = jax.jit(lambda k: density.batch_loss(network, k))
    each = [float(one(jnp.asarray([k]))) for k in range(count)]
    assert np.mean(each) == pytest.approx(float(density.loss(network)), abs=CLOSE)


def kruskal(rows: np.ndarray, dims) -> tuple[list, float]:
    """By the textbook: the spanning tree of the largest mutual informations of pairs, and the mean
    log-likelihood of the tree: these, less the entropies of all variables."""
    count, n = len(rows), len(dims)

    def information(a: int, b: int) -> float:
        p = np.zeros((dims[a], dims[b]))
        np.add.at(p, (rows[:, a], rows[:, b]), 1 / count)
        ratio = p / np.outer(p.sum(1), p.sum(0))
        return float(np.sum(p[p > 0] * np.log(ratio[p > 0])))

    pairs = sorted(itertools.combinations(range(n), 2), key=lambda e: -information(*e))
    part, tree = list(range(n)), []
    for a, b in pairs:
        if part[a] != part[b]:
            tree.append((a, b))
            part = [part[a] if p == part[b] else p for p in part]
    logs = sum(information(a, b) for a, b in tree)
    for v in range(n):
        p = np.bincount(rows[:, v]) / count
        logs += float(np.sum(p[p > 0] * np.log(p[p > 0])))
    return tree, logs


@pytest.mark.parametrize("kind", ["nonnegative", "born"])
def test_the_chow_liu_network_has_the_likelihood_of_the_tree(kind):
    rng, dims = np.random.default_rng(0), (2, 3, 2, 2, 3)
    rows = np.zeros((200, 5), int)
    rows[:, 0] = rng.integers(2, size=200)
    noisy = lambda x, size, p: np.where(rng.random(200) < p, rng.integers(size, size=200), x)
    rows[:, 1], rows[:, 2] = noisy(rows[:, 0], 3, 0.3), noisy(rows[:, 0], 2, 0.2)
    rows[:, 3], rows[:, 4] = noisy(1 - rows[:, 2], 2, 0.4), noisy(rows[:, 2], 3, 0.3)
    tree, logs = kruskal(rows, dims)
    density = Density(rows, dims, kind=kind)
    with tnjax.constants.overridden({"density_tables.smoothing": 0.0}):
        network = density.named_start("chow-liu")
    assert float(density.loss(network)) == pytest.approx(-logs, abs=CLOSE)
    edges = network.structure.edges
    assert all(any({a, b} <= set(edge) for edge in edges) for a, b in tree)
    assert sum(len(edge) - 1 for edge in edges) == 4


def test_independent_start():
    rows = np.asarray([[0, 1], [0, 0], [1, 1], [0, 1]])
    with tnjax.constants.overridden({"density_tables.smoothing": 0.0}):
        network = Density(rows).named_start("independent")
    expected = -2 * (0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    assert float(Density(rows).loss(network)) == pytest.approx(expected, abs=CLOSE)


def test_many_variables_neither_overflow_nor_underflow():
    train = Structure.tensor_train((2,) * 1556, 2)
    rows = np.random.default_rng(0).integers(2, size=(20, 1556))
    cores = [np.full(train.core_shape(k), 3.0) for k in range(1556)]
    for kind in ("nonnegative", "born"):
        density = Density(rows, (2,) * 1556, kind=kind)
        network = TensorNetwork(train, cores).astype(density.dtype)
        loss = float(jax.jit(Density.loss)(density, network))
        assert loss == pytest.approx(1556 * math.log(2), rel=1e-5)


def test_equal_rows_are_one():
    rows = np.asarray([[0, 1], [0, 1], [1, 0]])
    density = Density(rows)
    assert density.num_samples == 2
    assert density.rows.count == 3
    assert sorted(np.asarray(density.rows.weights)) == pytest.approx([1 / 3, 2 / 3])


def test_a_share_is_held_out_by_the_key():
    rows = np.random.default_rng(0).integers(2, size=(100, 4))
    a, b, c = (Density(rows, validation=0.3, key=jax.random.key(n)).held_out for n in (0, 0, 1))
    assert a.count == 30
    assert np.array_equal(a.weights, b.weights)
    assert np.array_equal(a.values, b.values)
    assert a.values.shape != c.values.shape or not np.array_equal(a.weights, c.weights)


GOOD = [[0, 1], [1, 0], [0, 0]]
BAD = {
    "a constant column": (([[0, 1], [0, 0]],), {}, "column 0 is constant"),
    "an empty table": ((np.zeros((0, 3)),), {}, "the table is empty"),
    "one axis": (([0, 1],), {}, "table \\[rows, variables\\]"),
    "negative": (([[0, -2], [1, 0]],), {}, "column 1 has the value -2"),
    "a fraction": (([[0, 0.5], [1, 0]],), {}, "column 1 has the value 0.5"),
    "infinite": (([[0, np.inf], [1, 0]],), {}, "column 1 has the value inf"),
    "strings": (([["a", "b"]],), {}, "must be numbers of categories"),
    "no value": (([[0, -1], [1, -1]],), {}, "column 1 has no value"),
    "many categories": (([[0, 5000], [1, 0]],), {}, "5001 categories"),
    "beyond dims": ((GOOD, (2, 1)), {}, "column 1 has the category 1"),
    "too few dims": ((GOOD, (2,)), {}, "dims has 1 sizes"),
    "kind": ((GOOD,), {"kind": "gauss"}, "kind must be"),
    "weights": ((GOOD,), {"weights": [1, -1, 1]}, "weights must be finite"),
    "NaN weights": ((GOOD,), {"weights": [1, np.nan, 1]}, "weights must be finite"),
    "count of weights": ((GOOD,), {"weights": [1]}, "one for each of 3 rows"),
    "share": ((GOOD,), {"validation": 1.5}, "a share between 0 and 1"),
    "no key": ((GOOD,), {"validation": 0.5}, "give key"),
    "tiny share": ((GOOD,), {"validation": 0.01, "key": KEY}, "leaves 3 to learn from"),
    "other columns": ((GOOD,), {"validation": [[0]]}, "validation has 1 columns"),
    "unseen category": ((GOOD,), {"validation": [[0, 7]]}, "column 1 of validation"),
    "complex": ((GOOD,), {"dtype": "complex64"}, "complex cores are for"),
    "integers": ((GOOD,), {"dtype": "int32"}, "single or double precision"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_clear_line(name):
    args, options, message = BAD[name]
    with pytest.raises(ValueError, match=message) as error:
        Density(*args, **options)
    assert "\n" not in str(error.value)
