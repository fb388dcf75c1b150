"""Slices in different units, brought to one size before a network is learned."""

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from .._network import TensorNetwork
from .._tuned import tuned


@dataclasses.dataclass(frozen=True)
class Unevenness:
    """Slices in different units.

    Attributes:
        telling: slices whose sizes differ by more than this factor are said to do so: at errors of
            a percent the smallest ones would be noise.
    """

    telling: float = 1e3


UNEVENNESS = tuned("unevenness", Unevenness())


@dataclasses.dataclass(frozen=True)
class Scales:
    """The size of each slice along some modes: the root mean square of its entries.

    Attributes:
        modes: along which slices were divided by their size.
        factors: the sizes, [slices] for each of these modes.

    Example:
        >>> import numpy as np
        >>> from tnjax.problems import standardized
        >>> _, scales = standardized(np.asarray([[3.0, 300.0], [4.0, 400.0]]), modes=[1])
        >>> scales.modes, scales.factors[0].round(2).tolist()
        ((1,), [3.54, 353.55])
    """

    modes: tuple[int, ...]
    factors: tuple[np.ndarray, ...]

    def restored(self, network: TensorNetwork) -> TensorNetwork:
        """The network of the tensor in its own units, from one of the standardized tensor: exact,
        with the same structure."""
        cores: list[Any] = list(network.cores)
        for mode, factor in zip(self.modes, self.factors, strict=True):
            (node,) = (k for k, legs in enumerate(network.structure.legs) if mode in legs)
            core = np.asarray(cores[node])
            shape = [1] * core.ndim
            shape[network.structure.legs[node].index(mode)] = -1
            cores[node] = core * factor.reshape(shape).astype(core.dtype)
        return TensorNetwork(network.structure, cores)


def standardized(tensor: Any, modes: Sequence[int]) -> tuple[np.ndarray, Scales]:
    """A tensor whose slices along some modes all have the root mean square 1.

    For modes whose indices are quantities in different units, such as temperature, pressure and
    humidity: a relative error of the whole tensor would only see the largest of them. No mean is
    taken away, which would be one more term of the network.

    Args:
        tensor: real or complex; NaN does not count, a slice of zeros stays.
        modes: numbers from 0; divided by one after the other.

    Returns:
        the tensor, for `Decomposition` or `Completion.from_mask`, and what undoes it.

    Raises:
        ValueError: for a mode that the tensor does not have, or one named twice.

    Example:
        >>> import jax, numpy as np
        >>> from tnjax import Decomposition, Structure, fit
        >>> from tnjax.problems import standardized
        >>> units = np.asarray([1e-3, 1.0, 1e5])
        >>> tensor = np.random.default_rng(0).standard_normal((6, 5, 3)) * units
        >>> even, scales = standardized(tensor, modes=[2])
        >>> found = fit(Decomposition(even), Structure.tensor_train((6, 5, 3), (5, 3)),
        ...             key=jax.random.key(0), max_steps=50)
        >>> difference = np.asarray(scales.restored(found.network).to_dense()) - tensor
        >>> bool(np.all(np.sqrt((difference**2).mean((0, 1))) < 0.5 * units))  # each in its unit
        True
    """
    tensor = np.asarray(tensor)
    modes = _checked(modes, tensor.ndim, "standardized")
    if tensor.dtype.kind in "iub":
        tensor = tensor.astype(np.float64)
    factors = []
    for mode in modes:
        size = slice_sizes(tensor, mode)
        size = np.where(size > 0, size, 1)
        shape = [-1 if k == mode else 1 for k in range(tensor.ndim)]
        tensor = tensor / size.reshape(shape).astype(np.real(tensor).dtype)
        factors.append(size)
    return tensor, Scales(modes, tuple(factors))


def standardized_entries(
    indices: Any, values: Any, shape: Sequence[int], modes: Sequence[int]
) -> tuple[np.ndarray, Scales]:
    """Some entries of a tensor, divided so that those of each slice along some modes have the root
    mean square 1: `standardized` for a list of entries.

    Args:
        indices: integers [entries, modes], counted from 0.
        values: real or complex, [entries].
        shape: of the tensor.
        modes: numbers from 0; divided by one after the other. Slices of which no entry is given,
            or only zeros, stay.

    Returns:
        the values, for `Completion`, and what undoes it.

    Raises:
        ValueError: for a mode that the tensor does not have, or one named twice.

    Example:
        >>> from tnjax.problems import standardized_entries
        >>> indices, values = [[0, 0], [0, 1], [1, 1]], [3.0, 4e5, 4e5]
        >>> values, scales = standardized_entries(indices, values, (2, 2), [1])
        >>> values.tolist(), scales.factors[0].tolist()
        ([1.0, 1.0, 1.0], [3.0, 400000.0])
    """
    indices, values = np.asarray(indices), np.asarray(values)
    if values.dtype.kind in "iub":
        values = values.astype(np.float64)
    modes = _checked(modes, len(shape), "standardized_entries")
    factors = []
    for mode in modes:
        size = entry_sizes(indices[:, mode], values, shape[mode])
        size = np.where(size > 0, size, 1)
        values = values / size[indices[:, mode]].astype(np.real(values).dtype)
        factors.append(size)
    return values, Scales(modes, tuple(factors))


def _checked(modes: Sequence[int], order: int, what: str) -> tuple[int, ...]:
    modes = tuple(int(mode) for mode in modes)
    if len(set(modes)) != len(modes) or any(not 0 <= mode < order for mode in modes):
        raise ValueError(f"{what}: modes {list(modes)}; expected different ones of 0..{order - 1}.")
    return modes


def entry_sizes(places: np.ndarray, values: np.ndarray, count: int) -> np.ndarray:
    """The root mean square of the entries of each slice [count], given the slice of each entry; 0
    where there is none."""
    sizes = np.abs(values).astype(np.float64)
    largest = np.zeros(count)
    np.maximum.at(largest, places, sizes)
    safe = np.where(largest > 0, largest, 1)
    square = np.bincount(places, weights=(sizes / safe[places]) ** 2, minlength=count)
    return safe * np.sqrt(square / np.maximum(np.bincount(places, minlength=count), 1))


def slice_sizes(tensor: np.ndarray, mode: int) -> np.ndarray:
    """The root mean square of each slice along a mode, NaN left out, without overflow on the way;
    0 where there is nothing else."""
    rows = np.abs(np.moveaxis(tensor, mode, 0).reshape(tensor.shape[mode], -1))
    largest = np.nanmax(np.where(np.isnan(rows), 0, rows), axis=1, keepdims=True)
    safe = np.where(largest > 0, largest, 1)
    seen = np.maximum(np.sum(~np.isnan(rows), axis=1), 1)
    square = np.nansum((rows / safe).astype(np.float64) ** 2, axis=1) / seen
    return np.where(largest[:, 0] > 0, safe[:, 0] * np.sqrt(square), 0)


def uneven_modes(tensor: np.ndarray) -> dict[int, float]:
    """Modes whose slices differ in size by more than `unevenness.telling`, and by how much; slices
    of zeros do not count."""
    return _uneven(slice_sizes(tensor, mode) for mode in range(tensor.ndim))


def uneven_entries(
    indices: np.ndarray, values: np.ndarray, shape: Sequence[int]
) -> dict[int, float]:
    """`uneven_modes` of entries [entries, modes]."""
    return _uneven(entry_sizes(indices[:, k], values, count) for k, count in enumerate(shape))


def _uneven(sizes: Iterable[np.ndarray]) -> dict[int, float]:
    found = {}
    for mode, size in enumerate(sizes):
        size = size[size > 0]
        if len(size) > 1 and size.max() > UNEVENNESS().telling * size.min():
            found[mode] = float(size.max() / size.min())
    return found
