"""Options of searches: a class for each group that --help shows.

`GROUP` is the name of the group; the options of the class where it is empty come first.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Literal

import tyro

from ._arguments import ARRAYS, MaybeFloat, MaybeInt, MaybeShare, MaybeText
from ._devices import DeviceOptions

_TENSOR = (
    f"{ARRAYS}. An .npy, HDF5 or Zarr tensor that memory does not hold stays on disk, given a "
    "--target-error, and is read slab by slab. Or the entries that are not zero: .tns (also as "
    ".gz), or an .npz with indices and values, of scipy.sparse or of PyData's sparse."
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class UsualOptions:
    """What everybody needs."""

    GROUP = ""

    out: Annotated[Path, tyro.conf.arg(metavar="FOLDER")]
    """Folder to write; it must not exist, or be empty."""
    target_error: MaybeShare = None
    """Stop at this relative Frobenius error ||X - T|| / ||X|| (not squared), such as 0.1 or 10%."""
    max_params: MaybeInt = None
    """Never use more core entries than this."""
    max_seconds: MaybeFloat = None
    """Stop searching so long after the command began; loading JAX and data count, up to half."""
    effort: Annotated[
        Literal["quick", "normal", "thorough"] | None,
        tyro.conf.arg(metavar="{quick,normal,thorough}", help_behavior_hint=""),
    ] = None
    """Work to make the network smaller once the target is met: quick takes ranks away only, normal
    (the default) does about as much work again as it took to meet it, thorough tries everything."""
    reshape: MaybeText = None
    """Of images and arrays: sizes of the modes to work in, such as 4,4,4,4,4,4,4,4 for a 256x256
    gray image, or auto."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class StopOptions:
    """When to stop, beside --target-error, --max-params and --max-seconds, and how to go on."""

    GROUP = "stop"

    max_steps: MaybeInt = None
    """Stop after so many moves."""
    max_rank: MaybeInt = None
    """Largest rank of a bond."""
    max_degree: MaybeInt = None
    """Largest number of bonds on a node."""
    resume: bool = False
    """Go on with the run in --out, which was stopped or killed, from its last whole checkpoint."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class HowOptions:
    """How to search."""

    GROUP = "search"

    strategy: Annotated[str, tyro.conf.arg(metavar="NAME")] = "greedy"
    """greedy; tree (read off singular values, little time); fixed (a --format); greedy-trial (the
    paper's; it never prunes); to compare with: sparse-diagonal, local-sampling,
    local-enumeration, genetic, random-search, random-walk; or a class of yours, module:Class. An
    option below that the strategy does not have is refused."""
    format: MaybeText = None
    """Of --strategy fixed: tt, tr, tucker, ht, cp or svd."""
    ranks: MaybeText = None
    """Of --strategy fixed: the ranks themselves, such as 3 or 2,4,2, which are fitted as they are;
    no other limit is needed then."""
    power: MaybeFloat = None
    """Exponent of the cost in the score gain / cost^power; 0 scores the raw gain."""
    increment: MaybeInt = None
    """Ranks added in one move."""
    prune: bool = True
    """Take superfluous ranks away at the end."""
    infer: bool = True
    """Try at first the graphs that the ranks of a dense tensor tell; of a completion that has
    nothing to grow from, modes in groups."""
    seed: int = 0
    """Seed of all random numbers."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class InputOptions:
    """How to read an image or an array."""

    GROUP = "input"

    digits: Literal["row-major", "interleaved"] = "row-major"
    """How --reshape splits modes: one after another, or each new mode from all old ones."""
    fit: Literal["exact", "pad", "crop"] = "exact"
    """If the sizes of --reshape do not multiply up: refuse; fill up (repeat last entries, or leave
    them unobserved); or drop what is too much."""
    variable: MaybeText = None
    """Name of the array, in files that hold several."""
    standardize: MaybeText = None
    """Modes whose slices are in different units, such as 2 or 0,2 (from 0), or sensor where modes
    have names: each slice is divided by the root mean square of what is known of it,
    --target-error is that of what results, and the network is written in the units of the data."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ComputingOptions:
    """Precision, memory, and what is kept for later runs."""

    GROUP = "computing"

    dtype: Literal["float64", "float32"] = "float64"
    """Precision to compute in; complex data become complex128 or complex64."""
    memory_limit: MaybeText = None
    """Do not try structures whose fit is forecast to need more, such as 4GiB. A tensor that needs
    more stays on disk, where it can (by default half of the machine's memory)."""
    cache: Annotated[str, tyro.conf.arg(metavar="FOLDER")] = "auto"
    """Folder for compiled programs, reused by later runs; auto: the user's cache folder; none."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class SearchOptions(
    UsualOptions, StopOptions, HowOptions, InputOptions, ComputingOptions, DeviceOptions
):
    """Options of every subcommand that runs a search and leaves a run folder."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class CertificateOptions:
    """What to say beside the network."""

    GROUP = "result"

    certificate: bool = False
    """Also say, and write to certificate.json, how small a network could be at --target-error, as
    far as the ranks of the data's unfoldings tell."""
    names: MaybeText = None
    """Names of the axes, such as time,sensor,wavelength, for reports and drawings; --reshape calls
    the parts of an axis time.1, time.2, ... Images and files that name their axes need none."""
    stability: int = 0
    """Search so many times more, on the network plus its residuals in another order, and tell in
    the report how often each bond came back."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class DecomposeOptions(SearchOptions, CertificateOptions):
    """Everything that `tnjax decompose` can be told."""

    input: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="INPUT", help=_TENSOR)]
