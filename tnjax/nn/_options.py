"""How `compress` reads its options, and the keywords of version 0.1."""

import dataclasses
import functools
import warnings
from collections.abc import Callable
from typing import Any, Literal, ParamSpec, TypeVar

import jax

from ._growth.grow import Grow
from ._spectra import Spectra
from ._task import Calibration, Task
from ._training import Training

P = ParamSpec("P")
R = TypeVar("R")
Method = Literal["auto", "grow", "spectra"] | Grow | Spectra

# Keywords of version 0.1, and the field of a value that each of them is now.
_GROW = {
    **{n: n for n in ("start", "screen", "power", "overshoot", "cuts", "screen_batches")},
    "factor_per_move": "factor",
}
_SPECTRA = {name: name for name in ("family", "allocation", "ridge")}
_FORWARD = {name: name for name in ("mode", "checkpoint")}
_TRAINING = {field.name: field.name for field in dataclasses.fields(Training)}


def as_method(
    method: Method, problem: Task | None, calibration: Calibration | None
) -> Grow | Spectra:
    """The options of the method that is meant.

    Raises:
        ValueError: if there is no such method.
    """
    if isinstance(method, Grow | Spectra):
        return method
    if method == "auto":
        method = "spectra" if problem is None or calibration is not None else "grow"
    if method not in ("grow", "spectra"):
        raise ValueError(
            f'method={method!r}; expected "auto", "grow", "spectra", Grow(...) or Spectra(...).'
        )
    return Grow() if method == "grow" else Spectra()


def with_old_keywords(function: Callable[P, R]) -> Callable[P, R]:
    """Takes the keywords of version 0.1 for the values that they are fields of now, with one
    warning that names all of them."""

    @functools.wraps(function)
    def call(*args: P.args, **given: P.kwargs) -> R:
        tables = {"Grow": _GROW, "Spectra": _SPECTRA, "Forward": _FORWARD, "Training": _TRAINING}
        old: dict[str, dict[str, Any]] = {}
        words = []
        for owner, table in tables.items():
            old[owner] = {new: given.pop(name) for name, new in table.items() if name in given}
            new = ", ".join(f"{name}=..." for name in old[owner])
            words += [f"{owner}({new})"] if new else []
        if "seed" in given:
            given["key"] = jax.random.key(given.pop("seed"))  # pyright: ignore
            words.append("key=jax.random.key(seed)")
        if words:
            warnings.warn(
                f"compress: options lie in values now; write {', '.join(words)}. Pass Grow or "
                "Spectra as `method`, Forward as their `forward`, Training as `training`.",
                DeprecationWarning,
                stacklevel=2,
            )
            given.update(_translated(old, args, given))  # pyright: ignore
        return function(*args, **given)

    return call


def _translated(old: dict[str, dict[str, Any]], args: tuple, given: dict[str, Any]) -> dict:
    """The new arguments for old keywords. As before, options of the other method are left out."""
    problem = args[1] if len(args) > 1 else given.get("problem")
    new: dict[str, Any] = {}
    if old["Training"] and problem is not None:
        new["training"] = dataclasses.replace(given.get("training", Training()), **old["Training"])
    if old["Grow"] or old["Spectra"] or old["Forward"]:
        method = as_method(given.get("method", "auto"), problem, given.get("calibration"))
        fields = {**old[type(method).__name__]}
        if old["Forward"]:
            fields["forward"] = dataclasses.replace(method.forward, **old["Forward"])
        new["method"] = dataclasses.replace(method, **fields)
    return new
