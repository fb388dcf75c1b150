"""What a search needs, imported at once."""

from __future__ import annotations

import importlib
import sys

from .._collector import at_rest

_NEEDED = ("tnjax._search.search", "tnjax.io", "tnjax.problems", "tnjax._report")


def import_all() -> None:
    """Import what a search needs, with the garbage collector at rest where that is allowed."""
    if all(name in sys.modules for name in _NEEDED):
        return
    with at_rest:
        for name in _NEEDED:
            importlib.import_module(name)
