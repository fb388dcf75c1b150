"""The yardstick that no format of the field is: the k largest coefficients in a basis.

Each term counts as two numbers, its value and its position. The bases are orthonormal, so the
error is that of the coefficients left out.
"""

from collections.abc import Callable

import numpy as np
from scipy.fft import dct

BLOCK = 8  # entries of a block of the cosine transform along each axis, as JPEG has it
_HALF = np.sqrt(0.5)


def haar(tensor: np.ndarray) -> np.ndarray:
    """Coefficients in the Haar basis of each axis, of any length: an entry without a partner goes
    on to the next level as it is."""
    out = tensor.astype(np.float64)
    for axis in range(out.ndim):
        moved = np.moveaxis(out, axis, 0)
        moved[:] = _haar_columns(moved.reshape(len(moved), -1)).reshape(moved.shape)
    return out


def _haar_columns(x: np.ndarray) -> np.ndarray:
    details: list[np.ndarray] = []
    while len(x) > 1:
        pairs = len(x) // 2
        a, b = x[: 2 * pairs : 2], x[1 : 2 * pairs : 2]
        details.append(_HALF * (a - b))
        x = np.concatenate([_HALF * (a + b), x[2 * pairs :]])
    return np.concatenate([x, *details[::-1]])


def block_cosines(tensor: np.ndarray, block: int = BLOCK) -> np.ndarray:
    """Coefficients of the cosine transform of blocks; the last block of an axis may be shorter."""
    out = tensor.astype(np.float64)
    for axis, size in enumerate(out.shape):
        moved = np.moveaxis(out, axis, 0)
        for begin in range(0, size, block):
            part = moved[begin : begin + block]
            moved[begin : begin + block] = dct(part, axis=0, norm="ortho")
    return out


BASES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "haar": haar,
    "block dct": block_cosines,
}


def numbers(tensor: np.ndarray, basis: str, error: float) -> tuple[int, float]:
    """Numbers of the fewest terms that keep a relative error, and that error."""
    squares = np.sort(np.ravel(BASES[basis](tensor)) ** 2)[::-1]
    left = np.append(np.cumsum(squares[::-1])[::-1], 0.0) / np.sum(squares)
    terms = int(np.flatnonzero(left <= error**2)[0])
    return 2 * terms, float(np.sqrt(left[terms]))
