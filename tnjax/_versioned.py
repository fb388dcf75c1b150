"""Objects in JSON that say what they are, `{"format": ..., "version": ..., ...}`: one reader for
all of tnjax's own files."""

import json
import os
from collections.abc import Callable
from typing import Any

from ._errors import ReadError


def read_versioned(
    path: str | os.PathLike,
    text: Callable[[], str | None],
    form: tuple[str, int],
    *,
    damaged: str,
    other: str,
) -> dict[str, Any]:
    """The object, if it is of the format and version that are expected.

    Args:
        path: of the file, for messages.
        text: reads it; None if the file has none.
        form: the format and its version.
        damaged: what a file is that holds no JSON.
        other: what a file is that holds something else.

    Raises:
        ReadError: (a `ValueError`) otherwise.
        OSError: if the file cannot be read.
    """
    name, version = form
    try:
        found = text()
        header = None if found is None else json.loads(found)
    except (ValueError, RecursionError) as error:
        raise ReadError(path, f"{damaged} ({error}).") from error
    if not isinstance(header, dict) or header.get("format") != name:
        raise ReadError(path, other)
    if header.get("version") != version:
        raise ReadError(
            path,
            f"format version {header.get('version')!r}; this tnjax reads version {version}. A "
            "newer release may read it.",
        )
    return header
