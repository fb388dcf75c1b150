"""`--standardize`: the modes that it names, and the hint that it would help."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ._common import InputError

if TYPE_CHECKING:
    from ..io import Mode
    from ._progress import Display


def modes_to_standardize(
    text: str | None, dims: Sequence[int], modes: Sequence[Mode] | None, plain: bool
) -> tuple[int, ...]:
    """The modes that the option lists, by number or name; none without it.

    Args:
        text: as it was given.
        dims: of the tensor.
        modes: their names, if they have some.
        plain: whether the tensor keeps the modes of the input.

    Raises:
        InputError: if a mode is not there or listed twice, or the tensor was reshaped.
    """
    if text is None:
        return ()
    if not plain:
        raise InputError("--standardize needs the modes of the input: leave --reshape out.")
    names = [] if modes is None else [mode.name for mode in modes]
    found = []
    for word in (part.strip() for part in text.split(",")):
        if word in names:
            found.append(names.index(word))
        elif word.isdecimal() and int(word) < len(dims):
            found.append(int(word))
        else:
            known = f", or names among {', '.join(names)}" if names else ""
            raise InputError(
                f"--standardize {text!r}: {word!r} is no mode; expected modes such as 1 or 0,1, of "
                f"0..{len(dims) - 1}{known}."
            )
    if len(set(found)) < len(found):
        raise InputError(f"--standardize {text!r}: a mode is named twice.")
    return tuple(found)


def tell_uneven(
    factors: Mapping[int, float], modes: Sequence[Mode] | None, display: Display
) -> None:
    """A line for each mode whose slices differ much in size, by these factors."""
    for mode, factor in factors.items():
        name = str(mode) if modes is None else modes[mode].name
        display.line(
            f"slices along mode {name} differ in size by a factor of {factor:.0e}: an error of "
            f"the whole says little of the small ones; --standardize {name} weighs all alike"
        )
