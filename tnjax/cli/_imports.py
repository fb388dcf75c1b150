"""What a search needs, imported at once."""

from __future__ import annotations

import gc
import importlib
import sys
from pathlib import Path

_NEEDED = ("tnjax._search.search", "tnjax.io", "tnjax.problems", "tnjax._report")


def find_modules_here() -> None:
    """Let Python find modules in the folder that the user is in, as `python -m` would."""
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)


def import_all() -> None:
    """Import what a search needs, with the garbage collector at rest.

    It would go through the objects of JAX again and again while they are made, and none of them is
    garbage: that is a fifth of the processor seconds of a small `tnjax decompose`.
    """
    if all(name in sys.modules for name in _NEEDED):
        return
    enabled = gc.isenabled()
    gc.disable()
    try:
        for name in _NEEDED:
            importlib.import_module(name)
    finally:
        if enabled:
            gc.enable()
