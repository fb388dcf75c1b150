"""Tensors that stay on disk: read in slabs, projected as read, the error on all of them."""

import json
import re
import tracemalloc

import jax
import numpy as np
import pytest

import tnjax
from tests.cli_helpers import check_refusal, run
from tests.helpers import normal
from tnjax import MemoryLimitError, Setup, StreamedDecomposition, Structure, TensorNetwork, search
from tnjax._install import install_hint
from tnjax._search.reduce.project import project_slabs
from tnjax.io import open_tensor, read_tensor

KEY = jax.random.key(0)
DIMS = (14, 9, 10, 11)
PLANTED = Structure.tensor_ring(DIMS, 2)


def planted(dtype="float64", noise=0.0, seed=0) -> np.ndarray:
    cores = [normal(PLANTED.core_shape(k), dtype, seed=10 * seed + k) for k in range(4)]
    tensor = np.asarray(TensorNetwork(PLANTED, cores).to_dense())
    wild = normal(DIMS, dtype, seed=10 * seed + 9)
    scale = noise * np.linalg.norm(tensor) / np.linalg.norm(wild)
    return (tensor + scale * wild).astype(dtype)


def save_npy(folder, array):
    np.save(folder / "x.npy", array)
    return folder / "x.npy"


def save_fortran(folder, array):
    np.save(folder / "x.npy", np.asfortranarray(array))
    return folder / "x.npy"


def save_hdf5(folder, array):
    h5py = pytest.importorskip("h5py")
    with h5py.File(folder / "x.h5", "w") as file:
        file.create_dataset("deep/x", data=array, chunks=(3, *array.shape[1:]), compression="gzip")
        file.attrs["note"] = "any"
    return folder / "x.h5"


def save_zarr(folder, array, version=3):
    zarr = pytest.importorskip("zarr")
    stored = zarr.create_array(
        folder / "x.zarr",
        shape=array.shape,
        chunks=(3, *array.shape[1:]),
        dtype=array.dtype,
        zarr_format=version,
    )
    stored[:] = array
    return folder / "x.zarr"


def save_zarr_2(folder, array):
    return save_zarr(folder, array, 2)


SAVERS = (save_npy, save_fortran, save_hdf5, save_zarr, save_zarr_2)


# Reading ------------------------------------------------------------------------------------


@pytest.mark.parametrize("save", SAVERS)
@pytest.mark.parametrize("dtype", ["float32", "complex128", ">i2", "uint8"])
def test_slabs_make_up_the_tensor(tmp_path, save, dtype):
    if save in (save_zarr, save_zarr_2) and dtype == ">i2":
        pytest.skip("zarr keeps byte orders its own way")
    array = (50 + 10 * normal((7, 4, 5), "float64")).astype(dtype)
    file = open_tensor(save(tmp_path, array))
    assert file is not None
    assert file.shape == (7, 4, 5)
    assert file.dtype == np.dtype(dtype).newbyteorder("=")
    assert file.nbytes == array.nbytes
    stored = array.T if file.fortran else array
    for max_bytes in (1, 3 * stored[0].nbytes, 10**9):
        parts = [part.copy() for part in file.slabs(max_bytes)]
        assert all(part.nbytes <= max(max_bytes, stored[0].nbytes) for part in parts)
        np.testing.assert_array_equal(np.concatenate(parts), stored)
    np.testing.assert_array_equal(file.read(), array)
    np.testing.assert_array_equal(read_tensor(file.path).array, array)


def test_one_array_of_several_is_chosen(tmp_path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["a"], file["b"] = np.ones((2, 3)), np.zeros((3, 3))
        file["text"] = "words"
    found = open_tensor(tmp_path / "x.h5", "b")
    assert found is not None
    assert found.shape == (3, 3)
    for word, name in (("choose one.*a, b", None), ("no array 'c'", "c")):
        with pytest.raises(ValueError, match=word):
            open_tensor(tmp_path / "x.h5", name)
    zarr = pytest.importorskip("zarr")
    group = zarr.create_group(tmp_path / "x.zarr")
    for name in ("a", "b"):
        group.create_array(name, shape=(2, 2), dtype="f4")
    with pytest.raises(ValueError, match=r"choose one.*a, b"):
        open_tensor(tmp_path / "x.zarr")
    assert open_tensor(tmp_path / "x.zarr", "a").shape == (2, 2)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("save", SAVERS)
def test_damaged_files_are_refused(tmp_path, save):
    path = save(tmp_path, planted())
    files = [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]
    for file in files:
        content = file.read_bytes()
        file.write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match=r"x\.(npy|h5|zarr)"):
        read_tensor(path)
    assert "x." in check_refusal(
        tmp_path, "decompose", path, "--target-error", 0.1, "--out", tmp_path / "out"
    )


def test_what_would_be_executed_is_refused(tmp_path):
    path = save_zarr_2(tmp_path, np.ones((4, 4)))
    file = path / ".zarray"
    found = json.loads(file.read_text())
    file.write_text(json.dumps({**found, "filters": [{"id": "pickle"}]}))
    with pytest.raises(ValueError, match="codec 'pickle'"):
        open_tensor(path)
    (tmp_path / "x.zarr").rename(tmp_path / "old.zarr")
    path = save_zarr(tmp_path, np.ones((4, 4)))
    found = json.loads((path / "zarr.json").read_text())
    inner = {
        "name": "sharding_indexed",
        "configuration": {"codecs": [{"name": "numcodecs.pickle"}]},
    }
    (path / "zarr.json").write_text(json.dumps({**found, "codecs": [inner]}))
    with pytest.raises(ValueError, match=r"codec 'numcodecs\.pickle'"):
        open_tensor(path)


def test_a_dataset_kept_in_other_files_is_refused(tmp_path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_dataset("x", (4, 4), "f8", external=[(str(tmp_path / "raw"), 0, 128)])
    with pytest.raises(ValueError, match="other files"):
        open_tensor(tmp_path / "x.h5")


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(("name", "module"), [("x.h5", "h5py"), ("x.zarr", "zarr")])
def test_a_missing_package_is_named(tmp_path, monkeypatch, name, module):
    path = tmp_path / name
    path.mkdir() if module == "zarr" else path.write_bytes(b"any")
    monkeypatch.setitem(__import__("sys").modules, module, None)
    options = ("--target-error", 0.1, "--out", tmp_path / "out")
    err = check_refusal(tmp_path, "decompose", path, *options)
    assert module in err
    assert install_hint("arrays") in err


def test_nothing_is_opened_that_cannot_be_read_in_parts(tmp_path):
    np.savez(tmp_path / "x.npz", x=np.ones(3))
    assert open_tensor(tmp_path / "x.npz") is None
    for name in ("x.npy", "x.zarr"):
        with pytest.raises(FileNotFoundError, match=name):
            open_tensor(tmp_path / name)


# Projecting ---------------------------------------------------------------------------------


def slab_problem(path, rows=3, **options) -> StreamedDecomposition:
    """Read in slabs of a few rows, so that bases grow on the way."""
    problem = StreamedDecomposition(open_tensor(path), **options)

    class Few(StreamedDecomposition):
        @property
        def plan(self):
            size = self.source.row_bytes * rows
            return super().plan._replace(slab_bytes=size)

    return Few(problem.source, problem.dtype, problem.dims, problem.memory_limit)


def expanded(found) -> np.ndarray:
    tensor = found.core
    for mode, factor in enumerate(found.factors):
        if factor is not None:
            np.testing.assert_allclose(factor.conj().T @ factor, np.eye(factor.shape[1]), atol=1e-6)
            tensor = np.moveaxis(np.tensordot(factor, tensor, axes=(1, mode)), 0, mode)
    return tensor


@pytest.mark.parametrize("save", [save_npy, save_fortran, save_hdf5])
@pytest.mark.parametrize(
    ("dtype", "noise", "share"),
    [("float64", 0.0, 1e-6), ("float32", 0.0, 1e-5), ("complex64", 0.0, 1e-5)]
    + [("float64", 0.2, share) for share in (0.05, 0.3)],
)
def test_what_is_lost_is_told_exactly(tmp_path, save, dtype, noise, share):
    tensor = planted(dtype, noise)
    found = project_slabs(slab_problem(save(tmp_path, tensor)), share)
    norm = np.linalg.norm(tensor.astype(np.complex128))
    missed = np.linalg.norm(expanded(found) - tensor)
    assert found.norm == pytest.approx(norm, rel=1e-6)
    assert found.lost <= share * norm * (1 + 1e-6)
    floor = (1e-13 if dtype == "float64" else 1e-6) * norm
    assert missed == pytest.approx(found.lost, rel=1e-3, abs=floor)
    if not noise:
        slowest = 3 if save is save_fortran else 0
        sizes = tuple(4 if k != slowest else DIMS[k] for k in range(4))
        assert found.core.shape == sizes


def test_directions_that_come_late_are_found(tmp_path):
    rng = np.random.default_rng(0)
    tensor = np.zeros((12, 8, 8))
    for row in range(12):  # the rank of the modes grows with every row
        left, right = rng.standard_normal((2, 8))
        tensor[row] = np.outer(left, right) if row < 5 else 0
    tensor[11] = np.outer(*rng.standard_normal((2, 8)))
    found = project_slabs(slab_problem(save_npy(tmp_path, tensor), rows=1), 1e-9)
    assert found.core.shape == (12, 6, 6)
    np.testing.assert_allclose(expanded(found), tensor, atol=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_arrays_stay_within_the_memory_that_was_stated(tmp_path, dtype):
    cores = [normal(shape, seed=k) for k, shape in enumerate([(150, 3), (120, 3, 3), (130, 3)])]
    tensor = np.einsum("ia,jab,kb->ijk", *cores).astype(dtype)
    problem = StreamedDecomposition(open_tensor(save_npy(tmp_path, tensor)), memory_limit=4 * 2**20)
    assert 2 * problem.plan.peak_bytes < tensor.nbytes
    network = TensorNetwork(Structure.tensor_train(tensor.shape, (3, 3)), cores)
    problem.relative_error(network)  # compiles
    del tensor
    for work in (lambda: project_slabs(problem, 1e-5), lambda: problem.relative_error(network)):
        tracemalloc.start()
        try:
            work()
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert 0.2 * problem.plan.peak_bytes < peak <= problem.plan.peak_bytes


# Searching ----------------------------------------------------------------------------------


@pytest.mark.parametrize("save", [save_npy, save_fortran])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_the_planted_network_is_found_on_disk(tmp_path, save, dtype):
    tensor, steps = planted(dtype), []
    problem = slab_problem(save(tmp_path, tensor), dtype=dtype)
    result = search(problem, key=KEY, target_error=1e-4, on_step=steps.append)
    assert result.num_params == PLANTED.num_params
    assert result.structure.dims == DIMS
    exact = tnjax.relative_error(np.asarray(result.network.to_dense()), tensor)
    assert result.error == pytest.approx(float(exact), rel=1e-3, abs=1e-6)
    assert result.error <= 1e-4
    assert [s.structure for s in steps] == [s.structure for s in result.path]
    assert result.path[-1].error == result.error
    assert min(r.num_params for r in result.archive) == sum(DIMS)


def test_it_is_resumed_to_the_same_bits(tmp_path):
    problem = slab_problem(save_npy(tmp_path, planted(noise=0.01)))
    whole = search(problem, key=KEY, target_error=0.02)
    first = {"setup": Setup(checkpoints=tmp_path / "saved"), "max_steps": 2}
    search(problem, key=KEY, target_error=0.02, **first)
    rest = search(
        problem,
        key=KEY,
        target_error=0.02,
        setup=Setup(checkpoints=tmp_path / "saved", resume=True),
    )
    assert rest.structure == whole.structure
    assert rest.error == whole.error


@pytest.mark.parametrize("leading", [(14,), (2, 7), (7, 1, 2)])
def test_modes_are_reshaped_as_they_are_read(tmp_path, leading):
    tensor = planted()
    dims = (*leading, 3, 3, 5, 2, 11)
    problem = slab_problem(save_npy(tmp_path, tensor), dims=dims)
    assert problem.leading == len(leading)
    network = TensorNetwork.random(Structure.tensor_train(dims, (2,) * (len(dims) - 1)), key=KEY)
    dense = np.asarray(network.to_dense())
    np.testing.assert_allclose(
        problem.rows(network, 4, 9), dense.reshape(14, *dims[len(leading) :])[4:9]
    )
    expected = tnjax.relative_error(dense, tensor.reshape(dims))
    assert problem.relative_error(network) == pytest.approx(float(expected))


def test_arrays_are_no_sources(unchecked):
    with pytest.raises(ValueError, match="got ndarray; a tensor in memory is for Decomposition"):
        StreamedDecomposition(planted())
    with pytest.raises(ValueError, match="got ndarray; entries in memory are for Completion"):
        tnjax.StreamedCompletion(planted(), key=KEY)


def test_bad_tensors_and_limits_are_refused(tmp_path):
    path = save_npy(tmp_path, planted())
    for dims, word in (((7, 2, 9, 10, 12), "does not keep"), ((126, 10, 11), "does not keep")):
        with pytest.raises(ValueError, match=word):
            StreamedDecomposition(open_tensor(path), dims=dims)
    with pytest.raises(MemoryLimitError, match="smallest slab"):
        StreamedDecomposition(open_tensor(path), memory_limit=20_000)
    problem = StreamedDecomposition(open_tensor(path))
    for options in (
        {"max_params": 99},
        {"target_error": 1.0},
        {"target_error": 0.1, "setup": Setup(compress=False)},
    ):
        with pytest.raises(ValueError, match="needs a target_error below 1"):
            search(problem, key=KEY, **options)
    told = tnjax.FixedFormat("tt", ranks=2)
    with pytest.raises(ValueError, match="ranks, are meant for the tensor itself"):
        search(problem, key=KEY, strategy=told, target_error=0.5)
    with pytest.raises(ValueError, match="shape"):
        problem.relative_error(TensorNetwork.random(Structure.rank_one((2, 3)), key=KEY))
    noise = slab_problem(save_npy(tmp_path, normal((40, 30, 30))), memory_limit=900_000)
    with pytest.raises(MemoryLimitError, match=r"After \d+ of 40 slices"):
        search(noise, key=KEY, target_error=1e-3)
    for value, word in (
        (np.nan, "1 entries between"),
        (np.inf, "NaN or infinite"),
        (1e200, "too large"),
    ):
        tensor = planted()
        tensor[13, 0, 0, 0] = value
        with pytest.raises(ValueError, match=word):
            search(slab_problem(save_npy(tmp_path, tensor)), key=KEY, target_error=0.1)
    with pytest.raises(ValueError, match="zero everywhere"):
        search(slab_problem(save_npy(tmp_path, np.zeros((4, 4)))), key=KEY, target_error=0.1)


# The command line ---------------------------------------------------------------------------

LIMIT = ("--memory-limit", "200KiB")


def test_the_command_line_leaves_large_tensors_on_disk(tmp_path):
    path = save_npy(tmp_path, planted("float32"))
    options = ("--target-error", 1e-3, "--out", tmp_path / "out")
    status, out, err = run("decompose", path, *LIMIT, *options, progress=True)
    assert status == 0, err
    assert re.search(
        r"x\.npy: .* stay on disk, read twice in slabs of .*; arrays take at most 200 KiB\n", err
    )
    found = json.loads((tmp_path / "out" / "result.json").read_text())
    assert found["num_params"] == PLANTED.num_params
    network = tnjax.load(tmp_path / "out" / "network.safetensors")
    exact = float(tnjax.relative_error(np.asarray(network.to_dense()), planted("float32")))
    assert found["error"] == pytest.approx(exact, rel=1e-3, abs=1e-9)
    assert f"{found['error']:.4g}" in out
    assert (tmp_path / "out" / "report.html").exists()


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("options", "word"),
    [
        (("--certificate",), "--certificate needs the tensor in memory"),
        (("--reshape", "7,2,9,10,11", "--digits", "interleaved"), "--digits interleaved needs"),
        (("--reshape", "128,10,11", "--fit", "pad"), "--fit needs"),
        (("--reshape", "126,10,11"), "does not keep"),
        (("--memory-limit", "20KB"), "smallest slab"),
    ],
)
def test_what_needs_the_tensor_in_memory_is_refused(tmp_path, options, word):
    path = save_npy(tmp_path, planted())
    common = (*LIMIT, "--target-error", 0.1, "--out", tmp_path / "out")
    assert word in check_refusal(tmp_path, "decompose", path, *common, *options)
