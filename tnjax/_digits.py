"""Digits of an axis, and where they lie after a reshape."""

import itertools
from collections.abc import Sequence
from typing import NamedTuple


class Digit(NamedTuple):
    """A digit of an axis.

    Attributes:
        mode: in which it lies.
        size: its values.
        stride: by how much the index in the mode grows with it; 1 unless the mode holds more.

    Example:
        >>> from tnjax.problems import Digit
        >>> Digit(mode=2, size=4).stride
        1
    """

    mode: int
    size: int
    stride: int = 1


def split_axes(source: Sequence[int], dims: Sequence[int]) -> tuple[tuple[Digit, ...] | None, ...]:
    """Where the axes of a tensor lie after it was reshaped as NumPy does; None for an axis that
    shares a digit with another one.

    Example:
        >>> from tnjax._digits import split_axes
        >>> [len(axis) for axis in split_axes((32, 32), (4, 4, 4, 4, 4))]
        [3, 3]
    """
    before, after = (list(itertools.accumulate([1, *reversed(x)], lambda a, b: a * b))
                     for x in (source, dims))  # fmt: skip
    cuts = sorted({*before, *after})
    found: list[tuple[Digit, ...] | None] = []
    for axis in range(len(source)):
        low, high = before[len(source) - axis - 1], before[len(source) - axis]
        inside = [cut for cut in cuts if low <= cut <= high]
        digits = []
        for a, b in itertools.pairwise(inside):
            place = next(k for k in range(len(dims)) if after[k + 1] > a)
            digits.append((b / a, Digit(len(dims) - 1 - place, b // a, a // after[place])))
        sound = all(
            ratio == digit.size and dims[digit.mode] % (digit.size * digit.stride) == 0
            for ratio, digit in digits
        )
        found.append(tuple(digit for _, digit in reversed(digits)) if sound and digits else None)
    return tuple(found)
