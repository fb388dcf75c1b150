"""Searching on the HOSVD core: exact errors, original sizes, the same structure found."""

import dataclasses

import jax
import numpy as np
import pytest

from tests.helpers import normal
from tnjax import (
    Decomposition,
    FixedFormat,
    Objective,
    Setup,
    Structure,
    TensorNetwork,
    TreeSearch,
    relative_error,
    search,
)
from tnjax._search.reduce import core as _compress
from tnjax._search.reduce.core import compress_problem, worthwhile

KEY = jax.random.key(0)
DIMS = (9, 10, 8)
PLANTED = Structure.tensor_train(DIMS, (2, 3))


def planted(dtype="float64", noise=0.0) -> np.ndarray:
    cores = [normal(PLANTED.core_shape(k), dtype, seed=k) for k in range(3)]
    tensor = np.asarray(TensorNetwork(PLANTED, cores).to_dense())
    return (tensor + noise * normal(DIMS, dtype, seed=9)).astype(dtype)


@pytest.mark.parametrize("dtype", ["float64", "complex128"])
@pytest.mark.parametrize("size", [0.0, 1e-11, 1e-9])
def test_what_a_projection_loses_is_told_to_the_last_digits(dtype, size):
    """As a difference of two squares near one it was 1e-8 where nothing was lost."""
    tensor = planted(dtype)
    left, *_ = np.linalg.svd(tensor.reshape(9, -1))
    other = np.multiply.outer(left[:, 5], normal((10, 8), dtype, seed=3))  # in no leading direction
    other *= size * np.linalg.norm(tensor) / np.linalg.norm(other)
    found = compress_problem(Decomposition(tensor + other), 1e-7)
    assert found is not None
    whole = (tensor + other) / np.linalg.norm(tensor + other)
    kept = np.asarray(found.problem.dense_target)
    for mode, basis in enumerate(found.factors):
        if basis is not None:
            kept = np.moveaxis(np.tensordot(basis, kept, axes=(1, mode)), 0, mode)
    exact = np.linalg.norm(whole - kept)
    np.testing.assert_allclose(found.problem.lost, exact, rtol=1e-3, atol=1e-14)
    assert found.problem.lost <= max(3 * size, 1e-13)


@pytest.mark.parametrize("dtype", ["float64", "complex64"])
def test_errors_on_the_core_are_errors_on_the_whole(dtype):
    tensor = planted(dtype, noise=0.2)
    found = compress_problem(Decomposition(tensor), 0.3, share=0.5)
    assert found is not None
    assert np.prod(found.problem.shape) < tensor.size
    inside = TensorNetwork.random(
        Structure.tensor_ring(found.problem.shape, 2), key=KEY, dtype=dtype
    )
    outside = found.outside(inside)
    tolerance = 1e-12 if dtype == "float64" else 2e-5
    assert outside.structure.dims == DIMS
    delta = TensorNetwork(inside.structure, [0.1 * core for core in inside.cores])

    @jax.jit
    def values(problem, network, step):
        moved = problem.perturbed_loss(problem.linearize(network), step)
        return problem.error(network), problem.loss(network), moved

    np.testing.assert_allclose(
        values(found.problem, inside, delta),
        values(found.whole, outside, found.outside(delta)),
        rtol=tolerance,
    )
    for factor in found.factors:
        if factor is not None:
            np.testing.assert_allclose(factor.conj().T @ factor, np.eye(factor.shape[1]), atol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "complex128"])
@pytest.mark.parametrize("rows", [1, 4, 100])
@pytest.mark.parametrize(
    "structure",
    [
        Structure.tensor_ring(DIMS, 2),
        Structure.cp(DIMS, 3),
        Structure(DIMS, ((1,), (2, 0), ()), {(0, 1): 2, (0, 2): 3, (1, 2): 2}),
    ],
    ids=["ring", "hyperedge", "merged"],
)
def test_the_error_slab_by_slab(structure, rows, dtype, override):
    override({"reduction.slab": rows * DIMS[1] * DIMS[2]})
    problem = Decomposition(planted(dtype))
    network = TensorNetwork.random(structure, key=KEY, dtype=problem.dtype)
    expected = float(problem.error(network))
    found = _compress.host_error(problem, network)
    np.testing.assert_allclose(found, expected, rtol=1e-5 if dtype == "float32" else 1e-12)


def test_a_target_that_was_missed_is_fitted_on_the_whole_within_the_memory():
    problem = Decomposition(planted())
    loose = {"key": KEY, "target_error": 0.01, "max_params": 60, "setup": Setup(compress=True)}
    fitted = search(problem, **loose)
    small = compress_problem(problem, 0.01)
    assert small is not None
    limit = small.problem.fit_peak_bytes(Structure.fully_connected(small.problem.shape, 2))
    assert limit < problem.fit_peak_bytes(fitted.structure)
    bounded = search(problem, **loose, memory_limit=limit)
    for result in (fitted, bounded):
        assert result.error > 0.01
        exact = relative_error(result.network, planted())
        np.testing.assert_allclose(result.error, exact, rtol=1e-6)


def test_the_projection_keeps_to_its_share():
    tensor = planted(noise=0.3)
    for share in (0.1, 0.9):
        found = compress_problem(Decomposition(tensor), 0.3, share=share)
        if found is not None:
            assert float(found.problem.lost) <= share * 0.3 + 1e-12
    assert found is not None


def test_parameters_are_counted_with_the_original_sizes():
    found = compress_problem(Decomposition(planted()), 1e-3)
    assert found is not None
    assert worthwhile(found)
    assert found.problem.shape == (2, 6, 3)
    small = Structure.tensor_train((2, 6, 3), (2, 3))
    assert found.problem.num_params(small) == PLANTED.num_params
    assert found.structure(small) == PLANTED


@pytest.mark.parametrize("strategy", [None, TreeSearch(count=1), FixedFormat("tucker")])
def test_the_same_network_is_found_either_way(strategy):
    problem, steps = Decomposition(planted()), []
    with_core = search(problem, key=KEY, strategy=strategy, target_error=1e-3, on_step=steps.append)
    without = search(
        problem, key=KEY, strategy=strategy, target_error=1e-3, setup=Setup(compress=False)
    )
    assert with_core.structure == without.structure
    assert with_core.error == pytest.approx(
        float(relative_error(with_core.network, planted())), abs=1e-9
    )
    assert with_core.path[-1].structure == with_core.structure
    assert [s.structure for s in steps] == [s.structure for s in with_core.path]
    assert all(s.structure.num_params == s.num_params for s in with_core.path)
    assert all(r.num_params == r.structure.num_params for r in with_core.archive)
    kept = [r for r in with_core.archive if r.network is not None]
    assert all(r.network.dims == DIMS for r in kept)
    smallest = min(kept, key=lambda r: r.error)
    assert float(relative_error(smallest.network, planted())) == pytest.approx(
        smallest.error, abs=1e-9
    )


@dataclasses.dataclass(frozen=True)
class Watching(TreeSearch):
    """A strategy of a user that notes the shapes it searches on."""

    shapes: list = dataclasses.field(default_factory=list)

    def init(self, problem, start, budget, *, seed):
        self.shapes.append(problem.shape)
        return super().init(problem, start, budget, seed=seed)


class WatchingTheWhole(Watching):
    on_core = False


@pytest.mark.parametrize(("strategy", "whole"), [(Watching, False), (WatchingTheWhole, True)])
def test_a_strategy_says_whether_it_searches_on_the_core(strategy, whole):
    strategy = strategy(count=1)
    search(Decomposition(planted()), key=KEY, strategy=strategy, target_error=1e-3)
    assert [shape == DIMS for shape in strategy.shapes] == [whole]


def test_a_start_is_projected():
    tensor = planted()
    found = compress_problem(Decomposition(tensor), 1e-3)
    assert found is not None
    cores = [normal(PLANTED.core_shape(k), seed=k) for k in range(3)]
    start = TensorNetwork(PLANTED, cores)
    inside = found.inside(start)
    assert isinstance(inside, TensorNetwork)
    assert float(relative_error(found.outside(inside), tensor)) < 1e-9
    result = search(Decomposition(tensor), key=KEY, setup=Setup(start=start), target_error=1e-3)
    assert result.num_params <= PLANTED.num_params


def test_large_modes_are_sketched(override):
    override({"spectra.wide_side": 100})
    left, right = normal((200, 3)), normal((3, 40), seed=1)
    problem = Decomposition((left @ right).reshape(200, 5, 8))
    found = compress_problem(problem, 1e-3)
    assert found is not None
    assert found.problem.shape[0] == 3
    assert float(found.problem.lost) <= 1e-4


def test_only_where_it_makes_sense():
    noise = Decomposition(normal((4, 4, 4)))
    assert compress_problem(noise, 1e-3) is None
    assert not worthwhile(None)
    with pytest.raises(ValueError, match="compress=True needs"):
        search(noise, key=KEY, max_steps=1, setup=Setup(compress=True))
    with pytest.raises(ValueError, match="needs a Decomposition"):
        search(
            Objective(lambda x: (x**2).sum(), (2, 2)),
            key=KEY,
            target_error=0.1,
            setup=Setup(compress=True),
        )
    with pytest.raises(ValueError, match='True, False or "auto"'):
        search(noise, key=KEY, max_steps=1, setup=Setup(compress="always"))
