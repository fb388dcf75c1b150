"""Layers against dense layers of the rebuilt weight, in both frameworks."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import tnjax.nn as tnn
from tests.helpers import by_precision, normal
from tnjax import Structure
from tnjax.nn import _linear
from tnjax.nn import equinox as tne
from tnjax.nn import flax as tnf

pytestmark = pytest.mark.quick

LAYOUTS = {
    "low_rank": tnn.low_rank(7, 8, 3),
    "tt": tnn.tt_matrix((3, 4), (2, 4), 3, rows=11),
    "tr": tnn.tr_matrix((2, 2, 3), (2, 2, 2), (2, 2, 3), columns=7),
    "tucker": tnn.tucker_matrix((3, 3), (2, 4), (3, 2)),
    "btt": tnn.block_tensor_train((2, 3), (3, 2), 2),
    "monarch": tnn.monarch(6, 8, 2),
    "kronecker": tnn.paired((3, 2), (2, 4)),
    "any": tnn.Layout(Structure.from_edges((4, 3, 5), {(0, 1): 2, (0, 2): 3, (1, 3): 2}), 1),
}
names = pytest.mark.parametrize("name", LAYOUTS)
jitted = pytest.mark.parametrize("name", ["tt", "tucker", "btt", "any"])


def host_cores(layout, seed=0, dtype="float32"):
    return [normal(shape, dtype, (seed, k)) / 2 for k, shape in enumerate(layout.core_shapes)]


def oracle(layout, cores) -> np.ndarray:
    """The weight by NumPy's einsum over all nodes, copies as identity matrices."""
    structure, order = layout.structure, len(layout.structure.dims)
    bond = {edge: order + b for b, edge in enumerate(structure.edges)}
    given = dict(zip(layout.nodes, cores, strict=True))
    operands = []
    for node in range(structure.num_nodes):
        core = given.get(node, np.eye(structure.core_shape(node)[0]))
        labels = [*structure.legs[node], *(bond[e] for e in structure.core_edges(node))]
        operands += [np.asarray(core, np.float64), labels]
    full = np.einsum(*operands, list(range(order)), optimize="greedy")
    return full.reshape(layout.padded_rows, -1)[: layout.rows, : layout.columns]


@names
def test_the_weight_is_the_contracted_network(name):
    layout = LAYOUTS[name]
    cores = host_cores(layout)
    found = _linear.weight(layout, tuple(map(jnp.asarray, cores)))
    assert found.shape == layout.shape
    np.testing.assert_allclose(found, oracle(layout, cores), rtol=1e-5, atol=1e-5)


@jitted
@pytest.mark.parametrize("mode", ["input", "weight"])
def test_equinox_equals_the_dense_layer(name, mode):
    layout = LAYOUTS[name]
    cores = host_cores(layout)
    bias = normal(layout.rows, "float32", 1)
    layer = tne.TNLinear(layout, cores=cores, bias=bias, mode=mode, checkpoint=mode == "weight")
    dense = oracle(layout, cores)
    x = normal((5, layout.columns), "float32", 2)
    expected = x @ dense.T + bias

    @eqx.filter_jit
    def run(layer, x):
        loss = lambda layer, x: jnp.sum(jnp.sin(layer(x)))
        return layer(x), jax.vmap(layer)(x), eqx.filter_grad(loss)(layer, x)

    batch, mapped, grads = run(layer, x)
    np.testing.assert_allclose(batch, expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(mapped, expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(grads.bias, np.cos(expected).sum(0), rtol=1e-4, atol=1e-4)
    # dL/dW by hand, pulled back to one core by the linearity of W in it.
    slope = np.cos(expected).T @ x
    direction = normal(cores[0].shape, "float64", 3)
    along = np.sum(slope * oracle(layout, [direction, *cores[1:]]))
    assert np.sum(np.asarray(grads.cores[0]) * direction) == pytest.approx(along, rel=1e-4)


@jitted
def test_flax_equals_the_dense_layer(name):
    layout = LAYOUTS[name]
    cores = host_cores(layout)
    bias = normal(layout.rows, "float32", 1)
    layer = tnf.TNLinear(layout, cores=cores, bias=bias)
    x = normal((5, layout.columns), "float32", 2)
    expected = x @ oracle(layout, cores).T + bias

    @nnx.jit
    def run(layer, x):
        grads = nnx.grad(lambda layer: jnp.sum(jnp.sin(layer(x))))(layer)
        return layer(x), jax.vmap(lambda row: layer(row))(x), grads

    batch, mapped, grads = run(layer, x)
    np.testing.assert_allclose(batch, expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(mapped, expected, rtol=1e-5, atol=1e-5)
    bias_grad = jax.tree.leaves(grads["bias"])[0]
    np.testing.assert_allclose(bias_grad, np.cos(expected).sum(0), rtol=1e-4, atol=1e-4)


def test_conversion_between_frameworks_keeps_outputs():
    key = jax.random.key(0)
    linear = tne.TNLinear(LAYOUTS["tt"], key=key)
    x = normal((4, 8), "float32")
    there = tnf.from_equinox(linear)
    np.testing.assert_array_equal(there(jnp.asarray(x)), linear(jnp.asarray(x)))
    back = tne.from_flax(there)
    assert eqx.tree_equal(back, linear)

    layout = tnn.tt_matrix((2, 3), (3, 9), 2)
    conv = tne.TNConv(layout, (3, 3), stride=2, padding=1, key=key)
    image = jnp.asarray(normal((3, 7, 7), "float32"))
    there = tnf.from_equinox(conv)
    np.testing.assert_allclose(
        jnp.moveaxis(there(jnp.moveaxis(image, 0, -1)), -1, 0), conv(image), rtol=1e-6, atol=1e-6
    )
    assert eqx.tree_equal(tne.from_flax(there), conv)

    table = tne.TNEmbedding(tnn.tt_matrix((3, 4), (2, 2), 2, rows=11), key=key)
    there = tnf.from_equinox(table)
    np.testing.assert_array_equal(there(jnp.arange(11)), table(jnp.arange(11)))
    assert eqx.tree_equal(tne.from_flax(there), table)


@pytest.mark.parametrize("mode", ["input", "weight"])
def test_convolutions_equal_the_dense_one(mode):
    layout = tnn.tt_matrix((2, 3), (4, 9), 5)
    conv = eqx.nn.Conv2d(4, 6, 3, stride=2, padding=1, dilation=1, key=jax.random.key(0))
    layer = tne.TNConv(
        layout, (3, 3), stride=2, padding=1, mode=mode, key=jax.random.key(1), use_bias=True
    )
    dense = eqx.tree_at(
        lambda c: (c.weight, c.bias), conv, (layer.weight, layer.bias.reshape(6, 1, 1))
    )
    image = jnp.asarray(normal((4, 7, 8), "float32"))
    np.testing.assert_allclose(layer(image), dense(image), rtol=1e-5, atol=1e-5)

    other = tnf.from_equinox(layer)
    flax_dense = nnx.Conv(4, 6, (3, 3), strides=2, padding=((1, 1), (1, 1)), rngs=nnx.Rngs(0))
    flax_dense.kernel.set_value(other.weight)
    last = jnp.moveaxis(image, 0, -1)[None]
    np.testing.assert_allclose(other(last), flax_dense(last), rtol=1e-5, atol=1e-5)
    again = tnf.TNConv.from_dense(flax_dense, layout)
    np.testing.assert_allclose(again(last), flax_dense(last), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", ["btt", "tucker"])
def test_an_embedding_gathers_rows_of_the_weight(name):
    layout = LAYOUTS[name]
    cores = host_cores(layout)
    table = oracle(layout, cores)
    index = np.arange(layout.rows).reshape(1, -1)[:, ::-1]
    layer = tne.TNEmbedding(layout, cores=cores)
    np.testing.assert_allclose(layer(jnp.asarray(index)), table[index], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("name", "scheme"), [("btt", "even"), ("tucker", "fan")])
def test_random_layers_have_the_output_variance_of_dense_ones(name, scheme):
    layout = LAYOUTS[name]
    draw = lambda key: _linear.init_cores(layout, key=key, variance=0.25, scheme=scheme)
    stacks = jax.vmap(draw)(jax.random.split(jax.random.key(0), 300))
    found = [np.mean(oracle(layout, [core[n] for core in stacks]) ** 2) for n in range(300)]
    spread = np.std(found) / np.sqrt(len(found))
    assert abs(np.mean(found) - 0.25) < 5 * spread


@pytest.mark.parametrize("name", ["low_rank", "tt", "tucker", "btt", "monarch", "kronecker"])
def test_project_finds_an_exact_network(name):
    layout = LAYOUTS[name]
    matrix = oracle(layout, host_cores(layout, dtype="float64"))
    if layout.shape != (layout.padded_rows, layout.padded_columns):
        layout = tnn.Layout(layout.structure, layout.num_row_modes, copies=layout.copies)
        matrix = oracle(layout, host_cores(layout, dtype="float64"))
    found = tnn.project(layout, matrix, sweeps=200)
    assert found.error < 1e-6
    np.testing.assert_allclose(
        found.error,
        np.linalg.norm(oracle(layout, found.cores) - matrix) / np.linalg.norm(matrix),
        atol=1e-9,
    )


def test_project_is_the_truncated_svd_for_one_bond():
    matrix = normal((9, 7))
    found = tnn.project(tnn.low_rank(9, 7, 3), matrix)
    values = np.linalg.svd(matrix, compute_uv=False)
    assert found.error == pytest.approx(np.linalg.norm(values[3:]) / np.linalg.norm(values))


def test_project_pads_what_does_not_factor():
    matrix = normal((5, 7))
    rows, columns = tnn.factor(5, 2, pad=True), tnn.factor(7, 2, pad=True)
    layout = tnn.tt_matrix(rows, columns, 9, rows=5, columns=7)
    assert tnn.project(layout, matrix).error < 1e-6


@pytest.mark.parametrize(("name", "factor"), [("tt", 1e-6), ("tr", 0.5)])
def test_entries_that_do_not_exist_carry_no_weight(name, factor):
    """A matrix that a padded tree represents exactly is found, whatever lies in the padding; on a
    ring the least squares get stuck, though far below."""
    layout = LAYOUTS[name]
    assert layout.shape != (layout.padded_rows, layout.padded_columns)
    matrix = oracle(layout, host_cores(layout, dtype="float64"))
    zeros = tnn.project(layout, matrix, sweeps=0)  # the padding taken for zeros
    found = tnn.project(layout, matrix, sweeps=40)
    assert found.error < by_precision(factor, max(factor, 1e-5)) * zeros.error
    error = np.linalg.norm(oracle(layout, found.cores) - matrix) / np.linalg.norm(matrix)
    assert found.error == pytest.approx(error, abs=1e-9)


def test_project_closes_loops_by_least_squares():
    layout = LAYOUTS["tr"]
    ring = tnn.Layout(layout.structure, layout.num_row_modes)
    matrix = oracle(ring, host_cores(ring, dtype="float64"))
    tree = tnn.project(ring, matrix, sweeps=0)
    assert tnn.project(ring, matrix, sweeps=50).error < 0.8 * tree.error


def test_the_forecast_follows_layout_and_batch():
    dense = 2 * 64 * 64
    low = tnn.low_rank(64, 64, 4)
    assert low.forecast(1).input_flops == 2 * 4 * (64 + 64)
    assert low.forecast(1).best == "input"
    assert low.forecast(10).weight_flops == dense * 4 + 10 * dense
    # A bond wider than the matrix: the product of the cores once, not per vector. The plan that
    # takes the input along finds that by itself.
    wide = tnn.low_rank(64, 64, 100).forecast(4096)
    assert wide.input_flops == wide.weight_flops < 2 * 100 * 128 * 4096


def test_bad_input_is_told():
    layout = LAYOUTS["tt"]
    with pytest.raises(ValueError, match="needs `key"):
        tne.TNLinear(layout)
    with pytest.raises(ValueError, match="do not fit"):
        tne.TNLinear(layout, cores=[np.zeros((2, 2))])
    with pytest.raises(ValueError, match="last axis"):
        tne.TNLinear(layout, key=jax.random.key(0))(jnp.zeros(3))
    with pytest.raises(ValueError, match="do not divide"):
        tnn.monarch(10, 9, 3)
    with pytest.raises(ValueError, match="pad=True"):
        tnn.factor(1021, 4)
    with pytest.raises(ValueError, match="do not fit into"):
        tnn.tt_matrix((2, 2), (2, 2), 2, rows=5)
    with pytest.raises(ValueError, match="NaN"):
        tnn.project(tnn.low_rank(2, 2, 1), np.full((2, 2), np.nan))
    with pytest.raises(ValueError, match="do not divide the"):
        tne.TNConv(tnn.low_rank(8, 26, 4), (3, 3), key=jax.random.key(0))


def test_learning_rate_scales_follow_the_fan_in():
    fans = tnn.core_fans(tnn.block_tensor_train((4, 8), (4, 8), 2))
    # L sums over rank x column digit... of its own block; R over its column digit.
    assert fans == ((2, 4), (8, 2))
    assert tnn.learning_rate_scales(tnn.low_rank(20, 30, 4), base_fan_in=4) == (1.0, 4 / 30)
