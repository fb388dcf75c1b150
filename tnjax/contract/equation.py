"""From a structure to the index labels of a contraction.

Labels are integers: mode m of the tensor is m, bond number b (in the order of
`structure.edges`) is `num_modes + b`. In the second copy of a network, as in a norm, the bonds
are shifted past all labels of the first. Rank-1 bonds do not exist in a structure, so none
appears here.
"""

import dataclasses
import functools
from collections.abc import Iterable

from .._structure import Structure

Labels = tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Equation:
    """An einsum with integer labels: operand labels, output labels, size of every label."""

    inputs: tuple[Labels, ...]
    output: Labels
    sizes: tuple[tuple[int, int], ...]

    @classmethod
    def create(cls, inputs: Iterable[Labels], output: Labels, sizes: dict[int, int]) -> "Equation":
        inputs = tuple(inputs)
        used = sorted({label for labels in inputs for label in labels})
        return cls(inputs, tuple(output), tuple((label, sizes[label]) for label in used))

    @property
    def size_dict(self) -> dict[int, int]:
        return dict(self.sizes)

    def __str__(self) -> str:
        """The equation in einsum letters (for people; contractions use the integers)."""
        import opt_einsum

        names = {label: opt_einsum.get_symbol(n) for n, (label, _) in enumerate(self.sizes)}
        word = lambda labels: "".join(names[label] for label in labels)
        return ",".join(map(word, self.inputs)) + "->" + word(self.output)


@functools.lru_cache(maxsize=4096)
def _bond_labels(structure: Structure) -> dict[tuple[int, ...], int]:
    return {edge: len(structure.dims) + b for b, edge in enumerate(structure.edges)}


def node_labels(structure: Structure, node: int, *, copy: bool = False) -> Labels:
    """Labels of a core's axes; `copy` gives the bonds of the second layer."""
    shift = len(structure.edges) if copy else 0
    bonds = _bond_labels(structure)
    return structure.legs[node] + tuple(bonds[e] + shift for e in structure.core_edges(node))


def sizes(structure: Structure) -> dict[int, int]:
    """Size of every label, both layers of bonds included."""
    out = dict(enumerate(structure.dims))
    shift = len(structure.edges)
    for edge, label in _bond_labels(structure).items():
        out[label] = out[label + shift] = structure.edges[edge]
    return out


def batch_label(structure: Structure) -> int:
    """A label that no layer uses, for an axis of samples."""
    return len(structure.dims) + 2 * len(structure.edges)


def dense_equation(structure: Structure) -> Equation:
    """All cores -> the tensor, modes in order."""
    nodes = range(structure.num_nodes)
    return Equation.create(
        [node_labels(structure, k) for k in nodes],
        tuple(range(len(structure.dims))),
        sizes(structure),
    )


def entries_equation(structure: Structure, num_entries: int) -> Equation:
    """Gathered rows of all cores -> the entries. The rows of a node with open legs carry the batch
    label in place of its modes; an internal node has no batch axis."""
    batch = batch_label(structure)
    inputs = []
    for node in range(structure.num_nodes):
        legs, labels = structure.legs[node], node_labels(structure, node)
        inputs.append(((batch,) if legs else ()) + labels[len(legs) :])
    return Equation.create(inputs, (batch,), {**sizes(structure), batch: num_entries})


def rows_equation(structure: Structure, node: int, num_entries: int) -> Equation:
    """Gathered rows of all cores but one -> for each entry the bonds of that node: the derivative
    of the entries by the row of the core that each of them uses."""
    batch = batch_label(structure)
    inputs = entries_equation(structure, num_entries).inputs
    bonds = node_labels(structure, node)[len(structure.legs[node]) :]
    rest = [labels for k, labels in enumerate(inputs) if k != node]
    carried = any(batch in labels for labels in rest)
    return Equation.create(
        rest, (batch, *bonds) if carried else bonds, {**sizes(structure), batch: num_entries}
    )


def inner_equation(structure: Structure) -> Equation:
    """Both layers of cores -> the inner product of the network with a twin."""
    nodes = range(structure.num_nodes)
    inputs = [node_labels(structure, k) for k in nodes]
    inputs += [node_labels(structure, k, copy=True) for k in nodes]
    return Equation.create(inputs, (), sizes(structure))


def layers_equation(structure: Structure) -> Equation:
    """For each node the product of its two cores over their legs -> the inner product. Operands
    have the bonds of the first layer, then those of the second."""
    inputs = []
    for node in range(structure.num_nodes):
        legs = len(structure.legs[node])
        layers = (node_labels(structure, node), node_labels(structure, node, copy=True))
        inputs.append(tuple(label for labels in layers for label in labels[legs:]))
    return Equation.create(inputs, (), sizes(structure))


def environment_equation(
    structure: Structure, nodes: tuple[int, ...], given: tuple[int, ...] | None = None
) -> Equation:
    """A tensor and all cores but `nodes` -> the open axes of `nodes`.

    The output holds, node by node, its modes and those of its bonds that reach a node outside
    `nodes` and were not listed before. A bond inside `nodes` alone is not a part of it. The first
    operand is the output of the same for the nodes `given`, if there are any, in the place of the
    tensor; the cores are those of the rest of them.
    """
    whole = range(structure.num_nodes) if given is None else given
    modes = tuple(range(len(structure.dims)))
    first = modes if given is None else environment_labels(structure, given)
    rest = [node_labels(structure, k) for k in whole if k not in nodes]
    return Equation.create([first, *rest], environment_labels(structure, nodes), sizes(structure))


def environment_labels(structure: Structure, nodes: tuple[int, ...]) -> Labels:
    bonds = _bond_labels(structure)
    output: list[int] = []
    for node in nodes:
        output += structure.legs[node]
        for edge in structure.core_edges(node):
            if set(edge) - set(nodes) and bonds[edge] not in output:
                output.append(bonds[edge])
    return tuple(output)


def jacobian_equation(structure: Structure, node: int) -> Equation:
    """All cores but one -> the other modes and the bonds of that node: dT / d(core)."""
    rest = [k for k in range(structure.num_nodes) if k != node]
    modes = tuple(m for m in range(len(structure.dims)) if m not in structure.legs[node])
    bonds = node_labels(structure, node)[len(structure.legs[node]) :]
    return Equation.create(
        [node_labels(structure, k) for k in rest], modes + bonds, sizes(structure)
    )


def gram_equation(structure: Structure, nodes: tuple[int, ...]) -> Equation:
    """Both layers of all cores but `nodes` -> their open bonds, first layer, then second."""
    rest = [k for k in range(structure.num_nodes) if k not in nodes]
    inputs = [node_labels(structure, k) for k in rest]
    inputs += [node_labels(structure, k, copy=True) for k in rest]
    return Equation.create(inputs, gram_labels(structure, nodes), sizes(structure))


def gram_labels(structure: Structure, nodes: tuple[int, ...]) -> Labels:
    """The bonds of `nodes` that reach other nodes, of the first layer, then of the second."""
    modes, shift = len(structure.dims), len(structure.edges)
    bonds = tuple(label for label in environment_labels(structure, nodes) if label >= modes)
    return bonds + tuple(label + shift for label in bonds)


def layered_gram_equation(
    structure: Structure, nodes: tuple[int, ...], given: tuple[int, ...] | None = None
) -> Equation:
    """The operands of `layers_equation` but those of `nodes` -> the Gram matrix that belongs to
    `nodes`. If nodes are `given`, the first operand is their Gram matrix, and the others are those
    of the rest of them."""
    layers = layers_equation(structure).inputs
    whole = range(structure.num_nodes) if given is None else given
    first = [] if given is None else [gram_labels(structure, given)]
    rest = [layers[k] for k in whole if k not in nodes]
    return Equation.create([*first, *rest], gram_labels(structure, nodes), sizes(structure))
