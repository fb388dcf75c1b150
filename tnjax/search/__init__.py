"""Structure search."""

from ._archive import Archive as Archive
from ._archive import Record as Record
from ._cuts import Certificate as Certificate
from ._cuts import CutBounds as CutBounds
from ._cuts import cut_bounds as cut_bounds
from ._fixed import FixedFormat as FixedFormat
from ._greedy import Greedy as Greedy
from ._greedy_trial import GreedyTrial as GreedyTrial
from ._registry import make_strategy as make_strategy
from ._registry import strategies as strategies
from ._result import SearchResult as SearchResult
from ._result import Step as Step
from ._screen import Screen as Screen
from ._screen import Spectral as Spectral
from ._screen import Trial as Trial
from ._search import search as search
from ._strategy import Move as Move
from ._strategy import Strategy as Strategy
from ._tree_search import TreeSearch as TreeSearch
from ._tree_svd import hierarchical_tucker_svd as hierarchical_tucker_svd
from ._tree_svd import tensor_train_svd as tensor_train_svd
from ._tree_svd import tree_svd as tree_svd
from ._tree_svd import tucker_svd as tucker_svd
