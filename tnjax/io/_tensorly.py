"""To and from TensorLy's factorized tensors: CP, Tucker, tensor train, tensor ring."""

import importlib
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from .._install import install_hint
from .._network import TensorNetwork
from .._structure import Edge, Structure, as_edge
from .._tracing import refuse_trace
from ._interchange import assemble


def to_tensorly(network: TensorNetwork) -> Any:
    """A network as one of TensorLy's factorized tensors, with NumPy arrays.

    - No bonds: a `CPTensor` of rank 1.
    - Bonds between the nodes of consecutive modes: a `TTTensor`.
    - One hyperedge on the nodes of all modes: a `CPTensor`.
    - Bonds between consecutive modes, the last and the first also being neighbors: a `TRTensor`.
    - Bonds between each mode's node and one internal node: a `TuckerTensor`.

    Any bond of a train, ring or Tucker may be missing: it has rank 1. The first that fits is
    taken, so that two nodes and a bond become a `TTTensor`.

    Args:
        network: one leg on every node but internal ones; any dtype.

    Returns:
        The TensorLy object. The weights of a `CPTensor` are ones, or, if there are no bonds, the
        product of the internal nodes (numbers).

    Raises:
        ImportError: if TensorLy is not installed.
        ValueError: for any other structure.

    Example:
        >>> import jax
        >>> from tnjax import Structure, TensorNetwork, to_tensorly
        >>> train = Structure.tensor_train((4, 5, 6), (2, 3))
        >>> to_tensorly(TensorNetwork.random(train, key=jax.random.key(0))).rank
        (1, 2, 3, 1)

    Reference:
        Kossaifi et al., "TensorLy: Tensor Learning in Python", JMLR 20 (2019).
    """
    refuse_trace(
        "to_tensorly",
        "return the network (of tnjax.solve.run) from the traced function first",
        network,
    )
    cp, tucker, train, ring = _classes("to_tensorly")
    structure = network.structure
    _check_legs(structure)
    nodes = [structure.legs.index((mode,)) for mode in range(len(structure.dims))]
    internal = [node for node, legs in enumerate(structure.legs) if not legs]
    bonds, last = set(structure.edges), len(nodes) - 1
    array = lambda node, *axes: _arrange(network, node, axes)
    if not bonds:
        weights = np.ones(1, network.dtype)
        for node in internal:
            weights = weights * np.asarray(network.cores[node])
        return cp((weights, [array(node, "leg", "one") for node in nodes]))
    if len(internal) == 1 and last > 0:
        spokes = [as_edge((node, internal[0])) for node in nodes]
        if bonds <= set(spokes):
            factors = [array(node, "leg", spoke) for node, spoke in zip(nodes, spokes)]
            return tucker((array(internal[0], *spokes), factors))
    elif not internal:
        chain = [as_edge((nodes[mode], nodes[mode + 1])) for mode in range(last)]
        closing = as_edge((nodes[last], nodes[0]))
        if bonds <= set(chain):
            ends = ["one", *chain, "one"]
            return train([array(node, ends[m], "leg", ends[m + 1]) for m, node in enumerate(nodes)])
        if bonds <= {*chain, closing}:
            ends = [closing, *chain, closing]
            return ring([array(node, ends[m], "leg", ends[m + 1]) for m, node in enumerate(nodes)])
        if bonds == {(everywhere := tuple(sorted(nodes)))}:
            weights = np.ones(structure.edges[everywhere], network.dtype)
            return cp((weights, [array(node, "leg", everywhere) for node in nodes]))
    raise ValueError(
        f"to_tensorly: TensorLy cannot hold {structure}. It holds CP (one hyperedge on all "
        "nodes), Tucker (two or more modes around one internal node), tensor trains and tensor "
        "rings (bonds between the nodes of consecutive modes). Use to_quimb or to_einsum, or "
        "contract it with to_dense()."
    )


def from_tensorly(tensor: Any) -> TensorNetwork:
    """The network that one of TensorLy's factorized tensors is.

    Node k carries mode k; the core of a Tucker tensor is an internal node after them. The weights
    of a CP tensor are folded into its first factor. Bonds of rank 1 disappear, and the two bonds
    of a ring of two cores become one.

    Args:
        tensor: a `CPTensor`, `TTTensor`, `TRTensor` or `TuckerTensor`, of any dtype, with arrays
            that NumPy can read.

    Returns:
        The network that represents the same tensor.

    Raises:
        ImportError: if TensorLy is not installed.
        ValueError: for anything else, or if its arrays do not fit one another.

    Example:
        >>> import numpy as np, tensorly
        >>> from tnjax import from_tensorly
        >>> x = np.arange(24.0).reshape(2, 3, 4)
        >>> from_tensorly(tensorly.decomposition.tensor_train(x, [1, 2, 2, 1])).structure
        Structure(dims=2x3x4, edges={0-1: 2, 1-2: 2}, params=24, compression=1x)
    """
    cp, tucker, train, ring = _classes("from_tensorly")
    if isinstance(tensor, cp):
        weights, (first, *rest) = tensor
        columns = [_columns(factor) for factor in (first, *rest)]
        if weights is not None:
            columns[0] = columns[0] * np.asarray(weights)
        operands = [((mode, "rank"), x) for mode, x in enumerate(columns)]
    elif isinstance(tensor, tucker):
        center, columns = tensor
        spokes = [f"rank {mode}" for mode in range(len(columns))]
        operands = [((mode, spokes[mode]), x) for mode, x in enumerate(columns)]
        operands = [*operands, (spokes, center)]
    elif isinstance(tensor, train | ring):
        columns = list(tensor)
        after = lambda mode: mode + 1 if isinstance(tensor, train) else (mode + 1) % len(columns)
        operands = [
            ((f"rank {mode}", mode, f"rank {after(mode)}"), x) for mode, x in enumerate(columns)
        ]
    else:
        raise ValueError(
            "from_tensorly: expected a CPTensor, TuckerTensor, TTTensor or TRTensor, got "
            f"{type(tensor).__module__}.{type(tensor).__qualname__}. Wrap tuples and lists in the "
            "class first, e.g. tensorly.cp_tensor.CPTensor((weights, factors))."
        )
    return assemble(operands, range(len(columns)), "from_tensorly")


def _classes(what: str) -> tuple[type, type, type, type]:
    try:
        module = lambda name: importlib.import_module(f"tensorly.{name}_tensor")
        return (
            module("cp").CPTensor,
            module("tucker").TuckerTensor,
            module("tt").TTTensor,
            module("tr").TRTensor,
        )
    except ImportError as error:
        raise ImportError(f"{what} needs TensorLy: {install_hint('interchange')}.") from error


def _check_legs(structure: Structure) -> None:
    for node, legs in enumerate(structure.legs):
        if len(legs) > 1:
            raise ValueError(
                f"to_tensorly: node {node} of {structure} carries the modes {legs}, but a factor "
                "of TensorLy's has one mode. Use to_quimb or to_einsum."
            )


def _arrange(
    network: TensorNetwork, node: int, axes: Sequence[Edge | Literal["leg", "one"]]
) -> np.ndarray:
    """A core with its axes in that order; bonds that are not there get an axis of size 1."""
    structure, core = network.structure, np.array(network.cores[node])
    order, shape = [], []
    for axis in axes:
        if axis == "leg":
            order.append(0)
            shape.append(core.shape[0])
        elif axis != "one" and axis in structure.edges:
            order.append(structure.axis(node, axis))
            shape.append(structure.edges[axis])
        else:
            shape.append(1)
    return core.transpose(order).reshape(shape)


def _columns(factor: Any) -> np.ndarray:
    """A factor of a CP tensor; of rank 1 it may be a vector."""
    factor = np.asarray(factor)
    return factor[:, None] if factor.ndim == 1 else factor
