"""The name that `tnjax.problems` had in version 0.1."""

import warnings
from typing import Any

from . import problems


def __getattr__(name: str) -> Any:
    value = getattr(problems, name)
    if not name.startswith("__"):
        warnings.warn(
            f"tnjax.objectives.{name} is now tnjax.problems.{name}.",
            DeprecationWarning,
            stacklevel=2,
        )
    return value
