"""One search in two processes on this machine: what they agree on, and how they end."""

import csv
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest

import tnjax
from tests.cli_helpers import without_progress
from tnjax import Structure, TensorNetwork

ROOT = Path(__file__).parents[2]
DIMS = (6, 7, 5, 6)
# The others have to end within a minute after one is lost.
LOST_WITHIN = 60

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs processes that fork")


def free_port() -> int:
    with socket.socket() as test:
        test.bind(("127.0.0.1", 0))
        return test.getsockname()[1]


def start(*arguments) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"},
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def cli(folder: Path, out: str, *extra, grows: bool = True) -> subprocess.Popen:
    return start(
        *("-m", "tnjax.cli", "decompose", folder / "x.npy", "--target-error", "1e-6"),
        *("--cache", "none", "--out", folder / out),
        *(("--no-infer", *extra) if grows else extra),
    )


def both(folder: Path, out: str, *extra, grows: bool = True) -> list[subprocess.Popen]:
    group = ("--coordinator", f"127.0.0.1:{free_port()}", "--num-processes", "2")
    return [cli(folder, out, *group, "--process-id", n, *extra, grows=grows) for n in (0, 1)]


def moves(folder: Path) -> list[tuple]:
    with (folder / "path.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return [(row["move"], row["edge"], row["num_params"]) for row in rows]


def succeeds(process: subprocess.Popen) -> None:
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err


@pytest.fixture(scope="module")
def alone(tmp_path_factory) -> Path:
    """A folder with a tensor, and a run of one process in it."""
    folder = tmp_path_factory.mktemp("alone")
    planted = TensorNetwork.random(Structure.tensor_ring(DIMS, 2), key=jax.random.key(1))
    np.save(folder / "x.npy", np.asarray(planted.to_dense()))
    succeeds(cli(folder, "one"))
    assert len(moves(folder / "one")) > 4
    return folder


def test_two_processes_find_what_one_finds(alone):
    (out, err), (other_out, other_err) = (p.communicate(timeout=300) for p in both(alone, "two"))
    assert "the target error was reached" in out, err
    assert "error" not in other_out, other_err
    assert moves(alone / "two") == moves(alone / "one")
    one, two = (tnjax.load_result(alone / name) for name in ("one", "two"))
    assert abs(one.error - two.error) < 1e-8
    assert not list((alone / "two").glob(".partial*"))


def test_two_processes_infer_the_same_graph(alone):
    for process in both(alone, "inferred", grows=False):
        succeeds(process)
    assert [move for move, *_ in moves(alone / "inferred")] == ["start", "infer"]
    assert tnjax.load_result(alone / "inferred").structure == Structure.tensor_ring(DIMS, 2)


@pytest.mark.parametrize("victim", [0, 1])
def test_the_other_process_ends_and_one_alone_goes_on(alone, victim):
    name = f"lost{victim}"
    processes = both(alone, name)
    try:
        end = time.monotonic() + 300
        while len(list((alone / name).glob("checkpoints/*.safetensors"))) < 2:
            assert time.monotonic() < end
            assert all(process.poll() is None for process in processes)
            time.sleep(0.02)
        processes[victim].kill()
        _, err = processes[1 - victim].communicate(timeout=LOST_WITHIN)
    finally:
        for process in processes:
            process.kill()
        processes[victim].communicate()
    assert processes[1 - victim].returncode == 3, err
    last = err.splitlines()[-1]
    assert last.startswith("tnjax: error: another process of this run was lost"), err
    assert "--resume" in last
    assert "Traceback" not in err
    assert not (alone / name / "path.csv").exists()
    succeeds(cli(alone, name, "--resume"))
    assert moves(alone / name) == moves(alone / "one")


def test_what_processes_tell_each_other():
    address = f"127.0.0.1:{free_port()}"
    workers = [start("tests/processes_worker.py", address, n) for n in (0, 1)]
    printed = [worker.communicate(timeout=300) for worker in workers]
    lines = [
        [line for line in out.splitlines() if line.startswith("{")] or pytest.fail(err)
        for out, err in printed
    ]
    first, second = (json.loads(found[0]) for found in lines)
    assert (first.pop("leads"), second.pop("leads")) == (True, False)
    assert first == second
    assert first["first is over"] == [True, False]
    assert first["second is over"] == [False, False]
    assert first["second is stopped"] == [False, True]
    assert first["from first"] == "000000"
    assert first["refused"].startswith("ValueError: invalid literal")
    assert first["same"] == "None"
    for case in ("other move", "other bits", "other seeds"):
        assert first[case].startswith("Diverged: The processes have come apart (process 0: "), case
    assert "process 0: grow 0-1; process 1: grow 0-2;" in first["other move"]
    assert first["gathered"]
    assert 0 < first["error"] < 0.1
    assert "cannot be shared out among 2 processes" in first["odd"]


def refusal(process: subprocess.Popen) -> str:
    out, err = process.communicate(timeout=120)
    assert process.returncode == 2, err
    assert out == ""
    err = without_progress(err)  # to join may take a while
    assert err.count("\n") == 1, err
    assert err.startswith("tnjax: error: ")
    return err


def test_processes_that_do_not_meet(alone):
    port = free_port()
    group = ("--coordinator", f"127.0.0.1:{port}", "--num-processes", "2")
    wait = ("--coordinator-timeout", "1")
    second = cli(alone, "none", *group, "--process-id", "1", *wait)
    assert f"No coordinator could be reached at 127.0.0.1:{port} within 1 s" in refusal(second)
    first = cli(alone, "none", *group, "--process-id", "0", *wait)
    assert f"not all of 2 processes met at 127.0.0.1:{port} within 1 s" in refusal(first)
    with socket.socket() as taken:
        taken.bind(("", 0))
        taken.listen()
        port = taken.getsockname()[1]
        group = ("--coordinator", f"127.0.0.1:{port}", "--num-processes", "2")
        first = cli(alone, "none", *group, "--process-id", "0", *wait)
        assert f"cannot listen on port {port}" in refusal(first)
    assert not (alone / "none").exists()


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        (("--coordinator", "nowhere"), "expected HOST:PORT"),
        (("--coordinator", "host:1234"), "the number of processes and the id"),
        (
            ("--coordinator", "host:1234", "--num-processes", "2", "--process-id", "2"),
            "Process 2 of 2",
        ),
        (("--coordinator", "auto"), "no cluster's environment was found"),
    ],
)
def test_options_of_processes_that_cannot_be_meant(alone, extra, words):
    assert words in refusal(cli(alone, "none", *extra))
    assert not (alone / "none").exists()
