"""Networks as arrays with named axes, for moves that change which nodes there are."""

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np

from .._structure import Edge, Structure
from .cores import Cores

# ("leg", mode) or ("bond", number): bonds of one number are one index.
Name = tuple[str, int]


@dataclasses.dataclass(frozen=True)
class Labeled:
    """A core with named axes; without an array where only shapes are wanted."""

    names: tuple[Name, ...]
    sizes: tuple[int, ...]
    array: np.ndarray | None = None

    @property
    def size_of(self) -> dict[Name, int]:
        return dict(zip(self.names, self.sizes, strict=True))

    @property
    def entries(self) -> np.ndarray:
        """The array, where there is one."""
        if self.array is None:
            raise ValueError("these are shapes without arrays")
        return self.array

    def ordered(self, names: Sequence[Name]) -> "Labeled":
        """Its axes in another order."""
        order = [self.names.index(name) for name in names]
        array = None if self.array is None else self.array.transpose(order)
        return Labeled(tuple(names), tuple(self.sizes[k] for k in order), array)

    def renamed(self, new: Mapping[Name, Name]) -> "Labeled":
        """Other names for some axes."""
        names = tuple(new.get(name, name) for name in self.names)
        return Labeled(names, self.sizes, self.array)

    def reshaped(self, names: Sequence[Name], sizes: Sequence[int]) -> "Labeled":
        """The same entries in other axes."""
        array = None if self.array is None else self.array.reshape(tuple(sizes))
        return Labeled(tuple(names), tuple(sizes), array)


def label(structure: Structure, cores: Cores | None) -> list[Labeled]:
    """The nodes; bond number b is the b-th of `structure.edges`."""
    number = {edge: b for b, edge in enumerate(structure.edges)}
    out = []
    for node in range(structure.num_nodes):
        names = [("leg", mode) for mode in structure.legs[node]]
        names += [("bond", number[edge]) for edge in structure.core_edges(node)]
        array = None if cores is None else np.asarray(cores[node])
        out.append(Labeled(tuple(names), structure.core_shape(node), array))
    return out


def assemble(dims: Sequence[int], nodes: Sequence[Labeled]) -> tuple[Structure, Cores]:
    """The network of these nodes. Bonds that join the same nodes become one, those of rank 1 or on
    one node alone go; without arrays the cores are empty."""
    carriers: dict[Name, list[int]] = {}
    for k, node in enumerate(nodes):
        for name in node.names:
            if name[0] == "bond":
                carriers.setdefault(name, []).append(k)
    groups: dict[Edge, list[Name]] = {}
    for name in sorted(carriers):
        groups.setdefault(tuple(carriers[name]), []).append(name)
    rank = {
        edge: math.prod(nodes[edge[0]].size_of[name] for name in names)
        for edge, names in groups.items()
    }
    legs = tuple(tuple(sorted(m for kind, m in node.names if kind == "leg")) for node in nodes)
    edges = {edge: r for edge, r in rank.items() if len(edge) > 1}
    structure = Structure(tuple(dims), legs, edges)
    cores = []
    for k, node in enumerate(nodes):
        if node.array is None:
            continue
        alone = [name for name in node.names if name[0] == "bond" and carriers[name] == [k]]
        if alone:
            axes = tuple(node.names.index(name) for name in alone)
            kept = [name for name in node.names if name not in alone]
            sizes = node.size_of
            node = Labeled(
                tuple(kept), tuple(sizes[n] for n in kept), np.asarray(node.array.sum(axes))
            )
        names = [("leg", mode) for mode in legs[k]]
        for edge in sorted(edge for edge in edges if k in edge):
            names += groups[edge]
        cores.append(node.ordered(names).entries.reshape(structure.core_shape(k)))
    return structure, tuple(cores)
