"""The best new slices of a bond: terms that are in the target are found, in any metric."""

import dataclasses

import numpy as np
import pytest

import tnjax.nn as tnn
from tnjax import Structure
from tnjax.nn._growth import leading as leading_module
from tnjax.nn._growth.leading import Target, _leading
from tnjax.nn._project import rebuild

RNG = np.random.default_rng


def change(layout, cores, edge, terms):
    """The sum of the terms, each a network whose bond `edge` has the size 1."""
    single = dataclasses.replace(layout, structure=layout.structure.with_rank(edge, 1))
    total = 0.0
    for term in terms:
        parts = list(cores)
        for node, part in zip(edge, term, strict=True):
            parts[node] = part
        total = total + rebuild(single, parts)
    return total


def random_terms(layout, edge, count, rng):
    single = layout.structure.with_rank(edge, 1)
    return [
        tuple(rng.standard_normal(single.core_shape(node)) for node in edge) for _ in range(count)
    ]


LAYOUTS = {
    "ring": tnn.tr_matrix((2, 3, 2), (3, 2, 2), 2),
    "padded": tnn.paired((2, 3, 2), (3, 2, 2), {(0, 1): 2, (1, 2): 2}, rows=11, columns=10),
    "hyperedge": tnn.Layout(
        Structure((2, 3, 2, 3, 2, 2), ((0, 3), (1, 4), (2, 5)), {(0, 1, 2): 2, (0, 1): 2}), 3
    ),
}


@pytest.mark.parametrize("edge", [(0, 1), (0, 2)])
@pytest.mark.parametrize("name", LAYOUTS)
def test_the_start_is_the_leading_singular_pair(name, edge):
    """With white inputs, and no least squares yet."""
    layout, rng = LAYOUTS[name], RNG(0)
    cores = [rng.standard_normal(shape) for shape in layout.core_shapes]
    descent = rng.standard_normal(layout.shape)
    sizes = [layout.structure.with_rank(edge, 1).core_shape(node) for node in edge]
    units = [np.eye(np.prod(size)).reshape(-1, *size) for size in sizes]
    slope = lambda a, b: np.sum(descent * change(layout, cores, edge, [(a, b)]))
    slopes = np.asarray([[slope(a, b) for b in units[1]] for a in units[0]])
    target = Target.of(layout, cores, descent, np.eye(layout.columns))
    ((a, b),) = target.slices(edge, 1, 0, rng)
    found = slope(a, b) / (np.linalg.norm(a) * np.linalg.norm(b))
    # Padding: inputs that are always zero have a smaller, damped, variance.
    rtol = 0.1 if name == "padded" else 1e-9
    np.testing.assert_allclose(found, np.linalg.norm(slopes, 2), rtol=rtol)


@pytest.mark.parametrize("edge", [(0, 1), (0, 2)])
def test_terms_of_the_target_are_found(edge):
    """A loss whose gradient vanishes at one more term, for inputs that are not white."""
    layout, rng = LAYOUTS["ring"], RNG(1)
    cores = [rng.standard_normal(shape) for shape in layout.core_shapes]
    planted = change(layout, cores, edge, random_terms(layout, edge, 1, rng))
    second, damped = np.eye(1), np.eye(1)
    for size in (3, 2, 2):
        factor = rng.standard_normal((size, size))
        factor = factor @ factor.T
        second = np.kron(second, factor)
        damped = np.kron(damped, factor + 0.1 * np.trace(factor) / size * np.eye(size))
    target = Target.of(layout, cores, planted @ damped, second)
    found = change(layout, cores, edge, target.slices(edge, 1, 30, rng))
    found *= np.sum(found * planted) / np.sum(found**2)  # a line search's part
    np.testing.assert_allclose(found, planted, atol=1e-5 * np.abs(planted).max())


def test_several_terms_at_once_beat_one():
    layout, rng, edge = LAYOUTS["ring"], RNG(1), (0, 1)
    cores = [rng.standard_normal(shape) for shape in layout.core_shapes]
    descent = change(layout, cores, edge, random_terms(layout, edge, 3, rng))
    target = Target.of(layout, cores, descent, np.eye(layout.columns))
    left = []
    for count in (1, 2, 3):
        found = change(layout, cores, edge, target.slices(edge, count, 30, rng))
        length = np.sum(found * descent) / np.sum(found**2)
        left.append(np.linalg.norm(length * found - descent) / np.linalg.norm(descent))
    assert left[2] < 1e-3 < left[1] < left[0]


def test_full_bonds_get_nothing():
    layout, rng = tnn.paired((2, 2), (1, 2), {(0, 1): 2}), RNG(2)
    cores = [rng.standard_normal(shape) for shape in layout.core_shapes]
    target = Target.of(layout, cores, rng.standard_normal((4, 2)), np.eye(2))
    assert target.slices((0, 1), 3, 2, rng) == []


def test_large_environments_by_random_range():
    rng = RNG(3)
    left, right = rng.standard_normal((400, 4)), rng.standard_normal((300, 4))
    a, b = _leading(left @ right.T, 4, rng)
    np.testing.assert_allclose(a @ b.T, left @ right.T, atol=1e-8)
    np.testing.assert_allclose(np.linalg.norm(a, axis=0), np.linalg.norm(b, axis=0))


@pytest.mark.parametrize("edge", [(0, 1), (0, 2)])
@pytest.mark.parametrize("name", LAYOUTS)
def test_large_environments_are_not_formed(name, edge, override):
    """The slices are the same, whether the matrix of an environment is there or only its
    products; and the products are those of the matrix."""
    layout, rng = LAYOUTS[name], RNG(4)
    cores = [rng.standard_normal(shape) for shape in layout.core_shapes]
    descent = rng.standard_normal(layout.shape)
    target = Target.of(layout, cores, descent, np.eye(layout.columns))
    sides = [leading_module._Side.of(layout.structure, node, edge) for node in edge]
    formed = target._environment(edge, sides)
    slices = [target.slices(edge, 2, 3, RNG(0))]
    override({"layer_slices.largest_formed": 0})
    products = target._environment(edge, sides)
    assert not isinstance(products, np.ndarray)
    assert products.shape == formed.shape
    block, other = (rng.standard_normal((size, 3)) for size in reversed(formed.shape))
    np.testing.assert_allclose(products @ block, formed @ block, atol=1e-10)
    np.testing.assert_allclose(products.T @ other, formed.T @ other, atol=1e-10)
    slices.append(target.slices(edge, 2, 3, RNG(0)))
    terms = [change(layout, cores, edge, found) for found in slices]
    # On a hyperedge singular values come in pairs, and any of equals will do.
    np.testing.assert_allclose(*(np.sum(descent * term) for term in terms), rtol=1e-8)
    if name != "hyperedge":
        np.testing.assert_allclose(*terms, atol=1e-8 * np.abs(terms[0]).max())


@pytest.mark.parametrize("seed", range(3))
def test_the_random_range_is_the_full_svd(seed):
    """On a spectrum that falls slowly: the part that is found is nearly the best of its rank."""
    rng = RNG(seed)
    basis = lambda n: np.linalg.qr(rng.standard_normal((n, 300)))[0]
    matrix = (basis(400) / np.arange(1, 301)) @ basis(350).T
    a, b = _leading(matrix, 10, rng)
    values = np.linalg.svd(matrix, compute_uv=False)
    error = np.linalg.norm(matrix - a @ b.T)
    assert error <= 1.001 * np.linalg.norm(values[10:])
