"""Determined fits of several structures: many starts of each together, the smallest to succeed
ends it."""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Int

from ... import _interrupt, _mesh
from ..._init import host_cores
from ..._network import TensorNetwork
from ..._status import Status
from ..._structure import Structure
from ..._tuned import tuned
from ...moves.cores import Cores, pad, unpad
from ...problems import Problem
from ...solve.programs import Loop, run_loop
from ...solve.solver import FitState, Limits, Solver, drive, start
from ..screening.candidates import stacked
from ..strategy import Fit
from .work import attempt_work


@dataclasses.dataclass(frozen=True)
class Races:
    """Several starts of several structures in one program.

    Attributes:
        chunk: steps of all starts between two looks which of them have reached the target.
        noise: noise on a warm start, relative to each core: slices that are zero are a saddle.
    """

    chunk: int = 4
    noise: float = 0.02


RACES = tuned("races", Races(), traced=True)

# Owner of lanes that only make their number divide.
_NOBODY = np.iinfo(np.int32).max


class Attempt(NamedTuple):
    """The best start of each structure, cores in their own shapes."""

    fits: tuple[Fit, ...]
    programs: int
    compile_seconds: float
    work: float


def attempt(
    problem: Problem,
    solver: Solver,
    tries: Sequence[tuple[Structure, Cores | None]],
    capacity: Structure,
    *,
    limits: Limits,
    lanes: int,
    seed: Sequence[int],
    step_flops: float,
) -> Attempt:
    """Fit structures from several starts each under `vmap`, until one of them has reached the
    target and none before it may still do so.

    Args:
        tries: structures with cores for the first start of each; all starts are random without.
        capacity: shapes that the program is compiled for.
        lanes: starts of all structures together, dealt out in turn.
        seed: of the random starts, the same ones for the same structure and seed.
        step_flops: of a step of one start, by a forecast.
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
            if len(tries) == 1:  # for many structures it would take longer than the attempt
                cores = problem.prepared(TensorNetwork.unchecked(structure, cores)).cores
                _interrupt.checkpoint()
        starts.append(pad(structure, cores, capacity))
    lanes = _mesh.rounded_up(len(owners), _mesh.size(problem.mesh, _mesh.CANDIDATES))
    cores = _mesh.filled_up([np.stack(parts) for parts in zip(*starts, strict=True)], lanes)
    nobody = np.full(lanes - len(owners), _NOBODY, owners.dtype)
    owners_all = np.append(owners, nobody)
    still = lambda states: bool(_open(states, owners_all, limits).any())
    ran = run_loop(
        Loop(_attempt, _begin, _advance, running=still, chunk=RACES().chunk),
        (problem, solver, owners_all),
        stacked(capacity, cores),
        limits,
        work=len(owners) * solver.expected_passes * problem.work,
        passes=solver.expected_passes,
        step_flops=lanes * step_flops,
    )
    found, errors, steps = jax.device_get(ran.value)
    fits = []
    for owner, (structure, _) in enumerate(tries):
        own = np.flatnonzero(owners == owner)
        lane = own[np.argmin(errors[own])]
        cores = unpad(structure, tuple(core[lane] for core in found.cores), capacity)
        fits.append(Fit(structure, cores, float(errors[lane])))
        _interrupt.note(problem, fits[-1])
    _interrupt.checkpoint()
    made = attempt_work(capacity, step_flops, int(np.sum(steps)))
    return Attempt(tuple(fits), ran.programs, ran.seconds, made)


def _shaken(core, rng: np.random.Generator) -> np.ndarray:
    core = np.asarray(core)
    noise = rng.standard_normal(core.shape)
    if np.iscomplexobj(core):
        noise = (noise + 1j * rng.standard_normal(core.shape)) / np.sqrt(2)
    size = np.sqrt(np.mean(np.abs(core) ** 2))
    return (core + RACES().noise * size * noise).astype(core.dtype)


def _attempt(
    problem: Problem,
    solver: Solver,
    owners: Int[Array, " lanes"],
    networks: TensorNetwork,
    limits: Limits,
):
    states = _begin(problem, solver, owners, networks)
    states = _advance(problem, solver, owners, states, limits, limits.max_steps)
    return states.best, states.best_error, states.steps


def _begin(
    problem: Problem, solver: Solver, owners: Int[Array, " lanes"], networks: TensorNetwork
) -> FitState:
    one = lambda network: start(solver, problem, network)
    return _mesh.vmapped(one, problem.mesh)(networks)


def _advance(
    problem: Problem,
    solver: Solver,
    owners: Int[Array, " lanes"],
    states: FitState,
    limits: Limits,
    pause: Int[Array | np.ndarray, ""],
) -> FitState:
    """All lanes by some steps at a time, until `pause` steps are made or no lane may be first."""

    def going(carry):
        states, steps = carry
        return (steps < pause) & _open(states, owners, limits).any()

    def advance(carry):
        states, steps = carry
        steps = jnp.minimum(steps + RACES().chunk, limits.max_steps)
        chunk = Limits(limits.target_error, steps, limits.rtol, limits.patience, limits.give_up)
        one = lambda state: drive(solver, problem, state, chunk)
        return _mesh.vmapped(one, problem.mesh)(states), steps

    # All lanes have made a multiple of the chunk, or they are done.
    first = jnp.max(states.steps)
    return lax.while_loop(going, advance, (states, first))[0]


def _open(states: FitState, owners, limits: Limits):
    """Lanes that may still reach the target, none before them having done so."""
    going = (states.status == Status.RUNNING.code) | (states.status == Status.MAX_STEPS.code)
    reached = states.best_error <= limits.target_error
    first = jnp.min(jnp.where(reached, owners, _NOBODY))
    return going & (owners < first)
