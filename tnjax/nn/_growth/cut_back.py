"""From networks that are too large to a number of parameters: the least important ranks go."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..._structure import Edge, Structure
from ..._tuned import tuned
from .._layout import Layout
from .._project import rebuild
from .whiten import Whitening


@dataclasses.dataclass(frozen=True)
class CutBack:
    """Ranks of layers cut back by their loss.

    Attributes:
        sweeps: sweeps over all bonds at the most; a tree of n nodes needs about n / 2.
        settled: change of the weights of all bonds in a sweep at which they are settled.
        negligible: singular values below this part of a bond's largest are zeros.
    """

    sweeps: int = 50
    settled: float = 1e-6
    negligible: float = 1e-10


CUT_BACK = tuned("cut_back", CutBack())


Bond = tuple[str, Edge]  # of a layer


@dataclasses.dataclass(frozen=True)
class Gauged:
    r"""A network with a vector of weights on every bond between two nodes.

    The tensor is `scale` times the contraction of cores and weights. Around every bond the two
    cores, with the weights of their other bonds, are isometries, so that on a tree the weights are
    the singular values of the tensor across the bond (over its norm), all bonds at once. On loops
    the condition is the same and the weights are estimates of what a rank is worth.

    Reference:
        Ran et al., arXiv 1206.4091 (super-orthogonalization); Vidal, arXiv quant-ph/0301063.
    """

    structure: Structure
    cores: tuple[np.ndarray, ...]
    weights: Mapping[Edge, np.ndarray]
    scale: float

    @classmethod
    def of(cls, structure: Structure, cores: Sequence[np.ndarray]) -> "Gauged":
        """By singular value decompositions around one bond after the other, until they settle."""
        out = [np.asarray(core, np.float64) for core in cores]
        bonds = [edge for edge in structure.edges if len(edge) == 2]
        weights = {edge: np.ones(structure.edges[edge]) for edge in bonds}
        log_scale = 0.0
        for _ in range(CUT_BACK().sweeps if len(bonds) > 1 else len(bonds)):
            change = 0.0
            for edge in bonds:
                before = weights[edge]
                norm = _around(structure, out, weights, edge)
                if not norm > 0:
                    return cls(structure, tuple(out), weights, 0.0)
                log_scale += math.log(norm)
                after = weights[edge]
                same = len(before) == len(after)
                change = max(change, float(np.abs(after - before).max()) if same else math.inf)
            if change < CUT_BACK().settled:
                break
        return cls(structure, tuple(out), weights, math.exp(log_scale))

    def truncated(self, ranks: Mapping[Edge, int]) -> tuple[Structure, tuple[np.ndarray, ...]]:
        """The largest weights of every bond, shared out among the cores, of equal norms."""
        structure, cores = self.structure, list(self.cores)
        for edge, weights in self.weights.items():
            root = np.sqrt(weights[: ranks[edge]])
            for node in edge:
                axis = self.structure.axis(node, edge)
                cores[node] = _times(np.take(cores[node], range(len(root)), axis), axis, root)
            structure = structure.with_rank(edge, len(root))
        for node, core in enumerate(cores):
            cores[node] = core.reshape(structure.core_shape(node))  # bonds of rank one are gone
        norms = np.array([np.linalg.norm(core) for core in cores])
        if not (norms > 0).all():
            return structure, tuple(cores)
        mean = math.exp((np.log(norms).sum() + math.log(self.scale)) / len(cores))
        return structure, tuple(core * (mean / n) for core, n in zip(cores, norms, strict=True))


def _around(structure: Structure, cores: list, weights: dict, edge: Edge) -> float:
    """Make the two cores of a bond isometries in place; the norm that was in its weights."""
    parts = []
    for node in edge:
        core = _weighted(structure, cores[node], weights, node, edge, 1)
        last = np.moveaxis(core, structure.axis(node, edge), -1)
        parts.append((last.shape[:-1], *np.linalg.qr(last.reshape(-1, last.shape[-1]))))
    (_, _, a), (_, _, b) = parts
    u, s, v = np.linalg.svd((a * weights[edge]) @ b.T)
    count = min(len(s), max(1, int((s > CUT_BACK().negligible * s[0]).sum())))
    norm = float(np.linalg.norm(s[:count]))
    if not norm > 0:
        return 0.0
    weights[edge] = s[:count] / norm
    for node, (shape, q, _), turn in zip(edge, parts, (u, v.T), strict=True):
        core = (q @ turn[:, :count]).reshape(*shape, count)
        core = np.moveaxis(core, -1, structure.axis(node, edge))
        cores[node] = _weighted(structure, core, weights, node, edge, -1)
    return norm


def _with_ranks(structure: Structure, ranks: Mapping[Edge, int]) -> Structure:
    return dataclasses.replace(structure, edges={**structure.edges, **ranks})


def _weighted(structure: Structure, core, weights: Mapping, node: int, but: Edge, power: int):
    """A core times the weights (or over them) of its bonds but one."""
    for other in structure.core_edges(node):
        if other != but and other in weights:
            core = _times(core, structure.axis(node, other), weights[other] ** power)
    return core


def _times(core: np.ndarray, axis: int, vector: np.ndarray) -> np.ndarray:
    shape = [1] * core.ndim
    shape[axis] = len(vector)
    return core * vector.reshape(shape)


def cut_back(
    networks: Mapping[str, tuple[Layout, Sequence[Any]]],
    budget: int,
    moments: Mapping[str, np.ndarray],
    importance: Mapping[str, float],
) -> tuple[dict, tuple[tuple[str, Edge, int], ...]]:
    r"""Take ranks away until the networks are within the budget.

    A rank less on a bond changes the layer's outputs, in the mean square over its inputs, by the
    bond's smallest weight; the inputs' second moment is taken as a product over the digits of the
    columns, as in `Target`. The rank that costs the least per parameter goes first.

    Args:
        networks: layouts and cores by layer.
        budget: parameters of all of them.
        moments: second moment of every layer's inputs, [columns, columns].
        importance: of a unit of mean square output, for each layer.

    Returns:
        The networks, and (layer, bond, ranks less) for every bond that was cut.

    Raises:
        ValueError: if the networks without bonds exceed the budget.
    """
    whitenings, gauged, worth = {}, {}, {}
    for name, (layout, cores) in networks.items():
        whitenings[name] = Whitening.of(layout, moments[name])
        white = whitenings[name].into(cores)
        gauged[name] = Gauged.of(layout.structure, white)
        size = float(np.linalg.norm(rebuild(layout, white)) ** 2)
        variance = float(np.trace(moments[name])) / layout.padded_columns
        worth[name] = importance[name] * variance * size
    ranks = _Ranks(gauged, worth)
    ranks.shrink(budget)
    ranks.fill(budget)
    new, cuts = {}, []
    for name, (layout, cores) in networks.items():
        structure, parts = gauged[name].truncated(ranks.ranks[name])
        parts = [whitenings[name].out_of(part, node) for node, part in enumerate(parts)]
        dtypes = [np.asarray(core).dtype for core in cores]
        parts = tuple(part.astype(dtype) for part, dtype in zip(parts, dtypes, strict=True))
        new[name] = dataclasses.replace(layout, structure=structure), parts
        for edge, rank in layout.structure.edges.items():
            if structure.rank(edge) < rank:
                cuts.append((name, edge, structure.rank(edge) - rank))
    return new, tuple(cuts)


class _Ranks:
    """The ranks of all bonds of all layers, and what they cost and are worth.

    Attributes:
        gauged: the networks by layer.
        worth: of a network's whole tensor, by layer.
        ranks: of every bond, by layer.
        shapes: the structures of these ranks, by layer.
        total: parameters of all of them.
    """

    def __init__(self, gauged: Mapping[str, Gauged], worth: Mapping[str, float]):
        self.gauged, self.worth = gauged, worth
        self.ranks = {
            name: {edge: len(weights) for edge, weights in found.weights.items()}
            for name, found in gauged.items()
        }
        self.shapes = {
            name: _with_ranks(found.structure, self.ranks[name]) for name, found in gauged.items()
        }
        self.total = sum(shape.num_params for shape in self.shapes.values())

    def shrink(self, budget: int) -> None:
        """Take ranks away, the one that is worth the least per parameter first."""
        while self.total > budget:
            costs = {
                bond: self._lost(bond, self._rank(bond)) / -self._change(bond, -1)
                for bond in self._bonds()
                if self._rank(bond) > 1
            }
            if not costs:
                raise ValueError(
                    f"compress: the networks without bonds have {self.total} parameters, more than "
                    f"the budget of {budget}. Give starting layouts of smaller or more digits."
                )
            self._take(min(costs, key=lambda bond: costs[bond]), -1)

    def fill(self, budget: int) -> None:
        """Give back what fits into the parameters that the last cuts have left over."""
        while True:
            gains = {
                bond: self._lost(bond, self._rank(bond) + 1)
                for bond in self._bonds()
                if self._rank(bond) < len(self.gauged[bond[0]].weights[bond[1]])
                and self.total + self._change(bond, 1) <= budget
            }
            if not gains:
                return
            self._take(max(gains, key=lambda bond: gains[bond]), 1)

    def _bonds(self) -> list[Bond]:
        return [(name, edge) for name, own in self.ranks.items() for edge in own]

    def _rank(self, bond: Bond) -> int:
        return self.ranks[bond[0]][bond[1]]

    def _change(self, bond: Bond, by: int) -> int:
        """Parameters that a rank more or less makes."""
        shape = self.shapes[bond[0]]
        return shape.with_rank(bond[1], self._rank(bond) + by).num_params - shape.num_params

    def _take(self, bond: Bond, by: int) -> None:
        name, edge = bond
        self.total += self._change(bond, by)
        self.ranks[name][edge] += by
        self.shapes[name] = self.shapes[name].with_rank(edge, self.ranks[name][edge])

    def _lost(self, bond: Bond, rank: int) -> float:
        """What the rank of this number is worth."""
        name, edge = bond
        return self.worth[name] * float(self.gauged[name].weights[edge][rank - 1]) ** 2
