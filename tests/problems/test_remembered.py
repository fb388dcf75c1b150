"""What is known of the data is computed once for all starts, and again for other data."""

import jax
import numpy as np
import pytest

from tnjax import Completion, Structure, TensorNetwork, constants
from tnjax.problems import leading
from tnjax.problems._remembered import Remembered


def test_results_are_kept_by_content_and_the_oldest_go():
    made = []

    def get(kept, array, also=()):
        return kept.get((array,), lambda: made.append(1) or float(array.sum()), also)

    kept = Remembered(2)
    first, second = np.arange(4.0), np.arange(4.0)[::-1]
    assert get(kept, first) == get(kept, first.copy()) == 6
    assert len(made) == 1
    get(kept, second)  # the same numbers in another order
    get(kept, first.astype(np.float32))
    assert len(made) == 3
    get(kept, second, also=1)
    get(kept, first)
    assert len(made) == 5


def problem(seed):
    rng = np.random.default_rng(seed)
    tensor = np.multiply.outer(rng.random((6, 1)) @ rng.random((1, 5)), 1 + rng.random(4))
    return Completion.from_mask(np.where(rng.random(tensor.shape) < 0.7, tensor, np.nan))


def starts(problem, count):
    structure = Structure.tensor_train(problem.shape, 2)
    keys = jax.random.split(jax.random.key(0), count)
    networks = (TensorNetwork.random(structure, key=key, dtype=np.float64) for key in keys)
    return [np.asarray(problem.prepared(network).to_dense()) for network in networks]


def test_many_starts_look_at_the_entries_once(monkeypatch):
    looked = []
    real = leading.leading_bases
    monkeypatch.setattr(
        leading, "leading_bases", lambda *args: looked.append(args[0]) or real(*args)
    )
    monkeypatch.setattr(leading, "_KNOWN", Remembered(4))
    first, other = problem(0), problem(1)
    found = starts(first, 3)
    assert len(looked) == 1
    starts(other, 2)
    assert len(looked) == 2
    with constants.overridden({"informed_start.significant": 1e9}):
        starts(first, 2)
    assert len(looked) == 3
    for start, again in zip(found, starts(first, 3), strict=True):
        np.testing.assert_array_equal(start, again)
    assert len(looked) == 3
    with pytest.raises(AssertionError):  # the starts themselves differ
        np.testing.assert_array_equal(found[0], found[1])
