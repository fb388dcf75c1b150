"""Which labels a contraction is cut along, so that it needs less memory.

A contraction is the sum (or, along a label of its output, the array) of its slices: contractions of
parts of the operands. All have the same shapes, so that one program loops over them.
"""

import dataclasses
import math
from collections.abc import Iterable, Sequence

from .._tuned import cached
from .cost import MemoryLimitError, format_bytes
from .equation import Equation
from .order import Group, Pairs, appended, contracted, pairs_of
from .path import find_path, plan_along
from .schedule import schedule_along

# Which operands belong together in a schedule; None for a contraction along a plan.
Groups = tuple[Group, ...] | None

_MOST = 2**20  # parts of a contraction: more take forever


@dataclasses.dataclass(frozen=True)
class Slices:
    """A contraction in equal parts.

    Attributes:
        equation: of one part.
        order: of the products, as of the whole: positions of a plan, or values of a schedule.
        parts: for each label that is cut, the number of its parts.
        peak_size: entries alive at the worst moment: operands and result as a whole, and what one
            part needs.
    """

    equation: Equation
    order: tuple[tuple[int, int], ...]
    parts: tuple[tuple[int, int], ...]
    peak_size: int

    @property
    def count(self) -> int:
        """Parts of the whole contraction."""
        return math.prod(parts for _, parts in self.parts)


@cached(maxsize=1024)
def find_slices(
    equation: Equation, itemsize: int, limit: int, what: str, groups: Groups = None
) -> Slices | None:
    """How a contraction stays within a number of bytes; None where it does as it is.

    One label after the other is cut by the smallest prime factor of its size: that which costs the
    fewest multiplications for the memory that it saves, along the path of the whole.

    Args:
        equation: of one operand or more.
        itemsize: bytes of a number.
        limit: bytes.
        what: is contracted, as a message begins.
        groups: operands that belong together, for a contraction on a logarithmic scale.

    Raises:
        MemoryLimitError: if operands and result alone do not fit, or a million slices.
    """
    if groups is None:
        order = find_path(equation)
        pairs = appended(order, len(equation.inputs))
    else:
        pairs = pairs_of(equation, groups)
        order = tuple(pairs)
    peak = lambda part: (
        plan_along(part, order).peak_size if groups is None else schedule_along(part, order).peak
    )
    whole = peak(equation)
    if whole * itemsize <= limit:
        return None
    size = equation.size_dict
    kept = sum(math.prod(size[x] for x in labels) for labels in equation.inputs)
    kept += math.prod(size[x] for x in equation.output)
    part, parts = equation, {}
    while (kept + peak(part)) * itemsize > limit:
        possible = kept * itemsize < limit and math.prod(parts.values()) < _MOST
        cut = _cheapest(part, pairs) if possible else None
        if cut is None:
            raise MemoryLimitError(
                f"{what} would need {format_bytes(whole * itemsize)}, more than the memory limit "
                f"of {format_bytes(limit)}. A million slices do not fit either: operands and "
                f"result alone take {format_bytes(kept * itemsize)}. Use lower ranks or fewer "
                "crossing bonds, read single values with `entries`, or raise the limit."
            )
        label, factor = cut
        parts[label] = parts.get(label, 1) * factor
        sizes = tuple((x, n // factor if x == label else n) for x, n in part.sizes)
        part = Equation(part.inputs, part.output, sizes)
    return Slices(part, order, tuple(sorted(parts.items())), kept + peak(part))


def _cheapest(equation: Equation, pairs: Pairs) -> tuple[int, int] | None:
    """The label to cut, and by what; None if there is nothing left to cut."""
    steps = list(contracted(equation, pairs))
    values = [*equation.inputs, *(result for _, result in steps)]
    work = _shares(equation, [labels for labels, _ in steps], 1)
    # Of the fourth powers, so that the largest values count, and each of them if there are several.
    memory = _shares(equation, values, 4)
    best, found = math.inf, None
    for label, size in equation.sizes:
        factor = _smallest_factor(size)
        saved = memory[label] * (1 - factor**-4.0)
        if factor > 1 and saved > 0:
            dearer = math.log(factor - work[label] * (factor - 1))
            cost = dearer / -math.log1p(-min(saved, 0.999999))
            if cost < best:
                best, found = cost, (label, factor)
    return found


def _shares(equation: Equation, rows: Sequence[Iterable[int]], power: int) -> dict[int, float]:
    """For each label the share of the rows with it in the sum of all sizes to a power."""
    logs = {label: power * math.log2(size) for label, size in equation.sizes}
    sizes = [sum(logs[x] for x in labels) for labels in rows]
    largest = max(sizes, default=0.0)  # sizes themselves may be out of range
    total, out = 0.0, dict.fromkeys(logs, 0.0)
    for labels, size in zip(rows, sizes, strict=True):
        weight = 2.0 ** (size - largest)
        total += weight
        for x in labels:
            out[x] += weight
    return {x: weight / total for x, weight in out.items()} if total else out


def _smallest_factor(size: int) -> int:
    """The smallest prime factor; 1 of 1."""
    return next((n for n in range(2, math.isqrt(size) + 1) if size % n == 0), size)
