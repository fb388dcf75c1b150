"""Determined fits of several structures: many starts of each together, the smallest to succeed
ends it."""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Int

from ... import _compile, _mesh
from ..._init import host_cores
from ..._network import TensorNetwork
from ..._status import Status
from ..._structure import Structure
from ...moves.cores import Cores, pad, unpad
from ...problems import Problem
from ...solve._solver import FitState, Limits, Solver, drive, start
from ..screening.candidates import stacked
from ..strategy import Fit

# Steps of all starts between two looks which of them have reached the target.
_CHUNK = 4
# Owner of lanes that only make their number divide.
_NOBODY = np.iinfo(np.int32).max
# Noise on a warm start, relative to each core: slices that are zero are a saddle.
_NOISE = 0.02


class Attempt(NamedTuple):
    """The best start of each structure, cores in their own shapes."""

    fits: tuple[Fit, ...]
    programs: int
    compile_seconds: float


def attempt(
    problem: Problem,
    solver: Solver,
    tries: Sequence[tuple[Structure, Cores | None]],
    capacity: Structure,
    *,
    limits: Limits,
    lanes: int,
    seed: Sequence[int],
) -> Attempt:
    """Fit structures from several starts each under `vmap`, until one of them has reached the
    target and none before it may still do so.

    Args:
        tries: structures with cores for the first start of each; all starts are random without.
        capacity: shapes that the program is compiled for.
        lanes: starts of all structures together, dealt out in turn.
        seed: of the random starts, the same ones for the same structure and seed.
    """
    owners = np.arange(max(lanes, len(tries)), dtype=np.int32) % len(tries)
    generators = [np.random.default_rng([*seed, *structure.ranks]) for structure, _ in tries]
    starts = []
    for lane, owner in enumerate(owners.tolist()):
        (structure, warm), rng = tries[owner], generators[owner]
        if lane < len(tries) and warm is not None:
            cores = tuple(_shaken(core, rng) for core in warm)
        else:
            cores = host_cores(structure, rng, problem.dtype)
        starts.append(pad(structure, cores, capacity))
    lanes = _mesh.rounded_up(len(owners), _mesh.size(problem.mesh, _mesh.CANDIDATES))
    cores = _mesh.filled_up([np.stack(parts) for parts in zip(*starts, strict=True)], lanes)
    nobody = np.full(lanes - len(owners), _NOBODY, owners.dtype)
    args = (problem, solver, stacked(capacity, cores), np.append(owners, nobody), limits)
    work = len(owners) * solver.expected_passes * problem.work
    ran = _compile.run(_attempt, (), args, work=work, passes=solver.expected_passes)
    found, errors = jax.device_get(ran.value)
    fits = []
    for owner, (structure, _) in enumerate(tries):
        own = np.flatnonzero(owners == owner)
        lane = own[np.argmin(errors[own])]
        cores = unpad(structure, tuple(core[lane] for core in found.cores), capacity)
        fits.append(Fit(structure, cores, float(errors[lane])))
    return Attempt(tuple(fits), ran.programs, ran.seconds)


def _shaken(core, rng: np.random.Generator) -> np.ndarray:
    core = np.asarray(core)
    noise = rng.standard_normal(core.shape)
    if np.iscomplexobj(core):
        noise = (noise + 1j * rng.standard_normal(core.shape)) / np.sqrt(2)
    size = np.sqrt(np.mean(np.abs(core) ** 2))
    return (core + _NOISE * size * noise).astype(core.dtype)


def _attempt(
    problem: Problem,
    solver: Solver,
    networks: TensorNetwork,
    owners: Int[Array, " lanes"],
    limits: Limits,
):
    vmap = functools.partial(_mesh.vmapped, mesh=problem.mesh)
    states = vmap(lambda network: start(solver, problem, network))(networks)

    def going(carry):
        states, steps = carry
        open_ = (states.status == Status.RUNNING.code) | (states.status == Status.MAX_STEPS.code)
        reached = states.best_error <= limits.target_error
        first = jnp.min(jnp.where(reached, owners, _NOBODY))
        return (steps < limits.max_steps) & (open_ & (owners < first)).any()

    def advance(carry):
        states, steps = carry
        steps = jnp.minimum(steps + _CHUNK, limits.max_steps)
        chunk = Limits(limits.target_error, steps, limits.rtol, limits.patience, limits.give_up)
        return vmap(lambda state: drive(solver, problem, state, chunk))(states), steps

    states: FitState
    states, _ = lax.while_loop(going, advance, (states, jnp.zeros((), jnp.int32)))
    return states.best, states.best_error
