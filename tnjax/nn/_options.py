"""How `compress` reads its options, and the keywords of version 0.1."""

import dataclasses
from typing import Any, Literal

from .. import _deprecated
from ._growth.grow import Grow
from ._spectra import Spectra
from ._training import Training

Method = Literal["auto", "grow", "spectra"] | Grow | Spectra

# Keywords of version 0.1, and the field of a value that each of them is now.
_GROW = {
    **{n: n for n in ("start", "screen", "power", "overshoot", "cuts", "screen_batches")},
    "factor_per_move": "factor",
}
_SPECTRA = {name: name for name in ("family", "allocation", "ridge")}
_FORWARD = {name: name for name in ("mode", "checkpoint")}
_TRAINING = {field.name: field.name for field in dataclasses.fields(Training)}


def as_method(method: Method) -> Grow | Spectra:
    """The options of the method that is meant.

    Raises:
        ValueError: if there is no such method.
    """
    if isinstance(method, Grow | Spectra):
        return method
    if method not in ("auto", "grow", "spectra"):
        raise ValueError(
            f'method={method!r}; expected "auto", "grow", "spectra", Grow(...) or Spectra(...).'
        )
    return Grow() if method == "grow" else Spectra()


def _translated(old: dict[str, dict[str, Any]], args: tuple, given: dict[str, Any]) -> dict:
    """The new arguments for old keywords. As before, options of the other method are left out."""
    problem = args[1] if len(args) > 1 else given.get("problem")
    new: dict[str, Any] = {}
    if old["Training"] and problem is not None:
        new["training"] = dataclasses.replace(given.get("training", Training()), **old["Training"])
    if old["Grow"] or old["Spectra"] or old["Forward"]:
        name = given.get("method", "auto")
        if name == "auto" and problem is not None and given.get("calibration") is None:
            name = "grow"  # as version 0.1 took it
        method = as_method(name)
        fields = {**old[type(method).__name__]}
        if old["Forward"]:
            fields["forward"] = dataclasses.replace(method.forward, **old["Forward"])
        new["method"] = dataclasses.replace(method, **fields)
    return new


with_old_keywords = _deprecated.with_old_keywords(
    {"Grow": _GROW, "Spectra": _SPECTRA, "Forward": _FORWARD, "Training": _TRAINING},
    _translated,
    "Pass Grow or Spectra as `method`, Forward as their `forward`, Training as `training`.",
    seed=True,
)
