"""How many features data have: matching, silhouettes, and planted numbers."""

import jax
import numpy as np
import pytest

from tests.helpers import DTYPES
from tnjax import Decomposition, Structure, Tied, latent_dimension
from tnjax._network import scaled
from tnjax.problems import Problem
from tnjax.solve._matching import matched, silhouettes, similarities

REAL = [dtype for dtype in DTYPES if dtype.startswith("float")]


def noisy(clean: np.ndarray, rng: np.random.Generator, dtype: str) -> np.ndarray:
    error = rng.standard_normal(clean.shape)
    return (clean + 0.05 * np.linalg.norm(clean) * error / np.linalg.norm(error)).astype(dtype)


def planted(kind: str, rank: int, seed: int, dtype: str, dims=(12, 11, 8)) -> Problem:
    rng = np.random.default_rng((seed, rank))
    if kind == "rescal":
        a = rng.exponential(size=(14, rank)) * (rng.random((14, rank)) < 0.5)
        clean = np.einsum("ia,kab,jb->ijk", a, rng.exponential(size=(6, rank, rank)), a)
        return Tied(Decomposition(noisy(clean, rng, dtype), nonnegative=True), [(0, 1)])
    draw = rng.standard_normal if kind == "cp" else rng.exponential
    clean = np.einsum("ia,ja,ka->ijk", *(draw(size=(n, rank)) for n in dims))
    return Decomposition(noisy(clean, rng, dtype), nonnegative=kind == "nonnegative")


def test_silhouettes_are_those_of_the_definition():
    rng = np.random.default_rng(0)
    points = rng.standard_normal((5, 3, 2)) * 0.4 + rng.standard_normal((1, 3, 2))
    distance = np.linalg.norm(points[:, :, None, None] - points[None, None], axis=-1)
    found = silhouettes(distance)
    for n in range(5):
        for k in range(3):
            to = lambda c, n=n, k=k: [
                np.linalg.norm(points[n, k] - points[m, c]) for m in range(5) if (m, c) != (n, k)
            ]
            a, b = np.mean(to(k)), min(np.mean(to(c)) for c in range(3) if c != k)
            np.testing.assert_allclose(found[n, k], (b - a) / max(a, b), rtol=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "complex128"])
def test_features_are_matched_whatever_their_order_signs_and_scales(dtype):
    rng = np.random.default_rng(1)
    turn = np.exp(1j * rng.uniform(0, 7)) if dtype == "complex128" else 1.0
    draw = lambda *shape: (turn * rng.standard_normal(shape)).astype(dtype)
    factors, fits = [draw(9, 4), draw(7, 4)], []
    for _ in range(6):
        order = rng.permutation(4)
        fits.append([((f + 0.01 * draw(*f.shape)) * draw(1, 4))[:, order] for f in factors])
    similarity = similarities(fits)
    assert similarity.shape == (6, 4, 6, 4)
    assert matched(similarity, 0).min() > 0.95
    # A feature of noise, other in every fit, is the only one that is not found again.
    for fit in fits:
        fit[:] = [np.concatenate([f, draw(len(f), 1)], 1) for f in fit]
    least = np.sort(matched(similarities(fits), 0).mean(0))
    assert least[0] < 0.3
    assert least[1] > 0.9


def test_a_column_of_zeros_is_like_none():
    factors = [np.array([[1.0, 0.0], [1.0, 0.0]])]
    np.testing.assert_allclose(similarities([factors, factors])[0, :, 1], [[1, 0], [0, 0]])


@pytest.mark.parametrize("kind", ["cp", "nonnegative", "rescal"])
def test_the_planted_number_is_found(kind):
    for seed, (rank, dtype) in enumerate([(3, REAL[0]), (2, REAL[-1])]):
        problem = planted(kind, rank, seed, dtype)
        given = [1, 2, 3, 4]
        if kind == "rescal":
            dims = problem.shape
            given = [Structure.from_edges(dims, {(0, 2): r, (1, 2): r}) for r in given]
        key = jax.random.key(seed)
        found = latent_dimension(problem, given, key=key, copies=6, starts=6)
        assert found.chosen == rank - 1
        assert set(found.ranks) == {rank}
        assert found.fit.error < 0.06
        assert found.fits[rank - 2].error > 2 * found.fit.error
        assert found.fits[3].stability < 0.5
        assert found.fits[0].stability == 1
        assert len(found.table().splitlines()) == 5
        for fit in found.fits:  # errors are those of the networks, in the units of the data
            inner = scaled(fit.network.astype(problem.dtype), 1 / problem.scale)
            np.testing.assert_allclose(problem.error(inner), fit.error, rtol=1e-3)


def test_each_mode_of_a_nonnegative_tucker_network_has_its_number():
    rng = np.random.default_rng(3)
    dims, ranks = (10, 12, 12), (2, 3, 3)
    factors = [
        rng.exponential(size=(n, r)) * (rng.random((n, r)) < 0.5) for n, r in zip(dims, ranks)
    ]
    core = np.indices(ranks).sum(0) % 3 == 0  # for each index of a mode other ones of the others
    clean = np.einsum("ia,jb,kc,abc->ijk", *factors, core.astype(float))
    problem = Decomposition(noisy(clean, rng, REAL[0]), nonnegative=True)
    given = [Structure.tucker(dims, r) for r in [(2, 2, 2), ranks, (2, 4, 3)]]
    found = latent_dimension(problem, given, key=jax.random.key(0), copies=6, starts=6)
    assert found.ranks == ranks, found.table()


def test_what_has_no_features_or_no_copies_is_refused():
    key, problem = jax.random.key(0), Decomposition(np.ones((3, 4, 5)))
    matrix = Decomposition(np.ones((3, 4)))
    with pytest.raises(ValueError, match="can be turned"):
        latent_dimension(matrix, [2], key=key)
    ring = Structure.tensor_ring((3, 4, 5), 2)
    with pytest.raises(ValueError, match="no features"):
        latent_dimension(Decomposition(np.ones((3, 4, 5)), nonnegative=True), [ring], key=key)
    with pytest.raises(ValueError, match="two or more copies"):
        latent_dimension(problem, [2], key=key, copies=1)
    with pytest.raises(ValueError, match="ranks only"):
        latent_dimension(problem, [2, Structure.tucker((3, 4, 5), 2)], key=key)
    with pytest.raises(ValueError, match="positive number"):
        latent_dimension(problem, [0], key=key)
