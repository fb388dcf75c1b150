"""Compressed models for programs without tnjax: dense weights, or pairs of linear layers."""

import os
from collections.abc import Mapping
from typing import Any, Literal, get_args

import numpy as np
import safetensors
import safetensors.numpy

from .._atomic import atomic_path
from .adapters import adapter_for
from .model import Slot, below, core_names

Form = Literal["dense", "pairs"]


def export(
    model: Any, path: str | os.PathLike[str] | None = None, *, form: Form = "dense"
) -> dict[str, np.ndarray]:
    """The weights of a model in terms of ordinary layers, with the names that they had.

    With form "dense", every network is multiplied out: the arrays are those of the model that was
    compressed, under its names and of its shapes ("fc.weight" [outputs, inputs] in Equinox as in
    PyTorch, "fc.kernel" [inputs, outputs] in Flax), so that its code loads them. With form
    "pairs", a layer of low rank becomes two ordinary layers: "fc.0" without a bias, from the
    inputs to the rank, and "fc.1" with the layer's bias, as PyTorch's `Sequential` names them. A
    convolution becomes one to as many channels as the rank and one of kernel size 1, an embedding a
    narrow embedding and a linear layer.

    Args:
        model: an Equinox model or a Flax nnx module, with or without networks.
        path: of a safetensors file to write, atomically; none by default.
        form: "dense" or "pairs".

    Returns:
        All floating arrays by name.

    Raises:
        ValueError: if the form is unknown, two arrays would have one name, or with "pairs" a
            network is no pair: more than two cores, or several axes that Flax contracts at once.
        OSError: if the file cannot be written; a file that was there is untouched.

    Example:
        >>> import equinox as eqx, jax, tnjax
        >>> from tnjax.nn import export
        >>> model = eqx.nn.MLP(16, 4, 32, 1, key=jax.random.key(0))
        >>> small = tnjax.compress(model, layers="layers.0", budget=0.5).model
        >>> export(small, form="pairs")["layers.0.0.weight"].shape
        (5, 16)
        >>> sorted(export(small)) == sorted(export(model))
        True
    """
    if form not in get_args(Form):
        raise ValueError(f'export: form={form!r}; expected "dense" or "pairs".')
    adapter = adapter_for(model)
    arrays, _ = adapter.arrays(model)
    slots = {name: slot for name, slot in adapter.slots(model).items() if slot.layout is not None}
    cores = {name: core_names(name, slot.layout) for name, slot in slots.items() if slot.layout}
    inside = {core for names in cores.values() for core in names}
    bias = {below(name, "bias"): below(name, "1.bias") for name in slots if form == "pairs"}
    out: list[tuple[str, np.ndarray]] = [
        (bias.get(name, name), np.asarray(x)) for name, x in arrays.items() if name not in inside
    ]
    dense = adapter.dense_weights(model)
    for name, slot in slots.items():
        weight, array = dense[name]
        if form == "dense":
            out.append((below(name, weight), array))
        else:
            parts = [np.asarray(arrays[core]) for core in cores[name]]
            first, second = _pair(slot, parts, weight, array.ndim - len(slot.stack))
            # The second layer of an embedding is a linear one.
            last = "weight" if weight == "weight" else "kernel"
            out.append((below(name, f"0.{weight}"), _shaped(first, array, slot, weight)))
            out.append((below(name, f"1.{last}"), _second(second, array, slot, last)))
    found = _named(out)
    if path is not None:
        _write(path, found, "pt" if any(w == "weight" for w, _ in dense.values()) else "flax")
    return found


def _pair(
    slot: Slot, cores: list[np.ndarray], weight: str, axes: int
) -> tuple[np.ndarray, np.ndarray]:
    """[*stack, rank, columns] and [*stack, rows, rank] whose product is the weight; of an embedding
    [*stack, entries, rank] and [*stack, size, rank]."""
    layout = slot.layout
    assert layout is not None
    usual = axes == 2 or slot.kind == "conv"
    if len(layout.nodes) != 2 or layout.copies or layout.structure.legs != ((0,), (1,)):
        raise ValueError(
            f"export: {slot.name!r} is a network of {len(layout.nodes)} cores, no pair: {layout}; "
            'form="dense" rebuilds its weight.'
        )
    if not usual:
        raise ValueError(
            f'export: {slot.name!r} has a kernel of {axes} axes; form="dense" rebuilds it.'
        )
    rank = layout.structure.rank((0, 1))
    left, right = (core.reshape(*slot.stack, -1, rank) for core in cores)
    if slot.kind == "embedding":  # entries are looked up first, the rank becomes the size after it
        return left, right
    return right.swapaxes(-1, -2), left


def _shaped(first: np.ndarray, dense: np.ndarray, slot: Slot, weight: str) -> np.ndarray:
    """The first layer's array with axes as the framework has them."""
    if slot.kind == "embedding":
        return first
    count = len(slot.stack)
    if slot.kind == "conv":
        kernel = dense.shape[count:]
        if weight == "weight":
            return first.reshape(*slot.stack, first.shape[-2], *kernel[1:])
        first = first.reshape(*slot.stack, first.shape[-2], kernel[-2], *kernel[:-2])
        return np.moveaxis(first, (count, count + 1), (-1, -2))
    return first if weight == "weight" else first.swapaxes(-1, -2)


def _second(second: np.ndarray, dense: np.ndarray, slot: Slot, weight: str) -> np.ndarray:
    """The second layer's array with axes as the framework has them."""
    turned = second if weight == "weight" else second.swapaxes(-1, -2)
    if slot.kind != "conv":
        return turned
    ones = (1,) * (dense.ndim - len(slot.stack) - 2)
    if weight == "weight":
        return turned.reshape(*turned.shape, *ones)
    return turned.reshape(*slot.stack, *ones, *turned.shape[-2:])


def _named(arrays: list[tuple[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """By name, dots of keys as they are."""
    out: dict[str, np.ndarray] = {}
    for name, array in arrays:
        name = name.replace("\\.", ".")
        if name in out:
            raise ValueError(f"export: two arrays of the model would be named {name!r}.")
        out[name] = array
    return out


def _write(path: str | os.PathLike[str], arrays: Mapping[str, np.ndarray], format: str) -> None:
    tensors = {name: np.array(array, order="C") for name, array in arrays.items()}
    with atomic_path(path) as part:
        try:
            safetensors.numpy.save_file(tensors, part, metadata={"format": format})
        except safetensors.SafetensorError as error:
            raise OSError(f"{path}: {error}") from error
