"""Networks: values against NumPy, transformations, arithmetic, scales, random starts."""

import dataclasses
import math

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.helpers import (
    DTYPES,
    dense_oracle,
    einsum,
    labels,
    needs_double,
    normal,
    random_cores,
    random_network,
    wide,
)
from tnjax import Structure, TensorNetwork, relative_error
from tnjax._init import host_cores
from tnjax._network import scaled
from tnjax.contract import kernels, logarithms
from tnjax.contract.equation import inner_equation
from tnjax.contract.path import plan

MIXED = Structure.from_edges(
    (3, 2, 4, 3),
    {(0, 1): 2, (0, 2, 3): 3, (1, 3): 2, (2, 3): 2},
    legs=[(0, 2), (1,), (3,), ()],
)
TRAIN = Structure.tensor_train((4, 3, 2), (3, 2))
EPS = {"float32": 1e-5, "float64": 1e-13, "complex64": 1e-5, "complex128": 1e-13}


def assert_close(found, expected, dtype):
    assert jnp.asarray(found).dtype == dtype
    bound = EPS[dtype]
    scale = np.abs(expected).max()
    np.testing.assert_allclose(wide(found), expected, rtol=bound, atol=bound * scale)


def real(dtype) -> str:
    return str(np.zeros((), dtype).real.dtype)


# Construction


def test_cores_may_be_numpy_arrays():
    network = random_network(TRAIN, "float32")
    assert all(isinstance(core, jax.Array) for core in network.cores)
    assert network.dtype == np.float32
    assert network.dims == (4, 3, 2)
    assert network.num_params == TRAIN.num_params == 12 + 18 + 4


@pytest.mark.parametrize(
    ("cores", "message"),
    [
        (random_cores(TRAIN)[:2], r"Core shapes .* expected \(\(4, 3\), \(3, 3, 2\), \(2, 2\)\)"),
        ((*random_cores(TRAIN), np.ones(2)), "Core shapes"),
        (
            (np.ones((3, 4)), *random_cores(TRAIN)[1:]),
            r"\(\(3, 4\), \(3, 3, 2\), \(2, 2\)\) do not",
        ),
        ((random_cores(TRAIN, "float32")[0], *random_cores(TRAIN)[1:]), "'float32', 'float64'"),
        ([np.ones(core.shape, np.int32) for core in random_cores(TRAIN)], "'int32'"),
        ([np.ones(core.shape, bool) for core in random_cores(TRAIN)], "'bool'"),
        ((random_cores(TRAIN)[0], None, random_cores(TRAIN)[2]), "core 1 is NoneType"),
        ((*random_cores(TRAIN)[:2], [["a", "b"]]), "core 2 is an array of <U1"),
    ],
    ids=["too few", "too many", "shape", "two dtypes", "integers", "booleans", "none", "text"],
)
def test_cores_that_do_not_fit_are_refused(cores, message):
    with pytest.raises(ValueError, match=message):
        TensorNetwork(TRAIN, cores)


def test_a_network_cannot_be_changed():
    network = random_network(TRAIN)
    with pytest.raises(dataclasses.FrozenInstanceError):
        network.cores = ()


def test_repr_names_structure_and_dtype():
    assert repr(random_network(TRAIN, "float32")) == f"TensorNetwork({TRAIN!r}, dtype=float32)"


# Values


@pytest.mark.parametrize("dtype", DTYPES)
def test_values_are_those_of_numpy(dtype):
    network, other = random_network(MIXED, dtype), random_network(MIXED, dtype, seed=1)
    dense = dense_oracle(MIXED, network.cores)
    assert_close(network.to_dense(), dense, dtype)
    rows = np.array([[0, 0, 0, 0], [2, 1, 3, 2], [1, 0, 2, 1], [1, 0, 2, 1]])
    assert_close(network.entries(rows), dense[tuple(rows.T)], dtype)
    inner = np.vdot(dense, dense_oracle(MIXED, other.cores))
    assert_close(network.inner(other), inner, dtype)
    assert_close(network.norm(), np.linalg.norm(dense), real(dtype))
    assert_close(network.conj().to_dense(), dense.conj(), dtype)


STRICT = {
    "to_dense": lambda network: network.to_dense(),
    "entries": lambda network: network.entries([[0, 0, 0, 0]]),
    "inner": lambda network: network.inner(network),
    "norm": lambda network: network.norm(),
    "balanced": lambda network: network.balanced().cores,
    "relative_error": lambda network: relative_error(network, network.to_dense()),
    "arithmetic": lambda network: (-(2 * network) / 3).cores,
}


@pytest.mark.parametrize("dtype", ["float32", "complex64"])
@pytest.mark.parametrize("name", STRICT)
def test_no_dtype_is_promoted_implicitly(name, dtype):
    with jax.numpy_dtype_promotion("strict"):
        found = STRICT[name](random_network(MIXED, dtype))
    allowed = {dtype, real(dtype)} if name in ("norm", "relative_error") else {dtype}
    assert {str(leaf.dtype) for leaf in jax.tree.leaves(found)} <= allowed


def test_a_network_of_one_node_is_its_core():
    structure = Structure.from_edges((2, 3), {}, legs=[(0, 1)])
    network = random_network(structure)
    np.testing.assert_array_equal(network.to_dense(), network.cores[0])
    np.testing.assert_array_equal(network.entries([[1, 2]]), network.cores[0][1, 2][None])
    np.testing.assert_allclose(network.norm(), np.linalg.norm(network.cores[0]))


def test_an_isolated_internal_node_is_a_factor():
    structure = Structure.from_edges((2, 3), {(0, 1): 2}, num_nodes=3)
    network = random_network(structure)
    bare = TensorNetwork(Structure.from_edges((2, 3), {(0, 1): 2}), network.cores[:2])
    factor = network.cores[2]
    np.testing.assert_allclose(network.to_dense(), factor * bare.to_dense())
    np.testing.assert_allclose(network.entries([[1, 2]]), factor * bare.entries([[1, 2]]))
    np.testing.assert_allclose(network.norm(), jnp.abs(factor) * bare.norm())


def test_precision_is_passed_on():
    network = random_network(TRAIN, "float32")
    np.testing.assert_allclose(
        network.to_dense(precision=jax.lax.Precision.DEFAULT), network.to_dense(), rtol=1e-2
    )
    np.testing.assert_allclose(
        network.entries([[0, 0, 0]], precision=jax.lax.Precision.DEFAULT),
        network.to_dense()[0, 0, 0][None],
        rtol=1e-2,
    )


def test_inner_needs_one_structure():
    with pytest.raises(ValueError, match="inner needs two networks of one structure"):
        random_network(TRAIN).inner(random_network(TRAIN.grow((0, 1))))


# Entries


@pytest.mark.parametrize(
    ("indices", "message"),
    [
        ([[0, 0, 0], [0, 3, 0]], r"indices\[1, 1\] = 3 is outside 0\.\.2, the range of mode 1"),
        ([[0, 0, -1]], r"indices\[0, 2\] = -1 is outside 0\.\.1"),
        ([[0, 0]], r"shape \[num_entries, 3\], got int64 of shape \[1, 2\]"),
        ([0, 0, 0], r"got int64 of shape \[3\]"),
        ([[0.0, 0.0, 0.0]], "expected integers .* got float64"),
        ([[True, False, True]], "expected integers .* got bool"),
    ],
    ids=["too large", "negative", "columns", "one row", "floats", "booleans"],
)
@pytest.mark.parametrize("convert", [list, np.asarray, jnp.asarray])
@pytest.mark.usefixtures("unchecked")
def test_wrong_indices_are_refused(indices, message, convert):
    network = random_network(TRAIN)
    with pytest.raises(ValueError, match=message):
        network.entries(convert(indices))


def test_no_entries_are_an_empty_array():
    found = random_network(TRAIN, "float32").entries(np.zeros((0, 3), np.int64))
    assert found.shape == (0,)
    assert found.dtype == np.float32


@pytest.mark.parametrize("kind", ["int8", "uint8", "int32", "uint64"])
def test_indices_of_any_integer_type(kind):
    network = random_network(TRAIN)
    rows = np.array([[3, 2, 1], [0, 1, 0]], kind)
    np.testing.assert_allclose(network.entries(rows), network.to_dense()[tuple(rows.T)])


def test_traced_indices():
    network, rows = random_network(TRAIN), jnp.array([[3, 2, 1], [0, 1, 0]])
    found = jax.jit(lambda network, rows: network.entries(rows))(network, rows)
    np.testing.assert_allclose(found, network.entries(rows))


def test_entries_of_a_tensor_too_large_to_exist():
    structure = Structure.tensor_train((50,) * 10, 2)
    network = random_network(structure)
    rows = np.random.default_rng(0).integers(0, 50, (4, 10))
    picked = [[core[row[node]] for node, core in enumerate(network.cores)] for row in rows]
    expected = [
        einsum([(core, labels(structure, k)[1:]) for k, core in enumerate(cores)], [])
        for cores in picked
    ]
    np.testing.assert_allclose(network.entries(rows), expected, rtol=1e-12)


# Norm


def norm_oracle(structure: Structure, cores) -> float:
    order, shift = len(structure.dims), len(structure.edges)
    twin = lambda node: [x + shift * (x >= order) for x in labels(structure, node)]
    operands = [(core, labels(structure, k)) for k, core in enumerate(cores)]
    operands += [(np.conj(core), twin(k)) for k, core in enumerate(cores)]
    return math.sqrt(einsum(operands, []).real)


@pytest.mark.parametrize(
    ("ranks", "dtype"),
    [((1,) * 9, "float64"), ((2, 1, 2, 2, 1, 2, 2, 2, 1), "complex128"), ((2,) * 9, "float64")],
)
def test_norm_never_makes_the_tensor(ranks, dtype):
    structure = Structure.tensor_train((50,) * 10, ranks)
    assert plan(inner_equation(structure)).largest <= structure.num_params
    network = random_network(structure, dtype)
    np.testing.assert_allclose(network.norm(), norm_oracle(structure, network.cores), rtol=1e-11)


@pytest.mark.parametrize(
    "scales",
    [
        (1e30, 1e-30, 1e30, 1e-30),
        (1e-30, 1e30, 1e-30, 1e30),
        (1e30, 1e30, 1e-30, 1e-30),
        (1e-30, 1e-30, 1e30, 1e30),
        (1e30, 1e-10, 1e-10, 1e-10),
        (1e-20, 1e-20, 1e20, 1e-10),
    ],
)
@pytest.mark.parametrize("dtype", ["float32", "complex64"])
def test_norm_survives_extreme_scales(scales, dtype):
    structure = Structure.tensor_ring((3, 4, 2, 3), 2)
    cores = random_cores(structure, dtype)
    expected = np.linalg.norm(dense_oracle(structure, cores)) * math.prod(scales)
    network = TensorNetwork(
        structure, [core * np.float32(s) for core, s in zip(cores, scales, strict=True)]
    )
    np.testing.assert_allclose(network.norm(), expected, rtol=1e-5)


def test_norm_of_cores_that_barely_fit():
    structure = Structure.rank_one((3, 3))
    network = TensorNetwork(structure, [jnp.full(3, 1e30, "float32"), jnp.full(3, 1e5, "float32")])
    np.testing.assert_allclose(network.norm(), 3e35, rtol=1e-5)


def test_norm_of_zero():
    network = random_network(TRAIN) * 0.0
    assert float(network.norm()) == 0


# Transformations


def test_jit_takes_and_gives_networks():
    network = random_network(MIXED)
    double, norm = jax.jit(lambda x: (x * 2, x.norm()))(network)
    assert double.structure == MIXED
    np.testing.assert_allclose(norm, network.norm())
    np.testing.assert_allclose(double.to_dense(), 2 * network.to_dense())


def test_vmap_over_networks():
    networks = [random_network(MIXED, seed=seed) for seed in range(3)]
    batch = jax.tree.map(lambda *cores: jnp.stack(cores), *networks)
    rows = np.array([[0, 0, 0, 0], [2, 1, 3, 2]])
    dense, entries, norms = jax.vmap(lambda x: (x.to_dense(), x.entries(rows), x.norm()))(batch)
    for k, network in enumerate(networks):
        np.testing.assert_allclose(dense[k], network.to_dense(), atol=1e-12)
        np.testing.assert_allclose(entries[k], network.entries(rows), atol=1e-12)
        np.testing.assert_allclose(norms[k], network.norm(), rtol=1e-12)


FUNCTIONS = {
    "norm": lambda network: network.norm(),
    "to_dense": lambda network: jnp.sum(jnp.abs(network.to_dense()) ** 4),
    "entries": lambda network: jnp.abs(network.entries([[0, 0, 0], [3, 2, 1]])).sum(),
    "inner": lambda network: network.inner(network).real,
    "balanced": lambda network: network.balanced().cores[0].real.sum(),
}


@pytest.mark.parametrize(
    ("name", "dtype"),
    [*((name, "float64") for name in FUNCTIONS), ("norm", "complex128"), ("entries", "complex128")],
)
def test_gradients_are_those_of_finite_differences(name, dtype):
    function = jax.jit(FUNCTIONS[name])
    network, direction = random_network(TRAIN, dtype), random_network(TRAIN, dtype, seed=1)
    gradient = jax.jit(jax.grad(FUNCTIONS[name]))(network)
    pairs = zip(gradient.cores, direction.cores, strict=True)
    found = sum(jnp.sum(g * d).real for g, d in pairs)
    step = 1e-5
    moved = [
        jax.tree.map(lambda x, d, sign=sign: x + sign * step * d, network, direction)
        for sign in (1, -1)
    ]
    expected = (function(moved[0]) - function(moved[1])) / (2 * step)
    np.testing.assert_allclose(found, expected, rtol=1e-7, atol=1e-7)


def test_the_leaves_are_the_cores():
    network = random_network(MIXED)
    leaves, treedef = jax.tree.flatten(network)
    assert len(leaves) == MIXED.num_nodes
    assert all(a is b for a, b in zip(leaves, network.cores, strict=True))
    same = Structure.from_json(MIXED.to_json())
    assert jax.tree.structure(random_network(same, seed=3)) == treedef
    halved = jax.tree.map(lambda core: core / 2, network)
    np.testing.assert_allclose(halved.to_dense(), network.to_dense() / 2**MIXED.num_nodes)


def test_equal_structures_share_a_trace():
    dense = jax.jit(chex.assert_max_traces(lambda network: network.to_dense(), n=1))
    for seed in range(3):
        dense(random_network(Structure.tensor_ring((3, 2, 3, 2), 2), seed=seed))


@pytest.mark.parametrize(
    ("module", "equation", "call"),
    [
        (kernels, "dense_equation", lambda network: network.to_dense()),
        (kernels, "entries_equation", lambda network: network.entries([[0, 0, 0]])),
        (kernels, "inner_equation", lambda network: network.inner(network)),
        (logarithms, "inner_equation", lambda network: network.norm()),
    ],
    ids=["to_dense", "entries", "inner", "norm"],
)
def test_methods_trace_once_for_equal_structures(module, equation, call, monkeypatch, request):
    traces = []
    make = getattr(module, equation)
    monkeypatch.setattr(module, equation, lambda *args: traces.append(1) or make(*args))
    dims = (2, 3, 11 + len(request.node.callspec.id))
    for seed in range(3):
        call(random_network(Structure.tensor_ring(dims, 2), seed=seed))
    assert len(traces) == 1


# Arithmetic


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_network_is_multiplied_by_scalars(dtype):
    network = random_network(TRAIN, dtype)
    dense = dense_oracle(TRAIN, network.cores)
    for found, expected in [
        (network * 3, 3 * dense),
        (0.5 * network, 0.5 * dense),
        (network / 4, dense / 4),
        (-network, -dense),
        (network * jnp.asarray(2, dtype), 2 * dense),
    ]:
        assert found.structure == TRAIN
        assert_close(found.to_dense(), expected, dtype)


def test_a_complex_network_is_multiplied_by_complex_scalars():
    network = random_network(TRAIN, "complex64")
    dense = dense_oracle(TRAIN, network.cores)
    assert_close((network * (1 - 2j)).to_dense(), (1 - 2j) * dense, "complex64")


@pytest.mark.parametrize("dtype", DTYPES)
def test_balanced_is_the_same_tensor_with_cores_of_one_norm(dtype):
    network = random_network(MIXED, dtype)
    scales = (1e-6, 1e3, 1e4, 0.5)
    network = TensorNetwork(
        MIXED,
        [core * np.asarray(s, dtype) for core, s in zip(network.cores, scales, strict=True)],
    )
    balanced = network.balanced()
    norms = [float(jnp.linalg.norm(core.ravel())) for core in balanced.cores]
    np.testing.assert_allclose(norms, norms[0], rtol=1e-4)
    assert_close(balanced.to_dense(), dense_oracle(MIXED, network.cores), dtype)


def test_balanced_survives_extreme_scales():
    structure = Structure.rank_one((3, 3, 3, 3))
    values = (1e30, 1e30, 1e-30, 1e-30)
    network = TensorNetwork(structure, [jnp.full(3, value, "float32") for value in values])
    for core in network.balanced().cores:
        np.testing.assert_allclose(core, np.ones(3), rtol=1e-4)


def test_balanced_leaves_a_zero_network_alone():
    network = random_network(TRAIN) * 0.0
    for found, core in zip(network.balanced().cores, network.cores, strict=True):
        np.testing.assert_array_equal(found, core)


def test_scaled_spreads_the_factor_over_the_cores():
    network = random_network(TRAIN, "float32")
    found = scaled(network, 1e30)
    assert max(float(jnp.abs(core).max()) for core in found.cores) < 1e12
    np.testing.assert_allclose(found.norm(), network.norm() * 1e30, rtol=1e-4)


def test_astype_changes_the_dtype_only():
    network = random_network(TRAIN)
    for dtype in ("float32", "complex64", "complex128"):
        found = network.astype(dtype)
        assert found.structure == TRAIN
        assert_close(found.to_dense(), dense_oracle(TRAIN, found.cores), dtype)
        np.testing.assert_allclose(found.to_dense(), network.to_dense(), rtol=1e-4, atol=1e-5)


# Relative error


def test_relative_error_is_not_squared():
    y = jnp.array([[3.0, 0.0], [0.0, 4.0]])
    assert float(relative_error(y.at[0, 0].set(3.5), y)) == pytest.approx(0.1)
    assert float(relative_error(y, y)) == 0
    assert float(relative_error(jnp.zeros((2, 2)), y)) == 1


@pytest.mark.parametrize("dtype", DTYPES)
def test_relative_error_of_arrays_and_networks(dtype):
    network = random_network(TRAIN, dtype)
    y = normal((4, 3, 2), dtype, seed=5)
    dense = dense_oracle(TRAIN, network.cores)
    expected = np.linalg.norm(dense - y) / np.linalg.norm(wide(y))
    for x in (network, network.to_dense(), np.asarray(network.to_dense())):
        found = relative_error(x, y)
        assert found.dtype == real(dtype)
        np.testing.assert_allclose(found, expected, rtol=1e-5)


@needs_double
def test_relative_error_of_a_network_and_data_of_another_precision():
    x, y = (normal((4, 3, 2), dtype, seed=5 + k) for k, dtype in enumerate(("float32", "float64")))
    found = relative_error(x, y)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, np.linalg.norm(x - y) / np.linalg.norm(y), rtol=1e-12)


def test_relative_error_needs_equal_shapes():
    with pytest.raises(ValueError, match=r"shapes differ, \(2, 3\) and \(3, 2\)"):
        relative_error(np.ones((2, 3)), np.ones((3, 2)))
    with pytest.raises(ValueError, match=r"shapes differ, \(4, 3, 2\) and \(24,\)"):
        relative_error(random_network(TRAIN), np.ones(24))


@pytest.mark.parametrize(
    ("scale", "dtype"),
    [(1e-200, "float64"), (1e200, "float64"), (1e-30, "float32"), (1e30, "float32")],
)
def test_relative_error_does_not_depend_on_the_scale(scale, dtype):
    x, y = normal((4, 3), dtype, seed=0), normal((4, 3), dtype, seed=1)
    factor = np.asarray(scale, dtype)
    found = relative_error(x * factor, y * factor)
    np.testing.assert_allclose(found, relative_error(x, y), rtol=1e-5)


# Random starts

STARTS = {
    "hyperedge": Structure.from_edges((14, 12, 13), {(0, 1, 2): 3, (1, 2): 2}),
    "internal": Structure.from_edges((30,), {(0, 1): 12}),
}


@pytest.mark.parametrize(("name", "dtype"), [("hyperedge", "float32"), ("internal", "complex64")])
def test_random_networks_have_unit_mean_square_norm(name, dtype):
    keys = jax.random.split(jax.random.key(0), 200)
    norm = lambda key: TensorNetwork.random(STARTS[name], key=key, dtype=dtype).norm()
    norms = jax.jit(jax.vmap(norm))(keys)
    assert float(jnp.mean(norms**2)) == pytest.approx(1, abs=0.2)


@pytest.mark.parametrize("dtype", [np.float32, np.complex64])
def test_starts_drawn_on_the_host_have_unit_mean_square_norm(dtype):
    structure, rng = STARTS["hyperedge"], np.random.default_rng(0)
    starts = [host_cores(structure, rng, dtype) for _ in range(200)]
    assert {core.dtype for core in starts[0]} == {np.dtype(dtype)}
    squares = [norm_oracle(structure, cores) ** 2 for cores in starts]
    assert np.mean(squares) == pytest.approx(1, abs=0.2)


def test_random_networks_follow_their_key():
    structure = Structure.rank_one((6, 6))
    make = lambda seed, **options: TensorNetwork.random(
        structure, key=jax.random.key(seed), **options
    )
    network = make(0)
    assert network.dtype == np.float64
    assert make(0, dtype=jnp.float32).dtype == np.float32
    chex.assert_trees_all_equal(network, make(0))
    assert not np.allclose(network.cores[0], make(1).cores[0])
    assert not np.allclose(network.cores[0], network.cores[1])
