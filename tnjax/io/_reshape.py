"""A tensor into more, smaller modes, and back."""

import dataclasses
import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np

from .._digits import Digit, split_axes

_MOST_ENTRIES = 2**40

Digits = Literal["row-major", "interleaved"]
Fit = Literal["exact", "pad", "crop"]


@dataclasses.dataclass(frozen=True)
class Reshape:
    """How a tensor becomes one with other modes; `apply` and `undo` do it.

    Attributes:
        source: shape of the tensor.
        padded: its shape after padding (the last entries repeated) or cropping (from the end).
        splits: for each new mode, its factor in each mode of the source. Row-major: a new mode
            takes the next digit of one source mode. Interleaved: digit k of every source mode
            together, so that a new mode is a patch at one scale (ket augmentation).
        dims: sizes of the new modes.

    Example:
        >>> import numpy as np
        >>> from tnjax.io import plan_reshape
        >>> plan = plan_reshape((5, 4), (3, 2, 4), fit="pad")
        >>> small = plan.apply(np.arange(20.0).reshape(5, 4))
        >>> small.shape, plan.undo(small).shape
        ((3, 2, 4), (5, 4))
        >>> plan.names(("row", "column"))
        ('row.1', 'row.2', 'column')
    """

    source: tuple[int, ...]
    padded: tuple[int, ...]
    splits: tuple[tuple[int, ...], ...]
    dims: tuple[int, ...]

    def apply(self, array: np.ndarray) -> np.ndarray:
        """The tensor in its new modes."""
        if array.shape != self.source:
            raise ValueError(f"reshape: expected shape {self.source}, got {array.shape}.")
        array = array[tuple(slice(n) for n in self.padded)]
        widths = [(0, p - n) for p, n in zip(self.padded, array.shape, strict=True)]
        if any(after for _, after in widths):
            array = np.pad(array, widths, mode="edge")
        if not self.splits:
            return array.reshape(self.dims)
        digits = self._digits
        return array.reshape(digits).transpose(self._order).reshape(self.dims)

    def undo(self, array: np.ndarray) -> np.ndarray:
        """The inverse: padding removed; what was cropped stays away."""
        if not self.splits:
            array = array.reshape(self.padded)
        else:
            order = self._order
            shape = [self._digits[axis] for axis in order]
            array = array.reshape(shape).transpose(np.argsort(order)).reshape(self.padded)
        return array[tuple(slice(n) for n in self.source)]

    def cut(self, array: np.ndarray) -> np.ndarray:
        """The part of an array of the source's shape that the new tensor holds."""
        return array[tuple(slice(n) for n in self.kept)]

    @property
    def kept(self) -> tuple[int, ...]:
        """Shape of the part of the source that the new tensor holds."""
        return tuple(map(min, self.source, self.padded))

    @property
    def _digits(self) -> tuple[int, ...]:
        """Sizes of all digits, source mode by source mode."""
        return tuple(itertools.chain.from_iterable(zip(*self.splits, strict=True)))

    @property
    def _order(self) -> list[int]:
        count = len(self.splits)
        return [mode * count + k for k in range(count) for mode in range(len(self.source))]

    def axes(self) -> tuple[tuple[Digit, ...] | None, ...]:
        """Where the axes of the source (padded or cropped) lie in the new modes: the digits of
        each, the most significant first; None for one that shares a digit with another."""
        if not self.splits:
            return split_axes(self.padded, self.dims)
        axes = []
        for axis in range(len(self.source)):
            digits = []
            for mode, split in enumerate(self.splits):
                stride = math.prod(split[axis + 1 :])
                digits.append(Digit(mode, split[axis], stride))
            axes.append(tuple(digits))
        return tuple(axes)

    def names(self, axes: Sequence[str] | None) -> tuple[str, ...] | None:
        """Names of the new modes: that of the axis, or of its digits, the most significant first.

        Args:
            axes: names of the axes of the source.

        Returns:
            a name for each mode, such as `row.2` for a digit and `row.1+column.1` for digits that
            are one mode; None without names, or where axes cannot be told apart.
        """
        if axes is None:
            return None
        parts: list[list[tuple[int, int, str]]] = [[] for _ in self.dims]
        for axis, (name, digits) in enumerate(zip(axes, self.axes(), strict=True)):
            if digits is None and self.padded[axis] > 1:
                return None
            own = [digit for digit in digits or () if digit.size > 1]
            for k, digit in enumerate(own, 1):
                word = name if len(own) == 1 else f"{name}.{k}"
                parts[digit.mode].append((-digit.stride, axis, word))
        return tuple(
            "+".join(word for _, _, word in sorted(found)) or f"mode_{mode}"
            for mode, found in enumerate(parts)
        )

    def describe(self) -> str:
        """One line for people."""
        word = lambda shape: "x".join(map(str, shape))
        change = ""
        if self.padded != self.source:
            verb = "padded" if math.prod(self.padded) > math.prod(self.source) else "cropped"
            change = f", {verb} to {word(self.padded)}"
        if self.dims != self.padded:
            change += f", reshaped to {word(self.dims)}"
        return word(self.source) + change


def plan_reshape(
    shape: Sequence[int], dims: Sequence[int], *, digits: Digits = "row-major", fit: Fit = "exact"
) -> Reshape:
    """Find how a tensor of `shape` becomes one of `dims`.

    Args:
        shape: of the tensor.
        dims: sizes of the new modes.
        digits: "row-major": as NumPy reshapes; "interleaved": each new mode takes a factor of
            every mode, as even as possible.
        fit: what to do if the sizes do not multiply up: "exact" refuses, "pad" repeats the last
            entries, "crop" drops them; both change as little as possible.

    Returns:
        What `apply` and `undo` do.

    Raises:
        ValueError: if there is no way.

    Example:
        >>> from tnjax.io import plan_reshape
        >>> plan = plan_reshape((6, 6), (4, 9), digits="interleaved")
        >>> plan.splits
        ((2, 2), (3, 3))
        >>> plan_reshape((250, 250), (4,) * 8, fit="pad").describe()
        '250x250, padded to 256x256, reshaped to 4x4x4x4x4x4x4x4'
    """
    shape, dims = tuple(map(int, shape)), tuple(map(int, dims))
    if not shape or min(shape) < 1:
        raise ValueError(f"reshape: the tensor has no entries or no modes, shape {list(shape)}.")
    if not dims or min(dims) < 1:
        raise ValueError(f"reshape: expected positive sizes, got {list(dims)}.")
    if digits not in ("row-major", "interleaved"):
        raise ValueError(f"reshape: unknown digit order {digits!r}; row-major or interleaved.")
    if fit not in ("exact", "pad", "crop"):
        raise ValueError(f"reshape: unknown fit {fit!r}; exact, pad or crop.")
    total, size = math.prod(dims), math.prod(shape)
    if total == size and digits == "row-major":
        return Reshape(shape, shape, (), dims)
    if total != size and fit == "exact":
        fitting = ",".join(map(str, digits_of(shape)))
        raise ValueError(
            f"reshape: {_product(dims)} = {total}, but the tensor has {_product(shape)} = {size} "
            f"entries. Give sizes with that product, such as {fitting} "
            '(--reshape auto), or let it fit: fit="pad" or "crop" (--fit pad).'
        )
    if total > _MOST_ENTRIES:
        raise ValueError(
            f"reshape: {_product(dims)} = {total} entries are more than this can pad to "
            f"({_MOST_ENTRIES}); give smaller sizes."
        )
    for padded in _working_shapes(shape, total, fit):
        if digits == "row-major":
            if _groups(padded, dims):
                return Reshape(shape, padded, (), dims)
        else:
            splits = next(_factor(padded, dims), None)
            if splits is not None:
                return Reshape(shape, padded, splits, dims)
    raise ValueError(
        f"reshape: no way to {'split' if fit == 'exact' else fit} {_product(shape)} into "
        f"{_product(dims)} in {digits} order. The sizes must multiply up to the modes one after "
        "another (row-major) or share factors with every mode (interleaved)."
    )


def digits_of(shape: Sequence[int]) -> tuple[int, ...]:
    """Every mode split into its prime factors, pairs of twos as fours: small modes to work in.

    Args:
        shape: of the tensor.

    Returns:
        Sizes of the new modes, for `plan_reshape`.

    Example:
        >>> from tnjax.io import digits_of
        >>> digits_of((64, 48, 3))
        (4, 4, 4, 4, 4, 3, 3)
    """
    out: list[int] = []
    for size in map(int, shape):
        factors, prime = [], 2
        while prime * prime <= size:
            while size % prime == 0:
                factors.append(prime)
                size //= prime
            prime += 1
        factors += [size] if size > 1 else []
        fours = factors.count(2) // 2
        out += [4] * fours + factors[2 * fours :]
    return tuple(out) or (1,)


def _product(sizes: Sequence[int]) -> str:
    return " x ".join(map(str, sizes))


def _working_shapes(shape: tuple[int, ...], total: int, fit: Fit) -> list[tuple[int, ...]]:
    """Shapes with `total` entries that pad or crop `shape`, the least distorted first."""
    if total == math.prod(shape):
        return [shape]
    divisors = [n for n in range(1, math.isqrt(total) + 1) if total % n == 0]
    divisors = sorted({*divisors, *(total // n for n in divisors)})
    found = []

    def extend(prefix: tuple[int, ...], left: int) -> None:
        mode = len(prefix)
        if mode == len(shape):
            if left == 1:
                found.append(prefix)
            return
        for n in divisors:
            if left % n == 0 and (n >= shape[mode] if fit == "pad" else n <= shape[mode]):
                extend((*prefix, n), left // n)

    extend((), total)
    return sorted(found, key=lambda s: max(max(a / b, b / a) for a, b in zip(s, shape)))


def _groups(shape: Sequence[int], dims: Sequence[int]) -> bool:
    """Whether consecutive dims multiply up to the modes in turn."""
    cuts = {1, *itertools.accumulate(dims, lambda a, b: a * b)}
    return all(n in cuts for n in itertools.accumulate(shape, lambda a, b: a * b))


def _factor(left: tuple[int, ...], dims: Sequence[int]) -> Iterator[tuple[tuple[int, ...], ...]]:
    """Ways to write each dim as a product of one factor per mode, factors even first."""
    if not dims:
        if all(n == 1 for n in left):
            yield ()
        return
    for split in _splits(dims[0], left):
        rest = tuple(n // f for n, f in zip(left, split, strict=True))
        for tail in _factor(rest, dims[1:]):
            yield (split, *tail)


def _splits(size: int, left: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Factorizations of `size` into divisors of what is left of each mode."""
    ways = [()]
    for n in left:
        ways = [
            (*way, f)
            for way in ways
            for f in range(1, size + 1)
            if n % f == 0 and size % (math.prod(way) * f) == 0
        ]
    return sorted((w for w in ways if math.prod(w) == size), key=lambda w: (max(w) / min(w), w))
