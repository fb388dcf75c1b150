"""Sums of products against Kronecker products of NumPy, and models against known spectra."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.helpers import DTYPES, needs_double
from tnjax.operators import SumOfProducts, heisenberg, j1j2, lattice_edges, transverse_ising

X = np.array([[0, 1], [1, 0]])
Y = np.array([[0, -1j], [1j, 0]])
Z = np.diag([1, -1])


def kronecker(dims, terms) -> np.ndarray:
    total = np.zeros((math.prod(dims),) * 2, complex)
    for coefficient, factors in terms:
        product = np.ones((1, 1))
        for site, size in enumerate(dims):
            product = np.kron(product, factors.get(site, np.eye(size)))
        total += coefficient * product
    return total


def random_terms(seed: int, dims=(2, 3, 2, 4), count: int = 9, real: bool = False):
    """Terms on no to all sites, some on the same ones."""
    rng = np.random.default_rng(seed)
    number = lambda *s: rng.standard_normal(s) + (0 if real else 1j * rng.standard_normal(s))
    terms = []
    for _ in range(count):
        sites = rng.permutation(len(dims))[: rng.integers(0, len(dims) + 1)]
        terms.append((number(), {int(s): number(dims[s], dims[s]) for s in sites}))
    return [*terms, (number(), terms[-1][1])]


def singles(edges, n: int):
    """Heisenberg's model by Pauli matrices."""
    return [(0.25, {i: s, j: s}) for i, j in edges for s in (X, Y, Z)]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_dense_matrix_is_the_sum_of_kronecker_products(seed, dtype):
    dims, real = (2, 3, 2, 4), "float" in dtype
    terms = random_terms(seed, dims, real=real)
    operator = SumOfProducts(dims, terms, dtype=dtype)
    expected = kronecker(dims, terms)
    limit = 1e-12 if jnp.finfo(dtype).bits == 64 else 1e-5
    close = lambda a, b: np.linalg.norm(a - b) <= limit * np.linalg.norm(expected)
    assert operator.dtype == dtype
    assert operator.num_terms == 10
    assert close(np.asarray(operator.to_dense()), expected)
    assert close(np.asarray(operator.adjoint().to_dense()), expected.conj().T)
    assert close(np.asarray((operator + operator * 2.0 - operator).to_dense()), 2 * expected)
    stacked = [np.asarray(operator.stacked(site)) for site in range(4)]
    products = [
        (c, {site: stacked[site][t] for site in range(4)})
        for t, c in enumerate(np.asarray(operator.coefficients))
    ]
    assert close(kronecker(dims, products), expected)
    merged = [(sites, np.asarray(matrix)) for sites, matrix in operator.merged().items()]
    assert len({sites for sites, _ in merged}) == len(merged)
    whole = sum(embedded(dims, sites, matrix) for sites, matrix in merged)
    assert close(whole, expected)
    again = SumOfProducts(dims, operator.terms, dtype=dtype)
    assert jax.tree.all(jax.tree.map(np.array_equal, again, operator))


def embedded(dims, sites, matrix) -> np.ndarray:
    """A matrix on some sites as a matrix on all, entry by entry."""
    states = list(np.ndindex(*dims))
    local = [dims[s] for s in sites]
    place = [np.ravel_multi_index([x[s] for s in sites], local) if sites else 0 for x in states]
    rest = [tuple(v for s, v in enumerate(x) if s not in sites) for x in states]
    same = np.asarray([[a == b for b in rest] for a in rest])
    return np.where(same, matrix[np.ix_(place, place)], 0)


def test_it_acts_on_tensors_with_more_axes_and_under_transformations():
    dims, terms = (2, 3, 2, 4), random_terms(3)
    operator = SumOfProducts(dims, terms)
    tensors = np.random.default_rng(0).standard_normal((*dims, 5)).astype(operator.dtype)
    expected = (kronecker(dims, terms) @ tensors.reshape(-1, 5)).reshape(tensors.shape)
    np.testing.assert_allclose(operator.apply(tensors), expected, rtol=2e-4)
    np.testing.assert_allclose(jax.jit(SumOfProducts.apply)(operator, tensors), expected, rtol=2e-4)
    energy = lambda field: jnp.linalg.eigvalsh(transverse_ising([(0, 1)], field=field).to_dense())[
        0
    ]
    slope = jax.jit(jax.grad(energy))(0.7)  # -sqrt(1 + 4 h^2)
    np.testing.assert_allclose(slope, -4 * 0.7 / math.sqrt(1 + 4 * 0.7**2), rtol=1e-5)


def test_hermitian_operators_are_told_from_others():
    dims, terms = (2, 3, 2, 4), random_terms(1)
    operator = SumOfProducts(dims, terms)
    assert not operator.is_hermitian()
    assert (operator + operator.adjoint()).is_hermitian()
    assert not (1j * (operator + operator.adjoint())).is_hermitian()
    assert heisenberg(lattice_edges(60)).is_hermitian()
    # Hermitian as a sum only.
    assert SumOfProducts((2,), [(1.0, {0: X + 1j * Z}), (1.0, {0: X - 1j * Z})]).is_hermitian()


@pytest.mark.parametrize("shape", [5, (2, 3)])
def test_heisenberg_by_pauli_matrices(shape):
    edges = lattice_edges(shape)
    n = math.prod(np.atleast_1d(shape))
    np.testing.assert_allclose(
        heisenberg(edges).to_dense(), kronecker((2,) * n, singles(edges, n)), atol=1e-6
    )
    far = lattice_edges(shape, second=True)
    terms = singles(edges, n) + [(0.3 * c, f) for c, f in singles(far, n)]
    np.testing.assert_allclose(j1j2(shape, 0.3).to_dense(), kronecker((2,) * n, terms), atol=1e-6)


def test_ising_by_pauli_matrices():
    edges, coupling, field = [(0, 2), (1, 2)], [0.5, -2.0], [1.0, 0.2, 0.3]
    terms = [(-j, {a: Z, b: Z}) for (a, b), j in zip(edges, coupling, strict=True)]
    terms += [(-h, {s: X}) for s, h in enumerate(field)]
    operator = transverse_ising(edges, np.asarray(coupling), field)
    np.testing.assert_allclose(operator.to_dense(), kronecker((2, 2, 2), terms), atol=1e-6)


@pytest.mark.parametrize("spin", [0.5, 1, 1.5, 2])
def test_two_spins_have_the_energies_of_their_total_spin(spin):
    totals = np.repeat(np.arange(0, 2 * spin + 1), 2 * np.arange(0, 2 * spin + 1).astype(int) + 1)
    expected = totals * (totals + 1) / 2 - spin * (spin + 1)
    found = np.linalg.eigvalsh(heisenberg([(0, 1)], spin=spin).to_dense())
    np.testing.assert_allclose(found, np.sort(expected), atol=1e-5)


def test_the_edges_of_lattices():
    assert lattice_edges(4) == [(0, 1), (1, 2), (2, 3)]
    assert lattice_edges(4, periodic=True) == [(0, 1), (0, 3), (1, 2), (2, 3)]
    assert lattice_edges(2, periodic=True) == [(0, 1)]
    assert lattice_edges(1) == []
    assert len(lattice_edges((3, 4))) == 17
    assert len(lattice_edges((3, 4), second=True)) == 12
    assert len(lattice_edges((4, 4), periodic=True)) == 32
    assert len(lattice_edges((4, 4), periodic=True, second=True)) == 32


@needs_double
def test_numbers_keep_what_they_are():
    real = transverse_ising([(0, 1)])
    assert real.dtype == "float64"
    assert real.astype("float32").dtype == "float32"
    assert (real * 2).dtype == "float64"
    assert (1j * real).dtype == "complex128"
    assert (real.astype("float32") + real).dtype == "float64"
    assert (1j * real.astype("float32")).dtype == "complex64"
    assert repr(real) == "SumOfProducts(dims=2x2, terms=3, dtype=float64)"


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: SumOfProducts((2, 2), []), "no term"),
        (lambda: SumOfProducts((2, 2), [(1.0, {2: X})]), "site 2"),
        (lambda: SumOfProducts((2, 3), [(1.0, {1: X})]), "shape"),
        (lambda: SumOfProducts((2,), [(1.0, {0: Y})], dtype="float32"), "complex"),
        (lambda: SumOfProducts((2,), [(1.0, {0: X})], dtype="float16"), "float16"),
        (lambda: SumOfProducts((2,), [([1.0], {0: X})]), "coefficient"),
        (lambda: SumOfProducts((2,), [(1j, {0: X})]).astype(float), "complex"),
        (lambda: transverse_ising([(0, 1)]) + transverse_ising([(0, 2)]), "different sites"),
        (lambda: transverse_ising([(0, 1)]).apply(np.ones((2, 3))), "expected"),
        (lambda: jax.jit(SumOfProducts.is_hermitian)(transverse_ising([(0, 1)])), "trace"),
        (lambda: heisenberg([(1, 1)]), "different sites"),
        (lambda: heisenberg([]), "no edge"),
        (lambda: heisenberg([(0, 3)], num_sites=3), "num_sites"),
        (lambda: heisenberg([(0, 1)], spin=0.7), "spin"),
        (lambda: heisenberg([(0, 1)], [1.0, 2.0]), "one number or 1"),
        (lambda: transverse_ising([(0, 1)], field=[1.0]), "one number or 2"),
        (lambda: lattice_edges((2, 2, 2)), "rows and columns"),
    ],
)
def test_bad_input_is_told(make, text):
    with pytest.raises(ValueError, match=text):
        make()
