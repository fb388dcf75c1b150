"""Measurements in a process of their own: nothing compiled before, and a peak of memory alone."""

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

# What `command` adds to a result.
MEASURED = ("seconds", "cpu", "peak_bytes")


def alone(script: str, *arguments: str, environment: Mapping[str, str] | None = None) -> dict:
    """What `script` prints as its last line, an object in JSON, run by an interpreter of its own.

    Raises:
        RuntimeError: with the script's last words, if it fails.
    """
    command = [sys.executable, str(Path(script).resolve()), *arguments]
    done = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, **(environment or {})}
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def command(*words: str) -> dict:
    """`tnjax` in this process: what `result.json` in its `--out` says, seconds, seconds of
    processors, and the process's peak of memory.

    Raises:
        SystemExit: with its status, if it is not 0.
    """
    from tnjax.cli import main

    begin = time.perf_counter()
    status = main(list(words))
    seconds = time.perf_counter() - begin
    if status:
        raise SystemExit(status)
    result = Path(words[words.index("--out") + 1]) / "result.json"
    used = resource.getrusage(resource.RUSAGE_SELF)
    return {
        **json.loads(result.read_text(encoding="utf-8")),
        "seconds": seconds,
        "cpu": used.ru_utime + used.ru_stime,
        "peak_bytes": peak_resident(),
    }


def peak_resident() -> int:
    """Bytes that this process had in memory at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def reset_peak() -> int:
    """Begin to count the peak anew (Linux); bytes in memory now."""
    Path("/proc/self/clear_refs").write_text("5")
    return _status("VmRSS")


def resident_peak() -> int:
    """Bytes that this process had in memory at most since `reset_peak`."""
    return _status("VmHWM")


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    (line,) = [line for line in lines if line.startswith(f"{name}:")]
    return int(line.split()[1]) * 1024
