"""A search that is stepped by hand takes the path of `search`, and shows the user's units."""

import jax
import numpy as np
import pytest

from tests.helpers import dense_oracle
from tnjax import (
    Completion,
    Decomposition,
    Greedy,
    LocalSampling,
    Setup,
    Status,
    Structure,
    TensorNetwork,
    init,
    search,
    step,
)

KEY = jax.random.key(0)
RING = Structure.tensor_ring((5, 4, 5, 4), (2, 3, 2, 2))


def planted(structure=RING, scale=7.0):
    network = TensorNetwork.random(structure, key=jax.random.key(101), dtype=np.float64)
    return scale * np.asarray(network.to_dense())


def completion():
    x = planted()
    indices = np.argwhere(np.random.default_rng(0).random(x.shape) < 0.7)
    return Completion(indices, x[tuple(indices.T)], x.shape, validation=0.1, key=KEY)


PROBLEMS = {"decomposition": lambda: Decomposition(planted()), "completion": completion}
STRATEGIES = {
    "greedy": (Greedy(infer=False), {"target_error": 1e-2, "max_steps": 5}),
    "ask and tell": (LocalSampling(), {"target_error": 1e-2, "max_fitted": 14}),
}


def stepped(problem, **options):
    state = init(problem, **options)
    states = [state]
    while not state.done:
        state = step(problem, state)
        states.append(state)
    return states


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("problem", PROBLEMS)
def test_a_loop_of_steps_takes_the_path_of_search(problem, strategy):
    problem, (chosen, limits) = PROBLEMS[problem](), STRATEGIES[strategy]
    seen = []
    whole = search(problem, key=KEY, strategy=chosen, on_step=seen.append, **limits)
    states = stepped(problem, key=KEY, strategy=chosen, **limits)
    accepted = [
        now
        for last, now in zip([None, *states], states)
        if last is None or len(now.moves) > len(last.moves)
    ]
    assert [(s.moves[-1], s.structure, s.num_params, s.error) for s in accepted] == [
        (s.move, s.structure, s.num_params, s.error) for s in seen
    ]
    last = states[-1]
    assert (last.status, last.fitted) == (whole.status, whole.fitted)
    assert (last.structure, last.error) == (whole.structure, whole.error)
    for ours, theirs in zip(last.network.cores, whole.network.cores, strict=True):
        np.testing.assert_array_equal(np.asarray(ours), np.asarray(theirs))


def test_states_are_in_the_users_units_where_a_core_stands_for_the_tensor():
    """A tensor of small multilinear rank is searched by its HOSVD core."""
    train = Structure.tensor_train((12, 10, 11), 2)
    x = planted(train)
    problem = Decomposition(x)
    states = stepped(problem, key=KEY, strategy=Greedy(infer=False), target_error=1e-2)
    assert states[0].compression is not None
    for state in (states[0], states[-1]):
        assert state.structure.dims == x.shape
        assert state.num_params == state.network.num_params
        dense = dense_oracle(state.network.structure, state.network.cores)
        found = np.linalg.norm(dense - x) / np.linalg.norm(x)
        np.testing.assert_allclose(state.error, found, rtol=1e-6, atol=1e-7)
    plain = init(problem, key=KEY, strategy=Greedy(infer=False), target_error=1e-2, compress=False)
    assert plain.compression is None
    whole = search(problem, key=KEY, strategy=Greedy(infer=False), target_error=1e-2)
    assert [step.move for step in whole.path] == list(states[-1].moves)


def test_a_state_is_a_value_to_step_from_again():
    problem = Decomposition(planted())
    first = init(problem, key=KEY, strategy=Greedy(infer=False), max_steps=3)
    a, b = step(problem, first), step(problem, first)
    assert (a.moves, a.error, first.moves[0].kind) == (b.moves, b.error, "start")
    again = init(problem, key=KEY, max_steps=1, start=a.network, compress=False)
    assert again.structure == a.structure
    assert again.error <= a.error * (1 + 1e-9)


def test_what_cannot_be_stepped_is_said():
    problem = Decomposition(planted())
    with pytest.raises(ValueError, match="max_seconds is for `search`"):
        init(problem, key=KEY, max_seconds=1.0)
    with pytest.raises(ValueError, match="give at least one limit"):
        init(problem, key=KEY)
    state = init(problem, key=KEY, max_fitted=1)
    assert (state.done, state.status, state.doing) == (True, Status.MAX_FITTED, "finished")
    with pytest.raises(ValueError, match="the search is over"):
        step(problem, state)
    state = init(problem, key=KEY, max_steps=1)
    with pytest.raises(ValueError, match="of a problem of shape"):
        step(Decomposition(planted(Structure.tensor_ring((3, 3, 3), 2))), state)
    with pytest.raises(ValueError, match=r'True, False or "auto"'):
        Setup(compress="always")
