"""Influence of single entries: against refits without them, and for planted outliers."""

import equinox as eqx
import jax
import numpy as np
import pytest

from tnjax import ALS, Completion, Structure, TensorNetwork, fit, influence
from tnjax.solve import Influence

KEY = jax.random.key(0)
SHAPE = (20, 20, 20)
CP = Structure.cp(SHAPE, 2)


def planted(share, noise, outliers=0.0, seed=0):
    """Entries of a CP network, the numbers of wrong ones, and those held out."""
    rng = np.random.default_rng(seed)
    factors = [1 + 0.3 * rng.standard_normal((20, 2)) for _ in range(3)]
    tensor = np.einsum("ia,ja,ka->ijk", *factors)
    indices = np.argwhere(rng.random(SHAPE) < share)
    clean = tensor[tuple(indices.T)]
    values = clean + noise * clean.std() * rng.standard_normal(len(clean))
    held = rng.permutation(len(values))[: len(values) // 5]
    known = np.setdiff1d(np.arange(len(values)), held)
    wrong = rng.permutation(known)[: round(outliers * len(known))]
    values[wrong] += 4 * clean.std() * rng.choice([-1, 1], len(wrong))
    problem = Completion(indices, values, SHAPE, validation=held, ridge=0.1)
    return problem, np.isin(known, wrong)


@pytest.fixture(scope="module")
def noisy():
    problem, _ = planted(0.15, 0.05)
    return problem, fit(problem, CP, key=KEY, max_steps=60).network


def test_influence_ranks_entries_as_refits_without_them_do(noisy):
    problem, network = noisy
    alone = problem.without_held_out()
    network = fit(alone, network, solver=ALS(max_steps=150, rtol=1e-8)).network
    found = influence(problem, network, sweeps=0)
    solver = ALS(max_steps=150, rtol=1e-8)
    before = float(problem.error(network / problem.scale))
    picked = np.random.default_rng(1).permutation(len(found.harm))[:25]
    falls = []
    for entry in picked:
        weights = problem.training.weights.at[entry].set(0)
        without = eqx.tree_at(lambda p: p.training.weights, alone, weights)
        again = fit(without, network, solver=solver).network
        falls.append(before - float(problem.error(again / problem.scale)))
    ranks = lambda x: np.argsort(np.argsort(x))
    spearman = np.corrcoef(ranks(found.harm[picked]), ranks(falls))[0, 1]
    assert spearman >= 0.7  # 0.74 to 0.80 on three such toys
    # They are the same numbers, but for what is not linear.
    slope = np.polyfit(found.harm[picked], falls, 1)[0]
    assert 0.7 < slope < 1.4


def test_planted_outliers_are_the_farthest():
    problem, wrong = planted(0.3, 0.05, outliers=0.01)
    found = influence(problem, fit(problem, CP, key=KEY, max_steps=60))
    worst = found.farthest(round(0.02 * len(wrong)))
    assert wrong[worst].sum() >= 0.9 * wrong.sum()
    assert found.harm[wrong].mean() > 0


def test_what_has_no_influence_is_refused(noisy):
    problem, network = noisy
    with pytest.raises(ValueError, match="holds nothing out"):
        influence(problem.everything(), network)
    with pytest.raises(ValueError, match="real cores"):
        influence(problem._with(_nonnegative=True), network)
    assert isinstance(influence(problem, TensorNetwork(CP, network.cores)), Influence)
