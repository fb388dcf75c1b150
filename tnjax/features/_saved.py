"""Fitted maps to values of JSON and back."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from ._base import Fitted
from ._categorical import FittedCategorical
from ._local import FittedRadial, FittedSpline
from ._smooth import FittedFourier, FittedPolynomial

# Only these are ever made from a file.
_KINDS: dict[str, type[Fitted]] = {
    "categorical": FittedCategorical,
    "fourier": FittedFourier,
    "polynomial": FittedPolynomial,
    "radial": FittedRadial,
    "spline": FittedSpline,
}
_WORDS = {kind: word for word, kind in _KINDS.items()}


def to_json(fitted: Fitted) -> dict[str, Any]:
    """A fitted map as values of JSON.

    Args:
        fitted: one of the maps of this package.

    Returns:
        a dict with the kind of the map and its fields.

    Raises:
        ValueError: for a map of another class.

    Example:
        >>> from tnjax.features import Categorical, from_json, to_json
        >>> fitted = Categorical().fit(["b", "a", "b"])
        >>> from_json(to_json(fitted)) == fitted
        True
    """
    if type(fitted) not in _WORDS:
        raise ValueError(f"to_json: {type(fitted).__name__} is no map of tnjax.features.")
    named = {field.name: getattr(fitted, field.name) for field in dataclasses.fields(fitted)}  # type: ignore[arg-type]
    return {"kind": _WORDS[type(fitted)], **{name: _lists(x) for name, x in named.items()}}


def from_json(data: Mapping[str, Any]) -> Fitted:
    """A fitted map from what `to_json` made of it.

    Args:
        data: values of JSON.

    Returns:
        the map, equal to the one that was saved.

    Raises:
        ValueError: for anything else.

    Example:
        >>> from tnjax.features import from_json
        >>> from_json({"kind": "cubic"})  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ...
        ValueError: from_json: 'cubic' is no kind of feature map: expected ...
    """
    kind = data.get("kind")
    if kind not in _KINDS:
        raise ValueError(
            f"from_json: {kind!r} is no kind of feature map: expected one of {', '.join(_KINDS)}."
        )
    given = {name: _tuples(value) for name, value in data.items() if name != "kind"}
    names = {field.name for field in dataclasses.fields(_KINDS[kind])}  # type: ignore[arg-type]
    if set(given) != names:
        raise ValueError(
            f"from_json: a {kind} map has the fields {', '.join(sorted(names))}, got "
            f"{', '.join(sorted(given))}."
        )
    return _KINDS[kind](**given)


def _lists(value: Any) -> Any:
    return [_lists(x) for x in value] if isinstance(value, tuple) else value


def _tuples(value: Any) -> Any:
    return tuple(_tuples(x) for x in value) if isinstance(value, list) else value
