"""The CP network beside the growth of bonds: when it is looked at, taken, and how it ends."""

import dataclasses
import itertools
import json
from typing import Any

import jax
import numpy as np
import pytest

from tnjax import (
    Decomposition,
    FixedFormat,
    Greedy,
    Setup,
    Status,
    Structure,
    TensorNetwork,
    search,
)
from tnjax._search.greedy import rival as _rival
from tnjax._search.greedy.state import Rival
from tnjax._search.strategy import Budget
from tnjax._storable import decode, encode

DIMS = (5, 4, 5, 4, 5)
ERROR = 0.1


def sum_of_products(dims=DIMS, count=40):
    """Products of vectors with weights that fall slowly, and noise below the target: no unfolding
    has a low rank."""
    rng = np.random.default_rng(0)
    cores = [rng.standard_normal((n, count)) for n in dims]
    weights = 1 / np.arange(1, count + 1)
    tensor = np.einsum("ar,br,cr,dr,er,r->abcde", *cores, weights)
    noise = rng.standard_normal(dims)
    return tensor + 0.05 * np.linalg.norm(tensor) / np.linalg.norm(noise) * noise


def kinds(result):
    return [step.move.kind for step in result.path]


@pytest.fixture
def early(override):
    override({"effort.large": 50})


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_sums_of_products_become_one(early, dtype):
    tensor = sum_of_products().astype(dtype)
    options: dict[str, Any] = {"key": jax.random.key(0), "target_error": ERROR}
    result = search(Decomposition(tensor), **options)
    assert result.status is Status.TARGET_REACHED
    assert "cp" in kinds(result)
    assert list(result.structure.edges) == [tuple(range(len(DIMS)))]
    dense = np.asarray(result.network.to_dense(), np.float64)
    assert np.linalg.norm(dense - tensor) / np.linalg.norm(tensor) <= ERROR * (1 + 1e-5)
    fixed = search(Decomposition(tensor), strategy=FixedFormat("cp"), **options)
    assert result.num_params <= fixed.num_params


def test_errors_are_forecast_by_a_power_law():
    sizes = [4, 8, 16, 32]
    errors = [0.8 * size**-0.5 for size in sizes]
    steps = np.log(2) / np.log(_rival.RIVALRY().growth)
    far, near = (errors[-1] * _rival.RIVALRY().better ** (n * steps) for n in (2, 1))
    assert _rival._lowest(sizes, errors[:2]) == pytest.approx(far)
    assert _rival._lowest(sizes, errors[:3]) == pytest.approx(near)
    assert _rival._lowest(sizes, errors[:1]) == 0  # nothing is known yet
    assert _rival._lowest(sizes, [0.1, 0.0]) == 0


def test_ranks_that_would_not_help_are_not_fitted(early):
    tensor = sum_of_products()
    problem, greedy = Decomposition(tensor), Greedy()
    budget = Budget(target_error=0.02)
    start = TensorNetwork.random(Structure.rank_one(DIMS), key=jax.random.key(0))
    state, _ = greedy.init(problem, start, budget, seed=(0,))
    state = dataclasses.replace(state, rival=Rival())
    most = problem.num_params(Structure.cp(DIMS, 30))
    fit, info, _ = _rival._look(greedy, problem, state, budget, most, 1e-4)
    assert fit is None
    hopeful, more, _ = _rival._look(greedy, problem, state, budget, most, 0.9)
    assert hopeful is not None
    assert hopeful.structure.ranks == (30,)
    assert 0 < len(info.fits) < len(more.fits)


def test_programs_are_made_for_ranks_that_several_share():
    for rank in range(1, 600):
        roomy = _rival._roomy(rank)
        assert roomy >= rank
        assert roomy in (1, 2, 4, 8, 16, 32) if rank <= 32 else roomy <= 1.15 * rank


def test_data_with_ranks_have_no_rival(early):
    structure = Structure.tensor_ring((6, 6, 6, 6), 3)
    rng = np.random.default_rng(0)
    cores = [rng.standard_normal(structure.core_shape(k)) for k in range(4)]
    tensor = np.asarray(TensorNetwork(structure, cores).to_dense())
    for infer in (False, True):
        result = search(
            Decomposition(tensor),
            key=jax.random.key(0),
            target_error=1e-3,
            strategy=Greedy(infer=infer),
        )
        assert result.num_params == structure.num_params
        assert "cp" not in kinds(result)


def test_the_budget_ends_it(early):
    problem = Decomposition(sum_of_products())
    options: dict[str, Any] = {"key": jax.random.key(0)}
    options |= {"target_error": ERROR, "max_params": 400}
    result = search(problem, **options)
    alone = search(problem, **options, strategy=Greedy(hyperedges=False))
    assert result.num_params <= 400
    assert result.status is Status.MAX_PARAMS
    assert "cp" in kinds(result)
    assert result.error < alone.error


def test_no_rival_is_fitted_that_the_budget_forbids():
    problem, greedy = Decomposition(sum_of_products()), Greedy()
    start = TensorNetwork.random(Structure.rank_one(DIMS), key=jax.random.key(0))
    state, _ = greedy.init(problem, start, Budget(target_error=ERROR), seed=(0,))
    state = dataclasses.replace(state, rival=Rival())
    look = lambda budget: _rival._look(greedy, problem, state, budget, 12 * sum(DIMS), 1.0)[0]
    free = look(Budget(target_error=ERROR))
    assert free is not None
    assert free.structure == Structure.cp(DIMS, 12)
    most = problem.flops(Structure.cp(DIMS, 12)) - 1
    bound = look(Budget(target_error=ERROR, max_flops=most))
    assert bound is not None
    assert 1 < bound.structure.ranks[0] < 12


def test_what_grew_is_compared_at_last(override):
    """Too small to be compared on the way, but larger than the CP network that does as well."""
    override({"effort.large": 10**6})
    problem = Decomposition(sum_of_products())
    options: dict[str, Any] = {"key": jax.random.key(0)}
    result = search(problem, **options, target_error=0.25)
    grown = search(problem, **options, target_error=0.25, strategy=Greedy(hyperedges=False))
    assert kinds(result).index("cp") >= len(kinds(grown))
    assert result.num_params < grown.num_params
    assert list(result.structure.edges) == [tuple(range(len(DIMS)))]


def test_tucker_networks_are_tried_at_last():
    """A core of full ranks with a slowly falling spectrum: no chain of two bonds is as small."""
    rng = np.random.default_rng(0)
    core = rng.standard_normal((4, 4, 4))
    factors = [rng.standard_normal((n, 4)) for n in (20, 24, 28)]
    tensor = np.einsum("abc,ia,jb,kc->ijk", core, *factors)
    smooth = rng.standard_normal(tensor.shape) / (1 + np.arange(28)) ** 1.5
    tensor += 0.15 * np.linalg.norm(tensor) / np.linalg.norm(smooth) * smooth
    problem, key = Decomposition(tensor), jax.random.key(0)
    result = search(problem, key=key, target_error=0.16)
    tucker = search(problem, key=key, target_error=0.16, strategy=FixedFormat("tucker"))
    assert result.error <= 0.16
    assert {"tucker", "tree"} & set(kinds(result))  # the network held may be that already
    assert result.num_params <= tucker.num_params


def test_max_rank_holds(early):
    result = search(
        Decomposition(sum_of_products()),
        key=jax.random.key(0),
        target_error=ERROR,
        strategy=Greedy(max_rank=9),
        max_steps=30,
    )
    assert max(result.structure.ranks) <= 9


def test_when_it_is_due():
    problem = Decomposition(sum_of_products((30, 20, 30, 20, 3)))
    start = TensorNetwork.random(Structure.rank_one(problem.shape), key=jax.random.key(0))
    greedy = Greedy(infer=False)
    state, _ = greedy.init(problem, start, Budget(target_error=ERROR), seed=(0,))

    def due(strategy=greedy, ranks=12, **changes):
        structure = Structure.tensor_train(problem.shape, ranks)
        fields: dict[str, Any] = {"structure": structure, "rival": Rival(), **changes}
        return _rival.due(strategy, problem, dataclasses.replace(state, **fields))

    assert due()
    assert not due(ranks=2)
    params = Structure.tensor_train(problem.shape, 12).num_params
    assert not due(rival=Rival(3, (), int(params / 1.4)))
    assert due(rival=Rival(3, (), int(params / 1.6)))
    assert not due(Greedy(hyperedges=False))
    assert not due(Greedy(prune=False))
    assert not due(rival=None)
    assert not due(measured=True)  # a swap grows too


def test_ranks_on_the_way():
    climb = _rival._climb(1, 100)
    assert climb[-1] == 100
    assert climb == sorted(set(climb))
    assert all(b <= 1.5 * a for a, b in itertools.pairwise(climb))
    assert _rival._climb(80, 100) == [100]


def test_a_rival_can_be_stored():
    rival = Rival(2, (np.ones((3, 2)), np.zeros((4, 2))), 100, 7)
    arrays: dict[str, np.ndarray] = {}
    back = decode(json.loads(json.dumps(encode(rival, arrays))), arrays)
    assert (back.rank, back.compared, back.stride) == (2, 100, 7)
    for a, b in zip(back.cores, rival.cores, strict=True):
        np.testing.assert_array_equal(a, b)


def test_resumed_it_ends_alike(early, tmp_path):
    options: dict[str, Any] = {"key": jax.random.key(0), "target_error": ERROR}
    problem = Decomposition(sum_of_products())
    whole = search(problem, **options)
    at = kinds(whole).index("cp")
    search(problem, **options, setup=Setup(checkpoints=tmp_path), max_steps=at + 1)
    rest = search(problem, **options, setup=Setup(checkpoints=tmp_path, resume=True))
    assert rest.structure == whole.structure
    assert rest.error == pytest.approx(whole.error, rel=1e-6)
