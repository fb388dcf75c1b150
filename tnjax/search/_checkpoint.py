"""The state of a search on disk: written after every accepted move, read back to go on.

A checkpoint is a safetensors file of raw bytes, with everything else as JSON in its metadata and
a SHA-256 digest over both. Files are written aside and renamed, so a killed process leaves whole
ones; the last few are kept, and a damaged one is passed over for the one before it.
"""

import dataclasses
import hashlib
import json
import os
import re
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import numpy as np
import safetensors
import safetensors.numpy

from .._atomic import atomic_path
from .._network import TensorNetwork
from .._status import Status
from .._structure import Structure
from ..objectives import Problem
from ._greedy import GreedyState, Info
from ._result import Move, Step
from ._screen import Screened

_FORMAT = "tnjax.checkpoint"
_VERSION = 1
_DTYPES = ("float32", "float64", "complex64", "complex128")
_KEEP = 3


@dataclasses.dataclass(frozen=True)
class Saved:
    """What a search needs to go on.

    Attributes:
        state: after the last accepted move.
        path: all accepted moves.
        total: what all evaluations so far took.
        seconds: wall time so far.
    """

    state: GreedyState
    path: tuple[Step, ...]
    total: Info
    seconds: float


def fingerprint(problem: Problem, start: TensorNetwork, **options: Any) -> dict[str, str]:
    """What must be the same for a search to go on: data, start and options, by name."""
    out = {"data": _array_digest(problem), "start": _array_digest(start)}
    for name, value in options.items():
        out[name] = re.sub(r" at 0x[0-9a-f]+", "", repr(value))  # functions differ by address
    return out


def _array_digest(tree: Any) -> str:
    digest = hashlib.sha256(type(tree).__name__.encode())
    for leaf in jax.tree.leaves(tree):
        array = np.asarray(leaf)
        digest.update(f"{array.dtype}{array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def _versions() -> dict[str, str]:
    return {name: version(name) for name in ("tnjax", "jax", "jaxlib", "numpy")}


def write_checkpoint(folder: Path, saved: Saved, fingerprint: dict[str, str]) -> None:
    """Write a checkpoint, and remove all but the newest few.

    Raises:
        OSError: if it cannot be written; those that were there stay.
    """
    state = saved.state
    arrays = {f"core_{k}": np.asarray(core) for k, core in enumerate(state.cores)}
    if state.screened is not None:
        arrays["gain"] = np.asarray(state.screened.gain)
        for n, slices in enumerate(state.screened.slices):
            arrays |= {f"slice_{n}_{k}": np.asarray(part) for k, part in enumerate(slices)}
    header = json.dumps(
        {
            "format": _FORMAT,
            "version": _VERSION,
            "fingerprint": fingerprint,
            "versions": _versions(),
            "arrays": {name: [str(a.dtype), a.shape] for name, a in arrays.items()},
            "state": {
                "structure": state.structure.to_json(),
                "capacity": state.capacity.to_json(),
                "seed": state.seed,
                "error": float(state.error).hex(),
                "phase": state.phase,
                "queue": state.queue,
                "status": state.status.value,
                "increments": 0 if state.screened is None else len(state.screened.slices),
            },
            "path": [_step_record(step) for step in saved.path],
            "total": [saved.total.programs, saved.total.compile_seconds, saved.total.fitted],
            "seconds": saved.seconds,
        }
    )
    raw = {name: np.frombuffer(a.tobytes(), np.uint8) for name, a in arrays.items()}
    metadata = {"tnjax": header, "sha256": _digest(header, raw)}
    path = folder / f"checkpoint-{len(saved.path):06d}.safetensors"
    with atomic_path(path) as part:
        try:
            safetensors.numpy.save_file(raw, part, metadata=metadata)
        except safetensors.SafetensorError as error:
            raise OSError(f"{path}: {error}") from error
    for old in _files(folder)[:-_KEEP]:
        old.unlink(missing_ok=True)


def read_latest(folder: Path, fingerprint: dict[str, str]) -> Saved | None:
    """The newest checkpoint that is whole, or None if there is none; warns of damaged ones.

    Raises:
        ValueError: if it belongs to other data or options, naming what differs.
    """
    for path in reversed(_files(folder)):
        try:
            header, saved = _read(path)
        except (ValueError, KeyError, TypeError, OSError, safetensors.SafetensorError) as error:
            warnings.warn(
                f"{path.name} is damaged ({error}); going on from the checkpoint before it.",
                stacklevel=3,
            )
            continue
        found = header["fingerprint"]
        keys = sorted(found.keys() | fingerprint.keys())
        differs = [key for key in keys if found.get(key) != fingerprint.get(key)]
        if differs:
            raise ValueError(
                f"{folder}: the checkpoints belong to another search; {', '.join(differs)} "
                "differ. Give what was given then, or another folder."
            )
        if header["versions"] != _versions():
            warnings.warn(
                f"{path.name} was written by {header['versions']}, this is {_versions()}: the "
                "result may differ in its last digits from an uninterrupted run.",
                stacklevel=3,
            )
        return saved
    return None


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob("checkpoint-*.safetensors"))


def _digest(header: str, raw: dict[str, np.ndarray]) -> str:
    digest = hashlib.sha256(header.encode())
    for name in sorted(raw):
        digest.update(name.encode())
        digest.update(raw[name].tobytes())
    return digest.hexdigest()


def _read(path: str | os.PathLike) -> tuple[dict[str, Any], Saved]:
    with safetensors.safe_open(path, framework="numpy") as file:
        metadata = file.metadata() or {}
        raw = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    text = metadata["tnjax"]
    if metadata["sha256"] != _digest(text, raw):
        raise ValueError("its digest does not match")
    header = json.loads(text)
    if (header["format"], header["version"]) != (_FORMAT, _VERSION):
        raise ValueError(f"format {header['format']!r}, version {header['version']!r}")
    arrays = {}
    for name, (dtype, shape) in header["arrays"].items():
        if dtype not in _DTYPES:
            raise ValueError(f"an array of {dtype!r}")
        arrays[name] = np.frombuffer(raw[name].tobytes(), dtype).reshape(shape)
    data = header["state"]
    structure = Structure.from_json(data["structure"])
    nodes = range(structure.num_nodes)
    screened = None
    if data["increments"]:
        slices = tuple(
            tuple(arrays[f"slice_{n}_{k}"] for k in nodes) for n in range(data["increments"])
        )
        screened = Screened(arrays["gain"], slices)
    state = GreedyState(
        structure,
        tuple(arrays[f"core_{k}"] for k in nodes),
        Structure.from_json(data["capacity"]),
        tuple(data["seed"]),
        float.fromhex(data["error"]),
        screened,
        data["phase"],
        tuple(tuple(edge) for edge in data["queue"]),
        Status(data["status"]),
    )
    path_so_far = tuple(_step(record) for record in header["path"])
    programs, compile_seconds, fitted = header["total"]
    total = Info(None, programs, compile_seconds, fitted)
    return header, Saved(state, path_so_far, total, header["seconds"])


def _step_record(step: Step) -> dict[str, Any]:
    record = {field.name: getattr(step, field.name) for field in dataclasses.fields(step)}
    record["move"] = dataclasses.asdict(step.move)
    record["structure"] = step.structure.to_json()
    return record


def _step(record: dict[str, Any]) -> Step:
    move = record["move"]
    edge = None if move["edge"] is None else tuple(move["edge"])
    to = tuple(tuple(other) for other in move["to"])
    return Step(
        **{
            **record,
            "move": Move(move["kind"], edge, move["by"], to),
            "structure": Structure.from_json(record["structure"]),
        }
    )
