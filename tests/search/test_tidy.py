"""What the greedy search does once the target is met."""

import dataclasses
import itertools

import jax
import numpy as np
import pytest

from tests.helpers import dense_oracle, random_cores
from tnjax import (
    Decomposition,
    Greedy,
    LevenbergMarquardt,
    Setup,
    Structure,
    TensorNetwork,
    cut_bounds,
    search,
)
from tnjax._search.fitting.races import attempt
from tnjax._search.greedy import shrink
from tnjax._search.greedy.measure import measured
from tnjax._search.greedy.shrink import Prune, Swap
from tnjax._search.greedy.state import Outcome
from tnjax._search.strategy import Budget, Info, MoveRecord
from tnjax.moves.neighbors import chosen, hyperedges, merges, rewirings, splits, stars
from tnjax.solve.limits import limits_of

KEY = jax.random.key(0)
TRAIN = Structure.tensor_train((4, 4, 4), (2, 2))
RING = Structure.tensor_ring((4, 5, 4), 2)
# The same tensors, the bond between 1 and 2 led through 0.
DETOUR = Structure.from_edges((4, 4, 4), {(0, 1): 4, (0, 2): 2})


def planted(structure, seed=1, dtype=np.float64):
    network = TensorNetwork.random(structure, key=jax.random.key(seed), dtype=dtype)
    return Decomposition(network.to_dense())


@pytest.mark.parametrize(
    ("truth", "start", "kind", "trees"),
    [
        (TRAIN, DETOUR, "tree", True),
        (TRAIN, DETOUR, "rewire", False),
        (Structure.tucker((5, 5, 5, 5), 2), None, "split", False),
        (Structure.cp((4, 5, 4), 2), RING, "hyperedge", True),
    ],
)
def test_each_phase_finds_what_no_phase_before_it_does(truth, start, kind, trees, override):
    if not trees:
        override({"measuring.tree_modes": 0, "tucker.entries": 0})
    result = search(planted(truth), key=KEY, target_error=1e-5, setup=Setup(start=start))
    assert result.num_params <= truth.num_params
    assert result.error <= 1e-5
    kinds = [step.move.kind for step in result.path]
    assert kind in kinds
    sizes = [step.num_params for step in result.path if step.error <= 1e-5]
    assert sizes == sorted(sizes, reverse=True)


def test_phases_can_be_turned_off():
    quiet = Greedy(rewire=False, internal=False, hyperedges=False)
    result = search(
        planted(TRAIN), key=KEY, target_error=1e-5, setup=Setup(start=DETOUR), strategy=quiet
    )
    assert result.num_params == DETOUR.num_params


def test_what_the_cuts_forbid_is_not_fitted():
    problem = planted(TRAIN)
    result = search(problem, key=KEY, target_error=1e-5, setup=Setup(start=TRAIN))
    assert result.structure == TRAIN
    bounds = cut_bounds(problem.target, 1e-5)
    for record in result.archive:
        assert bounds.admits(record.structure)


def test_bonds_that_cannot_lose_a_rank_are_asked_again_only_once_they_grew():
    ring = Structure.tensor_ring((5, 5, 5, 5), 2)
    problem, greedy, budget = planted(ring), Greedy(), Budget(target_error=0.01)
    truth = TensorNetwork.random(ring, key=jax.random.key(1))
    cores = tuple(np.asarray(core) / problem.scale ** (1 / 4) for core in truth.cores)
    state, _ = greedy.init(problem, truth, budget, seed=(0,))
    state = dataclasses.replace(state, cores=cores, error=0.0, capacity=ring, cuts=None)
    state = dataclasses.replace(state, phase="prune", queue=())
    after, info, outcome = Prune().attempt(greedy, problem, state, budget, (0, 1))
    assert outcome is Outcome.STAY
    assert info.move is None
    assert info.fits[0].error > 1.02 * 0.01
    assert after.firm == ((0, 1),)
    again = Prune().entered(greedy, problem, after, budget)
    assert set(again.queue) == set(ring.edges) - {(0, 1)}
    assert set(Swap().entered(greedy, problem, after, budget).queue) == set(ring.edges)
    assert measured(greedy, problem, after, budget).firm == ()
    near = dataclasses.replace(budget, target_error=info.fits[0].error / 1.01)
    assert Prune().attempt(greedy, problem, state, near, (0, 1))[0].firm == ()


def test_bonds_that_a_swap_grew_may_lose_a_rank(monkeypatch):
    ring, pair = Structure.tensor_ring((5, 5, 5, 5), 2), (0, 1)
    problem, greedy, budget = planted(ring), Greedy(), Budget(target_error=0.5)
    start = TensorNetwork(ring, random_cores(ring, np.float64))
    state, _ = greedy.init(problem, start, budget, seed=(0,))
    state = dataclasses.replace(state, capacity=ring, firm=tuple(ring.edges), phase="swap")

    def advance(options, problem, budget, state, move, effort):
        return state, Info(move), Outcome.STAY

    def grow(options, problem, state, budget):
        found = dataclasses.replace(state, error=0.4)
        return found, Info(MoveRecord("grow", (1, 2), 1)), Outcome.MET

    monkeypatch.setattr(shrink, "advance", advance)
    monkeypatch.setattr(shrink, "grow", grow)
    monkeypatch.setattr(shrink, "_promising", lambda *args: True)
    after, info, outcome = Swap().attempt(greedy, problem, state, budget, pair)
    assert info.move == MoveRecord("swap", pair, 1, ((1, 2),))
    assert outcome is Outcome.SMALLER
    assert Prune().entered(greedy, problem, after, budget).queue == ((1, 2),)


def smaller(moves, structure, count=99):
    admits = lambda after: True
    return chosen(moves, structure, admits, lambda s: s.num_params, count)


def test_rewirings_contain_the_way_back():
    pairs = list(itertools.combinations(range(3), 2))
    moves = smaller(rewirings(DETOUR, pairs), DETOUR)
    costs = [move.cost(DETOUR) for move in moves]
    assert costs == sorted(costs)
    assert costs[-1] < 0
    assert smaller(rewirings(DETOUR, pairs), DETOUR, 2) == moves[:2]
    assert TRAIN in [move.after(DETOUR) for move in moves]
    only = rewirings(DETOUR, [(0, 1), (0, 2)])
    assert all(set(move.after(DETOUR).edges) <= {(0, 1), (0, 2)} for move in only)


def test_hyperedges_take_the_least_rank_that_is_admitted():
    chain, num_params = Structure.tensor_train((4, 4, 4, 4), 3), lambda s: s.num_params
    moves = list(hyperedges(chain, lambda s: max(s.ranks) >= 3, num_params))
    found = [move.after(chain) for move in moves]
    assert found == [Structure.cp(chain.dims, 3), Structure.cp(chain.dims, 4)]


def test_stars_take_the_ranks_that_the_cuts_demand():
    tucker = Structure.tucker((5, 5, 5, 5), (2, 2, 3, 2))
    bounds = cut_bounds(planted(tucker).target, 1e-5)
    dense = Structure.fully_connected(tucker.dims, 2)
    found = [move.after(dense) for move in stars(dense, bounds.rank)]
    assert tucker in found
    move = next(iter(stars(dense, bounds.rank)))
    structure, cores = move.apply(dense, random_cores(dense))
    assert structure == move.after(dense) == tucker
    assert [core.shape for core in cores] == [structure.core_shape(k) for k in range(5)]


def test_trees_with_merged_modes_replace_loops_they_are_smaller_than():
    ring = Structure.tensor_ring((2, 2, 2, 3, 3), (3, 2, 2, 1, 3))
    problem = planted(ring)
    result = search(problem, key=KEY, target_error=1e-5)
    assert result.num_params < ring.num_params
    assert max(map(len, result.structure.legs)) > 1
    difference = np.asarray(problem.target) * problem.scale - np.asarray(result.network.to_dense())
    assert np.linalg.norm(difference) <= 1e-5 * problem.scale
    fixed = Greedy(edges=tuple(itertools.combinations(range(5), 2)))
    kept = search(problem, key=KEY, target_error=1e-5, strategy=fixed)
    assert kept.structure.legs == ((0,), (1,), (2,), (3,), (4,))


def test_a_hub_of_bonds_becomes_an_internal_node():
    tucker = Structure.tucker((5, 5, 5), 2)
    ring = Structure.tensor_ring(tucker.dims, 4)
    result = search(
        planted(tucker), key=KEY, target_error=1e-5, setup=Setup(start=ring, compress=False)
    )
    assert result.num_params <= tucker.num_params


def test_of_several_structures_the_smallest_that_can_succeeds():
    problem, solver = planted(TRAIN), LevenbergMarquardt()
    structures = [Structure.rank_one((4, 4, 4)), TRAIN, DETOUR]
    out = attempt(
        problem,
        solver,
        [(structure, None) for structure in structures],
        Structure.from_edges((4, 4, 4), {(0, 1): 4, (0, 2): 2, (1, 2): 2}),
        limits=limits_of(solver, problem, target_error=1e-6, max_steps=40),
        lanes=8,
        seed=(0,),
        step_flops=1e6,
    )
    assert [fit.structure for fit in out.fits] == structures
    assert out.fits[0].error > 1e-2
    for fit in out.fits[1:2]:
        difference = np.asarray(problem.target) - dense_oracle(fit.structure, fit.cores)
        assert np.linalg.norm(difference) <= 1.1e-6
        np.testing.assert_allclose(fit.error, np.linalg.norm(difference), rtol=1e-3)


def test_splits_read_the_rank_in_the_right_gauge():
    tucker = Structure.tucker((5, 5, 5), 2)
    cores = random_cores(tucker)
    merged = np.einsum("ia,abc->ibc", cores[0], cores[3])
    star = Structure.from_edges((5, 5, 5), {(0, 1): 2, (0, 2): 2})
    # A gauge that hides the rank: one leaf tiny, the center large on it.
    skew = np.diag([1e6, 1.0])
    cores = (np.einsum("ibc,bd->idc", merged, skew), cores[1] @ np.linalg.inv(skew), cores[2])
    found = [move.after(star) for move in smaller(splits(star, cores, 1e-3), star)]
    assert found == [tucker]


def test_superfluous_internal_nodes_are_merged():
    chain = Structure.from_edges((4, 4), {(0, 2): 2, (1, 2): 2})
    assert [move.after(chain) for move in merges(chain)] == [Structure.tensor_train((4, 4), 2)] * 2
