"""How values appear in notebooks. Nothing imports the package that draws. It registers here how a
class is shown, and values ask here."""

from collections.abc import Callable
from typing import Any

_formatters: dict[type, Callable[[Any], str]] = {}
_pending: list[Callable[[], object]] = []


def set_up(register_all: Callable[[], object]) -> None:
    """Before a value appears for the first time, call this, which registers the formatters."""
    _pending.append(register_all)


def register(cls: type, formatter: Callable[[Any], str]) -> None:
    """Let values of a class and of those derived from it appear as the HTML of a formatter."""
    _formatters[cls] = formatter


def as_html(value: Any) -> str | None:
    """The HTML of a value; None, which leaves its `repr`, if nothing is registered for it."""
    while _pending:
        _pending.pop()()
    for cls in type(value).__mro__:
        if cls in _formatters:
            return _formatters[cls](value)
    return None
