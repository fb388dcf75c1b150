"""Held-out entries that are like the missing ones: the kinds of gaps, on masks that are planted."""

import jax
import numpy as np
import pytest

from tnjax import Completion, held_out_like

KEY = jax.random.key(0)
SHAPE = (20, 28, 8)


def mask(kind):
    rng = np.random.default_rng(3)
    seen = np.ones(SHAPE, bool)
    if kind == "entries":
        seen = rng.random(SHAPE) < 0.6
    elif kind == "fibers":
        seen = np.broadcast_to((rng.random(SHAPE[:2]) < 0.6)[..., None], SHAPE).copy()
    elif kind == "runs":  # weeks of a place
        seen = np.repeat(rng.random((20, 4)) < 0.7, 7, axis=1)[..., None].repeat(8, axis=2)
    elif kind == "slabs":  # all places at one hour of a day
        seen = np.broadcast_to((rng.random(SHAPE[1:]) < 0.6)[None], SHAPE).copy()
    return seen


def together(indices, numbers, modes):
    """Share of the held-out entries whose fiber, with these modes fixed, is held out whole."""
    held = np.zeros(len(indices), bool)
    held[numbers] = True
    _, fiber = np.unique(indices[:, modes], axis=0, return_inverse=True)
    fiber = fiber.ravel()
    whole = np.bincount(fiber, held) == np.bincount(fiber)
    return float(whole[fiber[held]].mean())


@pytest.mark.parametrize(
    ("kind", "modes", "words"),
    [
        ("entries", [0, 1], "single entries"),
        ("fibers", [0, 1], "all entries along mode 2 together"),
        ("runs", [0, 1], "all entries along mode 2 together, in runs of about 7 along mode 1"),
        ("slabs", [1, 2], "all entries along mode 0 together"),
    ],
)
def test_gaps_of_a_kind_are_held_out(kind, modes, words):
    indices = np.argwhere(mask(kind))
    found = held_out_like(indices, SHAPE, key=KEY)
    assert found.describe().startswith(words)
    assert 0.08 < len(found.numbers) / len(indices) < 0.14
    share = together(indices, found.numbers, modes)
    assert share < 0.1 if kind == "entries" else share > 0.95
    rest = np.delete(indices, found.numbers, axis=0)
    assert all(len(np.unique(rest[:, m])) == n for m, n in enumerate(SHAPE))
    again = held_out_like(indices, SHAPE, key=KEY)
    np.testing.assert_array_equal(found.numbers, again.numbers)


def test_what_is_to_be_predicted_decides_what_is_missing():
    seen = mask("entries")
    indices = np.argwhere(seen)
    days = np.unique(np.argwhere(~seen)[:, :2], axis=0)[:40]
    indices = indices[~(indices[:, None, :2] == days).all(-1).any(1)]
    asked = np.argwhere(np.ones((1, 1, 8)))[:, 2]
    predict = np.asarray([(*day, hour) for day in days for hour in asked])
    assert "mode 2" in held_out_like(indices, SHAPE, key=KEY, predict=predict).describe()
    some = np.argwhere(~seen)[::7]
    lonely = ~(some[:, None, :2] == days).all(-1).any(1)
    found = held_out_like(indices, SHAPE, key=KEY, predict=some[lonely])
    assert found.describe() == "single entries"


def test_both_kinds_are_held_out_in_their_shares():
    seen = mask("entries") & mask("fibers")
    found = held_out_like(np.argwhere(seen), SHAPE, key=KEY)
    missing = np.argwhere(~seen)
    lost = ~seen.any(2)[missing[:, 0], missing[:, 1]]
    shares = {kind.free: kind.share for kind in found.fibers}
    np.testing.assert_allclose(shares[(2,)], lost.mean(), atol=0.05)
    assert "single entries" in found.describe(["place", "day", "hour"])


def test_slices_never_seen_are_warned_about_unless_they_are_ordered():
    seen = np.ones((12, 9, 4), bool)
    seen[[2, 5, 9, 10]] = False
    indices = np.argwhere(seen)
    found = held_out_like(indices, seen.shape, key=KEY)
    assert found.unseen == 1.0
    assert "of day of which nothing is observed" in found.warning(["day", "place", "hour"])
    smooth = held_out_like(indices, seen.shape, key=KEY, ordered=[0])
    assert smooth.warning() is None
    assert together(indices, smooth.numbers, [0]) == 1.0
    with (
        pytest.warns(UserWarning, match="100 % of the entries to predict"),
        pytest.warns(UserWarning, match="Slices without an observed entry"),
    ):
        Completion(indices, np.ones(len(indices)), seen.shape, validation="auto", key=KEY)


def test_few_ratings_say_nothing_about_what_nobody_asks_for():
    rng = np.random.default_rng(0)
    indices = np.unique(rng.integers(0, (60, 80, 30), (900, 3)), axis=0)
    assert held_out_like(indices, (60, 80, 30), key=KEY).describe() == "single entries"


def test_a_completion_takes_it_as_its_validation():
    indices = np.argwhere(mask("fibers"))
    values = np.random.default_rng(0).standard_normal(len(indices))
    found = held_out_like(indices, SHAPE, key=KEY)
    for validation in ("auto", found, found.numbers):
        problem = Completion(indices, values, SHAPE, validation=validation, key=KEY)
        np.testing.assert_array_equal(problem.held_out.indices, indices[found.numbers])
    for bad in ({"validation": "fibers", "key": KEY}, {"validation": "auto"}):
        with pytest.raises(ValueError, match="validation="):
            Completion(indices, values, SHAPE, **bad)
    with pytest.raises(ValueError, match="share=2"):
        held_out_like(indices, SHAPE, key=KEY, share=2)
