"""Plans that serve neighbors: right values, and costs within the factor that was stated."""

import math
import random

import jax
import jax.numpy as jnp
import numpy as np
import opt_einsum
import pytest

from tests.helpers import by_precision, dense_oracle, normal, random_network
from tnjax import Structure
from tnjax.contract import Plans, contract
from tnjax.contract.equation import dense_equation
from tnjax.contract.order import appended, log_flops

DTYPE = by_precision("float64", "float32")
CLOSE = by_precision(1e-12, 1e-4)


def neighbor(structure: Structure, rng: random.Random) -> Structure:
    """A bond more, a rank more, or a rank less."""
    edges = dict(structure.edges)
    a, b = sorted(rng.sample(range(structure.num_nodes), 2))
    edge = (a, b) if rng.random() < 0.3 else rng.choice(list(edges))
    edges[edge] = max(2, edges.get(edge, 1) + rng.choice([1, 1, -1]))
    return Structure.from_edges(structure.dims, edges)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("factor", [1.5, 6.0])
def test_a_plan_serves_where_its_cost_is_within_the_factor(seed, factor):
    """The fewest multiplications are those of opt_einsum's dynamic programming."""
    rng = random.Random(seed)
    structure = Structure.tensor_ring((2, 3, 2, 4, 2, 3), 3)
    plans = Plans(factor)
    for _ in range(25):
        structure = neighbor(structure, rng)
        equation = dense_equation(structure)
        known = plans.plan(equation, tuple((label,) for label, _ in equation.sizes))
        cost = log_flops(known.equation, appended(known.path, structure.num_nodes))
        inputs = [frozenset(labels) for labels in equation.inputs]
        optimal = opt_einsum.paths.DynamicProgramming()
        path = optimal(inputs, frozenset(equation.output), equation.size_dict)
        fewest = log_flops(equation, appended(path, structure.num_nodes))
        assert cost <= fewest + math.log2(factor) + 1e-9
    assert plans.searched < plans.compiled
    assert 0 < plans.reused <= 25 - plans.compiled  # the same network is not counted twice


def test_values_and_gradients_are_those_of_the_contraction():
    rng = random.Random(0)
    plans, structure = Plans(8.0), Structure.tensor_ring((2, 3, 2, 3), 2)
    for seed in range(4):
        network = random_network(structure, DTYPE, seed)
        labels = dense_equation(structure).inputs
        operands = [1e20 * core for core in network.cores] if seed % 2 else network.cores
        found = plans.contract((labels, (3, 1, 0, 2)), *operands, log=True)
        scale = math.exp(float(found.log_scale) - (4 * math.log(1e20) if seed % 2 else 0))
        expected = dense_oracle(structure, network.cores).transpose(3, 1, 0, 2)
        np.testing.assert_allclose(np.asarray(found.mantissa) * scale, expected, atol=100 * CLOSE)
        norm = math.log(np.linalg.norm(expected))
        np.testing.assert_allclose(plans.log_norm(network), norm, rtol=CLOSE, atol=CLOSE)
        structure = neighbor(structure, rng)
    gradient = jax.grad(plans.log_norm)(network)
    cores = [np.asarray(core) for core in network.cores]
    toward, step = normal(cores[1].shape, DTYPE), by_precision(1e-6, 1e-2)
    ends = []
    for sign in (1, -1):
        moved = [c + sign * step * toward if k == 1 else c for k, c in enumerate(cores)]
        ends.append(math.log(np.linalg.norm(dense_oracle(network.structure, moved))))
    slope = (ends[0] - ends[1]) / (2 * step)
    found = np.vdot(toward, gradient.cores[1])
    np.testing.assert_allclose(found, slope, rtol=by_precision(1e-7, 1e-2))
    dead = jax.tree.map(jnp.zeros_like, network)
    assert float(plans.log_norm(dead)) == -math.inf
    assert all(np.all(np.asarray(c) == 0) for c in jax.grad(plans.log_norm)(dead).cores)


def test_other_networks_are_searched_for():
    plans = Plans()
    x, y = normal((2, 3), DTYPE), normal((3, 4), DTYPE)
    for _ in range(2):
        found = plans.contract("ab,bc->ca", x, y)
        np.testing.assert_allclose(found, contract("ab,bc->ca", x, y), rtol=100 * CLOSE)
    np.testing.assert_allclose(plans.contract("ab->b", x), x.sum(0), rtol=100 * CLOSE)
    assert (plans.searched, plans.compiled, plans.reused) == (2, 2, 0)
    with pytest.raises(ValueError, match="name the output"):
        plans.contract("ab", x)


@pytest.mark.parametrize("given", [{"factor": 0.5}, {"remembered": 0}])
def test_plans_take_sensible_numbers(given):
    with pytest.raises(ValueError, match="expected at least 1 each"):
        Plans(**given)
