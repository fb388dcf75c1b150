"""Cutting networks back to a number of parameters: weights of bonds, and what goes first."""

import dataclasses

import numpy as np
import pytest

import tnjax.nn as tnn
from tnjax.nn._growth.cut_back import Gauged, cut_back
from tnjax.nn._project import rebuild

LAYOUTS = {
    "chain": tnn.tt_matrix((2, 3, 2, 2), (2, 2, 3, 2), (3, 4, 3)),
    "star": tnn.paired((2, 3, 2, 2), (2, 2, 3, 2), {(0, 1): 3, (0, 2): 2, (0, 3): 4}),
    "ring": tnn.tr_matrix((2, 3, 2, 2), (2, 2, 3, 2), (3, 4, 3, 2)),
    "padded": tnn.paired((2, 3, 2), (3, 2, 2), {(0, 1): 2, (1, 2): 3}, rows=11, columns=10),
    "unconnected": tnn.paired((2, 3, 2), (3, 2, 2), {(0, 2): 3}),
}


def drawn(layout, seed=0, dtype="float64"):
    rng = np.random.default_rng(seed)
    return tuple(rng.standard_normal(shape).astype(dtype) for shape in layout.core_shapes)


def unfolding(layout, cores, edge):
    """The tensor as a matrix across the bond of a tree."""
    structure = dataclasses.replace(layout, rows=0, columns=0).structure
    side, todo = set(), [edge[0]]
    while todo:
        node = todo.pop()
        side.add(node)
        near = (e for e in structure.core_edges(node) if e != edge)
        todo += [k for e in near for k in e if k not in side]
    modes = [mode for node in side for mode in structure.legs[node]]
    rest = [mode for mode in range(len(structure.dims)) if mode not in modes]
    whole = dataclasses.replace(layout, rows=layout.padded_rows, columns=layout.padded_columns)
    tensor = rebuild(whole, cores).reshape(structure.dims)
    return tensor.transpose(*modes, *rest).reshape(np.prod([structure.dims[m] for m in modes]), -1)


@pytest.mark.parametrize("name", LAYOUTS)
def test_the_gauge_leaves_the_tensor_as_it_is(name):
    layout = LAYOUTS[name]
    cores = drawn(layout)
    gauged = Gauged.of(layout.structure, cores)
    structure, after = gauged.truncated({edge: len(w) for edge, w in gauged.weights.items()})
    found = rebuild(dataclasses.replace(layout, structure=structure), after)
    np.testing.assert_allclose(found, rebuild(layout, cores), atol=1e-9)
    norms = [np.linalg.norm(core) for core in after]
    np.testing.assert_allclose(norms, norms[0])


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", ["chain", "star", "padded"])
def test_weights_of_a_tree_are_its_singular_values(name, seed):
    layout = LAYOUTS[name]
    cores = drawn(layout, seed)
    for edge, weights in Gauged.of(layout.structure, cores).weights.items():
        values = np.linalg.svd(unfolding(layout, cores, edge), compute_uv=False)
        expected = values[: len(weights)] / np.linalg.norm(values)
        np.testing.assert_allclose(weights, expected, atol=1e-5)


def test_ranks_that_are_not_there_go_first():
    """Bonds filled up with terms that are zero or twice the same: cutting back loses nothing."""
    small = tnn.tt_matrix((2, 3, 2, 2), (2, 2, 3, 2), (2, 3, 2))
    cores = drawn(small)
    matrix = rebuild(small, cores)
    wide = [np.concatenate([c, 0 * c], axis=2) for c in cores[:1]]
    wide.append(np.concatenate([cores[1], cores[1]], axis=2))
    large = dataclasses.replace(small, structure=small.structure.with_rank((0, 1), 4))
    networks = {"layer": (large, (*wide, *cores[2:]))}
    np.testing.assert_allclose(rebuild(*networks["layer"]), matrix, atol=1e-12)
    found, cuts = cut_back(
        networks, small.num_params, {"layer": np.eye(small.columns)}, {"layer": 1.0}
    )
    assert found["layer"][0] == small
    assert cuts == (("layer", (0, 1), -2),)
    np.testing.assert_allclose(rebuild(*found["layer"]), matrix, atol=1e-9)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("seed", range(3))
def test_one_bond_is_cut_to_its_best_approximation(seed, dtype):
    """Inputs that are a product over the digits: the outputs' error is the least of that rank."""
    layout = tnn.paired((4, 4), (3, 3), {(0, 1): 8})
    cores = drawn(layout, seed, dtype)
    rng = np.random.default_rng(10 + seed)
    roots = [np.linalg.cholesky(np.cov(rng.standard_normal((3, 40)))) for _ in range(2)]
    # The damping of the whitening is made up for, so that the metric is known.
    factors = [r @ r.T for r in roots]
    damped = [f + 0.1 * np.trace(f) / 3 * np.eye(3) for f in factors]
    found, _ = cut_back({"a": (layout, cores)}, 3 * 24, {"a": np.kron(*factors)}, {"a": 1.0})
    new, parts = found["a"]
    assert new.structure.rank((0, 1)) == 3
    assert all(part.dtype == dtype for part in parts)
    root = np.kron(*(np.linalg.cholesky(d) for d in damped))
    blocks = lambda matrix: (
        (matrix @ root).reshape(4, 4, 3, 3).transpose(0, 2, 1, 3).reshape(12, 12)
    )
    values = np.linalg.svd(blocks(rebuild(layout, cores)), compute_uv=False)
    error = np.linalg.norm(blocks(rebuild(layout, cores)) - blocks(rebuild(new, parts)))
    rtol = 1e-9 if dtype == "float64" else 1e-5
    np.testing.assert_allclose(error, np.linalg.norm(values[3:]), rtol=rtol)


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize("share", [0.4, 0.6, 0.9])
def test_the_budget_is_met_and_no_rank_more_would_fit(name, share):
    layout = LAYOUTS[name]
    least = tnn.paired(
        layout.structure.dims[: layout.num_row_modes], layout.structure.dims[layout.num_row_modes :]
    ).num_params
    budget = int(least + share * (layout.num_params - least))
    found, cuts = cut_back(
        {"a": (layout, drawn(layout))}, budget, {"a": np.eye(layout.columns)}, {"a": 1.0}
    )
    new = found["a"][0]
    assert new.num_params <= budget
    assert new.shape == layout.shape
    for edge, rank in layout.structure.edges.items():
        assert new.structure.rank(edge) <= rank
        if new.structure.rank(edge) < rank:
            assert ("a", edge, new.structure.rank(edge) - rank) in cuts
            if name in ("chain", "star"):  # on loops a rank can be worth nothing
                assert new.structure.grow(edge).num_params > budget


def test_layers_that_matter_more_keep_more():
    layout = LAYOUTS["chain"]
    networks = {name: (layout, drawn(layout)) for name in ("a", "b")}
    moments = dict.fromkeys(networks, np.eye(layout.columns))
    budget = int(1.2 * layout.num_params)
    sizes = {}
    for factor in (1.0, 100.0):
        found, _ = cut_back(networks, budget, moments, {"a": factor, "b": 1.0})
        sizes[factor] = [found[name][0].num_params for name in ("a", "b")]
        assert sum(sizes[factor]) <= budget
    assert abs(np.diff(sizes[1.0])[0]) <= 40  # a rank's worth
    assert sizes[100.0][0] > sizes[1.0][0] + 40
    with pytest.raises(ValueError, match="without bonds have"):
        cut_back(networks, 10, moments, dict.fromkeys(networks, 1.0))
