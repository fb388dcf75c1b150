"""What the data say once the target is met: bounds that spare tries, and the best tree."""

import dataclasses
import math

import numpy as np

from ..._tuned import tuned
from ...contract.host import dense_slab
from ...problems import Problem
from ...problems.streamed import squared_norm
from ..spectra.cuts import CUTS, CutBounds, bounds_of
from ..spectra.trees import best_trees
from ..spectra.unfoldings import Unfoldings
from ..strategy import Budget
from .options import Options
from .state import GreedyState


@dataclasses.dataclass(frozen=True)
class Measuring:
    """What the data say about every network.

    Attributes:
        definite: data have ranks if this part of them is left at twice the error (see
            `CutBounds.definite`): planted ones 0.84 and more, images at errors of 0.1 and more 0.68
            and less. On the rest neither graphs are inferred nor other structures tried than the
            one that grew, which never were better.
        measured: multiplications that measuring the unfoldings may take, for the bounds that spare
            tries: some five seconds.
        tree_modes: modes up to which the best tree is looked for: all sets of them are its parts.
        most_cells: cells of a completed tensor that is made to be measured.
    """

    definite: float = 0.8
    measured: float = 5e10
    tree_modes: int = 8
    most_cells: int = 10**7


MEASURING = tuned("measuring", Measuring())


def measured(options: Options, problem: Problem, state: GreedyState, budget: Budget) -> GreedyState:
    """The state with what the data tell, asked once; tidying begins."""
    state = dataclasses.replace(state, firm=())
    target = budget.target_error
    if state.measured or target is None or options.effort == "quick":
        return state
    state = dataclasses.replace(state, measured=True)
    # Of many modes not all cuts can be measured, and what some of them tell spares few tries.
    if problem.is_dense and 0 < target < 1 and len(problem.shape) <= CUTS().all_cuts_order:
        unfoldings = Unfoldings(problem.dense_target, target)
        cuts = state.cuts or bounds_of(unfoldings, target, max_work=MEASURING().measured)
        state = dataclasses.replace(state, cuts=cuts)
        if (
            state.tree is None
            and cuts.complete
            and len(problem.shape) <= MEASURING().tree_modes
            and options.internal
        ):
            grown = problem.num_params(state.structure)
            dims = problem.counted_shape
            for found in best_trees(unfoldings, target, count=1, dims=dims, below=grown):
                state = dataclasses.replace(state, tree=found.tree.structure(found.ranks))
    elif problem.sampled is not None:
        state = dataclasses.replace(state, cuts=_found_cuts(problem, state, target))
    return state


def _found_cuts(problem: Problem, state: GreedyState, target: float) -> CutBounds | None:
    """Bounds from the tensor of the network found, where only some entries of the data are known.
    Two tensors within the target error of the data are within twice that error of each other. None
    where these bounds say little."""
    if math.prod(problem.shape) > MEASURING().most_cells:
        return None
    tensor = dense_slab(state.structure, [np.asarray(core) for core in state.cores], {})
    size = math.sqrt(squared_norm(tensor) / tensor.size)  # the target is in units of the problem
    error = 2 * math.sqrt(problem.loss_of_error(target)) / size
    if not 0 < error < 1:
        return None
    cuts = bounds_of(Unfoldings(tensor, error), error, max_work=MEASURING().measured)
    return cuts if cuts.definite >= MEASURING().definite else None
