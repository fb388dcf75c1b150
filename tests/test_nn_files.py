"""Model files: nothing in them is executed, and what is read is what was written."""

import os
import pickle
import zipfile

import numpy as np
import pytest

from tests.helpers import normal
from tnjax.nn import read_torch


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
    import io

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
