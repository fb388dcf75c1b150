"""What a search needs, imported at once."""

from __future__ import annotations

import gc
import importlib
import sys

_NEEDED = ("tnjax._search.search", "tnjax.io", "tnjax.problems", "tnjax._report")


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
