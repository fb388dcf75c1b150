"""Networks from and to labeled arrays: the common ground of einsum, TensorLy and quimb."""

import math
from collections.abc import Hashable, Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from .._network import TensorNetwork
from .._structure import Edge, Structure
from ..contract.equation import dense_equation

Operand = tuple[Sequence[Hashable], object]


def to_einsum(network: TensorNetwork) -> tuple[str, tuple[Array, ...]]:
    """A network as an einsum equation and its operands.

    The letters are those of `opt_einsum.get_symbol`: first the modes in order, then the bonds in
    the order of `structure.edges`. `opt_einsum.contract` takes any number of them,
    `numpy.einsum` only the first 52. It contracts all operands at once unless `optimize=True`.

    Args:
        network: any structure and dtype.

    Returns:
        The equation and the cores, one operand for each node. May be called under `jax.jit`.

    Example:
        >>> import jax, opt_einsum
        >>> from tnjax import Structure, TensorNetwork, to_einsum
        >>> cp = TensorNetwork.random(Structure.cp((3, 4, 5), 2), key=jax.random.key(0))
        >>> equation, arrays = to_einsum(cp)
        >>> equation
        'ad,bd,cd->abc'
        >>> opt_einsum.contract(equation, *arrays).shape
        (3, 4, 5)
    """
    return str(dense_equation(network.structure)), network.cores


def from_einsum(equation: str, arrays: Sequence[Any]) -> TensorNetwork:
    """The network that an einsum equation describes: a node for every operand.

    Letters of the output are the modes, in that order; the others are bonds, or hyperedges where
    three or more operands share one. Bonds between the same nodes become one bond of the product
    rank, bonds of size 1 disappear, a letter on one operand only is summed, and a letter twice on
    one operand takes its diagonal, as in `numpy.einsum`. Sizes are never broadcast.

    Args:
        equation: with an explicit output, e.g. `"ab,bc->ac"`.
        arrays: one for each operand. Different dtypes are promoted to one; integers become
            floating.

    Returns:
        The network; modes in the order of the output.

    Raises:
        ValueError: if the equation has no `->` or an ellipsis, the arrays do not fit it, or a
            letter of the output is missing, repeated, or on several operands.

    Example:
        >>> import numpy as np
        >>> from tnjax import from_einsum
        >>> from_einsum("axy,bxy->ab", [np.ones((3, 2, 2)), np.ones((4, 2, 2))]).structure
        Structure(dims=3x4, edges={0-1: 4}, params=28, compression=0.429x)
    """
    text = equation.replace(" ", "")
    if "." in text:
        raise ValueError(
            f"from_einsum: got {equation!r} with an ellipsis; write a letter for every axis."
        )
    inputs, arrow, output = text.partition("->")
    if not arrow or set("->,") & set(output) or set("->") & set(inputs):
        raise ValueError(
            f"from_einsum: expected operands and an output, such as 'ab,bc->ac', got {equation!r}. "
            "Write the output explicitly, after one '->'."
        )
    words = inputs.split(",")
    if len(words) != len(arrays):
        raise ValueError(
            f"from_einsum: {equation!r} has {len(words)} operands, but {len(arrays)} arrays were "
            "given. Give one array for each."
        )
    return assemble(zip(words, arrays, strict=True), output, "from_einsum")


def assemble(operands: Iterable[Operand], output: Sequence[Hashable], what: str) -> TensorNetwork:
    """A network from arrays whose axes have labels; equal labels are one index.

    Args:
        operands: pairs (labels, array), one for each node.
        output: labels of the modes, in order. All others are summed.
        what: the public function, for its error messages.

    Raises:
        ValueError: if labels and arrays do not make a network.
    """
    pairs = [(tuple(labels), _array(x, what)) for labels, x in operands]
    sizes, carriers = _survey(pairs, what)
    _check_output(output, carriers, what)
    bonds: dict[Edge, list[Hashable]] = {}
    for label, nodes in carriers.items():
        if label not in output and sizes[label] > 1 and len(nodes) > 1:
            bonds.setdefault(tuple(nodes), []).append(label)
    modes = list(enumerate(output))
    structure = Structure(
        tuple(sizes[label] for label in output),
        tuple(tuple(m for m, o in modes if carriers[o] == [k]) for k in range(len(pairs))),
        {edge: math.prod(sizes[label] for label in labels) for edge, labels in bonds.items()},
    )
    dtype = _common_dtype([x for _, x in pairs])
    cores = []
    for node, (labels, x) in enumerate(pairs):
        keep = [output[mode] for mode in structure.legs[node]]
        keep += [label for edge in structure.core_edges(node) for label in bonds[edge]]
        core = _reduce(x if x.dtype == dtype else x.astype(dtype), labels, keep)
        cores.append(core.reshape(structure.core_shape(node)))
    return TensorNetwork(structure, cores)


def _array(x: object, what: str) -> np.ndarray | Array:
    """JAX arrays stay what they are (traced ones too); everything else goes through NumPy."""
    x = x if isinstance(x, jax.Array) else np.asarray(x)
    if x.dtype != bool and not jnp.issubdtype(x.dtype, jnp.number):
        raise ValueError(f"{what}: expected arrays of numbers, got one of dtype {x.dtype}.")
    return x


def _survey(
    pairs: list[tuple[tuple[Hashable, ...], np.ndarray | Array]], what: str
) -> tuple[dict[Hashable, int], dict[Hashable, list[int]]]:
    """Size of every label, and the nodes that carry it, labels in order of appearance."""
    sizes: dict[Hashable, int] = {}
    carriers: dict[Hashable, list[int]] = {}
    for node, (labels, x) in enumerate(pairs):
        if len(labels) != x.ndim:
            raise ValueError(
                f"{what}: array {node} has {x.ndim} axes, shape {list(x.shape)}, but "
                f"{len(labels)} indices {list(labels)}. Give one index for each axis."
            )
        for label, size in zip(labels, x.shape, strict=True):
            if size < 1:
                raise ValueError(f"{what}: index {label!r} of array {node} has size 0.")
            if sizes.setdefault(label, size) != size:
                raise ValueError(
                    f"{what}: index {label!r} has size {size} on array {node}, but size "
                    f"{sizes[label]} before. Axes with the same index need the same size."
                )
            nodes = carriers.setdefault(label, [])
            if node not in nodes[-1:]:
                nodes.append(node)
    return sizes, carriers


def _check_output(
    output: Sequence[Hashable], carriers: dict[Hashable, list[int]], what: str
) -> None:
    if not output:
        raise ValueError(
            f"{what}: the output has no index, but a network needs one mode or more. Keep an "
            "index of size 1 open to represent a number."
        )
    if len(set(output)) != len(output):
        raise ValueError(f"{what}: the output {list(output)} names an index twice.")
    for label in output:
        nodes = carriers.get(label, [])
        if not nodes:
            raise ValueError(
                f"{what}: the output index {label!r} is on no array; the indices are "
                f"{list(carriers)}."
            )
        if len(nodes) > 1:
            raise ValueError(
                f"{what}: the output index {label!r} is on {len(nodes)} arrays, {nodes}, but a "
                "mode belongs to exactly one node. Rename it on them, and add an identity matrix "
                f"between the new name and {label!r}."
            )


def _common_dtype(arrays: list[np.ndarray | Array]) -> np.dtype:
    inexact = [x.dtype for x in arrays if jnp.issubdtype(x.dtype, jnp.inexact)]
    # Of integers alone: JAX's default, float32 or float64.
    return jax.dtypes.canonicalize_dtype(np.result_type(*inexact) if inexact else np.float64)


def _reduce(
    x: np.ndarray | Array, labels: Sequence[Hashable], keep: Sequence[Hashable]
) -> np.ndarray | Array:
    """Diagonals of repeated labels, sums over those not kept, axes in the order of `keep`."""
    if list(labels) == list(keep):
        return x
    number = {label: n for n, label in enumerate(dict.fromkeys(labels))}
    # NumPy spares a compilation for every shape, but does not know JAX's own dtypes.
    xp = np if isinstance(x, np.ndarray) and x.dtype.kind in "fc" else jnp
    inputs, output = ([number[label] for label in names] for names in (labels, keep))
    return xp.asarray(xp.einsum(x, inputs, output))  # einsum of NumPy gives scalars, not arrays
