"""Tensors of many modes that are trains: said by truncated singular value decompositions.

With more modes than graphs are inferred of, growth has hundreds of bonds to choose from, and makes
a program for each of its moves. Where the tensor is a train in the order of its modes, up to
rounding, that is known within seconds.
"""

import dataclasses

import numpy as np

from ... import _interrupt
from ..._network import TensorNetwork
from ..._structure import Structure
from ..._tuned import tuned
from ...problems import Problem
from ..reduce.core import host_error
from ..spectra.graphs import GRAPHS
from ..spectra.tree_svd import tensor_train_svd
from ..spectra.unfoldings import Unfoldings
from ..strategy import Budget, Fit
from .options import Options


@dataclasses.dataclass(frozen=True)
class Trains:
    """Tensors of many modes that may be trains.

    Attributes:
        most_rank: rank of the middle unfolding up to which there may be a train.
        small: its parameters as a part of the entries.
        same: its parameters at a hundredth of the error are at most so many times as many, if it
            has ranks.
    """

    most_rank: int = 32
    small: float = 0.02
    same: float = 1.2


TRAINS = tuned("trains", Trains())


def found(options: Options, problem: Problem, start: Structure, budget: Budget) -> Fit | None:
    """The train that meets the target, where the tensor has more modes than `Infer` looks at and
    its ranks are those of a train."""
    target, order = budget.target_error, len(problem.shape)
    plain = start == Structure.rank_one(start.dims) and options.edges is None and options.infer
    if not plain or not problem.is_dense or problem.nonnegative:
        return None
    if order <= GRAPHS().most_modes or target is None or not 0 < target < 1:
        return None
    tensor = problem.dense_target
    half = Unfoldings(tensor, target).spectrum(range(order // 2))
    if half.rank(target) > TRAINS().most_rank:
        return None
    network = tensor_train_svd(tensor, target / 2)
    if problem.num_params(network.structure) > TRAINS().small * tensor.size:
        return None
    closer = tensor_train_svd(tensor, target / 100)
    params = problem.num_params(network.structure)
    if problem.num_params(closer.structure) > TRAINS().same * params:
        return None
    allowed = (
        options.max_rank is None or max(network.structure.ranks, default=1) <= options.max_rank
    )
    if not allowed or budget.forbids(problem, network.structure) is not None:
        return None
    cores = tuple(np.asarray(core, problem.dtype) for core in network.cores)
    error = host_error(problem, TensorNetwork(network.structure, cores))
    fit = Fit(network.structure, cores, error)
    _interrupt.note(problem, fit)
    return fit if budget.meets(fit.error) else None
