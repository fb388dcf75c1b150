"""What a contraction will cost, and the refusal of one that will not fit."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from .._structure import Structure
from .._tuned import cached
from .equation import (
    Equation,
    dense_equation,
    environment_equation,
    gram_equation,
    inner_equation,
    layered_gram_equation,
    layers_equation,
)
from .path import plan

# What NumPy takes for one; without JAX, which a command line that only reads sizes does not need.
DType = np.dtype[Any] | type[Any] | str


class MemoryLimitError(ValueError):
    """A contraction was refused because its forecast peak exceeds the limit.

    Example:
        >>> import jax, tnjax
        >>> train = tnjax.Structure.tensor_train((9, 9, 9), 2)
        >>> network = tnjax.TensorNetwork.random(train, key=jax.random.key(0))
        >>> try:
        ...     network.to_dense(memory_limit=1000)
        ... except tnjax.MemoryLimitError as error:
        ...     print(error)  # doctest: +ELLIPSIS
        The dense tensor would need ..., more than the memory limit of 1000 B. ...
    """


@dataclasses.dataclass(frozen=True)
class Cost:
    """Forecast of one contraction.

    Attributes:
        flops: multiplications and additions.
        peak_bytes: alive at its worst moment.

    Example:
        >>> from tnjax import Structure, contraction_cost
        >>> contraction_cost(Structure.rank_one((10, 10)), "float32")
        Cost(flops=100, peak_bytes=480)
    """

    flops: int
    peak_bytes: int


def cost(equation: Equation, dtype: DType, *, batch: int = 1) -> Cost:
    """Forecast for `batch` evaluations of an equation at once."""
    found = plan(equation)
    return Cost(batch * found.flops, batch * found.peak_size * np.dtype(dtype).itemsize)


def contraction_cost(structure: Structure, dtype: DType = np.float64) -> Cost:
    """Forecast of contracting a structure to its dense tensor.

    Args:
        structure: with its ranks.
        dtype: of the cores; it counts for the bytes only.

    Returns:
        Flops and peak memory along the planned path.

    Example:
        >>> from tnjax import Structure, contraction_cost
        >>> contraction_cost(Structure.tensor_train((4, 5, 6), 2), "float32").flops
        640
    """
    return cost(dense_equation(structure), dtype)


def dense_flops(structure: Structure) -> int:
    """Flops of contracting a structure to its dense tensor."""
    return plan(dense_equation(structure)).flops


def layered_flops(structure: Structure) -> int:
    """Flops of contracting a network with itself, the two cores of each node first."""
    flops = plan(layers_equation(structure)).flops
    for node, bonds in enumerate(num_bonds(structure)):
        flops += 2 * math.prod(structure.core_shape(node)) * bonds
    return flops


@cached(maxsize=4096)
def layers_pay(structure: Structure) -> bool:
    """Whether a network is best contracted with itself by the two cores of each node first, which
    the nodes can share. Not where ranks are high and modes small."""
    flops = layered_flops(structure)
    # Planning the other way takes long, so that only what costs more than the data is compared.
    return flops <= dense_flops(structure) or flops <= 2 * plan(inner_equation(structure)).flops


def gram_equation_of(structure: Structure, node: int) -> Equation:
    """How the Gram matrix of a node's normal equations is contracted."""
    if layers_pay(structure):
        return layered_gram_equation(structure, (node,))
    return gram_equation(structure, (node,))


def dense_sweep_flops(structure: Structure) -> int:
    """Forecast of a sweep of alternating least squares over a dense tensor: the contractions
    with the data and those of the network with itself, some twice as many flops as all nodes' own
    contractions, and the solutions. What halves of the nodes share is not taken off."""
    return 2 * structure.num_nodes * dense_flops(structure) + solve_flops(structure)


def solve_flops(structure: Structure, rows: bool = False) -> int:
    """Flops of the factorizations of all cores' normal equations, one for each row of a core or
    one for all of them."""
    total = 0
    for node, bonds in enumerate(num_bonds(structure)):
        many = math.prod(structure.dims[mode] for mode in structure.legs[node]) if rows else 1
        total += many * bonds**3 // 3
    return total


def num_bonds(structure: Structure) -> list[int]:
    """The product of the ranks at each node: unknowns in a row of its core."""
    shapes = (structure.core_shape(node)[len(legs) :] for node, legs in enumerate(structure.legs))
    return [math.prod(shape) for shape in shapes]


@cached(maxsize=4096)
def dense_fit_peak_bytes(structure: Structure, dtype: DType) -> int:
    """Forecast of what a sweep over a dense tensor has alive at its worst moment, the tensor,
    the network's own tensor and the residual included."""
    equations = [dense_equation(structure)]
    for node in range(structure.num_nodes):
        equations.append(environment_equation(structure, (node,)))
        equations.append(gram_equation_of(structure, node))
    size = np.dtype(dtype).itemsize
    residual = 2 * math.prod(structure.dims) * size
    systems = 3 * max(num_bonds(structure)) ** 2 * size  # Gram matrix, with its ridge, factor
    return residual + max(systems, *(cost(equation, dtype).peak_bytes for equation in equations))


def check_fit_memory(
    structure: Structure, forecast: Callable[[Structure], int], limit: int | None
) -> None:
    """Refuse a fit whose `forecast` (a problem's `fit_peak_bytes`) exceeds `limit` bytes.

    Raises:
        MemoryLimitError: with the forecast, the limit and what to do.
    """
    if limit is not None and forecast(structure) > limit:
        raise MemoryLimitError(
            f"Fitting {structure} would need {format_bytes(forecast(structure))}, "
            f"more than the memory limit of {format_bytes(limit)}. Raise the limit, or use a "
            "smaller tensor, lower ranks or fewer bonds."
        )


def format_bytes(count: float) -> str:
    """A byte count for people, in binary units."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.4g} {unit}"
        count = count / 1024 if count < 2**1000 else count // 1024
    if count >= 2**1000:
        return "more than 1e+300 TiB"
    return f"{count:.4g} TiB"


def parse_bytes(text: str | int) -> int:
    """Bytes from a text such as '512MiB', '2 GB' or '1000000'.

    Raises:
        ValueError: if the text is not a positive number with a known unit.
    """
    units = {"": 1, "B": 1}
    for power, letter in enumerate("KMGT", start=1):
        units |= {letter: 1024**power, f"{letter}IB": 1024**power, f"{letter}B": 1000**power}
    word = str(text).strip().upper()
    digits = word.rstrip("KMGTIB ").strip()
    try:
        value = float(digits) * units[word[len(digits) :].strip()]
    except (ValueError, KeyError):
        value = 0
    if not 1 <= value < 2**63:
        raise ValueError(f"Memory limit {text!r}: expected a size such as 512MiB or 4GiB.")
    return int(value)
