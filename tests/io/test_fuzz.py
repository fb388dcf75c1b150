"""A short run of the fuzzer of `experiments/benchmarks/fuzz_readers.py`: no file gets through."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

FUZZER = Path(__file__).parents[2] / "experiments" / "benchmarks" / "fuzz_readers.py"
READERS = 32


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """A process of its own: it forks, which a process in which JAX has started should not."""
    folder = tmp_path_factory.mktemp("fuzz")
    options = ["--inputs", "440", "--seed", "1", "--out", folder / "fuzz.json", "--workers", "2"]
    command = [sys.executable, FUZZER, *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode in (0, 1), done.stderr
    return json.loads((folder / "fuzz.json").read_text())


def test_every_reader_gets_sound_and_damaged_files(found):
    table = found["table"]
    assert table["total"]["inputs"] == 440
    assert len(table) == READERS + 1
    assert all(row["clean"] for row in table.values())
    assert table["total"]["read"] > 20


@pytest.mark.parametrize("fault", ["other", "hangs", "crashes", "large", "executed"])
def test_damaged_and_hostile_files_are_refused_cleanly(found, fault):
    assert [f for f in found["faults"] if f["outcome"] == fault] == []
