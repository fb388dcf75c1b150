"""Axes of charts that are drawn as SVG: numbers to pixels, and round numbers along them."""

import dataclasses
import math
from collections.abc import Sequence


@dataclasses.dataclass(frozen=True)
class Axis:
    """Numbers to pixels.

    Attributes:
        low, high: the ends of the axis, in the numbers' own units.
        log: whether it is logarithmic.
        start, end: the ends in pixels.
    """

    low: float
    high: float
    log: bool
    start: float
    end: float

    def __call__(self, value: float) -> float:
        f = math.log10 if self.log else float
        share = (f(value) - f(self.low)) / (f(self.high) - f(self.low))
        return self.start + share * (self.end - self.start)

    def ticks(self, most: int = 6) -> list[float]:
        """Round numbers within the axis, some `most` of them at the most."""
        if not self.log:
            return _round_numbers(self.low, self.high, most)
        decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        for digits in ((1, 2, 3, 5), (1, 2, 5), (1, 3), (1,)):
            ticks = [d * 10.0**k for k in decades for d in digits]
            ticks = [t for t in ticks if self.low * 0.999 <= t <= self.high * 1.001]
            if len(ticks) <= most:
                break
        else:
            ticks = ticks[:: math.ceil(len(ticks) / most)]
        return ticks if len(ticks) > 2 else _round_numbers(self.low, self.high, most)


def make_axis(values: Sequence[float], log: bool | None, start: float, end: float) -> Axis:
    """An axis with a little air around the values; logarithmic, if not said otherwise, where they
    are positive and span more than a factor of 20."""
    finite = [value for value in values if math.isfinite(value)] or [0.0, 1.0]
    positive = [value for value in finite if value > 0]
    if log is None:
        log = len(positive) == len(finite) and max(finite) > 20 * min(finite)
    if log and positive:
        low, high = min(positive), max(positive)
        air = (high / low) ** 0.06 if high > low else 2.0
        return Axis(low / air, high * air, True, start, end)
    low, high = min(finite), max(finite)
    air = 0.06 * (high - low) or 0.5 * abs(high) or 0.5
    return Axis(
        low - air if low < 0 or low - air > 0 else min(0.0, low), high + air, False, start, end
    )


def _round_numbers(low: float, high: float, most: int) -> list[float]:
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(s * power for s in (1, 2, 2.5, 5, 10) if s * power >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [k * step for k in range(first, math.floor(high / step + 1e-9) + 1)]


def short(value: float) -> str:
    """A number as people write it on an axis."""
    if value == 0:
        return "0"
    if 1e-3 <= abs(value) < 1e5:
        return f"{value:,.10g}" if abs(value) >= 1000 else f"{value:.4g}"
    mantissa, exponent = f"{value:.2e}".split("e")
    return f"{float(mantissa):g}e{int(exponent)}"
