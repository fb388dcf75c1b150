"""Every public name tells what it is, with types, arguments, results and an example.

The examples themselves are run as doctests.
"""

import enum
import functools
import importlib
import inspect
import re
from collections.abc import Iterator
from typing import Any

import pytest

import tnjax

pytestmark = pytest.mark.quick

PACKAGES = (
    "contract",
    "distributed",
    "features",
    "io",
    "lattice",
    "log",
    "moves",
    "nn",
    "nn.equinox",
    "nn.flax",
    "operators",
    "plot",
    "problems",
    "screens",
    "sklearn",
    "solve",
    "strategies",
    "sweep",
)


def exported() -> dict[str, Any]:
    """Public classes and functions by their shortest names."""
    found = {f"tnjax.{name}": getattr(tnjax, name) for name in tnjax.__all__}
    for package in PACKAGES:
        module = importlib.import_module(f"tnjax.{package}")
        # A package names what it offers; the modules of layers offer what they define.
        home = module.__name__ if package.startswith("nn.") else "tnjax."
        for name in dir(module):
            value = getattr(module, name)
            ours = str(getattr(value, "__module__", "")).startswith(home)
            if not name.startswith("_") and ours and value not in found.values():
                found[f"tnjax.{package}.{name}"] = value
    return {n: v for n, v in found.items() if inspect.isclass(v) or inspect.isroutine(v)}


PUBLIC = exported()
CLASSES = {name: value for name, value in PUBLIC.items() if inspect.isclass(value)}


def methods(cls: type) -> Iterator[tuple[str, Any]]:
    """What a class itself defines for its users."""
    for name in vars(cls):
        value = inspect.getattr_static(cls, name)
        if isinstance(value, property):
            function = value.fget
        elif isinstance(value, functools.cached_property):
            function = value.func
        else:
            function = getattr(cls, name, None)
        if not name.startswith("_") and inspect.isroutine(function):
            yield name, function


def functions() -> Iterator[tuple[str, Any]]:
    """All public functions, methods, and what makes or calls objects."""
    for name, value in PUBLIC.items():
        if not inspect.isclass(value):
            yield name, value
            continue
        for method, function in methods(value):
            yield f"{name}.{method}", function
        for method in ("__init__", "__call__"):
            if inspect.isfunction(vars(value).get(method)) and not is_protocol(value):
                yield f"{name}.{method}", vars(value)[method]


def is_protocol(cls: type) -> bool:
    return getattr(cls, "_is_protocol", False)


def fields(cls: type) -> list[str]:
    """What an object is made of."""
    if issubclass(cls, enum.Enum | BaseException) or is_protocol(cls):
        return []
    names = getattr(cls, "_fields", None)  # of a named tuple
    if names is None:
        names = parameters(cls.__init__) if inspect.isfunction(cls.__init__) else ()
    return [name for name in names if not name.startswith("_")]


def parameters(function: Any) -> dict[str, inspect.Parameter]:
    given = inspect.signature(function).parameters
    return {name: p for name, p in given.items() if name not in ("self", "cls", "_")}


def told(text: str | None, name: str) -> bool:
    return re.search(rf"\b{re.escape(name)}\b", text or "") is not None


def test_the_public_names_are_found():
    assert len(PUBLIC) > 200
    assert {"tnjax.search", "tnjax.solve.run", "tnjax.contract.dense", "tnjax.moves.Grow"} <= set(
        PUBLIC
    )


def test_every_public_name_has_a_docstring_with_an_example():
    assert [name for name, value in PUBLIC.items() if ">>> " not in (value.__doc__ or "")] == []


def test_every_public_method_has_a_docstring():
    bare = [
        f"{name}.{method}"
        for name, cls in CLASSES.items()
        for method, _ in methods(cls)
        if not inspect.getdoc(getattr(cls, method))
    ]
    assert bare == []


def test_every_parameter_and_result_of_a_public_function_has_a_type():
    bare = []
    for name, function in functions():
        bare += [
            f"{name}: {parameter.name}"
            for parameter in parameters(function).values()
            if parameter.annotation is inspect.Parameter.empty
        ]
        result = inspect.signature(function).return_annotation
        if result is inspect.Parameter.empty and not name.endswith("__init__"):
            bare.append(f"{name}: its result")
    assert bare == []


def test_every_parameter_and_result_of_a_public_function_is_told():
    missing = []
    for name, value in PUBLIC.items():
        if inspect.isclass(value):
            continue
        text = inspect.getdoc(value) or ""
        missing += [f"{name}: {p}" for p in parameters(value) if not told(text, p)]
        result = inspect.signature(value).return_annotation
        if result not in (None, "None") and not re.search(r"^(Returns|Yields):$", text, re.M):
            missing.append(f"{name}: what it returns")
    assert missing == []


def test_everything_that_an_object_is_made_of_is_told():
    missing = []
    for name, cls in CLASSES.items():
        texts = " ".join(base.__doc__ or "" for base in cls.__mro__ if base is not object)
        missing += [f"{name}: {field}" for field in fields(cls) if not told(texts, field)]
    assert missing == []
