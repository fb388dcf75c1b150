"""What is held out, and what is done with it in the end."""

import jax
import numpy as np
import pytest

from tnjax import Completion, Structure, TensorNetwork, split_entries
from tnjax.problems import Huber

KEY = jax.random.key(0)


def ratings(rng, single):
    """Entries [user, film]: some users with one rating, all others with many."""
    users = [np.full(12, n) for n in range(30)] + [np.asarray([30 + n]) for n in range(single)]
    indices = np.concatenate([np.stack([u, rng.permutation(40)[: len(u)]], axis=1) for u in users])
    indices = np.concatenate([indices, np.stack([np.arange(40) % 30, np.arange(40)], axis=1)])
    indices = np.unique(indices, axis=0)
    return indices, rng.standard_normal(len(indices)), (30 + single, 40)


@pytest.mark.parametrize("share", [0.1, 0.3])
def test_no_slice_is_emptied_by_what_is_held_out(share):
    indices, values, shape = ratings(np.random.default_rng(0), 50)
    plain, held = split_entries(len(values), (1 - share, share), key=KEY)
    assert len(np.unique(indices[plain, 0])) < shape[0]  # as it was drawn before
    problem = Completion(indices, values, shape, validation=share, key=KEY)
    seen = np.asarray(problem.training.indices)
    for mode, size in enumerate(shape):
        assert np.all(np.bincount(seen[:, mode], minlength=size) > 0)
    assert problem.held_out.count == len(held)
    both = np.concatenate([seen, np.asarray(problem.held_out.indices)])
    assert len(np.unique(both, axis=0)) == len(values)
    again = Completion(indices, values, shape, validation=share, key=KEY)
    np.testing.assert_array_equal(seen, again.training.indices)


def test_where_none_is_emptied_the_draw_is_that_of_the_key():
    tensor = np.random.default_rng(0).standard_normal((8, 9))
    problem = Completion.from_mask(tensor, validation=0.1, key=KEY)
    _, held = split_entries(tensor.size, (0.9, 0.1), key=KEY)
    np.testing.assert_array_equal(
        problem.held_out.indices, np.stack(np.unravel_index(held, tensor.shape), axis=1)
    )


def test_what_cannot_be_held_out_is_refused():
    with pytest.raises(ValueError, match="the only one of its slice"):
        Completion(np.stack([np.arange(9)] * 2, 1), np.ones(9), (9, 9), validation=0.2, key=KEY)


@pytest.mark.parametrize("options", [{}, {"ridge": 0.3}, {"loss": "bernoulli"}])
def test_everything_is_the_problem_with_nothing_held_out(options):
    rng = np.random.default_rng(1)
    tensor = rng.standard_normal((5, 6, 4))
    if "loss" in options:
        tensor = (tensor > 0).astype(float)
    problem = Completion.from_mask(tensor, validation=0.2, key=KEY, **options)
    whole, plain = problem.everything(), Completion.from_mask(tensor, **options)
    assert whole.held_out is None
    network = TensorNetwork.random(Structure.tensor_train(tensor.shape, 2), key=KEY)
    in_units = lambda p: network / float(p.scale)
    for value in ("error", "loss"):
        found, expected = (getattr(p, value)(in_units(p)) for p in (whole, plain))
        if value == "loss" and plain.quadratic:  # in units of what each was scaled by
            found, expected = found * whole.scale**2, expected * plain.scale**2
            if options:
                continue  # the ridge is in these units as well
        np.testing.assert_allclose(found, expected, rtol=1e-10)


@pytest.mark.parametrize("factor", [1e-3, 1.0, 1e4])
def test_huber_knows_the_units_of_the_values(factor):
    values = np.random.default_rng(0).standard_normal(1000)
    values[:20] += 1e3  # outliers do not count for the scale
    problem = Completion.from_mask(factor * values, loss="huber")
    np.testing.assert_allclose(problem.loss_function.delta, 0.5 * factor, rtol=0.1)
    plain = Completion.from_mask(factor * values, loss=Huber(2.0))
    assert plain.loss_function.delta == 2.0
    mostly = np.where(np.arange(1000) < 900, 3.0, 3 + factor)
    rare = Completion.from_mask(mostly, loss=Huber(1.0, relative=True))
    np.testing.assert_allclose(rare.loss_function.delta, 0.1 * factor)
