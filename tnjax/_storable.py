"""Values to JSON and arrays and back: what states and results are stored as.

Only what is registered here or by `storable` comes back as an object: data in a file never name
a class or a function that is then looked up elsewhere.
"""

import dataclasses
import math
from typing import Any, TypeVar

import jax
import numpy as np

from ._network import TensorNetwork
from ._status import Status
from ._structure import Structure

_DTYPES = ("bool", "int32", "int64", "float32", "float64", "complex64", "complex128")
_TAG = "$"

Class = TypeVar("Class")
_storable: dict[str, type] = {}


def storable(cls: type[Class]) -> type[Class]:
    """Register a dataclass (an equinox module is one) whose fields can all be stored.

    Args:
        cls: a frozen dataclass, defined at the top of a module. Its fields hold values of JSON,
            tuples, dicts, structures, statuses, arrays, and other storable dataclasses.

    Returns:
        `cls`, so that it serves as a decorator.

    Raises:
        ValueError: if it is no dataclass, or another one of that name is registered.

    Example:
        >>> import dataclasses
        >>> from tnjax.strategies import storable
        >>> @storable
        ... @dataclasses.dataclass(frozen=True)
        ... class Visited:
        ...     rounds: int
        >>> Visited(3).rounds
        3
    """
    if not dataclasses.is_dataclass(cls):
        raise ValueError(f"storable: {cls!r} is no dataclass.")
    known = _storable.setdefault(cls.__name__, cls)
    if (known.__module__, known.__qualname__) != (cls.__module__, cls.__qualname__):
        raise ValueError(f"storable: there is another class named {cls.__name__}: {known!r}.")
    _storable[cls.__name__] = cls  # a module that is loaded again defines the same class anew
    return cls


def encode(value: Any, arrays: dict[str, np.ndarray]) -> Any:
    """A JSON value; arrays go to `arrays` under new names and are referred to by them.

    Lists come back as tuples.

    Raises:
        TypeError: for a value that cannot be stored.
    """
    again = lambda part: encode(part, arrays)
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        value = float(value)
        return value if math.isfinite(value) else {_TAG: "float", "text": repr(value)}
    if isinstance(value, list | tuple):
        return [again(part) for part in value]
    if isinstance(value, dict):
        return {_TAG: "dict", "items": [[again(k), again(v)] for k, v in value.items()]}
    if isinstance(value, Structure):
        return {_TAG: "Structure", "text": value.to_json()}
    if isinstance(value, Status):
        return {_TAG: "Status", "value": value.value}
    if isinstance(value, TensorNetwork):
        return {_TAG: "TensorNetwork", "parts": again([value.structure, value.cores])}
    if isinstance(value, np.ndarray | np.generic | jax.Array):
        array = np.asarray(value)
        if str(array.dtype) not in _DTYPES:
            raise TypeError(f"arrays of {array.dtype} cannot be stored")
        name = f"array_{len(arrays)}"
        arrays[name] = array
        return {_TAG: "array", "name": name}
    cls = type(value)
    if _storable.get(cls.__name__) is cls:
        fields = {f.name: again(getattr(value, f.name)) for f in dataclasses.fields(value)}
        return {_TAG: cls.__name__, "fields": fields}
    raise TypeError(f"{cls.__name__} cannot be stored; register it with `storable`")


def decode(value: Any, arrays: dict[str, np.ndarray]) -> Any:
    """The value that `encode` was given.

    Raises:
        ValueError, KeyError, TypeError: if it is not what `encode` gives.
    """
    again = lambda part: decode(part, arrays)
    if isinstance(value, list):
        return tuple(again(part) for part in value)
    if not isinstance(value, dict):
        return value
    kind = value[_TAG]
    if kind == "float":
        return float(value["text"])
    if kind == "dict":
        return {again(k): again(v) for k, v in value["items"]}
    if kind == "Structure":
        return Structure.from_json(value["text"])
    if kind == "Status":
        return Status(value["value"])
    if kind == "TensorNetwork":
        return TensorNetwork(*again(value["parts"]))
    if kind == "array":
        return arrays[value["name"]]
    if kind not in _storable:
        raise ValueError(f"an object of unknown kind {kind!r}")
    return _storable[kind](**{name: again(part) for name, part in value["fields"].items()})


def check_dtype(name: str) -> str:
    """The name of a dtype that can be stored.

    Raises:
        ValueError: for any other.
    """
    if name not in _DTYPES:
        raise ValueError(f"an array of {name!r}")
    return name
