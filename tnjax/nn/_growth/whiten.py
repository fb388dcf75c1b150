"""Coordinates in which the inputs of a layer are about white, digit by digit."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from ..._tuned import tuned
from .._allocate import root_pair
from .._layout import Layout


@dataclasses.dataclass(frozen=True)
class Damping:
    """Covariances of layers' inputs.

    Attributes:
        damping: damping of the inputs' covariance, relative to its mean.
    """

    damping: float = 0.1


LAYER_WHITENING = tuned("layer_whitening", Damping())


@dataclasses.dataclass(frozen=True)
class Whitening:
    r"""The root of the inputs' second moment A, taken as a product over the digits of the columns.

    $\|W A^{1/2}\|$ is the size of the outputs in the mean square. With A as a product of its
    partial traces the root goes into the cores, one digit at a time.

    Attributes:
        layout: of the weight.
        roots, inverses: of every column digit's matrix, of mean one on its diagonal.
    """

    layout: Layout
    roots: tuple[np.ndarray, ...]
    inverses: tuple[np.ndarray, ...]

    @classmethod
    def of(cls, layout: Layout, second: np.ndarray) -> "Whitening":
        """From A [columns, columns], up to a factor."""
        pairs = [
            root_pair(marginal, LAYER_WHITENING().damping) for marginal in marginals(layout, second)
        ]
        return cls(layout, tuple(p[0] for p in pairs), tuple(p[1] for p in pairs))

    def descent(self, tensor: np.ndarray) -> np.ndarray:
        """A gradient of the weight, in the modes of the layout, in these coordinates."""
        for mode, inverse in enumerate(self.inverses, self.layout.num_row_modes):
            tensor = along(tensor, mode, inverse)
        return tensor

    def into(self, cores: Sequence[np.ndarray]) -> tuple[np.ndarray, ...]:
        """The cores of W A^(1/2), double precision."""
        cores = [np.asarray(core, np.float64) for core in cores]
        return tuple(self._turned(core, node, self.roots) for node, core in enumerate(cores))

    def out_of(self, part: np.ndarray, node: int) -> np.ndarray:
        """A core, or a slice of one, for the cores as they are."""
        return self._turned(part, node, self.inverses)

    def _turned(self, part: np.ndarray, node: int, matrices: Sequence[np.ndarray]) -> np.ndarray:
        for axis, mode in enumerate(self.layout.structure.legs[node]):
            if mode >= self.layout.num_row_modes:
                part = along(part, axis, matrices[mode - self.layout.num_row_modes])
        return part


def along(x: np.ndarray, axis: int, matrix: np.ndarray) -> np.ndarray:
    """A symmetric matrix times one axis."""
    return np.moveaxis(np.tensordot(x, matrix, (axis, 0)), -1, axis)


def marginals(layout: Layout, second: np.ndarray) -> list[np.ndarray]:
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
