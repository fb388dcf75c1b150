"""To and from quimb's tensor networks."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from .._install import install_hint
from .._network import TensorNetwork
from .._structure import Edge
from .._tracing import refuse_trace
from ._interchange import Operand, assemble

_COPY = "COPY"  # the tag of copy tensors


def to_quimb(network: TensorNetwork, *, hyper_indices: bool = False) -> Any:
    """A network as a `quimb.tensor.TensorNetwork`, with NumPy arrays.

    Mode m has the index `k{m}`, the bond of nodes i and j the index `b{i}-{j}`, and node n the
    tag `N{n}`. A hyperedge of d nodes becomes a chain of d - 2 copy tensors (ones on the diagonal,
    R^3 entries for a rank R) with the tag `COPY`, behind the nodes. It is joined to node n by the
    index `b{i}-{j}-{l}:{n}`. So each index is on at most two tensors, as most of quimb expects.

    Args:
        network: any structure and dtype.
        hyper_indices: whether a hyperedge is one index `b{i}-{j}-{l}` on all its nodes instead,
            without copy tensors. quimb then has to be told what to keep:
            `tn.contract(output_inds=("k0", "k1", ...))`.

    Returns:
        The quimb network. The indices of `tn.contract()` are in quimb's order;
        `output_inds=("k0", "k1", ...)` asks for the order of the modes.

    Raises:
        ImportError: if quimb is not installed.

    Example:
        >>> import jax
        >>> from tnjax import Structure, TensorNetwork, to_quimb
        >>> cp = TensorNetwork.random(Structure.cp((3, 4, 5), 2), key=jax.random.key(0))
        >>> tn = to_quimb(cp)
        >>> tn["N1"].inds, tn["COPY"].shape
        (('k1', 'b0-1-2:1'), (2, 2, 2))
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
    copied = [edge for edge in structure.edges if len(edge) > 2 and not hyper_indices]
    tensors = [
        qtn.Tensor(
            np.array(core),
            inds=[f"k{mode}" for mode in structure.legs[node]]
            + [_index(edge, node, edge in copied) for edge in structure.core_edges(node)],
            tags=[f"N{node}"],
        )
        for node, core in enumerate(network.cores)
    ]
    for edge in copied:
        copy = _copy(structure.edges[edge], np.asarray(network.cores[0]).dtype)
        tensors += [qtn.Tensor(copy.copy(), inds, [_COPY]) for inds in _chain(edge)]
    return qtn.TensorNetwork(tensors, virtual=True)


def from_quimb(tn: Any, inds: Sequence[str]) -> TensorNetwork:
    """The network that a quimb network is: a node for every tensor, in quimb's order.

    Hyper-indices become hyperedges. So do copy tensors as `to_quimb` makes them (three indices,
    none of them open, ones on the diagonal, the tag `COPY`), which are no nodes then. Several
    indices between the same tensors become one bond of the product rank; indices of size 1
    disappear. Every index that is not in `inds` is summed, also one that is on a single tensor.
    The network's `exponent` is spread over the cores.

    Args:
        tn: a `quimb.tensor.TensorNetwork` whose arrays NumPy can read.
        inds: the open indices, in the order of the modes, e.g. `tn.outer_inds()`.

    Returns:
        The network; modes in the order of `inds`.

    Raises:
        ImportError: if quimb is not installed.
        ValueError: if it is not such a network, or an open index is missing, repeated, or on
            several tensors.

    Example:
        >>> import quimb.tensor as qtn
        >>> from tnjax import from_quimb
        >>> state = qtn.MPS_rand_state(4, bond_dim=3, phys_dim=2, seed=0)
        >>> from_quimb(state, ["k0", "k1", "k2", "k3"]).structure.edges
        {(0, 1): 3, (1, 2): 3, (2, 3): 3}
    """
    qtn = _quimb("from_quimb")
    if not isinstance(tn, qtn.TensorNetwork):
        raise ValueError(
            "from_quimb: expected a quimb.tensor.TensorNetwork, got "
            f"{type(tn).__module__}.{type(tn).__qualname__}. Put tensors into a network first: "
            "quimb.tensor.TensorNetwork([...])."
        )
    network = assemble(_without_copies(tn.tensors, inds), tuple(inds), "from_quimb")
    if not tn.exponent:
        return network
    try:
        scale = 10.0 ** (float(tn.exponent) / len(network.cores))
    except OverflowError:
        raise ValueError(f"from_quimb: the exponent {tn.exponent} is too large.") from None
    return TensorNetwork(network.structure, [core * scale for core in network.cores])


def _index(edge: Edge, node: int, copied: bool) -> str:
    return "b" + "-".join(map(str, edge)) + (f":{node}" if copied else "")


def _chain(edge: Edge) -> list[tuple[str, str, str]]:
    """The indices of the copy tensors that join the nodes of a hyperedge, one after the other."""
    ends = [_index(edge, node, True) for node in edge]
    links = [f"{_index(edge, node, True)}+" for node in edge[1:-2]]  # between two of them
    return list(zip([ends[0], *links], ends[1:-1], [*links, ends[-1]], strict=True))


def _copy(rank: int, dtype: np.dtype) -> np.ndarray:
    """Ones where all three indices are equal, shape [rank, rank, rank]."""
    copy = np.zeros((rank, rank, rank), dtype)
    copy[(np.arange(rank),) * 3] = 1
    return copy


def _without_copies(tensors: Sequence[Any], inds: Sequence[str]) -> list[Operand]:
    """Pairs (indices, array), the indices that copy tensors join being one index."""
    same: dict[str, str] = {}

    def root(index: str) -> str:
        while index in same:
            index = same[index]
        return index

    copies = [n for n, tensor in enumerate(tensors) if _is_copy(tensor, inds)]
    rest = [tensor for n, tensor in enumerate(tensors) if n not in copies]
    for n in copies:
        first, *others = dict.fromkeys(root(index) for index in tensors[n].inds)
        same |= dict.fromkeys(others, first)
    held = {root(index) for tensor in rest for index in tensor.inds}
    if any(root(index) not in held for n in copies for index in tensors[n].inds):
        return [(tensor.inds, tensor.data) for tensor in tensors]  # copies of nothing: a number
    return [(tuple(root(i) for i in tensor.inds), tensor.data) for tensor in rest]


def _is_copy(tensor: Any, inds: Sequence[str]) -> bool:
    if _COPY not in tensor.tags or set(tensor.inds) & set(inds):
        return False
    if not len(tensor.inds) == len(set(tensor.inds)) == 3:
        return False
    data = np.asarray(tensor.data)
    return len(set(data.shape)) == 1 and np.array_equal(data, _copy(len(data), data.dtype))


def _quimb(what: str) -> Any:
    try:
        import quimb.tensor as qtn
    except ImportError as error:
        raise ImportError(f"{what} needs quimb: {install_hint('interchange')}.") from error
    return qtn
