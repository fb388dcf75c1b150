"""Networks in safetensors files: arrays that cannot execute anything, structure as JSON text.

Format version 1: tensors `core_0`, `core_1`, ... (complex cores as `core_0.real` and
`core_0.imag`); in the file's metadata one key, `tnjax`, with the JSON object
`{"format": "tnjax.network", "version": 1, "structure": {...}, "metadata": {...}}`.
"""

import json
import os
import warnings
from typing import Any

import jax.numpy as jnp
import numpy as np
import safetensors
import safetensors.numpy

from .._atomic import atomic_path
from .._errors import ReadError
from .._network import TensorNetwork
from .._structure import Structure
from .._tracing import refuse_trace
from .._versioned import read_versioned

_FORMAT = "tnjax.network"
_VERSION = 1


def save(
    path: str | os.PathLike[str], network: TensorNetwork, metadata: dict[str, Any] | None = None
) -> None:
    """Write a network to a safetensors file, atomically.

    Args:
        path: of the file; replaced if it exists.
        network: any structure and dtype.
        metadata: values that JSON can hold; `load_metadata` gives them back.

    Raises:
        ValueError: if the metadata are not JSON, or a core is missing or not an array of numbers.
        OSError: if the file cannot be written; a file that was there is untouched.

    Example:
        >>> import jax, tempfile, pathlib
        >>> from tnjax import Structure, TensorNetwork, load, save
        >>> network = TensorNetwork.random(Structure.cp((3, 4, 5), 2), key=jax.random.key(0))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = pathlib.Path(folder) / "network.safetensors"
        ...     save(file, network)
        ...     load(file).structure == network.structure
        True
    """
    refuse_trace("save", "let the traced function (tnjax.solve.run) return it first", network)
    try:
        header = json.dumps(
            {
                "format": _FORMAT,
                "version": _VERSION,
                "structure": json.loads(network.structure.to_json()),
                "metadata": metadata or {},
            },
            allow_nan=False,
        )
    except (TypeError, ValueError) as error:
        raise ValueError(f"save: metadata must be values that JSON can hold: {error}.") from error
    tensors = {}
    for node, core in enumerate(network.cores):
        core: Any = np.asarray(core, order="C")
        if core.dtype.kind not in "fcV" or core.dtype.hasobject:
            raise ValueError(
                f"save: core {node} is {network.cores[node]!r}, but expected an array of floating "
                "or complex numbers; a network that `jax.tree.map` or `eqx.partition` took apart "
                "has to be put together first."
            )
        if np.iscomplexobj(core):
            tensors[f"core_{node}.real"] = np.array(core.real)
            tensors[f"core_{node}.imag"] = np.array(core.imag)
        else:
            tensors[f"core_{node}"] = core
    with atomic_path(path) as part:
        try:
            safetensors.numpy.save_file(tensors, part, metadata={"tnjax": header})
        except safetensors.SafetensorError as error:
            raise OSError(f"{path}: {error}") from error


def load(path: str | os.PathLike[str]) -> TensorNetwork:
    """Read a network that `save` wrote. No code in a file is ever run.

    A float64 file read while JAX is in 32-bit mode becomes float32, with a warning.

    Args:
        path: of the file.

    Returns:
        The network; its cores have the dtype of the file.

    Raises:
        ValueError: if the file is not such a network, is damaged, or is of a newer version.
        OSError: if it cannot be read.

    Example:
        >>> import jax, tempfile, tnjax
        >>> rank_one = tnjax.Structure.rank_one((3, 4))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     network = tnjax.TensorNetwork.random(rank_one, key=jax.random.key(0))
        ...     tnjax.save(f"{folder}/network.safetensors", network)
        ...     tnjax.load(f"{folder}/network.safetensors").num_params
        7
    """
    header, tensors = _read(path)
    try:
        structure = Structure.from_json(json.dumps(header["structure"]))
        cores = []
        for node in range(structure.num_nodes):
            name = f"core_{node}"
            if name in tensors:
                cores.append(tensors.pop(name))
            else:
                cores.append(_complex(tensors.pop(f"{name}.real"), tensors.pop(f"{name}.imag")))
        if tensors:
            raise ValueError(f"unexpected arrays {sorted(tensors)}")
        if cores and jnp.asarray(cores[0]).dtype != cores[0].dtype:
            warnings.warn(
                f"{path} holds {cores[0].dtype}, but JAX is in 32-bit mode: the cores are rounded. "
                'Call jax.config.update("jax_enable_x64", True) first to keep them.',
                stacklevel=2,
            )
        return TensorNetwork(structure, cores)
    except KeyError as error:
        raise ReadError(path, f"the file lacks {error}.") from error
    except ValueError as error:
        raise ReadError(path, f"{error}") from error


def _complex(real: np.ndarray, imag: np.ndarray) -> np.ndarray:
    """Put together part by part: `real + 1j * imag` would change zeros, infinities and NaN."""
    kind = {"float32": np.complex64, "float64": np.complex128}.get(real.dtype.name)
    if kind is None or imag.dtype != real.dtype or imag.shape != real.shape:
        raise ValueError("the real and imaginary parts of a core differ in kind or shape")
    core = np.empty(real.shape, kind)
    core.real, core.imag = real, imag
    return core


def load_metadata(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The metadata that were given to `save`.

    Args:
        path: of the file.

    Returns:
        The values; an empty dict if none were given.

    Raises:
        ValueError: if the file is not such a network, is damaged, or is of a newer version.
        OSError: if it cannot be read.

    Example:
        >>> import jax, tempfile, tnjax
        >>> rank_one = tnjax.Structure.rank_one((3, 4))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     network = tnjax.TensorNetwork.random(rank_one, key=jax.random.key(0))
        ...     tnjax.save(f"{folder}/network.safetensors", network, {"error": 0.1})
        ...     tnjax.load_metadata(f"{folder}/network.safetensors")
        {'error': 0.1}
    """
    metadata = _read(path)[0].get("metadata", {})
    if not isinstance(metadata, dict):
        raise ReadError(path, "the metadata are not an object.")
    return metadata


def _read(path: str | os.PathLike[str]) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    if not os.path.isfile(path):
        raise FileNotFoundError(f"{path}: there is no such file.")
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            text = (file.metadata() or {}).get("tnjax")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (safetensors.SafetensorError, ValueError, TypeError, AttributeError) as error:
        raise ReadError(path, f"not a safetensors file, or a damaged one ({error}).") from error
    header = read_versioned(
        path,
        lambda: text,
        (_FORMAT, _VERSION),
        damaged="the header is damaged",
        other="a safetensors file, but not one that tnjax wrote.",
    )
    return header, tensors
