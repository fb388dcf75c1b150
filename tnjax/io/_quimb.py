"""To and from quimb's tensor networks."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from .._network import TensorNetwork
from .._structure import Edge
from .._tracing import refuse_trace
from ._interchange import assemble


def to_quimb(network: TensorNetwork) -> Any:
    """A network as a `quimb.tensor.TensorNetwork`, with NumPy arrays.

    Mode m has the index `k{m}`, the bond of nodes i and j the index `b{i}-{j}`, a hyperedge
    `b{i}-{j}-{l}` (a hyper-index), and node n the tag `N{n}`.

    Args:
        network: any structure and dtype.

    Returns:
        The quimb network. With hyperedges, quimb wants to be told what to keep:
        `tn.contract(output_inds=("k0", "k1", ...))`.

    Raises:
        ImportError: if quimb is not installed.

    Example:
        >>> import jax
        >>> from tnjax import Structure, TensorNetwork, to_quimb
        >>> cp = TensorNetwork.random(Structure.cp((3, 4, 5), 2), key=jax.random.key(0))
        >>> tn = to_quimb(cp)
        >>> tn["N1"].inds
        ('k1', 'b0-1-2')
        >>> tn.contract(output_inds=("k0", "k1", "k2")).shape
        (3, 4, 5)

    Reference:
        Gray, "quimb: a python package for quantum information and many-body calculations",
        JOSS 3 (2018).
    """
    refuse_trace(
        "to_quimb",
        "return the network (of tnjax.solve.run) from the traced function first",
        network,
    )
    qtn = _quimb("to_quimb")
    structure = network.structure
    tensors = [
        qtn.Tensor(
            np.array(core),
            inds=[f"k{mode}" for mode in structure.legs[node]]
            + [_index(edge) for edge in structure.core_edges(node)],
            tags=[f"N{node}"],
        )
        for node, core in enumerate(network.cores)
    ]
    return qtn.TensorNetwork(tensors, virtual=True)


def from_quimb(tn: Any, inds: Sequence[str]) -> TensorNetwork:
    """The network that a quimb network is: a node for every tensor, in quimb's order.

    Hyper-indices become hyperedges, and several indices between the same tensors one bond of
    the product rank; indices of size 1 disappear. Every index that is not in `inds` is summed,
    also one that is on a single tensor. The network's `exponent` is spread over the cores.

    Args:
        tn: a `quimb.tensor.TensorNetwork` whose arrays NumPy can read.
        inds: the open indices, in the order of the modes, e.g. `tn.outer_inds()`.

    Raises:
        ImportError: if quimb is not installed.
        ValueError: if it is not such a network, or an open index is missing, repeated, or on
            several tensors.

    Example:
        >>> import quimb.tensor as qtn
        >>> from tnjax import from_quimb
        >>> state = qtn.MPS_rand_state(4, bond_dim=3, phys_dim=2, seed=0)
        >>> from_quimb(state, ["k0", "k1", "k2", "k3"]).structure.edges
        mappingproxy({(0, 1): 3, (1, 2): 3, (2, 3): 3})
    """
    qtn = _quimb("from_quimb")
    if not isinstance(tn, qtn.TensorNetwork):
        raise ValueError(
            "from_quimb: expected a quimb.tensor.TensorNetwork, got "
            f"{type(tn).__module__}.{type(tn).__qualname__}. Put tensors into a network first: "
            "quimb.tensor.TensorNetwork([...])."
        )
    network = assemble([(t.inds, t.data) for t in tn.tensors], tuple(inds), "from_quimb")
    if not tn.exponent:
        return network
    try:
        scale = 10.0 ** (float(tn.exponent) / len(network.cores))
    except OverflowError:
        raise ValueError(f"from_quimb: the exponent {tn.exponent} is too large.") from None
    return TensorNetwork(network.structure, [core * scale for core in network.cores])


def _index(edge: Edge) -> str:
    return "b" + "-".join(map(str, edge))


def _quimb(what: str) -> Any:
    try:
        import quimb.tensor as qtn
    except ImportError as error:
        raise ImportError(f"{what} needs quimb: pip install quimb") from error
    return qtn
