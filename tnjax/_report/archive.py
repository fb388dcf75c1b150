"""The archive of a search as a file of its run folder: every fitted structure, and the networks
that no other one beats."""

import json
import os
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from .._atomic import atomic_path
from .._search.archive import Archive
from .._storable import check_dtype, decode, encode

_FORMAT = "tnjax.archive"
_VERSION = 1


def save_archive(path: str | os.PathLike[str], archive: Archive) -> None:
    """Write an archive, atomically.

    Raises:
        OSError: if the file cannot be written.
    """
    arrays: dict[str, np.ndarray] = {}
    content = encode(archive, arrays)
    header = {
        "format": _FORMAT,
        "version": _VERSION,
        "arrays": {name: [str(a.dtype), a.shape] for name, a in arrays.items()},
        "content": content,
    }
    raw = {name: np.frombuffer(a.tobytes(), np.uint8) for name, a in arrays.items()}
    with atomic_path(path) as part:
        try:
            safetensors.numpy.save_file(raw, part, metadata={"tnjax": json.dumps(header)})
        except safetensors.SafetensorError as error:
            raise OSError(f"{path}: {error}") from error


def load_archive(path: str | os.PathLike[str]) -> Archive:
    """Read what `save_archive` wrote. No code in a file is ever run.

    Raises:
        ValueError: if the file is damaged, something else, or of a newer version.
        OSError: if it cannot be read.
    """
    if not os.path.isfile(path):
        raise FileNotFoundError(f"{path}: there is no such file.")
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            header: dict[str, Any] = json.loads((file.metadata() or {})["tnjax"])
            raw = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if (header["format"], header["version"]) != (_FORMAT, _VERSION):
            raise ValueError(f"it is a {header['format']} of version {header['version']}")
        arrays = {
            name: np.frombuffer(raw[name].tobytes(), check_dtype(dtype)).reshape(shape)
            for name, (dtype, shape) in header["arrays"].items()
        }
        archive = decode(header["content"], arrays)
        if not isinstance(archive, Archive):
            raise ValueError("it holds something else")
        return archive
    except (
        ValueError, KeyError, TypeError, AttributeError, RecursionError, safetensors.SafetensorError
    ) as error:  # fmt: skip
        raise ValueError(f"{path}: not an archive of a search, or damaged ({error}).") from error
