"""Strategies by name."""

import dataclasses
import importlib
import re
from typing import Any

from .greedy.greedy import Greedy
from .greedy.greedy_trial import GreedyTrial
from .strategies.fixed import FixedFormat
from .strategies.genetic import Genetic
from .strategies.local_enumeration import LocalEnumeration
from .strategies.local_sampling import LocalSampling
from .strategies.random import RandomSearch, RandomWalk
from .strategies.sparse_diagonal import SparseDiagonal
from .strategies.tree import TreeSearch
from .strategy import Strategy

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


def strategy_names() -> tuple[str, ...]:
    """Names of all strategies, for `make_strategy` and the command line.

    Returns:
        The names, those of registered strategies of your own last.

    Example:
        >>> from tnjax.strategies import strategy_names
        >>> strategy_names()[0]
        'greedy'
    """
    return tuple(_STRATEGIES)


def register_strategy(name: str, cls: type[Strategy]) -> type[Strategy]:
    """Give a strategy of your own a name, for `make_strategy` and `--strategy`.

    Args:
        name: lower case letters, digits and hyphens; not the name of another strategy.
        cls: a frozen dataclass that is a `Strategy`; its fields are its options.

    Returns:
        `cls`, so that a decorator can be made of it.

    Raises:
        ValueError: for a name that is taken or spelled otherwise, or a class that is none.

    Example:
        >>> import dataclasses
        >>> from tnjax.strategies import Greedy, make_strategy, register_strategy
        >>> @dataclasses.dataclass(frozen=True)
        ... class Careful(Greedy):
        ...     increment: int = 1
        ...     burst: float = 0.0
        >>> _ = register_strategy("careful", Careful)
        >>> make_strategy("careful").burst
        0.0
    """
    if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name):
        raise ValueError(
            f"register_strategy: a name has lower case letters, digits and hyphens, got {name!r}."
        )
    if not (isinstance(cls, type) and issubclass(cls, Strategy) and dataclasses.is_dataclass(cls)):
        raise ValueError(
            f"register_strategy: expected a dataclass that is a tnjax.Strategy, got {cls!r}."
        )
    known = _STRATEGIES.setdefault(name, cls)
    if (known.__module__, known.__qualname__) != (cls.__module__, cls.__qualname__):
        raise ValueError(f"register_strategy: {name!r} is the name of {known!r}; take another.")
    _STRATEGIES[name] = cls  # a module that is loaded again defines the same class anew
    return cls


def make_strategy(name: str, **options: Any) -> Strategy:
    """A strategy by its name.

    Args:
        name: one of `strategy_names()`, or `module:Class` for a class that Python can import.
        options: fields of the strategy; its defaults for the others.

    Returns:
        The strategy: a frozen dataclass.

    Raises:
        ValueError: for an unknown name, an option that the strategy does not have, or a value
            out of its range.

    Example:
        >>> from tnjax import make_strategy
        >>> make_strategy("greedy", power=0.0).power
        0.0
    """
    if ":" in name:
        cls: Any = _imported(name)
    elif name in _STRATEGIES:
        cls = _STRATEGIES[name]
    else:
        raise ValueError(
            f"unknown strategy {name!r}; choose one of {', '.join(_STRATEGIES)}, or name a class "
            "of yours as module:Class."
        )
    known = [field.name for field in dataclasses.fields(cls)]
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise ValueError(
            f"the strategy {name!r} has no option {', '.join(unknown)}; it has {', '.join(known)}."
        )
    return cls(**options)


def _imported(name: str) -> type[Strategy]:
    """The class that `module:Class` names."""
    module, _, qualified = name.partition(":")
    try:
        found: Any = importlib.import_module(module)
        for part in qualified.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"strategy {name!r}: it cannot be imported ({error}).") from error
    if not (isinstance(found, type) and issubclass(found, Strategy)):
        raise ValueError(f"strategy {name!r}: expected a tnjax.Strategy, got {found!r}.")
    if not dataclasses.is_dataclass(found):
        raise ValueError(f"strategy {name!r}: expected a dataclass, whose fields are its options.")
    return found
