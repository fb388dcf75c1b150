"""Derivatives where the value is smooth although a part of the formula is not, and what networks
show of themselves after `jax.tree.map`."""

import copy
import dataclasses
import json
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tnjax import Structure, TensorNetwork, load, save

TRAIN = Structure.tensor_train((3, 4, 2), 2)


def with_zero(node):
    """A network one of whose cores, or all (None), are zero."""
    network = TensorNetwork.random(TRAIN, key=jax.random.key(0), dtype=jnp.float64)
    cores = [0 * c if node in (k, None) else c for k, c in enumerate(network.cores)]
    return TensorNetwork(TRAIN, cores)


def dense_square(network):
    a, b, c = network.cores
    return jnp.sum(jnp.einsum("ia,jab,kb->ijk", a, b, c) ** 2)


@pytest.mark.parametrize("node", [None, 0, 1, "none"])
def test_the_gradient_of_the_squared_norm_is_that_of_the_dense_tensor(node):
    network = with_zero(node)
    ours = jax.grad(lambda n: n.norm() ** 2)(network)
    dense = jax.grad(dense_square)(network)
    for a, b in zip(ours.cores, dense.cores, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)


def test_the_gradient_of_the_norm_agrees_with_finite_differences():
    network = with_zero("none")
    direction = TensorNetwork.random(TRAIN, key=jax.random.key(1), dtype=jnp.float64)
    moved = lambda t: jax.tree.map(lambda x, d: x + t * d, network, direction).norm()
    slope = jax.grad(moved)(0.0)
    np.testing.assert_allclose(slope, (moved(1e-6) - moved(-1e-6)) / 2e-6, rtol=1e-6)


@pytest.mark.parametrize("node", [None, 0, "none"])
def test_balanced_has_the_derivatives_of_the_same_tensor(node):
    network = with_zero(node)
    ours = jax.grad(lambda n: dense_square(n.balanced()) + n.balanced().to_dense().sum())(network)
    dense = jax.grad(lambda n: dense_square(n) + n.to_dense().sum())(network)
    for a, b in zip(ours.cores, dense.cores, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-10)


def test_a_mapped_network_shows_its_leaves():
    network = with_zero("none")
    assert "dtype=float64" in repr(network)
    assert "(3, 2)" in repr(jax.tree.map(lambda x: x.shape, network))
    assert "None" in repr(jax.tree.map(lambda x: None, network))
    mixed = TensorNetwork.unchecked(TRAIN, (np.ones((3, 2)), np.ones((4, 2, 2), "f4"), None))
    assert "float64[3, 2], float32[4, 2, 2], None" in repr(mixed)


def test_a_structure_is_a_dataclass_like_any_other():
    for structure in (TRAIN, Structure.cp((3, 4), 2), Structure.rank_one((3, 4))):
        fields = dataclasses.asdict(structure)
        assert Structure(**fields) == structure
        assert dataclasses.replace(structure) == structure
        for again in (copy.deepcopy(structure), pickle.loads(pickle.dumps(structure))):
            assert again == structure
            assert hash(again) == hash(structure)
        json.dumps([list(edge) for edge in fields["edges"]])


@pytest.mark.parametrize(
    "change",
    [
        lambda edges: edges.__setitem__((0, 1), 3),
        lambda edges: edges.__delitem__((0, 1)),
        lambda edges: edges.update({(0, 1): 3}),
        lambda edges: edges.setdefault((0, 2), 3),
        lambda edges: edges.pop((0, 1)),
        lambda edges: edges.popitem(),
        lambda edges: edges.clear(),
        lambda edges: edges.__ior__({(0, 1): 3}),
    ],
)
def test_the_bonds_of_a_structure_cannot_be_changed(change):
    with pytest.raises(TypeError, match="another structure"):
        change(TRAIN.edges)
    assert TRAIN.edges == {(0, 1): 2, (1, 2): 2}


@pytest.mark.parametrize("core", [None, "core", np.ones((3, 2), int)])
def test_saving_names_the_core_that_is_no_array(tmp_path, core):
    cores = (core, *with_zero("none").cores[1:])
    file = tmp_path / "network.safetensors"
    with pytest.raises(ValueError, match="core 0"):
        save(file, TensorNetwork.unchecked(TRAIN, cores))
    assert not file.exists()
    save(file, with_zero("none"))
    assert load(file).structure == TRAIN
