"""A search that was stopped, killed or hindered goes on to the result of an undisturbed one."""

import dataclasses
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import jax
import numpy as np
import pytest

from tests.cli_helpers import without_progress
from tnjax import Decomposition, Greedy, Setup, Status, Structure, TensorNetwork, load, search
from tnjax._search.storage import checkpoint as _checkpoint

RING = Structure.tensor_ring((5, 4, 5, 4), (2, 3, 2, 2))
# Growth has many steps to stop at.
OPTIONS = dict(key=jax.random.key(0), target_error=1e-4, strategy=Greedy(infer=False))


def problem(seed=1, dtype=float):
    key = jax.random.key(100 + seed)
    return Decomposition(TensorNetwork.random(RING, key=key, dtype=dtype).to_dense())


def stop_after(moves, **setup):
    """Options of a search that is stopped after so many moves, the start not counted."""
    path = []
    return {"on_step": path.append, "setup": Setup(stop=lambda: len(path) > moves, **setup)}


def assert_same(a, b):
    assert a.structure == b.structure
    assert a.status is b.status
    for x, y in zip(a.network.cores, b.network.cores, strict=True):
        np.testing.assert_array_equal(np.asarray(x), np.asarray(y))
    assert [(s.move, s.structure, s.error) for s in a.path] == [
        (s.move, s.structure, s.error) for s in b.path
    ]


@pytest.mark.parametrize("dtype", [float, np.complex64])
def test_stopped_at_any_step_and_resumed_it_ends_alike(tmp_path, dtype):
    whole = search(problem(dtype=dtype), **OPTIONS)
    for steps in range(len(whole.path)):
        folder = tmp_path / str(steps)
        part = search(problem(dtype=dtype), **OPTIONS, **stop_after(steps, checkpoints=folder))
        assert part.status is Status.INTERRUPTED
        assert len(list(folder.iterdir())) == min(len(part.path), 3)
        assert_same(
            search(problem(dtype=dtype), **OPTIONS, setup=Setup(checkpoints=folder, resume=True)),
            whole,
        )


def test_stopped_before_graphs_are_inferred(tmp_path):
    options = {**OPTIONS, "strategy": Greedy()}
    whole = search(problem(), **options)
    assert [step.move.kind for step in whole.path][:2] == ["start", "infer"]
    part = search(problem(), **options, **stop_after(0, checkpoints=tmp_path))
    assert (part.status, len(part.path)) == (Status.INTERRUPTED, 1)
    assert_same(search(problem(), **options, setup=Setup(checkpoints=tmp_path, resume=True)), whole)


def test_resuming_counts_what_was_spent_before(tmp_path):
    part = search(problem(), **OPTIONS, **stop_after(3, checkpoints=tmp_path))
    rest = search(problem(), **OPTIONS, setup=Setup(checkpoints=tmp_path, resume=True))
    assert rest.fitted >= part.fitted
    assert rest.seconds > part.path[-1].seconds
    again = search(problem(), **OPTIONS, setup=Setup(checkpoints=tmp_path, resume=True))
    assert_same(again, rest)


def test_steps_and_seconds_may_differ_when_resuming(tmp_path):
    first = search(problem(), **OPTIONS, setup=Setup(checkpoints=tmp_path), max_steps=2)
    assert first.status is Status.MAX_STEPS
    second = search(
        problem(), **OPTIONS, setup=Setup(checkpoints=tmp_path, resume=True), max_seconds=600
    )
    assert_same(second, search(problem(), **OPTIONS))


def test_a_damaged_newest_checkpoint_is_passed_over_with_a_warning(tmp_path):
    whole = search(problem(), **OPTIONS)
    search(problem(), **OPTIONS, **stop_after(4, checkpoints=tmp_path))
    newest = sorted(tmp_path.iterdir())[-1]
    content = newest.read_bytes()
    rng = np.random.default_rng(0)
    damages = [content[: len(content) // 2], b"", content[:-1], b"x" * 100]
    for place in rng.integers(0, len(content), 20):
        damages.append(content[:place] + bytes([content[place] ^ 16]) + content[place + 1 :])
    for damage in damages:
        newest.write_bytes(damage)
        with pytest.warns(UserWarning, match="is damaged"):
            _, saved = _checkpoint.read_latest(tmp_path, _saved_fingerprint(tmp_path))
        assert len(saved.path) == 4
    with pytest.warns(UserWarning, match="is damaged"):
        resumed = search(problem(), **OPTIONS, setup=Setup(checkpoints=tmp_path, resume=True))
    assert_same(resumed, whole)


def _saved_fingerprint(folder):
    oldest = sorted(folder.iterdir())[0]
    return _checkpoint._read(oldest)[0]["fingerprint"]


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (dict(target_error=1e-3), "target_error"),
        (dict(key=jax.random.key(3)), "seed"),
        (dict(strategy=Greedy(power=0.0)), "strategy"),
        (dict(max_params=500), "max_params"),
        (dict(setup=Setup(start=Structure.from_edges(RING.dims, {(0, 1): 2}))), "start"),
        (dict(problem=problem(seed=2)), "data"),
    ],
)
def test_other_data_or_options_are_refused_and_named(tmp_path, change, what):
    search(problem(), **OPTIONS, **stop_after(1, checkpoints=tmp_path))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    arguments = {"problem": problem(), **OPTIONS, **change}
    setup = change.get("setup", Setup())
    arguments["setup"] = dataclasses.replace(setup, checkpoints=tmp_path, resume=True)
    with pytest.raises(ValueError, match=f"{what}.*differ"):
        search(**arguments)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_checkpoints_are_not_overwritten_unasked(tmp_path):
    search(problem(), **OPTIONS, **stop_after(1, checkpoints=tmp_path))
    with pytest.raises(ValueError, match="resume=True"):
        search(problem(), **OPTIONS, setup=Setup(checkpoints=tmp_path))
    with pytest.raises(ValueError, match="needs the folder"):
        search(problem(), **OPTIONS, setup=Setup(resume=True))


def test_other_versions_are_named_in_a_warning(tmp_path, monkeypatch):
    search(problem(), **OPTIONS, **stop_after(1, checkpoints=tmp_path))
    monkeypatch.setattr(_checkpoint, "_versions", lambda: {"tnjax": "99"})
    with pytest.warns(UserWarning, match="last digits"):
        search(problem(), **OPTIONS, setup=Setup(checkpoints=tmp_path, resume=True))


def test_a_full_disk_is_reported_and_the_last_good_state_stays(tmp_path, monkeypatch):
    whole = search(problem(), **OPTIONS)
    write, writes = _checkpoint.safetensors.numpy.save_file, []

    def full(tensors, path, metadata):
        writes.append(path)
        if len(writes) > 2:
            path.write_bytes(b"half")
            raise OSError(28, "No space left on device")
        write(tensors, path, metadata=metadata)

    monkeypatch.setattr(_checkpoint.safetensors.numpy, "save_file", full)
    with pytest.warns(UserWarning, match="could not be saved"):
        hindered = search(problem(), **OPTIONS, setup=Setup(checkpoints=tmp_path))
    assert_same(hindered, whole)
    assert [p.name for p in sorted(tmp_path.iterdir())] == [
        "checkpoint-000001.safetensors",
        "checkpoint-000002.safetensors",
    ]
    monkeypatch.undo()
    assert_same(search(problem(), **OPTIONS, setup=Setup(checkpoints=tmp_path, resume=True)), whole)


def command(folder, out, *more):
    return [
        *(sys.executable, "-m", "tnjax.cli", "decompose", str(folder / "x.npy")),
        *("--out", str(out), "--target-error", "1e-4", "--cache", str(folder / "cache")),
        *("--no-infer", *more),
    ]


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    """A tensor on disk and the run folder of an undisturbed run."""
    folder = tmp_path_factory.mktemp("resume")
    key = jax.random.key(101)
    np.save(folder / "x.npy", np.asarray(TensorNetwork.random(RING, key=key).to_dense()))
    subprocess.run(command(folder, folder / "whole"), check=True, capture_output=True)
    return folder


def core_bytes(run):
    return [np.asarray(core).tobytes() for core in load(run / "network.safetensors").cores]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_killed_run_is_resumed_from_the_command_line(workplace, tmp_path, number):
    out = tmp_path / "run"
    process = subprocess.Popen(
        command(workplace, out), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 60
    while not list(out.glob("checkpoints/checkpoint-00000[2-9]*")):
        assert time.monotonic() < deadline
        assert process.poll() is None, process.communicate()
        time.sleep(0.002)
    process.send_signal(number)
    output = process.communicate(timeout=60)
    if number == signal.SIGKILL:
        assert process.returncode == -signal.SIGKILL
        assert not (out / "result.json").exists()
    elif process.returncode != 0:  # 0: it was done before the signal came
        assert process.returncode == 130, output
        assert json.loads((out / "result.json").read_text())["status"] == "interrupted"
    subprocess.run(command(workplace, out, "--resume"), check=True, capture_output=True)
    assert core_bytes(out) == core_bytes(workplace / "whole")
    assert json.loads((out / "result.json").read_text())["status"] == "target_reached"
    assert not [path.name for path in out.iterdir() if path.name.startswith(".")]


@pytest.mark.slow
def test_resuming_what_is_not_there_starts_anew_and_what_is_different_is_refused(
    workplace, tmp_path
):
    def run(out, *more):
        return subprocess.run(command(workplace, out, *more), capture_output=True, text=True)

    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("of somebody else")
    refused = run(tmp_path / "other", "--resume")
    assert refused.returncode == 2
    assert "holds no checkpoints" in refused.stderr
    assert os.listdir(tmp_path / "other") == ["notes.txt"]
    for folder in ("none", "killed"):  # never made, or killed before the first checkpoint
        if folder == "killed":
            (tmp_path / folder / "checkpoints").mkdir(parents=True)
        started = run(tmp_path / folder, "--resume")
        assert started.returncode == 0
        assert "starting anew" in started.stderr
        assert core_bytes(tmp_path / folder) == core_bytes(workplace / "whole")
    before = sorted(os.listdir(workplace / "whole"))
    other = run(workplace / "whole", "--resume", "--seed", "5")
    assert other.returncode == 2
    assert "seed, start differ" in other.stderr
    assert len(without_progress(other.stderr).splitlines()) == 1
    assert sorted(os.listdir(workplace / "whole")) == before


def test_no_warning_comes_from_an_undisturbed_resume(tmp_path):
    search(problem(), **OPTIONS, **stop_after(2, checkpoints=tmp_path))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        search(problem(), **OPTIONS, setup=Setup(checkpoints=tmp_path, resume=True))


@pytest.mark.slow
def test_fault_experiment_runs_in_a_small_setting(tmp_path, capsys):
    path = Path(__file__).parents[2] / "experiments" / "benchmarks" / "fault.py"
    spec = importlib.util.spec_from_file_location("fault", path)
    fault = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(fault)
    record = fault.main(["--kills", "1", "--seed", "1", "--out", str(tmp_path / "fault.json")])
    assert all(found["same"] for found in record["rounds"])
    assert record["disk"]["resumed"]
    assert "rounds end alike" in capsys.readouterr().out
    assert json.loads((tmp_path / "fault.json").read_text()) == json.loads(json.dumps(record))
