"""Learn a tensor network from data: the graph, the ranks and the cores together.

    >>> import jax, numpy as np, tnjax
    >>> planted = tnjax.Structure.tensor_train((5, 5, 5), 2)
    >>> tensor = tnjax.TensorNetwork.random(planted, key=jax.random.key(1)).to_dense()
    >>> result = tnjax.search(
    ...     tnjax.Decomposition(tensor), key=jax.random.key(0), target_error=1e-3
    ... )
    >>> result.structure
    Structure(dims=5x5x5, edges={0-1: 2, 1-2: 2}, params=40, compression=3.12x)

"Error" is always the unsquared relative Frobenius error, `num_params` counts core entries, and
`compression_ratio` is dense entries over parameters.
"""

from importlib.metadata import version as _version

from . import distributed as distributed
from . import log as log
from . import moves as moves
from . import problems as problems
from . import screens as screens
from . import solve as solve
from . import strategies as strategies
from ._network import TensorNetwork as TensorNetwork
from ._network import relative_error as relative_error
from ._report import load_result as load_result
from ._report import report as report
from ._search.archive import Archive as Archive
from ._search.archive import Record as Record
from ._search.greedy.greedy import Greedy as Greedy
from ._search.registry import make_strategy as make_strategy
from ._search.result import SearchResult as SearchResult
from ._search.result import Step as Step
from ._search.screening.screens import Screen as Screen
from ._search.screening.screens import Spectral as Spectral
from ._search.screening.screens import Trial as Trial
from ._search.search import search as search
from ._search.spectra.cuts import Certificate as Certificate
from ._search.spectra.cuts import CutBounds as CutBounds
from ._search.spectra.cuts import cut_bounds as cut_bounds
from ._search.spectra.graphs import inferred_graphs as inferred_graphs
from ._search.spectra.tree_svd import hierarchical_tucker_svd as hierarchical_tucker_svd
from ._search.spectra.tree_svd import tensor_train_svd as tensor_train_svd
from ._search.spectra.tree_svd import tree_svd as tree_svd
from ._search.spectra.tree_svd import tucker_svd as tucker_svd
from ._search.strategies.fixed import FixedFormat as FixedFormat
from ._search.strategies.genetic import Genetic as Genetic
from ._search.strategies.greedy_trial import GreedyTrial as GreedyTrial
from ._search.strategies.local_enumeration import LocalEnumeration as LocalEnumeration
from ._search.strategies.local_sampling import LocalSampling as LocalSampling
from ._search.strategies.random import RandomSearch as RandomSearch
from ._search.strategies.random import RandomWalk as RandomWalk
from ._search.strategies.sparse_diagonal import SparseDiagonal as SparseDiagonal
from ._search.strategies.tree import TreeSearch as TreeSearch
from ._search.strategy import Move as Move
from ._search.strategy import Strategy as Strategy
from ._status import Status as Status
from ._structure import Structure as Structure
from .contract.cost import Cost as Cost
from .contract.cost import MemoryLimitError as MemoryLimitError
from .contract.cost import contraction_cost as contraction_cost
from .distributed import make_mesh as make_mesh
from .io import from_einsum as from_einsum
from .io import from_quimb as from_quimb
from .io import from_tensorly as from_tensorly
from .io import load as load
from .io import load_metadata as load_metadata
from .io import save as save
from .io import to_einsum as to_einsum
from .io import to_quimb as to_quimb
from .io import to_tensorly as to_tensorly
from .nn import compress as compress
from .plot import draw as draw
from .plot import plot_pareto as plot_pareto
from .plot import plot_path as plot_path
from .problems import Bernoulli as Bernoulli
from .problems import Completion as Completion
from .problems import Decomposition as Decomposition
from .problems import Huber as Huber
from .problems import LeastSquares as LeastSquares
from .problems import Objective as Objective
from .problems import Poisson as Poisson
from .problems import Problem as Problem
from .problems import Squared as Squared
from .problems import StreamedCompletion as StreamedCompletion
from .problems import StreamedDecomposition as StreamedDecomposition
from .problems import split_entries as split_entries
from .solve import ALS as ALS
from .solve import CrossValidation as CrossValidation
from .solve import FitResult as FitResult
from .solve import GaussNewton as GaussNewton
from .solve import LevenbergMarquardt as LevenbergMarquardt
from .solve import Minibatch as Minibatch
from .solve import Optax as Optax
from .solve import RidgeChoice as RidgeChoice
from .solve import Solver as Solver
from .solve import choose_ridge as choose_ridge
from .solve import cross_validate as cross_validate
from .solve import fit as fit
from .solve import fit_from_disk as fit_from_disk
from .solve import fit_stream as fit_stream

__version__ = _version("tnjax")
