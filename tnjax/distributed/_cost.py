"""What a step of a search costs on each of many devices, from the structure alone.

The contractions of a step are walked through as the kernels make them. A contraction that is made
twice with the same operands counts once, as the compiler makes it once. Operands are copied first
where their axes do not lie as a product of matrices needs them. Elementwise work counts where it
has the size of the data. Tests compare the figures with those of the compiled programs.
"""

import dataclasses
import math
from collections.abc import Hashable, Sequence

import numpy as np

from .._structure import Structure
from ..contract.cost import DType, layers_pay, num_bonds
from ..contract.equation import (
    Equation,
    dense_equation,
    entries_equation,
    environment_equation,
    gram_equation,
    layered_gram_equation,
    rows_equation,
)
from ..contract.path import plan
from ..problems.samples import fit_bytes, num_slots

_FLOAT = np.dtype(np.float64)


@dataclasses.dataclass(frozen=True)
class StepCost:
    """What a step costs one device.

    Attributes:
        flops: multiplications and additions.
        bytes: that its operations read and write.
        collective_bytes: results of sums and gathers over devices.
        peak_bytes: alive at the worst moment, its part of the data included.

    Example:
        >>> from tnjax import Structure
        >>> from tnjax.distributed import dense_sweep
        >>> dense_sweep(Structure.rank_one((8, 8))).collective_bytes
        0
    """

    flops: int
    bytes: int
    collective_bytes: int
    peak_bytes: int


def dense_sweep(
    structure: Structure, dtype: DType = _FLOAT, *, data: int = 1, lanes: int = 1
) -> StepCost:
    """A sweep of alternating least squares over a dense tensor, and the error after it.

    Args:
        structure: with the sizes of the whole tensor.
        data: devices that the tensor is shared out to, in slabs of its longest mode.
        lanes: networks that each device fits together.
        dtype: of the numbers; double by default.

    Returns:
        What one device does, moves, sends and holds.

    Example:
        >>> from tnjax import Structure
        >>> from tnjax.distributed import dense_sweep
        >>> ring = Structure.tensor_ring((64, 32, 32, 32), 3)
        >>> one, eight = dense_sweep(ring), dense_sweep(ring, data=8)
        >>> round(one.flops / eight.flops), eight.collective_bytes
        (8, 11528)
    """
    slab, mode, thickness = _slab(structure, data)
    walk = _Walk()
    versions = [0] * structure.num_nodes
    for node in range(structure.num_nodes):
        walk.environment(slab, node, versions)
        if layers_pay(structure):
            walk.layered_gram(structure, node, versions)
        else:
            walk.gram(structure, node, versions)
        versions[node] += 1
    walk.dense(slab)
    entries = math.prod(slab.dims)
    size = np.dtype(dtype).itemsize
    moved = lanes * (walk.moved + 3 * entries)
    alive = entries * (1 + lanes * max(walk.copied_data, 1 + walk.transposed))
    sent = 0 if data == 1 else lanes * (_environments(structure, mode, thickness * data) + 1)
    return StepCost(
        lanes * (walk.flops + 3 * entries), moved * size, sent * size, (alive + walk.largest) * size
    )


def dense_screen(
    structure: Structure,
    dtype: DType = _FLOAT,
    *,
    count: int | None = None,
    data: int = 1,
    candidates: int = 1,
) -> StepCost:
    """The residual, and one pass over the slices of all candidate bonds against it.

    Args:
        structure: with the sizes of the whole tensor.
        count: candidates on each node; by default a bond to every other node.
        data: as of `dense_sweep`.
        candidates: devices that the candidates are shared out to.
        dtype: of the numbers; double by default.

    Returns:
        What one device does, moves, sends and holds.

    Example:
        >>> from tnjax import Structure
        >>> from tnjax.distributed import dense_screen
        >>> ring = Structure.tensor_ring((16, 16, 16), 2)
        >>> dense_screen(ring, data=2).flops < dense_screen(ring).flops
        True
    """
    slab, mode, thickness = _slab(structure, data)
    count = structure.num_nodes - 1 if count is None else count
    lanes = -(-count // candidates)
    nodes, entries = structure.num_nodes, math.prod(slab.dims)
    walk = _Walk()
    for node in range(nodes):  # the candidates on every node are others
        walk.environment(slab, node, [node] * nodes)
        walk.gram(structure, node, [node] * nodes)
    # All of them together read the data, and copies of them, once.
    again = (lanes - 1) * (nodes + 2 * walk.copied_data) * entries
    flops, moved, copied = lanes * walk.flops, lanes * walk.moved - again, walk.copied_data
    walk = _Walk()
    walk.dense(slab)
    residual = (3 if copied else 5) * entries  # made, and copied at least once
    size = np.dtype(dtype).itemsize
    cores = [math.prod(structure.core_shape(node)) for node in range(structure.num_nodes)]
    sent = 0
    if data > 1:
        sent += lanes * _environments(structure, mode, thickness * data)
    if candidates > 1:
        sent += lanes * candidates * (sum(cores) + nodes)
    return StepCost(
        flops + walk.flops + entries,
        (moved + walk.moved + residual) * size,
        sent * size,
        (2 + max(copied, 1 + walk.transposed)) * entries * size,
    )


def sample_sweep(
    structure: Structure, count: int, dtype: DType = _FLOAT, *, data: int = 1, lanes: int = 1
) -> StepCost:
    """A sweep of alternating least squares over sampled entries, and the error after it.

    What is moved besides the contractions is measured: a row that is gathered, multiplied and
    summed counts ten times, and normal equations sixteen times until they are solved.

    Args:
        structure: every node carries one mode.
        count: entries in all.
        data: devices that the entries are shared out to.
        lanes: networks that each device fits together.
        dtype: of the numbers; double by default.

    Returns:
        What one device does, moves, sends and holds.

    Example:
        >>> from tnjax import Structure
        >>> from tnjax.distributed import sample_sweep
        >>> ring = Structure.tensor_ring((100, 100, 100), 2)
        >>> sample_sweep(ring, 10_000).flops < sample_sweep(ring, 20_000).flops
        True
    """
    own, size = -(-count // data), np.dtype(dtype)
    flops = moved = sent = blocks = 0
    for node, bonds in enumerate(num_bonds(structure)):
        slots = num_slots(own, structure.dims[structure.legs[node][0]])
        blocks += 4 * slots
        rows = plan(rows_equation(structure, node, slots))
        outer = 2 * slots * bonds * (bonds + 1)
        flops += rows.flops + outer + slots * (4 * bonds + 20)
        equations = math.prod(structure.core_shape(node)) * (bonds + 1)
        moved += 3 * rows.moved // 2 + 10 * slots * bonds + 16 * equations
        sent += equations
    look = plan(entries_equation(structure, own))
    sent = 0 if data == 1 else lanes * (sent + 1)
    return StepCost(
        lanes * (flops + look.flops),
        lanes * (moved + 3 * look.moved // 2) * size.itemsize,
        sent * size.itemsize,
        lanes * fit_bytes(structure, size, own) + blocks,
    )


# Contractions -------------------------------------------------------------------------------


def _slab(structure: Structure, data: int) -> tuple[Structure, int, int]:
    """What a device has of a tensor: its structure, the mode that is cut, and how much of it."""
    mode = max(range(len(structure.dims)), key=lambda k: structure.dims[k])
    thickness = -(-structure.dims[mode] // data)
    dims = (*structure.dims[:mode], thickness, *structure.dims[mode + 1 :])
    return dataclasses.replace(structure, dims=dims), mode, thickness


def _environments(structure: Structure, mode: int, filled: int) -> int:
    """Entries of the environments of all nodes, the cut mode filled up."""
    total = 0
    for node, legs in enumerate(structure.legs):
        entries = math.prod(structure.core_shape(node))
        total += entries // structure.dims[mode] * filled if mode in legs else entries
    return total


def _others(kind: str, node: int, versions: Sequence[int]) -> list[tuple[str, int, int]]:
    """Names of something of all other nodes' cores."""
    return [(kind, k, version) for k, version in enumerate(versions) if k != node]


class _Walk:
    """An account of contractions; operands have names, so that what is known is not made again.

    Attributes:
        flops, moved: so far, moved in entries.
        copied_data: copies of the data in other orders of their axes.
        transposed: whether the last result was brought into another order.
        largest: entries of the largest intermediate without the data.
    """

    def __init__(self) -> None:
        self.flops = self.moved = self.copied_data = self.largest = 0
        self.transposed = False
        self._known: set[Hashable] = set()

    def environment(self, slab: Structure, node: int, versions: Sequence[int]) -> None:
        """Of one core, the others in some versions."""
        cores = _others("slab", node, versions)
        self.contract(environment_equation(slab, (node,)), ["data", *cores])

    def gram(self, structure: Structure, node: int, versions: Sequence[int]) -> None:
        """Of the others in some versions."""
        cores = _others("core", node, versions)
        self.contract(gram_equation(structure, (node,)), [*cores, *cores])

    def layered_gram(self, structure: Structure, node: int, versions: Sequence[int]) -> None:
        """The Gram matrix from layers, each layer made once for a version of a core."""
        layers = _others("layer", node, versions)
        for layer in layers:
            if layer not in self._known:
                self._known.add(layer)
                core = math.prod(structure.core_shape(layer[1]))
                bonds = num_bonds(structure)[layer[1]]
                self.flops += 2 * core * bonds
                self.moved += 2 * core + bonds**2
        self.contract(layered_gram_equation(structure, (node,)), layers)

    def dense(self, slab: Structure) -> None:
        """The network's own tensor."""
        self.contract(dense_equation(slab), [("new", k) for k in range(slab.num_nodes)])

    def contract(self, equation: Equation, names: Sequence[Hashable]) -> None:
        sizes = equation.size_dict
        entries = lambda labels: math.prod(sizes[label] for label in labels)
        work = list(zip(names, equation.inputs, strict=True))
        for step in plan(equation).steps:
            (right, b), (left, a) = (work.pop(n) for n in reversed(step.positions))
            if step.swapped:
                (left, a), (right, b) = (right, b), (left, a)
            a = tuple(x for axis, x in enumerate(a) if axis not in step.sum_left)
            b = tuple(x for axis, x in enumerate(b) if axis not in step.sum_right)
            batch = tuple(a[axis] for axis in step.batch[0])
            summed = tuple(a[axis] for axis in step.contract[0])
            result = batch + tuple(x for x in (*a, *b) if x not in batch + summed)
            name = (left, right, step.contract, step.batch, step.sum_left, step.sum_right)
            if name not in self._known:
                self._known.add(name)
                self.flops += (2 if summed else 1) * entries(result) * entries(summed)
                self.moved += entries(a) + entries(b) + entries(result)
                self._copy(left, a, batch, summed, entries(a), False)
                self._copy(right, b, batch, summed, entries(b), True)
                self.largest = max(self.largest, entries(result)) if work else self.largest
            work.append((name, result))
        ((_, labels),) = work
        self.transposed = tuple(labels) != equation.output
        self.moved += 2 * entries(labels) * self.transposed

    def _copy(self, name, labels, batch, summed, entries: int, right: bool) -> None:
        """Count a copy of an operand whose axes are not those of a matrix."""
        free = tuple(x for x in labels if x not in batch + summed)
        if labels in (batch + free + summed, batch + summed + free):
            return
        order = tuple(labels.index(x) for x in (summed + free if right else free + summed))
        if (name, order) not in self._known:
            self._known.add((name, order))
            self.moved += 2 * entries
            self.copied_data += name == "data"
