"""Compressed models in safetensors files: arrays by path, and the structure of every network."""

import json
import os
from typing import Any

import jax.numpy as jnp
import numpy as np
import safetensors
import safetensors.numpy

from .._atomic import atomic_path
from .._errors import ReadError
from .._versioned import read_versioned
from ._layout import Layout
from ._torch_file import read_torch
from .adapters import adapter_for

_FORMAT = "tnjax.model"
_VERSION = 1


def save_model(
    path: str | os.PathLike[str], model: Any, metadata: dict[str, Any] | None = None
) -> None:
    """Write all floating arrays of a model, and how its networks are contracted, atomically.

    The file is a safetensors file with arrays named by their paths ("blocks.0.expand.cores.1").
    Its metadata hold, under the key `tnjax`, a JSON object that describes every network: its
    structure, and the einsum equation of its cores with the sizes of the matrix, so that other
    programs can use the weights without tnjax.

    Args:
        path: of the file; replaced if it exists.
        model: an Equinox model or a Flax nnx module, with or without networks.
        metadata: values that JSON can hold.

    Raises:
        ValueError: if the metadata are not JSON.
        OSError: if the file cannot be written; a file that was there is untouched.

    Example:
        >>> import equinox as eqx, jax, pathlib, tempfile
        >>> from tnjax.nn import read_weights, save_model
        >>> model = eqx.nn.MLP(16, 4, 32, 1, key=jax.random.key(0))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_model(pathlib.Path(folder) / "m.safetensors", model, {"epoch": 3})
        ...     sorted(read_weights(pathlib.Path(folder) / "m.safetensors"))[:2]
        ['layers.0.bias', 'layers.0.weight']
    """
    adapter = adapter_for(model)
    arrays, _ = adapter.arrays(model)
    networks = {
        name: {**layout.to_dict(), "einsum": str(layout.weight_equation())}
        for name, layout in adapter.layouts(model).items()
    }
    try:
        header = json.dumps(
            {
                "format": _FORMAT,
                "version": _VERSION,
                "networks": networks,
                "metadata": metadata or {},
            },
            allow_nan=False,
        )
    except (TypeError, ValueError) as error:
        raise ValueError(f"save_model: metadata must be JSON values: {error}.") from error
    tensors = {name: np.array(array, order="C") for name, array in arrays.items()}
    with atomic_path(path) as part:
        try:
            safetensors.numpy.save_file(tensors, part, metadata={"tnjax": header})
        except safetensors.SafetensorError as error:
            raise OSError(f"{path}: {error}") from error


def load_model(path: str | os.PathLike[str], model: Any) -> Any:
    """Read what `save_model` wrote into a model of the same kind.

    Layers that were compressed become networks of the structures in the file; no search is
    needed, and no code in the file is run.

    Args:
        path: of the file.
        model: the dense model, with any weights: what the file's model was made of. It may be made
            by `eqx.filter_eval_shape` or `nnx.eval_shape`, without any weights at all.

    Returns:
        A model with the networks and all arrays of the file.

    Raises:
        ValueError: if the file is damaged or not of this format, or its arrays do not fit.
        OSError: if it cannot be read.

    Example:
        >>> import equinox as eqx, jax, pathlib, tempfile
        >>> from tnjax import compress
        >>> from tnjax.nn import load_model, save_model
        >>> model = eqx.nn.MLP(16, 4, 32, 1, key=jax.random.key(0))
        >>> small = compress(model, layers="layers.0", budget=0.5).model
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = pathlib.Path(folder) / "small.safetensors"
        ...     save_model(file, small)
        ...     again = load_model(file, eqx.nn.MLP(16, 4, 32, 1, key=jax.random.key(1)))
        >>> eqx.tree_equal(again, small).item()
        True
    """
    header, tensors = _read(path)
    adapter = adapter_for(model)
    model = adapter.materialized(model)
    known = adapter.slots(model)
    networks = {}
    for name, description in header["networks"].items():
        if name not in known:
            raise ValueError(
                f"{path}: the model has no layer {name!r}; layers: {', '.join(known)}."
            )
        try:
            layout = Layout.from_dict(description)
        except ValueError as error:
            raise ValueError(f"{path}: layer {name!r}: {error}") from error
        if layout.shape != known[name].shape:
            raise ValueError(
                f"{path}: layer {name!r} is {layout.shape} there, {known[name].shape} in the model."
            )
        dtype, stack = known[name].matrix.dtype, known[name].stack
        shapes = [(*stack, *shape) for shape in layout.core_shapes]
        networks[name] = (layout, [np.zeros(shape, dtype) for shape in shapes])
    arrays, build = adapter.arrays(adapter.replaced(model, networks))
    if set(arrays) != set(tensors):
        missing, extra = set(arrays) - set(tensors), set(tensors) - set(arrays)
        raise ValueError(
            f"{path}: the arrays are not those of the model; it lacks {sorted(missing)[:5]}, and "
            f"has {sorted(extra)[:5]} besides."
        )
    for name, array in arrays.items():
        if array.shape == (*tensors[name].shape, *(1,) * (array.ndim - tensors[name].ndim)):
            tensors[name] = tensors[name].reshape(array.shape)  # a bias as version 0.1 wrote it
        if array.shape != tensors[name].shape:
            raise ValueError(
                f"{path}: {name} has the shape {tensors[name].shape}, expected {array.shape}."
            )
    return build({name: jnp.asarray(tensors[name]) for name in arrays})


def read_weights(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """The tensors of a weight file by name: safetensors, or PyTorch's `.pt`, `.pth`, `.bin`.

    Nested dicts of a PyTorch file are flattened ("model.fc.weight"); what is not a tensor in it is
    left out.

    Args:
        path: of the file; its ending says which format it has.

    Returns:
        An array for every tensor, with the shape and dtype of the file.

    Raises:
        ValueError: if the file is damaged, holds no tensor, or asks for more than tensors.
        OSError: if it cannot be read.

    Example:
        >>> import numpy as np, pathlib, safetensors.numpy, tempfile
        >>> from tnjax.nn import read_weights
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = pathlib.Path(folder) / "w.safetensors"
        ...     safetensors.numpy.save_file({"fc.weight": np.ones((2, 3))}, file)
        ...     read_weights(file)["fc.weight"].shape
        (2, 3)
    """
    path = os.fspath(path)
    if path.endswith((".pt", ".pth", ".bin", ".ckpt")):
        found = dict(_flattened(read_torch(path), ""))
    else:
        found = _tensors(path)[1]
    if not found:
        raise ValueError(f"{path}: there is no tensor in the file.")
    return found


def _flattened(value: Any, prefix: str):
    if isinstance(value, np.ndarray):
        yield prefix, value
    elif isinstance(value, dict):
        for key, part in value.items():
            yield from _flattened(part, f"{prefix}.{key}" if prefix else str(key))


def _tensors(path: str | os.PathLike[str]) -> tuple[str | None, dict[str, np.ndarray]]:
    if not os.path.isfile(path):
        raise FileNotFoundError(f"{path}: there is no such file.")
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            text = (file.metadata() or {}).get("tnjax")
            return text, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (safetensors.SafetensorError, ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"{path}: not a safetensors file, or a damaged one ({error}).") from error


def _read(path: str | os.PathLike[str]) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    text, tensors = _tensors(path)
    header = read_versioned(
        path,
        lambda: text,
        (_FORMAT, _VERSION),
        damaged="the header is damaged",
        other="not a model that tnjax wrote; `read_weights` reads the tensors.",
    )
    if not isinstance(header.get("networks"), dict):
        raise ReadError(path, "the header is damaged (it lacks the networks).")
    return header, tensors
