"""What was computed of the last few data sets, so that it is computed once for many starts."""

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from typing import Generic, TypeVar

import numpy as np

T = TypeVar("T")


class Remembered(Generic[T]):
    """Results by the content of arrays, the last few of them.

    Args:
        count: how many are kept.
    """

    def __init__(self, count: int):
        self._count = count
        self._found: OrderedDict[Hashable, T] = OrderedDict()

    def get(self, arrays: Sequence[np.ndarray], make: Callable[[], T], also: Hashable = ()) -> T:
        """What `make()` gave for these arrays before, or gives now.

        Args:
            arrays: all that the result depends on, beside `also`.
            make: computes it; nobody may change it afterwards.
            also: what else it depends on.
        """
        key = (_digest(arrays), also)
        if key not in self._found:
            found = make()
            self._found[key] = found
            while len(self._found) > self._count:
                self._found.popitem(last=False)
            return found
        return self._found[key]


def _digest(arrays: Sequence[np.ndarray]) -> bytes:
    state = hashlib.blake2b(digest_size=16)
    for array in arrays:
        state.update(f"{array.dtype.str}{array.shape}".encode())
        state.update(np.ascontiguousarray(array).data)
    return state.digest()
