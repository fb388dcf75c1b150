"""Solvers: the best cores for a fixed structure."""

from ._als import ALS as ALS
from ._fit import FitResult as FitResult
from ._fit import fit as fit
from ._gauss_newton import GaussNewton as GaussNewton
from ._optax import Optax as Optax
from ._solver import Solver as Solver
