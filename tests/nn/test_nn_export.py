"""Plans, and compressed models in the formats of others."""

import subprocess
import sys

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy
from flax import nnx

import tnjax
import tnjax.nn as tnn
from tests.helpers import normal
from tnjax.nn import export, load_model, plan, save_model

pytestmark = pytest.mark.quick


class Net(eqx.Module):
    embed: eqx.nn.Embedding
    conv: eqx.nn.Conv1d
    out: eqx.nn.Linear

    def __init__(self, key):
        keys = jax.random.split(key, 3)
        self.embed = eqx.nn.Embedding(9, 8, key=keys[0], dtype=jnp.float32)
        self.conv = eqx.nn.Conv1d(8, 8, 3, padding=1, key=keys[1], dtype=jnp.float32)
        self.out = eqx.nn.Linear(8, 6, key=keys[2], dtype=jnp.float32)

    def __call__(self, index):
        x = jax.vmap(self.embed)(index)
        return self.out(jnp.tanh(self.conv(x.T)).T.mean(0))


class FlaxNet(nnx.Module):
    def __init__(self, rngs):
        self.embed = nnx.Embed(9, 8, rngs=rngs)
        self.conv = nnx.Conv(8, 8, (3,), rngs=rngs)
        self.out = nnx.List([nnx.Linear(8, 6, rngs=rngs)])

    def __call__(self, index):
        return self.out[0](jnp.tanh(self.conv(self.embed(index))).mean(-2))


EVEN = tnn.Spectra(allocation="uniform", spare=0)  # rank 2 everywhere at 0.6


@pytest.fixture(scope="module")
def small():
    return tnjax.compress(Net(jax.random.key(0)), layers="*", budget=0.6, method=EVEN).model


@pytest.fixture(scope="module")
def small_flax():
    return tnjax.compress(FlaxNet(nnx.Rngs(0)), layers="*", budget=0.6, method=EVEN).model


def test_a_dense_checkpoint_has_the_names_and_shapes_of_the_model(small, small_flax, tmp_path):
    for model, fresh in ((small, Net(jax.random.key(1))), (small_flax, FlaxNet(nnx.Rngs(1)))):
        file = tmp_path / "dense.safetensors"
        export(model, file)
        read = safetensors.numpy.load_file(file)
        arrays, build = tnn.adapter_for(fresh).arrays(fresh)
        assert {n: x.shape for n, x in read.items()} == {n: x.shape for n, x in arrays.items()}
        assert all(read[name].dtype == arrays[name].dtype for name in read)
        index = jnp.asarray([1, 4, 8, 0])
        dense = build({name: jnp.asarray(x) for name, x in read.items()})
        np.testing.assert_allclose(dense(index), model(index), rtol=1e-4, atol=1e-5)


def test_pairs_are_ordinary_layers_in_equinox(small):
    """As PyTorch would apply them, in NumPy: no code of this package."""
    found = export(small, form="pairs")
    index = np.array([1, 4, 8, 0])
    x = found["embed.0.weight"][index] @ found["embed.1.weight"].T
    padded = np.pad(x.T, ((0, 0), (1, 1)))
    patches = np.stack([padded[:, k : k + 4] for k in range(3)], -1)  # [in, space, kernel]
    hidden = np.einsum("rik,isk->rs", found["conv.0.weight"], patches)
    hidden = found["conv.1.weight"][..., 0] @ hidden + found["conv.1.bias"]
    x = np.tanh(hidden).T.mean(0)
    out = found["out.1.weight"] @ (found["out.0.weight"] @ x) + found["out.1.bias"]
    np.testing.assert_allclose(out, small(jnp.asarray(index)), rtol=1e-4, atol=1e-5)
    assert sum(x.size for x in found.values()) == sum(
        x.size for x in jax.tree.leaves(eqx.filter(small, eqx.is_array))
    )


def test_pairs_are_ordinary_layers_in_flax(small_flax):
    found = {name: jnp.asarray(x) for name, x in export(small_flax, form="pairs").items()}

    def layer(made, name, **extra):
        made.kernel.set_value(found[f"{name}.kernel"])
        if f"{name}.bias" in found:
            made.bias.set_value(found[f"{name}.bias"])
        return made

    rngs, sizes = nnx.Rngs(2), {n: x.shape for n, x in found.items()}
    index = jnp.asarray([1, 4, 8, 0])
    x = found["embed.0.embedding"][index] @ found["embed.1.kernel"]
    rank = sizes["conv.0.kernel"][-1]
    x = layer(nnx.Conv(8, rank, (3,), use_bias=False, rngs=rngs), "conv.0")(x)
    x = layer(nnx.Conv(rank, 8, (1,), rngs=rngs), "conv.1")(x)
    x = jnp.tanh(x).mean(-2)
    rank = sizes["out.0.0.kernel"][-1]
    x = layer(nnx.Linear(8, rank, use_bias=False, rngs=rngs), "out.0.0")(x)
    x = layer(nnx.Linear(rank, 6, rngs=rngs), "out.0.1")(x)
    np.testing.assert_allclose(x, small_flax(index), rtol=1e-4, atol=1e-5)


def test_what_is_no_pair_is_told(small, tmp_path):
    layer = tnn.equinox.TNLinear(tnn.tt_matrix((2, 3), (2, 4), 2), key=jax.random.key(0))
    with pytest.raises(ValueError, match=r"'fc' is a network of 2 cores, no pair"):
        export({"fc": layer}, form="pairs")
    np.testing.assert_allclose(export({"fc": layer})["fc.weight"], layer.weight, rtol=1e-5)
    with pytest.raises(ValueError, match=r"two arrays of the model would be named 'a\.b\.bias'"):
        export({"a.b": layer, "a": {"b": layer}})
    with pytest.raises(OSError, match=r"No such file|cannot"):
        export(small, tmp_path / "none" / "x.safetensors")


def test_skeletons_are_filled_from_a_file_in_a_new_process(small_flax, tmp_path):
    """Ranks differ from layer to layer; the model has no weights before; another process reads."""
    other = tnjax.compress(Net(jax.random.key(0)), layers="conv", budget=96).model
    small = tnjax.compress(other, layers="out", budget=14).model
    save_model(tmp_path / "a.safetensors", small)
    skeleton = eqx.filter_eval_shape(Net, jax.random.key(3))
    again = load_model(tmp_path / "a.safetensors", skeleton)
    assert eqx.tree_equal(again, small).item()
    save_model(tmp_path / "b.safetensors", small_flax)
    again = load_model(tmp_path / "b.safetensors", nnx.eval_shape(lambda: FlaxNet(nnx.Rngs(0))))
    index = jnp.asarray([1, 4, 8, 0])
    np.testing.assert_array_equal(again(index), small_flax(index))
    code = f"""
import equinox as eqx, jax, numpy as np
from tests.nn.test_nn_export import Net
from tnjax.nn import load_model
skeleton = eqx.filter_eval_shape(Net, jax.random.key(0))
model = load_model({str(tmp_path / "a.safetensors")!r}, skeleton)
np.save({str(tmp_path / "out.npy")!r}, model(np.array([1, 4, 8, 0])))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(np.load(tmp_path / "out.npy"), small(index), rtol=1e-5, atol=1e-6)
    ints = eqx.filter_eval_shape(
        lambda: (eqx.nn.Linear(2, 2, key=jax.random.key(0)), jnp.arange(3))
    )
    with pytest.raises(ValueError, match="'1' of the model is a shape without a value"):
        load_model(tmp_path / "a.safetensors", ints)


def test_biases_of_convolutions_as_version_0_1_wrote_them(small, tmp_path):
    file = tmp_path / "old.safetensors"
    save_model(file, small)
    with safetensors.safe_open(file, framework="numpy") as archive:
        metadata = archive.metadata()
        tensors = {name: archive.get_tensor(name) for name in archive.keys()}  # noqa: SIM118
    tensors["conv.bias"] = tensors["conv.bias"].reshape(-1)
    safetensors.numpy.save_file(tensors, file, metadata=metadata)
    assert eqx.tree_equal(load_model(file, Net(jax.random.key(1))), small).item()


def test_a_plan_says_what_compress_does():
    model = [Net(jax.random.key(0)), eqx.nn.GRUCell(3, 3, key=jax.random.key(1))]
    machine = tnn.Machine(flops=1e9, bytes=1e9, launch=0.0)
    given = {"layers": "*", "budget": 0.6, "method": EVEN}
    found = plan(model, batch=7, machine=machine, **given)
    result = tnjax.compress(model, **given)
    for planned, done in zip(found.layers, result.layers, strict=True):
        assert (planned.name, planned.layout, planned.dense) == (done.name, done.layout, done.dense)
        assert (planned.num_params, planned.dense_params) == (done.num_params, done.dense_params)
        assert planned.error == pytest.approx(done.error, abs=1e-6)
        assert planned.bytes == 4 * planned.num_params
    assert found.skipped == result.skipped
    assert "skipped '1.weight_ih'" in found.table()
    embed, conv, _ = found.layers
    assert (embed.flops, embed.seconds) == (0, 0)
    rank = conv.layout.structure.rank((0, 1))
    assert conv.flops == 2 * 7 * rank * (8 + 24)
    assert conv.dense_flops == 2 * 7 * 8 * 24
    assert conv.faster == (conv.seconds < conv.dense_seconds)
    moved = 4 * (8 * 24 + 7 * (8 + 24))
    assert conv.dense_seconds == pytest.approx(max(conv.dense_flops, moved) / 1e9)


def test_a_plan_sees_what_gains_nothing():
    """A launch that costs more than the product: two small products are slower than one."""
    model = eqx.nn.Linear(16, 16, dtype=jnp.float32, key=jax.random.key(0))
    slow = tnn.Machine(flops=1e12, bytes=1e12, launch=1.0)
    (layer,) = plan(model, layers="*", budget=0.5, machine=slow).layers
    assert (layer.verdict, layer.smaller, layer.faster) == ("smaller", True, False)
    x = jnp.asarray(normal((20, 16), "float32"))
    calibration = tnn.Calibration(lambda m, x: jax.vmap(m)(x), [x])
    (seen,) = plan(model, layers="*", budget=0.5, machine=slow, calibration=calibration).layers
    assert 0 < seen.error < layer.error
    with pytest.raises(ValueError, match="batch=0; expected 1 or more"):
        plan(model, layers="*", budget=0.5, batch=0)
