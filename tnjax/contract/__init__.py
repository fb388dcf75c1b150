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
    from .logarithms import LogInner as LogInner
    from .logarithms import Network as Network
    from .logarithms import contract as contract
    from .logarithms import log_inner as log_inner
    from .logarithms import log_norm as log_norm
    from .logarithms import norm as norm
    from .reuse import Plans as Plans
    from .scaled import Scaled as Scaled
    from .truncated import Expectation as Expectation
    from .truncated import Truncated as Truncated
    from .truncated import truncated_contract as truncated_contract
    from .truncated import truncated_entries as truncated_entries
    from .truncated import truncated_expectation as truncated_expectation
    from .truncated import truncated_inner as truncated_inner

# These need JAX; a command line that only reads sizes does not.
_HOMES = {
    "kernels": "dense entries environment gram inner",
    "logarithms": "LogInner Network contract log_inner log_norm norm",
    "reuse": "Plans",
    "scaled": "Scaled",
    "truncated": (
        "Expectation Truncated truncated_contract truncated_entries truncated_expectation "
        "truncated_inner"
    ),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_HOME_OF[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME_OF})
