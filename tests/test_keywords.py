"""Keywords: few in number, limits in a value or plainly, those of version 0.1 with a warning."""

import dataclasses
import inspect

import jax
import numpy as np
import optax
import pytest

import tnjax
from tnjax import (
    Decomposition,
    Limits,
    Minibatch,
    Setup,
    Structure,
    cut_bounds,
    fit,
    inferred_graphs,
    search,
)
from tnjax.io import random_mask

KEY = jax.random.key(0)


def problem():
    return Decomposition(np.random.default_rng(0).standard_normal((3, 4, 5)))


def same(a, b):
    assert (a.structure, a.error, a.status) == (b.structure, b.error, b.status)


@pytest.mark.parametrize("name", ["search", "fit", "init", "step", "compress"])
def test_functions_take_at_most_eight_arguments_beside_the_problem(name):
    parameters = list(inspect.signature(getattr(tnjax, name)).parameters)
    subject = {"model", "problem"}  # of `compress` the model and the task
    assert len([p for p in parameters if p not in subject]) <= 8


def test_limits_are_a_value_or_keywords_or_both():
    whole = search(problem(), key=KEY, max_params=40, max_steps=2)
    same(search(problem(), key=KEY, limits=Limits(max_params=40, max_steps=2)), whole)
    same(search(problem(), key=KEY, limits=Limits(max_params=40), max_steps=2), whole)
    train = Structure.tensor_train((3, 4, 5), 2)
    plain = fit(problem(), train, key=KEY, max_steps=3, target_error=0.1)
    same(fit(problem(), train, key=KEY, limits=Limits(max_steps=3, target_error=0.1)), plain)


@pytest.mark.usefixtures("unchecked")
def test_wrong_limits_are_named():
    with pytest.raises(ValueError, match="max_steps is given as a keyword and in `limits`"):
        search(problem(), key=KEY, limits=Limits(max_steps=2), max_steps=3)
    with pytest.raises(ValueError, match="Limits: max_params: expected a positive number"):
        Limits(max_params=0)
    with pytest.raises(ValueError, match="fit: max_steps: expected a positive number, got 'all'"):
        fit(problem(), Structure.rank_one((3, 4, 5)), key=KEY, max_steps="all")
    with pytest.raises(ValueError, match="give at least one limit"):
        search(problem(), key=KEY, limits=Limits(memory_limit=10**9))
    with pytest.raises(
        TypeError, match=r"search\(\) got an unexpected keyword argument 'max_size'"
    ):
        search(problem(), key=KEY, max_size=3)
    train = Structure.tensor_train((3, 4, 5), 2)
    with pytest.raises(ValueError, match="max_params is no limit of `fit`"):
        fit(problem(), train, key=KEY, limits=Limits(max_params=3))


def test_keywords_of_version_0_1_still_work(tmp_path):
    """With one warning that names what to write; the search is the same."""
    train = Structure.tensor_train((3, 4, 5), 1)
    options = {"key": KEY, "max_params": 40}
    with pytest.warns(
        DeprecationWarning, match=r"search: .*Setup\(start=\.\.\., compress=\.\.\., stop=\.\.\.\)"
    ) as seen:
        old = search(problem(), **options, start=train, stop=lambda: False, compress=False)
    assert len(seen) == 1
    new = search(problem(), **options, setup=Setup(start=train, compress=False))
    same(old, new)
    with pytest.warns(DeprecationWarning, match="checkpoints"):
        search(problem(), **options, setup=Setup(start=train), checkpoints=tmp_path)
    resumed = Setup(start=train, checkpoints=tmp_path, resume=True)
    same(search(problem(), **options, setup=resumed), new)
    names = {field.name for field in dataclasses.fields(Setup)}
    assert names == {"start", "compress", "checkpoints", "resume", "on_progress", "stop"}


def test_seeds_of_version_0_1_are_keys_now():
    """With a warning; the numbers drawn are the same."""
    x = np.random.default_rng(0).standard_normal((4, 4, 4))
    ranks = cut_bounds(x, 0.5).ranks
    calls = [
        ("cut_bounds", lambda **word: cut_bounds(x, 0.5, **word), 3),
        ("inferred_graphs", lambda **word: inferred_graphs(ranks, x.shape, **word), (3,)),
        ("random_mask", lambda **word: random_mask((4, 5), 0.5, **word).tolist(), 3),
        ("Minibatch", lambda **word: Minibatch(optax.sgd(0.1), **word).key_data.tolist(), 3),
    ]
    for name, call, seed in calls:
        with pytest.warns(DeprecationWarning, match=rf"^{name}: seed=.* key=jax\.random\.key\(3\)"):
            old = call(seed=seed)
        assert old == call(key=jax.random.key(3))
    mask = np.zeros(20, bool)
    mask[np.random.default_rng(3).permutation(20)[:10]] = True
    assert random_mask((4, 5), 0.5, key=jax.random.key(3)).ravel().tolist() == mask.tolist()
