"""Growth candidates: the additive identity, screening all at once and one by one."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tnjax import Decomposition, Objective, Spectral, Structure, TensorNetwork, Trial
from tnjax._search.fitting.capacity import plan_capacity
from tnjax._search.screening.candidates import balanced_slices, draw_slices, slice_position
from tnjax.moves.cores import grow, pad, shrink, unpad

CP_PLUS = Structure.from_edges((3, 4, 3, 2), {(0, 1, 2): 2, (1, 3): 2, (0, 3): 2, (2, 4): 2})
RING = Structure.tensor_ring((4, 3, 4, 3), (2, 3, 2, 2))


def random_cores(structure, seed, dtype=np.float64):
    rng = np.random.default_rng(seed)
    cores = [rng.standard_normal(structure.core_shape(k)) for k in range(structure.num_nodes)]
    if np.issubdtype(dtype, np.complexfloating):
        cores = [core + 1j * rng.standard_normal(core.shape) for core in cores]
    return tuple(core.astype(dtype) for core in cores)


def candidates(structure):
    pairs = itertools.combinations(range(structure.num_nodes), 2)
    return (*pairs, *(edge for edge in structure.edges if len(edge) > 2))


def residual_problem(structure, seed, dtype=np.float64):
    rng = np.random.default_rng(seed)
    tensor = rng.standard_normal(structure.dims)
    if np.issubdtype(dtype, np.complexfloating):
        tensor = tensor + 1j * rng.standard_normal(structure.dims)
    return Decomposition(tensor.astype(dtype))


def chosen_term(structure, capacity, screened, edges, edge):
    position = edges.index(edge)
    terms = []
    for slices in screened.slices:
        where = [slice_position(structure, capacity, k, edge) for k in edge]
        parts = [np.asarray(slices[k][position])[w] for k, w in zip(edge, where, strict=True)]
        terms.append(balanced_slices(parts))
    return terms


SCREENS = {
    "spectral": Spectral(),
    "trial": Trial(),
    "trial-adam": Trial(steps=3, transformation=optax.adam(1e-2)),
}


@pytest.mark.parametrize("structure", [RING, CP_PLUS], ids=["ring", "hyperedge"])
@pytest.mark.parametrize("screen", SCREENS.values(), ids=SCREENS)
def test_all_candidates_together_equal_one_by_one(structure, screen):
    problem = residual_problem(structure, 0)
    network = TensorNetwork(structure, random_cores(structure, 1))
    edges = candidates(structure)
    seed = [3]

    def evaluate(edges, **options):
        starts = draw_slices(structure, structure, edges, np.float64, seed, increment=1)
        run = jax.jit(lambda p, n, s: screen(p, n, edges, s, **options))
        return run(problem, network, starts)

    together = evaluate(edges)
    chunked = evaluate(edges, batch_size=2)
    np.testing.assert_allclose(chunked.gain, together.gain, rtol=1e-10)
    for c in range(0, len(edges), 3):
        alone = evaluate((edges[c],))
        np.testing.assert_allclose(together.gain[c], alone.gain[0], rtol=1e-10)
        for node in edges[c]:
            np.testing.assert_allclose(
                together.slices[0][node][c], alone.slices[0][node][0], rtol=1e-7, atol=1e-10
            )


@pytest.mark.parametrize("dtype", [np.float64, np.complex128, np.float32])
@pytest.mark.parametrize("increment", [1, 2])
def test_growing_by_the_slices_lowers_the_loss_by_the_gain(dtype, increment):
    structure = CP_PLUS
    capacity = structure.grow((1, 3), 2)  # room that the screen must not use
    problem = residual_problem(structure, 0, dtype)
    cores = random_cores(structure, 1, dtype)
    scale = 0.1 / np.sqrt(structure.num_params)
    cores = tuple((core * scale).astype(dtype) for core in cores)
    edges = candidates(structure)
    starts = draw_slices(structure, capacity, edges, dtype, [3], increment=increment)
    old = TensorNetwork(capacity, pad(structure, cores, capacity))
    screened = jax.jit(lambda p, n, s: Spectral()(p, n, edges, s))(problem, old, starts)
    before = float(problem.loss(old))
    tolerance = 2e-4 if dtype == np.float32 else 1e-8
    for edge in ((0, 1), (1, 3), (0, 1, 2), (3, 4)):
        terms = chosen_term(structure, capacity, screened, edges, edge)
        new, new_cores = grow(structure, cores, edge, terms)
        after = float(problem.loss(TensorNetwork(new, new_cores)))
        gain = float(screened.gain[edges.index(edge)])
        assert gain > 0
        assert abs(before - after - gain) <= tolerance * before


def test_slices_of_a_higher_precision_leave_the_network_in_its_own():
    structure = Structure.tensor_train((3, 4, 3), (2, 2))
    cores = random_cores(structure, 1, np.float32)
    for edge in ((0, 1), (0, 2)):
        shapes = [structure.core_shape(node) for node in edge]
        if edge in structure.edges:
            axes = [structure.axis(node, edge) for node in edge]
            shapes = [s[:a] + s[a + 1 :] for s, a in zip(shapes, axes, strict=True)]
        _, grown = grow(structure, cores, edge, [[np.ones(shape) for shape in shapes]])
        assert {core.dtype for core in grown} == {np.dtype(np.float32)}


def test_the_gain_of_a_pair_is_its_best_two_node_fit():
    """Oracle: NumPy alternating least squares on the environment, many random starts."""
    structure = Structure.tensor_train((3, 4, 3), (2, 2))
    problem = residual_problem(structure, 5)
    cores = random_cores(structure, 6)
    network = TensorNetwork(structure, cores)
    edges = candidates(structure)
    starts = draw_slices(structure, structure, edges, np.float64, [0], increment=1)
    screened = jax.jit(lambda p, n, s: Spectral(sweeps=50)(p, n, edges, s))(
        problem, network, starts
    )
    residual = np.asarray(problem.residual(network))
    # edge (0, 2): delta[a, b, c] = sum_{r, s} u[a, r] core1[b, r, s] v[c, s]
    middle, best = np.asarray(cores[1]), 0.0
    for seed in range(20):
        v = np.random.default_rng(seed).standard_normal((3, 2))
        for _ in range(200):
            basis = np.einsum("brs,cs->bcr", middle, v).reshape(-1, 2)
            u = np.linalg.lstsq(basis, residual.reshape(3, -1).T, rcond=None)[0].T
            basis = np.einsum("ar,brs->abs", u, middle).reshape(-1, 2)
            v = np.linalg.lstsq(basis, residual.reshape(-1, 3), rcond=None)[0].T
        fitted = np.einsum("ar,brs,cs->abc", u, middle, v)
        best = max(best, float((residual**2).sum() - ((residual - fitted) ** 2).sum()))
    gain = float(screened.gain[edges.index((0, 2))])
    assert gain <= best * (1 + 1e-6)
    assert gain >= best * 0.95


def test_any_loss_is_screened_by_its_derivatives():
    structure = RING
    truth = np.random.default_rng(0).standard_normal(structure.dims)
    data = jnp.asarray(truth / np.linalg.norm(truth))
    square = Objective(lambda x, y: jnp.sum((x - y) ** 2), structure.dims, data=data)
    network = TensorNetwork(structure, [0.3 * core for core in random_cores(structure, 1)])
    edges = candidates(structure)
    starts = draw_slices(structure, structure, edges, np.float64, [3], increment=1)
    screen = jax.jit(lambda p, n, s: Spectral()(p, n, edges, s))
    found = screen(square, network, starts)
    before = float(square.loss(network))
    for edge in ((0, 1), (0, 2)):
        term = chosen_term(structure, structure, found, edges, edge)
        new, cores = grow(structure, tuple(map(np.asarray, network.cores)), edge, term)
        after = float(square.loss(TensorNetwork(new, cores)))
        np.testing.assert_allclose(before - after, found.gain[edges.index(edge)], rtol=1e-8)
    of_network = Objective(
        lambda net, y: jnp.sum((net.to_dense() - y) ** 2), structure.dims, of="network", data=data
    )
    np.testing.assert_allclose(screen(of_network, network, starts).gain, found.gain, rtol=1e-8)


@pytest.mark.parametrize("structure", [RING, CP_PLUS], ids=["ring", "hyperedge"])
def test_padding_keeps_the_tensor_and_can_be_undone(structure):
    cores = random_cores(structure, 0)
    capacity = structure
    for edge in (*structure.edges, (0, 2)):
        capacity = capacity.grow(edge, 2)
    padded = pad(structure, cores, capacity)
    np.testing.assert_allclose(
        TensorNetwork(capacity, padded).to_dense(),
        TensorNetwork(structure, cores).to_dense(),
        rtol=1e-12,
    )
    for a, b in zip(unpad(structure, padded, capacity), cores, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("dtype", [np.float64, np.complex128])
def test_shrinking_a_matrix_is_its_truncated_svd(dtype):
    structure = Structure.tensor_train((5, 6), 4)
    cores = random_cores(structure, 0, dtype)
    matrix = np.asarray(TensorNetwork(structure, cores).to_dense())
    smaller, cut = shrink(structure, cores, (0, 1))
    assert smaller.rank((0, 1)) == 3
    u, s, v = np.linalg.svd(matrix)
    best = (u[:, :3] * s[:3]) @ v[:3]
    np.testing.assert_allclose(TensorNetwork(smaller, cut).to_dense(), best, atol=1e-10)


def test_shrinking_to_rank_one_removes_the_bond_and_a_hyperedge_loses_its_weakest_term():
    structure = Structure.cp((3, 4, 5), 2)
    cores = random_cores(structure, 0)
    for core in cores:
        core[:, 1] *= 1e-3
    smaller, cut = shrink(structure, cores, (0, 1, 2))
    assert smaller == Structure.rank_one((3, 4, 5))
    strong = np.einsum("a,b,c->abc", *(core[:, 0] for core in cores))
    np.testing.assert_allclose(TensorNetwork(smaller, cut).to_dense(), strong, rtol=1e-12)


def test_capacity_has_room_where_it_is_cheap_and_is_kept_while_it_suffices():
    needed = Structure.rank_one((16, 18, 20, 22)).grow((0, 1))
    ranked = list(itertools.combinations(range(4), 2))
    capacity = plan_capacity(needed, None, ranked, None)
    assert all(capacity.rank(edge) >= needed.rank(edge) for edge in ranked)
    assert len(capacity.edges) > 1
    grown = needed.grow((0, 1))
    assert capacity.rank((0, 1)) >= 3
    assert plan_capacity(grown, capacity, ranked, None) is capacity
    bounded = plan_capacity(needed, None, ranked, 2)
    assert max(bounded.ranks) == 2
    large = Structure.fully_connected((4,) * 8, 2)
    costly = plan_capacity(large, None, list(large.edges), None)
    assert costly.num_params < 4 * large.num_params
