"""Sparse input of `tnjax decompose`, and ranks that the command line gives."""

import json

import numpy as np
import pytest
import scipy.sparse

from tests.cli_helpers import check_refusal, run
from tnjax import load
from tnjax.io import holds_coordinates, read_coordinates

RNG = np.random.default_rng(0)
MATRIX = np.round(np.outer(RNG.random(9) > 0.4, RNG.random(7) > 0.4) * 3.0, 1)


def tns(path, tensor):
    where = np.argwhere(tensor)
    rows = np.column_stack([where + 1, tensor[tuple(where.T)]])
    np.savetxt(path, rows, fmt=["%d"] * tensor.ndim + ["%.17g"])
    return path


def test_what_is_not_listed_counts_as_zero(tmp_path):
    tensor = np.einsum("i,j,k->ijk", *(RNG.integers(0, 3, size=n) for n in (6, 5, 7))).astype(float)
    tensor[-1, -1, -1] = 1  # so that the sizes are known
    file = tns(tmp_path / "x.tns", tensor)
    status, out, _ = run("decompose", file, "--target-error", "0.2", "--out", tmp_path / "run")
    assert status == 0, out
    found = np.asarray(load(tmp_path / "run" / "network.safetensors").to_dense())
    error = np.linalg.norm(found - tensor) / np.linalg.norm(tensor)
    assert error <= 0.2
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    np.testing.assert_allclose(result["error"], error, rtol=1e-6)


@pytest.mark.parametrize("layout", ["coo", "csr", "csc"])
def test_sparse_arrays_of_scipy_are_read(tmp_path, layout):
    file = tmp_path / "x.npz"
    scipy.sparse.save_npz(file, scipy.sparse.coo_array(MATRIX).asformat(layout))
    assert holds_coordinates(file)
    found = read_coordinates(file)
    dense = np.zeros(found.shape)
    np.add.at(dense, tuple(found.indices.T), found.values)
    np.testing.assert_array_equal(dense, MATRIX)


def pydata(path, fill):
    where = np.argwhere(MATRIX)
    np.savez(
        path,
        data=MATRIX[tuple(where.T)],
        shape=MATRIX.shape,
        fill_value=float(fill),
        coords=where.T,
    )
    return path


def test_sparse_arrays_of_pydata_are_read(tmp_path):
    found = read_coordinates(pydata(tmp_path / "x.npz", 0))
    dense = np.zeros(found.shape)
    dense[tuple(found.indices.T)] = found.values
    np.testing.assert_array_equal(dense, MATRIX)


def test_sparse_arrays_that_cannot_be_meant_are_refused(tmp_path):
    with pytest.raises(ValueError, match="fill value"):
        read_coordinates(pydata(tmp_path / "fill.npz", 1))
    file = tmp_path / "block.npz"
    scipy.sparse.save_npz(file, scipy.sparse.bsr_array(np.ones((4, 4))))
    with pytest.raises(ValueError, match="tocoo"):
        read_coordinates(file)
    cut = tmp_path / "cut.npz"
    np.savez(
        cut,
        data=np.ones(3),
        shape=(2, 2),
        format=np.bytes_("csr"),
        indices=np.asarray([0, 1, 0]),
        indptr=np.asarray([0, 5, 3]),
    )
    with pytest.raises(ValueError, match="one after another"):
        read_coordinates(cut)


def test_options_of_dense_input_are_refused(tmp_path):
    file = tns(tmp_path / "x.tns", MATRIX)
    limits = ("--target-error", "0.1", "--out", tmp_path / "run")
    line = check_refusal(tmp_path, "decompose", file, *limits, "--reshape", "3,3,7")
    assert "--reshape is for dense input" in line


def test_ranks_are_fitted_as_they_are_given(tmp_path):
    np.save(tmp_path / "x.npy", RNG.standard_normal((4, 5, 6)))
    out = ("--out", tmp_path / "run")
    status, _, _ = run(
        "decompose",
        tmp_path / "x.npy",
        "--strategy",
        "fixed",
        "--format",
        "tt",
        "--ranks",
        "2,3",
        *out,
    )
    assert status == 0
    assert load(tmp_path / "run" / "network.safetensors").structure.ranks == (2, 3)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--strategy", "fixed", "--ranks", "2,x"), "expected ranks such as"),
        (("--strategy", "fixed", "--ranks", "0"), "1 or more"),
        (("--ranks", "2"), "no option ranks"),
    ],
)
def test_ranks_that_cannot_be_meant_are_refused(tmp_path, words, said):
    np.save(tmp_path / "x.npy", RNG.standard_normal((4, 5, 6)))
    line = check_refusal(
        tmp_path, "decompose", tmp_path / "x.npy", *words, "--out", tmp_path / "run"
    )
    assert said in line
