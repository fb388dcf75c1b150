"""What a search needs, imported at once."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

from .._collector import at_rest

_NEEDED = ("tnjax._search.search", "tnjax.io", "tnjax.problems", "tnjax._report")


def find_modules_here() -> None:
    """Let Python find modules in the folder that the user is in, as `python -m` would."""
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)


def import_all() -> None:
    """Import what a search needs, with the garbage collector at rest where that is allowed."""
    if all(name in sys.modules for name in _NEEDED):
        return
    with at_rest:
        for name in _NEEDED:
            importlib.import_module(name)
