"""Slices in different units: sizes, what they are divided by, and the way back."""

import jax
import numpy as np
import pytest

from tests.cli_helpers import check_refusal, run
from tnjax import Decomposition, load, search
from tnjax.problems import standardized
from tnjax.problems.scales import slice_sizes, uneven_modes

UNITS = np.asarray([1e-3, 1.0, 1e6, 0.0])


def features(rng):
    """[time, place, feature], of low rank, each feature in a unit of its own."""
    factors = [rng.standard_normal((n, 3)) for n in (12, 10, 4)]
    return np.einsum("ir,jr,kr->ijk", *factors) * UNITS


@pytest.mark.parametrize("dtype", ["float64", "float32", "complex128", "int64"])
def test_all_slices_have_one_size_and_the_way_back_is_exact(dtype):
    rng = np.random.default_rng(0)
    tensor = (100 * rng.standard_normal((5, 4, 3)) * np.asarray([1, 30, 500])).astype(dtype)
    even, scales = standardized(tensor, [2, 0])
    square = np.abs(even) ** 2
    np.testing.assert_allclose(square.mean((1, 2)), 1, rtol=1e-5)  # the mode that came last
    assert uneven_modes(even) == {}
    chain = search(Decomposition(even), key=jax.random.key(0), target_error=1e-5).network
    back = np.asarray(scales.restored(chain).to_dense())
    assert np.linalg.norm(back - tensor) <= 1e-3 * np.linalg.norm(tensor)


def test_small_features_are_learned_as_well_as_large_ones():
    tensor = features(np.random.default_rng(0))
    tensor += 0.01 * UNITS * np.random.default_rng(1).standard_normal(tensor.shape)
    even, scales = standardized(tensor, [2])
    found = search(Decomposition(even), key=jax.random.key(0), target_error=0.03)
    back = np.asarray(scales.restored(found.network).to_dense())
    for k, unit in enumerate(UNITS):
        size = np.linalg.norm(tensor[..., k])
        assert np.linalg.norm(back[..., k] - tensor[..., k]) <= 0.06 * size or unit == 0
    plain = search(Decomposition(tensor), key=jax.random.key(0), target_error=0.03)
    small = np.asarray(plain.network.to_dense())[..., 0] - tensor[..., 0]
    assert np.linalg.norm(small) > 0.06 * np.linalg.norm(tensor[..., 0])  # what it is for


def test_sizes_leave_out_what_is_missing_and_do_not_overflow():
    tensor = np.asarray([[3e200, -3e200, np.nan], [0.0, 0.0, 0.0], [np.nan] * 3, [1e-200, 0, 0]])
    expected = [3e200, 0, 0, 1e-200 / np.sqrt(3)]
    np.testing.assert_allclose(slice_sizes(tensor, 0), expected, rtol=1e-12)
    assert set(uneven_modes(features(np.random.default_rng(0)))) == {2}


@pytest.mark.parametrize("modes", [[3], [-1], [0, 0]])
def test_modes_that_are_not_there_are_refused(modes):
    with pytest.raises(ValueError, match="expected different ones of"):
        standardized(np.ones((2, 2, 2)), modes)


def test_the_command_line_standardizes_and_says_where_it_should(tmp_path):
    tensor = features(np.random.default_rng(0))[..., :3]
    np.save(tmp_path / "x.npy", tensor)
    out = tmp_path / "run"
    words = ("decompose", tmp_path / "x.npy", "--target-error", "0.05", "--out")
    status, _, err = run(*words, out, "--standardize", "2")
    assert status == 0
    assert "--standardize" not in err
    found = np.asarray(load(out / "network.safetensors").to_dense())
    for k in range(3):
        missed = np.linalg.norm(found[..., k] - tensor[..., k])
        assert missed <= 0.1 * np.linalg.norm(tensor[..., k])
    status, _, err = run(*words, tmp_path / "plain", progress=True)
    assert status == 0
    assert "--standardize 2" in err
    for wrong in ("3", "x", "0,0"):
        assert "--standardize" in check_refusal(
            tmp_path, *words, tmp_path / "no", "--standardize", wrong
        )
    reshaped = ("--reshape", "3,4,10,3", "--standardize", "2")
    assert "--standardize" in check_refusal(tmp_path, *words, tmp_path / "no", *reshaped)
