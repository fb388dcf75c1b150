"""A population of different structures, fitted together.

Structures with the same nodes are padded with zeros to the shapes of a common capacity, which
every solver leaves zero, and fitted in one program under `vmap`. Padding costs multiplications
and a program costs a compilation: a forecast of both decides which structures share a capacity.
Capacities are kept from one population to the next, so that a search soon compiles nothing; they
are part of the state of a search, so that a resumed one makes the same choices.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import numpy as np

from ... import _interrupt, _mesh
from ..._storable import storable
from ..._structure import Structure, as_edge
from ..._tuned import tuned
from ...moves.cores import Cores, pad, shrunk, unpad
from ...problems import Problem
from ...solve.programs import fitted_together
from ...solve.solver import Limits, Solver
from ..screening.candidates import stacked
from ..strategy import Fit
from .capacity import holds
from .work import COSTS


@dataclasses.dataclass(frozen=True)
class Sharing:
    """Which structures of a population share a program.

    Attributes:
        waste: a structure goes into a capacity that is there if that costs at most this factor ...
        small: ... or this part of a program more.
        room: a new capacity gets room for later populations that costs at most this part of a
            program in one.
        batch_bytes: bytes that a batch may need if no limit is given.
        max_batch: structures in one batch.
        noise: new slices of a core that is carried over, in units of its entries: zeros would never
            leave.
    """

    waste: float = 2.0
    small: float = 1 / 50
    room: float = 1 / 5
    batch_bytes: int = 2 * 1024**3
    max_batch: int = 64
    noise: float = 0.3


SHARING = tuned("population", Sharing())


@storable
@dataclasses.dataclass(frozen=True)
class Group:
    """Structures that share a program: the shapes it is compiled for, and how many at a time."""

    capacity: Structure
    batch: int


class Start(NamedTuple):
    """A structure with its first cores. `order` may name its nodes in an order in which it
    resembles others: then it shares shapes with them, on the data with permuted modes."""

    structure: Structure
    cores: Cores
    order: tuple[int, ...] | None = None


class Fitted(NamedTuple):
    """A fitted population: `fits` in the order that was given; `groups` for the next one."""

    fits: tuple[Fit, ...]
    groups: tuple[Group, ...]
    programs: int
    compile_seconds: float


def fit_population(
    problem: Problem,
    solver: Solver,
    starts: Sequence[Start],
    groups: tuple[Group, ...] = (),
    *,
    limits: Limits,
    memory_limit: int | None = None,
) -> Fitted:
    """Fit all structures from their starts.

    Args:
        problem, solver: as for `fit`.
        starts: structures with their first cores, in units of the problem. Orders are followed
            where the problem is `permutable` and the permuted data have the same shape.
        groups: capacities of the populations before.
        limits: of every single fit.
        memory_limit: bytes that a batch may need by the forecast. A structure that alone needs
            more is fitted alone, in its own shapes.
    """
    orders = [_useful_order(problem, start) for start in starts]
    placed = [
        (start.structure, start.cores) if order is None else _reordered(start, *order)
        for start, order in zip(starts, orders, strict=True)
    ]
    groups, members = plan_groups(problem, solver, [s for s, _ in placed], groups, memory_limit)
    permuted = any(order is not None for order in orders)
    fits: dict[int, Fit] = {}
    programs, seconds = 0, 0.0
    for group, own in zip(groups, members, strict=True):
        for first in range(0, len(own), group.batch):
            chunk = own[first : first + group.batch]
            lanes = chunk + chunk[:1] * (group.batch - len(chunk))  # one program serves all
            padded = [pad(*placed[n], group.capacity) for n in lanes]
            cores = [np.stack(nodes) for nodes in zip(*padded, strict=True)]
            count = _mesh.rounded_up(len(lanes), _mesh.size(problem.mesh, _mesh.CANDIDATES))
            cores = _mesh.filled_up(cores, count)
            lanes = lanes + lanes[:1] * (count - len(lanes))
            data = _permuted(problem, [orders[n] for n in lanes]) if permuted else problem
            passes = 2 * solver.expected_passes
            ran = fitted_together(
                permuted,
                data,
                solver,
                stacked(group.capacity, cores),
                limits,
                work=passes * problem.work * group.batch,
                passes=passes,
                sweep_flops=len(lanes) * problem.sweep_flops(group.capacity),
            )
            network, errors, _ = jax.device_get(ran.value)
            programs, seconds = programs + ran.programs, seconds + ran.seconds
            for lane, n in enumerate(chunk):
                structure = starts[n].structure
                found = tuple(core[lane] for core in network.cores)
                found = unpad(placed[n][0], found, group.capacity)
                order = orders[n]
                if order is not None:
                    found = _restored(starts[n], order, found)
                fits[n] = Fit(structure, found, float(errors[lane]))
                _interrupt.note(problem, fits[n])
            _interrupt.checkpoint()
    return Fitted(tuple(fits[n] for n in range(len(starts))), groups, programs, seconds)


# Networks in another order of their nodes ----------------------------------------------------

Order = tuple[tuple[int, ...], tuple[int, ...]]


def _useful_order(problem: Problem, start: Start) -> Order | None:
    """Nodes and modes in the order of the start, if the permuted data have the same shape."""
    if start.order is None or not problem.permutable:
        return None
    modes = tuple(mode for node in start.order for mode in start.structure.legs[node])
    same = all(problem.shape[mode] == size for mode, size in zip(modes, problem.shape, strict=True))
    return (start.order, modes) if same else None


def _axes(structure: Structure, nodes: tuple[int, ...], modes: tuple[int, ...]):
    """The structure in another order, and for each new node the axes of its old core."""
    new = structure.relabel(nodes, modes)
    axes = []
    for node, old in enumerate(nodes):
        edges = [as_edge(nodes[n] for n in edge) for edge in new.core_edges(node)]
        legs = [structure.legs[old].index(modes[mode]) for mode in new.legs[node]]
        axes.append((*legs, *(structure.axis(old, edge) for edge in edges)))
    return new, axes


def _reordered(
    start: Start, nodes: tuple[int, ...], modes: tuple[int, ...]
) -> tuple[Structure, Cores]:
    new, axes = _axes(start.structure, nodes, modes)
    return new, tuple(
        np.transpose(start.cores[old], axis) for old, axis in zip(nodes, axes, strict=True)
    )


def _restored(start: Start, order: Order, cores: Cores) -> Cores:
    """The inverse of `_reordered` for the cores."""
    nodes, modes = order
    _, axes = _axes(start.structure, nodes, modes)
    found = {
        old: np.transpose(core, np.argsort(axis))
        for old, core, axis in zip(nodes, cores, axes, strict=True)
    }
    return tuple(found[node] for node in range(len(nodes)))


def _permuted(problem: Problem, orders: Sequence[Order | None]) -> Problem:
    """One problem for each order, stacked along a leading axis."""
    identity = tuple(range(len(problem.shape)))
    modes = [identity if order is None else order[1] for order in orders]
    return problem.permuted(modes)


# Who shares a capacity ---------------------------------------------------------------------


def plan_groups(
    problem: Problem,
    solver: Solver,
    structures: Sequence[Structure],
    groups: tuple[Group, ...],
    memory_limit: int | None,
    cost: Callable[[Structure], float] | None = None,
) -> tuple[tuple[Group, ...], list[list[int]]]:
    """Groups, old ones first, and the positions of the structures that are fitted in each.

    A structure uses an old capacity where that wastes little. The others are joined one after
    another, each with the group where it costs the least, as long as that is less than a program.

    Args:
        cost: of fitting a structure, in programs; a quick estimate from the solver's expected
            sweeps by default.
    """
    passes = solver.expected_passes
    limit = SHARING().batch_bytes if memory_limit is None else memory_limit
    fits_memory = lambda structure: problem.fit_peak_bytes(structure) <= limit
    if cost is None:
        cost = lambda structure: passes * _sweep_cost(problem.work, structure) / COSTS().program

    members: list[list[int]] = [[] for _ in groups]
    left: list[int] = []
    for n, structure in enumerate(structures):
        own = cost(structure)
        usable = [
            (cost(group.capacity), g)
            for g, group in enumerate(groups)
            if holds(group.capacity, structure)
        ]
        dear, g = min(usable, default=(math.inf, -1))
        if dear <= max(SHARING().waste * own, own + SHARING().small):
            members[g].append(n)
        else:
            left.append(n)

    joined: list[tuple[Structure, list[int]]] = []
    for n in sorted(left, key=lambda n: (-cost(structures[n]), n)):
        structure = structures[n]
        best, where, union = 1.0, -1, structure
        for g, (capacity, own) in enumerate(joined):
            if capacity.legs != structure.legs:
                continue
            both = _union(capacity, structure)
            extra = cost(both) * (len(own) + 1) - cost(capacity) * len(own) - cost(structure)
            if extra < best and fits_memory(both):
                best, where, union = extra, g, both
        if where < 0:
            joined.append((structure, [n]))
        else:
            joined[where] = (union, [*joined[where][1], n])

    new: list[Group] = []
    for capacity, own in joined:
        needed = cost(capacity)
        for edge in (*capacity.edges, *capacity.edges):
            roomy = capacity.grow(edge)
            if (cost(roomy) - needed) * len(own) < SHARING().room and fits_memory(roomy):
                capacity = roomy
        many = max(1, limit // max(1, problem.fit_peak_bytes(capacity)))
        batch = 2 ** math.ceil(math.log2(len(own)))
        new.append(Group(capacity, int(max(1, min(batch, many, SHARING().max_batch)))))
        members.append(own)
    return (*groups, *new), members


def _union(a: Structure, b: Structure) -> Structure:
    edges = {edge: max(a.rank(edge), b.rank(edge)) for edge in (*a.edges, *b.edges)}
    return dataclasses.replace(a, edges=edges)


@functools.lru_cache(maxsize=65536)
def _sweep_cost(work: int, structure: Structure) -> float:
    """Multiplications of one sweep over the cores, roughly: for every node the data against the
    widest core, the Gram matrix of the other cores, and its factorization. Quick, since many
    unions of structures are weighed; only the structures chosen are planned exactly."""
    nodes = range(structure.num_nodes)
    bonds = [math.prod(structure.edges[e] for e in structure.core_edges(k)) for k in nodes]
    grams = sum(_gram_cost(structure, node) + bonds[node] ** 3 / 3 for node in nodes)
    return structure.num_nodes * work * max(bonds) + grams


def _gram_cost(structure: Structure, node: int) -> float:
    """Both layers of the other cores contracted one by one, each time the cheapest next one."""
    left = [k for k in range(structure.num_nodes) if k != node]
    around = {k: frozenset(structure.core_edges(k)) for k in left}
    weigh = lambda edges: math.prod(structure.edges[edge] ** 2 for edge in edges)
    total = sum(math.prod(structure.core_shape(k)) * math.sqrt(weigh(around[k])) for k in left)
    held: frozenset = frozenset()
    while left:
        cost, k = min((weigh(held | around[k]), k) for k in left)
        total += cost
        left.remove(k)
        needed = set(structure.core_edges(node)).union(*(around[j] for j in left))
        held = (held | around[k]) & needed
    return total


# Where fits start --------------------------------------------------------------------------


def distance(a: Structure, b: Structure) -> float:
    """How far apart the ranks are, in doublings; infinite if the nodes differ."""
    if a.legs != b.legs or a.dims != b.dims:
        return math.inf
    edges = {*a.edges, *b.edges}
    return math.fsum(abs(math.log2(a.rank(edge) / b.rank(edge))) for edge in edges)


def carried(fit: Fit, structure: Structure, rng: np.random.Generator) -> Cores:
    """The cores of a fitted network in the ranks of another structure with the same nodes.

    Ranks are taken away as in a prune, by the smallest change of two cores' product. New slices
    are Gaussian, smaller than the entries of their core: zeros would never leave.
    """
    old, cores = shrunk(fit.structure, fit.cores, structure)
    out = []
    grown = pad(old, cores, structure)
    for node, core in enumerate(grown):
        scale = SHARING().noise * float(np.sqrt(np.mean(np.abs(cores[node]) ** 2)))
        fresh = rng.standard_normal(core.shape)
        if np.iscomplexobj(core):
            fresh = fresh + 1j * rng.standard_normal(core.shape)
        out.append(np.where(core != 0, core, np.asarray(scale * fresh, core.dtype)))
    return tuple(out)
