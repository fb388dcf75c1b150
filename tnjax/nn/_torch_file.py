"""PyTorch checkpoints without torch: tensors out of a `.pt` file, and nothing executed.

A `.pt` file is a zip archive: a pickle that names the tensors, and one raw file per storage. The
pickle is read by an unpickler that knows a closed list of names and refuses every other one before
it is called, so that a file can hold tensors, numbers, texts and containers of those, no more.
"""

import collections
import dataclasses
import io
import math
import os
import pickle
import zipfile
from typing import Any

import jax.numpy as jnp
import numpy as np

_STORAGES = {
    "FloatStorage": np.dtype(np.float32),
    "DoubleStorage": np.dtype(np.float64),
    "HalfStorage": np.dtype(np.float16),
    "BFloat16Storage": np.dtype(jnp.bfloat16),
    "LongStorage": np.dtype(np.int64),
    "IntStorage": np.dtype(np.int32),
    "ShortStorage": np.dtype(np.int16),
    "CharStorage": np.dtype(np.int8),
    "ByteStorage": np.dtype(np.uint8),
    "BoolStorage": np.dtype(np.bool_),
    "ComplexFloatStorage": np.dtype(np.complex64),
    "ComplexDoubleStorage": np.dtype(np.complex128),
}
_MOST_PICKLE_BYTES = 64 * 2**20


def read_torch(path: str | os.PathLike[str]) -> Any:
    """Read a `.pt` or `.pth` file that `torch.save` wrote (PyTorch 1.6 or newer).

    Args:
        path: of the file.

    Returns:
        what was saved: usually a dict, with a NumPy array for every tensor (bfloat16 as the
        `ml_dtypes` type that JAX uses).

    Raises:
        ValueError: if the file is not such an archive, is damaged, or holds anything but tensors,
            numbers, texts and containers of those (whole pickled modules, say); nothing of it has
            been executed then.
        OSError: if it cannot be read.

    Example:
        >>> import pathlib, pickle, tempfile, zipfile
        >>> from tnjax.nn import read_torch
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = pathlib.Path(folder) / "model.pt"
        ...     with zipfile.ZipFile(file, "w") as archive:
        ...         archive.writestr("model/data.pkl", pickle.dumps({"steps": 3}))
        ...     read_torch(file)
        {'steps': 3}
    """
    try:
        with zipfile.ZipFile(path) as archive:
            pickles = [info for info in archive.infolist() if info.filename.endswith("/data.pkl")]
            if len(pickles) != 1:
                raise ValueError(
                    "a zip archive without one data.pkl, so not a PyTorch checkpoint (TorchScript "
                    "archives are not read; save the `state_dict()` instead)"
                )
            if pickles[0].file_size > _MOST_PICKLE_BYTES:
                raise ValueError(f"data.pkl claims {pickles[0].file_size} bytes")
            return _Unpickler(archive, pickles[0]).load()
    except zipfile.BadZipFile as error:
        raise ValueError(
            f"{path}: not a zip archive ({error}). Files of PyTorch before 1.6 must be saved again "
            "by a newer one."
        ) from error
    except _Refused as error:
        raise ValueError(
            f"{path}: refused, nothing was executed: {error}. Only tensors, numbers, texts and "
            "containers of those are read; save the `state_dict()` of the model instead."
        ) from None
    except OSError:
        raise
    except Exception as error:  # whatever a damaged pickle can raise
        raise ValueError(f"{path}: not a readable PyTorch checkpoint ({error}).") from error


class _Refused(Exception):
    """The pickle asks for something that is not a tensor."""


@dataclasses.dataclass(frozen=True)
class _Storage:
    """Stands for `torch.FloatStorage` and its kin; calling it is refused."""

    dtype: np.dtype


class _Unpickler(pickle.Unpickler):
    """An unpickler whose every name is looked up in a closed list."""

    def __init__(self, archive: zipfile.ZipFile, data: zipfile.ZipInfo):
        super().__init__(io.BytesIO(archive.read(data)))
        self._archive = archive
        self._folder = data.filename.removesuffix("data.pkl")
        self._little = self._byteorder() == "little"
        self._storages: dict[tuple[str, np.dtype], np.ndarray] = {}

    def _byteorder(self) -> str:
        try:
            return self._archive.read(self._folder + "byteorder").decode().strip()
        except KeyError:
            return "little"

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return _ordered
        if (module, name) in (
            ("torch._utils", "_rebuild_tensor_v2"),
            ("torch._utils", "_rebuild_tensor"),
        ):
            return _rebuild_tensor
        if (module, name) == ("torch._utils", "_rebuild_parameter"):
            return _rebuild_parameter
        if (module, name) == ("torch", "Size"):
            return _size
        if module == "torch" and name in _STORAGES:
            return _Storage(_STORAGES[name])
        raise _Refused(f"it asks for {module}.{name}")

    def persistent_load(self, pid: Any) -> np.ndarray:
        kind, storage, key, _, count = pid
        if kind != "storage" or not isinstance(storage, _Storage) or not isinstance(key, str):
            raise _Refused(f"it asks for the persistent object {pid!r}")
        if (key, storage.dtype) not in self._storages:
            info = self._archive.getinfo(f"{self._folder}data/{key}")
            if info.file_size != int(count) * storage.dtype.itemsize:
                raise ValueError(
                    f"storage {key} holds {info.file_size} bytes, expected {count} numbers of "
                    f"{storage.dtype}"
                )
            if info.compress_type != zipfile.ZIP_STORED:
                raise ValueError(f"storage {key} is compressed, which torch.save never does")
            flat = np.frombuffer(self._archive.read(info), storage.dtype)
            self._storages[key, storage.dtype] = flat if self._little else flat.byteswap()
        return self._storages[key, storage.dtype]


def _ordered(items=()) -> dict:
    return collections.OrderedDict(items)


def _size(sizes=()) -> tuple[int, ...]:
    return tuple(int(n) for n in sizes)


def _rebuild_tensor(storage, offset, shape, stride, *_) -> np.ndarray:
    if not isinstance(storage, np.ndarray):
        raise _Refused("a tensor without a storage")
    shape, stride = _size(shape), _size(stride)
    if len(shape) != len(stride) or offset < 0 or min((*shape, *stride), default=0) < 0:
        raise ValueError(f"shape {shape}, stride {stride}, offset {offset} of a tensor")
    last = offset + sum((n - 1) * s for n, s in zip(shape, stride))
    if math.prod(shape) and last >= storage.size:
        raise ValueError(f"a tensor of shape {shape} reaches past the end of its storage")
    if math.prod(shape) > storage.size:
        raise ValueError(f"a tensor of shape {shape} is larger than its storage")
    view = np.lib.stride_tricks.as_strided(
        storage[offset:], shape, [s * storage.itemsize for s in stride], writeable=False
    )
    return np.array(view)


def _rebuild_parameter(data, *_) -> np.ndarray:
    if not isinstance(data, np.ndarray):
        raise _Refused("a parameter that is not a tensor")
    return data
