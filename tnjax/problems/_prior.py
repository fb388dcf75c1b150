"""What a completion assumes of its entries and of the tensor: the options of `Completion`."""

import dataclasses
from collections.abc import Mapping
from typing import Any, TypedDict

import numpy as np

from .._tracing import traced
from .coordinates import Duplicates, Entries, check_ridge


class PriorOptions(TypedDict, total=False):
    """The options as keywords; `Completion` tells what they mean."""

    duplicates: Duplicates
    offsets: str | None
    ridge: float
    nonnegative: bool
    smooth: Mapping[Any, float | str] | str | None
    graphs: Mapping[int, Any] | None


@dataclasses.dataclass(frozen=True)
class Prior:
    """The options with their defaults."""

    duplicates: Duplicates = "refuse"
    offsets: str | None = None
    ridge: float = 0.0
    nonnegative: bool = False
    smooth: Mapping[Any, float | str] | str | None = None
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
        check_ridge(self.ridge)
        if self.nonnegative and np.iscomplexobj(entries.values):
            raise ValueError("Completion: nonnegative cores need real values.")

    @property
    def unseen(self) -> str:
        """What is predicted where nothing was observed, in words."""
        what = "zero" if self.offsets is None else "the offset"
        return f"{what} (or their neighbors)" if self.smooth else what
