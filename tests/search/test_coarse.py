"""Completions that begin with modes in groups, against dense algebra and planted trains."""

import dataclasses
import itertools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tnjax import Completion, Greedy, Structure, TensorNetwork, search
from tnjax._search.greedy import grouped as _coarse
from tnjax._search.greedy import measure
from tnjax._search.greedy.grouped import Grouping, complete, groupings
from tnjax._search.strategy import Budget
from tnjax.problems.leading import leading_vectors

SIZE, RANK = 9, 2
TRAIN = Structure.tensor_train((SIZE,) * 5, RANK)


def planted(seed, order=(0, 1, 2, 3, 4), share=0.03, *, dtype: Any = np.float64, **options):
    """A train with its modes permuted, and a completion from a share of its entries."""
    rng = np.random.default_rng(seed)
    cores = [rng.standard_normal(TRAIN.core_shape(k)) for k in range(5)]
    tensor = np.asarray(TensorNetwork(TRAIN, cores).to_dense()).transpose(order)
    seen = np.sort(rng.choice(tensor.size, round(share * tensor.size), replace=False))
    indices = np.stack(np.unravel_index(seen, tensor.shape), 1)
    values = tensor.ravel()[seen].astype(dtype)
    options = {"validation": 0.1, "key": jax.random.key(seed), **options}
    return tensor, Completion(indices, values, tensor.shape, **options)


def relative(found, tensor):
    return np.linalg.norm(np.asarray(found) - tensor) / np.linalg.norm(tensor)


# Pieces -------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(3, 4, 5), (4, 4, 4, 4), (2, 9, 3, 8, 4)])
@pytest.mark.parametrize("rank", [2, 3])
def test_groupings_are_all_that_the_entries_determine(shape, rank):
    count = 300
    found = groupings(shape, rank, count)
    modes = range(len(shape))
    size = lambda part: math.prod(shape[m] for m in part)
    unknowns = lambda g: rank * (size(g[0]) + size(g[2])) + rank**2 * size(g[1])
    every = set()
    for first_size in range(1, len(shape) - 1):
        for first in itertools.combinations(modes, first_size):
            rest = [m for m in modes if m not in first]
            for last_size in range(1, len(rest)):
                for last in itertools.combinations(rest, last_size):
                    middle = tuple(m for m in rest if m not in last)
                    grouping = Grouping(first, middle, last)
                    enough = min(size(first), size(last)) >= rank
                    if first < last and enough and unknowns(grouping) <= count / 2:
                        every.add(grouping)
    assert set(found) == every if len(every) <= 24 else set(found) < every
    costs = [unknowns(g) for g in found]
    assert costs == sorted(costs)
    assert all(unknowns(g) >= costs[-1] for g in every - set(found))


def test_no_grouping_where_entries_are_few():
    assert groupings((9,) * 5, 2, 50) == []


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rows_solve_weighted_least_squares(dtype):
    rng = np.random.default_rng(0)
    features, values = rng.standard_normal((200, 3)), rng.standard_normal(200)
    weights, rows, ridge = rng.random(200), rng.integers(0, 7, 200), 1e-2
    weights /= weights.sum()
    grams = [(features[rows == k].T * weights[rows == k]) @ features[rows == k] for k in range(8)]
    mean = sum(map(np.trace, grams)) / 3 / 7  # the row without an entry does not count
    features_, values_, weights_, ridge_ = (
        jnp.asarray(x, dtype) for x in (features, values, weights, ridge)
    )
    found = _coarse._solved(features_, jnp.asarray(rows), values_, weights_, 8, ridge_)
    found = np.asarray(found)
    for k, gram in enumerate(grams):
        rhs = (features[rows == k].T * weights[rows == k]) @ values[rows == k]
        expected = np.linalg.solve(gram + ridge * mean * np.eye(3), rhs)
        np.testing.assert_allclose(found[k], expected, atol=1e-5 if dtype == np.float32 else 1e-12)


@pytest.mark.parametrize("modes", [(0,), (1, 3), (0, 2)])
def test_leading_vectors_of_all_entries(modes):
    """With every entry there, they are the singular vectors but for the diagonal left out."""
    rng = np.random.default_rng(1)
    shape = (6, 5, 7, 4)
    matrix = rng.random((math.prod(shape[m] for m in modes), 1))
    other = rng.random((1, math.prod(shape) // len(matrix)))
    rest = [m for m in range(4) if m not in modes]
    moved = (matrix @ other).reshape([shape[m] for m in (*modes, *rest)])
    tensor = moved.transpose(np.argsort([*modes, *rest]))
    indices = np.argwhere(np.ones(shape, bool))
    found = leading_vectors(indices, tensor.ravel(), shape, modes, 2)
    assert found.shape == (len(matrix), 2)
    np.testing.assert_allclose(found.T @ found, np.eye(2), atol=1e-12)
    cosine = abs(found[:, 0] @ matrix[:, 0]) / np.linalg.norm(matrix)
    assert cosine > 0.98


# Completions --------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("order", [(0, 1, 2, 3, 4), (0, 2, 4, 1, 3), (3, 0, 4, 2, 1)])
def test_complete_finds_the_groups(seed, order):
    tensor, problem = planted(seed, order)
    found, info = complete(problem)
    assert found is not None
    assert found.error < 1e-2
    assert relative(found.tensor * problem.scale, tensor) < 1e-2
    assert info.programs <= 1  # the shapes of all groupings are one


def test_complete_in_single_precision():
    tensor, problem = planted(5, dtype=np.float32)
    found, _ = complete(problem)
    assert found is not None
    assert found.tensor.dtype == np.float32
    assert relative(found.tensor * problem.scale, tensor) < 0.1


def test_complete_takes_weights_and_offsets():
    """Entries of weight zero may hold anything; offsets are no part of what is completed."""
    tensor, problem = planted(3, share=0.05)
    known = problem.training.gathered()
    rng = np.random.default_rng(0)
    wrong = rng.random(known.values.size) < 0.1
    values = np.where(wrong, 100.0, tensor[tuple(known.indices.T)]) + 2 * tensor.std()
    options = {"validation": 0.1, "key": jax.random.key(0), "offsets": "mean"}
    weights = np.where(wrong, 0.0, 1.0)
    other = Completion(known.indices, values, tensor.shape, weights=weights, **options)
    found, _ = complete(other)
    assert found is not None
    assert other.offsets is not None
    offset = other.offsets.at(np.zeros((1, 5), int))[0]
    whole = found.tensor * other.scale + offset
    assert relative(whole, tensor + 2 * tensor.std()) < 0.1


def test_complete_knows_noise():
    _, problem = planted(0)
    known = problem.training.gathered()
    noise = np.random.default_rng(0).standard_normal(known.values.size)
    options = {"validation": 0.1, "key": jax.random.key(0)}
    found, info = complete(Completion(known.indices, noise, (SIZE,) * 5, **options))
    assert found is None
    assert info.fitted == 0


# Searches -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("seed", "order"), [(1, (0, 2, 4, 1, 3)), (3, (0, 1, 2, 3, 4))])
def test_search_begins_with_groups(seed, order):
    """Where a product of vectors explains nothing."""
    tensor, problem = planted(seed, order)
    result = search(
        problem, key=jax.random.key(seed), target_error=1e-3, max_params=3 * TRAIN.num_params
    )
    assert [str(step.move) for step in result.path] == ["start", "infer"]
    assert result.num_params == TRAIN.num_params
    assert result.path[0].error >= 0.9
    assert relative(result.network.to_dense(), tensor) < 1e-3


def test_only_fits_to_the_entries_are_reported():
    """Those that decompose the completed tensor have errors and units of their own."""
    _, problem = planted(5)
    greedy, budget = Greedy(), _budget()
    state, _ = greedy.init(problem, _start(problem), budget, seed=(5,))
    _, info = greedy.step(problem, state, budget)
    assert info.move is not None
    assert info.move.kind == "infer"
    assert info.fits
    for fit in info.fits:
        found = float(problem.error(TensorNetwork(fit.structure, fit.cores)))
        assert fit.error == pytest.approx(found, rel=1e-6)


def test_growth_goes_on_without():
    _, problem = planted(1, (0, 2, 4, 1, 3))
    options = {"key": jax.random.key(1), "target_error": 1e-3, "max_steps": 2}
    grown = search(problem, strategy=Greedy(infer=False), **options)
    assert {step.move.kind for step in grown.path[1:]} <= {"grow", "refit"}


def test_groups_that_may_not_be_kept_are_left():
    """A budget below what was found: growth within it, as if nothing had been."""
    _, problem = planted(3)
    result = search(
        problem,
        key=jax.random.key(3),
        target_error=1e-3,
        max_params=TRAIN.num_params - 10,
        max_steps=2,
    )
    assert result.num_params < TRAIN.num_params
    assert all(step.move.kind != "infer" for step in result.path)


def test_where_groups_do_not_apply():
    _, problem = planted(3)
    known = problem.training.gathered()
    sign = (known.values > 0).astype(float)
    shape, options = problem.shape, {"validation": 0.1, "key": jax.random.key(0)}
    state = Greedy().init(problem, _start(problem), _budget(), seed=(0,))[0]
    assert state.phase == "grouped"
    applies = lambda problem, greedy: _coarse.applies(greedy, problem, state)
    assert applies(problem, Greedy())
    assert not applies(problem, Greedy(infer=False))
    assert not applies(problem, Greedy(edges=((0, 1),)))
    assert not applies(Completion(known.indices, known.values, shape), Greedy())
    others = [
        Completion(known.indices, sign, shape, loss="bernoulli", **options),
        Completion(known.indices, np.abs(known.values), shape, nonnegative=True, **options),
        Completion(known.indices, known.values, shape, smooth={0: 0.1}, **options),
        Completion(known.indices, known.values + 0j, shape, **options),
    ]
    assert not any(applies(other, Greedy()) for other in others)


def _start(problem):
    start = TensorNetwork.random(Structure.rank_one(problem.shape), key=jax.random.key(0))
    return problem.prepared(start)


def _budget():
    return Budget(target_error=1e-3)


# Bounds from the tensor found ---------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_bounds_of_a_completion_hold_for_what_was_planted(seed):
    """Networks that meet the target are within twice of it, so the planted one is admitted, and
    one with a rank less is not."""
    rng = np.random.default_rng(seed)
    cores = [rng.standard_normal(TRAIN.core_shape(k)) for k in range(5)]
    _, problem = planted(seed)  # of these cores
    state = Greedy().init(problem, _start(problem), _budget(), seed=(0,))[0]
    cores = (cores[0] / problem.scale, *cores[1:])
    state = dataclasses.replace(state, structure=TRAIN, cores=cores)
    cuts = measure._found_cuts(problem, state, 1e-3)
    assert cuts is not None
    assert cuts.admits(TRAIN)
    for edge in TRAIN.edges:
        assert not cuts.admits(TRAIN.shrink(edge))
