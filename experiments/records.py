"""JSON files that say how their numbers came about: the command, the machine and the versions."""

import importlib.metadata
import json
import os
import platform
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax


def about(script: str, arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """The head of a record: which script was run (with `arguments`, those of the process by
    default), where, and with what."""
    words = sys.argv[1:] if arguments is None else arguments
    names = ("tnjax", "jax", "jaxlib", "numpy")
    return {
        "command": " ".join([Path(script).name, *words]),
        "machine": machine(),
        "versions": {name: importlib.metadata.version(name) for name in names},
    }


def machine() -> str:
    """Processor, cores and backend in a few words."""
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = cpuinfo.read_text(encoding="utf-8").splitlines()
        name = next((s.split(":")[1].strip() for s in lines if s.startswith("model name")), name)
    return f"{name}, {os.cpu_count()} cores, {jax.default_backend()}"


def keep(path: Path | None, record: Any) -> None:
    """Write a record as JSON, where a file is asked for."""
    if path is not None:
        path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
