"""When a search or a fit ends, and what it must not exceed."""

import dataclasses
import math
from typing import Any, TypedDict


@dataclasses.dataclass(frozen=True, kw_only=True)
class Limits:
    """Limits of a search or a fit, for `search(limits=...)`, `fit(limits=...)` and `init`.

    Each of them can be given as a keyword of these functions as well: `search(..., max_steps=5)`
    is `search(..., limits=Limits(max_steps=5))`. A value of its own is handy where several calls
    share their limits.

    Attributes:
        target_error: stop once the error is at or below it. For a decomposition this is the
            relative Frobenius error, for an `Objective` the loss.
        max_params: never exceed so many core entries.
        max_flops: never use a network that costs more to contract.
        max_steps: stop a search after so many accepted moves, a fit after so many steps of the
            solver.
        max_fitted: stop after so many structures have been fitted.
        max_seconds: stop after so much wall time.
        memory_limit: bytes on each device; fits that are forecast to need more are not made.

    Raises:
        ValueError: for a limit that is not positive.

    Example:
        >>> from tnjax import Limits
        >>> Limits(target_error=0.1, max_params=500).target_error
        0.1
    """

    target_error: float | None = None
    max_params: int | None = None
    max_flops: int | None = None
    max_steps: int | None = None
    max_fitted: int | None = None
    max_seconds: float | None = None
    memory_limit: int | None = None

    def __post_init__(self) -> None:
        for name, value in self.given().items():
            positive(value, f"Limits: {name}")

    def given(self) -> dict[str, Any]:
        """Those that are there, by name."""
        all_of_them = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {name: value for name, value in all_of_them.items() if value is not None}


class SearchLimits(TypedDict, total=False):
    """The limits of a search as keywords; see `Limits`."""

    target_error: float | None
    max_params: int | None
    max_flops: int | None
    max_steps: int | None
    max_fitted: int | None
    max_seconds: float | None
    memory_limit: int | None


class FitLimits(TypedDict, total=False):
    """The limits of a fit as keywords; see `Limits`."""

    target_error: float | None
    max_steps: int | None
    max_seconds: float | None
    memory_limit: int | None


class StreamLimits(TypedDict, total=False):
    """The limits of a fit to entries on disk as keywords; see `Limits`."""

    target_error: float | None
    max_seconds: float | None


def limits_from(
    owner: str, limits: Limits | None, plain: dict[str, Any], allowed: type = SearchLimits
) -> Limits:
    """The limits of a call, from a value, or keywords, or some of both.

    Args:
        owner: the function that was called.
        limits: the value, if one was given.
        plain: the keywords.
        allowed: the typed dictionary of the limits that the function knows.

    Raises:
        TypeError: for a keyword that is no limit, as Python does.
        ValueError: for a limit that is not positive, is given twice, or is none of the function's.
    """
    names = allowed.__annotations__
    unknown = [name for name in plain if name not in names]
    if unknown:
        raise TypeError(f"{owner}() got an unexpected keyword argument '{unknown[0]}'")
    here = {name: value for name, value in plain.items() if value is not None}
    for name, value in here.items():
        positive(value, f"{owner}: {name}")
    if limits is None:
        return Limits(**here)
    twice = sorted(here.keys() & limits.given().keys())
    if twice:
        raise ValueError(
            f"{owner}: {', '.join(twice)} is given as a keyword and in `limits`; give it once."
        )
    other = [name for name in limits.given() if name not in names]
    if other:
        raise ValueError(
            f"{owner}: {', '.join(other)} is no limit of `{owner}`, which knows "
            f"{', '.join(names)}; leave it out."
        )
    return dataclasses.replace(limits, **here)


def positive(value: float | None, what: str) -> None:
    """Raise `ValueError` unless `value` is None or a finite positive number."""
    if value is None:
        return
    try:
        good = not isinstance(value, bool) and math.isfinite(value) and value > 0
    except TypeError:  # no number, or one that is traced
        good = False
    if not good:
        raise ValueError(f"{what}: expected a positive number, got {value!r}.")
