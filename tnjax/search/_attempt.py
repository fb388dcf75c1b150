"""A determined fit of one structure: several starts together, the first to succeed ends it."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from .. import _compile
from .._init import host_cores
from .._network import TensorNetwork
from .._status import Status
from .._structure import Structure
from ..objectives import Problem
from ..solve._solver import FitState, Limits, Solver, drive, start
from ._candidates import stacked
from ._moves import Cores, pad, unpad

# Steps of all starts between two looks whether one of them has reached the target.
_CHUNK = 4
# Noise on a warm start, relative to each core: slices that are zero are a saddle.
_NOISE = 0.02


class Attempt(NamedTuple):
    """The best of the starts, cores in their own shapes."""

    cores: Cores
    error: float
    programs: int
    compile_seconds: float


def attempt(
    problem: Problem,
    solver: Solver,
    structure: Structure,
    warm: Cores | None,
    capacity: Structure,
    *,
    limits: Limits,
    num_starts: int,
    seed: Sequence[int],
) -> Attempt:
    """Fit a structure from `num_starts` starts under `vmap`, until one reaches the target.

    Args:
        warm: cores of the first start; all are random without them.
        capacity: shapes that the program is compiled for.
        seed: of the random starts, the same ones for the same structure and seed.
    """
    rng = np.random.default_rng([*seed, *structure.ranks])
    starts = []
    for number in range(num_starts):
        if number == 0 and warm is not None:
            cores = [_shaken(core, rng) for core in warm]
        else:
            cores = list(host_cores(structure, rng, problem.dtype))
        starts.append(pad(structure, tuple(cores), capacity))
    networks = stacked(capacity, [np.stack(parts) for parts in zip(*starts, strict=True)])
    args = (problem, solver, networks, limits)
    tier = _compile.choose_tier(num_starts * solver.expected_passes * problem.work)
    program = _compile.compiled(_attempt, (), args, tier=tier)
    network, error = jax.device_get(program.call(*args))
    cores = unpad(structure, tuple(map(np.asarray, network.cores)), capacity)
    return Attempt(cores, float(error), program.programs, program.seconds)


def _shaken(core, rng: np.random.Generator) -> np.ndarray:
    core = np.asarray(core)
    noise = rng.standard_normal(core.shape)
    if np.iscomplexobj(core):
        noise = (noise + 1j * rng.standard_normal(core.shape)) / np.sqrt(2)
    size = np.sqrt(np.mean(np.abs(core) ** 2))
    return (core + _NOISE * size * noise).astype(core.dtype)


def _attempt(problem: Problem, solver: Solver, networks: TensorNetwork, limits: Limits):
    states = jax.vmap(lambda network: start(solver, problem, network))(networks)

    def going(carry):
        states, steps = carry
        open_ = (states.status == Status.RUNNING.code) | (states.status == Status.MAX_STEPS.code)
        reached = states.best_error <= limits.target_error
        return (steps < limits.max_steps) & open_.any() & ~reached.any()

    def advance(carry):
        states, steps = carry
        steps = jnp.minimum(steps + _CHUNK, limits.max_steps)
        chunk = Limits(limits.target_error, steps, limits.rtol, limits.patience, limits.give_up)
        return jax.vmap(lambda state: drive(solver, problem, state, chunk))(states), steps

    states: FitState
    states, _ = lax.while_loop(going, advance, (states, jnp.zeros((), jnp.int32)))
    best = jnp.argmin(states.best_error)
    pick = lambda leaf: lax.dynamic_index_in_dim(leaf, best, keepdims=False)
    return jax.tree.map(pick, states.best), states.best_error[best]
