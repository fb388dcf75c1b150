"""The state of a search on disk: written after every accepted move, read back to go on.

A checkpoint is a safetensors file of raw bytes, with everything else as JSON in its metadata and
a SHA-256 digest over both; `_store` says how the state of any strategy is turned into these.
Files are written aside and renamed, so a killed process leaves whole ones; the last few are kept,
and a damaged one is passed over for the one before it.
"""

import dataclasses
import hashlib
import json
import os
import re
import tempfile
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import numpy as np
import safetensors
import safetensors.numpy
from jax.sharding import Mesh

from ..._atomic import atomic_path
from ..._network import TensorNetwork
from ..._processes import from_first
from ..._storable import check_dtype, decode, encode, storable
from ...problems import Problem
from ..archive import Archive
from ..result import Step
from ..strategy import Info, MoveRecord, State

_FORMAT = "tnjax.checkpoint"
_VERSION = 3
_KEEP = 3

storable(MoveRecord)
storable(Step)


@storable
@dataclasses.dataclass(frozen=True)
class Totals:
    """What all steps of a search took together."""

    fitted: int = 0
    programs: int = 0
    compile_seconds: float = 0.0
    screen_seconds: float = 0.0
    checkpoints: int = 0

    def add(self, info: Info) -> "Totals":
        return dataclasses.replace(
            self,
            fitted=self.fitted + info.fitted,
            programs=self.programs + info.programs,
            compile_seconds=self.compile_seconds + info.compile_seconds,
            screen_seconds=self.screen_seconds + info.screen_seconds,
        )


@storable
@dataclasses.dataclass(frozen=True)
class Saved:
    """What a search needs to go on.

    Attributes:
        state: of the strategy; None if the search was stopped before there was one.
        path: all accepted moves.
        archive: all fitted structures.
        totals: what the steps so far took, this checkpoint counted.
        seconds: wall time so far.
    """

    state: State | None
    path: tuple[Step, ...]
    archive: Archive
    totals: Totals
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
    arrays: dict[str, np.ndarray] = {}
    content = encode(saved, arrays)
    header = json.dumps(
        {
            "format": _FORMAT,
            "version": _VERSION,
            "fingerprint": fingerprint,
            "versions": _versions(),
            "arrays": {name: [str(a.dtype), a.shape] for name, a in arrays.items()},
            "content": content,
        }
    )
    raw = {name: np.frombuffer(a.tobytes(), np.uint8) for name, a in arrays.items()}
    metadata = {"tnjax": header, "sha256": _digest(header, raw)}
    path = folder / f"checkpoint-{saved.totals.checkpoints:06d}.safetensors"
    with atomic_path(path) as part:
        try:
            safetensors.numpy.save_file(raw, part, metadata=metadata)
        except safetensors.SafetensorError as error:
            raise OSError(f"{path}: {error}") from error
    for old in _files(folder)[:-_KEEP]:
        old.unlink(missing_ok=True)


def open_folder(
    folder: Path, fingerprint: dict[str, str], *, resume: bool, mesh: Mesh | None
) -> Saved | None:
    """Make a folder for checkpoints; to resume, the newest one in it. The first process looks, and
    tells the others.

    Raises:
        ValueError: as of `read_latest`, or if there are checkpoints where nothing is resumed.
    """

    def look() -> bytes:
        folder.mkdir(parents=True, exist_ok=True)
        if resume:
            found = read_latest(folder, fingerprint)
            return b"" if found is None else found[0].read_bytes()
        if _files(folder):
            raise ValueError(
                f"{folder}: there are checkpoints of an earlier search; pass resume=True to go on "
                "from them, or give another folder."
            )
        return b""

    content = from_first(mesh, look)
    if not content:
        return None
    with tempfile.TemporaryDirectory() as work:
        copy = Path(work) / "checkpoint.safetensors"
        copy.write_bytes(content)
        return _read(copy)[1]


def read_latest(folder: Path, fingerprint: dict[str, str]) -> tuple[Path, Saved] | None:
    """The newest checkpoint that is whole, or None if there is none; warns of damaged ones.

    Raises:
        ValueError: if it belongs to other data or options, naming what differs, or has another
            format version.
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
        if saved is None:
            raise ValueError(
                f"{path}: a checkpoint of format version {header['version']!r}; this tnjax reads "
                f"version {_VERSION}. Go on with the release that wrote it, or start again in "
                "another folder."
            )
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
        return path, saved
    return None


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob("checkpoint-*.safetensors"))


def _digest(header: str, raw: dict[str, np.ndarray]) -> str:
    digest = hashlib.sha256(header.encode())
    for name in sorted(raw):
        digest.update(name.encode())
        digest.update(raw[name].tobytes())
    return digest.hexdigest()


def _read(path: str | os.PathLike[str]) -> tuple[dict[str, Any], Saved | None]:
    """Header and content; no content if another version of tnjax wrote it."""
    with safetensors.safe_open(path, framework="numpy") as file:
        metadata = file.metadata() or {}
        raw = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    text = metadata["tnjax"]
    if metadata["sha256"] != _digest(text, raw):
        raise ValueError("its digest does not match")
    header = json.loads(text)
    if header["format"] != _FORMAT:
        raise ValueError(f"format {header['format']!r}")
    if header["version"] != _VERSION:
        return header, None
    arrays = {}
    for name, (dtype, shape) in header["arrays"].items():
        arrays[name] = np.frombuffer(raw[name].tobytes(), check_dtype(dtype)).reshape(shape)
    saved = decode(header["content"], arrays)
    if not isinstance(saved, Saved):
        raise ValueError("it holds something else than a search")
    return header, saved
