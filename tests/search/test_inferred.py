"""Graphs from the ranks of unfoldings, against brute force, SVD and planted networks."""

import itertools
import math

import jax
import numpy as np
import pytest

from tests.helpers import random_cores
from tnjax import (
    ALS,
    Decomposition,
    Greedy,
    Setup,
    Status,
    Structure,
    TensorNetwork,
    inferred_graphs,
    search,
)
from tnjax._search.greedy import infer as _infer
from tnjax._search.reduce.core import multiplied
from tnjax._search.spectra.cuts import telling_cuts
from tnjax._search.spectra.graphs import _MinCuts
from tnjax._search.spectra.unfoldings import Unfoldings
from tnjax._search.spectra.whitened import whitened

DIMS = (7, 8, 6, 7)
GRAPHS = {
    "train": Structure.tensor_train(DIMS, (2, 3, 2)),
    "ring": Structure.tensor_ring(DIMS, 2),
    "star": Structure.from_edges(DIMS, {(0, 1): 2, (1, 2): 2, (1, 3): 2}),
    "chord": Structure.from_edges(DIMS, {(0, 1): 2, (1, 2): 2, (2, 3): 3, (0, 3): 2, (0, 2): 2}),
    "two parts": Structure.from_edges(DIMS, {(0, 2): 3, (1, 3): 2}),
    "one bond": Structure.from_edges(DIMS, {(1, 3): 4}),
}
CUTS = [cut for size in (1, 2, 3) for cut in itertools.combinations(range(3), size)]


def planted(structure: Structure, dtype="float64", seed=0, uniform=False) -> np.ndarray:
    cores = random_cores(structure, dtype, seed)
    if uniform:
        rng = np.random.default_rng(seed)
        cores = [rng.random(np.shape(core)).astype(dtype) for core in cores]
    return np.asarray(TensorNetwork(structure, cores).to_dense())


def measured(tensor: np.ndarray) -> dict[tuple[int, ...], int]:
    order = tensor.ndim
    out = {}
    for size in range(1, order):
        for cut in itertools.combinations(range(order - 1), size):
            matrix = np.moveaxis(tensor, cut, range(size))
            matrix = matrix.reshape(math.prod(tensor.shape[k] for k in cut), -1)
            out[cut] = int(np.linalg.matrix_rank(matrix))
    return out


def smallest_cut(structure: Structure, cut: tuple[int, ...]) -> int:
    """Over all ways to place the nodes, by loops."""
    best = math.inf
    for sides in itertools.product((False, True), repeat=structure.num_nodes):
        cost = math.prod(
            rank for (a, b), rank in structure.edges.items() if sides[a] != sides[b]
        ) * math.prod(n for k, n in enumerate(structure.dims) if sides[k] != (k in cut))
        best = min(best, cost)
    return int(best)


@pytest.mark.parametrize("name", GRAPHS)
@pytest.mark.parametrize("seed", range(2))
def test_generic_cores_have_the_ranks_of_the_smallest_cuts(name, seed):
    ranks = measured(planted(GRAPHS[name], seed=seed))
    assert ranks == {cut: smallest_cut(GRAPHS[name], cut) for cut in CUTS}


@pytest.mark.parametrize("seed", range(4))
def test_the_cost_of_a_graph_and_of_all_changes_of_it(seed):
    rng = np.random.default_rng(seed)
    pairs = list(itertools.combinations(range(4), 2))
    ranks = {cut: int(rng.integers(1, 9)) for cut in CUTS}
    dims = tuple(rng.integers(2, 6, 4).tolist())
    counted = tuple(rng.integers(6, 9, 4).tolist())
    cuts = _MinCuts(ranks, dims, counted, [0, 1, 2, 3], True)

    def cost(numbers):
        structure = Structure.from_edges(dims, dict(zip(pairs, numbers, strict=True)))
        capacity = {cut: smallest_cut(structure, cut) for cut in CUTS}
        miss = sum(abs(math.log(capacity[cut] / ranks[cut])) for cut in CUTS)
        straight = {
            cut: math.prod(r for (a, b), r in structure.edges.items() if (a in cut) != (b in cut))
            for cut in CUTS
        }
        bent = sum(straight[cut] > capacity[cut] for cut in CUTS)
        params = Structure.from_edges(counted, dict(structure.edges)).num_params
        return round(miss, 5), bent, params

    numbers = rng.integers(1, 4, len(pairs)).tolist()
    graph = np.log(np.asarray(numbers, float))
    assert cuts.cost(graph) == pytest.approx(cost(numbers))
    best, changed = cuts.best_change(graph)
    others = [
        [*numbers[:k], rank, *numbers[k + 1 :]]
        for k in range(len(pairs))
        for rank in range(1, numbers[k] + 3)
        if rank != numbers[k]
    ]
    assert best == pytest.approx(min(map(cost, others)))
    assert cost(np.round(np.exp(changed)).astype(int).tolist()) == pytest.approx(best)


@pytest.mark.parametrize("name", GRAPHS)
@pytest.mark.parametrize("seed", range(2))
def test_the_planted_graph_is_named_first(name, seed):
    planted_graph = GRAPHS[name]
    graphs = inferred_graphs(
        measured(planted(planted_graph, seed=seed)), DIMS, key=jax.random.key(seed)
    )
    assert graphs[0] == planted_graph


def test_a_random_graph_whose_cores_are_larger_than_their_modes():
    """All nodes but one have bonds that multiply to more than their mode, so that no rank of one
    mode tells anything."""
    dims = (4,) * 6
    edges = {(0, 1): 2, (0, 2): 3, (1, 2): 2, (2, 3): 2, (3, 4): 3, (4, 5): 2, (3, 5): 2}
    structure = Structure.from_edges(dims, edges)
    graphs = inferred_graphs(measured(planted(structure)), dims)
    assert structure in graphs


def test_cuts_that_were_not_measured_are_left_open():
    """A ring of six modes from the cuts with at most two modes on a side: of the others nothing is
    known, so that they are not taken to be of rank one."""
    dims, structure = (5,) * 6, Structure.tensor_ring((5,) * 6, 2)
    ranks = measured(planted(structure))
    few = {cut: rank for cut, rank in ranks.items() if min(len(cut), 6 - len(cut)) <= 2}
    assert len(few) < len(ranks)
    assert inferred_graphs(few, dims, complete=False)[0] == structure
    assert structure not in inferred_graphs(few, dims)


def test_what_no_graph_of_pairs_explains_is_left_alone():
    assert inferred_graphs(measured(planted(Structure.cp(DIMS, 3))), DIMS) == ()
    assert inferred_graphs({}, DIMS) == ()  # rank one
    assert inferred_graphs(dict.fromkeys(((k,) for k in range(10)), 2), (4,) * 11) == ()  # too many
    with pytest.raises(ValueError, match=r"\(0, 3\) names no cut .* the side without mode 3"):
        inferred_graphs({(0, 3): 2}, DIMS)


@pytest.mark.parametrize("dtype", ["float64", "complex128"])
@pytest.mark.parametrize("seed", range(2))
def test_whitened_coordinates(dtype, seed):
    structure = Structure.tensor_ring((9, 8, 7, 6), 2)
    tensor = planted(structure, dtype, seed, uniform=dtype == "float64")
    inner, factors = whitened(tensor, 1e-8)
    assert inner.shape == (4, 4, 4, 4)
    assert np.linalg.norm(inner) == pytest.approx(1)
    back = np.einsum("abcd,ia,jb,kc,ld->ijkl", inner, *factors)
    assert np.linalg.norm(back - tensor) < 1e-7 * np.linalg.norm(tensor)
    for mode in range(4):
        rows = np.moveaxis(inner, mode, 0).reshape(4, -1)
        gram = rows @ rows.conj().T
        assert np.abs(gram - np.eye(4) / 4).max() < (1e-12 if mode == 3 else 0.05)
    cores = random_cores(Structure.tensor_ring(inner.shape, 2), dtype, seed)
    small = TensorNetwork(Structure.tensor_ring(inner.shape, 2), cores)
    large = multiplied(small, factors, structure.dims)
    expected = np.einsum("abcd,ia,jb,kc,ld->ijkl", np.asarray(small.to_dense()), *factors)
    np.testing.assert_allclose(np.asarray(large.to_dense()), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", ["ring", "chord", "star"])
@pytest.mark.parametrize("uniform", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_search_on_planted_data_fits_hardly_more_than_the_planted_graph(name, uniform, dtype):
    structure = GRAPHS[name]
    tensor = planted(structure, dtype, seed=3, uniform=uniform)
    result = search(Decomposition(tensor), key=jax.random.key(0), target_error=1e-3)
    assert result.status is Status.TARGET_REACHED
    assert result.num_params <= structure.num_params
    assert [step.move.kind for step in result.path][:2] == ["start", "infer"]
    dense = np.asarray(result.network.to_dense(), np.float64)
    error = np.linalg.norm(dense - tensor) / np.linalg.norm(tensor)
    assert error <= 1e-3
    assert result.error == pytest.approx(error, rel=1e-2, abs=1e-6)


def test_complex_data():
    tensor = planted(GRAPHS["ring"], "complex128")
    result = search(Decomposition(tensor), key=jax.random.key(0), target_error=1e-3)
    assert (result.num_params, result.path[1].move.kind) == (GRAPHS["ring"].num_params, "infer")


@pytest.mark.parametrize("error", [0.15, 0.1, 0.05])
def test_images_tell_no_ranks(error):
    """What a smooth spectrum leaves is not noise, nor are its ranks low down to rounding."""
    rng = np.random.default_rng(0)
    waves = np.fft.fft2(rng.standard_normal((64, 64)))
    waves /= 1 + np.hypot(*np.meshgrid(*[np.fft.fftfreq(64) * 64] * 2)) ** 1.2
    image = np.fft.ifft2(waves).real
    unfoldings = Unfoldings((image + 3 * image.std()).reshape((4,) * 6), error)
    cuts = telling_cuts((4,) * 6, 1e11)
    assert _infer.ranks_told(unfoldings, cuts, np.dtype(float)) is None


def test_noise():
    """Of data with noise only the ranks that stand out are told, and nothing is whitened."""
    tensor = planted(GRAPHS["ring"])
    noise = np.random.default_rng(0).standard_normal(tensor.shape)
    noisy = tensor + 0.05 * np.linalg.norm(tensor) / np.linalg.norm(noise) * noise
    unfoldings = Unfoldings(noisy, 0.051)
    told = _infer.ranks_told(unfoldings, CUTS, np.dtype(float))
    assert told == (measured(tensor), None)
    result = search(Decomposition(noisy), key=jax.random.key(0), target_error=0.051)
    assert result.num_params == GRAPHS["ring"].num_params
    assert [step.move.kind for step in result.path] == ["start", "infer"]


def test_where_it_does_not_apply(monkeypatch):
    called = []
    real = _infer.graphs_of
    monkeypatch.setattr(_infer, "graphs_of", lambda *a, **k: called.append(1) or real(*a, **k))
    tensor = planted(GRAPHS["ring"])
    key = jax.random.key(0)
    decay = 1 / np.arange(1.0, 13.0)  # singular values that fall off slowly
    slow = np.random.default_rng(0).standard_normal((12, 12, 12))
    slow *= decay[:, None, None] * decay[:, None] * decay
    assert search(Decomposition(slow), key=key, target_error=0.2).error <= 0.2
    assert not called
    options = (
        {"strategy": Greedy(infer=False)},
        {"setup": Setup(start=Structure.tensor_train(DIMS, 2))},
    )
    for option in (*options, {"strategy": Greedy(edges=((0, 1), (1, 2), (2, 3), (0, 3)))}):
        result = search(Decomposition(tensor), key=key, target_error=1e-3, **option)
        assert result.error <= 1e-3
        assert "infer" not in [step.move.kind for step in result.path]
    search(Decomposition(tensor), key=key, max_params=80)
    assert not called


def test_growth_follows_where_no_graph_fits(monkeypatch):
    """The path is that of a search that infers nothing."""
    tensor = planted(GRAPHS["ring"])
    wrong = lambda ranks, dims, **options: (Structure.tensor_train(dims, (2, 3, 2)),)
    monkeypatch.setattr(_infer, "graphs_of", wrong)
    monkeypatch.setattr(_infer, "admits", lambda *args: True)
    key = jax.random.key(0)
    result = search(Decomposition(tensor), key=key, target_error=1e-3)
    kinds = [step.move.kind for step in result.path]
    assert kinds[:2] == ["start", "grow"]
    assert "infer" not in kinds
    assert result.num_params == GRAPHS["ring"].num_params
    assert result.fitted > len(result.path)  # those that failed are counted


def test_the_number_of_fits_is_respected():
    tensor = planted(GRAPHS["ring"])
    few = search(Decomposition(tensor), key=jax.random.key(0), target_error=1e-3, max_fitted=1)
    assert (few.status, few.fitted) == (Status.MAX_FITTED, 1)
    two = search(Decomposition(tensor), key=jax.random.key(0), target_error=1e-3, max_fitted=2)
    assert (two.status, two.fitted) == (Status.TARGET_REACHED, 2)


def test_growth_frees_a_fit_that_is_stuck(monkeypatch):
    """One sweep is too few; where the cuts say that the structure will do, better steps follow
    before a bond grows."""
    monkeypatch.setattr(_infer, "graphs_of", lambda *args, **options: ())
    problem = Decomposition(planted(GRAPHS["ring"], seed=1, uniform=True))
    strategy = Greedy(solver=ALS(max_steps=1))
    result = search(problem, key=jax.random.key(0), target_error=1e-4, strategy=strategy)
    kinds = [step.move.kind for step in result.path]
    assert "refit" in kinds
    before, after = result.path[kinds.index("refit") - 1 : kinds.index("refit") + 1]
    assert before.structure == after.structure
    assert before.error > 1e-4 >= after.error
    assert result.num_params == GRAPHS["ring"].num_params


def test_of_graphs_as_close_to_the_ranks_the_smaller_one_is_taken():
    """The first inference with this key finds another one first, of 448 parameters."""
    edges = {(0, 1): 5, (1, 2): 2, (2, 3): 5, (1, 4): 2, (2, 4): 2}
    structure = Structure.from_edges((7,) * 5, edges)
    rng = np.random.default_rng(6)
    cores = [rng.standard_normal(structure.core_shape(k)) for k in range(5)]
    tensor = np.asarray(TensorNetwork(structure, cores).to_dense())
    result = search(Decomposition(tensor), key=jax.random.key(6), target_error=1e-3)
    assert result.structure == structure
    assert [step.move.kind for step in result.path] == ["start", "infer"]


@pytest.mark.parametrize("size", [4, 6])
@pytest.mark.parametrize("seed", range(4))
def test_small_triangles_are_found_at_small_errors(size, seed):
    """Sweeps creep towards them, which left 64 or 144 parameters at 1e-8 in five of eight cases."""
    triangle = Structure.tensor_ring((size,) * 3, 2)
    truth = TensorNetwork.random(triangle, key=jax.random.key(seed))
    result = search(Decomposition(truth.to_dense()), key=jax.random.key(0), target_error=1e-8)
    assert result.status is Status.TARGET_REACHED
    assert result.num_params == triangle.num_params
    assert np.linalg.norm(result.network.to_dense() - truth.to_dense()) <= 1e-8 * truth.norm()
