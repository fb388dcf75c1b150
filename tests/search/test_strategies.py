"""Every registered strategy keeps the contract of strategies, on one tiny problem."""

import dataclasses

import jax
import numpy as np
import pytest

from tnjax import (
    Decomposition,
    LocalEnumeration,
    Objective,
    Setup,
    Strategy,
    Structure,
    TensorNetwork,
    contraction_cost,
    make_strategy,
    search,
)
from tnjax.strategies import AskTell, strategy_names

RING = Structure.from_edges((3, 4, 3), {(0, 1): 2, (1, 2): 2, (0, 2): 2})
START = Structure.from_edges((3, 4, 3), {(0, 1): 2})
KEY = jax.random.key(3)
MAX_PARAMS = 60
MAX_FITTED = 24
ASKING = [name for name in strategy_names() if isinstance(make_strategy(name), AskTell)]

# Options that make a strategy quick on a problem of this size; defaults for the others.
QUICK: dict[str, dict] = {
    "random-walk": {"max_rank": 3},
    "random-search": {"samples": 8, "max_rank": 3},
    "local-enumeration": {"max_rank": 3, "radius": 1},
    "local-sampling": {"samples": 8, "rounds": 4, "max_rank": 3},
    "genetic": {"population": 8, "max_rank": 3},
    "sparse-diagonal": {"rank": 3, "levels": 8, "sweeps": 20, "factor": 3.0},
}


@pytest.fixture(scope="module")
def problem():
    truth = TensorNetwork.random(RING, key=jax.random.key(1), dtype=np.float64)
    return Decomposition(truth.to_dense())


@pytest.fixture(scope="module")
def found(problem):
    """Results by name: each strategy runs once for all tests that only read."""
    runs = {}

    def run(name):
        if name not in runs:
            runs[name] = _search(problem, name)
        return runs[name]

    return run


def _search(problem, name, setup=None, **changes):
    options = {
        "target_error": 1e-2,
        "max_params": MAX_PARAMS,
        "max_fitted": MAX_FITTED,
        **changes,
    }
    options["setup"] = dataclasses.replace(Setup(start=START), **(setup or {}))
    strategy = make_strategy(name, **QUICK.get(name, {}))
    return search(problem, key=KEY, strategy=strategy, **options)


def _assert_same(a, b):
    assert a.structure == b.structure
    assert a.status is b.status
    for x, y in zip(a.network.cores, b.network.cores, strict=True):
        np.testing.assert_array_equal(np.asarray(x), np.asarray(y))
    steps = lambda result: [(s.move, s.structure, s.error, s.fitted) for s in result.path]
    assert steps(a) == steps(b)
    fits = lambda result: [(r.structure, r.error, r.network is None) for r in result.archive]
    assert fits(a) == fits(b)


@pytest.mark.parametrize("name", strategy_names())
def test_options_are_values(name):
    strategy = make_strategy(name)
    assert isinstance(strategy, Strategy)
    assert dataclasses.is_dataclass(strategy)
    assert strategy == make_strategy(name)
    with pytest.raises(ValueError, match="has no option wrong"):
        make_strategy(name, wrong=1)


@pytest.mark.parametrize("name", strategy_names())
def test_the_budget_is_respected_by_every_fit(found, name):
    result = found(name)
    assert result.archive.records
    assert all(record.num_params <= MAX_PARAMS for record in result.archive)
    # A strategy that fits one structure after another may finish the try that is under way.
    assert result.fitted <= MAX_FITTED + 4


@pytest.mark.parametrize("name", strategy_names())
def test_the_path_is_well_formed(found, name):
    result = found(name)
    assert result.path[0].move.kind == "start"
    assert result.path[0].structure == START
    assert result.path[-1].structure == result.structure
    assert result.path[-1].error == result.error
    for step in result.path:
        assert step.num_params == step.structure.num_params
        assert step.seconds >= step.compile_seconds >= 0
        assert step.fitted >= 1
    fitted = [record.structure for record in result.archive]
    assert all(step.structure in fitted for step in result.path)
    assert sum(step.fitted for step in result.path) <= result.fitted


@pytest.mark.parametrize("name", strategy_names())
def test_the_result_is_the_network_that_it_says(problem, found, name):
    result = found(name)
    dense = np.asarray(result.network.to_dense())
    target = np.asarray(problem.target) * problem.scale
    error = np.linalg.norm(target - dense) / np.linalg.norm(target)
    np.testing.assert_allclose(result.error, error, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("name", strategy_names())
def test_it_is_never_worse_than_its_start(found, name):
    result = found(name)
    first = result.path[0]
    assert result.error <= 1e-2 or result.error <= first.error


@pytest.mark.parametrize("name", strategy_names())
def test_a_start_that_meets_the_target_only_gets_smaller(problem, name):
    start = Structure.from_edges((3, 4, 3), {(0, 1): 3, (1, 2): 3, (0, 2): 2})
    result = _search(problem, name, {"start": start}, max_params=None, max_fitted=12)
    assert result.path[0].error <= 1e-2
    assert result.error <= 1e-2
    assert result.num_params <= start.num_params


@pytest.mark.parametrize("name", strategy_names())
def test_the_same_key_gives_the_same_bits(problem, found, name):
    _assert_same(found(name), _search(problem, name))


@pytest.mark.parametrize("name", strategy_names())
def test_a_resumed_search_ends_like_an_undisturbed_one(problem, found, name, tmp_path):
    steps = []  # `stop` is asked within steps as well
    _search(
        problem,
        name,
        {"checkpoints": tmp_path, "stop": lambda: len(steps) > 0},
        on_step=steps.append,
    )
    assert list(tmp_path.glob("checkpoint-*.safetensors"))
    _assert_same(_search(problem, name, {"checkpoints": tmp_path, "resume": True}), found(name))


@pytest.mark.parametrize("name", strategy_names())
def test_flops_are_a_budget_too(problem, name):
    limit = contraction_cost(START).flops * 2
    result = _search(problem, name, target_error=1e-9, max_flops=limit, max_fitted=8)
    assert all(record.flops <= limit for record in result.archive)


def test_names_are_checked():
    with pytest.raises(ValueError, match="unknown strategy 'best'; choose one of greedy"):
        make_strategy("best")


@pytest.mark.parametrize("name", ASKING)
def test_without_a_bond_there_is_nothing_to_search(name):
    data = np.arange(1.0, 4.0)
    result = search(Decomposition(data), key=KEY, strategy=make_strategy(name), target_error=1e-12)
    assert result.structure == Structure.rank_one((3,))
    np.testing.assert_allclose(result.network.to_dense(), data)


@pytest.mark.parametrize("cost", ["flops", "peak_bytes"])
def test_other_costs_than_parameters_can_be_made_small(problem, cost):
    strategy = LocalEnumeration(cost=cost, max_rank=3, radius=1)
    start = Structure.from_edges((3, 4, 3), {(0, 1): 3, (1, 2): 3, (0, 2): 2})
    result = search(
        problem, key=KEY, strategy=strategy, target_error=1e-2, setup=Setup(start=start)
    )
    assert result.error <= 1e-2
    assert result.structure != start
    chosen = result.choose(cost, target_error=1e-2)
    assert chosen.structure == result.structure


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("genetic", {"population": 0}, "population must be an integer >= 1"),
        ("genetic", {"mutation": 2.0}, r"mutation must be in \(0, 1\]"),
        ("random-search", {"density": 0.0}, "density must be in"),
        ("random-walk", {"cost": "time"}, "unknown cost 'time'"),
        ("random-walk", {"penalty": -1.0}, "penalty must be positive"),
        ("local-sampling", {"template": "star"}, "unknown template 'star'"),
        ("local-sampling", {"decay": 0.0}, "decay must be positive"),
        ("local-enumeration", {"radius": 0}, "radius must be an integer >= 1"),
        ("sparse-diagonal", {"rank": 1}, "rank must be an integer >= 2"),
        ("sparse-diagonal", {"factor": 1.0}, "factor must exceed 1"),
    ],
)
def test_options_out_of_range_say_what_was_expected(name, options, message):
    with pytest.raises(ValueError, match=message):
        make_strategy(name, **options)


def test_a_sparse_diagonal_needs_least_squares():
    loss = Objective(lambda x: (x**2).sum(), (3, 4))
    with pytest.raises(ValueError, match="needs a least squares problem, got Objective"):
        search(loss, key=KEY, strategy=make_strategy("sparse-diagonal"), max_steps=1)
