"""What tyro parses for a subcommand, so that --help shows its options in groups.

A subcommand is one flat dataclass that inherits its options, a base class for each group. Here it
becomes a dataclass with a field for each group, and what tyro has parsed becomes flat again.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import inspect
import itertools
import shutil
import sys
import textwrap
import types
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

import tyro

_WIDEST = 100  # columns of a paragraph; longer lines are hard to read
_MARGIN = 3  # columns that tyro leaves free


def grouped(command: type) -> Any:
    """A class for tyro to parse instead of a subcommand.

    Args:
        command: a dataclass. Its own options, and those of a base class whose `GROUP` is "", come
            first; every other base class with a `GROUP` is a group of that name, and the docstring
            of the class is its first line.

    Returns:
        A dataclass whose values have a method `flat`, which gives the value of `command`.
    """
    marked = [base for base in command.__mro__ if "GROUP" in vars(base)]
    groups = {
        f"group_{base.GROUP}": base
        for base in sorted(marked, key=lambda base: base.GROUP != "")
        if not any(issubclass(other, base) for other in marked if other is not base)
    }
    theirs = {field.name for base in groups.values() for field in dataclasses.fields(base)}
    own = [field for field in dataclasses.fields(command) if field.name not in theirs]
    parts: list[Any] = _fields(command, own)
    for name, base in groups.items():
        group: Any = dataclasses.make_dataclass(
            base.__name__, _fields(base, dataclasses.fields(base)), kw_only=True
        )
        group.__doc__ = base.__doc__
        conf = tyro.conf.arg(name=base.GROUP)
        parts.append((name, Annotated[group, conf, tyro.conf.OmitArgPrefixes]))

    def flat(self: Any) -> Any:
        values = {field.name: getattr(self, field.name) for field in own}
        for name in groups:
            values |= vars(getattr(self, name))
        return command(**values)

    made: Any = dataclasses.make_dataclass(
        command.__name__, parts, namespace={"flat": flat}, kw_only=True
    )
    made.__doc__ = _wrapped(inspect.getdoc(command) or "")
    return made


def listed(command: type) -> type:
    """The command with what the list of all commands says: its first paragraph, its example."""
    first, *rest = (inspect.getdoc(command) or "").split("\n\n")
    paragraphs = [first, *(text for text in rest if text.startswith("Example: "))]
    return type(command.__name__, (command,), {"__doc__": "\n\n".join(paragraphs)})


def _fields(cls: type, fields: Any) -> list[tuple[str, Any, Any]]:
    """Fields for `make_dataclass`, each with its docstring as the text that --help shows."""
    hints = get_type_hints(cls, include_extras=True)
    texts: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        if dataclasses.is_dataclass(base):
            texts |= _docstrings(base)
    return [
        (
            field.name,
            Annotated[_with_union(hints[field.name]), tyro.conf.arg(help=texts.get(field.name))],
            dataclasses.field(default=field.default),
        )
        for field in fields
    ]


def _with_union(hint: Any) -> Any:
    """`X | None` as `Optional[X]`, for which tyro needs not import typeguard (0.1 s)."""
    if get_origin(hint) is Annotated:
        inner, *rest = get_args(hint)
        return Annotated[(_with_union(inner), *rest)]
    return Union[get_args(hint)] if isinstance(hint, types.UnionType) else hint  # noqa: UP007


def _docstrings(cls: type) -> dict[str, str]:
    """The strings below the fields of a class, each as one line: tyro would keep the breaks."""
    found = {}
    for field, text in itertools.pairwise(_classes(cls.__module__)[cls.__name__].body):
        if not (isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)):
            continue
        if isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant):
            found[field.target.id] = " ".join(str(text.value.value).split())
    return found


@functools.cache
def _classes(module: str) -> dict[str, ast.ClassDef]:
    tree = ast.parse(inspect.getsource(sys.modules[module]))
    return {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}


def _wrapped(text: str) -> str:
    """Paragraphs as wide as the terminal; tyro joins lines that begin with a letter."""
    width = min(shutil.get_terminal_size().columns, _WIDEST) - _MARGIN
    wrap = lambda paragraph: textwrap.fill(" ".join(paragraph.split()), width, **_HANGING)
    return "\n\n".join(map(wrap, text.split("\n\n")))


_HANGING: Any = {"subsequent_indent": " ", "break_on_hyphens": False, "break_long_words": False}
