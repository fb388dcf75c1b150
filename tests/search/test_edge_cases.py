"""Fits and searches at extreme scales and on degenerate data, in every dtype and order 1 to 4."""

import functools
import math

import jax
import numpy as np
import optax
import pytest

from tests.helpers import DTYPES, dense_oracle
from tnjax import Decomposition, GaussNewton, Status, Structure, fit, search

SCALES = (1e-30, 1.0, 1e30)
ORDERS = (1, 2, 3, 4)
SHAPES = {1: (4,), 2: (4, 3), 3: (3, 4, 2), 4: (3, 2, 3, 2)}
THIN = {1: (1,), 2: (1, 3), 3: (3, 1, 2), 4: (3, 1, 3, 2)}  # one mode of size 1
STRUCTURES = {
    1: Structure.rank_one((4,)),
    2: Structure.tensor_train((4, 3), 2),
    3: Structure.tensor_train((3, 4, 2), 2),
    4: Structure.tensor_ring((3, 2, 3, 2), 2),
}
LBFGS = optax.lbfgs()
SOLVERS = {"als": None, "gauss-newton": GaussNewton(), "lbfgs": LBFGS}
ENDED = (Status.TARGET_REACHED, Status.STAGNATED, Status.MAX_STEPS)
SEARCH_ENDED = (*ENDED, Status.NO_CANDIDATES)


def normal(rng, shape, dtype):
    x = rng.standard_normal(shape)
    return x + 1j * rng.standard_normal(shape) if dtype.startswith("complex") else x


def rank_one(rng, shape, dtype):
    return functools.reduce(np.multiply.outer, [normal(rng, (n,), dtype) for n in shape])


def one_entry(rng, shape, dtype):
    x = np.zeros(shape)
    x[(1,) * len(shape)] = -1
    return x


def wide_range(rng, shape, dtype):
    """Entries from 1e-20 to 1."""
    exponents = np.linspace(-20, 0, math.prod(shape))
    return 10 ** rng.permutation(exponents).reshape(shape) * np.sign(normal(rng, shape, "float64"))


def rank_two(rng, shape, dtype):
    """Of rank two: long modes are rank deficient."""
    a, b = rank_one(rng, shape, dtype), rank_one(rng, shape, dtype)
    return a / np.linalg.norm(a) + b / np.linalg.norm(b)


# What the data are, and whether a network of rank one holds them.
KINDS = {
    "constant": (lambda rng, shape, dtype: np.full(shape, -2.0), True),
    "rank one": (rank_one, True),
    "one entry": (one_entry, True),
    "rank two": (rank_two, False),
    "wide range": (wide_range, False),
    "thin": (normal, False),
}


def data(kind, order, dtype, scale):
    shape = THIN[order] if kind == "thin" else SHAPES[order]
    rng = np.random.default_rng((order, list(KINDS).index(kind)))
    x = KINDS[kind][0](rng, shape, dtype)
    return (x / np.abs(x).max() * scale).astype(dtype)


def structure_for(kind, order):
    if kind != "thin":
        return STRUCTURES[order]
    return Structure(THIN[order], STRUCTURES[order].legs, dict(STRUCTURES[order].edges))


def true_error(network, tensor):
    """In double precision, the data brought to norm one first."""
    kind = np.complex128 if np.iscomplexobj(tensor) else np.float64
    tensor = tensor.astype(kind)
    norm = np.linalg.norm(tensor / np.abs(tensor).max()) * np.abs(tensor).max()
    cores = [np.asarray(core).astype(kind) for core in network.cores]
    unit = float(norm) ** (-1 / len(cores))
    found = dense_oracle(network.structure, [core * unit for core in cores])
    return float(np.linalg.norm(found - tensor / norm))


def floor(dtype):
    """What cannot be asked of the rounding of the cores and of the sums over them."""
    return 1e-5 if dtype in ("float32", "complex64") else 1e-12


def check(result, tensor, dtype):
    cores = [np.asarray(core) for core in result.network.cores]
    assert all(np.isfinite(core).all() for core in cores)
    assert {core.dtype.name for core in cores} == {dtype}
    assert math.isfinite(result.error)
    assert 0 <= result.error <= 1 + floor(dtype)
    np.testing.assert_allclose(
        result.error, true_error(result.network, tensor), rtol=1e-3, atol=floor(dtype)
    )


def grid(orders):
    """Every kind in every order, each with three of the twelve pairs of a scale and a dtype, so
    that a kind meets all pairs."""
    pairs = [(scale, dtype) for dtype in DTYPES for scale in SCALES]
    cases = [
        (*pairs[(4 * turn + order + n) % len(pairs)], order, kind)
        for order in orders
        for n, kind in enumerate(KINDS)
        for turn in range(3)
    ]
    return pytest.mark.parametrize(("scale", "dtype", "order", "kind"), cases)


@grid(ORDERS)
def test_als(scale, dtype, order, kind):
    check_fit("als", scale, dtype, order, kind)


@pytest.mark.parametrize("kind", ["rank one", "one entry", "wide range"])
@pytest.mark.parametrize(
    ("dtype", "order"), [("float32", 3), ("float64", 4), ("complex64", 2), ("complex128", 3)]
)
@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("solver", ["gauss-newton", "lbfgs"])
def test_other_solvers(solver, scale, dtype, order, kind):
    check_fit(solver, scale, dtype, order, kind)


def check_fit(solver, scale, dtype, order, kind):
    tensor = data(kind, order, dtype, scale)
    result = fit(
        Decomposition(tensor),
        structure_for(kind, order),
        key=jax.random.key(0),
        solver=SOLVERS[solver],
        target_error=1e-3,
        max_steps=60,
    )
    check(result, tensor, dtype)
    assert np.isfinite(result.history).all()
    assert result.history.shape == (result.steps,)
    representable = KINDS[kind][1] or order == 1
    if representable:
        assert result.status is Status.TARGET_REACHED
    assert result.status in ENDED
    assert (result.error <= 1e-3) == (result.status is Status.TARGET_REACHED)


@grid(ORDERS[1:])
def test_search(scale, dtype, order, kind):
    tensor = data(kind, order, dtype, scale)
    result = search(Decomposition(tensor), key=jax.random.key(0), target_error=1e-3, max_steps=4)
    check(result, tensor, dtype)
    assert result.path
    assert all(math.isfinite(step.error) and 0 <= step.error <= 1.01 for step in result.path)
    if KINDS[kind][1]:
        assert result.status is Status.TARGET_REACHED
        assert result.num_params == sum(tensor.shape)
    if order == 2 and kind == "rank two":
        assert result.status is Status.TARGET_REACHED
    assert result.status in SEARCH_ENDED
    assert (result.error <= 1e-3) == (result.status is Status.TARGET_REACHED)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_zero_tensors_are_refused(dtype, order):
    with pytest.raises(ValueError, match="zero everywhere"):
        Decomposition(np.zeros(SHAPES[order], dtype))
