"""One program per capacity: fit a structure, then screen all candidates."""

from collections.abc import Sequence
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from .. import _compile
from .._network import TensorNetwork
from .._structure import Edge, Structure
from ..objectives import Problem
from ..solve._solver import Limits, Solver, run
from ._candidates import draw_slices
from ._moves import Cores, pad, unpad
from ._screen import Screen, Screened

# Bytes that one screen may hold for its candidates before it works through them in chunks.
_SCREEN_BYTES = 2 * 1024**3


class Evaluation(eqx.Module):
    """A fitted network and its screened candidates."""

    network: TensorNetwork
    error: Float[Array, ""]
    status: Int[Array, ""]
    steps: Int[Array, ""]
    screened: Screened


class Evaluated(NamedTuple):
    """An evaluation on the host, cores in their own shapes.

    `screened` still has the shapes of `capacity`; its gains are all zero if the target was met.
    """

    cores: Cores
    error: float
    status: int
    screened: Screened
    programs: int
    compile_seconds: float


def evaluate(
    problem: Problem,
    solver: Solver,
    screen: Screen,
    structure: Structure,
    cores: Cores,
    capacity: Structure,
    edges: tuple[Edge, ...],
    *,
    limits: Limits,
    seed: Sequence[int],
    do_screen: bool,
    increment: int = 1,
) -> Evaluated:
    """Fit `cores` and, where wanted and the target is not met, screen `edges`."""
    network = TensorNetwork(capacity, pad(structure, cores, capacity))
    starts = draw_slices(structure, capacity, edges, problem.dtype, seed, increment=increment)
    args = (problem, solver, screen, network, limits, starts, np.asarray(do_screen))
    program = _compile.compiled(
        _evaluate,
        (edges, screen_batch_size(problem, capacity, len(edges))),
        args,
        tier=_compile.choose_tier(2 * solver.expected_passes * problem.work),
    )
    out: Evaluation = jax.device_get(program.call(*args))
    return Evaluated(
        unpad(structure, tuple(map(np.asarray, out.network.cores)), capacity),
        float(out.error),
        int(out.status),
        out.screened,
        program.programs,
        program.seconds,
    )


def _evaluate(
    edges: tuple[Edge, ...],
    batch_size: int,
    problem: Problem,
    solver: Solver,
    screen: Screen,
    network: TensorNetwork,
    limits: Limits,
    starts: tuple[Array, ...],
    do_screen: Bool[Array, ""],
) -> Evaluation:
    fitted = run(solver, problem, network, limits)

    def screened(_) -> Screened:
        return screen(problem, fitted.best, edges, starts, batch_size=batch_size)

    shapes = jax.eval_shape(screened, 0)
    nothing = lambda _: jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)
    wanted = do_screen & (fitted.best_error > limits.target_error)
    candidates = lax.cond(wanted, screened, nothing, 0)
    return Evaluation(fitted.best, fitted.best_error, fitted.status, fitted.steps, candidates)


def screen_batch_size(problem: Problem, structure: Structure, num_edges: int) -> int:
    """Candidates that fit into the screen's share of memory at once."""
    return max(1, min(num_edges, _SCREEN_BYTES // problem.fit_peak_bytes(structure)))
