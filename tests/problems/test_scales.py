"""Slices in different units: sizes, what they are divided by, and the way back."""

import jax
import numpy as np
import pytest

from tests.cli_helpers import check_refusal, run, strict_json
from tnjax import Decomposition, load, search
from tnjax.problems import standardized, standardized_entries
from tnjax.problems.scales import slice_sizes, uneven_entries, uneven_modes

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


@pytest.mark.parametrize("dtype", ["float64", "float32", "complex128", "int64"])
@pytest.mark.parametrize("seed", range(3))
def test_entries_are_standardized_as_the_tensor_that_holds_only_them(dtype, seed):
    rng = np.random.default_rng(seed)
    tensor = (100 * rng.standard_normal((6, 5, 4)) * np.asarray([1, 30, 500, 0])).astype(dtype)
    seen = rng.random(tensor.shape) < 0.4
    seen[2] = False  # a slice of which nothing is known
    where = np.argwhere(seen)
    values, scales = standardized_entries(where, tensor[seen], tensor.shape, [2, 0])
    even, expected = standardized(np.where(seen, tensor, np.nan), [2, 0])
    np.testing.assert_allclose(values, even[seen], rtol=1e-5)
    for found, factor in zip(scales.factors, expected.factors, strict=True):
        np.testing.assert_allclose(found, factor, rtol=1e-5)
    found = uneven_entries(where, tensor[seen], tensor.shape)
    assert found.keys() == uneven_modes(np.where(seen, tensor, np.nan)).keys()


@pytest.mark.parametrize("modes", [[3], [-1], [0, 0]])
def test_modes_that_are_not_there_are_refused(modes):
    with pytest.raises(ValueError, match="expected different ones of"):
        standardized(np.ones((2, 2, 2)), modes)
    with pytest.raises(ValueError, match="expected different ones of"):
        standardized_entries([[0, 1, 1]], [2.0], (2, 2, 2), modes)


def check_every_sensor(folder, tensor):
    """Each slice along the last mode is found, small ones too, in the units of the data."""
    found = np.asarray(load(folder / "network.safetensors").to_dense())
    for k in range(3):
        missed = np.linalg.norm(found[..., k] - tensor[..., k])
        assert missed <= 0.1 * np.linalg.norm(tensor[..., k])


def test_the_command_line_standardizes_and_says_where_it_should(tmp_path):
    tensor = features(np.random.default_rng(0))[..., :3]
    np.save(tmp_path / "x.npy", tensor)
    out = tmp_path / "run"
    words = ("decompose", tmp_path / "x.npy", "--target-error", "0.05", "--out")
    status, _, err = run(*words, out, "--standardize", "2")
    assert status == 0
    assert "--standardize" not in err
    check_every_sensor(out, tensor)
    status, _, err = run(*words, tmp_path / "plain", progress=True)
    assert status == 0
    assert "--standardize 2" in err
    for wrong in ("3", "x", "0,0"):
        assert "--standardize" in check_refusal(
            tmp_path, *words, tmp_path / "no", "--standardize", wrong
        )
    reshaped = ("--reshape", "3,4,10,3", "--standardize", "2")
    assert "--standardize" in check_refusal(tmp_path, *words, tmp_path / "no", *reshaped)


def slice_errors(folder) -> dict[tuple[str, str], list]:
    """Size and errors of each slice, by mode and label, as the run folder keeps them."""
    sections = strict_json(folder / "result.json")["report"]["sections"]
    (table,) = (section for section in sections if section["title"] == "Errors of slices")
    assert "Errors of slices" in (folder / "report.html").read_text()
    return {(mode, label): numbers for mode, label, *numbers in table["rows"]}


def test_the_report_tells_the_error_of_each_slice(tmp_path):
    tensor = features(np.random.default_rng(0))
    tensor += 0.1 * UNITS * np.random.default_rng(1).standard_normal(tensor.shape)
    np.save(tmp_path / "x.npy", tensor)
    out = tmp_path / "run"
    assert run("decompose", tmp_path / "x.npy", "--max-params", "60", "--out", out)[0] == 0
    missed = np.asarray(load(out / "network.safetensors").to_dense()) - tensor
    found = slice_errors(out)
    assert len(found) == sum(tensor.shape)
    for (mode, label), (size, error) in found.items():
        there = np.take(tensor, int(label), int(mode))
        assert size == pytest.approx(np.sqrt(np.mean(there**2)))
        if np.any(there):
            expected = np.linalg.norm(np.take(missed, int(label), int(mode)))
            assert error == pytest.approx(expected / np.linalg.norm(there))
        else:
            assert error is None


def table(path, rng) -> np.ndarray:
    """Most entries of a tensor as a table; sensors are in units of their own."""
    tensor = features(rng)[..., :3]
    seen = rng.random(tensor.shape) < 0.7
    rows = [f"{a},p{b},{'xyz'[c]},{float(tensor[a, b, c])!r}" for a, b, c in np.argwhere(seen)]
    path.write_text("\n".join(["day,place,sensor,value", *rows]))
    return tensor


def test_completions_are_standardized_and_written_in_the_units_of_the_data(tmp_path):
    tensor = table(tmp_path / "x.csv", np.random.default_rng(3))
    words = ("complete", tmp_path / "x.csv", "--target-error", "0.01", "--test", "0.2")
    words += ("--effort", "quick")
    out = tmp_path / "run"
    status, _, err = run(*words, "--standardize", "sensor", "--out", out, progress=True)
    assert status == 0
    assert "--standardize" not in err
    check_every_sensor(out, tensor)
    errors = slice_errors(out)
    for k, name in enumerate("xyz"):
        size, training, held_out, test = errors["sensor", name]
        assert size == pytest.approx(np.sqrt(np.mean(tensor[..., k] ** 2)), rel=0.5)
        assert max(training, held_out, test) <= 0.1


def test_uneven_completions_are_told_and_what_cannot_be_scaled_is_refused(tmp_path):
    table(tmp_path / "x.csv", np.random.default_rng(3))
    words = ("complete", tmp_path / "x.csv", "--max-params", "30", "--out", tmp_path / "run")
    status, _, err = run(*words, progress=True)
    assert status == 0
    assert "--standardize sensor" in err
    words = (*words[:-1], tmp_path / "no", "--standardize")
    for wrong in ("unit", "3", "sensor,2", "sensor,"):
        assert "--standardize" in check_refusal(tmp_path, *words, wrong)
    for more in (("--loss", "poisson"), ("--offsets", "mean")):
        assert "leave out one" in check_refusal(tmp_path, *words, "sensor", *more)
