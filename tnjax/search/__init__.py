"""Structure search."""

from ._greedy import Greedy as Greedy
from ._result import Move as Move
from ._result import SearchResult as SearchResult
from ._result import Step as Step
from ._screen import Screen as Screen
from ._screen import Spectral as Spectral
from ._screen import Trial as Trial
from ._search import search as search
