"""Tuned constants: numbers that somebody chose by what worked, in one frozen dataclass for each
part of the package, in the file that uses them.

Code reads them through a handle, so that all of them can be listed, and replaced together for an
ablation (see `tnjax.constants`):

    @dataclasses.dataclass(frozen=True)
    class Growth:
        \"\"\"...

        Attributes:
            far: ...
        \"\"\"

        far: float = 0.1

    GROWTH = tuned("growth", Growth())
    ...
    if gain < GROWTH().far * needed: ...
"""

import contextvars
import functools
from collections.abc import Callable
from typing import Any, Generic, TypeVar, cast

T = TypeVar("T")
C = TypeVar("C", bound=Callable)

# What is replaced in this context: by part, the instance that stands in. Sorted, so that equal
# overrides are equal keys of caches.
Overrides = tuple[tuple[str, Any], ...]
OVERRIDES: contextvars.ContextVar[Overrides] = contextvars.ContextVar("overrides", default=())

PARTS: dict[str, "Tuned[Any]"] = {}


class Tuned(Generic[T]):
    """The constants of one part. Calling it gives those that hold in this context.

    Attributes:
        part: its name.
        default: the values where nothing is overridden.
        traced: whether programs contain the values, so that others need programs of their own.
    """

    def __init__(self, part: str, default: T, traced: bool):
        self.part, self.default, self.traced = part, default, traced

    def __call__(self) -> T:
        overrides = OVERRIDES.get()
        if not overrides:
            return self.default
        return dict(overrides).get(self.part, self.default)


def tuned(part: str, default: T, *, traced: bool = False) -> Tuned[T]:
    """Register the constants of a part.

    Args:
        part: its name, the first half of `part.field`; listed in `tnjax.constants`.
        default: an instance of a frozen dataclass.
        traced: whether the values are read while programs are traced.
    """
    PARTS[part] = handle = Tuned(part, default, traced)
    return handle


def traced_overrides() -> Overrides:
    """What is overridden of the values that programs contain: a part of every key that programs
    are kept by."""
    return tuple(item for item in OVERRIDES.get() if PARTS[item[0]].traced)


def cached(*, maxsize: int) -> Callable[[C], C]:
    """`functools.lru_cache` for functions that depend on tuned constants: what was computed with
    some values is not given where others hold."""

    def decorate(function: C) -> C:
        plain = functools.lru_cache(maxsize=maxsize)(function)
        keyed = functools.lru_cache(maxsize=maxsize)(lambda overrides, *args: function(*args))

        @functools.wraps(function)
        def call(*args: Any) -> Any:
            overrides = OVERRIDES.get()
            return keyed(overrides, *args) if overrides else plain(*args)

        found: Any = call
        found.cache_info, found.cache_clear = plain.cache_info, plain.cache_clear
        return cast(C, call)

    return decorate
