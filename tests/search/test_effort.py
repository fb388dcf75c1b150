"""How much is done once the target is met."""

import jax
import numpy as np
import pytest

from tnjax import (
    Decomposition,
    Greedy,
    GreedyTrial,
    Setup,
    Status,
    Structure,
    TensorNetwork,
    search,
)
from tnjax._search.greedy import effort as _effort

KEY = jax.random.key(0)
CP = Structure.cp((6, 5, 4), 3)


def problem():
    truth = TensorNetwork.random(CP, key=jax.random.key(5), dtype=np.float64)
    tensor = np.asarray(truth.to_dense())
    wild = np.random.default_rng(0).standard_normal(tensor.shape)
    return Decomposition(tensor + 0.02 * np.linalg.norm(tensor) / np.linalg.norm(wild) * wild)


def run(effort, **options):
    strategy = Greedy(effort=effort, infer=False)
    return search(problem(), key=KEY, target_error=0.03, strategy=strategy, **options)


def test_quick_only_takes_ranks_away_and_more_effort_never_ends_larger():
    quick, normal, thorough = (run(effort) for effort in _effort.EFFORTS)
    assert {step.move.kind for step in quick.path} <= {"start", "grow", "prune"}
    assert {r.status for r in (quick, normal, thorough)} == {Status.TARGET_REACHED}
    assert max(r.error for r in (quick, normal, thorough)) <= 0.03
    assert thorough.num_params <= normal.num_params <= quick.num_params
    assert thorough.num_params < quick.num_params


def test_normal_stops_by_work_and_never_by_time(override, tmp_path):
    thorough = run("thorough")
    override({"effort.floor": 0.0})
    bounded = run("normal")
    assert bounded.fitted < thorough.fitted
    assert bounded.status is Status.TARGET_REACHED
    again = run("normal")
    assert [step.error for step in again.path] == [step.error for step in bounded.path]
    # The work is a part of the state: what was done before an interruption counts.
    path = []
    stop = lambda: len(path) >= len(bounded.path) - 1
    run("normal", on_step=path.append, setup=Setup(stop=stop, checkpoints=tmp_path))
    rest = run("normal", setup=Setup(checkpoints=tmp_path, resume=True))
    for a, b in zip(rest.network.cores, bounded.network.cores, strict=True):
        np.testing.assert_array_equal(a, b)


def test_search_passes_it_on():
    by_search = search(
        problem(), key=KEY, target_error=0.03, strategy=Greedy(infer=False), effort="quick"
    )
    assert by_search.num_params == run("quick").num_params
    with pytest.raises(ValueError, match="unknown effort 'much'"):
        Greedy(effort="much")
    with pytest.raises(ValueError, match="GreedyTrial has no effort"):
        search(problem(), key=KEY, target_error=0.1, strategy=GreedyTrial(), effort="quick")


def test_the_work_of_a_state_is_that_of_its_steps():
    data, strategy = problem(), Greedy(infer=False)
    from tnjax._search.strategy import Budget

    budget = Budget(target_error=0.03)
    start = TensorNetwork.random(Structure.rank_one(data.shape), key=KEY, dtype=np.float64)
    state, info = strategy.init(data, start, budget, seed=(0,))
    total = info.work
    while not state.done:
        state, info = strategy.step(data, state, budget)
        total += info.work
    assert total > 0
    np.testing.assert_allclose(state.work, total)
    assert 0 < state.grown < state.work
