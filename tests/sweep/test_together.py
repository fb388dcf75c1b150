"""Searches whose equal programs are one batched call: the moves of each are those that it takes
alone."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tests.helpers import random_network
from tnjax import (
    Completion,
    Decomposition,
    Greedy,
    Minibatch,
    Objective,
    Structure,
    TensorNetwork,
    _compile,
    fit,
    make_mesh,
    make_strategy,
    search,
)
from tnjax._together import ROUNDS, batch_size, together

ADAM = optax.adam(1e-2)
RING = Structure.tensor_ring((5, 6, 5), 2)


def truth(seed: int, dtype="float64") -> TensorNetwork:
    return random_network(RING, dtype, seed)


def decomposition(seed: int, dtype) -> Decomposition:
    return Decomposition(truth(0, dtype).to_dense())


def completion(seed: int, dtype, of=0) -> Completion:
    indices = np.argwhere(np.random.default_rng(5).random(RING.dims) < 0.9)
    values = truth(of, dtype).entries(indices)
    return Completion(indices, values, RING.dims, validation=0.1, key=jax.random.key(seed))


def own_data(seed: int, dtype) -> Completion:
    return completion(seed, dtype, of=seed)


def objective(seed: int, dtype) -> Objective:
    target = jnp.asarray(truth(0, dtype).to_dense())
    return Objective(lambda x: jnp.mean((x - target) ** 4) ** 0.25, RING.dims)


def path_of(result) -> list:
    return [(str(step.move), step.structure, step.num_params) for step in result.path]


@pytest.mark.parametrize(
    ("make", "dtype", "strategy"),
    [
        (decomposition, "float64", Greedy()),
        (decomposition, "float32", Greedy(infer=False, prune=False)),
        (decomposition, "float64", make_strategy("genetic")),
        (decomposition, "float64", make_strategy("sparse-diagonal")),
        (completion, "float64", Greedy(prune=False)),
        (own_data, "float64", Greedy(rewire=False, internal=False, hyperedges=False)),
        (own_data, "float32", Greedy(infer=False, prune=False)),
        (own_data, "float64", make_strategy("random-walk")),
    ],
    ids=lambda part: getattr(part, "__name__", None) or getattr(type(part), "__name__", None),
)
def test_seeds_take_together_the_moves_that_they_take_alone(make, dtype, strategy):
    problems = [make(seed, dtype) for seed in range(3)]
    run = lambda seed: search(
        problems[seed],
        key=jax.random.key(seed),
        strategy=strategy,
        target_error=1e-3,
        max_steps=4,
        max_fitted=6,
    )
    alone = [run(seed) for seed in range(3)]
    met = together([lambda seed=seed: run(seed) for seed in range(3)])
    assert met.batched > met.batches > 0
    for one, other in zip(alone, met.results, strict=True):
        assert path_of(one) == path_of(other)
        exact = dtype == "float64"
        errors = [[step.error for step in found.path] for found in (one, other)]
        np.testing.assert_allclose(
            *errors, rtol=1e-6 if exact else 2e-2, atol=1e-8 if exact else 2e-5
        )
        assert one.status is other.status
        assert other.network.dtype == np.dtype(dtype)


def test_any_loss_and_solvers_with_keys_meet():
    run = lambda seed: search(
        objective(seed, "float64"),
        key=jax.random.key(seed),
        strategy=Greedy(prune=False, solver=ADAM),
        max_steps=1,
    )
    problem, solver = completion(0, "float64"), Minibatch(optax.adam(1e-2), 8, 5, max_steps=4)
    once = lambda seed: fit(problem, RING, key=jax.random.key(seed), solver=solver)
    for call in (run, once):
        alone = [call(seed) for seed in range(2)]
        met = together([lambda seed=seed, call=call: call(seed) for seed in range(2)])
        for one, other in zip(alone, met.results, strict=True):
            np.testing.assert_allclose(one.error, other.error, rtol=1e-8)
    assert met.batches > 0


# Programs in name only -----------------------------------------------------------------------


def double(name, x):
    return {"y": 2 * x, "name": jnp.zeros(len(name))}


def ask(name, x):
    return _compile.run(double, (name,), (x,), work=1)


def test_calls_of_one_program_are_one_call_and_others_go_alone():
    _compile.clear_cache()

    def task(seed):
        values = [ask("all", np.full(3, float(seed))).value["y"]]
        if seed == 1:  # this one is a call behind
            values.append(ask("mine", np.full(2, 7.0)).value["y"])
        values.append(ask("last", np.asarray(float(seed))).value["y"])
        return values

    met = together([lambda seed=seed: task(seed) for seed in range(4)])
    for seed, values in enumerate(met.results):
        wanted = [np.full(3, 2.0 * seed), *([np.full(2, 14.0)] if seed == 1 else []), 2.0 * seed]
        for a, b in zip(values, wanted, strict=True):
            np.testing.assert_array_equal(a, b)
    # Three of four are first at "last"; a lone call goes before them only when it has waited.
    assert (met.calls, met.batched, met.programs) == (9, 7, 4)
    assert met.batches == 2


def test_what_is_the_same_for_all_is_run_once():
    met = together([lambda: ask("same", np.ones(3)).value["y"]] * 3)
    assert (met.calls, met.batches, met.batched) == (3, 1, 3)
    for value in met.results:
        np.testing.assert_array_equal(value, np.full(3, 2.0))


def test_nobody_waits_forever():
    seen = []

    def many(seed):
        for n in range(3 * ROUNDS().patience):
            ask("many", np.asarray(float(seed + n)))
            seen.append("many")

    def lone():
        ask("lone", np.ones(2))
        seen.append("lone")

    together([lambda: many(0), lambda: many(1), lone])
    assert seen.index("lone") <= 2 * ROUNDS().patience + 2


def test_a_batch_that_memory_does_not_hold_is_split_up():
    x = [np.full(4096, float(seed)) for seed in range(4)]
    whole = together([lambda seed=seed: ask("big", x[seed]).value["y"] for seed in range(4)])
    parts = together(
        [lambda seed=seed: ask("big", x[seed]).value["y"] for seed in range(4)],
        max_bytes=4 * 4 * 8 * 1024,
    )
    assert (whole.batches, parts.batches) == (1, 2)
    for a, b, seed in zip(whole.results, parts.results, range(4), strict=True):
        np.testing.assert_array_equal(a, np.full(4096, 2.0 * seed))
        np.testing.assert_array_equal(a, b)


def test_sizes_of_batches_are_few():
    costly = 10**9
    assert {batch_size(n, 8, costly) for n in range(2, 9)} == {2, 4, 8}
    assert {batch_size(n, 5, costly) for n in range(2, 6)} == {2, 3, 5}
    assert {batch_size(n, 8, 1) for n in range(2, 9)} == {8}
    assert all(batch_size(n, k, costly) >= n for k in range(2, 20) for n in range(2, k + 1))


def test_what_a_task_raises_comes_out_after_all_have_ended():
    ended = []

    def task(seed):
        ask("all", np.asarray(float(seed)))
        if seed == 1:
            raise ValueError("the second")
        ask("all", np.asarray(-float(seed)))
        ended.append(seed)

    with pytest.raises(ValueError, match="the second"):
        together([lambda seed=seed: task(seed) for seed in range(3)])
    assert ended == [0, 2]
    # Outside, programs are run as ever.
    assert getattr(_compile._here, "runner", None) is None


def test_a_program_that_fails_fails_for_those_that_asked_for_it():
    def broken(x):
        raise FloatingPointError("broken")

    def task(seed):
        try:
            _compile.run(broken, (), (np.asarray(float(seed)),), work=1)
        except FloatingPointError as error:
            return str(error)

    assert together([lambda: task(0), lambda: task(1)]).results == ("broken", "broken")


def test_an_interruption_leaves_no_thread_behind(monkeypatch):
    import threading

    from tnjax._together import _Table

    def interrupted(self, group):
        raise KeyboardInterrupt

    monkeypatch.setattr(_Table, "_answer", interrupted)
    before = threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        together([lambda seed=seed: ask("all", np.asarray(float(seed))) for seed in range(3)])
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and thread.daemon:
            thread.join(5)
    assert threading.active_count() <= before


def test_a_mesh_is_refused():
    problem = Decomposition(truth(0).to_dense(), mesh=make_mesh(1))
    with pytest.raises(ValueError, match="on a mesh of devices"):
        together([lambda: search(problem, key=jax.random.key(0), max_steps=1)] * 2)
