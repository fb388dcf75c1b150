r"""Whether a target error can be met, or should be: said in a sentence before the work is done.

Three things speak against a target: the precision of the data, noise in them, which takes as many
parameters as it has entries, and a network that grows larger than the tensor. All are read off
numbers that a search has anyway. Each is a `UserWarning`.

White noise of variance $\sigma^2$ in a matrix of m rows and n columns, $m \le n$, gives squared
singular values of $n \sigma^2$ times the distribution of Marchenko and Pastur for m / n, and so it
does beside a few large ones. Where several unfoldings show it with the same $\sigma$, it is noise.
"""

import dataclasses
import functools
import math
import warnings
from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np

from .._tuned import tuned
from ..problems import Problem
from .spectra.unfoldings import Cut, Unfoldings, unfolded_shape


@dataclasses.dataclass(frozen=True)
class Reach:
    """Warnings of targets out of reach.

    Attributes:
        units: relative errors below this many units of the precision are rounding.
        rows: unfoldings of fewer rows tell nothing of a distribution ...
        cuts: ... nor do fewer than so many unfoldings.
        agree: levels of noise of all unfoldings are the same but for this factor (planted noise: up
            to 1.1; images: 2 and more).
        shape: the quartiles are those of noise up to this part.
        signal: so many of the values, as a part, may stand out.
        fits: targets down to this part of the noise may be met, since a network fits some of it.
        edge: values up to this factor past the edge of the distribution are noise.
    """

    units: int = 8
    rows: int = 12
    cuts: int = 2
    agree: float = 1.15
    shape: float = 0.2
    signal: float = 0.5
    fits: float = 0.95
    edge: float = 1.05


REACH = tuned("reach", Reach())


def least_error(problem: Problem) -> float:
    """The least error that the precision can tell; 0 where the error is not a relative one."""
    return REACH().units * problem.resolution


def warn_of_precision(problem: Problem, target_error: float) -> None:
    """Warn of a target that lies below what the precision can tell."""
    least = least_error(problem)
    _warn(
        f"a target error of {target_error:g} lies below what {jnp.dtype(problem.dtype)} can "
        f"tell, about {least:.0e}: it may never be met. A network that meets {least:.0e} is looked "
        "for, and fitted as far as it goes. Give a larger target, or the data in a higher "
        "precision."
    )


def warn_of_noise(unfoldings: Unfoldings, cuts: Sequence[Cut], target_error: float) -> None:
    """Warn of a target below the noise that the data show."""
    noise = noise_level(unfoldings, cuts)
    if noise is not None and target_error < REACH().fits * noise:
        _warn(
            f"the data look like a network plus about {100 * noise:.2g} % of noise: a target error "
            f"of {100 * target_error:.2g} % fits the noise, which takes about as many parameters "
            f"as there are entries. Give {noise:.2g} or more."
        )


def warn_of_size(num_params: int, shape: Sequence[int]) -> None:
    """Warn of a network that is no smaller than the tensor."""
    cells = math.prod(shape)
    words = "more than" if num_params > cells else "as many as"
    _warn(
        f"the network has {num_params} parameters, {words} the {cells} entries of the tensor: it "
        "compresses nothing (the tensor itself is a network of one core). Give a larger target "
        "error, or max_params."
    )


def noise_level(unfoldings: Unfoldings, cuts: Sequence[Cut]) -> float | None:
    """The norm of white noise in a tensor, relative to the norm of the tensor, by its unfoldings;
    None
    where not at least half of them show some, and all of these the same.

    Reference:
        Gavish and Donoho, IEEE Trans. Inf. Theory 60 (2014), section III.E, for the estimate by the
        median.
    """
    found, told = [], 0
    for cut in cuts:
        rows, columns = sorted(unfolded_shape(unfoldings.dims, cut))
        if rows < REACH().rows:
            continue
        spectrum = unfoldings.spectrum(cut)
        if spectrum.missed or len(spectrum.squares) < rows:
            return None  # a sketch that leaves out less than the target
        told += 1
        level = _level(spectrum.squares[::-1], rows, columns)
        if level is not None:  # else the network leaves no room in this one
            found.append(level)
    if len(found) < max(REACH().cuts, told / 2) or max(found) > REACH().agree * min(found):
        return None
    return float(np.median(found))


def _level(squares: np.ndarray, rows: int, columns: int) -> float | None:
    """By the squared singular values of one unfolding, ascending."""
    quartiles = _quartiles(round(rows / columns, 3))
    edge = (1 + math.sqrt(rows / columns)) ** 2
    kept = squares
    for _ in range(3):  # those of the signal are told by the noise, and the noise by the others
        unit = float(np.median(kept)) / quartiles[1]
        kept = squares[squares <= REACH().edge * edge * unit]
        if len(kept) < (1 - REACH().signal) * rows:
            return None
    unit = float(np.median(kept)) / quartiles[1]
    if unit <= np.finfo(squares.dtype).eps:
        return None
    shape = np.quantile(kept, [0.25, 0.5, 0.75]) / unit
    if np.any(np.abs(shape - quartiles) > REACH().shape * quartiles):
        return None
    return math.sqrt(unit * rows)  # n sigma^2 in units of the whole norm, m of them


@functools.lru_cache(maxsize=256)
def _quartiles(ratio: float) -> np.ndarray:
    """Of the distribution of Marchenko and Pastur, whose mean is one."""
    low, high = (1 - math.sqrt(ratio)) ** 2, (1 + math.sqrt(ratio)) ** 2
    angle = np.linspace(0, np.pi, 4001)
    x = (low + high) / 2 - (high - low) / 2 * np.cos(angle)
    # The density times dx; both roots vanish at the ends.
    mass = np.sin(angle) ** 2 / np.maximum(x, 1e-12)
    total = np.cumsum(mass)
    return np.interp([0.25, 0.5, 0.75], total / total[-1], x)


def _warn(text: str) -> None:
    warnings.warn(f"search: {text}", stacklevel=2)
