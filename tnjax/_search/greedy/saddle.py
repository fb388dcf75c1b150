"""Away from saddle points, where no bond gains anything although the network is not done.

Of a sum of product states that are orthogonal in three modes or more (ones at two corners of a
cube; an orthogonal CP decomposition), a network that has found some of the terms hides the others:
a candidate changes the cores of two nodes, and all other cores are orthogonal to what is left. All
gains are rounding then. A product term that is free in all modes, the leading one of the residual,
is what is missing: it is added as a rank of the hyperedge over all nodes.

Reference:
    Zhang and Golub, SIAM J. Matrix Anal. Appl. 23 (2001): deflation finds orthogonal terms.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from ... import _compile
from ..._network import TensorNetwork
from ..._structure import Edge
from ..._tuned import tuned
from ...moves import Grow
from ...moves.cores import pad
from ...problems import Problem
from ..fitting.evaluate import screen_batch_size, screen_program
from ..screening.candidates import balanced_slices, draw_slices, slice_position
from ..strategy import Budget, Info, MoveRecord
from .fits import Step, advance
from .options import Options
from .state import GreedyState


@dataclasses.dataclass(frozen=True)
class Saddle:
    """The way out of a saddle point between orthogonal terms.

    Attributes:
        starts: random starts of the leading term: alternating least squares may end at a smaller
            one.
    """

    starts: int = 4


SADDLE = tuned("saddle", Saddle())


def is_rounding(problem: Problem, state: GreedyState, gain: float) -> bool:
    """Whether a gain is rounding of the sums that it is a difference of."""
    eps = float(jnp.finfo(problem.dtype).eps)
    return gain <= eps * abs(problem.loss_of_error(state.error))


def left(options: Options, problem: Problem, state: GreedyState, budget: Budget) -> Step | None:
    """Grow by the leading product term of the residual; None where that gains nothing either, or
    is not allowed, or was a candidate anyway."""
    structure = state.structure
    edge: Edge = tuple(range(structure.num_nodes))
    if len(edge) < 3 or edge in structure.edges or options.edges is not None or problem.judges:
        return None
    if not options.hyperedges or options.forbidden(problem, structure, edge, budget) is not None:
        return None
    info, best, term = Info(), 0.0, ()
    network = TensorNetwork(state.capacity, pad(structure, state.cores, state.capacity))
    width = screen_batch_size(problem, state.capacity, 1)
    for turn in range(SADDLE().starts):
        seed = (*state.seed, turn)
        starts = draw_slices(structure, state.capacity, (edge,), problem.dtype, seed, increment=1)
        args = (problem, options.the_screen(), network, starts)
        work = 40 * problem.loop_entries(state.capacity)
        ran = _compile.run(screen_program, ((edge,), width), args, work=work, passes=20)
        screened = jax.device_get(ran.value)
        info = info + Info(None, ran.programs, ran.seconds)
        if screened.gain[0] > best:
            best, term = float(screened.gain[0]), screened.slices[0]
    if is_rounding(problem, state, best):
        return None
    slices = []
    for node, core in enumerate(term):
        where = slice_position(structure, state.capacity, node, edge)
        slices.append(np.asarray(core[0])[where])
    move = Grow(edge, 1, (tuple(balanced_slices(slices)),))
    structure, cores = move.apply(structure, state.cores)
    capacity = options.capacity(problem, structure)
    state = dataclasses.replace(
        state, structure=structure, cores=cores, capacity=capacity, seed=state.next_seed()
    )
    state, more, outcome = advance(options, problem, budget, state, MoveRecord("grow", edge, 1))
    return state, dataclasses.replace(info + more, move=more.move), outcome
