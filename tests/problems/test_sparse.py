"""Sparse tensors against the same tensors made dense, and one that nobody can make dense."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tnjax import Decomposition, Structure, TensorNetwork, fit, search
from tnjax.problems import SparseDecomposition

SHAPE = (4, 3, 5)
NETWORKS = {
    "ring": Structure.tensor_ring(SHAPE, 2),
    "cp": Structure.cp(SHAPE, 3),
    "tucker": Structure.tucker(SHAPE, 2),
}


def both(dtype="float64", seed=0):
    """A problem of some entries, and that of the tensor with zeros elsewhere."""
    rng = np.random.default_rng(seed)
    where = np.argwhere(rng.random(SHAPE) < 0.4)
    values = rng.standard_normal(len(where)).astype(dtype)
    if dtype == "complex128":
        values = values + 1j * rng.standard_normal(len(where))
    tensor = np.zeros(SHAPE, dtype)
    tensor[tuple(where.T)] = values
    return SparseDecomposition(where, values, SHAPE), Decomposition(tensor)


@pytest.mark.parametrize(
    ("name", "dtype"), [("ring", "complex128"), ("cp", "float64"), ("tucker", "float64")]
)
def test_all_that_solvers_and_screens_ask_for_is_as_of_the_dense_tensor(name, dtype):
    sparse, dense = both(dtype)
    draw = lambda n: TensorNetwork.random(NETWORKS[name], key=jax.random.key(n), dtype=dtype)
    networks = draw(0), draw(1), draw(2)
    np.testing.assert_allclose(sparse.scale, dense.scale)
    ours, theirs = (jax.jit(asked)(problem, *networks) for problem in (sparse, dense))
    assert jax.tree.structure(ours) == jax.tree.structure(theirs)
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)


def asked(problem, network, delta, other):
    """All that solvers and screens ask a problem for."""
    first = problem.linearize(network)
    points = [first, problem.shifted(first, other)]
    nodes = range(network.structure.num_nodes)
    blocks, product = problem.normal_operator(network)
    return {
        "loss": problem.loss(network),
        "error": problem.error(network),
        **{
            value: [getattr(problem, value)(point, delta) for point in points]
            for value in ("perturbed_loss", "slope", "curvature")
        },
        "at a point": [problem.normal_equations(delta, n, p) for n in nodes for p in points],
        "here": [
            problem.normal_equations(network, n, layers=problem.layers(network)) for n in nodes
        ],
        "operator": (blocks, product(delta).cores),
    }


def test_it_is_fitted_and_searched_like_the_dense_tensor():
    sparse, dense = both()
    start = TensorNetwork.random(NETWORKS["ring"], key=jax.random.key(0))
    found, expected = (fit(problem, start, max_steps=5) for problem in (sparse, dense))
    np.testing.assert_allclose(found.error, expected.error, rtol=1e-8)
    result = search(sparse, key=jax.random.key(0), target_error=0.4)
    again = float(dense.error(result.network / dense.scale))
    assert again <= 0.4
    np.testing.assert_allclose(result.error, again, rtol=1e-6)


def test_a_tensor_that_nobody_can_make_dense():
    rng = np.random.default_rng(0)
    shape, support = (10_000, 10_000, 10_000), 12
    places = [[rng.choice(size, support, replace=False) for size in shape] for _ in range(2)]
    weights = [[1 + rng.random(support) for _ in shape] for _ in range(2)]
    indices, values = [], []
    for place, weight in zip(places, weights, strict=True):
        grid = np.meshgrid(*place, indexing="ij")
        indices.append(np.stack([axis.ravel() for axis in grid], axis=1))
        values.append(np.einsum("i,j,k->ijk", *weight).ravel())
    problem = SparseDecomposition(
        np.concatenate(indices), np.concatenate(values), shape, duplicates="sum"
    )
    found = fit(problem, Structure.cp(shape, 2), key=jax.random.key(0), num_starts=6, max_steps=60)
    assert found.error < 1e-6
    predicted = found.network.entries(indices[0])
    np.testing.assert_allclose(predicted, values[0], rtol=1e-5)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"values": np.zeros(2)}, "all values are zero"),
        ({"values": np.asarray([1.0, np.nan])}, "NaN"),
        ({"indices": np.asarray([[0, 0], [0, 0]])}, "more than once"),
        ({"indices": np.asarray([[0, 0], [0, 9]])}, "outside"),
        ({"duplicates": "keep"}, "sum"),
    ],
)
def test_what_cannot_be_meant_is_refused(change, word):
    sound = {"indices": np.asarray([[0, 0], [0, 1]]), "values": jnp.ones(2), "shape": (3, 3)}
    with pytest.raises(ValueError, match=word):
        SparseDecomposition(**{**sound, **change})
