"""Names of modes and labels of their indices, from the coordinates of gridded data."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ._labels import Mode
from ._packing import packing_of

_MOST_LABELS = 2**20  # of a mode; longer ones are not named
_SINCE = re.compile(
    r"\s*(day|hour|hr|h|minute|min|second|sec|s)s?\s+since\s+(-?\d{1,4})-(\d{1,2})-(\d{1,2})"
    r"(?:[T\s]+(\d{1,2}):(\d{1,2})(?::(\d{1,2})(?:\.0*)?)?)?\s*(?:Z|UTC|\+?00:?00)?\s*",
    re.IGNORECASE,
)
_SECONDS = {"d": 86_400, "h": 3600, "m": 60, "s": 1}
_CALENDARS = ("", "standard", "gregorian", "proleptic_gregorian")
_FIRST_YEAR = 1583  # before it the standard calendar is another one


def modes_of_axes(
    names: Sequence[str | None],
    shape: Sequence[int],
    coordinate: Callable[[int], tuple[Any, Mapping[str, Any]] | None],
) -> tuple[Mode, ...] | None:
    """A mode for each axis, named as in the file; None if no axis has a name, or one is too long.

    Args:
        names: of the axes.
        shape: of the tensor.
        coordinate: gives the coordinates of an axis as they are stored, [size], and their
            attributes, or None.
    """
    if not any(names) or any(n > _MOST_LABELS for n in shape):
        return None
    modes = []
    for axis, (name, size) in enumerate(zip(names, shape, strict=True)):
        word = name or f"mode_{axis}"
        if word in [mode.name for mode in modes]:
            word = f"{word}_{axis}"
        found = coordinate(axis)
        labels = None if found is None else _labels(*found, size)
        modes.append(Mode(word, tuple(map(str, range(size))) if labels is None else labels))
    return tuple(modes)


def modes_of(array: Any) -> tuple[Mode, ...] | None:
    """Names of the modes and labels of their indices, of an `xarray.DataArray`.

    Args:
        array: anything with `dims`, `coords` and `shape` as xarray has them.

    Returns:
        a mode for each axis, labeled 0, 1, ... where it has no coordinates; None if the array has
        no names.

    Example:
        >>> import types
        >>> import numpy as np
        >>> from tnjax.io import modes_of
        >>> day = types.SimpleNamespace(values=np.array(["2024-01-01", "2024-01-02"]), attrs={})
        >>> array = types.SimpleNamespace(dims=("day", "x"), coords={"day": day}, shape=(2, 3))
        >>> [mode.labels for mode in modes_of(array)]
        [('2024-01-01', '2024-01-02'), ('0', '1', '2')]
    """
    names = getattr(array, "dims", None)
    if names is None:
        return None
    coordinates = getattr(array, "coords", {})

    def coordinate(axis: int) -> tuple[Any, Mapping[str, Any]] | None:
        if names[axis] not in coordinates:
            return None
        found = coordinates[names[axis]]
        return np.asarray(found.values), dict(found.attrs)

    return modes_of_axes([str(name) for name in names], array.shape, coordinate)


def _labels(values: Any, attributes: Mapping[str, Any], size: int) -> tuple[str, ...] | None:
    """One label for each index, or None if the coordinates are none that tell indices apart."""
    values = np.asarray(values)
    if values.shape != (size,):
        return None
    if values.dtype.kind in "SUO":
        words = [w.decode("utf-8", "replace") if isinstance(w, bytes) else str(w) for w in values]
    elif values.dtype.kind == "M":
        words = _dates(values)
    elif values.dtype.kind in "fiu":
        try:
            packing = packing_of(attributes, values.dtype)
        except ValueError:
            return None
        if packing is not None:
            decoded = packing.decode(values)
            whole = packing.scale is packing.offset is None and not np.isnan(decoded).any()
            values = values if whole else decoded
        if not np.isfinite(values).all():
            return None
        dates = _times(values, attributes)
        words = [str(value) for value in values] if dates is None else _dates(dates)
    else:
        return None
    return tuple(words) if len(set(words)) == size and all(words) else None


def _times(values: np.ndarray, attributes: Mapping[str, Any]) -> np.ndarray | None:
    """Numbers with units such as "days since 1970-01-01" as moments, where the calendar is ours."""
    units, calendar = (_word(attributes.get(name)) for name in ("units", "calendar"))
    match = _SINCE.fullmatch(units)
    if match is None or calendar.lower() not in _CALENDARS:
        return None
    unit, *fields = match.groups()
    year, month, day, hour, minute, second = (int(field or 0) for field in fields)
    if year < (1 if calendar.lower() == "proleptic_gregorian" else _FIRST_YEAR):
        return None
    try:
        base = np.datetime64(
            f"{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}", "s"
        )
    except ValueError:
        return None
    seconds = values.astype(np.float64)
    if (np.abs(seconds) > 2**40).any():
        return None
    seconds *= _SECONDS[unit[0].lower()]
    if (np.abs(seconds) > 2**40).any():
        return None
    return base + np.rint(seconds).astype(np.int64).astype("m8[s]")


def _dates(moments: np.ndarray) -> list[str]:
    """ISO dates; with the time of day where it is not midnight everywhere."""
    if np.isnat(moments).any():
        return [""]
    days = moments.astype("M8[D]")
    if (days == moments).all():
        return [str(day) for day in days]
    short = moments.astype("M8[s]")
    exact = short if (short == moments).all() else moments
    return [str(moment).replace("T", " ") for moment in exact]


def _word(value: Any) -> str:
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.ravel()[0]
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value if isinstance(value, str) else ""
