"""Strategies: how to search, and what one needs to write a strategy of one's own.

A strategy is a frozen dataclass with two pure functions, `init` and `step`, on a state that can be
written to disk; `refit` fits a structure from cores at hand, in the units that a strategy works in.
Strategies that look at a population of structures at a time fill in `AskTell` instead.
`register_strategy` gives one a name for `make_strategy`; the command line takes
`--strategy module:Class` as well.
"""

import sys
import types
import warnings

from ._search.fitting.refit import assess as assess
from ._search.fitting.refit import refit as refit
from ._search.greedy.greedy import Greedy as Greedy
from ._search.greedy.greedy_trial import GreedyTrial as GreedyTrial
from ._search.registry import make_strategy as make_strategy
from ._search.registry import register_strategy as register_strategy
from ._search.registry import strategy_names as strategy_names
from ._search.strategies.ask_tell import AskTell as AskTell
from ._search.strategies.ask_tell import Proposal as Proposal
from ._search.strategies.ask_tell import Scored as Scored
from ._search.strategies.ask_tell import View as View
from ._search.strategies.fixed import FixedFormat as FixedFormat
from ._search.strategies.genetic import Genetic as Genetic
from ._search.strategies.latent_tree import LatentTree as LatentTree
from ._search.strategies.local_enumeration import LocalEnumeration as LocalEnumeration
from ._search.strategies.local_sampling import LocalSampling as LocalSampling
from ._search.strategies.random import RandomSearch as RandomSearch
from ._search.strategies.random import RandomWalk as RandomWalk
from ._search.strategies.sparse_diagonal import SparseDiagonal as SparseDiagonal
from ._search.strategies.tree import TreeSearch as TreeSearch
from ._search.strategy import Budget as Budget
from ._search.strategy import Fit as Fit
from ._search.strategy import Info as Info
from ._search.strategy import MoveRecord as MoveRecord
from ._search.strategy import State as State
from ._search.strategy import Strategy as Strategy
from ._storable import storable as storable


class _CallableModule(types.ModuleType):
    """Version 0.1 had a function of this name."""

    def __call__(self) -> tuple[str, ...]:
        warnings.warn(
            "tnjax.strategies() is now tnjax.strategies.strategy_names().",
            DeprecationWarning,
            stacklevel=2,
        )
        return strategy_names()


sys.modules[__name__].__class__ = _CallableModule
