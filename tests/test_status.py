"""How a run ended: what counts as a success, and failures as exceptions."""

import pickle

import jax
import numpy as np
import pytest

from tnjax import Decomposition, Failed, Objective, Setup, Status, Structure, fit, search

KEY = jax.random.key(0)
SUCCESSES = {
    Status.RUNNING: False,
    Status.TARGET_REACHED: True,
    Status.STAGNATED: True,
    Status.PRECISION: True,
    Status.MAX_STEPS: True,
    Status.MAX_PARAMS: True,
    Status.MAX_FLOPS: True,
    Status.MAX_FITTED: True,
    Status.MAX_SECONDS: True,
    Status.MEMORY_LIMIT: True,
    Status.NO_CANDIDATES: True,
    Status.NON_FINITE: False,
    Status.INTERRUPTED: False,
}


def test_every_status_says_whether_it_is_a_success():
    assert {status: status.ok for status in Status} == SUCCESSES
    assert all(status.message for status in Status)


def broken(loss=np.nan):
    return Objective(lambda x: loss * (x**2).sum(), (2, 3))


@pytest.mark.parametrize("throw", [False, True])
def test_a_failure_is_an_exception_where_it_is_asked_for(throw):
    calls = [
        ("search", lambda: search(broken(), key=KEY, max_steps=1, throw=throw)),
        ("fit", lambda: fit(broken(), Structure.rank_one((2, 3)), key=KEY, throw=throw)),
    ]
    for name, call in calls:
        if not throw:
            assert call().status is Status.NON_FINITE
            continue
        with pytest.raises(Failed, match=f"^{name}: the loss became NaN") as seen:
            call()
        assert seen.value.status is Status.NON_FINITE
        assert seen.value.result.structure.dims == (2, 3)
        again = pickle.loads(pickle.dumps(seen.value))
        assert (str(again), again.status) == (str(seen.value), Status.NON_FINITE)


def test_an_interrupted_search_is_a_failure_and_a_limit_is_none():
    problem = Decomposition(np.random.default_rng(0).standard_normal((3, 4, 5)))
    with pytest.raises(Failed, match="interrupted"):
        search(problem, key=KEY, max_params=40, setup=Setup(stop=lambda: True), throw=True)
    assert search(problem, key=KEY, max_steps=1, throw=True).status is Status.MAX_STEPS
