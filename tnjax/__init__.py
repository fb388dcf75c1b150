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

import importlib
import warnings
from typing import TYPE_CHECKING, Any

from . import _display

if TYPE_CHECKING:  # the names for people and type checkers; `_HOMES` has them for Python
    from . import constants as constants
    from . import contract as contract
    from . import distributed as distributed
    from . import dynamics as dynamics
    from . import features as features
    from . import io as io
    from . import lattice as lattice
    from . import log as log
    from . import moves as moves
    from . import nn as nn
    from . import objectives as objectives
    from . import operators as operators
    from . import plot as plot
    from . import problems as problems
    from . import screens as screens
    from . import solve as solve
    from . import strategies as strategies
    from . import sweep as sweep
    from ._failed import Failed as Failed
    from ._limits import Limits as Limits
    from ._network import TensorNetwork as TensorNetwork
    from ._network import relative_error as relative_error
    from ._report import load_result as load_result
    from ._report import report as report
    from ._search.archive import Archive as Archive
    from ._search.archive import Record as Record
    from ._search.by_hand import SearchState as SearchState
    from ._search.by_hand import init as init
    from ._search.by_hand import step as step
    from ._search.greedy.greedy import Greedy as Greedy
    from ._search.greedy.greedy_trial import GreedyTrial as GreedyTrial
    from ._search.registry import make_strategy as make_strategy
    from ._search.result import Held as Held
    from ._search.result import Progress as Progress
    from ._search.result import SearchResult as SearchResult
    from ._search.result import Step as Step
    from ._search.screening.screens import Screen as Screen
    from ._search.screening.screens import Spectral as Spectral
    from ._search.screening.screens import Trial as Trial
    from ._search.search import search as search
    from ._search.setup import Setup as Setup
    from ._search.spectra.cuts import Certificate as Certificate
    from ._search.spectra.cuts import CutBounds as CutBounds
    from ._search.spectra.cuts import cut_bounds as cut_bounds
    from ._search.spectra.graphs import inferred_graphs as inferred_graphs
    from ._search.spectra.tree_svd import hierarchical_tucker_svd as hierarchical_tucker_svd
    from ._search.spectra.tree_svd import tensor_train_svd as tensor_train_svd
    from ._search.spectra.tree_svd import tree_svd as tree_svd
    from ._search.spectra.tree_svd import tucker_svd as tucker_svd
    from ._search.stability import Stability as Stability
    from ._search.stability import stability as stability
    from ._search.strategies.fixed import FixedFormat as FixedFormat
    from ._search.strategies.genetic import Genetic as Genetic
    from ._search.strategies.latent_tree import LatentTree as LatentTree
    from ._search.strategies.local_enumeration import LocalEnumeration as LocalEnumeration
    from ._search.strategies.local_sampling import LocalSampling as LocalSampling
    from ._search.strategies.random import RandomSearch as RandomSearch
    from ._search.strategies.random import RandomWalk as RandomWalk
    from ._search.strategies.sparse_diagonal import SparseDiagonal as SparseDiagonal
    from ._search.strategies.tree import TreeSearch as TreeSearch
    from ._search.strategy import MoveRecord as MoveRecord
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
    from .problems import Density as Density
    from .problems import DensityModel as DensityModel
    from .problems import Huber as Huber
    from .problems import LeastSquares as LeastSquares
    from .problems import Objective as Objective
    from .problems import Poisson as Poisson
    from .problems import Problem as Problem
    from .problems import Squared as Squared
    from .problems import StreamedCompletion as StreamedCompletion
    from .problems import StreamedDecomposition as StreamedDecomposition
    from .problems import Supervised as Supervised
    from .problems import SupervisedModel as SupervisedModel
    from .problems import Tied as Tied
    from .problems import held_out_like as held_out_like
    from .problems import split_entries as split_entries
    from .solve import ALS as ALS
    from .solve import EM as EM
    from .solve import CrossValidation as CrossValidation
    from .solve import FitResult as FitResult
    from .solve import GaussNewton as GaussNewton
    from .solve import LatentDimension as LatentDimension
    from .solve import LatentFit as LatentFit
    from .solve import LevenbergMarquardt as LevenbergMarquardt
    from .solve import Minibatch as Minibatch
    from .solve import Optax as Optax
    from .solve import PriorChoice as PriorChoice
    from .solve import RidgeChoice as RidgeChoice
    from .solve import Solver as Solver
    from .solve import choose_prior as choose_prior
    from .solve import choose_ridge as choose_ridge
    from .solve import cross_validate as cross_validate
    from .solve import fit as fit
    from .solve import fit_from_disk as fit_from_disk
    from .solve import fit_stream as fit_stream
    from .solve import influence as influence
    from .solve import latent_dimension as latent_dimension

    __version__: str

# The packages and names of this module are imported when they are first asked for, so that nobody
# waits for what he does not use: `tnjax --help` needs no JAX, and a search no neural networks.
_PACKAGES = (
    "constants",
    "contract",
    "distributed",
    "dynamics",
    "features",
    "io",
    "lattice",
    "log",
    "moves",
    "nn",
    "objectives",
    "operators",
    "plot",
    "problems",
    "screens",
    "solve",
    "strategies",
    "sweep",
)
_HOMES = {
    "._failed": "Failed",
    "._limits": "Limits",
    "._network": "TensorNetwork relative_error",
    "._report": "load_result report",
    "._search.archive": "Archive Record",
    "._search.by_hand": "SearchState init step",
    "._search.greedy.greedy": "Greedy",
    "._search.registry": "make_strategy",
    "._search.result": "Held Progress SearchResult Step",
    "._search.screening.screens": "Screen Spectral Trial",
    "._search.search": "search",
    "._search.setup": "Setup",
    "._search.spectra.cuts": "Certificate CutBounds cut_bounds",
    "._search.spectra.graphs": "inferred_graphs",
    "._search.spectra.tree_svd": "hierarchical_tucker_svd tensor_train_svd tree_svd tucker_svd",
    "._search.stability": "Stability stability",
    "._search.strategies.fixed": "FixedFormat",
    "._search.strategies.genetic": "Genetic",
    "._search.greedy.greedy_trial": "GreedyTrial",
    "._search.strategies.latent_tree": "LatentTree",
    "._search.strategies.local_enumeration": "LocalEnumeration",
    "._search.strategies.local_sampling": "LocalSampling",
    "._search.strategies.random": "RandomSearch RandomWalk",
    "._search.strategies.sparse_diagonal": "SparseDiagonal",
    "._search.strategies.tree": "TreeSearch",
    "._search.strategy": "MoveRecord Strategy",
    "._status": "Status",
    "._structure": "Structure",
    ".contract.cost": "Cost MemoryLimitError contraction_cost",
    ".distributed": "make_mesh",
    ".io": (
        "from_einsum from_quimb from_tensorly load load_metadata save to_einsum to_quimb "
        "to_tensorly"
    ),
    ".nn": "compress",
    ".plot": "draw plot_pareto plot_path",
    ".problems": (
        "Bernoulli Completion Decomposition Density DensityModel Huber LeastSquares Objective "
        "Poisson Problem Squared StreamedCompletion StreamedDecomposition Supervised "
        "SupervisedModel Tied held_out_like split_entries"
    ),
    ".solve": (
        "ALS EM CrossValidation FitResult GaussNewton LatentDimension LatentFit "
        "LevenbergMarquardt Minibatch Optax PriorChoice RidgeChoice Solver choose_prior "
        "choose_ridge cross_validate fit fit_from_disk fit_stream influence latent_dimension"
    ),
}
# Names of version 0.1, and what they are now.
_RENAMED = {"Move": "MoveRecord"}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        value: Any = version("tnjax")
    elif name in _HOME_OF:
        value = getattr(importlib.import_module(_HOME_OF[name], __name__), name)
    elif name in _RENAMED:
        new = _RENAMED[name]
        text = f"tnjax.{name} is now called tnjax.{new}; the old name goes after version 0.2."
        warnings.warn(text, DeprecationWarning, stacklevel=2)
        return __getattr__(new)
    elif name in _PACKAGES:
        value = importlib.import_module(f".{name}", __name__)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value  # the next time it is there
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME_OF, *_PACKAGES, "__version__"})


if not TYPE_CHECKING:
    __all__ = sorted([*_HOME_OF, *_PACKAGES])


_display.set_up(lambda: importlib.import_module(".plot", __name__))
