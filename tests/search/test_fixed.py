"""Fixed formats, ranks chosen from spectra, rings by SVD, and trees: oracles in NumPy, TensorLy
and brute force."""

import itertools
import math

import jax
import numpy as np
import pytest
import tensorly
from tensorly.decomposition import parafac

from tests.helpers import normal
from tnjax import (
    Decomposition,
    FixedFormat,
    Objective,
    Status,
    Structure,
    TensorNetwork,
    TreeSearch,
    relative_error,
    search,
)
from tnjax._search.spectra.ranks import ranks_for_budget, ranks_for_error
from tnjax._search.spectra.ring import ring_structures, ring_svd
from tnjax._search.spectra.tree_svd import Tree, decompose
from tnjax._search.spectra.trees import best_trees
from tnjax._search.spectra.unfoldings import Unfoldings
from tnjax._search.strategies.fixed import FORMATS

KEY = jax.random.key(0)
SHAPE = (4, 3, 4, 3)


def smooth(shape=SHAPE) -> np.ndarray:
    grid = np.meshgrid(*(np.linspace(0, 1, n) for n in shape), indexing="ij")
    return 1 / (0.3 + sum(grid)) + 0.05 * normal(shape)


def planted(structure: Structure, seed=0) -> np.ndarray:
    cores = [normal(structure.core_shape(k), seed=(seed, k)) for k in range(structure.num_nodes)]
    return np.asarray(TensorNetwork(structure, cores).to_dense())


# Ranks --------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [Structure.tucker, Structure.tensor_train])
@pytest.mark.parametrize("error", [0.3, 0.1])
def test_ranks_for_an_error_against_all_ranks(make, error):
    tensor = smooth((4, 3, 4))
    tree, unfoldings = Tree.of(make(tensor.shape, 2)), Unfoldings(tensor, error)
    tails = {edge: unfoldings.spectrum(cut).tails for edge, cut in tree.cuts.items()}
    most = tree.largest_ranks()
    best = math.inf
    for ranks in itertools.product(*(range(1, most[edge] + 1) for edge in tree.edges)):
        chosen = dict(zip(tree.edges, ranks, strict=True))
        if sum(tails[edge][rank] for edge, rank in chosen.items()) <= error**2:
            best = min(best, tree.num_params(chosen))
    ranks = ranks_for_error(tree, unfoldings, error)
    assert tree.num_params(ranks) == best
    assert float(relative_error(decompose(tensor, tree, ranks=ranks), tensor)) <= error


@pytest.mark.parametrize("budget", [20, 60, 90])
def test_core_shapes_within_a_budget_against_all_shapes(budget):
    """The surrogate of Ghadiri et al.: the sum of what every mode drops."""
    tensor = smooth((4, 5, 4))
    tree, unfoldings = Tree.of(Structure.tucker(tensor.shape, 2)), Unfoldings(tensor)
    tails = {edge: unfoldings.spectrum(cut).tails for edge, cut in tree.cuts.items()}
    best = math.inf
    for shape in itertools.product(*(range(1, n + 1) for n in tensor.shape)):
        chosen = dict(zip(tree.edges, shape, strict=True))
        if tree.num_params(chosen) <= budget:
            best = min(best, sum(tails[edge][rank] for edge, rank in chosen.items()))
    ranks = ranks_for_budget(tree, unfoldings, budget)
    assert ranks is not None
    assert tree.num_params(ranks) <= budget
    assert sum(tails[edge][rank] for edge, rank in ranks.items()) == pytest.approx(best, rel=1e-3)
    assert ranks_for_budget(tree, unfoldings, 5) is None


def test_parameters_can_be_counted_with_other_sizes():
    """Of two modes that need a rank each, the one that is large outside gets less."""
    tensor = smooth((4, 4, 4))
    tree, unfoldings = Tree.of(Structure.tucker(tensor.shape, 2)), Unfoldings(tensor)
    equal = ranks_for_budget(tree, unfoldings, 70)
    skewed = ranks_for_budget(tree, unfoldings, 200, dims=(100, 4, 4))
    assert equal is not None
    assert skewed is not None
    assert skewed[0, 3] < max(skewed.values())


# Rings and trees ------------------------------------------------------------------------------


@pytest.mark.parametrize("ranks", [(2, 2, 2), (2, 3, 1), (1, 2, 3), (3, 1, 2)])
def test_rings_of_three_by_svd(ranks):
    structure = Structure.tensor_ring((6, 4, 6), ranks)
    tensor = planted(structure)
    for found in ring_structures(tensor, 1e-8):
        network = TensorNetwork(found, ring_svd(tensor, found))
        assert float(relative_error(network, tensor)) < 1e-7


def test_rings_stay_within_the_error():
    tensor = smooth((4, 4, 3, 4))
    for error in (0.3, 0.05):
        for found in ring_structures(tensor, error):
            network = TensorNetwork(found, ring_svd(tensor, found))
            assert float(relative_error(network, tensor)) <= error
    assert found.rank((0, 3)) > 1
    smaller = Structure.tensor_ring((4, 4, 3, 4), 2)
    assert ring_svd(tensor, smaller)[3].shape == smaller.core_shape(3)


def test_the_best_tree_is_found():
    """Modes 0 and 3 belong together, and so do 1 and 2: 32 + 12 + 10 parameters and less."""
    left, right = normal((4, 3, 2)), normal((4, 3, 2), seed=1)
    tensor = np.einsum("adx,bcx->abcd", left, right)
    (best, *_) = best_trees(Unfoldings(tensor, 1e-6), 1e-6, count=3)
    everywhere = [
        Structure.tensor_train(SHAPE, ranks) for ranks in itertools.product((2, 3, 4, 6), repeat=3)
    ]
    assert best.num_params == 2 * (12 + 12)
    assert set(best.tree.legs) == {(0, 3), (1, 2)}
    assert all(best.num_params <= s.num_params for s in everywhere if s.rank((1, 2)) >= 4)


def test_a_planted_tree_with_an_internal_node():
    structure = Structure.tucker((9, 9, 9), 3)
    (best, *_) = best_trees(Unfoldings(planted(structure), 1e-6), 1e-6, count=1)
    assert best.num_params == structure.num_params
    assert best.tree.structure(best.ranks).canonical() == structure.canonical()


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_of_many_modes_digits_of_the_same_weight_may_belong_together(axes):
    """A product of tensors of the digits of equal weight, on each of so many axes: a train would
    have to carry all of them."""
    digits = 9 // axes
    tensor = np.ones(())
    for n in range(digits):
        tensor = np.multiply.outer(tensor, normal((2,) * axes, seed=n))
    for n in range(axes * digits, 9):
        tensor = np.multiply.outer(tensor, normal((2,), seed=n))
    rest = range(axes * digits, 9)
    order = [n * axes + axis for axis in range(axes) for n in range(digits)] + list(rest)
    tensor = tensor.transpose(order)
    (best, *_) = best_trees(Unfoldings(tensor, 1e-6), 1e-6, count=1)
    assert best.num_params <= digits * 2**axes + 2 * len(rest)


# Strategies -----------------------------------------------------------------------------------


@pytest.mark.parametrize("format", FORMATS)
def test_every_format_reaches_the_error(format):
    tensor = smooth()
    result = search(Decomposition(tensor), key=KEY, strategy=FixedFormat(format), target_error=0.05)
    assert result.status is Status.TARGET_REACHED
    assert float(relative_error(result.network, tensor)) <= 0.05
    kinds = {
        "tt": lambda s: s.num_nodes == 4 and len(s.edges) <= 3,
        "tr": lambda s: s.num_nodes == 4 and len(s.edges) <= 4,
        "tucker": lambda s: s.num_nodes == 5 and all(4 in edge for edge in s.edges),
        "ht": lambda s: s.num_nodes == 6,
        "cp": lambda s: set(s.edges) <= {(0, 1, 2, 3)},
        "svd": lambda s: s.num_nodes == 2,
    }
    assert kinds[format](result.structure)


@pytest.mark.parametrize("format", ["tucker", "tr", "svd"])
def test_a_parameter_budget_is_used(format):
    tensor = smooth()
    result = search(Decomposition(tensor), key=KEY, strategy=FixedFormat(format), max_params=75)
    assert result.num_params <= 75
    assert result.status is Status.MAX_PARAMS
    assert result.error < result.path[0].error


def test_the_truncated_svd_is_the_best_of_all_unfoldings():
    tensor = smooth()
    result = search(Decomposition(tensor), key=KEY, strategy=FixedFormat("svd"), target_error=0.1)
    best = math.inf
    for size in (1, 2):
        for side in itertools.combinations(range(4), size):
            rest = [m for m in range(4) if m not in side]
            rows = math.prod(SHAPE[m] for m in side)
            matrix = tensor.transpose(*side, *rest).reshape(rows, -1)
            s = np.linalg.svd(matrix, compute_uv=False)
            tails = np.sqrt(np.cumsum(s[::-1] ** 2)[::-1]) / np.linalg.norm(s)
            rank = int(np.flatnonzero(np.append(tails, 0) <= 0.1)[0])
            best = min(best, rank * sum(matrix.shape))
    assert result.num_params == best


def test_cp_needs_no_more_terms_than_tensorly():
    tensor = planted(Structure.cp((4, 4, 4), 3))
    result = search(Decomposition(tensor), key=KEY, strategy=FixedFormat("cp"), target_error=1e-3)
    oracle = parafac(tensor, 3, n_iter_max=200, random_state=0, init="random")
    oracle_error = np.linalg.norm(tensorly.cp_to_tensor(oracle) - tensor) / np.linalg.norm(tensor)
    assert oracle_error < 0.05
    assert result.structure == Structure.cp((4, 4, 4), 3)


def test_formats_of_other_problems_have_equal_ranks():
    tensor = jax.numpy.asarray(planted(Structure.tensor_train((3, 3, 3), 2)))
    loss = Objective(lambda x, data: jax.numpy.sum((x - data) ** 2), (3, 3, 3), data=tensor)
    result = search(loss, key=KEY, strategy=FixedFormat("tt", trim=False), target_error=1e-3)
    assert result.structure == Structure.tensor_train((3, 3, 3), 2)


def test_trees_are_never_larger_than_the_formats():
    tensor = smooth()
    tree = search(Decomposition(tensor), key=KEY, strategy=TreeSearch(), target_error=0.05)
    assert float(relative_error(tree.network, tensor)) <= 0.05
    svd = search(Decomposition(tensor), key=KEY, strategy=FixedFormat("svd"), target_error=0.05)
    assert tree.num_params <= svd.num_params
    small = search(Decomposition(tensor), key=KEY, strategy=TreeSearch(count=1), max_params=60)
    assert small.num_params <= 60
    assert small.error < small.path[0].error


def test_bad_input():
    with pytest.raises(ValueError, match="unknown format 'mps'"):
        FixedFormat("mps")
    with pytest.raises(ValueError, match="positive integer"):
        TreeSearch(count=0)
    problem = Objective(lambda x: x.sum(), (2, 2, 2))
    with pytest.raises(ValueError, match="needs a Decomposition"):
        search(problem, key=KEY, strategy=TreeSearch(), target_error=0.1)
    with pytest.raises(ValueError, match="give target_error or max_params"):
        search(Decomposition(smooth()), key=KEY, strategy=FixedFormat("tt"), max_steps=3)


# Ranks that are given ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("format", "ranks", "structure"),
    [
        ("tt", (2, 3, 2), Structure.tensor_train(SHAPE, (2, 3, 2))),
        ("tt", 50, Structure.tensor_train(SHAPE, (4, 12, 3))),
        ("tr", (2, 1, 3, 2), Structure.tensor_ring(SHAPE, (2, 1, 3, 2))),
        ("tucker", (2, 3, 2, 2), Structure.tucker(SHAPE, (2, 3, 2, 2))),
        ("ht", 2, Structure.hierarchical_tucker(SHAPE, 2)),
        ("cp", 3, Structure.cp(SHAPE, 3)),
        ("cp", (3,), Structure.cp(SHAPE, 3)),
    ],
)
def test_ranks_that_are_given_are_fitted_as_they_are(format, ranks, structure):
    strategy = FixedFormat(format, ranks=ranks)
    found = search(Decomposition(smooth()), key=KEY, strategy=strategy, max_steps=1)
    assert found.structure == structure
    if format == "cp":  # its starts are random
        assert 1 <= found.fitted <= 8
    else:
        assert found.fitted == 1
    np.testing.assert_allclose(
        found.error, relative_error(found.network, smooth()), rtol=1e-6, atol=1e-12
    )
    if format == "tt":  # no worse than the truncated SVDs that the fit began with
        tree = Tree.of(structure)
        svd = decompose(smooth(), tree, ranks={e: structure.rank(e) for e in tree.edges})
        assert found.error <= float(relative_error(svd, smooth())) + 1e-12


def test_given_ranks_are_fitted_from_several_starts_where_one_ends_at_a_saddle():
    """Ones at two corners: most random starts end with one of the two terms, error 0.7071."""
    corners = np.zeros((2,) * 8)
    corners[(0,) * 8] = corners[(1,) * 8] = 1
    for seed in range(4):
        found = search(
            Decomposition(corners),
            key=jax.random.key(seed),
            strategy=FixedFormat("cp", ranks=2),
            max_steps=1,
        )
        assert found.error < 1e-6
        assert found.num_params == 32
        assert 1 <= found.fitted <= 8


def test_the_target_only_decides_on_the_status_of_given_ranks():
    for target, status in ((0.9, Status.TARGET_REACHED), (1e-9, Status.STAGNATED)):
        strategy = FixedFormat("tt", ranks=2)
        found = search(Decomposition(smooth()), key=KEY, strategy=strategy, target_error=target)
        assert found.structure == Structure.tensor_train(SHAPE, 2)
        assert found.status is status


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"format": "tt", "ranks": (2, 2)}, "expected 3 ranks"),
        ({"format": "cp", "ranks": (2, 2)}, "cp has one rank"),
        ({"format": "tt", "ranks": 0}, "1 or more"),
        ({"format": "tt", "ranks": (2, 2, 2), "max_params": 20}, "parameter"),
    ],
)
def test_ranks_that_cannot_be_meant_are_refused(options, word):
    limits = {"max_params": options.pop("max_params", 10**6)}
    with pytest.raises(ValueError, match=word):
        search(Decomposition(smooth()), key=KEY, strategy=FixedFormat(**options), **limits)
