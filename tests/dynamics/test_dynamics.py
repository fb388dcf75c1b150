"""Evolution of trees against matrix exponentials: order, norm, ranks, tolerance, operators."""

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

from tests.helpers import by_precision, dense_oracle, needs_double, normal, random_network
from tnjax import Structure, TensorNetwork
from tnjax.dynamics import evolve
from tnjax.dynamics._flow import flow
from tnjax.operators import SumOfProducts, lattice_edges, transverse_ising

SITES = 6
CHAIN = lattice_edges(SITES)
# A chain; a binary tree and a star with nodes without modes; a chain of two modes on each node.
TREES = {
    "chain": (CHAIN, None),
    "binary": ([(0, 6), (1, 6), (2, 7), (3, 7), (4, 8), (5, 8), (6, 9), (7, 9), (8, 9)], None),
    "star": ([(site, 6) for site in range(SITES)], None),
    "pairs": ([(0, 1), (1, 2)], ((0, 3), (1, 4), (2, 5))),
}


def dense(network: TensorNetwork) -> np.ndarray:
    return dense_oracle(network.structure, network.cores)


def product(name: str, site: np.ndarray) -> tuple[TensorNetwork, list[tuple[int, int]]]:
    """A product of equal sites on a tree, and its bonds."""
    tree, legs = TREES[name]
    nodes = 1 + max(map(max, tree))
    legs = legs or [(k,) if k < SITES else () for k in range(nodes)]
    structure = Structure.from_edges((len(site),) * SITES, {}, legs=legs)
    power = {0: np.ones((), site.dtype), 1: site, 2: np.multiply.outer(site, site)}
    return TensorNetwork(structure, [power[len(own)] for own in legs]), tree


def exact(hamiltonian: SumOfProducts, start: np.ndarray, time: complex) -> np.ndarray:
    matrix = np.asarray(hamiltonian.to_dense(), complex)
    values, vectors = np.linalg.eigh(matrix)
    return vectors @ (np.exp(time * values) * (vectors.conj().T @ start.ravel()))


UP = np.array([1.0, 0.0])
ISING = transverse_ising(CHAIN)


@needs_double
@pytest.mark.parametrize("name", TREES)
def test_a_quench_of_six_spins(name):
    start, tree = product(name, UP)
    after = evolve(start, -1j * ISING, 0.1, 5, tolerance=1e-9, tree=tree)
    goal = exact(ISING, dense(start), -0.5j)
    assert np.linalg.norm(dense(after.network).ravel() - goal) < 5e-3
    assert np.abs(after.norms - 1).max() < 1e-12
    # From a product state on, ranks grow, and no further than they can.
    assert set(after.ranks[0].values()) <= {1, 2}
    assert max(after.ranks[-1].values()) >= {"star": 2}.get(name, 4)
    for first, later in zip(after.ranks, after.ranks[1:], strict=False):
        assert all(later[edge] >= rank for edge, rank in first.items())
    assert len(after.ranks[0]) == len(tree)


@needs_double
@pytest.mark.parametrize("name", ["chain", "binary"])
def test_the_error_halves_with_the_step(name):
    start, tree = product(name, UP)
    goal = exact(ISING, dense(start), -0.8j)
    errors = []
    for steps in (2, 4, 8):
        after = evolve(start, -1j * ISING, 0.8 / steps, steps, tolerance=1e-11, tree=tree)
        errors.append(np.linalg.norm(dense(after.network).ravel() - goal))
    print(errors)
    assert errors[1] < 0.6 * errors[0]
    assert errors[2] < 0.6 * errors[1]


@needs_double
def test_the_tolerance_bounds_the_error():
    start, tree = product("chain", UP)
    goal = exact(ISING, dense(start), -1j)
    errors = {}
    for tolerance in (1e-2, 1e-4):
        after = evolve(start, -1j * ISING, 0.1, 10, tolerance=tolerance, tree=tree)
        errors[tolerance] = np.linalg.norm(dense(after.network).ravel() - goal)
        assert errors[tolerance] < 10 * len(tree) * tolerance
        assert after.discarded.max() <= np.sqrt(len(tree)) * tolerance
    assert errors[1e-4] < errors[1e-2]


@pytest.mark.parametrize("name", ["chain", "star"])
def test_imaginary_time_leads_to_the_ground_state(name):
    start, tree = product(name, np.array([0.6, 0.8]))
    model = transverse_ising([*CHAIN, (0, 5)], field=1.5)
    after = evolve(start, -model, 0.5, 25, tolerance=1e-5, tree=tree, normalize=True)
    lowest = np.linalg.eigvalsh(np.asarray(model.to_dense()))[0]
    assert -np.log(after.norms[-1]) / 0.5 == pytest.approx(lowest, rel=1e-3)
    state = dense(after.network).ravel()
    assert state @ np.asarray(model.to_dense()) @ state == pytest.approx(lowest, rel=1e-3)
    assert np.linalg.norm(state) == pytest.approx(1, rel=1e-5)


def laplacian(size: int) -> np.ndarray:
    return (np.eye(size, k=1) - 2 * np.eye(size) + np.eye(size, k=-1)) * (size + 1) ** 2


@pytest.mark.parametrize("dtype", by_precision(["float32", "float64"], ["float32"]))
def test_the_heat_equation(dtype):
    """Two products of sines decay at their own rates: rank 2 suffices for all times."""
    size, time = 7, 0.02
    sine = lambda k: np.sin(np.pi * k * np.arange(1, size + 1) / (size + 1))
    rate = lambda k: -((2 * (size + 1) * np.sin(np.pi * k / (2 * (size + 1)))) ** 2)
    modes = ((1, 2, 1), (2, 1, 3))
    train = Structure.tensor_train((size,) * 3, 2)
    ends = [np.stack([sine(m[k]) for m in modes], -1) for k in range(3)]
    middle = np.zeros((size, 2, 2))
    for n in range(2):
        middle[:, n, n] = ends[1][:, n]
    cores = [core.astype(dtype) for core in (ends[0], middle, ends[2])]
    terms = [(1.0, {mode: laplacian(size)}) for mode in range(3)]
    operator = SumOfProducts((size,) * 3, terms, dtype=dtype)
    after = evolve(TensorNetwork(train, cores), operator, time / 4, 4, tolerance=1e-5)
    goal = sum(
        np.exp(time * sum(map(rate, m))) * np.einsum("a,b,c->abc", *[sine(k) for k in m])
        for m in modes
    )
    found = dense(after.network)
    assert np.linalg.norm(found - goal) < {"float32": 1e-4, "float64": 1e-9}[
        dtype
    ] * np.linalg.norm(goal)
    assert set(after.ranks[-1].values()) == {2}


@needs_double
def test_an_operator_as_a_network():
    start, tree = product("chain", UP)
    # Z Z on neighbors as a chain of matrices: nothing yet, one has come, all is done.
    z, one = np.diag([1.0, -1.0]), np.eye(2)
    middle = np.zeros((2, 2, 3, 3))
    middle[:, :, 0, 0] = middle[:, :, 2, 2] = one
    middle[:, :, 0, 1], middle[:, :, 1, 2] = z, -z
    middle[:, :, 0, 2] = -np.array([[0, 1], [1, 0]])
    cores = [middle[:, :, 0], *[middle] * 4, middle[:, :, :, 2]]
    bonds = {(k, k + 1): 3 for k in range(5)}
    legs = [(k, k + SITES) for k in range(SITES)]
    network = TensorNetwork(Structure.from_edges((2,) * 12, bonds, legs=legs), cores)
    results = [
        evolve(start, operator, 0.1, 3, tolerance=1e-9, tree=tree).network
        for operator in (network, -1 * ISING * -1)
    ]
    np.testing.assert_allclose(*map(dense, results), atol=1e-9)


@needs_double
def test_operators_on_several_sites_and_equal_beginnings():
    """Products of three sites across the tree, the identity, and two that begin alike; with full
    ranks nothing but rounding is wrong."""
    ranks = {edge: 2 if edge[0] < SITES else 4 for edge in TREES["binary"][0]}
    start = random_network(Structure.from_edges((2,) * SITES, ranks), "complex128", 3)
    a, b, c = normal((3, 2, 2))
    terms = [(0.3, {0: a, 3: b, 5: c}), (0.2, {0: a, 3: b}), (-0.5, {}), (0.7, {0: a, 3: c, 4: b})]
    operator = SumOfProducts((2,) * SITES, terms)
    after = evolve(start, operator, 0.1, 2, tolerance=1e-13)
    goal = scipy.linalg.expm(0.2 * np.asarray(operator.to_dense())) @ dense(start).ravel()
    found = dense(after.network).ravel()
    assert np.linalg.norm(found - goal) < 1e-11 * np.linalg.norm(goal)


@pytest.mark.parametrize("scale", [0.1, 30.0])
def test_exponentials_of_large_and_small_maps(scale):
    matrix = normal((6, 6), "float64" if by_precision(1, 0) else "float32") * scale
    matrix = matrix - matrix.T if scale > 1 else matrix
    start = normal((6,), matrix.dtype, 1)
    found = flow(
        lambda x: jnp.asarray(matrix) @ x, jnp.asarray(start), jnp.asarray(0.5, matrix.dtype)
    )
    goal = scipy.linalg.expm(0.5 * matrix.astype(float)) @ start
    np.testing.assert_allclose(found, goal, atol=by_precision(1e-12, 1e-4) * np.linalg.norm(goal))


def test_what_does_not_fit_is_refused():
    start, tree = product("chain", UP)
    with pytest.raises(ValueError, match=r"the bonds of the network .* are no tree"):
        evolve(start, ISING, 0.1, 1)
    with pytest.raises(ValueError, match=r"`tree` .* are no tree that joins all 6 nodes"):
        evolve(start, ISING, 0.1, 1, tree=[*tree[:-1], (0, 2)])
    with pytest.raises(ValueError, match="acts on sites of the sizes"):
        evolve(start, transverse_ising([(0, 1)]), 0.1, 1, tree=tree)
    with pytest.raises(ValueError, match="those that it gives"):
        evolve(start, start, 0.1, 1, tree=tree)
    with pytest.raises(ValueError, match="expected a positive length"):
        evolve(start, ISING, -0.1, 1, tree=tree)
    with pytest.raises(ValueError, match="expected a tolerance of at least 0"):
        evolve(start, ISING, 0.1, 1, tolerance=-1.0, tree=tree)
