"""A look at the element tags of a MATLAB file (versions 5 to 7) before SciPy reads it.

SciPy's reader dereferences a null pointer on a numeric element of unknown type, so that one
flipped byte would end the process. Tags are eight bytes: type and size, or both in four bytes
followed by four bytes of data.
"""

import os
import struct
import zlib
from pathlib import Path

_HEADER = 128
_MATRIX, _COMPRESSED = 14, 15
_NUMERIC = {1, 2, 3, 4, 5, 6, 7, 9, 12, 13, 16, 17, 18}


def check_mat(path: str | os.PathLike) -> None:
    """Raise `ValueError` if an element of the file has an unknown type."""
    data = Path(path).read_bytes()
    orders = {b"\x00\x01IM": "<", b"\x01\x00MI": ">"}  # version 5 and the order of bytes
    order = orders.get(data[124:_HEADER])
    if order is not None:  # of any other version SciPy says what is wrong
        _walk(data[_HEADER:], order, inside=False)


def _walk(data: bytes, order: str, *, inside: bool) -> None:
    start = 0
    while start + 8 <= len(data):
        kind, size = struct.unpack_from(f"{order}II", data, start)
        start += 8
        if kind >> 16:  # a small element: its data lie within the tag
            kind, size = kind & 0xFFFF, 0
        body = data[start : start + size]
        if kind == _MATRIX:
            _walk(body, order, inside=True)
        elif kind == _COMPRESSED and not inside:
            _walk(zlib.decompress(body), order, inside=False)
        elif kind not in _NUMERIC:
            raise ValueError(f"an element has the unknown type {kind}")
        start += size if kind == _COMPRESSED else size + -size % 8
