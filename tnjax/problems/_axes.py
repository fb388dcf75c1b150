"""Ordered axes, and their differences in the modes that they were split into.

Neighbors i, i + 1 of an axis whose digits lie in several modes differ in one digit and a carry: all
lower digits go from their last value to 0, that digit grows by one, the higher ones are equal. The
pairs of one carry level are the same in every mode by itself, so that the differences of a level
are the difference of two networks whose cores are picked from those of the whole.
"""

import functools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from .._digits import Digit


class Axis(NamedTuple):
    """An axis along which a tensor is smooth.

    Attributes:
        digits: the most significant first; one for an axis that is a mode.
        differences: 1: neighbors are alike; 2: each index is the mean of its neighbors.
        periodic: whether the last index is the neighbor of the first.
        lags: each index is like a sum of those so many before it, by weights (an autoregression);
            for an axis that is a mode. (1,) are the neighbors.

    Example:
        >>> from tnjax.problems import Axis, Digit
        >>> hours = Axis((Digit(1, 6), Digit(2, 4)), periodic=True)  # 24 hours as 6 x 4
        >>> hours.size
        24
    """

    digits: tuple[Digit, ...]
    differences: int = 1
    periodic: bool = False
    lags: tuple[int, ...] = (1,)

    @property
    def size(self) -> int:
        """Indices along the axis."""
        return math.prod(digit.size for digit in self.digits)

    @property
    def coefficients(self) -> tuple[float, ...]:
        """What the networks of a term are added with."""
        if self.differences == 2:
            return (1.0, -2.0, 1.0)
        return (1.0, *(-1.0 / len(self.lags),) * len(self.lags))


# For each network of a term the indices that are picked of the modes of an axis.
Term = tuple[Mapping[int, np.ndarray], ...]


@functools.lru_cache(maxsize=256)
def terms(axis: Axis, dims: tuple[int, ...]) -> tuple[Term, ...]:
    """Differences along an axis, a term for each carry level: together they are all.

    Args:
        axis: its digits lie in modes of sizes `dims`.
    """
    digits = tuple(digit for digit in axis.digits if digit.size > 1)
    if not digits:
        return ()
    if axis.lags != (1,):
        return _lagged(digits[0], axis, dims)
    found = _second(digits, axis) if axis.differences == 2 else _first(digits, axis)
    return tuple(term for level in found if (term := _picked(digits, dims, *level)) is not None)


# A level: the values of each digit that it is about, and for each network by how much each digit
# differs from these.
_Level = tuple[list[range], list[list[int]]]


def _first(digits: Sequence[Digit], axis: Axis) -> Iterator[_Level]:
    """T[i + 1] - T[i], by the digit that grows."""
    zero = [0] * len(digits)
    for level in range(len(digits)):
        yield _carried(digits, level)[0], [_carried(digits, level)[1], zero]
    if axis.periodic and axis.size > 2:
        lasts, wrapped = _wrapped(digits)
        yield lasts, [wrapped, zero]


def _second(digits: Sequence[Digit], axis: Axis) -> Iterator[_Level]:
    """T[i - 1] - 2 T[i] + T[i + 1], by the digits that change."""
    zero, last = [0] * len(digits), len(digits) - 1
    up, down = [*zero[:last], 1], [*zero[:last], -1]
    whole = [range(digit.size) for digit in digits]
    yield [*whole[:last], range(1, digits[last].size - 1)], [down, zero, up]
    for level in range(last):
        values, carried = _carried(digits, level)
        yield values, [down, zero, carried]
        yield _mirrored(digits, values), [[-step for step in carried], zero, up]
    if axis.periodic and axis.size > 2:
        lasts, wrapped = _wrapped(digits)
        yield lasts, [down, zero, wrapped]
        yield _mirrored(digits, lasts), [[-step for step in wrapped], zero, up]


def _carried(digits: Sequence[Digit], level: int) -> tuple[list[range], list[int]]:
    """The values of the digits from which digit `level` grows by a carry, and the steps of all."""
    values = [range(digit.size) for digit in digits[:level]] + [range(digits[level].size - 1)]
    values += [range(digit.size - 1, digit.size) for digit in digits[level + 1 :]]
    lower = [1 - digit.size for digit in digits[level + 1 :]]
    return values, [*[0] * level, 1, *lower]


def _wrapped(digits: Sequence[Digit]) -> tuple[list[range], list[int]]:
    """The last index, and the steps from there to the first."""
    return [range(d.size - 1, d.size) for d in digits], [1 - d.size for d in digits]


def _mirrored(digits: Sequence[Digit], values: Sequence[range]) -> list[range]:
    """The same values counted from the end."""
    return [range(d.size - v.stop, d.size - v.start) for d, v in zip(digits, values, strict=True)]


def _picked(
    digits: Sequence[Digit],
    dims: Sequence[int],
    values: Sequence[range],
    steps: Sequence[Sequence[int]],
) -> Term | None:
    """A level as indices of the modes; None if it holds nothing."""
    picks: list[dict[int, np.ndarray]] = [{} for _ in steps]
    for mode in dict.fromkeys(digit.mode for digit in digits):
        index, inside = np.arange(dims[mode]), np.ones(dims[mode], bool)
        shifts = [0] * len(steps)
        for n, digit in enumerate(digits):
            if digit.mode == mode:
                inside &= np.isin(index // digit.stride % digit.size, values[n])
                shifts = [s + step[n] * digit.stride for s, step in zip(shifts, steps)]
        if not inside.any():
            return None
        if inside.all() and not any(shifts):
            continue
        for pick, shift in zip(picks, shifts, strict=True):
            pick[mode] = np.flatnonzero(inside) + shift
    return tuple(picks)


def _lagged(digit: Digit, axis: Axis, dims: Sequence[int]) -> tuple[Term, ...]:
    """T[i] beside T[i - lag] for all lags."""
    size, first = dims[digit.mode], max(axis.lags)
    now = np.arange(0 if axis.periodic else first, size)
    return (tuple({digit.mode: (now - lag) % size} for lag in (0, *axis.lags)),) if len(now) else ()


def axis_of(mode: int, dims: Sequence[int]) -> Axis:
    """A mode as an axis."""
    return Axis((Digit(mode, dims[mode]),))


def check_axis(axis: Axis, dims: Sequence[int]) -> None:
    """Raise `ValueError` for an axis that does not lie in modes of these sizes, or that is not
    possible."""
    fits = all(
        digit.mode in range(len(dims)) and dims[digit.mode] % (digit.size * digit.stride) == 0
        for digit in axis.digits
    )
    several = len([d for d in axis.digits if d.size > 1]) > 1
    lags = axis.lags != (1,)
    if not axis.digits or not fits or axis.differences not in (1, 2):
        raise ValueError(
            f"Completion: {axis}: expected digits (mode, size, stride) that lie in modes of sizes "
            f"{tuple(dims)}, and differences of 1 or 2."
        )
    if lags and (several or axis.differences == 2 or not _sound(axis.lags, axis.size)):
        raise ValueError(
            f"Completion: {axis}: lags must be different whole numbers from 1 to below the size "
            f"{axis.size}, of an axis that is one mode, with differences=1."
        )


def _sound(lags: Sequence[int], size: int) -> bool:
    return bool(lags) and len(set(lags)) == len(lags) and all(1 <= lag < size for lag in lags)
