"""Completions of entries that stay on disk: files, the split, sums over chunks against the same in
memory, errors against NumPy's, and the command line."""

import csv
import re
import tracemalloc
import zipfile

import jax
import numpy as np
import pytest

from tests.cli_helpers import check_refusal, run, strict_json
from tests.helpers import dense_oracle, normal, random_network
from tnjax import (
    ALS,
    Completion,
    Greedy,
    MemoryLimitError,
    Status,
    StreamedCompletion,
    Structure,
    TensorNetwork,
    fit_from_disk,
    load,
    search,
)
from tnjax.cli._trials import check_trial
from tnjax.io import holds_coordinates, open_samples, read_coordinates, write_samples
from tnjax.problems._streamed_completion import completion_bytes, uniform
from tnjax.sweep import Trial

KEY = jax.random.key(0)
DIMS = (7, 6, 8)
RING = Structure.tensor_ring(DIMS, 2)


def entries(count=4000, dtype="float64", noise=0.0, seed=0) -> tuple[np.ndarray, np.ndarray]:
    """Drawn with replacement from a planted ring."""
    rng = np.random.default_rng([seed, 4])
    indices = rng.integers(DIMS, size=(count, 3))
    dense = dense_oracle(RING, random_network(RING, dtype, seed).cores)
    values = dense[tuple(indices.T)] + noise * normal(count, dtype, seed)
    return indices, values.astype(dtype)


def saved(folder, indices, values, shape=DIMS):
    parts = np.array_split(np.arange(len(values)), 3)
    write_samples(folder / "x", ((indices[p], values[p]) for p in parts), shape)
    return folder / "x"


def streamed(path, **options) -> StreamedCompletion:
    file = open_samples(path)
    assert file is not None
    return StreamedCompletion(file, **{"key": KEY, **options})


def rows_of(problem, name) -> np.ndarray:
    """Numbers of the entries of a part."""
    part = ("training", "validation", "test").index(name)
    return np.flatnonzero(problem.parts(0, problem.source.count) == part)


# Files --------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "int16"])
@pytest.mark.parametrize("kind", ["folder", "npz"])
def test_what_is_written_is_read_in_chunks_of_any_size(tmp_path, dtype, kind):
    indices, values = entries(101)
    values = (10 * values).astype(dtype)
    if kind == "folder":
        path = saved(tmp_path, indices, values, None)
        mapped = np.load(path / "values.npy", mmap_mode="r")  # NumPy reads them, too
        np.testing.assert_array_equal(mapped, values)
        np.testing.assert_array_equal(np.load(path / "indices.npy"), indices)
    else:
        path = tmp_path / "x.npz"
        np.savez(path, values=values, indices=indices, other=np.ones(3))
    assert holds_coordinates(path)
    file = open_samples(path)
    assert file is not None
    assert file.shape == tuple(indices.max(0) + 1)
    assert file.count == 101
    for rows in (1, 7, 101, 500):
        chunks = list(file.chunks(rows))
        assert max(len(found) for _, found in chunks) <= rows
        np.testing.assert_array_equal(np.concatenate([i for i, _ in chunks]), indices)
        np.testing.assert_array_equal(np.concatenate([v for _, v in chunks]), values)
    whole = read_coordinates(path)
    np.testing.assert_array_equal(whole.indices, indices)
    np.testing.assert_array_equal(whole.values, values)
    assert whole.shape == file.shape


def test_what_cannot_be_read_in_parts_is_left_to_others(tmp_path):
    indices, values = entries(20)
    np.savez_compressed(tmp_path / "packed.npz", indices=indices, values=values)
    np.savez(tmp_path / "weighed.npz", indices=indices, values=values, weights=values)
    np.savez(tmp_path / "dense.npz", x=values)
    np.save(tmp_path / "x.npy", values)
    np.savez(tmp_path / "named.npz", values=np.asarray(["a"]), x=values)
    for name in ("packed.npz", "weighed.npz", "dense.npz", "named.npz", "x.npy"):
        assert open_samples(tmp_path / name) is None
    with pytest.raises(FileNotFoundError, match="no such file"):
        open_samples(tmp_path / "nothing")


@pytest.mark.usefixtures("unchecked")
def test_what_cannot_be_written_leaves_nothing(tmp_path):
    good = (np.zeros((2, 3), int), np.ones(2))
    cases = {
        "no entries": [],
        "after 2 entries: expected indices \\[entries, 3\\]": [
            good,
            (np.zeros((2, 2), int), [1, 2]),
        ],
        "after 2 entries: expected indices": [good, (np.zeros((2, 3), int), np.ones(3))],
        "after 0 entries: expected integers": [(np.zeros((2, 3)), np.ones(2))],
        "got int64 and <U1": [(np.zeros((2, 3), int), np.asarray(["a", "b"]))],
        "NaN or infinite": [good, (np.zeros((2, 3), int), np.asarray([1, np.nan]))],
        "outside of the shape": [good, (np.full((2, 3), 9), np.ones(2))],
        "entry 0 has the indices \\(-1": [(np.full((2, 3), -1), np.ones(2))],
    }
    for word, chunks in cases.items():
        with pytest.raises(ValueError, match=word):
            write_samples(tmp_path / "x", chunks, (9, 9, 9))
        assert list(tmp_path.iterdir()) == []
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "precious").write_text("precious")
    with pytest.raises(FileExistsError, match="not an empty folder"):
        write_samples(tmp_path / "x", [good])


def bad_folders(base):
    """Folders and files of entries that cannot be used, by what is said of them."""
    indices, values = entries(50)

    def make(name, indices=indices, values=values, shape=DIMS, drop=None, cut=None):
        folder = base / name
        folder.mkdir()
        arrays = {"indices": indices, "values": values, "shape": np.asarray(shape)}
        for part, array in arrays.items():
            if part != drop:
                np.save(folder / f"{part}.npy", array)
        if cut is not None:
            file = folder / f"{cut}.npy"
            file.write_bytes(file.read_bytes()[:-9])
        return folder

    wild = values.copy()
    wild[31] = np.nan
    yield make("high", indices + np.eye(3, dtype=int)[1]), "outside of the shape"
    yield make("low", indices - 1), "outside of the shape"
    yield make("nan", values=wild), "entry 31 is NaN or infinite"
    yield make("floats", indices.astype(float)), "indices must be integers, got float64"
    yield make("text", values=np.full(50, "a")), "values: not an array of numbers"
    yield make("flags", values=np.ones(50, bool)), "values must be numbers, got bool"
    yield make("short", values=values[:49]), r"got \[50, 3\] and \[49\]"
    yield make("empty", indices[:0], values[:0]), "there are no entries"
    yield make("flat", indices[:, 0]), r"got \[50\] and \[50\]"
    yield make("columns", np.asfortranarray(indices)), "column by column"
    yield make("shape", shape=(7, 6)), "shape must be 3 integers"
    yield make("zero", shape=(7, 6, 0)), "not one of sizes from 1"
    yield make("huge", shape=(7, 6, 2**40)), "not one of sizes from 1"
    yield make("wide", shape=(7, 6, 2**30)), "shape .* alone needs 64 GiB"
    yield make("far", np.full_like(indices, 2**40), drop="shape"), "an index is 1099511627776"
    yield make("cut", cut="values"), "values: not an array of numbers, or damaged"
    yield make("missing", drop="values"), "values.npy is not there"
    with zipfile.ZipFile(base / "x.npz", "w") as archive:
        archive.writestr("indices.npy", b"no array")
        archive.writestr("values.npy", b"no array")
    yield base / "x.npz", "indices: not an array of numbers"
    np.savez(base / "cut.npz", indices=indices, values=values)
    whole = (base / "cut.npz").read_bytes()
    place = whole.index(b"PK\x01\x02")  # the list of members, told of larger ones
    size = (indices.nbytes + 128).to_bytes(4, "little")
    assert size in whole[place:]
    (base / "cut.npz").write_bytes(whole[:place] + whole[place:].replace(size, b"\xff\xff\xff\x00"))
    yield base / "cut.npz", "indices: damaged"


def test_bad_files_end_in_one_line(tmp_path):
    (tmp_path / "in").mkdir()
    options = ("--max-params", 100, "--memory-limit", "1KiB", "--out")
    for path, word in bad_folders(tmp_path / "in"):
        limit = "700KiB" if path.name in ("high", "low", "nan") else "1KiB"
        words = [limit if word == "1KiB" else word for word in options]
        if path.name in ("high", "low", "nan"):  # found as the entries are read
            big = np.tile(np.arange(50), 60)
            for name in ("indices", "values"):
                np.save(path / f"{name}.npy", np.load(path / f"{name}.npy")[big])
        err = check_refusal(tmp_path, "complete", path, *words, tmp_path / "out")
        assert re.search(word, err), (path.name, err)


# The split ----------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_the_split_is_that_of_the_shares_however_it_is_read(tmp_path, seed):
    path = saved(tmp_path, *entries(3000))
    problem = streamed(path, key=jax.random.key(seed), validation=0.2, test=0.1, subset=1500)
    whole = problem.parts(0, 3000)
    for rows in (1, 7, 1024):
        parts = [problem.parts(n, min(rows, 3000 - n)) for n in range(0, 3000, rows)]
        np.testing.assert_array_equal(np.concatenate(parts), whole)
    counts = np.bincount(whole, minlength=3)
    for count, share in zip(counts, (0.7, 0.2, 0.1), strict=True):
        assert abs(count - share * 3000) < 5 * np.sqrt(share * (1 - share) * 3000)
    chosen = problem.chosen(0, 3000)
    assert 1000 < chosen.sum() <= 1500
    # The subset is drawn independently of the split.
    assert abs((whole[chosen] == 0).mean() - 0.7) < 5 * np.sqrt(0.21 / chosen.sum())
    other = streamed(path, key=jax.random.key(seed + 10), validation=0.2, test=0.1)
    assert (other.parts(0, 3000) != whole).mean() > 0.2


def test_numbers_of_a_hash_are_uniform_and_of_their_own_stream():
    draws = [uniform(jax.random.key(n), stream, 0, 20000) for n in (0, 1) for stream in (0, 1)]
    for u in draws:
        assert u.min() >= 0
        assert u.max() < 1
        counts, _ = np.histogram(u, 20, (0, 1))
        assert ((counts - 1000) ** 2 / 1000).sum() < 60  # chi squared of 19, p < 1e-5
        assert abs(np.corrcoef(u[1:], u[:-1])[0, 1]) < 5 / np.sqrt(20000)
    for a in range(4):
        for b in range(a):
            assert abs(np.corrcoef(draws[a], draws[b])[0, 1]) < 5 / np.sqrt(20000)
    # SplitMix64 of the paper: the first numbers of the stream with state 0.
    from tnjax.problems._streamed_completion import _mixed

    state = np.arange(3, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    wanted = [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]
    assert [int(x) for x in _mixed(state)] == wanted


# Sums over chunks ---------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex128"])
@pytest.mark.parametrize("seed", range(2))
def test_errors_are_those_of_numpy_over_all_entries(tmp_path, dtype, seed):
    indices, values = entries(2500, dtype, 0.1, seed)
    real = "float32" if dtype == "float32" else "float64"
    problem = streamed(
        saved(tmp_path, indices, values), test=0.2, dtype=np.dtype(real), memory_limit=2**20
    )
    assert problem.plan.chunk < 2500
    network = random_network(RING, dtype, seed + 5)
    guess = dense_oracle(RING, network.cores)[tuple(indices.T)]
    found = problem.errors(network)
    assert sum(part.entries for part in found.values()) == 2500
    for name, part in found.items():
        rows = rows_of(problem, name)
        assert part.entries == len(rows)
        missed = np.linalg.norm(values[rows].astype(complex) - guess[rows])
        tolerance = 1e-5 if dtype == "float32" else 1e-12
        assert part.norm == pytest.approx(np.linalg.norm(values[rows]), rel=tolerance)
        assert part.error == pytest.approx(missed / np.linalg.norm(values[rows]), rel=tolerance)


@pytest.mark.parametrize(
    ("dtype", "options"),
    [
        ("float64", {}),
        ("float64", {"ridge": 0.5, "offsets": "modes"}),
        ("float64", {"nonnegative": True}),
        ("float32", {}),
        ("complex128", {"ridge": 0.1}),
    ],
)
def test_a_sweep_over_chunks_is_that_over_all_at_once(tmp_path, dtype, options):
    indices, values = entries(2500, dtype, 0.1)
    values = np.abs(values) if options.get("nonnegative") else values
    real = np.dtype("float32" if dtype == "float32" else "float64")
    path = saved(tmp_path, indices, values)
    # All entries are in the subset, so that offsets and scale are those of all.
    problem = streamed(path, dtype=real, memory_limit=3 * 2**20, **options)
    assert problem.plan.subset == 2500
    held = rows_of(problem, "validation")
    whole = Completion(indices, values, DIMS, validation=held, duplicates="keep", **options)
    start = whole.prepared(TensorNetwork.random(RING, key=KEY, dtype=whole.dtype))
    solver, network = ALS(), whole.feasible(start)
    state = solver.init(whole, network)
    step = jax.jit(lambda network, state: solver.step(whole, network, state))
    for _ in range(2):
        network, state = step(network, state)
    found = fit_from_disk(problem, RING, key=KEY, max_steps=2, rtol=1e-12)
    wanted = np.asarray((network * whole.scale).to_dense())
    tolerance = 2e-3 if dtype == "float32" else 1e-8
    scale = np.abs(wanted).max()
    np.testing.assert_allclose(found.network.to_dense(), wanted, atol=tolerance * scale)
    assert found.steps == 2
    assert found.error == pytest.approx(float(whole.error(network)), rel=10 * tolerance)


def test_a_fit_stops_where_it_should(tmp_path):
    problem = streamed(saved(tmp_path, *entries(3000, noise=0.2)), memory_limit=2**20)
    start = random_network(RING, "float64", 0)
    found = fit_from_disk(problem, start, max_steps=8)
    assert found.status is Status.STAGNATED
    assert found.steps == len(found.history) < 8
    again = fit_from_disk(problem, found.network, target_error=found.error * 1.5)
    assert (again.status, again.steps) == (Status.TARGET_REACHED, 1)
    assert again.error <= found.error * (1 + 1e-12)  # never worse than the start
    short = fit_from_disk(problem, RING, key=KEY, max_seconds=1e-3)
    assert (short.status, short.steps) == (Status.MAX_SECONDS, 1)
    with pytest.raises(ValueError, match="needs `key="):
        fit_from_disk(problem, RING)
    with pytest.raises(ValueError, match="has the shape"):
        fit_from_disk(problem, Structure.rank_one((2, 2)), key=KEY)


# Searches -----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("seed", range(2))
def test_the_planted_network_is_found_from_a_subset_and_fitted_to_all(tmp_path, dtype, seed):
    indices, values = entries(30000, dtype, seed=seed)
    problem = streamed(
        saved(tmp_path, indices, values),
        key=jax.random.key(seed),
        test=0.1,
        dtype=np.dtype(dtype),
        memory_limit=2**21,
        subset=2000,
    )
    result = search(
        problem,
        key=jax.random.key(seed),
        strategy=Greedy(rewire=False, internal=False, hyperedges=False),
        target_error=1e-3,
    )
    assert result.status is Status.TARGET_REACHED
    assert result.num_params <= RING.num_params
    assert result.error <= 1e-3
    assert result.path[-1].error == result.error
    assert problem.errors(result.network)["test"].error < 1e-3
    assert problem.sample.training.count + problem.sample.held_out.count <= 2000
    # The same data in memory: a network of the same quality.
    held = rows_of(problem, "validation")
    whole = Completion(indices, values, DIMS, validation=held, duplicates="keep")
    assert float(whole.error(result.network * (1 / whole.scale))) == pytest.approx(
        result.error, rel=1e-2, abs=1e-6
    )


@pytest.mark.usefixtures("unchecked")
def test_what_makes_no_sense_is_refused(tmp_path):
    path = saved(tmp_path, *entries(3000))
    for options, word in (
        ({"validation": 1.0}, "validation must be a share"),
        ({"test": -0.1}, "test must be a share"),
        ({"validation": 0.5, "test": 0.5}, "leave nothing"),
        ({"subset": 0}, "subset must be 1 or more"),
        ({"ridge": -1}, "ridge must be 0 or more"),
    ):
        with pytest.raises(ValueError, match=word):
            streamed(path, **options)
    with pytest.raises(MemoryLimitError, match=r"3000 entries on disk needs .*iB.*limit of 10"):
        streamed(path, memory_limit=10 * 2**10)
    with pytest.raises(ValueError, match="given more than once"):
        _ = streamed(path, duplicates="refuse").sample
    with pytest.raises(ValueError, match="too few for the shares"):
        _ = streamed(path, subset=2, memory_limit=2**20, validation=0.01).sample


def test_memory_is_kept_to(tmp_path):
    """NumPy tells tracemalloc what it allocates; the device's arrays lie in its memory or are as
    large."""
    count = 300_000
    path = saved(tmp_path, *entries(count))
    limit = 24 * 2**20
    assert count * completion_bytes(3, np.dtype("float64")) > 3 * limit
    problem = streamed(path, memory_limit=limit)
    _ = problem.sample
    fit_from_disk(problem, RING, key=KEY, max_steps=1)  # what compiling takes is not counted
    problem = streamed(path, memory_limit=limit)
    tracemalloc.start()
    try:
        _ = problem.sample
        fit_from_disk(problem, RING, key=KEY, max_steps=1)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak <= limit


# The command line ---------------------------------------------------------------------------


def test_the_command_line_completes_what_memory_does_not_hold(tmp_path):
    indices, values = entries(30000)
    path = saved(tmp_path, indices, values)
    np.savez(tmp_path / "wanted.npz", indices=indices[:9])
    options = ("--target-error", "1e-3", "--validation", "0.1", "--test", "0.1", "--no-prune")
    small = ("--memory-limit", "2MiB", "--subset", 2000, "--duplicates", "keep")
    status, out, err = run(
        *("complete", path, *options, *small, "--predict", tmp_path / "wanted.npz"),
        *("--out", tmp_path / "run"),
        progress=True,
    )
    assert status == 0, err
    assert re.search(
        r"30000 entries \(.*iB\) stay on disk.* is on 1[0-9]{3} of.*at most 2 MiB", err
    )
    assert "test error" in out
    result = strict_json(tmp_path / "run" / "result.json")
    errors = result["errors"]
    assert sum(part["entries"] for part in errors.values()) == 30000
    assert result["error"] == errors["validation"]["error"]
    network = load(tmp_path / "run" / "network.safetensors")
    guess = dense_oracle(network.structure, network.cores)[tuple(indices.T)]
    problem = streamed(path, test=0.1)
    for name, part in errors.items():
        rows = rows_of(problem, name)
        wanted = np.linalg.norm(values[rows] - guess[rows]) / np.linalg.norm(values[rows])
        assert part["error"] == pytest.approx(wanted, rel=1e-6, abs=1e-12)
    with np.load(tmp_path / "run" / "predictions.npz") as found:
        np.testing.assert_allclose(found["values"], guess[:9], rtol=1e-6)
    assert "searched on" in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")

    # With a limit that holds them all it is the ordinary command, of the same quality.
    status, out, err = run(
        *("complete", path, *options, "--memory-limit", "1GiB", "--duplicates", "mean"),
        *("--out", tmp_path / "whole"),
    )
    assert (status, err) == (0, "")
    whole = strict_json(tmp_path / "whole" / "result.json")
    assert result["num_params"] == RING.num_params <= whole["num_params"]
    assert whole["errors"]["test"]["error"] < 2e-3 > errors["test"]["error"]


def test_without_validation_the_training_entries_judge(tmp_path):
    problem = streamed(saved(tmp_path, *entries(3000)), validation=0.0, memory_limit=2**20)
    assert problem.sample.held_out is None
    found = fit_from_disk(problem, random_network(RING, "float64", 0), max_steps=1)
    assert found.error < 1e-6
    assert problem.errors(found.network).keys() == {"training"}


def test_a_trial_of_a_sweep_is_run_again_when_a_file_of_its_folder_has_changed(tmp_path):
    path = saved(tmp_path, *entries(50))
    trial = Trial({"input": str(path), "max_params": 50}, 0)
    stamps = [check_trial("complete", trial).stamp for _ in range(2)]
    assert stamps[0] == stamps[1]
    np.save(path / "values.npy", np.ones(50))
    assert check_trial("complete", trial).stamp != stamps[0]


def test_entries_that_are_kept_in_memory_count_as_often_as_they_are_given(tmp_path):
    path = saved(tmp_path, *entries(2000))
    options = ("--max-params", 21, "--duplicates", "keep")
    status, _, err = run("complete", path, *options, "--out", tmp_path / "run")
    assert status == 0, err
    errors = strict_json(tmp_path / "run" / "result.json")["errors"]
    assert sum(part["entries"] for part in errors.values()) == 2000


def test_a_streamed_completion_goes_on_where_it_was_stopped(tmp_path):
    path = saved(tmp_path, *entries(20000))
    options = ("--memory-limit", "2MiB", "--subset", 2000, "--duplicates", "keep", "--no-prune")
    options += ("--target-error", "1e-3")
    assert run("complete", path, *options, "--out", tmp_path / "whole")[0] == 0
    status, _, _ = run("complete", path, *options, "--max-steps", 2, "--out", tmp_path / "parts")
    assert status in (0, 1)
    assert run("complete", path, *options, "--resume", "--out", tmp_path / "parts")[0] == 0
    records = [strict_json(tmp_path / name / "result.json") for name in ("whole", "parts")]
    assert records[0]["error"] == records[1]["error"]
    files = [tmp_path / name / "path.csv" for name in ("whole", "parts")]
    tables = [list(csv.DictReader(file.read_text().splitlines())) for file in files]
    kept = ("move", "edge", "error", "num_params")
    paths = [[{key: row[key] for key in kept} for row in table] for table in tables]
    assert len(paths[0]) > 3
    assert paths[0] == paths[1]


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (("--loss", "huber"), "--loss needs the entries in memory"),
        (("--smooth", "0:1"), "--smooth needs"),
        (("--duplicates", "sum"), "--duplicates sum needs"),
        (("--observed", "0.5"), "--observed needs"),
        (("--value", "x"), "--value needs"),
        (("--devices", 1), "--devices, --mesh or --coordinator needs"),
        (("--mesh", "data=1"), "--devices, --mesh or --coordinator needs"),
        (("--subset", 0), "--subset must be 1 or more"),
        (("--memory-limit", "10KiB"), "more than the memory limit of 10 KiB"),
        (("--duplicates", "refuse"), "given more than once"),
    ],
)
def test_what_needs_the_entries_in_memory_is_refused(tmp_path, options, word):
    path = saved(tmp_path, *entries(20000))
    words = ("--target-error", "0.1", "--memory-limit", "2MiB")
    if "--memory-limit" in options:
        words = words[:2]
    err = check_refusal(tmp_path, "complete", path, *words, *options, "--out", tmp_path / "run")
    assert word in err, err


@pytest.mark.parametrize("mesh", [("--devices", 1), ("--mesh", "data=1")])
def test_a_tensor_on_disk_together_with_a_mesh_is_refused(tmp_path, mesh):
    np.save(tmp_path / "x.npy", normal((40, 30, 20)))
    options = ("--target-error", "0.1", "--memory-limit", "100KiB", "--out", tmp_path / "run")
    err = check_refusal(tmp_path, "decompose", tmp_path / "x.npy", *options, *mesh)
    assert re.search(r"--devices, --mesh .* need a tensor that fits into memory.*x\.npy", err)
