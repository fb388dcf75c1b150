"""Coarse graining against exact values: of Onsager, of small lattices, of conformal theory."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.helpers import by_precision, needs_double
from tnjax.lattice import (
    coarse_grain,
    coarse_grain_cubic,
    ising,
    log_partition,
    potts,
    scaling_dimensions,
)
from tnjax.lattice._svd import leading_svd, power

CRITICAL = math.log(1 + math.sqrt(2)) / 2


def onsager(beta: float) -> float:
    """ln Z per site of the infinite lattice."""
    k = 2 * math.sinh(2 * beta) / math.cosh(2 * beta) ** 2
    theta = (np.arange(20000) + 0.5) * math.pi / 20000
    inside = np.log((1 + np.sqrt(1 - (k * np.sin(theta)) ** 2)) / 2)
    return math.log(2 * math.cosh(2 * beta)) + inside.mean() / 2


def enumerated(rows: int, columns: int, states: int, weight) -> float:
    """The partition function as a sum over all states of all sites."""
    grid = np.indices((states,) * (rows * columns)).reshape(rows, columns, -1).transpose(2, 0, 1)
    factors = [weight(grid, np.roll(grid, 1, axis)) for axis in (1, 2)]
    return float(np.exp(sum(f.sum((1, 2)) for f in factors)).sum())


def test_small_lattices_are_exact():
    pairs = lambda a, b: 0.4 * (2 * a - 1) * (2 * b - 1)
    expected = enumerated(4, 4, 2, pairs)
    assert round(expected, 2) == 2107668.72
    bound = by_precision(1e-12, 1e-5)
    np.testing.assert_allclose(log_partition(ising(0.4), 4, 4), math.log(expected), rtol=bound)
    expected = enumerated(3, 3, 3, lambda a, b: 0.7 * (a == b))
    np.testing.assert_allclose(log_partition(potts(3, 0.7), 3, 3), math.log(expected), rtol=bound)


# At the critical point, where errors are largest. Published for chi 24 (16 for "hotrg"): 2e-6,
# 6e-8, 6e-7, which `experiments/benchmarks/lattice.py` measures; here chi is 8 and 6.
@needs_double
@pytest.mark.parametrize(
    ("scheme", "chi", "bound"), [("trg", 8, 1e-4), ("btrg", 8, 2e-5), ("hotrg", 6, 5e-5)]
)
def test_ising_at_its_critical_point(scheme, chi, bound):
    exact = onsager(CRITICAL)
    np.testing.assert_allclose(exact, 0.9296953983, atol=1e-9)
    found = float(coarse_grain(ising(CRITICAL), chi, 26, scheme).log_z)
    assert 1e-9 < abs(found / exact - 1) < bound


@needs_double
@pytest.mark.parametrize(("scheme", "chi"), [("btrg", 12), ("hotrg", 4)])
def test_the_energy_is_the_gradient(scheme, chi):
    """The first tensors have equal and vanishing singular values. At the critical point the energy
    is sqrt(2) (to 5e-5 with chi 24, see `experiments/benchmarks/large.py`)."""
    log_z = lambda beta: coarse_grain(ising(beta), chi, 26, scheme).log_z
    value_and_slope = jax.jit(jax.value_and_grad(log_z))
    value, slope = value_and_slope(0.3)
    step = 1e-4
    exact = (onsager(0.3 + step) - onsager(0.3 - step)) / (2 * step)
    np.testing.assert_allclose(value, onsager(0.3), rtol=3e-5)
    np.testing.assert_allclose(slope, exact, rtol=1e-3)
    if scheme == "btrg":
        np.testing.assert_allclose(value_and_slope(CRITICAL)[1], math.sqrt(2), rtol=3e-4)


def test_potts_on_a_small_torus():
    """Sixteen sites of three states, against the exact contraction (itself against a sum above)."""
    expected = log_partition(potts(3, 0.7), 4, 4) / 16
    found = coarse_grain(potts(3, 0.7), 9, 4, "hotrg").log_z
    np.testing.assert_allclose(found, expected, rtol=2e-3)
    two_by_two = log_partition(potts(3, 0.7), 2, 2) / 4  # nothing is cut off on the way there
    found = coarse_grain(potts(3, 0.7), 9, 2, "hotrg").log_z
    np.testing.assert_allclose(found, two_by_two, rtol=by_precision(1e-12, 1e-5))


def torus(sides: tuple[int, ...], beta: float) -> float:
    """ln Z per site of Ising on a small cubic lattice, by a sum over all states."""
    count = math.prod(sides)
    spins = 2 * np.indices((2,) * count).reshape(*sides, -1) - 1
    bonds = sum((spins * np.roll(spins, 1, axis)).sum((0, 1, 2)) for axis in range(3))
    return math.log(np.exp(beta * bonds).sum()) / count


def high_temperature(beta: float) -> float:
    """ln Z per site of the cubic lattice by its series (its exponential: OEIS A001393)."""
    v = math.tanh(beta)
    series = [3, 22, 187.5, 1980, 24044, 319170]
    terms = sum(c * v ** (4 + 2 * n) for n, c in enumerate(series))
    return math.log(2 * math.cosh(beta) ** 3) + terms


def test_small_cubic_lattices():
    cubic = lambda beta, chi, steps: coarse_grain_cubic(ising(beta, dimensions=3), chi, steps).log_z
    exact = by_precision(1e-12, 1e-5)  # where nothing is cut off
    np.testing.assert_allclose(cubic(0.3, 4, 1), torus((1, 1, 2), 0.3), rtol=exact)
    np.testing.assert_allclose(cubic(0.3, 16, 2), torus((1, 2, 2), 0.3), rtol=exact)
    np.testing.assert_allclose(cubic(0.1, 4, 3), torus((2, 2, 2), 0.1), rtol=2e-3)


@needs_double
def test_infinite_cubic_lattice():
    """In the disordered phase, and at the critical point, where ln Z per site is 0.77790(2) (Mon,
    Phys. Rev. Lett. 54, 2671). Errors at chi 4 are those of HOTRG."""
    log_z = jax.jit(lambda beta: coarse_grain_cubic(ising(beta, dimensions=3), 4, 18).log_z)
    np.testing.assert_allclose(log_z(0.1), high_temperature(0.1), rtol=1e-4)
    np.testing.assert_allclose(log_z(0.15), high_temperature(0.15), rtol=5e-4)
    np.testing.assert_allclose(log_z(0.2216546), 0.77790, rtol=3e-3)


@needs_double
def test_the_energy_of_a_cubic_lattice_is_the_gradient():
    log_z = lambda beta: coarse_grain_cubic(ising(beta, dimensions=3), 3, 5).log_z
    value_and_slope = jax.jit(jax.value_and_grad(log_z))
    step = 1e-5
    slope = (value_and_slope(0.2 + step)[0] - value_and_slope(0.2 - step)[0]) / (2 * step)
    np.testing.assert_allclose(value_and_slope(0.2)[1], slope, rtol=1e-6)


@needs_double
def test_scaling_dimensions_of_ising():
    found = scaling_dimensions(ising(CRITICAL), 12, 6)
    np.testing.assert_allclose(found[:3], [0, 1 / 8, 1], atol=1e-2)
    assert found.shape == (4,)


def test_potts_of_two_states_is_ising():
    # exp(beta) for equal neighbors and 1 for others is Ising at half of beta, times a constant.
    found = coarse_grain(potts(2, 0.6), 6, 12, "trg").log_z
    expected = onsager(0.3) + 0.6
    np.testing.assert_allclose(found, expected, rtol=by_precision(1e-4, 1e-3))


def test_large_matrices_are_decomposed_as_small_ones():
    rng = np.random.default_rng(0)
    q, r = (np.linalg.qr(rng.standard_normal((70, 70)))[0] for _ in range(2))
    values = 0.7 ** np.arange(70.0)
    u, s, v = leading_svd(jnp.asarray((q * values) @ r.T, float), 6)
    bound = by_precision(1e-10, 1e-4)
    np.testing.assert_allclose(s, np.diag(values[:6]), rtol=bound, atol=1e-12)
    expected = (q[:, :6] * values[:6]) @ r[:, :6].T
    np.testing.assert_allclose(u @ s @ v.T, expected, atol=bound)


@needs_double
def test_derivatives_of_degenerate_singular_values():
    rng = np.random.default_rng(0)
    q, r = (np.linalg.qr(rng.standard_normal((6, 6)))[0] for _ in range(2))
    matrix = jnp.asarray((q * np.array([2.0, 2.0, 1.0, 0.4, 0.4, 0.0])) @ r.T)
    weights, toward = (jnp.asarray(rng.standard_normal((6, 6))) for _ in range(2))

    @jax.jit
    def kept(t):  # does not depend on the choice among equal values
        u, s, v = leading_svd(matrix + t * toward, 3)
        return jnp.sum(weights * (u @ power(s, 0.5) @ v.T))

    step = 1e-5
    slope = (kept(step) - kept(-step)) / (2 * step)
    np.testing.assert_allclose(jax.jvp(kept, (0.0,), (1.0,))[1], slope, rtol=1e-6)
    np.testing.assert_allclose(jax.grad(kept)(0.0), slope, rtol=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tensor": np.ones((2, 2, 3, 2))}, r"shape \[2, 2, 3, 2\]"),
        ({"tensor": np.ones((2, 2, 2, 2), complex)}, "expected float32 or float64"),
        ({"scheme": "ctmrg"}, "expected one of"),
        ({"chi": 0}, "chi=0; expected a positive integer"),
        ({"steps": -1}, "steps=-1"),
    ],
)
def test_what_makes_no_lattice_is_refused(change, message, unchecked):
    given = {"tensor": np.ones((2, 2, 2, 2)), "chi": 4, "steps": 2, "scheme": "trg", **change}
    with pytest.raises(ValueError, match=message):
        coarse_grain(**given)


def test_models_and_squares_are_checked():
    with pytest.raises(ValueError, match="states=1"):
        potts(1, 0.3)
    with pytest.raises(ValueError, match="2 x 2 or more"):
        log_partition(ising(0.3), 1, 4)
    with pytest.raises(ValueError, match="dimensions=4"):
        ising(0.3, dimensions=4)
    with pytest.raises(ValueError, match=r"coarse_grain_cubic.*6 indices"):
        coarse_grain_cubic(ising(0.3), 2, 2)
    with pytest.raises(ValueError, match="even number"):
        scaling_dimensions(ising(0.3), 2, 3)
