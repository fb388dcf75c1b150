"""Truncated contractions against exact ones: grids, other graphs, lattices, and what they state."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.helpers import by_precision, dense_oracle, needs_double, random_network
from tnjax import Structure, TensorNetwork
from tnjax.contract import (
    log_norm,
    truncated_contract,
    truncated_entries,
    truncated_expectation,
    truncated_inner,
)

DTYPE = by_precision("float64", "float32")
COMPLEX = by_precision("complex128", "complex64")
CLOSE = by_precision(1e-10, 1e-4)


def dense(network: TensorNetwork) -> np.ndarray:
    return dense_oracle(network.structure, network.cores)


def grid(size: int, rank: int = 2) -> Structure:
    return Structure.peps((2,) * size**2, (size, size), rank)


def number(value) -> np.ndarray:
    return np.asarray(value.phase) * np.exp(np.asarray(value.log_abs))


# One program for each structure compiles faster than one for each step of it.
inner = jax.jit(truncated_inner, static_argnames=("chi", "order"))


GRAPHS = {
    "ring": Structure.tensor_ring((2,) * 7, 2),
    "comb": Structure.from_edges(
        (2,) * 5, {(5, 0): 2, (0, 1): 3, (5, 6): 3, (6, 2): 2, (2, 3): 3, (6, 4): 2}, num_nodes=7
    ),
    "hyperedges": Structure.from_edges(
        (3, 2, 4, 3, 2),
        {(0, 1): 2, (0, 2, 3): 3, (1, 3): 2, (2, 3): 2},
        legs=[(0, 2), (1,), (3,), (), (4,)],
    ),
    "cp": Structure.cp((2, 3, 2), 3),
    "all": Structure.fully_connected((2,) * 5, 2),
}


@pytest.mark.parametrize("name", GRAPHS)
def test_any_graph_is_exact_if_chi_is_large(name):
    structure = GRAPHS[name]
    a, b = (random_network(structure, COMPLEX, seed) for seed in (1, 2))
    value = inner(a, b, chi=300)
    exact = np.vdot(dense(a), dense(b))
    np.testing.assert_allclose(number(value), exact, rtol=CLOSE)
    assert float(value.discarded) == 0


def test_layers_of_different_bonds():
    ring, train = Structure.tensor_ring((2, 3, 2, 3), 2), Structure.tensor_train((2, 3, 2, 3), 3)
    a, b = random_network(ring, DTYPE, 1), random_network(train, DTYPE, 2)
    exact = np.vdot(dense(a), dense(b))
    value = inner(a, b, chi=64, order=(2, 0, 3, 1))
    np.testing.assert_allclose(number(value), exact, rtol=CLOSE)


# Grids: PEPS.


@pytest.mark.parametrize(("size", "chi"), [(4, 16), (5, 64)])
def test_the_norm_of_a_grid_is_exact_if_chi_is_large(size, chi):
    network = random_network(grid(size), DTYPE, 0)
    value, exact = inner(network, network, chi=chi), 2 * float(log_norm(network))
    assert float(value.phase) == 1
    np.testing.assert_allclose(float(value.log_abs), exact, rtol=CLOSE, atol=CLOSE)


def test_the_stated_error_covers_that_of_norms():
    structure = grid(4)

    def one(key) -> tuple[jax.Array, jax.Array]:
        network = TensorNetwork.random(structure, key=key)
        value = truncated_inner(network, network, chi=8)
        wrong = jnp.abs(jnp.expm1(value.log_abs - 2 * log_norm(network)))
        return wrong, value.error

    wrong, stated = jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(0), 40))
    assert (wrong <= stated).mean() >= 0.95
    # A statement that says too much is none.
    assert wrong.min() > CLOSE
    assert jnp.median(stated) < 0.1


@pytest.mark.parametrize(("size", "chi", "covered"), [(3, 8, 1.0), (5, 4, 0.9)])
def test_entries_of_grids(size, chi, covered):
    network = TensorNetwork.random(grid(size), key=jax.random.key(3), dtype=DTYPE)
    indices = np.random.default_rng(0).integers(0, 2, (40, size**2))
    value = truncated_entries(network, indices, chi=chi)
    found, exact = number(value), np.asarray(network.entries(indices))
    wrong = np.abs(found - exact)
    if covered == 1:
        np.testing.assert_allclose(found, exact, atol=CLOSE * np.abs(exact).max())
    else:
        assert (wrong <= value.error * np.abs(found)).mean() >= covered
        assert np.median(wrong) < 0.1 * np.median(np.abs(exact))


def test_expectation_values_of_a_grid():
    network = random_network(grid(3), COMPLEX, 5)
    state = dense(network)
    y, z = np.array([[0, -1j], [1j, 0]]), np.diag([1.0, -1.0])
    changed = np.moveaxis(np.tensordot(z, state, ((1,), (5,))), 0, 5)
    changed = np.moveaxis(np.tensordot(y, changed, ((1,), (6,))), 0, 6)
    exact = np.vdot(state, changed) / np.vdot(state, state)
    operators = {5: z.astype(COMPLEX), 6: y.astype(COMPLEX)}
    few, many = (
        jax.jit(truncated_expectation, static_argnames="chi")(network, operators, chi=chi)
        for chi in (6, 16)
    )
    assert abs(complex(many.value) - exact) < CLOSE
    assert abs(complex(few.value) - exact) <= float(few.error) < 0.1


# The Ising model.


def ising(rows: int, columns: int, beta: float, periodic: bool) -> tuple[list, list[np.ndarray]]:
    """The labels and the tensors of all sites."""
    bonds = {}
    for i in range(rows):
        for j in range(columns):
            for a, b in (((i + 1), j), (i, j + 1)):
                if periodic or (a < rows and b < columns):
                    kind = "down" if a != i else "right"
                    bonds[(i, j), (a % rows, b % columns), kind] = len(bonds)
    even, odd = np.sqrt(np.cosh(beta)), np.sqrt(np.sinh(beta))
    factor = np.array([[even, odd], [even, -odd]])  # its square are the weights of two spins
    labels, tensors = [], []
    for site in np.ndindex(rows, columns):
        labels.append([label for ends, label in bonds.items() if site in ends[:2]])
        count = len(labels[-1])
        letters = "abcd"[:count]
        text = ",".join(f"s{x}" for x in letters) + f"->{letters}"
        tensors.append(np.einsum(text, *[factor] * count).astype(DTYPE))
    return labels, tensors


def test_a_torus():
    labels, tensors = ising(4, 4, 0.4, periodic=True)
    value = jax.jit(lambda *sites: truncated_contract((labels, []), *sites, chi=256))(*tensors)
    assert float(value.phase * jnp.exp(value.log_abs)) == pytest.approx(
        2_107_668.72, rel=2e-8 if DTYPE == "float64" else 1e-5
    )


def test_an_open_lattice_at_the_critical_point():
    beta, size = np.log(1 + np.sqrt(2)) / 2, 7
    labels, tensors = ising(size, size, beta, periodic=False)
    value = truncated_contract((labels, []), *tensors, chi=6)
    # By transfer matrices, spin by spin.
    weights = np.exp(beta * np.array([[1, -1], [-1, 1]]))
    state, log = np.ones((2,) * size), 0.0
    for row in range(size):
        for j in range(size - 1):
            shape = [1] * size
            shape[j : j + 2] = 2, 2
            state = state * weights.reshape(shape)
        if row < size - 1:
            for j in range(size):
                state = np.moveaxis(np.tensordot(weights, state, ((1,), (j,))), 0, j)
        log += np.log(state.max())
        state = state / state.max()
    log += np.log(state.sum())
    wrong = abs(float(value.log_abs) - log)
    assert wrong <= max(float(value.error), CLOSE)
    assert float(value.error) < 1e-2


# What it is used with.


def test_numbers_out_of_range():
    network = random_network(grid(2), "float32", 0)
    value = inner(network, network, chi=16)
    scaled = jax.tree.map(lambda core: core * np.float32(1e12), network)
    large = inner(scaled, scaled, chi=16)
    assert float(large.log_abs - value.log_abs) == pytest.approx(8 * np.log(1e12), rel=1e-5)


def test_zero():
    network = random_network(grid(2), DTYPE, 0)
    value = inner(network, jax.tree.map(jnp.zeros_like, network), chi=6)
    assert (float(value.log_abs), float(value.phase), float(value.error)) == (-np.inf, 0, 0)


@needs_double
def test_derivatives():
    network = random_network(Structure.peps((2,) * 6, (2, 3), 2), "float64", 0)

    @jax.jit
    def value(network) -> jax.Array:
        return truncated_inner(network, network, chi=3).log_abs

    change = random_network(network.structure, "float64", 1)
    slope = sum(
        float((a * b).sum())
        for a, b in zip(jax.grad(value)(network).cores, change.cores, strict=True)
    )
    move = lambda step: jax.tree.map(lambda a, b: a + step * b, network, change)
    assert slope == pytest.approx(float(value(move(1e-6)) - value(move(-1e-6))) / 2e-6, rel=1e-6)


def test_what_does_not_fit_is_refused():
    network = random_network(grid(3), DTYPE, 0)
    with pytest.raises(ValueError, match="chi: expected a positive integer, got 0"):
        truncated_inner(network, network, chi=0)
    with pytest.raises(ValueError, match=r"each of the nodes 0\.\.8 once"):
        truncated_inner(network, network, chi=2, order=[0, 1])
    with pytest.raises(ValueError, match="the same legs"):
        truncated_inner(network, random_network(grid(2), DTYPE, 0), chi=2)
    with pytest.raises(ValueError, match=r"expected \[entries, 9\]"):
        truncated_entries(network, [[0, 0]], chi=2)
    with pytest.raises(ValueError, match="the output has labels"):
        truncated_contract("ab,bc->ac", jnp.ones((2, 2)), jnp.ones((2, 2)), chi=2)
    with pytest.raises(ValueError, match="mode 3 has an operator of shape"):
        truncated_expectation(network, {3: jnp.ones((3, 3))}, chi=2)
