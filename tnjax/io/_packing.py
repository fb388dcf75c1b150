"""Packed variables: how the conventions of NetCDF tell the numbers that are meant.

Reference:
    NetCDF Climate and Forecast (CF) Metadata Conventions 1.11, sections 2.5.1 and 8.1.
"""

import base64
import dataclasses
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np

_MOST_VALUES = 64  # of one attribute
# What the NetCDF library writes where nothing was written; bytes have no such value.
_DEFAULT_FILL = {
    "i2": -32767,
    "u2": 65535,
    "i4": -2147483647,
    "u4": 4294967295,
    "i8": -9223372036854775806,
    "u8": 18446744073709551614,
    "f4": 9.9692099683868690e36,
    "f8": 9.9692099683868690e36,
}


@dataclasses.dataclass(frozen=True)
class Packing:
    """How stored numbers become those that are meant: missing ones NaN, then times scale plus
    offset.

    Attributes:
        stored: dtype in which the stored numbers are looked at.
        dtype: of the result.
        scale, offset: None if the file has none.
        missing: stored numbers that stand for nothing.
        valid: least and largest stored number that is one, each or None; None if unknown.
        valid_is_unpacked: whether `valid` is in the units of the result.
    """

    stored: np.dtype
    dtype: np.dtype
    scale: float | None
    offset: float | None
    missing: tuple[Any, ...]
    valid: tuple[Any, Any]
    valid_is_unpacked: bool

    def decode(self, array: np.ndarray) -> np.ndarray:
        """The numbers that are meant, in a new array."""
        stored = np.asarray(array).astype(self.stored, copy=False)
        absent = np.zeros(stored.shape, bool)
        for value in self.missing:
            absent |= stored == value
        out = stored.astype(self.dtype)
        with np.errstate(over="ignore", invalid="ignore"):
            if self.scale is not None:
                out *= self.scale
            if self.offset is not None:
                out += self.offset
            looked_at = out if self.valid_is_unpacked else stored
            low, high = self.valid
            if low is not None:
                absent |= looked_at < low
            if high is not None:
                absent |= looked_at > high
        out[absent] = np.nan
        return out

    @property
    def notes(self) -> tuple[str, ...]:
        """What is done, in words."""
        words = []
        given = {"scale_factor": self.scale, "add_offset": self.offset}
        if named := [f"{key} {value:.6g}" for key, value in given.items() if value is not None]:
            words.append(f"packed numbers are unpacked ({', '.join(named)})")
        if self.missing:
            shown = ", ".join(f"{value:.6g}" for value in self.missing[:3])
            verb = "stands" if len(self.missing) == 1 else "stand"
            words.append(f"{shown} {verb} for missing entries")
        if self.valid != (None, None):
            low, high = ("" if value is None else f"{value:.6g}" for value in self.valid)
            words.append(f"entries outside of the valid range {low}..{high} count as missing")
        return tuple(words)


def packing_of(
    attributes: Mapping[str, Any], dtype: np.dtype, *, is_netcdf: bool = False
) -> Packing | None:
    """The packing that attributes of a variable describe; None if numbers are stored as they are.

    Args:
        attributes: all of them; others are not looked at.
        dtype: of the stored numbers.
        is_netcdf: whether the library's own fill value counts where the file names no other.

    Raises:
        ValueError: if an attribute is not what the conventions say.
    """
    dtype = dtype.newbyteorder("=")
    if dtype.kind not in "fiu":
        return None
    stored = dtype
    if dtype.kind == "i" and _text(attributes.get("_Unsigned")).lower() == "true":
        stored = np.dtype(f"u{dtype.itemsize}")
    elif dtype.kind == "u" and _text(attributes.get("_Unsigned")).lower() == "false":
        stored = np.dtype(f"i{dtype.itemsize}")
    scale, offset = (_number(attributes, name) for name in ("scale_factor", "add_offset"))
    missing: list[Any] = []
    for name in ("_FillValue", "missing_value"):
        if attributes.get(name) is not None:
            missing += _as_stored(_numbers(attributes, name, dtype), stored)
    if is_netcdf and attributes.get("_FillValue") is None:
        missing += _as_stored(np.asarray(_DEFAULT_FILL.get(dtype.str[1:], [])), stored)
    missing = list(dict.fromkeys(value for value in missing if value == value))
    valid, is_unpacked = _valid_range(attributes, stored, scale is not None or offset is not None)
    if scale is None and offset is None and not missing and valid == (None, None):
        return None if stored == dtype else Packing(stored, stored, None, None, (), valid, False)
    given = [np.asarray(attributes[key]).dtype for key in ("scale_factor", "add_offset")
             if attributes.get(key) is not None]  # fmt: skip
    out = np.result_type(stored, *given) if stored.kind == "f" else np.dtype(np.float64)
    return Packing(stored, out, scale, offset, tuple(missing), valid, is_unpacked)


def _valid_range(
    attributes: Mapping[str, Any], stored: np.dtype, packed: bool
) -> tuple[tuple[Any, Any], bool]:
    """Least and largest valid number, and whether they are unpacked ones: that is so if the
    stored numbers are integers and the limits are not."""
    ends: list[Any] = [None, None]
    found: list[np.ndarray] = []
    if attributes.get("valid_range") is not None:
        both = _numbers(attributes, "valid_range", stored)
        if both.size != 2:
            raise ValueError(f"the attribute valid_range has {both.size} numbers, not two")
        ends, found = [both[0], both[1]], [both]
    else:
        for place, name in enumerate(("valid_min", "valid_max")):
            if attributes.get(name) is not None:
                one = _numbers(attributes, name, stored)
                if one.size != 1:
                    raise ValueError(f"the attribute {name} has {one.size} numbers, not one")
                ends[place] = one[0]
                found.append(one)
    is_unpacked = packed and stored.kind != "f" and any(x.dtype.kind == "f" for x in found)
    if not is_unpacked and stored.kind == "u":  # limits of bytes that are meant without a sign
        ends = [int(x) % 256**stored.itemsize if x is not None and x.dtype.kind == "i" and x < 0
                else x for x in ends]  # fmt: skip
    return (ends[0], ends[1]), is_unpacked


def _as_stored(values: np.ndarray, stored: np.dtype) -> list[Any]:
    """Values as they look in the stored kind; those that cannot occur there are left out."""
    out = []
    for value in values.ravel():
        with np.errstate(all="ignore"):
            there = np.asarray(value).astype(stored)[()]
        wraps = stored.kind == "u" and value < 0 and value >= -(256**stored.itemsize) // 2
        if stored.kind == "f" or there == value or wraps:
            out.append(there)
    return out


def _number(attributes: Mapping[str, Any], name: str) -> float | None:
    if attributes.get(name) is None:
        return None
    values = _numbers(attributes, name, np.dtype(float))
    if values.size != 1 or not np.isfinite(values[0]):
        raise ValueError(f"the attribute {name} is not one finite number")
    return float(values[0])


def _numbers(attributes: Mapping[str, Any], name: str, dtype: np.dtype) -> np.ndarray:
    """An attribute as numbers, [count]; Zarr has text for those that JSON lacks."""
    given = attributes[name]
    if isinstance(given, (bytes, str, np.str_, np.bytes_)):
        given = _from_text(name, _text(given), dtype)
    values = np.atleast_1d(np.asarray(given)).ravel()
    if values.dtype.kind not in "fiub" or not 0 < values.size <= _MOST_VALUES:
        raise ValueError(f"the attribute {name} is not a number, but {str(given)[:40]!r}")
    return values


def _from_text(name: str, text: str, dtype: np.dtype) -> float:
    try:
        return float(text)
    except ValueError:
        pass
    try:  # xarray's way in Zarr format 3
        (value,) = struct.unpack("<d", base64.standard_b64decode(text))
    except (ValueError, struct.error):
        raise ValueError(f"the attribute {name} is not a number, but {text[:40]!r}") from None
    return value


def _text(value: Any) -> str:
    """An attribute as text; "" for anything that is none."""
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.ravel()[0]
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return str(value) if isinstance(value, str) else ""
