"""Contractions: pure functions that trace under any transformation, and forecasts of their cost."""

import importlib
from typing import TYPE_CHECKING, Any

from .cost import Cost as Cost
from .cost import MemoryLimitError as MemoryLimitError
from .cost import contraction_cost as contraction_cost

if TYPE_CHECKING:
    from .kernels import dense as dense
    from .kernels import entries as entries
    from .kernels import environment as environment
    from .kernels import gram as gram
    from .kernels import inner as inner

# These need JAX; a command line that only reads sizes does not.
_KERNELS = ("dense", "entries", "environment", "gram", "inner")


def __getattr__(name: str) -> Any:
    if name not in _KERNELS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(".kernels", __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_KERNELS})
