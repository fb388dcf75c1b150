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
from ._contract.cost import Cost as Cost
from ._contract.cost import MemoryLimitError as MemoryLimitError
from ._contract.cost import contraction_cost as contraction_cost
from ._network import TensorNetwork as TensorNetwork
from ._network import relative_error as relative_error
from ._status import Status as Status
from ._structure import Structure as Structure
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
from .objectives import Bernoulli as Bernoulli
from .objectives import Completion as Completion
from .objectives import Decomposition as Decomposition
from .objectives import Huber as Huber
from .objectives import LeastSquares as LeastSquares
from .objectives import Objective as Objective
from .objectives import Poisson as Poisson
from .objectives import Problem as Problem
from .objectives import Squared as Squared
from .objectives import StreamedCompletion as StreamedCompletion
from .objectives import StreamedDecomposition as StreamedDecomposition
from .objectives import split_entries as split_entries
from .plot import draw as draw
from .plot import plot_pareto as plot_pareto
from .plot import plot_path as plot_path
from .report import load_result as load_result
from .report import report as report
from .search import Archive as Archive
from .search import Certificate as Certificate
from .search import CutBounds as CutBounds
from .search import FixedFormat as FixedFormat
from .search import Genetic as Genetic
from .search import Greedy as Greedy
from .search import GreedyTrial as GreedyTrial
from .search import LocalEnumeration as LocalEnumeration
from .search import LocalSampling as LocalSampling
from .search import Move as Move
from .search import RandomSearch as RandomSearch
from .search import RandomWalk as RandomWalk
from .search import Record as Record
from .search import Screen as Screen
from .search import SearchResult as SearchResult
from .search import SparseDiagonal as SparseDiagonal
from .search import Spectral as Spectral
from .search import Step as Step
from .search import Strategy as Strategy
from .search import TreeSearch as TreeSearch
from .search import Trial as Trial
from .search import cut_bounds as cut_bounds
from .search import hierarchical_tucker_svd as hierarchical_tucker_svd
from .search import inferred_graphs as inferred_graphs
from .search import make_strategy as make_strategy
from .search import search as search
from .search import strategies as strategies
from .search import tensor_train_svd as tensor_train_svd
from .search import tree_svd as tree_svd
from .search import tucker_svd as tucker_svd
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
