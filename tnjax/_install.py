"""How to install what an extra of tnjax brings, as tnjax itself was installed."""

from __future__ import annotations

import json
import shlex
from importlib import metadata
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname


def install_hint(extra: str) -> str:
    """The command that adds an extra, for the end of a message.

    pip notes where a package came from (`direct_url.json`). A clone is installed again from its
    folder, an archive or a repository from its address, and anything else from the package index.

    Args:
        extra: one of the extras in `pyproject.toml`, such as `"tables"`.

    Returns:
        one line for a shell; in a clone it changes to the folder of the source at first.

    Example:
        >>> from tnjax._install import install_hint
        >>> "[tables]'" in install_hint("tables")
        True
    """
    origin = _origin()
    url = origin.get("url", "")
    if "dir_info" in origin:
        editable = "-e " if origin["dir_info"].get("editable") else ""
        folder = shlex.quote(url2pathname(urlsplit(url).path))
        return f"cd {folder} && pip install {editable}'.[{extra}]'"
    if "vcs_info" in origin:
        vcs = origin["vcs_info"]
        return f"pip install 'tnjax[{extra}] @ {vcs['vcs']}+{url}@{vcs['commit_id']}'"
    if url:
        return f"pip install 'tnjax[{extra}] @ {url}'"
    return f"pip install 'tnjax[{extra}]'"


def _origin() -> dict[str, Any]:
    """What pip noted; nothing if tnjax came from the package index, or pip does not know."""
    try:
        text = metadata.distribution("tnjax").read_text("direct_url.json")
        found = json.loads(text) if text else {}
    except (metadata.PackageNotFoundError, OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
