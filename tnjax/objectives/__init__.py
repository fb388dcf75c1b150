"""Problems: what a network should represent, as a loss with its derivatives."""

from ._base import LeastSquares as LeastSquares
from ._base import Problem as Problem
from ._custom import NetworkSum as NetworkSum
from ._custom import Objective as Objective
from ._decomposition import Decomposition as Decomposition
