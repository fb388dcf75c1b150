"""Every kind of layer of Equinox and Flax: compressed at full rank it is the same function, with
the same gradients, types and attributes; or it is refused by name."""

import warnings

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import tnjax
import tnjax.nn as tnn
from tests.helpers import normal
from tnjax.nn import equinox as tne
from tnjax.nn import flax as tnf

pytestmark = [pytest.mark.quick, pytest.mark.usefixtures("usual_promotion")]

KEY = jax.random.key(7)
F32 = {"dtype": jnp.float32, "key": KEY}
RNGS = nnx.Rngs(0)


def x(*shape, dtype="float32"):
    return jnp.asarray(normal(shape, "float32"), dtype)


def index(*values):
    return jnp.asarray(values)


# name: (layer, input)
EQUINOX = {
    "Linear": (lambda: eqx.nn.Linear(5, 4, **F32), x(5)),
    "Linear without bias": (lambda: eqx.nn.Linear(5, 4, use_bias=False, **F32), x(5)),
    "Linear to a number": (lambda: eqx.nn.Linear(5, "scalar", **F32), x(5)),
    "Linear from a number": (lambda: eqx.nn.Linear("scalar", 4, **F32), x()),
    "Linear of numbers": (lambda: eqx.nn.Linear("scalar", "scalar", **F32), x()),
    "Linear in 16 bits": (lambda: eqx.nn.Linear(5, 4, dtype=jnp.bfloat16, key=KEY), x(5)),
    "Linear of integers": (lambda: eqx.nn.Linear(5, 4, **F32), jnp.arange(5)),
    "Conv1d": (lambda: eqx.nn.Conv1d(2, 3, 3, padding=1, **F32), x(2, 5)),
    "Conv1d lower": (lambda: eqx.nn.Conv1d(2, 3, 4, padding="SAME_LOWER", **F32), x(2, 5)),
    "Conv1d reflected": (
        lambda: eqx.nn.Conv1d(2, 3, 3, padding=1, padding_mode="REFLECT", **F32),
        x(2, 5),
    ),
    "Conv1d replicated": (
        lambda: eqx.nn.Conv1d(2, 3, 3, padding="SAME", padding_mode="REPLICATE", **F32),
        x(2, 5),
    ),
    "Conv2d": (
        lambda: eqx.nn.Conv2d(2, 3, 3, stride=2, dilation=2, padding=2, **F32),
        x(2, 5, 5),
    ),
    "Conv3d": (lambda: eqx.nn.Conv3d(1, 2, 2, use_bias=False, **F32), x(1, 3, 3, 3)),
    "Embedding": (lambda: eqx.nn.Embedding(3, 4, **F32), jnp.asarray(1)),
    "Embedding from the end": (lambda: eqx.nn.Embedding(3, 4, **F32), jnp.asarray(-1)),
    "Embedding outside": (lambda: eqx.nn.Embedding(3, 4, **F32), jnp.asarray(9)),
    "MLP": (lambda: eqx.nn.MLP(3, "scalar", 4, 1, **F32), x(3)),
    "MultiheadAttention": (
        lambda: Applied(eqx.nn.MultiheadAttention(2, 4, dtype=jnp.float32, key=KEY)),
        x(3, 4),
    ),
}
FLAX = {
    "Linear": (lambda: nnx.Linear(5, 4, rngs=RNGS), x(2, 5)),
    "Linear in 16 bits": (lambda: nnx.Linear(5, 4, dtype=jnp.bfloat16, rngs=RNGS), x(2, 5)),
    "Linear of 16 bits": (lambda: nnx.Linear(5, 4, param_dtype=jnp.bfloat16, rngs=RNGS), x(2, 5)),
    "Linear of integers": (lambda: nnx.Linear(5, 4, use_bias=False, rngs=RNGS), jnp.arange(5)),
    "Linear to 32 bits": (
        lambda: nnx.Linear(5, 4, dtype=jnp.bfloat16, preferred_element_type=jnp.float32, rngs=RNGS),
        x(2, 5),
    ),
    "LinearGeneral": (lambda: nnx.LinearGeneral(4, (2, 3), rngs=RNGS), x(2, 4)),
    "LinearGeneral of two": (
        lambda: nnx.LinearGeneral((3, 2), (2, 2), axis=(-2, 0), rngs=RNGS),
        x(3, 2, 5),
    ),
    "Einsum": (
        lambda: nnx.Einsum("...ij,kjl->...ilk", (2, 3, 4), (2, 4), rngs=RNGS),
        x(2, 2, 3),
    ),
    "Einsum of one": (lambda: nnx.Einsum("ba,ac->bc", (3, 4), rngs=RNGS), x(2, 3)),
    "Conv": (lambda: nnx.Conv(2, 3, (3,), rngs=RNGS), x(2, 5, 2)),
    "Conv of one image": (lambda: nnx.Conv(2, 3, (3, 3), strides=2, rngs=RNGS), x(5, 5, 2)),
    "Conv circular": (lambda: nnx.Conv(2, 3, (3,), padding="CIRCULAR", rngs=RNGS), x(1, 5, 2)),
    "Conv reflected": (lambda: nnx.Conv(2, 3, (3,), padding="REFLECT", rngs=RNGS), x(1, 5, 2)),
    "Conv causal": (
        lambda: nnx.Conv(2, 3, (3,), padding="CAUSAL", kernel_dilation=2, rngs=RNGS),
        x(1, 5, 2),
    ),
    "Conv dilated": (
        lambda: nnx.Conv(2, 3, (3,), padding=1, input_dilation=2, rngs=RNGS),
        x(1, 5, 2),
    ),
    "Conv in 16 bits": (lambda: nnx.Conv(2, 3, (3,), dtype=jnp.bfloat16, rngs=RNGS), x(1, 5, 2)),
    "Embed": (lambda: nnx.Embed(3, 4, rngs=RNGS), index(0, 2, -1)),
    "Embed outside": (lambda: nnx.Embed(3, 4, rngs=RNGS), index(3, -4, 1)),
    "Embed of one": (lambda: nnx.Embed(1, 4, rngs=RNGS), index(0, 5)),
    "Embed in 16 bits": (lambda: nnx.Embed(3, 4, dtype=jnp.bfloat16, rngs=RNGS), index(0, 2)),
    "MultiHeadAttention": (
        lambda: nnx.MultiHeadAttention(2, 4, decode=False, rngs=RNGS),
        x(1, 3, 4),
    ),
    "GRUCell": (lambda: Stepped(nnx.GRUCell(3, 4, rngs=RNGS)), x(2, 3)),
    "OptimizedLSTMCell": (lambda: Stepped(nnx.OptimizedLSTMCell(3, 4, rngs=RNGS)), x(2, 3)),
    "SimpleCell": (lambda: Stepped(nnx.SimpleCell(3, 4, rngs=RNGS)), x(2, 3)),
}
REFUSED = {
    "Equinox subclass": (lambda: Doubled(3, 3, **F32), "subclass of Linear.*register_layer"),
    "Equinox groups": (lambda: eqx.nn.Conv1d(2, 2, 3, groups=2, **F32), "groups=2"),
    "Equinox transposed": (lambda: eqx.nn.ConvTranspose1d(2, 2, 3, **F32), "no layer of a known"),
    "Equinox WeightNorm": (lambda: eqx.nn.WeightNorm(eqx.nn.Linear(3, 3, **F32)), "WeightNorm"),
    "Equinox SpectralNorm": (
        lambda: eqx.nn.make_with_state(eqx.nn.SpectralNorm)(
            eqx.nn.Linear(3, 3, **F32), "weight", key=KEY
        )[0],
        "SpectralNorm",
    ),
    "Equinox GRUCell": (lambda: eqx.nn.GRUCell(3, 3, **F32), "no layer of a known type"),
    "Equinox LSTMCell": (lambda: eqx.nn.LSTMCell(3, 3, **F32), "no layer of a known type"),
    "Equinox complex": (
        lambda: eqx.nn.Linear(3, 3, dtype=jnp.complex64, key=KEY),
        "complex weights are not supported",
    ),
    "Equinox integers": (
        lambda: eqx.tree_at(
            lambda m: m.weight, eqx.nn.Linear(3, 3, **F32), jnp.ones((3, 3), jnp.int8)
        ),
        "holds integers",
    ),
    "Flax LoRALinear": (
        lambda: nnx.LoRALinear(3, 3, lora_rank=2, rngs=RNGS),
        "subclass of Linear.*register_layer",
    ),
    "Flax mask": (
        lambda: nnx.Conv(2, 2, (3,), mask=jnp.ones((3, 2, 2)), rngs=RNGS),
        "has a mask",
    ),
    "Flax groups": (lambda: nnx.Conv(2, 2, (3,), feature_group_count=2, rngs=RNGS), "one group"),
    "Flax transposed": (lambda: nnx.ConvTranspose(2, 2, (3,), rngs=RNGS), "no layer of a known"),
    "Flax WeightNorm": (
        lambda: nnx.WeightNorm(nnx.Linear(3, 3, rngs=RNGS), rngs=RNGS),
        "WeightNorm, which changes its weight",
    ),
    "Flax SpectralNorm": (
        lambda: nnx.SpectralNorm(nnx.Linear(3, 3, rngs=RNGS), rngs=RNGS),
        "SpectralNorm, which changes its weight",
    ),
    "Flax batch axes": (
        lambda: nnx.LinearGeneral(3, 3, batch_axis={0: 2}, rngs=RNGS),
        "not one matrix",
    ),
    "Flax Einsum": (lambda: nnx.Einsum("bi,bio->bo", (2, 3, 4), rngs=RNGS), "not a product with"),
    "Flax own product": (
        lambda: nnx.Linear(3, 3, dot_general=lambda *a, **k: jax.lax.dot_general(*a), rngs=RNGS),
        "function of its own",
    ),
}


class Doubled(eqx.nn.Linear):
    def __call__(self, x):
        return 2 * super().__call__(x)


class Applied(eqx.Module):
    inner: eqx.Module

    def __call__(self, x):
        return self.inner(x, x, x)


class Stepped(nnx.Module):
    def __init__(self, cell):
        self.cell = cell

    def __call__(self, x):
        carry = self.cell.initialize_carry(x.shape, nnx.Rngs(0))
        return self.cell(carry, x)[1]


def full(model, **options):
    """Compressed at full rank: the budget is no limit."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return tnjax.compress(model, layers="*", budget=10**6, **options)


def same(found, expected, dtype=None):
    assert found.shape == expected.shape
    assert found.dtype == expected.dtype
    wide = "bfloat16" not in (str(found.dtype), str(dtype))
    tolerance = 1e-5 if wide else 5e-2
    np.testing.assert_allclose(
        np.asarray(found, np.float64),
        np.asarray(expected, np.float64),
        rtol=tolerance,
        atol=tolerance,
    )


def same_function(found, model, given, dtype):
    """Outputs, and gradients with respect to the inputs, by one program for both."""

    def value(m, x):
        out = m(x)
        return jnp.sum(jnp.sin(jnp.asarray(out, "float32"))), out

    @jax.jit
    def both(x):
        if not jnp.issubdtype(x.dtype, jnp.inexact):
            return [(m(x),) for m in (found, model)]
        return [jax.grad(lambda x, m=m: value(m, x), has_aux=True)(x) for m in (found, model)]

    for mine, old in zip(*both(given), strict=True):
        same(mine, old, dtype)


def offered(layer):
    return {name for name in dir(layer) if not name.startswith("_")}


# What only a layer of its own framework makes sense of.
BESIDE = {"kernel_init", "bias_init", "rngs"}


@pytest.mark.parametrize("name", EQUINOX)
def test_equinox_layers_are_the_same_function_at_full_rank(name):
    make, given = EQUINOX[name]
    model = make()
    result = full(model)
    found = result.model
    layouts = tnn.adapter_for(found).layouts(found)
    assert set(layouts) == {layer.name for layer in result.layers}
    dtype = jax.tree.leaves(eqx.filter(model, eqx.is_inexact_array))[0].dtype
    same_function(found, model, given, dtype)
    if "" in layouts:
        missing = offered(model) - offered(found)
        assert not missing
        for attribute in ("weight", "bias", "in_features", "out_features", "kernel_size", "stride"):
            mine, old = getattr(found, attribute, None), getattr(model, attribute, None)
            same(mine, old, dtype) if eqx.is_array(old) else None
            assert eqx.is_array(old) or mine == old


@pytest.mark.parametrize("name", FLAX)
def test_flax_layers_are_the_same_function_at_full_rank(name):
    make, given = FLAX[name]
    model = make()
    result = full(model)
    found = result.model
    layouts = tnn.adapter_for(found).layouts(found)
    assert set(layouts) == {layer.name for layer in result.layers}
    dtype = getattr(model, "dtype", None) or getattr(model, "param_dtype", None)
    dtype = None if dtype is None else jnp.dtype(dtype)
    if name == "Linear of 16 bits":
        dtype = jnp.dtype(jnp.bfloat16)
    same_function(found, model, given, dtype)
    if "" not in layouts:
        return
    missing = offered(model) - offered(found) - BESIDE
    assert not missing
    for attribute, old in vars(model).items():
        if isinstance(old, nnx.Variable):
            mine = getattr(found, attribute)
            assert type(mine) is type(old)
            same(mine.get_value(), old.get_value(), jnp.dtype(old.get_value().dtype))
        elif isinstance(old, int | tuple) and attribute not in ("padding", "strides"):
            assert np.all(np.asarray(getattr(found, attribute)) == np.asarray(old)), attribute


def test_a_table_of_flax_attends_as_before():
    table = nnx.Embed(5, 4, rngs=nnx.Rngs(1))
    found = full(table).model
    same(found.attend(x(3, 4)), table.attend(x(3, 4)))


@pytest.mark.parametrize("name", REFUSED)
def test_what_a_network_cannot_be_is_refused_by_name(name):
    make, reason = REFUSED[name]
    plain = "Flax" not in name
    usual = eqx.nn.Linear(4, 4, **F32) if plain else nnx.Linear(4, 4, rngs=RNGS)
    model = [make(), usual] if plain else Pair(make(), usual)
    result = full(model)
    assert len(result.layers) == 1
    assert [s for s in result.skipped if __import__("re").search(reason, s.reason)]
    assert "skipped" in result.table()
    with pytest.raises(ValueError, match=reason):
        tnjax.compress(model, layers=result.skipped[0].name, budget=0.5)


class Pair(nnx.Module):
    def __init__(self, one, other):
        self.one, self.other = one, other


class Stacked(eqx.Module):
    layers: eqx.nn.Linear
    head: eqx.nn.Linear

    def __call__(self, x):
        step = lambda x, layer: (jnp.tanh(layer(x)), None)
        return self.head(jax.lax.scan(step, x, self.layers)[0])


def stacked_model():
    keys = jax.random.split(KEY, 3)
    layers = eqx.filter_vmap(lambda key: eqx.nn.Linear(4, 4, dtype=jnp.float32, key=key))(keys)
    return Stacked(layers, eqx.nn.Linear(4, 2, **F32))


def test_stacked_layers_of_equinox_share_a_layout():
    model = stacked_model()
    result = full(model)
    same(result.model(x(4)), model(x(4)))
    assert result.model.layers.weight.shape == (3, 4, 4)
    (stack, _) = result.layers
    assert (stack.dense_params, stack.num_params) == (48, 3 * 4 * 8)
    calibration = tnn.Calibration(lambda m, x: jax.vmap(m)(x), [x(20, 4)])
    half = tnjax.compress(model, layers="layers", budget=24, calibration=calibration)
    assert half.num_params == 24
    assert half.layers[0].layout.structure.dims == (4, 4)
    values = np.linalg.svd(np.asarray(model.layers.weight), compute_uv=False)
    plain = tnjax.compress(model, layers="layers", budget=24).layers[0].error
    assert plain == pytest.approx(np.sqrt((values[:, 1:] ** 2).sum() / (values**2).sum()), rel=1e-5)
    task = tnn.Task(lambda m, x: jnp.mean(jax.vmap(m)(x) ** 2), [x(3, 4)])
    with pytest.raises(ValueError, match=r"stacked layers \(layers\) are compressed by"):
        tnjax.compress(model, task, layers="layers", budget=30, method="grow")


def test_stacked_layers_of_flax_share_a_layout():
    make = nnx.vmap(lambda key: nnx.Linear(4, 4, rngs=nnx.Rngs(key)), in_axes=0, out_axes=0)
    model = Pair(make(jax.random.split(KEY, 3)), nnx.Linear(4, 2, rngs=RNGS))
    found = full(model).model
    run = nnx.vmap(lambda layer, x: layer(x), in_axes=(0, None))
    same(run(found.one, x(4)), run(model.one, x(4)))
    same(found.one.kernel.get_value(), model.one.kernel.get_value())


class Tied(nnx.Module):
    def __init__(self):
        rngs = nnx.Rngs(2)
        self.first = nnx.Linear(4, 4, rngs=rngs)
        self.again = self.first
        self.listed = nnx.List([self.first, nnx.Linear(4, 4, rngs=rngs)])
        self.listed[1].kernel = self.first.kernel
        self.table = nnx.Embed(4, 4, rngs=rngs)

    def __call__(self, x):
        for layer in (self.first, self.again, *self.listed):
            x = jnp.tanh(layer(x))
        return x


def test_shared_modules_and_variables_of_flax_stay_shared():
    model = Tied()
    result = full(model)
    found = result.model
    assert found.again is found.first is found.listed[0]
    assert found.listed[1] is not found.first
    assert found.listed[1].cores[0] is found.first.cores[0]
    assert [layer.name for layer in result.layers] == ["again", "table"]
    same(found(x(2, 4)), model(x(2, 4)))
    count = lambda m: sum(np.size(leaf) for leaf in jax.tree.leaves(nnx.state(m, nnx.Param)))
    less = tnjax.compress(model, layers="again", budget=8)
    assert count(model) - count(less.model) == 16 - 8

    other = Tied()
    other.table.embedding = other.first.kernel
    result = full(Pair(other, nnx.Linear(3, 3, rngs=RNGS)))
    assert [layer.name for layer in result.layers] == ["other"]
    assert any("shared with" in skipped.reason for skipped in result.skipped)


def test_an_equinox_weight_that_is_shared_is_refused():
    embed, head = eqx.nn.Embedding(4, 4, **F32), eqx.nn.Linear(4, 4, use_bias=False, **F32)
    model = eqx.nn.Shared((embed, head), lambda p: p[1].weight, lambda p: p[0].weight)
    result = full(model)
    (embedding,) = result.layers
    assert embedding.kind == "embedding"
    embed, head = result.model()
    same(head(x(4)), embed.weight @ x(4))
    assert "shared by another layer" in result.skipped[0].reason


class Marked(nnx.Param):
    pass


def test_metadata_and_types_of_variables_are_kept():
    norm = nnx.BatchNorm(4, rngs=RNGS, scale_metadata={"decay": 0.2})
    model = Pair(nnx.Linear(4, 4, rngs=RNGS, kernel_metadata={"decay": 0.1}), norm)
    model.one.bias = Marked(jnp.ones(4, jnp.float32), tag="b")
    found = full(model, calibration=tnn.Calibration(lambda m, x: m.one(x), [x(9, 4)])).model
    assert all(core.get_metadata()["decay"] == 0.1 for core in found.one.cores)
    assert type(found.one.bias) is Marked
    assert found.one.bias.get_metadata()["tag"] == "b"
    assert found.other.scale.get_metadata()["decay"] == 0.2
    arrays, build = tnn.adapter_for(found).arrays(found)
    again = build(arrays)
    assert type(again.one.bias) is Marked
    assert again.other.scale.get_metadata()["decay"] == 0.2


def test_names_with_dots_are_told_apart():
    layer = lambda seed: eqx.nn.Linear(4, 4, dtype=jnp.float32, key=jax.random.key(seed))
    model = {"a.b": layer(0), "a": {"b": layer(1)}}
    result = full(model)
    assert [found.name for found in result.layers] == ["a.b", r"a\.b"]
    same(result.model["a.b"](x(4)), model["a.b"](x(4)))
    same(result.model["a"]["b"](x(4)), model["a"]["b"](x(4)))
    arrays, build = tnn.adapter_for(model).arrays(model)
    assert len(arrays) == 4
    assert eqx.tree_equal(build(arrays), model)


@pytest.mark.parametrize("framework", ["equinox", "flax"])
def test_a_bare_layer_is_a_model(framework):
    if framework == "equinox":
        model, run = eqx.nn.Linear(4, 4, **F32), lambda m, x: jax.vmap(m)(x)
    else:
        model, run = nnx.Linear(4, 4, rngs=nnx.Rngs(3)), lambda m, x: m(x)
    task = tnn.Task(lambda m, x: jnp.mean((run(m, x) - 1) ** 2), [x(6, 4)])
    training = tnn.Training(steps=2, final_steps=2)
    for method in ("spectra", "grow"):
        found = tnjax.compress(model, task, layers="*", budget=8, method=method, training=training)
        assert found.num_params == 8
        assert found.metric == pytest.approx(tnn.validate(found.model, task), rel=1e-5)
    calibrated = tnjax.compress(
        model, layers="*", budget=8, calibration=tnn.Calibration(run, [x(6, 4)])
    )
    assert isinstance(calibrated.model, tne.TNLinear | tnf.TNLinear)


def test_registered_types_are_compressed():
    class Mine(eqx.nn.Linear):
        pass

    class MineAdapter(tnn.LayerAdapter):
        def matrix(self, layer):
            return layer.weight

        def bias(self, layer):
            return layer.bias

        def replaced(self, layer, parts):
            return tne.from_parts(parts)

    model = [Mine(4, 4, **F32)]
    with pytest.raises(ValueError, match="subclass of Linear"):
        tnjax.compress(model, layers="0", budget=8)
    tnn.register_layer(Mine, MineAdapter())
    same(full(model).model[0](x(4)), model[0](x(4)))
