"""The greedy search: its contract, its limits, what it recovers."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jaxtyping import TypeCheckError

import tnjax
from tests.helpers import by_precision, needs_double
from tnjax import (
    ALS,
    Decomposition,
    Greedy,
    Objective,
    Setup,
    Status,
    Structure,
    TensorNetwork,
    _compile,
    relative_error,
    search,
)
from tnjax._search.fitting import evaluate as _evaluate
from tnjax._search.strategy import Budget
from tnjax.contract.cost import MemoryLimitError, dense_fit_peak_bytes
from tnjax.solve import programs as _fitting

pytestmark = pytest.mark.quick

RING = Structure.tensor_ring((5, 4, 5, 4), (2, 3, 2, 2))
KEY = jax.random.key(0)
EXACT = by_precision(1e-6, 1e-5)  # a target that planted structures meet, and hardly any others


def planted(structure, seed, dtype=None):
    key = jax.random.key(100 + seed)
    return np.asarray(TensorNetwork.random(structure, key=key, dtype=dtype).to_dense())


def rough(shape=(4, 3, 4, 3), seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


@pytest.mark.parametrize("screen", ["spectral", "trial"])
def test_a_planted_ring_is_found(screen):
    tensor = planted(RING, 1)
    result = search(
        Decomposition(tensor), key=KEY, target_error=1e-4, strategy=Greedy(screen=screen)
    )
    assert result.status is Status.TARGET_REACHED
    assert result.num_params <= RING.num_params
    np.testing.assert_allclose(
        result.error, float(relative_error(result.network, tensor)), rtol=by_precision(1e-6, 1e-2)
    )


def test_path_is_well_formed_and_growth_never_raises_the_error():
    result = search(Decomposition(rough()), key=KEY, max_params=60)
    kinds = [step.move.kind for step in result.path]
    assert kinds[0] == "start"
    assert set(kinds[1:]) == {"grow"}
    errors = [step.error for step in result.path]
    assert errors == sorted(errors, reverse=True)
    for before, after in zip(result.path, result.path[1:], strict=False):
        grown = before.structure
        for edge in (after.move.edge, *after.move.to):
            grown = grown.grow(edge, after.move.by)
        assert after.structure == grown
        assert after.num_params == after.structure.num_params
        assert after.seconds >= after.compile_seconds + after.screen_seconds > after.compile_seconds
    assert result.structure == result.path[-1].structure
    assert result.num_params <= 60
    assert result.status is Status.MAX_PARAMS
    assert [s.num_params for s in result.pareto] == sorted({s.num_params for s in result.pareto})
    assert result.fitted == sum(step.fitted for step in result.path)


def test_same_key_same_result_bit_for_bit_and_another_key_another_start():
    problem = Decomposition(rough())
    runs = [search(problem, key=jax.random.key(k), max_params=60) for k in (5, 5, 6)]
    for a, b in zip(runs[0].network.cores, runs[1].network.cores, strict=True):
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))
    assert [s.error for s in runs[0].path] == [s.error for s in runs[1].path]
    assert runs[0].seed_key == runs[1].seed_key != runs[2].seed_key
    first, other = runs[0].network.cores[0], runs[2].network.cores[0]
    assert first.shape != other.shape or not np.array_equal(first, other)


def test_structures_seen_before_are_neither_traced_nor_compiled(monkeypatch):
    _compile.clear_cache()
    counted = []
    for module, name in ((_fitting, "_whole"), (_evaluate, "screen_program")):
        counted.append(eqx.debug.assert_max_traces(getattr(module, name), max_traces=6))
        monkeypatch.setattr(module, name, counted[-1])
    traces = lambda: list(map(eqx.debug.get_num_traces, counted))
    first = search(Decomposition(rough(seed=1)), key=KEY, max_params=60)
    before = traces()
    second = search(Decomposition(rough(seed=1)), key=KEY, max_params=60)
    assert traces() == before
    assert first.programs >= 1
    assert second.programs == 0
    assert second.compile_seconds == 0
    assert 2 * len(first.path) > first.programs


def test_pruning_and_swapping_remove_what_is_superfluous():
    truth = Structure.tensor_train((4, 4, 4), 2)
    problem = Decomposition(planted(truth, 3))
    start = Structure.fully_connected((4, 4, 4), 3)
    tight = search(problem, key=KEY, target_error=EXACT, setup=Setup(start=start))
    assert {step.move.kind for step in tight.path} == {"start", "prune"}
    assert tight.num_params == truth.num_params
    keep = Greedy(prune=False)
    with pytest.warns(UserWarning, match="108 parameters, more than the 64 entries"):
        loose = search(
            problem, key=KEY, target_error=EXACT, setup=Setup(start=start), strategy=keep
        )
    assert loose.num_params == start.num_params


def test_a_rank_in_the_wrong_place_is_swapped_away():
    truth = Structure.from_edges((5, 5, 5, 5), {(0, 1): 3, (2, 3): 3})
    start = Structure.from_edges((5, 5, 5, 5), {(0, 1): 3, (2, 3): 2, (1, 2): 2})
    problem = Decomposition(planted(truth, 3))
    one_mode_each = Greedy(internal=False)
    result = search(
        problem, key=KEY, target_error=EXACT, setup=Setup(start=start), strategy=one_mode_each
    )
    assert result.structure == truth
    # A matrix of 5 x 5 is smaller than its factors of rank 3.
    merged = search(problem, key=KEY, target_error=EXACT, setup=Setup(start=start))
    assert merged.structure.legs == ((0, 1), (2, 3))
    assert merged.num_params == 50


def test_options_restrict_the_moves():
    problem = Decomposition(rough())
    only = search(problem, key=KEY, max_steps=3, strategy=Greedy(edges=((1, 0), (2, 3))))
    assert set(only.structure.edges) <= {(0, 1), (2, 3)}
    ranks = search(problem, key=KEY, max_params=10**4, strategy=Greedy(max_rank=2))
    assert max(ranks.structure.ranks) == 2
    assert ranks.status in (Status.NO_CANDIDATES, Status.STAGNATED)
    degree = search(problem, key=KEY, max_steps=6, strategy=Greedy(max_degree=1))
    assert max(degree.structure.degree(k) for k in range(4)) == 1
    double = search(problem, key=KEY, max_steps=2, strategy=Greedy(increment=2))
    assert all(step.move.by == 2 for step in double.path[1:])
    assert all(rank % 2 for rank in double.structure.ranks)


def test_raw_gain_is_the_score_of_the_paper():
    problem = Decomposition(rough((9, 2, 2, 2)))
    raw = search(problem, key=KEY, max_steps=1, strategy=Greedy(power=0.0, burst=0))
    cheap = search(problem, key=KEY, max_steps=1, strategy=Greedy(power=5.0, burst=0))
    assert raw.error <= cheap.error
    assert cheap.num_params <= raw.num_params


def test_limits_and_callback():
    problem = Decomposition(rough())
    seen = []
    result = search(problem, key=KEY, max_steps=2, on_step=seen.append)
    assert tuple(seen) == result.path
    assert len(result.path) == 3
    assert result.status is Status.MAX_STEPS
    timed = search(problem, key=KEY, max_seconds=1e-9)
    assert timed.status is Status.MAX_SECONDS
    assert len(timed.path) == 1


def test_an_interrupt_keeps_what_was_found():
    def stop(step):
        if step.move.kind == "grow":
            raise KeyboardInterrupt

    result = search(Decomposition(rough()), key=KEY, max_params=60, on_step=stop)
    assert result.status is Status.INTERRUPTED
    assert len(result.path) == 2
    assert result.structure == result.path[-1].structure


def test_memory_limit_refuses_the_start_and_bounds_growth():
    problem = Decomposition(rough())
    with pytest.raises(MemoryLimitError, match="memory limit of 1 KiB"):
        search(problem, key=KEY, max_params=100, memory_limit=1024)
    start = dense_fit_peak_bytes(Structure.rank_one((4, 3, 4, 3)), problem.dtype)
    result = search(problem, key=KEY, max_params=10**4, memory_limit=2 * start)
    assert result.status in (Status.MEMORY_LIMIT, Status.STAGNATED)
    assert dense_fit_peak_bytes(result.structure, problem.dtype) <= 2 * start


def test_any_loss_grows_a_network():
    truth = Structure.tensor_train((4, 3, 4), 2)
    data = jnp.asarray(planted(truth, 2))
    huber = lambda x, y: jnp.mean(jnp.sqrt(1 + ((x - y) / 0.1) ** 2) - 1)
    problem = Objective(huber, (4, 3, 4), data=data)
    result = search(problem, key=KEY, target_error=1e-4)
    assert result.status is Status.TARGET_REACHED
    assert result.num_params <= truth.num_params
    by_trial = search(
        problem,
        key=KEY,
        max_steps=1,
        strategy=Greedy(screen="trial", solver=optax.lbfgs(), power=0.0),
    )
    assert by_trial.path[1].error < by_trial.path[0].error


@pytest.mark.parametrize(
    "dtype", [pytest.param(np.complex128, marks=needs_double), np.float32, np.complex64]
)
def test_other_dtypes_are_kept(dtype):
    tensor = planted(RING, 2, dtype)
    result = search(Decomposition(tensor), key=KEY, target_error=1e-3)
    assert result.network.dtype == dtype
    assert result.status is Status.TARGET_REACHED
    assert result.num_params <= RING.num_params


def test_hyperedges_and_internal_nodes_of_the_start_grow_too():
    truth = Structure.cp((4, 4, 4), 3)
    start = Structure.cp((4, 4, 4), 2)
    problem = Decomposition(planted(truth, 4))
    result = search(
        problem,
        key=KEY,
        target_error=EXACT,
        setup=Setup(start=start),
        strategy=Greedy(edges=((0, 1, 2),), solver=ALS(max_steps=300, rtol=1e-6)),
    )
    assert result.structure == truth
    tucker = Structure.tucker((4, 4, 4), (3, 2, 2))
    result = search(
        Decomposition(planted(tucker, 5)),
        key=KEY,
        target_error=EXACT,
        setup=Setup(start=Structure.tucker((4, 4, 4), (2, 2, 2))),
        strategy=Greedy(edges=((0, 3), (1, 3), (2, 3)), solver=ALS(max_steps=200, rtol=1e-6)),
    )
    assert result.structure == tucker


def test_a_matrix_ends_at_its_truncated_svd():
    matrix = rough((12, 10), 3)
    result = search(Decomposition(matrix), key=KEY, target_error=0.4)
    values = np.linalg.svd(matrix, compute_uv=False)
    tail = np.sqrt(np.cumsum(values[::-1] ** 2))[::-1] / np.linalg.norm(values)
    rank = int((tail > 0.4).sum())
    assert result.structure.rank((0, 1)) == rank
    assert tail[rank] <= result.error <= 0.4


def test_a_start_network_is_carried_on():
    problem = Decomposition(rough())
    first = search(problem, key=KEY, max_params=40)
    second = search(problem, key=KEY, max_params=60, setup=Setup(start=first.network))
    assert second.path[0].structure == first.structure
    assert second.path[0].error <= first.error * (1 + by_precision(1e-12, 1e-5))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(), "give at least one limit"),
        (dict(target_error=0.0), "target_error: expected a positive number"),
        (dict(target_error=float("inf")), "target_error: expected a positive number"),
        (dict(max_params=3), "the start has 14 parameters"),
        (dict(max_steps=1, strategy="greedy"), "strategy"),
        (
            dict(max_steps=1, setup=Setup(start=Structure.rank_one((2, 2)))),
            "the structure represents",
        ),
        (dict(max_steps=1, strategy=Greedy(edges=((0, 9),))), "outside 0..3"),
    ],
)
def test_bad_arguments_say_what_was_expected(options, message):
    with pytest.raises((ValueError, TypeCheckError), match=message):
        search(Decomposition(rough()), key=KEY, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(screen="best"), "unknown screen 'best'"),
        (dict(power=-1.0), "power must be 0 or more"),
        (dict(increment=0), "increment must be an integer >= 1"),
        (dict(max_rank=0), "max_rank must be an integer >= 1"),
        (dict(edges=((1, 1),)), "two or more different nodes"),
    ],
)
def test_bad_strategy_options_say_what_was_expected(options, message):
    with pytest.raises(ValueError, match=message):
        Greedy(**options)


def test_a_tensor_of_one_mode_has_no_bond_to_grow():
    with pytest.raises(ValueError, match="no bond to grow"):
        search(Decomposition(np.arange(1.0, 5.0)), key=KEY, target_error=1e-3)


def test_strategies_are_values():
    assert Greedy() == Greedy()
    assert dataclasses.replace(Greedy(), power=0.0) == Greedy(power=0.0)
    assert Greedy(solver=ALS(max_steps=3)).solver.max_steps == 3
    assert tnjax.search.__doc__.startswith("Learn a tensor network")


def test_bonds_that_grow_together_are_fitted_as_one_move_from_all_their_slices(override):
    problem, budget = Decomposition(rough((4, 3, 4, 3))), Budget(max_params=140)
    start = Structure.tensor_ring((4, 3, 4, 3), 2)
    greedy = Greedy(burst=1.0, prune=False)
    network = TensorNetwork.random(start, key=KEY, dtype=problem.dtype)
    state, _ = greedy.init(problem, network, budget, seed=(0, 0))
    gain = np.full(len(state.screened.gain), 0.01)  # all alike, and little of what is missing
    state = dataclasses.replace(state, screened=dataclasses.replace(state.screened, gain=gain))
    after, info = greedy.step(problem, state, budget)
    assert info.move is not None
    assert info.move.to == ()  # a small network grows one bond at a time
    override({"effort.large": 0})
    after, info = greedy.step(problem, state, budget)
    assert info.move is not None
    assert len(info.move.to) >= 1
    assert info.fitted == 1
    grown = start
    for edge in (info.move.edge, *info.move.to):
        grown = grown.grow(edge)
    assert after.structure == grown
    assert after.error < state.error
    single, _ = Greedy(burst=0.0, prune=False).step(problem, state, budget)
    assert single.structure == start.grow(info.move.edge)
