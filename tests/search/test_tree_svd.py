"""TT-SVD, HOSVD and their relatives against TensorLy and the theorems on their errors."""

import numpy as np
import pytest
import tensorly
from tensorly.decomposition import tensor_train, tucker

import tnjax
from tests.helpers import normal
from tnjax import Structure, tree_svd
from tnjax._search.spectra.tree_svd import Tree

SHAPE = (4, 3, 4, 3)
TREES = {
    "train": Structure.tensor_train(SHAPE, 2),
    "tucker": Structure.tucker(SHAPE, 2),
    "hierarchical": Structure.hierarchical_tucker(SHAPE, 2),
    "matrix": Structure(SHAPE, ((0, 2), (1, 3)), {(0, 1): 5}),
    "merged": Structure(SHAPE, ((1,), (0, 2), (3,)), {(0, 1): 2, (1, 2): 2}),
    "forest": Structure.from_edges(SHAPE, {(0, 1): 2, (2, 3): 2}),
}


def smooth(shape, dtype="float64") -> np.ndarray:
    """A tensor whose unfoldings decay."""
    grid = np.meshgrid(*(np.linspace(0, 1, n) for n in shape), indexing="ij")
    tensor = 1 / (1 + sum(grid)) + 0.02 * normal(shape)
    return tensor.astype(dtype) + (1j * grid[0] if np.issubdtype(dtype, np.complexfloating) else 0)


def error_of(network, tensor) -> float:
    return float(np.linalg.norm(np.asarray(network.to_dense()) - tensor) / np.linalg.norm(tensor))


@pytest.mark.parametrize("name", TREES)
@pytest.mark.parametrize("dtype", ["float32", "complex64"])
def test_the_error_stays_within_what_was_asked(name, dtype):
    tensor = smooth(SHAPE, dtype).astype(dtype)
    sizes = []
    for error in (0.3, 0.05, 0.01):
        network = tree_svd(tensor, TREES[name], error)
        assert error_of(network, tensor) <= error
        assert network.dtype == tensor.dtype
        sizes.append(network.num_params)
    assert sizes == sorted(sizes)
    exact = tree_svd(tensor, TREES[name], 0.0)
    assert error_of(exact, tensor) < 1e-6


@pytest.mark.parametrize("name", TREES)
def test_the_error_is_at_most_the_sum_of_the_tails(name):
    """Squared, over all bonds: the quasi-optimality of hierarchical truncation."""
    tensor, structure = normal(SHAPE), TREES[name]
    tree = Tree.of(structure)
    network = tree_svd(tensor, structure)
    total = 0.0
    for edge, cut in tree.cuts.items():
        rest = [m for m in range(4) if m not in cut]
        rows = int(np.prod([SHAPE[m] for m in cut]))
        s = np.linalg.svd(tensor.transpose(*cut, *rest).reshape(rows, -1), compute_uv=False)
        total += (s[structure.rank(edge) :] ** 2).sum() / np.linalg.norm(tensor) ** 2
    assert error_of(network, tensor) <= np.sqrt(total) + 1e-6
    if len(tree.edges) == 1:
        assert error_of(network, tensor) == pytest.approx(np.sqrt(total), abs=1e-6)


def test_train_like_tensorly():
    tensor = normal(SHAPE)
    oracle = tensorly.tt_to_tensor(tensor_train(tensor, [1, 3, 4, 2, 1]))
    network = tree_svd(tensor, Structure.tensor_train(SHAPE, (3, 4, 2)))
    # The sweep goes the other way, so that the errors agree and the tensors need not.
    assert error_of(network, tensor) == pytest.approx(
        np.linalg.norm(oracle - tensor) / np.linalg.norm(tensor), rel=0.1
    )


def test_tucker_like_tensorly():
    tensor = normal(SHAPE)
    (core, factors) = tucker(tensor, [3, 2, 3, 2], n_iter_max=1, init="svd")
    oracle = tensorly.tucker_to_tensor((core, factors))
    network = tree_svd(tensor, Structure.tucker(SHAPE, (3, 2, 3, 2)))
    assert error_of(network, tensor) == pytest.approx(
        np.linalg.norm(oracle - tensor) / np.linalg.norm(tensor), rel=0.05
    )


def test_ranks_are_those_of_a_planted_tree():
    planted = Structure.hierarchical_tucker((5, 4, 5, 4), (2, 3, 2, 2, 3))
    cores = [normal(planted.core_shape(k), seed=k) for k in range(planted.num_nodes)]
    tensor = np.asarray(tnjax.TensorNetwork(planted, cores).to_dense(), np.float64)
    assert tnjax.hierarchical_tucker_svd(tensor, 1e-4).structure == planted


def test_trees_only():
    with pytest.raises(ValueError, match="Expected a tree"):
        tree_svd(normal((3, 3, 3)), Structure.tensor_ring((3, 3, 3), 2))
    with pytest.raises(ValueError, match="Expected a tree"):
        tree_svd(normal((3, 3, 3)), Structure.cp((3, 3, 3), 2))
    with pytest.raises(ValueError, match="shape"):
        tree_svd(normal((3, 3, 3)), Structure.rank_one((3, 3)))
    with pytest.raises(ValueError, match="relative error"):
        tnjax.tucker_svd(normal((3, 3)), -0.1)
