"""The network in closed form beside growth: when it leads, when it has its turn, what is told."""

import dataclasses
import itertools
import json
import math

import jax
import numpy as np
import pytest

import tnjax
from tests.helpers import normal
from tnjax import (
    Decomposition,
    Greedy,
    Setup,
    Status,
    Structure,
    constants,
    relative_error,
    search,
)
from tnjax._network import scaled
from tnjax._report import search_sections
from tnjax._report.record import result_record, steps_of
from tnjax._search.greedy import incumbent
from tnjax._search.greedy.state import GreedyState, Outcome
from tnjax._search.spectra.tucker import best_tucker
from tnjax._search.strategy import Budget, Info
from tnjax.strategies import TreeSearch

KEY = jax.random.key(0)


def rough(shape=(8, 8, 8, 8), decay=0.7, seed=0) -> np.ndarray:
    """A tensor without ranks: its singular values fall off slowly in every unfolding."""
    rng = np.random.default_rng(seed)
    tensor = rng.standard_normal(shape)
    for mode, size in enumerate(shape):
        weights = np.arange(1.0, size + 1) ** -decay
        tensor = np.moveaxis(np.moveaxis(tensor, mode, -1) * weights, -1, mode)
    return tensor


def begun(problem, target, **options):
    """The state once the incumbent was looked for."""
    strategy, budget = Greedy(**options), Budget(target, None, None)
    start = tnjax.TensorNetwork.random(Structure.rank_one(problem.shape), key=KEY)
    state, _ = strategy.init(problem, start, budget, seed=(0,))
    while state.phase in ("early", "infer", "incumbent"):
        state, _ = strategy.step(problem, state, budget)
    return strategy, state, budget


def test_the_incumbent_is_the_best_tree_of_the_spectra_and_meets_the_target():
    tensor = rough()
    problem = Decomposition(tensor)
    _, state, budget = begun(problem, 0.3)
    held = state.held
    assert held is not None
    assert state.phase == "grow"
    assert budget.meets(held.error)
    assert not budget.meets(state.error)
    network = scaled(tnjax.TensorNetwork(held.structure, held.cores), problem.scale)
    np.testing.assert_allclose(float(relative_error(network, tensor)), held.error, rtol=1e-6)
    # No larger than the best truncated SVD of an unfolding, by NumPy.
    best = math.inf
    for modes in ((0,), (1,), (2,), (3,), (0, 1), (0, 2), (0, 3)):
        rest = [m for m in range(4) if m not in modes]
        matrix = tensor.transpose(*modes, *rest).reshape(8 ** len(modes), -1)
        s = np.linalg.svd(matrix, compute_uv=False)
        tails = np.sqrt(np.cumsum(s[::-1] ** 2)[::-1] / np.sum(s**2))
        rank = int(np.argmax(np.append(tails, 0.0) <= 0.3))
        best = min(best, rank * sum(matrix.shape))
    assert held.structure.num_params <= best


@pytest.mark.parametrize("limits", [{"max_steps": 1}, {"max_fitted": 6}])
def test_a_search_that_is_cut_short_returns_it(limits):
    tensor, told = rough(), []
    result = search(
        Decomposition(tensor),
        key=KEY,
        target_error=0.3,
        setup=Setup(on_progress=told.append),
        **limits,
    )
    assert result.error <= 0.3
    assert result.status is Status.TARGET_REACHED
    np.testing.assert_allclose(
        float(relative_error(result.network, tensor)), result.error, rtol=1e-6
    )
    assert result.num_params == told[-1].best_params
    assert told[-1].num_params < result.num_params  # growth had not come so far
    held = result.path[-1].held  # the path tells who led
    assert held is not None
    assert (held.num_params, held.error) == (result.num_params, result.error)
    assert result.path[-1].error > 0.3 >= held.error
    kept = json.loads(json.dumps(result_record(result)))
    assert steps_of(kept) == result.path
    (section, *_) = search_sections(result, target_error=0.3)
    assert section.body().count(str(held)) > 1  # in the table, and beside its dot in the curve


@pytest.mark.filterwarnings("ignore:search. the data look like")
def test_a_search_to_its_end_is_never_larger_than_the_best_tree():
    tensor = rough((6, 6, 6, 6), decay=0.3)
    result = search(Decomposition(tensor), key=KEY, target_error=0.6, effort="quick")
    tree = search(Decomposition(tensor), key=KEY, strategy=TreeSearch(trim=False), target_error=0.6)
    assert result.error <= 0.6
    assert result.num_params <= tree.num_params


@pytest.mark.filterwarnings("ignore:search. the data look like")
def test_growth_without_hope_ends_at_the_size_of_the_incumbent():
    """White noise: nothing is smaller than a truncated SVD by much, and growth is told so."""
    tensor = normal((6, 6, 6))
    result = search(Decomposition(tensor), key=KEY, target_error=0.5, effort="quick")
    assert result.error <= 0.5
    assert result.num_params <= tensor.size


def test_options_that_forbid_such_trees_are_kept():
    problem = Decomposition(rough())
    for options in ({"internal": False}, {"infer": False}, {"max_rank": 2}, {"max_degree": 1}):
        _, state, _ = begun(problem, 0.3, **options)
        held = state.held
        if held is not None:  # one that the option allows
            assert max(held.structure.ranks) <= options.get("max_rank", math.inf)
            assert "internal" not in options
            assert "infer" not in options


def test_turns_go_by_the_forecast_of_growth_and_by_work():
    problem = Decomposition(rough())
    strategy, state, budget = begun(problem, 0.3)
    size = state.held.structure.num_params
    slow, fast = ((32, 0.9), (64, 0.89)), ((32, 0.9), (64, 0.4))
    assert incumbent.forecast(slow, 0.3) > size > incumbent.forecast(fast, 0.3)
    worked = dataclasses.replace(state, work=1e12)
    for trail, theirs in ((slow, True), (fast, False)):
        step = incumbent.turn(strategy, problem, dataclasses.replace(worked, trail=trail), budget)
        assert (step is not None) == theirs
        if step is not None:
            after, info, outcome = step
            assert outcome is Outcome.STAY
            assert info.move is None
            assert after.incumbent_work == info.work > 0
            assert after.structure == state.structure
            even = dataclasses.replace(after, work=after.incumbent_work, trail=slow)
            assert incumbent.turn(strategy, problem, even, budget) is None  # now it is growth's


def test_growth_ends_at_the_size_of_the_incumbent():
    problem = Decomposition(rough())
    strategy, state, budget = begun(problem, 0.3)
    held = state.held
    as_large = dataclasses.replace(state, structure=held.structure)
    after, info, outcome = incumbent.turn(strategy, problem, as_large, budget)
    assert outcome is Outcome.MET
    assert info.move.kind == "tree"
    assert (after.structure, after.error, after.incumbent) == (held.structure, held.error, None)
    assert incumbent.turn(strategy, problem, as_large, budget, 1.5) is None


def test_the_forecast_is_the_power_law_through_half_the_parameters():
    law = lambda params: 2.0 * params**-0.25
    trail = tuple((params, law(params)) for params in (10, 20, 30, 45))
    assert incumbent.forecast(trail, law(500)) == pytest.approx(500)
    assert incumbent.forecast((), 0.1) == math.inf
    assert incumbent.forecast(((10, 0.5), (20, 0.5)), 0.1) == math.inf
    assert incumbent.forecast(((10, 0.5), (20, 0.5 - 1e-12)), 0.1) == math.inf  # no overflow


def test_the_smaller_one_goes_on():
    problem = Decomposition(rough())
    strategy, state, _ = begun(problem, 0.3)
    assert state.incumbent is not None
    held = state.held
    larger = Structure.tucker(problem.shape, 8)
    assert larger.num_params > held.structure.num_params

    def after(structure, outcome, status=Status.RUNNING):
        grown = dataclasses.replace(state, structure=structure, status=status)
        step = grown, tnjax.strategies.Info(), outcome
        return incumbent.settled(strategy, problem, step)

    for structure, outcome, taken in (
        (larger, Outcome.MET, True),
        (Structure.rank_one(problem.shape), Outcome.MET, False),
        (Structure.rank_one(problem.shape), Outcome.STOP, True),
    ):
        found, info, how = after(structure, outcome)
        assert isinstance(found, GreedyState)
        assert found.incumbent is None
        assert how is Outcome.MET
        assert (found.structure == held.structure) == taken
        assert (info.move is not None) == taken


@pytest.mark.filterwarnings("ignore:search. the data look like")
def test_of_many_modes_cuts_are_not_measured_once_the_target_is_met():
    """Of twenty modes that took minutes, after a train had met the target in a second."""
    train = tnjax.TensorNetwork.random(Structure.tensor_train((2,) * 14, 2), key=KEY)
    problem = Decomposition(train.to_dense())
    strategy, budget = Greedy(), Budget(1e-6, None, None)
    start = tnjax.TensorNetwork.random(Structure.rank_one(problem.shape), key=KEY)
    state, info = strategy.init(problem, start, budget, seed=(0,))
    assert info.move.kind == "train"
    assert state.status is Status.TARGET_REACHED
    assert state.measured
    assert state.cuts is None
    assert state.tree is None


def test_more_modes_have_a_tree_of_neighbors():
    tree = tnjax.TensorNetwork.random(Structure.tensor_train((2,) * 10, 2), key=KEY).to_dense()
    noisy = np.asarray(tree) / np.linalg.norm(tree) + 0.05 / 32 * normal((2,) * 10)
    state = begun(Decomposition(noisy), 0.1)[1]
    assert state.held.error <= 0.1
    assert state.held.structure.num_params <= 100


# The best Tucker network ----------------------------------------------------------------------


def smallest_tucker(tensor, error, dims) -> int:
    """By trying all ranks, one after the other, in the bases of the HOSVD."""
    unfold = lambda m: np.moveaxis(tensor, m, 0).reshape(tensor.shape[m], -1)
    bases = [np.linalg.svd(unfold(m), full_matrices=False)[0] for m in range(tensor.ndim)]
    best = math.inf
    for ranks in itertools.product(*(range(1, n + 1) for n in tensor.shape)):
        near = tensor
        for mode, rank in enumerate(ranks):
            u = bases[mode][:, :rank]
            near = np.moveaxis(np.tensordot(u @ u.conj().T, near, (1, mode)), 0, mode)
        if np.linalg.norm(tensor - near) > error * np.linalg.norm(tensor):
            continue
        whole = [m for m, rank in enumerate(ranks) if rank == tensor.shape[m]]
        for count in range(len(whole) + 1):  # modes that the core carries itself
            for carried in itertools.combinations(whole, count):
                sides = [dims[m] if m in carried else ranks[m] for m in range(tensor.ndim)]
                factors = sum(dims[m] * ranks[m] for m in range(tensor.ndim) if m not in carried)
                best = min(best, math.prod(sides) + factors)
    return best


@pytest.mark.parametrize(
    ("shape", "dims", "error", "is_complex"),
    [
        ((5, 4, 6), (5, 4, 6), 0.4, False),
        ((5, 4, 6), (5, 4, 6), 0.35, True),
        ((4, 3, 3, 4), (4, 3, 3, 4), 0.3, False),
        ((4, 3, 5), (40, 3, 50), 0.2, False),  # of a projected tensor, sizes count as they were
        ((12, 2, 2), (12, 2, 2), 0.25, False),
    ],
)
def test_the_best_tucker_network_has_the_fewest_parameters(shape, dims, error, is_complex):
    tensor = rough(shape, 0.8)
    if is_complex:
        tensor = tensor + 1j * rough(shape, 0.8, seed=1)
    network = best_tucker(tensor, error, dims=dims)
    assert float(relative_error(network, tensor)) <= error * (1 + 1e-9)
    counted = lambda network: dataclasses.replace(network.structure, dims=dims).num_params
    assert counted(network) <= smallest_tucker(tensor, error, dims)
    with constants.overridden({"tucker.rounds": 0}):  # in those bases, exactly
        plain = best_tucker(tensor, error, dims=dims)
    assert counted(plain) == smallest_tucker(tensor, error, dims)


def test_modes_of_rank_one_and_thin_unfoldings():
    rng = np.random.default_rng(0)
    parts = [rng.standard_normal(n) for n in (30, 2, 2)]
    tensor = np.einsum("i,j,k->ijk", *parts) + 0.02 * rng.standard_normal((30, 2, 2))
    network = best_tucker(tensor, 0.2)
    assert network.num_params <= 35
    assert float(relative_error(network, tensor)) <= 0.2
    with constants.overridden({"tucker.full_side": 10}):
        assert best_tucker(tensor, 0.2).num_params <= 35
    assert best_tucker(tensor, 1e-9) is None
    assert best_tucker(tensor[0], 0.1) is None


def test_a_tensor_for_tucker_has_it_as_incumbent():
    rng = np.random.default_rng(0)
    core = rng.standard_normal((3, 3, 3, 3, 3))
    tensor = core
    for mode in range(5):
        tensor = np.moveaxis(np.tensordot(rng.standard_normal((7, 3)), tensor, (1, mode)), 0, mode)
    tensor += 0.05 * np.linalg.norm(tensor) / math.sqrt(tensor.size) * rough(tensor.shape, 0.0)
    _, state, _ = begun(Decomposition(tensor), 0.06)
    assert state.held.structure.num_params <= 3**5 + 5 * 21


@pytest.mark.filterwarnings("ignore:search. the data look like")
def test_large_tensors_have_it_first_and_it_needs_no_memory_of_a_fit():
    tensor = rough((60, 50, 40), 1.2)
    problem, limit, told = Decomposition(tensor), 2**24, []
    result = search(
        problem,
        key=KEY,
        target_error=0.05,
        memory_limit=limit,  # a sweep over its core would take more
        max_fitted=3,
        setup=Setup(on_progress=told.append),
    )
    assert [p.doing for p in told[:2]] == [
        "reading trees off the spectra",
        "inferring the graph from ranks",
    ]
    assert told[1].best_params == result.num_params
    assert result.error <= 0.05
    assert problem.fit_peak_bytes(result.structure) > limit


def test_what_no_sweep_can_make_smaller_ends_the_search():
    tensor = rough((30, 30, 30))
    problem = Decomposition(tensor)
    strategy, state, budget = begun(problem, 0.05)
    with constants.overridden({"proposing.largest_gram": 4}):
        taken = incumbent._taken(strategy, problem, state, Info())
    after, _, outcome = taken
    assert outcome is Outcome.STOP
    assert after.status is Status.TARGET_REACHED
    assert budget.meets(after.error)
