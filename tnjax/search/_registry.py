"""Strategies by name."""

import dataclasses
from typing import Any

from ._fixed import FixedFormat
from ._genetic import Genetic
from ._greedy import Greedy
from ._greedy_trial import GreedyTrial
from ._local_enumeration import LocalEnumeration
from ._local_sampling import LocalSampling
from ._random import RandomSearch, RandomWalk
from ._sparse_diagonal import SparseDiagonal
from ._strategy import Strategy
from ._tree_search import TreeSearch

_STRATEGIES: dict[str, Any] = {
    "greedy": Greedy,
    "greedy-trial": GreedyTrial,
    "random-walk": RandomWalk,
    "random-search": RandomSearch,
    "local-enumeration": LocalEnumeration,
    "local-sampling": LocalSampling,
    "genetic": Genetic,
    "sparse-diagonal": SparseDiagonal,
    "fixed": FixedFormat,
    "tree": TreeSearch,
}


def strategies() -> tuple[str, ...]:
    """Names of all strategies, for `make_strategy` and the command line.

    Example:
        >>> from tnjax import strategies
        >>> strategies()[0]
        'greedy'
    """
    return tuple(_STRATEGIES)


def make_strategy(name: str, **options: Any) -> Strategy:
    """A strategy by its name.

    Args:
        name: one of `strategies()`.
        options: fields of the strategy; its defaults for the others.

    Raises:
        ValueError: for an unknown name, an option that the strategy does not have, or a value
            out of its range.

    Example:
        >>> from tnjax import make_strategy
        >>> make_strategy("greedy", power=0.0).power
        0.0
    """
    if name not in _STRATEGIES:
        raise ValueError(f"unknown strategy {name!r}; choose one of {', '.join(_STRATEGIES)}.")
    cls = _STRATEGIES[name]
    known = [field.name for field in dataclasses.fields(cls)]
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise ValueError(
            f"the strategy {name!r} has no option {', '.join(unknown)}; it has {', '.join(known)}."
        )
    return cls(**options)
