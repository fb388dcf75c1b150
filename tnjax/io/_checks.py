"""Whether there is such a file, which of its arrays is meant, and what a gzipped one holds."""

import gzip
import os
from collections.abc import Mapping
from pathlib import Path

from .._errors import ReadError

_CHUNK = 2**20


def check_file(path: str | os.PathLike[str]) -> Path:
    """Raise `FileNotFoundError` or `ValueError` unless there is such a file."""
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path}: there is no such file.")
    if not path.is_file():
        raise ReadError(path, "expected a file, this is a folder or a device.")
    return path


def choose(path: Path, names: Mapping[str, object], variable: str | None) -> str:
    """The name of the array that is meant."""
    found = ", ".join(sorted(names)) or "none"
    if variable is None:
        if len(names) != 1:
            raise ReadError(path, f"choose one of its arrays with `variable`: {found}.")
        return next(iter(names))
    if variable not in names:
        raise ReadError(path, f"there is no array {variable!r}; it holds {found}.")
    return variable


def unpacked(path: Path, max_bytes: int) -> bytes:
    """The contents of a gzipped file.

    Raises:
        ValueError: if they are more than `max_bytes`.
    """
    parts, size = [], 0
    with gzip.open(path) as file:
        for part in iter(lambda: file.read(_CHUNK), b""):
            size += len(part)
            if size > max_bytes:
                raise ReadError(path, f"unpacks to more than max_bytes={max_bytes}.")
            parts.append(part)
    return b"".join(parts)
