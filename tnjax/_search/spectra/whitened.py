r"""A tensor in coordinates of its modes in which all directions weigh the same.

For an invertible matrix B_k on every mode, the networks of $X$ and of $Y = X \times_k B_k^{-1}$
have the same graphs and ranks: the matrices go into the cores that carry the modes. With B_k such
that the unfoldings of $Y$ have orthogonal rows of equal norm, a fit from random cores no longer
has to find first what is large and only in the end what is small: alternating least squares on
planted tensors with cores from U(0, 1), which are close to rank one, ends in a swamp at some 1 %
from almost every start, and in these coordinates is exact after three to eight sweeps.

This needs data without noise, since what is small grows.
"""

import dataclasses

import numpy as np

from ... import _interrupt
from ..._tuned import tuned
from .unfoldings import SPECTRA, squared_tails, unfold


@dataclasses.dataclass(frozen=True)
class Whitening:
    """Coordinates in which all directions weigh the same.

    Attributes:
        passes: passes over the modes; one balances the last mode exactly and the others nearly.
    """

    passes: int = 3


WHITENING = tuned("whitening", Whitening())


def whitened(tensor: np.ndarray, error: float) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
    """The tensor in such coordinates.

    Args:
        tensor: real or complex, in double precision.
        error: relative error that leaving out directions of a mode may make.

    Returns:
        The tensor Y, whose modes are as long as the ranks of the unfoldings, with norm one; and
        the matrices B_k [n_k, r_k], so that the products of Y with all of them are the tensor.
    """
    factors: list[np.ndarray] = [np.eye(size) for size in tensor.shape]
    allowed = max(error**2, SPECTRA().rounding) * float(np.linalg.norm(tensor.ravel())) ** 2
    for turn in range(WHITENING().passes):
        for mode in range(tensor.ndim):
            _interrupt.checkpoint()
            matrix = unfold(tensor, (mode,))
            squares, basis = np.linalg.eigh(matrix @ matrix.conj().T)
            squares, basis = squares[::-1], basis[:, ::-1]
            rank = len(squares)
            if not turn:  # those that come later only balance
                rank = max(1, int(np.sum(squared_tails(squares) > allowed)))
            sizes = np.sqrt(np.maximum(squares[:rank], np.finfo(squares.dtype).tiny))
            basis = basis[:, :rank]
            inward, outward = (basis / sizes).conj().T, basis * sizes
            if turn:  # as little of a rotation as can be
                inward, outward = basis @ inward, outward @ basis.conj().T
            tensor = np.moveaxis(np.tensordot(inward, tensor, axes=(1, mode)), 0, mode)
            factors[mode] = factors[mode] @ outward
    norm = float(np.linalg.norm(tensor.ravel()))
    factors[0] = factors[0] * norm
    return np.ascontiguousarray(tensor / norm), tuple(factors)
