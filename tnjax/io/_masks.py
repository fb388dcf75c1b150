"""Which entries of a dense tensor are observed: a mask from a file, or a share drawn at random."""

import math
import os
from collections.abc import Sequence

import numpy as np
from jaxtyping import PRNGKeyArray

from .._deprecated import key_for_seed
from .._errors import ReadError
from .._keys import generator
from ._readers import read_tensor


def read_mask(
    path: str | os.PathLike[str],
    shape: Sequence[int],
    variable: str | None = None,
    *,
    max_bytes: int = 2**32,
) -> np.ndarray:
    """Read which entries are observed.

    Args:
        path: an image, of one page or several, or a video, whose bright pixels (half of white or
            more, in any channel) are observed, or an array, whose entries that are not zero are.
        shape: of the tensor. A mask of its first or last modes, such as one picture for all
            channels or for all frames, is repeated along the others.
        variable: which array of a file that holds several.
        max_bytes: as for `read_tensor`.

    Returns:
        Truth values of that shape.

    Raises:
        FileNotFoundError, ValueError: as `read_tensor`, and if the mask is of another shape or
            holds NaN.

    Example:
        >>> import tempfile, pathlib
        >>> import numpy as np
        >>> from tnjax.io import read_mask
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = pathlib.Path(folder) / "mask.npy"
        ...     np.save(file, np.eye(2, 3))
        ...     read_mask(file, (2, 3, 4)).sum().item()
        8
    """
    shape = tuple(shape)
    data = read_tensor(path, variable, max_bytes=max_bytes)
    mask = data.array
    if np.isnan(mask).any():
        raise ReadError(path, "the mask holds NaN; mark what is observed with 1, else with 0.")
    if data.is_picture:
        mask = mask >= data.white / 2
        if mask.ndim == (3 if data.is_image else 4) and mask.shape != shape:
            mask = mask.any(axis=-1)
    mask = mask != 0
    free = len(shape) - mask.ndim
    for first in (0, free, 1):  # the middle modes: a picture for color frames
        last = free - first
        if mask.ndim and min(first, last) >= 0 and mask.shape == shape[first : len(shape) - last]:
            return np.broadcast_to(mask.reshape(*[1] * first, *mask.shape, *[1] * last), shape)
    word = lambda sizes: "x".join(map(str, sizes))
    raise ReadError(
        path,
        f"the mask has the shape {word(mask.shape)}, but the tensor {word(shape)}; they "
        "must agree, or the mask have the first or last modes of the tensor.",
    )


@key_for_seed
def random_mask(shape: Sequence[int], share: float, *, key: PRNGKeyArray) -> np.ndarray:
    """Truth values that are true for a share of the entries, drawn without replacement.

    Args:
        shape: of the tensor.
        share: of the entries, more than 0 and at most 1; rounded to a whole number, at least one.
        key: `jax.random.key(seed)`; the same key gives the same mask.

    Returns:
        Booleans of that shape.

    Raises:
        ValueError: if the share is out of range.

    Example:
        >>> import jax
        >>> from tnjax.io import random_mask
        >>> random_mask((10, 10), 0.25, key=jax.random.key(0)).sum().item()
        25
    """
    if not 0 < share <= 1:
        raise ValueError(f"share: expected a number above 0 and at most 1, got {share}.")
    size = math.prod(shape)
    mask = np.zeros(size, bool)
    chosen = generator(key).permutation(size)[: max(1, round(share * size))]
    mask[chosen] = True
    return mask.reshape(shape)
