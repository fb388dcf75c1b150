"""Populations fitted together: the same as one by one, few programs, memory kept to."""

import equinox as eqx
import numpy as np
import pytest

from tests.helpers import dense_oracle, normal
from tnjax import ALS, Decomposition, Structure, TensorNetwork, _compile, fit
from tnjax._init import host_cores
from tnjax._network import scaled
from tnjax._search.fitting import population as _population
from tnjax._search.fitting.population import (
    Group,
    Start,
    carried,
    distance,
    fit_population,
    plan_groups,
)
from tnjax._search.strategy import Fit
from tnjax.solve import programs as _fitting
from tnjax.solve.limits import limits_of

SHAPE = (3, 4, 3)
STRUCTURES = [
    Structure.tensor_train(SHAPE, (2, 3)),
    Structure.from_edges(SHAPE, {(0, 2): 3}),
    Structure.tensor_ring(SHAPE, (2, 2, 2)),
    Structure.rank_one(SHAPE),
    Structure.from_edges(SHAPE, {(0, 1): 2, (0, 2): 2}),
]
SOLVER = ALS(max_steps=8)


def problem(dtype="float64"):
    return Decomposition(normal(SHAPE, dtype, 1))


def starts(structures=STRUCTURES, dtype="float64"):
    rng = np.random.default_rng(0)
    return [Start(s, host_cores(s, rng, np.dtype(dtype))) for s in structures]


def limits(problem, steps=8):
    return limits_of(SOLVER, problem, target_error=None, max_steps=steps)


@pytest.mark.parametrize("dtype", ["float64", "complex128"])
def test_fitted_together_they_are_as_fitted_one_by_one(dtype):
    own = problem(dtype)
    given = starts(STRUCTURES[:3], dtype)
    out = fit_population(own, SOLVER, given, limits=limits(own))
    assert [found.structure for found in out.fits] == STRUCTURES[:3]
    assert len(out.groups) == 1  # so that padding is at work
    for (structure, cores, _), found in zip(given, out.fits, strict=True):
        start = scaled(TensorNetwork(structure, cores), own.scale)
        alone = fit(own, start, solver=SOLVER, max_steps=8)
        np.testing.assert_allclose(found.error, alone.error, rtol=0, atol=1e-10)
        difference = np.asarray(own.target) - dense_oracle(structure, found.cores)
        np.testing.assert_allclose(found.error, np.linalg.norm(difference), atol=1e-10)


def test_permuted_networks_share_a_program_on_permuted_data():
    own = Decomposition(normal((3, 2, 3, 3), "float64", 2))
    shape, ring = own.shape, Structure.tensor_ring(own.shape, (2, 3, 2, 2))
    orders = [(0, 1, 2, 3), (2, 1, 0, 3), (3, 1, 2, 0), (1, 0, 2, 3)]
    networks = []
    for order in orders:
        edges = {tuple(order[k] for k in edge): rank for edge, rank in ring.edges.items()}
        networks.append(Structure.from_edges(shape, edges))
    given = [
        start._replace(order=order) for start, order in zip(starts(networks), orders, strict=True)
    ]
    out = fit_population(own, SOLVER, given, limits=limits(own))
    assert {group.capacity.dims for group in out.groups} == {shape}  # not (2, 3, 3, 3)
    first = fit_population(own, SOLVER, given[:3], limits=limits(own))
    assert len(first.groups) == 1
    assert len(first.groups[0].capacity.edges) == 4
    still = fit_population(own, SOLVER, given[:3], first.groups, limits=limits(own, steps=0))
    for begin, before in zip(given, still.fits, strict=False):
        for old, new in zip(begin.cores, before.cores, strict=True):
            np.testing.assert_array_equal(old, new)
    for found, before in zip(out.fits, still.fits, strict=False):
        assert found.error < before.error
    for found in (*out.fits, *still.fits):
        difference = np.asarray(own.target) - dense_oracle(found.structure, found.cores)
        np.testing.assert_allclose(found.error, np.linalg.norm(difference), atol=1e-10)


def test_later_populations_use_the_programs_of_earlier_ones():
    _compile.clear_cache()
    counted = eqx.debug.assert_max_traces(_fitting._whole_batch, max_traces=1)
    original = _fitting._whole_batch
    _fitting._whole_batch = counted
    try:
        own = problem()
        first = fit_population(own, SOLVER, starts(), limits=limits(own))
        second = fit_population(own, SOLVER, starts()[1:3], first.groups, limits=limits(own))
        assert eqx.debug.get_num_traces(counted) == 1
    finally:
        _fitting._whole_batch = original
    assert first.programs == 1
    assert second.programs == 0
    assert second.groups == first.groups
    for n in (0, 1):
        np.testing.assert_allclose(second.fits[n].error, first.fits[n + 1].error, atol=1e-10)


def test_a_memory_limit_makes_batches_smaller_and_changes_nothing_else():
    own = problem()
    free = fit_population(own, SOLVER, starts(), limits=limits(own))
    (group,) = free.groups
    limit = 2 * own.fit_peak_bytes(group.capacity)
    tight = fit_population(own, SOLVER, starts(), limits=limits(own), memory_limit=limit)
    assert tight.groups == (Group(group.capacity, 2),)
    for a, b in zip(free.fits, tight.fits, strict=True):
        np.testing.assert_allclose(a.error, b.error, atol=1e-10)


def test_padding_is_never_ruinous():
    large = Decomposition(np.ones((12, 12, 12, 12)))
    dense = Structure.fully_connected(large.shape, 5)
    thin = [Structure.from_edges(large.shape, {(0, 1): 2, (2, 3): r}) for r in (2, 3)]
    groups, members = plan_groups(large, SOLVER, [thin[0], dense, thin[1]], (), None)
    assert sorted(map(sorted, members)) == [[0, 2], [1]]
    cost = lambda structure: _population._sweep_cost(large.work, structure)
    for group, own in zip(groups, members, strict=True):
        for n in own:
            assert cost(group.capacity) <= 3 * cost([thin[0], dense, thin[1]][n])
    again, members = plan_groups(large, SOLVER, [dense, thin[1]], groups, None)
    assert again == groups
    assert sum(map(len, members)) == 2


def test_structures_of_other_nodes_do_not_share_shapes():
    own = problem()
    merged = Structure(SHAPE, ((0,), (1, 2)), {(0, 1): 3})
    tucker = Structure.tucker(SHAPE, (2, 2, 2))
    groups, members = plan_groups(own, SOLVER, [STRUCTURES[0], merged, tucker], (), None)
    assert sorted(map(sorted, members)) == [[0], [1], [2]]
    assert len({group.capacity.legs for group in groups}) == 3


def test_a_network_is_carried_to_more_and_fewer_ranks(override):
    structure = Structure.tensor_train(SHAPE, (2, 2))
    ((_, cores, _),) = starts([structure])
    known = Fit(structure, cores, 0.5)
    rng = np.random.default_rng(1)
    before = dense_oracle(structure, cores)
    same = carried(known, structure, rng)
    np.testing.assert_array_equal(dense_oracle(structure, same), before)
    grown = Structure.from_edges(SHAPE, {(0, 1): 3, (1, 2): 2, (0, 2): 2})
    assert all((core != 0).all() for core in carried(known, grown, rng))
    override({"population.noise": 0.0})
    larger = carried(known, grown, rng)
    assert [core.shape for core in larger] == [grown.core_shape(k) for k in range(3)]
    np.testing.assert_allclose(dense_oracle(grown, larger), before, atol=1e-14)
    fewer = Structure.from_edges(SHAPE, {(0, 1): 2})
    smaller = dense_oracle(fewer, carried(known, fewer, rng))
    assert 0 < np.linalg.norm(before - smaller) < np.linalg.norm(before)


def test_a_bond_that_is_larger_than_its_cores_loses_nothing_when_it_shrinks(override):
    override({"population.noise": 0.0})
    structure = Structure.from_edges((3, 4), {(0, 1): 6})
    cores = host_cores(structure, np.random.default_rng(0), np.dtype("float64"))
    before = dense_oracle(structure, cores)
    for rank in (5, 3):
        fewer = structure.with_rank((0, 1), rank)
        out = carried(Fit(structure, cores, 0.5), fewer, np.random.default_rng(1))
        np.testing.assert_allclose(dense_oracle(fewer, out), before, atol=1e-14)


def test_distance_counts_doublings():
    ring = Structure.tensor_ring(SHAPE, 2)
    assert distance(ring, ring) == 0
    assert distance(ring, ring.with_rank((0, 1), 4)) == 1
    assert distance(ring, ring.with_rank((0, 1), 1)) == 1
    assert distance(ring, Structure.tucker(SHAPE, 2)) == np.inf
