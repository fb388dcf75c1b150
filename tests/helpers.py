"""Random structures and cores, and NumPy oracles that share no code with the package."""

import math
import random
from typing import Any

import hypothesis.strategies as st
import jax
import numpy as np
import pytest

from tnjax import Archive, Record, SearchResult, Status, Step, Structure, TensorNetwork

# The tests run in double precision, or as a new user has it: see `conftest.py`.
DOUBLE = jax.config.jax_enable_x64
DTYPES = ("float32", "float64", "complex64", "complex128") if DOUBLE else ("float32", "complex64")
needs_double = pytest.mark.skipif(not DOUBLE, reason="about double precision, which is off")


def by_precision(double: Any, single: Any) -> Any:
    """What is expected of floats as they are by default."""
    return double if DOUBLE else single


@st.composite
def structures(
    draw, min_order=1, max_order=4, max_dim=4, max_rank=3, max_internal=2, max_bonds=5
) -> Structure:
    """Pair bonds, hyperedges on three nodes, nodes with several legs, internal nodes anywhere."""
    order = draw(st.integers(min_order, max_order))
    dims = tuple(draw(st.lists(st.integers(1, max_dim), min_size=order, max_size=order)))
    owners = list(range(order))
    if order > 1 and draw(st.integers(0, 3)) == 0:
        owners[draw(st.integers(1, order - 1))] = 0
    legs = [tuple(m for m in range(order) if owners[m] == node) for node in sorted(set(owners))]
    legs += [()] * draw(st.integers(0, max_internal))
    legs = draw(st.permutations(legs))
    nodes = range(len(legs))
    places = [(a, b) for b in nodes for a in range(b)]
    places += [(a, b, c) for c in nodes for b in range(c) for a in range(b)]
    edges = {}
    if places:
        bonds = st.dictionaries(
            st.sampled_from(places), st.integers(2, max_rank), max_size=max_bonds
        )
        edges = draw(bonds)
    state = random.getstate()  # beartype samples containers; hypothesis wants that undone
    structure = Structure(dims, tuple(legs), edges)
    random.setstate(state)
    return structure


@st.composite
def relabelings(draw, structure: Structure) -> tuple[list[int], list[int]]:
    """A permutation of the nodes and one of the modes."""
    nodes = draw(st.permutations(range(structure.num_nodes)))
    modes = draw(st.permutations(range(len(structure.dims))))
    return list(nodes), list(modes)


def normal(shape, dtype="float64", seed=0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(shape)
    if np.issubdtype(dtype, np.complexfloating):
        x = x + 1j * rng.standard_normal(shape)
    return np.asarray(x, dtype)


def random_cores(structure: Structure, dtype="float64", seed=0) -> tuple[np.ndarray, ...]:
    return tuple(
        normal(structure.core_shape(node), dtype, (seed, node))
        for node in range(structure.num_nodes)
    )


def random_network(structure: Structure, dtype="float64", seed=0) -> TensorNetwork:
    return TensorNetwork(structure, random_cores(structure, dtype, seed))


def labels(structure: Structure, node: int) -> list[int]:
    """Mode m has label m; bond number b has label `order + b`."""
    order = len(structure.dims)
    bonds = [order + b for b, edge in enumerate(structure.edges) if node in edge]
    return [*sorted(structure.legs[node]), *bonds]


def open_bonds(structure: Structure, nodes: tuple[int, ...]) -> list[int]:
    """Labels of the bonds between `nodes` and the rest, each at the first node that has it."""
    order, found = len(structure.dims), []
    for node in nodes:
        for b, edge in enumerate(structure.edges):
            if node in edge and not set(edge) <= set(nodes) and order + b not in found:
                found.append(order + b)
    return found


def wide(x) -> np.ndarray:
    x = np.asarray(x)
    return x.astype(np.complex128 if np.iscomplexobj(x) else np.float64)


def einsum(operands, output) -> np.ndarray:
    """NumPy's einsum over pairs (array, labels), in double precision."""
    arguments = [part for x, names in operands for part in (wide(x), list(names))]
    if not arguments:
        return np.ones(())
    return np.einsum(*arguments, list(output), optimize="greedy")


def dense_oracle(structure: Structure, cores) -> np.ndarray:
    operands = [(core, labels(structure, node)) for node, core in enumerate(cores)]
    return einsum(operands, range(len(structure.dims)))


def jacobian_oracle(structure: Structure, cores, nodes: tuple[int, ...]) -> np.ndarray:
    """The other cores as a matrix: their modes by the open bonds of `nodes`."""
    rest = [k for k in range(structure.num_nodes) if k not in nodes]
    modes = sorted(m for k in rest for m in structure.legs[k])
    bonds = open_bonds(structure, nodes)
    out = einsum([(cores[k], labels(structure, k)) for k in rest], [*modes, *bonds])
    return out.reshape(math.prod(structure.dims[m] for m in modes), -1)


def environment_oracle(structure: Structure, cores, nodes, tensor) -> np.ndarray:
    rest = [k for k in range(structure.num_nodes) if k not in nodes]
    output: list[int] = []
    for node in nodes:
        output += sorted(structure.legs[node])
        output += [b for b in open_bonds(structure, nodes) if b in labels(structure, node)]
    output = list(dict.fromkeys(output))
    operands = [(tensor, range(len(structure.dims)))]
    operands += [(np.conj(cores[k]), labels(structure, k)) for k in rest]
    return einsum(operands, output)


def make_result(moves) -> SearchResult:
    """A search over the given moves: (move, structure, error)."""
    path = tuple(
        Step(move, structure, structure.num_params, error, 0.25, 0.125, 1)
        for move, structure, error in moves
    )
    archive = Archive(
        tuple(
            Record(s.structure, s.error, s.num_params, 0, 0, random_network(s.structure))
            for s in path
        )
    )
    return SearchResult(
        network=random_network(path[-1].structure),
        error=path[-1].error,
        path=path,
        status=Status.TARGET_REACHED,
        archive=archive,
        programs=len(path),
        seconds=1.5,
        compile_seconds=0.5,
        seed_key=(0, 7),
    )
