"""What a search returns if it is stopped in the middle of a step."""

import dataclasses
from collections.abc import Iterable

import jax
import numpy as np
from jaxtyping import PRNGKeyArray

from .. import _interrupt
from .._network import TensorNetwork
from .._status import Status
from .._structure import Structure
from ..contract.host import dense_slab
from ..problems import Problem, StreamedDecomposition
from .archive import Archive
from .fitting.refit import assess
from .reduce.core import host_error
from .result import SearchResult, Step
from .strategy import Budget, Fit, MoveRecord


def better_of(problem: Problem, budget: Budget, fits: Iterable[Fit]) -> Fit | None:
    """The best of the fits: the first one, or another one within the budget that meets the target
    with fewer parameters. As long as none meets the target, the lowest error wins."""
    # They are there, so the memory of a fit does not matter.
    budget, best = dataclasses.replace(budget, memory_limit=None), None
    for fit in fits:
        allowed = best is None or budget.forbids(problem, fit.structure) is None
        if (
            allowed
            and np.isfinite(fit.error)
            and (best is None or _better(problem, budget, fit, best))
        ):
            best = fit
    return best


def _better(problem: Problem, budget: Budget, a: Fit, b: Fit) -> bool:
    if not budget.meets(b.error):
        return a.error < b.error
    fewer = problem.num_params(a.structure) < problem.num_params(b.structure)
    return budget.meets(a.error) and fewer


def tensor_itself(problem: Problem, budget: Budget) -> Fit | None:
    """The tensor as a network of one core, if the budget allows it."""
    structure = Structure(problem.shape, (tuple(range(len(problem.shape))),), {})
    with _interrupt.suspended():
        if budget.forbids(problem, structure) is not None:
            return None
        tensor = problem.dense_target
        error = host_error(problem, TensorNetwork(structure, [tensor]))
    return Fit(structure, (tensor,), error)


def start_as_it_is(problem: Problem, network: TensorNetwork) -> Fit:
    """The start and its error, of which nothing has been fitted; of a dense tensor at its best
    multiple, so that the error is at most one."""
    cores = tuple(map(np.asarray, network.cores))
    with _interrupt.suspended():
        if problem.is_dense:  # needs no program
            factor = _best_factor(problem, network.structure, cores)
            cores = ((cores[0] * factor).astype(cores[0].dtype), *cores[1:])
            network = TensorNetwork(network.structure, cores)
            return Fit(network.structure, cores, host_error(problem, network))
        return assess(problem, network.structure, cores)[0]


def _best_factor(problem: Problem, structure: Structure, cores) -> complex | float:
    """The number that brings a network, times it, closest to the tensor."""
    if problem.nonnegative:
        return 1.0
    target, inner, square = problem.dense_target, np.zeros((), problem.dtype), 0.0
    for row in range(target.shape[0]):
        guess = dense_slab(structure, cores, {0: slice(row, row + 1)})
        inner = inner + np.vdot(guess, target[row : row + 1])
        square += float(np.vdot(guess, guess).real)
    return (inner / square).item() if square > 0 else 1.0


def without_network(
    problem: StreamedDecomposition, status: Status, seconds: float, key: PRNGKeyArray
) -> SearchResult:
    """The zero network, of error one, of a tensor that was not even read to its end."""
    structure = Structure.rank_one(problem.shape)
    shapes = map(structure.core_shape, range(structure.num_nodes))
    network = TensorNetwork(structure, [np.zeros(shape, problem.dtype) for shape in shapes])
    step = Step(MoveRecord("start"), structure, structure.num_params, 1.0, seconds, 0.0, 0)
    seed = tuple(int(word) for word in np.asarray(jax.random.key_data(key)).ravel())
    return SearchResult(network, 1.0, (step,), status, Archive(), 0, seconds, 0.0, seed)
