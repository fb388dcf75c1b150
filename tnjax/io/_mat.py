"""Full numeric arrays from MATLAB files of versions 4 to 7, every size checked before it is used.

SciPy's reader follows what a file claims, even past a null pointer, so that one flipped byte can
end the process. This one reads less (no text, struct, cell, sparse or object) and trusts nothing.

A version 5 file is a header of 128 bytes and a row of elements. The tag of an element is its
type and its size, four bytes each, or both in four bytes followed by at most four bytes of data.
An array is an element of elements: flags, dimensions, name, real part, imaginary part. A version
4 file is a row of arrays: five integers, name, real part, imaginary part.

Reference:
    MathWorks, "MAT-File Format" (R2024a).
"""

import dataclasses
import functools
import math
import struct
import zlib
from collections.abc import Callable

import numpy as np

_HEADER = 128
_MATRIX, _COMPRESSED = 14, 15
_INT32, _UINT32, _NAMES = 5, 6, (1, 2, 16)
_STORED = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 12: "i8", 13: "u8"}
_STORED |= {7: "f4", 9: "f8"}
_STORED_4 = ("f8", "f4", "i4", "i2", "u2", "u1")
_NUMERIC_CLASSES = range(6, 16)
_OPAQUE_CLASS = 17
_COMPLEX = 0x0800
_MOST_MODES, _LONGEST_NAME = 64, 4096
_HEAD = 2**16  # holds any sound array's flags, dimensions and name
MOST_DEFLATED = 1032  # bytes that deflate can make out of one

Variables = dict[str, Callable[[int], np.ndarray]]


@dataclasses.dataclass(frozen=True)
class _Head:
    """What stands before the numbers of an array; `dims` is None unless it is full and numeric."""

    name: str
    dims: tuple[int, ...] | None
    is_complex: bool
    start: int


def mat_variables(data: bytes) -> Variables:
    """The arrays of a file by name, each as a function of the largest size in bytes it may have.

    Raises:
        ValueError: if the file is damaged, of another kind or a newer version; the functions, if
            an array is damaged, too large, or anything but a full array of numbers.
    """
    if len(data) >= 4 and 0 in data[:4]:
        return _variables_4(memoryview(data))
    if len(data) < _HEADER:
        raise ValueError("the header is cut")
    orders = {b"IM": "<", b"MI": ">"}
    order = orders.get(data[126:_HEADER])
    if order is None:
        raise ValueError("the header lacks the mark of its byte order")
    (version,) = struct.unpack_from(f"{order}H", data, 124)
    if version == 0x0200:
        raise NotImplementedError("version 7.3")
    if version != 0x0100:
        raise ValueError(f"unknown version {version:#x}")
    found: Variables = {}
    view, start = memoryview(data), _HEADER
    while start < len(view):
        kind, body, start = _element(view, start, order)
        if kind == _COMPRESSED:
            inner = zlib.decompressobj().decompress(body, _HEAD)
            if len(inner) < 8 or struct.unpack_from(f"{order}I", inner)[0] != _MATRIX:
                raise ValueError("a compressed element is no array")
            head = _head(memoryview(inner)[8:], order)
            (size,) = struct.unpack_from(f"{order}I", inner, 4)
            read = functools.partial(_inflated, body, size, head, order)
        elif kind == _MATRIX:
            head = _head(body, order)
            read = functools.partial(_array, body, head, order)
        else:
            raise ValueError(f"an element has the unknown type {kind}")
        if head.name:  # a nameless one holds data of objects
            found[head.name] = read
    return found


def _element(data: memoryview, start: int, order: str) -> tuple[int, memoryview, int]:
    """Type, data, and where the next element begins."""
    if start + 8 > len(data):
        raise ValueError("the tag of an element is cut")
    kind, size = struct.unpack_from(f"{order}II", data, start)
    start += 8
    end = start + size + (0 if kind == _COMPRESSED else -size % 8)
    if kind >> 16:  # a small element: its data lie within the tag
        kind, size, start, end = kind & 0xFFFF, kind >> 16, start - 4, start
        if size > 4:
            raise ValueError(f"a small element claims {size} bytes")
    if start + size > len(data):
        raise ValueError(f"an element claims {size} bytes, {len(data) - start} are left")
    return kind, data[start : start + size], end


def _head(body: memoryview, order: str) -> _Head:
    kind, flags, start = _element(body, 0, order)
    if kind != _UINT32 or len(flags) != 8:
        raise ValueError("an array lacks its flags")
    (word,) = struct.unpack_from(f"{order}I", flags)
    dims = None
    if word & 0xFF != _OPAQUE_CLASS:
        kind, data, start = _element(body, start, order)
        if kind != _INT32 or len(data) % 4 or not 2 <= len(data) // 4 <= _MOST_MODES:
            raise ValueError("an array lacks its dimensions")
        dims = struct.unpack(f"{order}{len(data) // 4}i", data)
        if min(dims) < 0:
            raise ValueError(f"an array has the dimensions {dims}")
    kind, name, start = _element(body, start, order)
    if kind not in _NAMES or len(name) > _LONGEST_NAME:
        raise ValueError("an array lacks its name")
    text = bytes(name).decode("utf-8", "replace")
    numeric = word & 0xFF in _NUMERIC_CLASSES
    return _Head(text, dims if numeric else None, bool(word & _COMPLEX), start)


def _inflated(body: memoryview, size: int, head: _Head, order: str, max_bytes: int) -> np.ndarray:
    _check_numeric(head)
    if size > MOST_DEFLATED * len(body):
        raise ValueError(f"{len(body)} compressed bytes claim to hold {size}")
    if size > max_bytes + _HEAD:
        raise ValueError(f"{head.name!r} would take {size} bytes, more than max_bytes={max_bytes}")
    stream = zlib.decompressobj()
    data = stream.decompress(body, 8 + size)
    stream.decompress(stream.unconsumed_tail, 8)  # the check sum
    if len(data) != 8 + size or not stream.eof:
        raise ValueError(f"the compressed data do not hold the {size} bytes that they claim")
    return _array(memoryview(data)[8:], head, order, max_bytes)


def _array(body: memoryview, head: _Head, order: str, max_bytes: int) -> np.ndarray:
    dims = _check_numeric(head)
    parts, start = [], head.start
    for _ in range(2 if head.is_complex else 1):
        kind, data, start = _element(body, start, order)
        if kind not in _STORED:
            raise ValueError(f"numbers have the unknown type {kind}")
        parts.append((order + _STORED[kind], data))
    return _numbers(dims, parts, max_bytes)


def _check_numeric(head: _Head) -> tuple[int, ...]:
    if head.dims is None:
        raise ValueError(f"{head.name!r} is no full array of numbers")
    return head.dims


def _numbers(
    dims: tuple[int, ...], parts: list[tuple[str, memoryview]], max_bytes: int
) -> np.ndarray:
    """Real part and, if there is one, imaginary part, in MATLAB's order."""
    arrays = []
    for stored, data in parts:
        dtype = np.dtype(stored)
        if math.prod(dims) * dtype.itemsize != len(data):
            raise ValueError(f"the dimensions {dims} do not fit {len(data)} bytes of {dtype.name}")
        array = np.frombuffer(data, dtype).reshape(dims, order="F")
        arrays.append(array)
    if len(arrays) == 1:
        return arrays[0].astype(arrays[0].dtype.newbyteorder("="))
    kind = np.complex64 if all(a.dtype.itemsize <= 4 for a in arrays) else np.complex128
    if kind is np.complex64 and any(a.dtype.kind != "f" for a in arrays):
        kind = np.complex128  # whole numbers may need more digits
    needed = math.prod(dims) * np.dtype(kind).itemsize
    if needed > max_bytes:
        raise ValueError(f"{needed} bytes, more than max_bytes={max_bytes}")
    out = np.empty(dims, kind, order="F")
    out.real, out.imag = arrays
    return out


def _variables_4(data: memoryview) -> Variables:
    found: Variables = {}
    start = 0
    while start < len(data):
        if start + 20 > len(data):
            raise ValueError("the head of an array is cut")
        order = "<" if struct.unpack_from("<I", data, start)[0] < 5000 else ">"
        kind, rows, columns, imaginary, length = struct.unpack_from(f"{order}5i", data, start)
        start += 20
        machine, rest = divmod(kind, 1000)
        zero, rest = divmod(rest, 100)
        stored, form = divmod(rest, 10)
        if machine != (order == ">") or zero or stored >= len(_STORED_4) or form > 2:
            raise ValueError(f"an array has the unknown type {kind}")
        if min(rows, columns) < 0 or imaginary not in (0, 1):
            raise ValueError(f"an array has the dimensions {(rows, columns)}")
        if not 1 <= length <= _LONGEST_NAME:
            raise ValueError(f"a name claims {length} bytes")
        dtype = np.dtype(order + _STORED_4[stored])
        size = rows * columns * dtype.itemsize
        end = start + length + size * (1 + imaginary)
        if end > len(data):
            raise ValueError(f"an array claims {end - start} bytes, {len(data) - start} are left")
        name = bytes(data[start : start + length]).split(b"\0")[0].decode("latin-1")
        first = start + length
        parts = [(dtype.str, data[first + k * size :][:size]) for k in range(1 + imaginary)]
        if form == 0:
            found[name] = functools.partial(_numbers, (rows, columns), parts)
        else:
            found[name] = functools.partial(_refuse, name)
        start = end
    return found


def _refuse(name: str, max_bytes: int) -> np.ndarray:
    del max_bytes
    raise ValueError(f"{name!r} is no full array of numbers")
