"""How values appear in notebooks. Pictures are a leaf of the package, which nothing imports: it
says here how to show what, and the values ask here."""

from collections.abc import Callable
from typing import Any

_formatters: dict[type, Callable[[Any], str]] = {}


def register(cls: type, formatter: Callable[[Any], str]) -> None:
    """Let values of a class and of those derived from it appear as the HTML of a formatter."""
    _formatters[cls] = formatter


def as_html(value: Any) -> str | None:
    """The HTML of a value; None, which leaves its `repr`, if nothing is registered for it."""
    for cls in type(value).__mro__:
        if cls in _formatters:
            return _formatters[cls](value)
    return None
