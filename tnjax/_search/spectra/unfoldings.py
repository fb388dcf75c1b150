r"""Singular values of a tensor's unfoldings: what every cut of a network must carry.

The unfolding over a set of modes S is the matrix with the modes of S as rows and all others as
columns. All of this runs on the host in double precision, whatever the precision of the data, and
compiles nothing.
"""

import dataclasses
import functools
import math
from collections.abc import Iterable

import numpy as np

from ... import _interrupt
from ..._tuned import tuned

Cut = tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Spectra:
    """Singular values of unfoldings.

    Attributes:
        full_side: an unfolding with a smaller side up to this is decomposed in full, else sketched
            at first.
        first_sketch: columns of the first sketch; it is doubled until it is good enough.
        left_out: a sketch is good enough once what it leaves out is this small beside the tolerated
            square.
        in_full: a rank is kept in full if it is so many times what the error needs at most.
        wide_side: a matrix of more rows than this is sketched before its leading columns are
            computed.
        rounding: relative rounding of squared singular values that come from a Gram matrix in
            double precision: some hundred units.
    """

    full_side: int = 300
    first_sketch: int = 32
    left_out: float = 0.02
    in_full: float = 1.5
    wide_side: int = 400
    rounding: float = 1e-13


SPECTRA = tuned("spectra", Spectra())


@dataclasses.dataclass(frozen=True)
class Spectrum:
    """The squared singular values of one unfolding, relative to the tensor's squared norm.

    Attributes:
        squares: descending; of a sketch, where only the leading ones are known.
        missed: the part of the squared norm that the sketch left out, 0 for a full spectrum.
    """

    squares: np.ndarray
    missed: float = 0.0

    @functools.cached_property
    def tails(self) -> np.ndarray:
        """`tails[r]`: the squared relative error of the best rank-r approximation, r = 0, 1, ...;
        for a sketch, the error of its own rank-r approximation, which is an upper bound."""
        return np.append(squared_tails(self.squares), 0.0) + self.missed

    def rank(self, error: float) -> int:
        """The smallest rank whose truncation stays within a relative error; if even the sketch
        does not, its size."""
        fits = np.flatnonzero(self.tails <= max(error**2, SPECTRA().rounding))
        return max(1, int(fits[0])) if len(fits) else len(self.squares)

    def least_rank(self, error: float) -> int:
        r"""A rank that no approximation within a relative error can go below.

        By Eckart and Young the numerical rank; of a sketch with range Q a lower bound of it,
        since

        $$\sum_{i \le r} \sigma_i^2(A) \le \sum_{i \le r} \sigma_i^2(Q^T A) + \|A - Q Q^T A\|^2.$$
        """
        if error >= 1:
            return 1
        fits = np.flatnonzero(self.tails - self.missed <= error**2 + SPECTRA().rounding)
        return max(1, int(fits[0])) if len(fits) else len(self.squares)


class Unfoldings:
    """The unfoldings of one tensor, their spectra computed once each.

    Args:
        tensor: real or complex.
        error: the relative error of interest, which decides how much of a spectrum is needed.
        seed: of the sketches.
    """

    def __init__(self, tensor: np.ndarray, error: float = 0.0, *, seed: int = 0):
        tensor = np.asarray(tensor)
        wide = np.complex128 if np.iscomplexobj(tensor) else np.float64
        self.tensor = tensor.astype(wide, copy=False)
        self.error = error
        self.norm = float(np.linalg.norm(self.tensor.ravel()))
        self._seed = seed
        self._known: dict[Cut, Spectrum] = {}

    @property
    def dims(self) -> tuple[int, ...]:
        return self.tensor.shape

    def to_error(self, error: float) -> "Unfoldings":
        """The same unfoldings for another error; spectra known in full are kept."""
        other = Unfoldings(self.tensor, error, seed=self._seed)
        other._known = {cut: known for cut, known in self._known.items() if known.missed == 0}
        return other

    def name(self, modes: Iterable[int]) -> Cut:
        """See `cut_name`."""
        return cut_name(modes, len(self.dims))

    def spectrum(self, modes: Iterable[int]) -> Spectrum:
        """Of the unfolding with these modes on one side, in either order of the sides."""
        cut = self.name(modes)
        if cut not in self._known:
            _interrupt.checkpoint()
            matrix = unfold(self.tensor, cut)
            if matrix.shape[0] > matrix.shape[1]:
                matrix = matrix.T
            self._known[cut] = self._measure(matrix)
        return self._known[cut]

    def _measure(self, matrix: np.ndarray) -> Spectrum:
        side = matrix.shape[0]
        total = self.norm**2
        if side > SPECTRA().full_side and self.error > 0:
            size = SPECTRA().first_sketch
            while 4 * size < side:
                _interrupt.checkpoint()
                found = self._sketch(matrix, size)
                if found.missed <= SPECTRA().left_out * self.error**2:
                    return found
                size *= 2
        return Spectrum(squared_singular_values(matrix) / total)

    def _sketch(self, matrix: np.ndarray, size: int) -> Spectrum:
        """Randomized range finder with one power iteration (Halko, Martinsson and Tropp, 2011)."""
        rng = np.random.default_rng([self._seed, size])
        start = matrix @ rng.standard_normal((matrix.shape[1], size))
        start = matrix @ (matrix.conj().T @ np.linalg.qr(start)[0])
        inside = np.linalg.qr(start)[0].conj().T @ matrix
        squares = squared_singular_values(inside) / self.norm**2
        return Spectrum(squares, max(0.0, 1.0 - float(squares.sum())))


def cut_name(modes: Iterable[int], order: int) -> Cut:
    """The name of a cut: its side without the last mode."""
    side = frozenset(modes)
    if order - 1 in side:
        side = frozenset(range(order)) - side
    return tuple(sorted(side))


def unfolded_shape(dims: tuple[int, ...], modes: Iterable[int]) -> tuple[int, int]:
    """Rows and columns of the unfolding with these modes as rows."""
    rows = math.prod(dims[mode] for mode in modes)
    return rows, math.prod(dims) // rows


def unfold(tensor: np.ndarray, modes: Iterable[int]) -> np.ndarray:
    """The matrix with `modes` as rows and the others as columns, both in ascending order."""
    rows = sorted(modes)
    columns = [mode for mode in range(tensor.ndim) if mode not in rows]
    size = math.prod(tensor.shape[mode] for mode in rows)
    return np.transpose(tensor, rows + columns).reshape(size, -1)


def squared_tails(squares: np.ndarray) -> np.ndarray:
    """What is left of the sum from each one on."""
    return np.cumsum(squares[::-1])[::-1]


def squared_singular_values(matrix: np.ndarray) -> np.ndarray:
    """Descending, from the Gram matrix of the smaller side: values below some 1e-16 of the
    largest square are rounding."""
    if matrix.shape[0] > matrix.shape[1]:
        matrix = matrix.T
    return np.maximum(np.linalg.eigvalsh(matrix @ matrix.conj().T)[::-1], 0.0)


def leading_basis(matrix: np.ndarray, budget: float) -> np.ndarray:
    """The fewest orthonormal columns that hold those of a matrix up to a squared error; at least
    one. They may be a few more: of a tall matrix, and of one whose rank is hardly larger, which
    they then hold in full."""
    _interrupt.checkpoint()
    if matrix.shape[0] > SPECTRA().wide_side:
        matrix, start = _sketched(matrix, budget)
    else:
        start = None
    squares, vectors = np.linalg.eigh(matrix @ matrix.conj().T)
    tails = np.cumsum(np.maximum(squares, 0.0))  # ascending: what the first so many would lose
    dropped = int(np.searchsorted(tails, budget / (1 if start is None else 2), side="right"))
    null = int(np.searchsorted(tails, SPECTRA().rounding * tails[-1], side="right"))
    most = SPECTRA().in_full * (len(squares) - dropped)
    if start is None and null and len(squares) - null <= most:
        dropped = null
    basis = vectors[:, min(dropped, len(squares) - 1) :][:, ::-1]
    if start is not None:
        basis = start @ basis
    return np.ascontiguousarray(basis)


def _sketched(matrix: np.ndarray, budget: float) -> tuple[np.ndarray, np.ndarray | None]:
    """The matrix in a random range that misses at most half the budget, and that range; the
    matrix itself if there is no small one."""
    total = float(np.linalg.norm(matrix)) ** 2
    rng, size = np.random.default_rng(matrix.shape), SPECTRA().first_sketch
    while 4 * size <= matrix.shape[0]:
        _interrupt.checkpoint()
        draw = rng.standard_normal((matrix.shape[1], size))
        start = np.linalg.qr(matrix @ draw)[0]
        inside = start.conj().T @ matrix
        if total - float(np.linalg.norm(inside)) ** 2 <= budget / 2:
            return inside, start
        size *= 2
    return matrix, None
