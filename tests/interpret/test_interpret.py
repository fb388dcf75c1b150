"""Programs run by NumPy give what XLA's give."""

import gc
import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from tests.helpers import by_precision
from tnjax import (
    ALS,
    Decomposition,
    LevenbergMarquardt,
    Structure,
    TensorNetwork,
    _collector,
    _compile,
    _interpret,
    search,
)
from tnjax._interpret import _guard, _lower, _operations, _products
from tnjax._search.fitting import evaluate as _evaluate
from tnjax._search.screening import candidates as _candidates
from tnjax._search.screening.screens import Spectral, Trial
from tnjax.solve import programs as _programs
from tnjax.solve.limits import limits_of

pytestmark = pytest.mark.quick

DTYPES = [jnp.float32, by_precision(jnp.complex128, jnp.complex64)]
RING = Structure.tensor_ring((4, 5, 3, 4), (2, 3, 2, 2))


def assert_close(found, expected):
    np.testing.assert_allclose(found, expected, rtol=by_precision(1e-7, 1e-5))


def both(function, *args) -> tuple[list, list]:
    """The leaves of the results of XLA and of NumPy."""
    traced = jax.jit(function).trace(*args)
    with np.errstate(all="ignore"):
        ours = _interpret.lower(traced.jaxpr)(*map(np.asarray, jax.tree.leaves(args)))
    return jax.tree.leaves(jax.jit(function)(*args)), ours


def check(function, *args, tolerance=None):
    theirs, ours = both(function, *args)
    assert len(theirs) == len(ours)
    for expected, found in zip(theirs, ours, strict=True):
        expected, found = np.asarray(expected), np.asarray(found)
        assert found.dtype == expected.dtype
        assert found.shape == expected.shape
        eps = jnp.finfo(expected.dtype).eps if expected.dtype.kind in "fc" else 0
        rtol = float((100 if tolerance is None else tolerance) * eps)
        np.testing.assert_allclose(found, expected, rtol=rtol, atol=rtol)


def draw(shape, dtype, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(shape)
    if np.issubdtype(dtype, np.complexfloating):
        x = x + 1j * rng.standard_normal(shape)
    return jnp.asarray(x, dtype)


def definite(x):
    one = jnp.broadcast_to(jnp.eye(x.shape[-1], dtype=x.dtype), x.shape)
    return x @ x.swapaxes(-1, -2).conj() + one


# Single operations -------------------------------------------------------------------------------

ELEMENTWISE = {
    "arithmetic": lambda x, y: (x + y) * (x - y) / (y + 3) - x**3,
    "broadcast": lambda x, y: x[:, None, :] * y[None] + x.sum() - y[0, 0],
    "compare": lambda x, y: (abs(x) > abs(y), abs(x) <= 1, x == y, jnp.isfinite(x)),
    "where": lambda x, y: jnp.where(abs(x) > 1, x, y * 2),
    "where of one": lambda x, y: jnp.where(abs(x[0, 0]) > 100, x, y),
    "functions": lambda x, y: (jnp.exp(-abs(x)), jnp.sqrt(abs(y)), jnp.log1p(abs(x)), jnp.tanh(y)),
    "maximum": lambda x, y: jnp.maximum(abs(x), abs(y)).min(0),
    "sums": lambda x, y: (x.sum(0), x.mean(), abs(y).max(1), (x * y).sum((0, 1), keepdims=True)),
    "positions": lambda x, y: (abs(x).argmax(1), abs(y).argmin(0)),
    "any and all": lambda x, y: ((abs(x) > 1).any(1), (abs(y) < 9).all()),
    "shapes": lambda x, y: (x.T.reshape(2, -1), jnp.ravel(y)[3:9:2], x[:, ::-1], x[None, :, None]),
    "joined": lambda x, y: (jnp.stack([x, y], 1), jnp.concatenate([x, y], 1)),
    "masks": lambda x, y: (jnp.tril(x), jnp.trace(y), jnp.eye(4, dtype=x.dtype)),
    "products": lambda x, y: (x @ y.T, jnp.vdot(x, y), jnp.outer(x[0], y[1])),
    "conjugates": lambda x, y: (x.conj() * y, x.real, jnp.abs(y) ** 2),
    "integers": lambda x, y: (jnp.arange(7) // 2, jnp.arange(7) % 3, jnp.arange(-3, 3) ** 2),
    "padded": lambda x, y: lax.pad(x, x[0, 0] * 0, [(1, 2, 0), (0, 1, 2)]),
    "clamped": lambda x, y: jnp.clip(abs(x), 0.5, 1),
    "casts": lambda x, y: (abs(x).astype(jnp.int32), (abs(x) > 1).astype(y.dtype)),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_operations(name, dtype):
    check(ELEMENTWISE[name], draw((4, 6), dtype), draw((4, 6), dtype, 1))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("exponent", [np.int8(2), np.int32(3)])
def test_powers_of_integers_keep_the_precision(exponent, dtype):
    check(lambda x, y: lax.pow(x, y), 1 + abs(draw((4,), dtype)).astype(dtype), exponent)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "word", ["abc,cd->abd", "abc,bac->", "abc,bcd->ad", "kab,kbc->kac", "kab,bka->k", "ab,cd->abcd"]
)
def test_contractions_in_any_order_of_axes(word, dtype):
    sizes = dict(zip("abcdk", (2, 3, 4, 5, 6), strict=True))
    left, right = word.split("->")[0].split(",")
    shapes = [[sizes[c] for c in part] for part in (left, right)]
    args = [draw(shape, dtype, n) for n, shape in enumerate(shapes)]
    check(lambda x, y: jnp.einsum(word, x, y), *args)
    check(lambda x, y: jnp.einsum(word, x.T.T, y + 0), *args)


@pytest.mark.parametrize("seed", range(20))
def test_products_of_operands_in_any_layout_are_those_of_einsum(seed, override):
    """Axes in any order, in memory too, broadcast, reversed, of size one; large and small."""
    rng = np.random.default_rng(seed)
    override({"interpreted_products.worthwhile": int(rng.choice([0, 2048]))})
    for _ in range(40):
        batch, summed = ["uv"[: rng.integers(0, 3)], "abc"[: rng.integers(0, 4)]]
        rows, columns = ["xyz"[: rng.integers(0, 4)], "pq"[: rng.integers(0, 3)]]
        sizes = {c: int(rng.integers(1, 6)) for c in "uvabcxyzpq"}
        left, right = (
            "".join(rng.permutation(list(batch + summed + own))) for own in (rows, columns)
        )
        x, y = (_laid_out(rng, [sizes[c] for c in names]) for names in (left, right))
        where = lambda names, left=left, right=right: (
            [left.index(c) for c in names],
            [right.index(c) for c in names],
        )
        order = "".join(rng.permutation(list(summed)))
        product = _products.Product(x.shape, y.shape, where(order), where(batch))
        own = [[c for c in names if c not in batch + summed] for names in (left, right)]
        word = f"{left},{right}->{batch}{''.join(own[0] + own[1])}"
        expected = np.einsum(word, x, y)
        for _ in range(2):  # planned, and as planned
            np.testing.assert_allclose(product(x, y), expected, rtol=1e-12, atol=1e-12)


def _laid_out(rng, shape):
    order = rng.permutation(len(shape))
    x = np.asarray(rng.standard_normal([shape[n] for n in order])).transpose(np.argsort(order))
    if shape and rng.random() < 0.2:
        x = np.broadcast_to(x[:1], shape)
    return x[::-1] if shape and rng.random() < 0.2 else x


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("left_side", [True, False])
@pytest.mark.parametrize("transposed", [True, False])
@pytest.mark.parametrize("lower", [True, False])
@pytest.mark.parametrize("batch", [(), (3,)])
def test_triangular_systems(batch, lower, transposed, left_side, dtype):
    matrix = definite(draw((*batch, 4, 4), dtype))
    other = draw((*batch, 4, 2) if left_side else (*batch, 2, 4), dtype, 1)
    solve = lambda a, b: lax.linalg.triangular_solve(
        a,
        b,
        left_side=left_side,
        lower=lower,
        transpose_a=transposed,
        conjugate_a=transposed and jnp.iscomplexobj(a),
    )
    check(solve, matrix, other, tolerance=1000)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_factorization_that_fails_is_nan_and_leaves_the_others(dtype):
    good = definite(draw((2, 3, 3), dtype))
    bad = jnp.concatenate([good, -good[:1]])
    check(lax.linalg.cholesky, good)
    theirs, ours = both(lambda x: lax.linalg.cholesky(x), bad)
    assert np.isnan(ours[0][2]).any()
    assert np.isnan(theirs[0][2]).any()
    np.testing.assert_allclose(ours[0][:2], theirs[0][:2], rtol=1e-4)


@pytest.mark.parametrize("dtype", DTYPES)
def test_loops_and_branches(dtype):
    def newton(x):
        going = lambda carry: (carry[1] < 40) & (abs(carry[0] - x / carry[0]).max() > 1e-3)
        step = lambda carry: ((carry[0] + x / carry[0]) / 2, carry[1] + 1)
        return lax.while_loop(going, step, (jnp.ones_like(x), 0))

    check(newton, abs(draw((3,), dtype)).astype(dtype) + 1)
    x = draw((5, 3), dtype)
    add = lambda carry, row: (carry + row, carry * row)
    check(lambda x: lax.scan(add, x[0], x), x)
    check(lambda x: lax.scan(add, x[0], x, reverse=True), x)
    for n in (-2, 0, 1, 7):
        branches = [lambda x: x + 1, lambda x: x * 2, lambda x: x[::-1]]
        check(lambda n, x, branches=branches: lax.switch(n, branches, x), jnp.int32(n), x)
    check(lambda x: lax.fori_loop(0, 5, lambda n, x: x.at[n].set(x[n] * n.astype(x.dtype)), x), x)
    check(lambda x: lax.fori_loop(0, 8, lambda n, x: x.at[n].set(1, mode="drop"), x), x)
    check(lambda x: lax.map(lambda row: row.sum(), x), x)


def test_under_vmap_and_grad():
    x = draw((3, 4), float)
    check(jax.vmap(jax.grad(lambda x: jnp.sum(jnp.sin(x) ** 2))), x)
    check(jax.vmap(lambda x: lax.while_loop(lambda y: y.sum() < 9, lambda y: y + 1, x)), x)


def test_arguments_are_left_as_they_are():
    x = np.arange(6.0).reshape(2, 3)
    kept = x.copy()
    traced = jax.jit(lambda x: (x.at[0].set(5), x.T + 1)).trace(x)
    _interpret.lower(traced.jaxpr)(x)
    np.testing.assert_array_equal(x, kept)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: jnp.linalg.svd(x)[1],
        lambda x: jnp.sort(x),
        lambda x: x.at[jnp.asarray([0, 0])].add(1),
        lambda x: jax.random.normal(jax.random.key(0), x.shape),
        lambda x: x.astype(jnp.bfloat16) / 3,
    ],
)
def test_what_is_not_known_is_refused(function):
    with pytest.raises(_interpret.Unsupported):
        _interpret.lower(jax.jit(function).trace(jnp.ones((3, 3))).jaxpr)


def test_arrays_that_are_not_numpys_own_and_unknown_parameters_are_refused(monkeypatch):
    lower = lambda f, *args: _interpret.lower(jax.jit(f).trace(*args).jaxpr)
    with pytest.raises(_interpret.Unsupported, match="bfloat16"):
        lower(lambda x: x / 3, jnp.ones(3, jnp.bfloat16))
    with pytest.raises(_interpret.Unsupported, match="key"):
        lower(lambda key, x: x, jax.random.key(0), 1.0)
    third = _compile.run(_third, (), (jnp.ones(3, jnp.bfloat16),), work=12).value
    assert third.dtype == jnp.bfloat16

    def renamed(eqn):
        return eqn.params["another name"]

    monkeypatch.setitem(_operations.OPERATIONS, "sin", renamed)
    with pytest.raises(_interpret.Unsupported, match="sin"):
        lower(jnp.sin, jnp.ones(3))


def _third(x):
    return x / 3


def test_the_forecast_counts_the_operations_of_loops():
    once = lambda x: jnp.sin(x) + 1
    often = lambda x: lax.while_loop(lambda x: x.sum() < 9, once, x)
    fixed = lambda x: lax.fori_loop(0, 50, lambda n, x: once(x), x)
    count = lambda f, passes: _interpret.lower(jax.jit(f).trace(jnp.ones(3)).jaxpr).operations(
        passes
    )
    assert count(often, 100) == pytest.approx(10 * count(often, 10), rel=0.2)
    assert count(often, 100) >= 200
    assert count(fixed, 1) == count(fixed, 100) >= 100


# Whole programs ----------------------------------------------------------------------------------


def problem(dtype, seed=0):
    truth = TensorNetwork.random(RING, key=jax.random.key(seed), dtype=dtype)
    noise = 0.1 * draw(RING.dims, dtype, seed + 1) / RING.num_params**0.5
    return Decomposition(truth.to_dense() + noise)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("solver", [ALS(), LevenbergMarquardt()])
def test_fits(solver, dtype):
    data = problem(dtype)
    start = TensorNetwork.random(RING, key=jax.random.key(5), dtype=dtype)
    limits = limits_of(solver, data, target_error=None, max_steps=3)

    def fitted(*args):
        network, error, _ = _programs._whole(*args)
        return network.to_dense(), error

    single = jnp.finfo(dtype).bits == 32
    check(fitted, data, solver, start, limits, tolerance=1e5 if single else 1e7)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("screen", [Spectral(), Trial()])
def test_screens(screen, dtype):
    data = problem(dtype)
    network = TensorNetwork.random(RING, key=jax.random.key(5), dtype=dtype)
    edges = ((0, 1), (0, 2), (1, 3), (2, 3))
    starts = _candidates.draw_slices(RING, RING, edges, dtype, (0,), increment=1)
    for width in (4, 3):  # three at a time: in chunks
        function = lambda *args, width=width: _evaluate.screen_program(edges, width, *args)
        single = jnp.finfo(dtype).bits == 32
        check(function, data, screen, network, starts, tolerance=1e5 if single else 1e7)


@pytest.mark.slow
def test_a_search_takes_the_same_moves_as_when_it_is_compiled(monkeypatch):
    data = problem(float)
    run = lambda: search(data, key=jax.random.key(0), target_error=0.02, max_steps=4)
    assert _compile.interprets()
    interpreted = run()
    monkeypatch.setenv("TNJAX_INTERPRET", "0")
    assert not _compile.interprets()
    compiled = run()
    assert [step.move for step in interpreted.path] == [step.move for step in compiled.path]
    errors = [[step.error for step in result.path] for result in (interpreted, compiled)]
    np.testing.assert_allclose(*errors, rtol=1e-6, atol=1e-12)


def test_programs_with_unknown_operations_are_compiled_and_give_the_same(monkeypatch):
    refused, known = [], _guard.lower

    def lower(jaxpr):
        try:
            return known(jaxpr)
        except _interpret.Unsupported:
            refused.append(1)
            raise

    monkeypatch.setattr(_guard, "lower", lower)
    x = jnp.asarray(np.random.default_rng(0).standard_normal((4, 3)))
    ran = _compile.run(jnp.linalg.svd, (), (x,), work=12)
    assert refused
    assert_close(ran.value[1], np.linalg.svd(x)[1])


def test_the_collector_of_cycles_is_left_alone_unless_that_is_allowed(monkeypatch):
    """Where it may be switched off, it is as it was afterwards."""
    monkeypatch.delenv("TNJAX_PAUSE_GC", raising=False)
    with _collector.at_rest:
        assert gc.isenabled()
    monkeypatch.setenv("TNJAX_PAUSE_GC", "1")
    fresh = lambda n: _compile.compiled(_double, (), (np.ones(n),), passes=1)
    try:
        for enabled in (True, False):
            (gc.enable if enabled else gc.disable)()
            fresh(11 + enabled)
            assert gc.isenabled() is enabled
        gc.enable()
        with _collector.at_rest:  # another thread makes a program meanwhile
            fresh(14)
            assert not gc.isenabled()
        assert gc.isenabled()
        with pytest.raises(TypeError):
            _compile.compiled(_double, (1, 2), (np.ones(3),))  # tracing fails
        assert gc.isenabled()
    finally:
        gc.enable()


def test_small_programs_are_interpreted_and_large_ones_compiled(monkeypatch):
    lowered = []
    lower = _guard.lower
    monkeypatch.setattr(_guard, "lower", lambda jaxpr: lowered.append(1) or lower(jaxpr))
    _compile.clear_cache()
    x = jnp.ones(3)
    assert _compile.run(_double, (), (x,), work=3).programs == 1
    assert _compile.run(_double, (), (x,), work=3).programs == 0
    assert len(lowered) == 1
    ran = _compile.run(_double, (), (x,), work=10**9)
    assert ran.programs == 1
    assert len(lowered) == 1
    np.testing.assert_array_equal(ran.value, 2 * np.ones(3))


def _double(x):
    return 2 * x


# What is not understood is compiled ---------------------------------------------------------------

X = np.linspace(-1, 1, 12).reshape(4, 3)


def _sines(x):
    return jnp.sin(x) + 1


def _sums_and_products(x):
    return lax.scan(lambda carry, row: (carry + row, carry * row), x[0], x)


@pytest.fixture
def fresh(fallback):
    """No program and no line of the log is there yet."""
    _compile.clear_cache()
    _guard._logged.clear()
    yield fallback
    _compile.clear_cache()
    _guard._logged.clear()


def ran(function, *args):
    return _compile.run(function, (), args, work=10).value


def changed(monkeypatch, primitive, change):
    """JAX gives this primitive other parameters."""
    known = _lower.Parameters

    def of(eqn):
        params = dict(eqn.params)
        return known(
            eqn.primitive.name, change(params) if eqn.primitive.name == primitive else params
        )

    monkeypatch.setattr(_lower.Parameters, "of", of)


def without(params, *names):
    return {name: value for name, value in params.items() if name not in names}


class _Groups:
    """As what says how the arguments of a scan are grouped, but another one."""

    def __init__(self, *groups):
        self.groups = groups

    def unpack(self):
        return self.groups


SCANS = {
    "names": lambda params: {f"new_{name}": value for name, value in params.items()},
    "one more": lambda params: {**params, "skipped": 2},
    "no body": lambda params: without(params, "jaxpr"),
    "no counts": lambda params: without(params, "ft_in", "num_carry"),
    "other counts": lambda params: {
        **without(params, "num_carry"),
        "ft_in": _Groups([0], [0], [0, 0]),
    },
    "other types": lambda params: {**without(params, "num_carry"), "ft_in": 3, "length": "4"},
}


@pytest.mark.parametrize("change", SCANS)
def test_a_scan_with_other_parameters_is_compiled(change, monkeypatch, fresh):
    changed(monkeypatch, "scan", SCANS[change])
    for _ in range(2):
        total, products = ran(_sums_and_products, X)
        assert_close(total, X[0] + X.sum(0))
        before = X[0] + np.cumsum(X, 0) - X
        assert_close(products, before * X)
    assert [record.levelname for record in fresh] == ["DEBUG"]
    assert "scan" in fresh[0].getMessage()


def test_parameters_of_no_effect_do_not_matter(monkeypatch, fresh):
    changed(monkeypatch, "sin", lambda params: {**params, "accuracy": "high", "new": None})
    assert_close(ran(_sines, X), np.sin(X) + 1)
    assert not fresh


def test_an_operation_with_a_parameter_more_is_compiled(monkeypatch, fresh):
    changed(monkeypatch, "sin", lambda params: {**params, "in_degrees": True})
    assert_close(ran(_sines, X), np.sin(X) + 1)
    assert "in_degrees=True" in fresh[0].getMessage()


def test_an_unknown_operation_is_compiled(monkeypatch, fresh):
    monkeypatch.delitem(_operations.OPERATIONS, "sin")
    assert_close(ran(_sines, X), np.sin(X) + 1)
    assert "the operation sin" in fresh[0].getMessage()


def test_a_jaxpr_of_another_kind_is_compiled(monkeypatch, fresh):
    def inline(*_):
        raise AttributeError("invars")

    monkeypatch.setattr(_lower._Builder, "inline", inline)
    assert_close(ran(_sines, X), np.sin(X) + 1)
    assert "AttributeError" in fresh[0].getMessage()


FAULTS = {
    "raises": lambda x: 1 / 0,
    "shape": lambda x: np.sin(x)[0, None],
    "wider": lambda x: np.sin(x).astype(np.longdouble),
    "nothing": lambda x: None,
    "does not end well": lambda x: [][0],
}


@pytest.mark.parametrize("fault", FAULTS)
def test_an_operation_that_fails_when_it_is_called_is_compiled(fault, monkeypatch, fresh):
    calls = []

    def sin(x):
        calls.append(1)
        return FAULTS[fault](x)

    monkeypatch.setitem(_operations.OPERATIONS, "sin", lambda eqn: sin)
    for _ in range(3):
        assert_close(ran(jnp.sin, X), np.sin(X))
    assert len(calls) == 1  # then compiled for good
    assert [record.levelname for record in fresh] == ["DEBUG"]


def test_an_operation_that_fails_at_a_later_call_is_compiled_too(monkeypatch, fresh):
    def sin(x):
        if x[0, 0] < 0:
            raise ValueError("negative")
        return np.sin(x)

    monkeypatch.setitem(_operations.OPERATIONS, "sin", lambda eqn: sin)
    for x in (X + 2, X, X + 2):
        assert_close(ran(jnp.sin, x), np.sin(x))
    assert len(fresh) == 1


def test_threads_share_the_program_that_is_compiled_instead(monkeypatch, fresh):
    meet, made, found = threading.Barrier(4), [], []

    def sin(x):
        meet.wait(60)
        raise ValueError

    monkeypatch.setitem(_operations.OPERATIONS, "sin", lambda eqn: sin)
    program = _compile.compiled(jnp.sin, (), (X,), passes=1).call
    make = program._make
    program._make = lambda args: made.append(1) or make(args)
    threads = [threading.Thread(target=lambda: found.append(program(X))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1
    assert len(found) == 4
    for value in found:
        assert_close(value, np.sin(X))


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, MemoryError])
def test_what_is_no_fault_of_the_interpreter_is_raised(error, monkeypatch, fresh):
    def stopped(*_):
        raise error

    monkeypatch.setitem(_operations.OPERATIONS, "sin", stopped)
    with pytest.raises(error):
        ran(jnp.sin, X)
    monkeypatch.setitem(_operations.OPERATIONS, "sin", lambda eqn: stopped)
    for _ in range(2):
        with pytest.raises(error):
            ran(jnp.sin, X)
    assert not fresh
