"""The best new slices of a bond for a given gradient of the weight, on the host."""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from .._contract import host
from .._contract.equation import (
    Equation,
    environment_equation,
    gram_equation,
    node_labels,
)
from .._structure import Edge, Structure
from ._allocate import root_pair
from ._layout import Layout
from ._project import low_rank_factors, padded_tensor

_EXACT = 256  # up to this size a matrix is decomposed exactly
_OVERSAMPLE, _POWER_STEPS = 8, 3
_LARGEST_GRAM = 1024  # rows of the normal equations of slices
_DAMPING = 0.1  # of the inputs' covariance, relative to its mean
_RIDGE = 1e-8

Term = tuple[np.ndarray, ...]


@dataclasses.dataclass(frozen=True)
class Target:
    r"""What terms of a network should take up, in coordinates in which inputs are about white.

    The change of the loss by a term D is $\langle G, D\rangle + \frac s2 \|D A^{1/2}\|^2$ with A
    the second moment of the inputs. A is taken as a product over the digits of the columns
    (its partial traces), so that $A^{1/2}$ goes into the cores, digit by digit.

    Attributes:
        layout: of the weight, without copies.
        cores: the frozen ones, their column digits times the roots of A.
        tensor: $-G A^{-1/2}$, up to a factor, in the modes of the layout.
        inverse: of the root for each mode; None for rows.
    """

    layout: Layout
    cores: tuple[np.ndarray, ...]
    tensor: np.ndarray
    inverse: tuple[np.ndarray | None, ...]

    @classmethod
    def of(
        cls,
        layout: Layout,
        cores: Sequence[np.ndarray],
        descent: np.ndarray,
        second: np.ndarray,
    ) -> "Target":
        """From the descent direction -G [rows, columns] and A [columns, columns], each up to a
        factor: how far to go is left to a line search."""
        count, legs = layout.num_row_modes, layout.structure.legs
        tensor = padded_tensor(layout, descent)
        cores = [np.asarray(core, np.float64) for core in cores]
        inverse: list[np.ndarray | None] = [None] * count
        for mode, marginal in enumerate(_marginals(layout, second), count):
            root, inverted = root_pair(marginal, _DAMPING)
            tensor = _along(tensor, mode, inverted)
            (node,) = (k for k, modes in enumerate(legs) if mode in modes)
            cores[node] = _along(cores[node], legs[node].index(mode), root)
            inverse.append(inverted)
        return cls(layout, tuple(cores), tensor, tuple(inverse))

    def slices(self, edge: Edge, count: int, sweeps: int, rng: np.random.Generator) -> list[Term]:
        r"""Pairs of slices whose terms come nearest to the target together.

        A term is linear in the product of its slices: its inner product with the target is
        $a^\top E b$ with E the environment of the two nodes. They start at the leading singular
        pairs of E and are improved by alternating least squares with the Gram matrix of the other
        cores, where that is small.

        Returns them by falling size, so that the first ones may be taken alone.

        Args:
            edge: two nodes, with or without a bond.
            count: of pairs at the most; a bond is not given more ranks than the smaller of its
                cores can tell apart, and none if it has as many or the target has no part in it.
            sweeps: of least squares.
            rng: for the range finder of large environments.
        """
        structure = self.layout.structure
        sides = [_Side.of(structure, node, edge) for node in edge]
        count = min(count, min(side.size for side in sides) - structure.rank(edge))
        if count < 1:
            return []
        matrix = self._environment(edge, sides)
        if not matrix.any():
            return []
        pair = list(_leading(matrix, count, rng))
        shared = set(sides[0].labels) & set(sides[1].labels)
        bonds = [side.size // side.legs for side in sides]
        if not shared and max(math.prod(bonds), count * max(bonds)) <= _LARGEST_GRAM:
            gram = self._gram(edge, bonds)
            views = (matrix, gram), (matrix.T, gram.transpose(1, 0, 3, 2))
            for turn in range(2 * sweeps):
                here = turn % 2
                pair[here] = _solved(*views[here], pair[1 - here], sides[here].legs)
            pair = _sorted(*pair)
        terms = []
        for parts in zip(*(part.T for part in pair), strict=True):
            shaped = [part.reshape(side.shape) for part, side in zip(parts, sides, strict=True)]
            terms.append(tuple(map(self._unwhitened, shaped, edge)))
        return terms

    def _environment(self, edge: Edge, sides: Sequence["_Side"]) -> np.ndarray:
        """The tensor contracted with all cores but two, as a matrix of their slices."""
        equation = environment_equation(self.layout.structure, edge)
        rest = [core for node, core in enumerate(self.cores) if node not in edge]
        operands, inputs = [self.tensor, *rest], list(equation.inputs)
        sizes = equation.size_dict
        first, second = (side.labels for side in sides)
        fresh = 1 + max(label for axes in (*equation.inputs, first, second) for label in axes)
        # A bond of three or more nodes can be on both slices: the same index, told apart.
        twins = {label: fresh + k for k, label in enumerate(first) if label in second}
        for label, twin in twins.items():
            operands.append(np.eye(sizes[label]))
            inputs.append((label, twin))
            sizes[twin] = sizes[label]
        output = (*first, *(twins.get(label, label) for label in second))
        full = host.contract(Equation.create(inputs, output, sizes), operands)
        return full.reshape(sides[0].size, sides[1].size)

    def _gram(self, edge: Edge, bonds: Sequence[int]) -> np.ndarray:
        """Inner products of the other cores over the bonds of both nodes, twice."""
        equation = gram_equation(self.layout.structure, edge)
        rest = [core for node, core in enumerate(self.cores) if node not in edge]
        full = host.contract(equation, (*rest, *rest)) if rest else 1
        return np.asarray(full).reshape(*bonds, *bonds)

    def _unwhitened(self, part: np.ndarray, node: int) -> np.ndarray:
        """A slice for the cores as they are."""
        for axis, mode in enumerate(self.layout.structure.legs[node]):
            inverse = self.inverse[mode]
            part = part if inverse is None else _along(part, axis, inverse)
        return part


@dataclasses.dataclass(frozen=True)
class _Side:
    """The axes of a node's slice: labels, shape, entries, and how many of these its legs have."""

    labels: tuple[int, ...]
    shape: tuple[int, ...]
    size: int
    legs: int

    @classmethod
    def of(cls, structure: Structure, node: int, edge: Edge) -> "_Side":
        skip = structure.axis(node, edge) if edge in structure.edges else None
        axes = [axis for axis in range(len(structure.core_shape(node))) if axis != skip]
        shape = tuple(structure.core_shape(node)[axis] for axis in axes)
        labels = tuple(node_labels(structure, node)[axis] for axis in axes)
        legs = math.prod(shape[: len(structure.legs[node])])
        return cls(labels, shape, math.prod(shape), legs)


def _along(x: np.ndarray, axis: int, matrix: np.ndarray) -> np.ndarray:
    """A symmetric matrix times one axis."""
    return np.moveaxis(np.tensordot(x, matrix, (axis, 0)), -1, axis)


def _marginals(layout: Layout, second: np.ndarray) -> list[np.ndarray]:
    """Partial traces of a matrix [columns, columns] for each digit, of mean one on the diagonal;
    the identity for inputs that are all zero."""
    dims = layout.structure.dims[layout.num_row_modes :]
    pad = layout.padded_columns - layout.columns
    second = np.pad(second, (0, pad)).reshape(*dims, *dims)
    out = []
    for mode, size in enumerate(dims):
        labels = [*range(len(dims)), *range(len(dims))]
        labels[len(dims) + mode] = len(dims)
        marginal = np.einsum(second, labels, [mode, len(dims)])
        mean = np.trace(marginal) / size
        out.append(marginal / mean if mean > 0 else np.eye(size))
    return out


def _leading(
    matrix: np.ndarray, count: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """A [rows, count] and B [columns, count] of the best A B^T, of equal norms; large matrices by a
    randomized range finder with power steps (Halko, Martinsson, Tropp, arXiv 0909.4061)."""
    if min(matrix.shape) > max(_EXACT, 2 * (count + _OVERSAMPLE)):
        basis = rng.standard_normal((matrix.shape[1], count + _OVERSAMPLE))
        for _ in range(_POWER_STEPS):
            basis = np.linalg.qr(matrix.T @ np.linalg.qr(matrix @ basis)[0])[0]
        left, right = low_rank_factors(matrix @ basis, count)
        right = right @ basis.T
    else:
        left, right = low_rank_factors(matrix, count)
    root = np.sqrt(np.linalg.norm(right, axis=1))
    return left * root, (right / np.where(root > 0, root, 1)[:, None]).T


def _solved(matrix: np.ndarray, gram: np.ndarray, other: np.ndarray, legs: int) -> np.ndarray:
    """The slices of one side [size, count] for those of the other side, by least squares.

    Args:
        matrix: environment, [this side, other side].
        gram: of the bonds, [this, other, this, other].
        other: slices of the other side, [size, count].
        legs: entries of this side's legs.
    """
    bonds, count = gram.shape[0], other.shape[1]
    fixed = other.reshape(-1, gram.shape[1], count)
    square = np.einsum("lbm,lcn->bmcn", fixed, fixed, optimize=True)
    normal = np.einsum("abdc,bmcn->amdn", gram, square, optimize=True)
    normal = normal.reshape(bonds * count, bonds * count)
    ridge = _RIDGE * max(np.trace(normal) / len(normal), np.finfo(float).tiny)
    right = (matrix @ other).reshape(legs, bonds * count)
    found = np.linalg.solve(normal + ridge * np.eye(len(normal)), right.T).T
    return found.reshape(legs * bonds, count)


def _sorted(left: np.ndarray, right: np.ndarray) -> list[np.ndarray]:
    """The same sum of terms as orthogonal pairs, the largest first."""
    (q, a), (p, b) = np.linalg.qr(left), np.linalg.qr(right)
    u, s, v = np.linalg.svd(a @ b.T)
    return [q @ u * np.sqrt(s), p @ v.T * np.sqrt(s)]
