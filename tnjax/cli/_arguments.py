"""Types of arguments: how a word is read, and how --help writes what is expected."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import tyro
from tyro.constructors import PrimitiveConstructorSpec


def share(text: str) -> float:
    """A number, or a percentage such as 10%.

    Raises:
        ValueError: if it is neither.
    """
    word = text.strip()
    try:
        number = float(word.removesuffix("%"))
    except ValueError:
        raise ValueError(
            f"expected a number such as 0.1, or a percentage such as 10%, got {text!r}"
        ) from None
    return number / 100 if word.endswith("%") else number


def _plain(metavar: str) -> Any:
    """How an option that is None without it appears in --help: no {None}, no default."""
    return tyro.conf.arg(metavar=metavar, help_behavior_hint="")


# An option with this in its type takes percentages.
SHARE = PrimitiveConstructorSpec[float](
    nargs=1,
    metavar="FLOAT",
    instance_from_str=lambda words: share(words[0]),
    is_instance=lambda value: value is None or isinstance(value, float | int),
    str_from_instance=lambda value: ["" if value is None else f"{value:g}"],
)
Share = Annotated[float, SHARE]


def auto_share(text: str) -> str | float:
    """ "auto", or as `share`."""
    return "auto" if text.strip() == "auto" else share(text)


AUTO_SHARE = PrimitiveConstructorSpec[str | float](
    nargs=1,
    metavar="auto|FLOAT",
    instance_from_str=lambda words: auto_share(words[0]),
    is_instance=lambda value: value == "auto" or isinstance(value, float | int),
    str_from_instance=lambda value: [value if isinstance(value, str) else f"{value:g}"],
)
AutoShare = Annotated[str | float, AUTO_SHARE]
MaybeShare = Annotated[float | None, SHARE, _plain("FLOAT")]
MaybeFloat = Annotated[float | None, _plain("FLOAT")]
MaybeInt = Annotated[int | None, _plain("INT")]
MaybeText = Annotated[str | None, _plain("TEXT")]
MaybePath = Annotated[Path | None, _plain("PATH")]

# What `tnjax.io.read_tensor` reads.
ARRAYS = (
    "An image (.png, .apng, .jpg, .jpeg, .tif, .tiff, .bmp, .gif, .webp, .ppm, .pgm), an array "
    "(.npy, .npz, .mat), HDF5 and NetCDF (.h5, .hdf5, .he5, .nc, .nc4), NIfTI (.nii, .nii.gz), a "
    ".zarr folder, or a video (.mp4, .mov, .mkv, .webm, .avi)"
)
