"""Solvers: the best cores for a fixed structure."""

from ._adjoint import Adjoint as Adjoint
from ._adjoint import Checkpointed as Checkpointed
from ._adjoint import Implicit as Implicit
from ._als import ALS as ALS
from ._fit import FitResult as FitResult
from ._fit import fit as fit
from ._from_disk import fit_from_disk as fit_from_disk
from ._gauss_newton import GaussNewton as GaussNewton
from ._influence import Influence as Influence
from ._influence import influence as influence
from ._levenberg import LevenbergMarquardt as LevenbergMarquardt
from ._minibatch import Minibatch as Minibatch
from ._prior_choice import PriorChoice as PriorChoice
from ._prior_choice import choose_prior as choose_prior
from ._run import Solution as Solution
from ._run import random_start as random_start
from ._run import run as run
from ._stream import fit_stream as fit_stream
from ._validate import CrossValidation as CrossValidation
from ._validate import RidgeChoice as RidgeChoice
from ._validate import choose_ridge as choose_ridge
from ._validate import cross_validate as cross_validate
from .gradients import Optax as Optax
from .limits import as_solver as as_solver
from .solver import Solver as Solver
