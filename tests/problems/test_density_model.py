"""`DensityModel`: entropies in closed form, exact samples, conditions, the most likely row."""

import math

import jax
import numpy as np
import pytest
import scipy.stats

from tests.helpers import by_precision
from tnjax import Density, DensityModel, Structure, TensorNetwork

KEY = jax.random.key(0)
CLOSE = by_precision(1e-6, 1e-4)
SPINS, COUPLING = 10, 0.4


def ising(kind: str) -> DensityModel:
    """A chain of spins with open ends; its amplitudes are roots of the weights for "born"."""
    power = 0.5 if kind == "born" else 1.0
    bond = np.exp(power * COUPLING * np.asarray([[1.0, -1.0], [-1.0, 1.0]]))
    train = Structure.tensor_train((2,) * SPINS, 2)
    first = np.eye(2)
    inner = [bond.T[:, :, None] * np.eye(2)[:, None, :]] * (SPINS - 2)
    return DensityModel(TensorNetwork(train, [first, *inner, bond.T]), kind)


def binary_entropy(p: float) -> float:
    return -p * math.log(p) - (1 - p) * math.log(1 - p)


@pytest.fixture(scope="module", params=["nonnegative", "born"])
def chain(request) -> DensityModel:
    return ising(request.param)


def test_the_entropy_of_a_chain_of_spins(chain):
    alike = math.exp(COUPLING) / (2 * math.cosh(COUPLING))
    expected = math.log(2) + (SPINS - 1) * binary_entropy(alike)
    assert chain.entropy() == pytest.approx(expected, abs=CLOSE)


@pytest.mark.parametrize(("a", "b"), [(0, 1), (2, 5), (0, 9)])
def test_the_mutual_information_of_spins(chain, a, b):
    alike = (1 + math.tanh(COUPLING) ** (b - a)) / 2
    expected = math.log(2) - binary_entropy(alike)
    assert chain.mutual_information([a], [b]) == pytest.approx(expected, abs=CLOSE)


def test_a_condition_screens_off(chain):
    known = chain.conditional({4: 1})
    assert known.mutual_information([2], [7]) == pytest.approx(0, abs=CLOSE)
    alike = math.exp(COUPLING) / (2 * math.cosh(COUPLING))
    assert known.marginal([5])[1] == pytest.approx(alike, abs=CLOSE)
    assert known.marginal([4])[1] == pytest.approx(1, abs=CLOSE)
    rows = known.sample(KEY, 50)
    assert (rows[:, 4] == 1).all()
    assert known.log_prob([[0] * SPINS]) == -np.inf


def test_samples_pass_a_chi_square_test(chain):
    rows = chain.sample(KEY, 4000)
    picked = [0, 1, 4, 5]
    counts = np.bincount(rows[:, picked] @ [8, 4, 2, 1], minlength=16)
    expected = chain.marginal(picked).reshape(-1)
    assert scipy.stats.chisquare(counts, expected * 4000 / expected.sum()).pvalue > 1e-3


def test_the_most_likely_row_is_found_and_proved(chain):
    found = chain.conditional({3: 1}).most_likely()
    assert found.exact
    assert (found.values == 1).all()
    alike = math.exp(COUPLING) / (2 * math.cosh(COUPLING))
    assert found.log_prob == pytest.approx((SPINS - 1) * math.log(alike), abs=10 * CLOSE)


def test_missing_values_are_summed_out_and_filled(chain):
    rows = np.full((2, SPINS), -1.0)
    rows[0], rows[1, :3] = np.nan, [1, 1, 1]
    alike = math.exp(COUPLING) / (2 * math.cosh(COUPLING))
    expected = [0, math.log(0.5) + 2 * math.log(alike)]
    assert chain.log_prob(rows) == pytest.approx(expected, abs=CLOSE)
    assert chain.anomaly_scores(rows) == pytest.approx(np.negative(expected), abs=CLOSE)
    assert (chain.filled(rows)[1] == 1).all()


def test_samples_of_a_tree_with_hidden_variables():
    structure = Structure.from_edges((2, 3, 2, 2), {(0, 1, 2): 3, (2, 3): 2})
    network = TensorNetwork.random(structure, key=KEY)
    network = TensorNetwork(structure, [np.abs(core) for core in network.cores])
    model = DensityModel(network, "nonnegative")
    rows = model.sample(KEY, 5000)
    counts = np.zeros((2, 3, 2, 2))
    np.add.at(counts, tuple(rows.T), 1)
    expected = np.asarray(network.to_dense())
    expected = 5000 * expected / expected.sum()
    assert scipy.stats.chisquare(counts.ravel(), expected.ravel()).pvalue > 1e-3


def test_the_entropy_of_a_planted_bayesian_tree():
    rng, dims, parents = np.random.default_rng(0), (2, 3, 2, 3), (-1, 0, 0, 2)
    tables = [rng.dirichlet(np.ones(2), size=1)]
    tables += [rng.dirichlet(np.ones(dims[k]), size=dims[parents[k]]) for k in (1, 2, 3)]
    joint = np.einsum("a,ab,ac,cd->abcd", tables[0][0], *tables[1:])
    structure = Structure.from_edges(dims, {(0, 1, 2): 2, (2, 3): 2})
    cores = [np.diag(tables[0][0]), tables[1].T, tables[2].T[:, :, None] * np.eye(2)[:, None, :]]
    model = DensityModel(TensorNetwork(structure, [*cores, tables[3].T]), "nonnegative")
    rows_entropy = lambda table: -float(np.sum(table * np.log(table)))
    expected = rows_entropy(tables[0][0])
    for k in (1, 2, 3):
        other = tuple(v for v in range(4) if v != parents[k])
        expected += joint.sum(other) @ [rows_entropy(row) for row in tables[k]]
    assert model.entropy() == pytest.approx(expected, abs=CLOSE)
    pair = joint.sum((0, 1))
    expected = rows_entropy(pair.sum(0)) + rows_entropy(pair.sum(1)) - rows_entropy(pair)
    assert model.mutual_information([2], [3]) == pytest.approx(expected, abs=CLOSE)


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda m: m.marginal([0, 0]), "different variables"),
        (lambda m: m.marginal([99]), "different variables"),
        (lambda m: m.conditional({0: 5}), "has the categories 0 to 1"),
        (lambda m: m.conditional({0: 1}).conditional({0: 0}), "given as 1 already"),
        (lambda m: m.sample(KEY, 0), "positive number of samples"),
        (lambda m: m.log_prob([[0, 1]]), "rows have 2 columns"),
        (lambda m: m.log_prob([[7] * SPINS]), "has the category 7"),
    ],
)
def test_bad_questions_are_one_clear_line(ask, message):
    with pytest.raises(ValueError, match=message):
        ask(ising("nonnegative"))


def test_a_condition_of_probability_zero_is_refused():
    network = TensorNetwork(Structure.rank_one((2, 2)), [np.asarray([0.0, 1.0]), np.ones(2)])
    with pytest.raises(ValueError, match="has probability 0"):
        DensityModel(network, "nonnegative").conditional({0: 0})


def test_tables_have_a_limit():
    rows = np.random.default_rng(0).integers(2, size=(4, 30))
    density = Density(rows, (2,) * 30)
    with pytest.raises(ValueError, match="draw samples"):
        density.model(density.named_start("independent")).entropy()
