"""The network that a search begins with."""

import dataclasses

import numpy as np
from jaxtyping import PRNGKeyArray

from .._init import host_cores
from .._network import TensorNetwork, scaled
from .._status import Status
from .._structure import Structure
from .._tuned import tuned
from ..contract.cost import check_fit_memory
from ..problems import Problem
from ..solve import fit
from ..solve.limits import check_shape
from .setup import seed_of
from .spectra.cuts import cut_bounds
from .strategy import Budget


@dataclasses.dataclass(frozen=True)
class CutStart:
    """The start that the cut bounds propose.

    Attributes:
        starts: random starts of its structure: one in two or three ends in a swamp.
        steps: sweeps of each.
    """

    starts: int = 8
    steps: int = 60


CUT_START = tuned("cut_start", CutStart())


def first_network(
    problem: Problem,
    start: Structure | TensorNetwork | str | None,
    key: PRNGKeyArray,
    target_error: float | None,
) -> TensorNetwork:
    """The start that is meant, in units of the problem.

    Raises:
        ValueError: if it does not fit the problem, or there is no such start.
    """
    if isinstance(start, str):
        start = _from_cuts(problem, start, key, target_error)
    if start is None:
        known = problem.first_network()
        if known is not None:
            return known
        start = Structure.rank_one(problem.shape)
    if isinstance(start, TensorNetwork):
        check_shape(problem, start.structure)
        return scaled(start.astype(problem.dtype), 1 / problem.scale)
    check_shape(problem, start)
    cores = host_cores(start, np.random.default_rng(seed_of(key)), problem.dtype)
    return problem.prepared(TensorNetwork(start, cores))


def _from_cuts(
    problem: Problem, start: str, key: PRNGKeyArray, target_error: float | None
) -> TensorNetwork | None:
    """The smallest structure that the cut bounds allow, if it reaches the target from one of a
    few random starts; a network that does not is a bad place to grow from, better none."""
    if start != "cuts":
        raise ValueError(f'search: start must be a structure, a network or "cuts", got {start!r}.')
    able = problem.is_dense and target_error is not None and target_error < 1
    if not able:
        raise ValueError(
            'search: start="cuts" needs a Decomposition and a target_error below 1, whose cut '
            "bounds name the start."
        )
    assert target_error is not None
    bounds = cut_bounds(problem.dense_target, target_error)
    structure = bounds.certificate(dims=tuple(problem.counted_shape)).structure
    if structure is None:
        return None
    structure = dataclasses.replace(structure, dims=tuple(problem.shape))
    found = fit(
        problem,
        structure,
        key=key,
        target_error=target_error,
        num_starts=CUT_START().starts,
        max_steps=CUT_START().steps,
    )
    return found.network if found.error <= target_error else None


def check_budget(structure: Structure, problem: Problem, budget: Budget) -> None:
    """Raise `ValueError` unless a search may begin with a structure."""
    num_params = problem.num_params(structure)
    if budget.max_params is not None and num_params > budget.max_params:
        raise ValueError(
            f"search: the start has {num_params} parameters, more than "
            f"max_params={budget.max_params}. Raise the limit; no smaller network spans these "
            "modes."
        )
    check_fit_memory(structure, problem.fit_peak_bytes, budget.memory_limit)
    if budget.forbids(problem, structure) is Status.MAX_FLOPS:
        raise ValueError(
            f"search: contracting the start costs {problem.flops(structure)} flops, more "
            f"than max_flops={budget.max_flops}. Raise the limit, or give another start."
        )
