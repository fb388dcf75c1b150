"""What a completion assumes of its entries and of the tensor: the options of `Completion`."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

import numpy as np

from .._tracing import traced
from .._tuned import tuned
from ._sobolev import AUTO, SmoothMode
from .coordinates import Duplicates, Entries, check_ridge


@dataclasses.dataclass(frozen=True)
class Smoothing:
    """Smoothness that is chosen.

    Attributes:
        shortest: modes of fewer indices are not taken for ordered by themselves.
    """

    shortest: int = 4


SMOOTHING = tuned("smoothing", Smoothing())


class PriorOptions(TypedDict, total=False):
    """The options as keywords; `Completion` tells what they mean."""

    duplicates: Duplicates
    offsets: str | None
    ridge: float | str
    nonnegative: bool
    smooth: Mapping[Any, Any] | str | None
    graphs: Mapping[int, Any] | None


@dataclasses.dataclass(frozen=True)
class Prior:
    """The options with their defaults."""

    duplicates: Duplicates = "refuse"
    offsets: str | None = None
    ridge: float | str = 0.0
    nonnegative: bool = False
    smooth: Mapping[Any, Any] | str | None = None
    graphs: Mapping[int, Any] | None = None

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> "Prior":
        """From keywords.

        Raises:
            TypeError: for one that is no option, as Python does.
        """
        names = {field.name for field in dataclasses.fields(cls)}
        for name in options:
            if name not in names:
                raise TypeError(f"Completion() got an unexpected keyword argument {name!r}")
        return cls(**options)

    def check(self, entries: Entries) -> None:
        """Raise `ValueError` for options that the entries cannot have."""
        if traced(entries) and self.offsets is not None:
            raise ValueError(
                "Completion: traced entries can have no offsets; subtract them from the values."
            )
        if self.ridge != AUTO:
            check_ridge(self.ridge)
        if isinstance(self.smooth, str) and self.smooth != AUTO:
            raise ValueError(
                f'Completion: smooth={self.smooth!r}; expected "auto", or strengths by mode.'
            )
        if self.nonnegative and np.iscomplexobj(entries.values):
            raise ValueError("Completion: nonnegative cores need real values.")

    @property
    def first_ridge(self) -> float:
        """Until it is chosen."""
        return 0.0 if isinstance(self.ridge, str) else self.ridge

    def smooth_cores(self, shape: Sequence[int]) -> dict[int, SmoothMode]:
        """The modes along which the cores are smooth."""
        if isinstance(self.smooth, str):
            return {m: SmoothMode() for m, n in enumerate(shape) if n >= SMOOTHING().shortest}
        graphs, found = self.graphs or {}, {}
        for key, value in (self.smooth or {}).items():
            if isinstance(value, SmoothMode):
                found[key] = value
            elif value == AUTO and isinstance(key, int) and key not in graphs:
                found[key] = SmoothMode()
        return found

    def smooth_tensor(self, shape: Sequence[int]) -> dict[Any, float | str]:
        """The modes and axes along which the tensor is smooth."""
        if isinstance(self.smooth, str):
            return {}
        cores = self.smooth_cores(shape)
        return {key: value for key, value in (self.smooth or {}).items() if key not in cores}

    @property
    def unseen(self) -> str:
        """What is predicted where nothing was observed, in words."""
        what = "zero" if self.offsets is None else "the offset"
        return f"{what} (or their neighbors)" if self.smooth else what
