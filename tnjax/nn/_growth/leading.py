"""The best new slices of a bond for a given gradient of the weight, on the host."""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from ..._structure import Edge, Structure
from ..._tuned import tuned
from ...contract import host
from ...contract.equation import Equation, environment_equation, gram_equation, node_labels
from .._layout import Layout
from .._project import low_rank_factors, padded_tensor
from .whiten import Whitening


@dataclasses.dataclass(frozen=True)
class Slices:
    """The best new slices of a layer.

    Attributes:
        exact: size up to which a matrix is decomposed exactly.
        largest_formed: entries of an environment; larger ones are only multiplied with.
        oversample: columns of a sketch beyond those that are wanted.
        power_steps: power iterations of a sketch.
        largest_gram: rows of the normal equations of slices.
        ridge: their ridge, relative to the mean of the diagonal.
    """

    exact: int = 256
    largest_formed: int = 1 << 22
    oversample: int = 8
    power_steps: int = 3
    largest_gram: int = 1024
    ridge: float = 1e-8


SLICES = tuned("layer_slices", Slices())


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
        whitening: the roots.
    """

    layout: Layout
    cores: tuple[np.ndarray, ...]
    tensor: np.ndarray
    whitening: Whitening

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
        whitening = Whitening.of(layout, second)
        tensor = whitening.descent(padded_tensor(layout, descent))
        return cls(layout, whitening.into(cores), tensor, whitening)

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
        pair = list(_leading(matrix, count, rng))
        if not pair[0].any():
            return []
        shared = set(sides[0].labels) & set(sides[1].labels)
        bonds = [side.size // side.legs for side in sides]
        if not shared and max(math.prod(bonds), count * max(bonds)) <= SLICES().largest_gram:
            gram = self._gram(edge, bonds)
            views = (matrix, gram), (matrix.T, gram.transpose(1, 0, 3, 2))
            for turn in range(2 * sweeps):
                here = turn % 2
                pair[here] = _solved(*views[here], pair[1 - here], sides[here].legs)
            pair = _sorted(*pair)
        terms = []
        for parts in zip(*(part.T for part in pair), strict=True):
            shaped = [part.reshape(side.shape) for part, side in zip(parts, sides, strict=True)]
            terms.append(tuple(map(self.whitening.out_of, shaped, edge)))
        return terms

    def _environment(self, edge: Edge, sides: Sequence["_Side"]) -> "np.ndarray | _Environment":
        """The tensor contracted with all cores but two, as a matrix of their slices; not formed
        where it is large."""
        equation = environment_equation(self.layout.structure, edge)
        rest = [core for node, core in enumerate(self.cores) if node not in edge]
        operands, inputs = [self.tensor, *rest], list(equation.inputs)
        sizes = dict(equation.size_dict)
        first, second = (side.labels for side in sides)
        fresh = 1 + max(label for axes in (*equation.inputs, first, second) for label in axes)
        # A bond of three or more nodes can be on both slices: the same index, told apart.
        twins = {label: fresh + k for k, label in enumerate(first) if label in second}
        for label, twin in twins.items():
            operands.append(np.eye(sizes[label]))
            inputs.append((label, twin))
            sizes[twin] = sizes[label]
        labels = first, tuple(twins.get(label, label) for label in second)
        found = _Environment(tuple(operands), tuple(inputs), sizes, labels)
        return found.dense() if math.prod(found.shape) <= SLICES().largest_formed else found

    def _gram(self, edge: Edge, bonds: Sequence[int]) -> np.ndarray:
        """Inner products of the other cores over the bonds of both nodes, twice."""
        equation = gram_equation(self.layout.structure, edge)
        rest = [core for node, core in enumerate(self.cores) if node not in edge]
        full = host.contract(equation, (*rest, *rest)) if rest else 1
        return np.asarray(full).reshape(*bonds, *bonds)


@dataclasses.dataclass(frozen=True)
class _Environment:
    """A matrix that is a contraction, for products with a few columns: rows and columns stand for
    the labels in `sides`, and the work is linear in the operands, not in the matrix."""

    operands: tuple[np.ndarray, ...]
    inputs: tuple[tuple[int, ...], ...]
    sizes: dict[int, int]
    sides: tuple[tuple[int, ...], tuple[int, ...]]

    @property
    def shape(self) -> tuple[int, int]:
        rows, columns = (math.prod(self.sizes[label] for label in side) for side in self.sides)
        return rows, columns

    @property
    def T(self) -> "_Environment":
        return dataclasses.replace(self, sides=self.sides[::-1])

    def dense(self) -> np.ndarray:
        output = self.sides[0] + self.sides[1]
        equation = Equation.create(self.inputs, output, self.sizes)
        return host.contract(equation, self.operands).reshape(self.shape)

    def __matmul__(self, block: np.ndarray) -> np.ndarray:
        rows, columns = self.sides
        label = 1 + max(self.sizes)
        sizes = {**self.sizes, label: block.shape[1]}
        inputs = (*self.inputs, (*columns, label))
        equation = Equation.create(inputs, (*rows, label), sizes)
        shaped = block.reshape(*(self.sizes[axis] for axis in columns), block.shape[1])
        return host.contract(equation, (*self.operands, shaped)).reshape(-1, block.shape[1])


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


def _leading(
    matrix: "np.ndarray | _Environment", count: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """A [rows, count] and B [columns, count] of the best A B^T, of equal norms; large matrices by a
    randomized range finder with power steps (Halko, Martinsson, Tropp, arXiv 0909.4061)."""
    width = count + SLICES().oversample
    if isinstance(matrix, _Environment) or min(matrix.shape) > max(SLICES().exact, 2 * width):
        basis = rng.standard_normal((matrix.shape[1], min(width, *matrix.shape)))
        for _ in range(SLICES().power_steps):
            basis = np.linalg.qr(matrix.T @ np.linalg.qr(matrix @ basis)[0])[0]
        left, right = low_rank_factors(matrix @ basis, count)
        right = right @ basis.T
    else:
        left, right = low_rank_factors(matrix, count)
    root = np.sqrt(np.linalg.norm(right, axis=1))
    return left * root, (right / np.where(root > 0, root, 1)[:, None]).T


def _solved(
    matrix: "np.ndarray | _Environment", gram: np.ndarray, other: np.ndarray, legs: int
) -> np.ndarray:
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
    ridge = SLICES().ridge * max(np.trace(normal) / len(normal), np.finfo(float).tiny)
    right = (matrix @ other).reshape(legs, bonds * count)
    found = np.linalg.solve(normal + ridge * np.eye(len(normal)), right.T).T
    return found.reshape(legs * bonds, count)


def _sorted(left: np.ndarray, right: np.ndarray) -> list[np.ndarray]:
    """The same sum of terms as orthogonal pairs, the largest first."""
    (q, a), (p, b) = np.linalg.qr(left), np.linalg.qr(right)
    u, s, v = np.linalg.svd(a @ b.T)
    return [q @ u * np.sqrt(s), p @ v.T * np.sqrt(s)]
