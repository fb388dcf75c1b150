"""Deadlines and stops inside of a step: what is found is kept, and nothing else changes."""

import os
import threading

import jax
import numpy as np
import pytest

from tests.helpers import dense_oracle
from tnjax import (
    Completion,
    Decomposition,
    FixedFormat,
    Greedy,
    GreedyTrial,
    LocalSampling,
    Setup,
    SparseDiagonal,
    Status,
    Structure,
    TensorNetwork,
    TreeSearch,
    _compiling,
    _interrupt,
    fit,
    search,
)
from tnjax.solve import programs as _fitting
from tnjax.sweep import together

RING = Structure.tensor_ring((5, 4, 5, 4), (2, 3, 2, 2))
KEY = jax.random.key(0)
TARGET = 1e-4


def problem():
    network = TensorNetwork.random(RING, key=jax.random.key(101), dtype=np.float64)
    return Decomposition(network.to_dense())


def completion():
    x = np.asarray(problem().target)
    indices = np.argwhere(np.random.default_rng(0).random(x.shape) < 0.7)
    return Completion(indices, x[tuple(indices.T)], x.shape, validation=0.1, key=KEY)


def stop_at(call):
    """True from a given call on, and how often it was called."""
    calls = []

    def stop():
        calls.append(1)
        return len(calls) >= call

    return stop, calls


def check(problem, result):
    """The error is that of the network, computed without tnjax."""
    tensor = np.asarray(problem.target) * problem.scale
    difference = tensor - dense_oracle(result.structure, result.network.cores)
    found = np.linalg.norm(difference) / np.linalg.norm(tensor)
    np.testing.assert_allclose(result.error, found, rtol=1e-6, atol=1e-12)


def test_a_checkpoint_raises_once_the_time_is_over_or_a_stop_asked_for():
    now, asked = [0.0], []
    with _interrupt.interruptible(5.0, lambda: bool(asked), clock=lambda: now[0]):
        _interrupt.checkpoint()
        assert _interrupt.left() == 5.0
        with _interrupt.interruptible(9.0, clock=lambda: now[0]):  # the nearer one counts
            assert _interrupt.left() == 5.0
            now[0] = 6.0
            with pytest.raises(_interrupt.Stopped) as stopped:
                _interrupt.checkpoint()
        assert stopped.value.status is Status.MAX_SECONDS
        assert not isinstance(stopped.value, Exception)  # nothing that handles errors swallows it
        with _interrupt.suspended():
            _interrupt.checkpoint()
        now[0] = 0.0
        assert _interrupt.pending() is Status.MAX_SECONDS  # an answer stays
    with _interrupt.interruptible(5.0, lambda: bool(asked), clock=lambda: now[0]):
        asked.append(1)
        assert _interrupt.pending() is Status.INTERRUPTED
    _interrupt.checkpoint()
    assert not _interrupt.watched()


def test_a_compilation_is_left_once_a_stop_is_asked_for_and_goes_on_by_itself():
    working, release = threading.Event(), threading.Event()

    def make():
        working.set()
        assert release.wait(60)
        return "made"

    def stop():
        return working.is_set()

    with _interrupt.interruptible(None, stop), pytest.raises(_interrupt.Stopped):
        _compiling.finished(make)
    assert _compiling.unfinished()
    release.set()
    with _interrupt.interruptible(None, lambda: False):
        assert _compiling.finished(make) == "made"
        with pytest.raises(ZeroDivisionError):
            _compiling.finished(lambda: 1 / 0)
    for thread in threading.enumerate():
        if thread.name == "tnjax: compiling":
            thread.join(60)
    assert not _compiling.unfinished()


def test_notes_are_kept_by_owner_until_they_are_taken():
    owner, other = object(), object()
    _interrupt.note(owner, 0)  # nobody watches
    with _interrupt.interruptible(None, lambda: False):
        _interrupt.note(owner, 1)
        _interrupt.note(other, 2)
        _interrupt.note(owner, 3)
        assert _interrupt.taken(owner) == (1, 3)
        assert _interrupt.taken(other) == ()


STRATEGIES = {
    "greedy": Greedy(),
    "grown": Greedy(infer=False),
    "trial": GreedyTrial(),
    "sampling": LocalSampling(samples=4, rounds=2),
    "sparse": SparseDiagonal(rank=3, levels=3),
    "tree": TreeSearch(),
    "fixed": FixedFormat("tt"),
    "cp": FixedFormat("cp"),
}


@pytest.mark.filterwarnings("ignore:search. the network has")
@pytest.mark.parametrize("name", STRATEGIES)
def test_stopped_anywhere_a_search_gives_its_best_and_resumes_to_the_same_bits(name, tmp_path):
    data, options = problem(), dict(key=KEY, target_error=TARGET, strategy=STRATEGIES[name])
    never, calls = stop_at(10**9)
    whole = search(data, **options, max_fitted=40)
    watched = search(data, **options, max_fitted=40, setup=Setup(stop=never))
    for a, b in zip(whole.network.cores, watched.network.cores, strict=True):
        np.testing.assert_array_equal(a, b)
    start = whole.path[0].structure
    for n, call in enumerate(sorted({int(c) for c in np.linspace(1, len(calls), 3)})[:-1]):
        folder = tmp_path / str(n)
        part = search(
            data, **options, max_fitted=40, setup=Setup(stop=stop_at(call)[0], checkpoints=folder)
        )
        assert part.status is Status.INTERRUPTED
        check(data, part)
        assert part.path[0].structure == start
        assert n == 0 or list(folder.glob("checkpoint-*"))  # at first it has not even begun
        rest = search(data, **options, max_fitted=40, setup=Setup(checkpoints=folder, resume=True))
        assert rest.structure == whole.structure
        for a, b in zip(whole.network.cores, rest.network.cores, strict=True):
            np.testing.assert_array_equal(a, b)


def test_a_completion_is_stopped_too():
    data = completion()
    never, calls = stop_at(10**9)
    search(data, key=KEY, target_error=1e-3, max_steps=3, setup=Setup(stop=never))
    halfway = Setup(stop=stop_at(len(calls) // 2)[0])
    part = search(data, key=KEY, target_error=1e-3, max_steps=3, setup=halfway)
    assert part.status is Status.INTERRUPTED
    assert part.error < 1


def test_no_time_at_all_gives_the_start_and_its_error():
    data = problem()
    found = search(data, key=KEY, target_error=TARGET, max_seconds=1e-9)
    assert found.status is Status.MAX_SECONDS
    assert found.structure == Structure.rank_one(RING.dims)
    check(data, found)
    assert found.error <= 1
    squeezed = search(
        data, key=KEY, target_error=TARGET, max_seconds=1e-9, setup=Setup(compress=True)
    )
    check(data, squeezed)


@pytest.mark.parametrize("give_up", [False, True])
def test_a_compiled_fit_by_and_by_gives_the_bits_of_one_program(monkeypatch, give_up, override):
    from tnjax import ALS
    from tnjax.solve.limits import limits_of

    monkeypatch.setitem(os.environ, "TNJAX_INTERPRET", "0")
    data, solver = problem(), ALS()
    network = TensorNetwork.random(RING, key=jax.random.key(4), dtype=np.float64)
    limits = limits_of(solver, data, target_error=1e-9, max_steps=50, give_up=give_up)
    run = lambda: _fitting.fitted(
        data, solver, network, limits, work=10**6, passes=20, sweep_flops=1e3
    )
    once = run()
    override({"looks.whole_flops": 0, "looks.chunk_flops": 7e3})
    never, calls = stop_at(10**9)
    with _interrupt.interruptible(None, never):
        often = run()
    assert int(once.value[2]) == int(often.value[2]) > 7
    assert len(calls) > int(once.value[2]) // 7  # it was looked at in between
    for a, b in zip(jax.tree.leaves(once.value), jax.tree.leaves(often.value), strict=True):
        np.testing.assert_array_equal(a, b)
    with _interrupt.interruptible(None, stop_at(4)[0]):  # before, before and after the start
        early = run()
    assert int(early.value[2]) < int(once.value[2])
    assert float(early.value[1]) >= float(once.value[1])


def test_a_fit_inside_ends_with_what_it_has():
    data = problem()
    never, calls = stop_at(10**9)
    with _interrupt.interruptible(None, never):  # afterwards nothing has to be planned any more
        fit(data, RING, key=KEY, max_steps=1000)
    calls.clear()
    with _interrupt.interruptible(None, never):
        fit(data, RING, key=KEY, max_steps=1000)
    with _interrupt.interruptible(None, stop_at(len(calls) // 2)[0]):
        found = fit(data, RING, key=KEY, max_steps=1000)
    assert found.status is Status.INTERRUPTED
    check(data, found)


def test_searches_in_threads_of_their_own_are_stopped_from_outside():
    data = problem()
    threads = set()

    def one(seed):
        threads.add(threading.get_ident())
        return search(data, key=jax.random.key(seed), target_error=TARGET)

    with _interrupt.interruptible(None, stop_at(30)[0]):
        met = together([lambda: one(0), lambda: one(1)])
    assert len(threads) == 2
    assert {result.status for result in met.results} == {Status.INTERRUPTED}
    for result in met.results:
        check(data, result)
