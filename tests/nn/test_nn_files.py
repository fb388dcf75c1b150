"""Model files: nothing in them is executed, and what is read is what was written."""

import io
import json
import os
import pickle
import subprocess
import sys
import zipfile

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors
import safetensors.numpy
from flax import nnx

import tnjax
import tnjax.nn as tnn
from tests.helpers import normal
from tnjax.nn import read_torch, read_weights


def small(key=0, width=12):
    return eqx.nn.MLP(8, 3, width, 2, key=jax.random.key(key), dtype=jnp.float32)


@pytest.fixture
def compressed():
    return tnjax.compress(small(), layers=["layers.0", "layers.1"], budget=0.6).model


def test_a_compressed_model_comes_back(tmp_path, compressed):
    file = tmp_path / "small.safetensors"
    tnn.save_model(file, compressed, {"note": "ranks by spectra"})
    again = tnn.load_model(file, small(key=1))
    assert eqx.tree_equal(again, compressed)


def test_the_weights_need_no_tnjax(tmp_path, compressed):
    """The einsum in the header and NumPy give the matrix: no code of this package."""
    file = tmp_path / "small.safetensors"
    tnn.save_model(file, compressed)
    with safetensors.safe_open(file, framework="numpy") as archive:
        header = json.loads(archive.metadata()["tnjax"])
        network = header["networks"]["layers.1"]
        count = network["einsum"].split("->")[0].count(",") + 1
        cores = [archive.get_tensor(f"layers.1.cores.{k}") for k in range(count)]
    full = np.einsum(network["einsum"], *cores)
    matrix = full.reshape(-1, network["columns"])[: network["rows"]]
    np.testing.assert_allclose(matrix, compressed.layers[1].weight, rtol=1e-5, atol=1e-6)


def test_flax_models_come_back(tmp_path):
    class Net(nnx.Module):
        def __init__(self, seed):
            self.fc = nnx.Linear(6, 8, rngs=nnx.Rngs(seed))

        def __call__(self, x):
            return self.fc(x)

    found = tnjax.compress(Net(0), layers="fc", budget=30).model
    file = tmp_path / "small.safetensors"
    tnn.save_model(file, found)
    x = jnp.asarray(normal((3, 6), "float32"))
    np.testing.assert_array_equal(tnn.load_model(file, Net(1))(x), found(x))


def test_model_files_that_do_not_fit_are_told(tmp_path, compressed):
    file = tmp_path / "small.safetensors"
    tnn.save_model(file, compressed)
    with pytest.raises(ValueError, match=r"layers.0.*is \(12, 8\) there, \(10, 8\)"):
        tnn.load_model(file, small(width=10))
    with pytest.raises(ValueError, match=r"no layer 'layers\.0'"):
        tnn.load_model(file, (eqx.nn.Linear(2, 2, key=jax.random.key(0)),))
    with pytest.raises(ValueError, match="must be JSON"):
        tnn.save_model(file, compressed, {"x": float("nan")})
    safetensors.numpy.save_file({"w": np.zeros(3, np.float32)}, file)
    with pytest.raises(ValueError, match="not a model that tnjax wrote"):
        tnn.load_model(file, small())
    np.testing.assert_array_equal(tnn.read_weights(file)["w"], np.zeros(3))
    file.write_bytes(b"junk")
    with pytest.raises(ValueError, match="not a safetensors file"):
        tnn.load_model(file, small())
    with pytest.raises(FileNotFoundError):
        tnn.read_weights(tmp_path / "none.safetensors")


class Fake:
    """Pickles as a call of a named global, as torch's tensors do."""

    def __init__(self, module, name, args):
        self.call = type(name, (), {"__module__": module, "__qualname__": name})
        self.args = args

    def __reduce__(self):
        return self.call, self.args


class _Pickler(pickle._Pickler):
    """Writes globals that are not importable here, and storages as persistent ids."""

    def save_global(self, obj, name=None):
        self.write(b"c" + obj.__module__.encode() + b"\n" + obj.__qualname__.encode() + b"\n")
        self.memoize(obj)

    def persistent_id(self, obj):
        if isinstance(obj, tuple) and obj[:1] == ("storage",):
            return obj
        return None


def global_(module, name):
    return type(name, (), {"__module__": module, "__qualname__": name})


def write_torch(path, objects, storages, folder="archive"):
    buffer = io.BytesIO()
    _Pickler(buffer, protocol=2).dump(objects)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{folder}/data.pkl", buffer.getvalue())
        archive.writestr(f"{folder}/byteorder", "little")
        for key, array in storages.items():
            archive.writestr(f"{folder}/data/{key}", np.asarray(array).tobytes())


def tensor(key, kind, size, shape, stride, offset=0):
    storage = ("storage", global_("torch", kind), key, "cpu", size)
    return Fake("torch._utils", "_rebuild_tensor_v2", (storage, offset, shape, stride, False, None))


def test_tensors_come_back_without_torch(tmp_path):
    flat = normal(24, "float32")
    half = np.arange(6, dtype=np.float16)
    file = tmp_path / "model.pt"
    write_torch(
        file,
        {
            "weight": tensor("0", "FloatStorage", 24, (4, 6), (6, 1)),
            "transposed": tensor("0", "FloatStorage", 24, (6, 4), (1, 6)),
            "part": tensor("0", "FloatStorage", 24, (2, 3), (6, 1), offset=8),
            "half": tensor("1", "HalfStorage", 6, (6,), (1,)),
            "scalar": tensor("1", "HalfStorage", 6, (), (), offset=5),
            "epoch": 7,
            "config": {"lr": 0.5, "name": "small"},
        },
        {"0": flat, "1": half},
    )
    found = read_torch(file)
    matrix = flat.reshape(4, 6)
    np.testing.assert_array_equal(found["weight"], matrix)
    np.testing.assert_array_equal(found["transposed"], matrix.T)
    np.testing.assert_array_equal(found["part"], matrix[1:3, 2:5])
    np.testing.assert_array_equal(found["half"], half)
    assert found["half"].dtype == np.float16
    assert found["scalar"] == 5
    assert found["epoch"] == 7
    assert found["config"] == {"lr": 0.5, "name": "small"}
    weights = read_weights(file)
    assert sorted(weights) == ["half", "part", "scalar", "transposed", "weight"]
    found["weight"][0, 0] = 3  # a copy of its own, not the archive's bytes


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("os", "system"),
        ("posix", "system"),
        ("builtins", "eval"),
        ("builtins", "getattr"),
        ("torch", "load"),
        ("torch.nn.modules.linear", "Linear"),
        ("torch._utils", "_import_dotted_name"),
    ],
)
def test_a_malicious_file_is_refused_and_nothing_runs(tmp_path, module, name):
    victim = tmp_path / "victim"
    file = tmp_path / "model.pt"
    code = f"touch {victim}" if name == "system" else f"open({str(victim)!r}, 'w')"
    write_torch(file, {"weight": Fake(module, name, (code,))}, {})
    with pytest.raises(ValueError, match="refused, nothing was executed"):
        read_torch(file)
    assert not victim.exists()


def test_the_attack_works_on_a_plain_unpickler(tmp_path):
    """So that the test above tests something."""
    victim = tmp_path / "victim"
    file = tmp_path / "model.pt"
    write_torch(file, Fake("os", "system", (f"touch {victim}",)), {})
    with zipfile.ZipFile(file) as archive:
        pickle.loads(archive.read("archive/data.pkl"))
    assert victim.exists()


@pytest.mark.parametrize(
    "bad",
    [
        {"size": 25},
        {"shape": (4, 7)},
        {"stride": (600, 1)},
        {"stride": (0, 0), "shape": (2**20, 2**20)},
        {"offset": 30},
        {"offset": -1},
        {"stride": (-1, 1)},
        {"key": "9"},
    ],
)
def test_tensors_that_lie_about_their_storage_are_refused(tmp_path, bad):
    arguments = {"key": "0", "size": 24, "shape": (4, 6), "stride": (6, 1), **bad}
    file = tmp_path / "model.pt"
    write_torch(file, {"w": tensor(kind="FloatStorage", **arguments)}, {"0": np.zeros(24, "f4")})
    with pytest.raises(ValueError, match="not a readable PyTorch checkpoint"):
        read_torch(file)


def test_other_files_are_told_apart(tmp_path):
    file = tmp_path / "model.pt"
    with pytest.raises(FileNotFoundError):
        read_torch(file)
    file.write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(ValueError, match="not a zip archive"):
        read_torch(file)
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("readme.txt", "no pickle here")
    with pytest.raises(ValueError, match="without one data"):
        read_torch(file)
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/data.pkl", os.urandom(100))
    with pytest.raises(ValueError, match="not a readable"):
        read_torch(file)


def test_flax_is_loaded_only_for_what_is_made_of_it():
    """Neither the package nor the compression of an Equinox model loads Flax or Chex."""
    code = """
import sys
import equinox as eqx, jax, tnjax
model = eqx.nn.MLP(8, 2, 8, 1, key=jax.random.key(0))
tnjax.compress(model, layers="layers.0", budget=0.5)
assert not {"flax", "chex"} & set(sys.modules)
from flax import nnx
class Net(nnx.Module):
    def __init__(self):
        self.fc = nnx.Linear(6, 8, rngs=nnx.Rngs(0))
print(tnjax.compress(Net(), layers="fc", budget=30).num_params)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "28\n"
