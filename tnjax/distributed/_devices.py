"""Meshes of devices."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh

from .._mesh import CANDIDATES, DATA


def make_mesh(
    devices: int | Sequence[Any] | None = None,
    *,
    candidates: int | None = None,
    data: int | None = None,
) -> Mesh:
    """A mesh of devices for one fit or search, with the axes `candidates` and `data`.

    Along `data` the problem's data are shared out: a dense tensor along its longest mode, the
    entries of a completion evenly. Every program gains by it. Along `candidates` lie networks that
    are looked at together (the candidates of a screen, the members of a population, restarts);
    a single fit gains nothing by it.

    Args:
        devices: how many, or which; by default as many as the axes need, or all there are. In a
            program of several processes the devices of all of them count.
        candidates, data: devices along each axis. If one is missing, it takes what is left; if
            both are, all devices are along `data`.

    Returns:
        A mesh of shape [candidates, data].

    Raises:
        ValueError: for a number that is not positive, more devices than there are, or axes that
            do not divide the devices among them.

    Example:
        >>> import numpy as np
        >>> from tnjax import Decomposition, make_mesh
        >>> mesh = make_mesh(1)
        >>> dict(mesh.shape)
        {'candidates': 1, 'data': 1}
        >>> Decomposition(np.arange(24.0).reshape(2, 3, 4), mesh=mesh).shape
        (2, 3, 4)
    """
    there, processes = jax.devices(), jax.process_count()
    sizes = {CANDIDATES: candidates, DATA: data}
    for name, number in {"devices": devices, **sizes}.items():
        if isinstance(number, int) and number < 1:
            raise ValueError(f"make_mesh: {name} must be 1 or more, got {number}.")
    known = [number for number in sizes.values() if number is not None]
    product = int(np.prod(known, dtype=np.int64))
    if devices is None:
        devices = product if len(known) == 2 else len(there)
    if isinstance(devices, int):
        if devices > len(there):
            raise ValueError(
                f"{devices} devices are asked for, there are {len(there)} "
                f"({there[0].platform}). Give fewer, or more processes."
            )
        if devices % processes:
            raise ValueError(
                f"{devices} devices cannot be shared out among {processes} processes; give a "
                "multiple."
            )
        own = [d for d in there if d.process_index == 0][: devices // processes]
        if len(own) * processes != devices:
            raise ValueError(
                f"{devices} devices of {processes} processes: process 0 has only {len(own)}."
            )
        groups = ([d for d in there if d.process_index == n] for n in range(processes))
        devices = [device for group in groups for device in group[: len(own)]]
    count = len(devices)
    if count % product or (len(known) == 2 and count != product):
        axes = ", ".join(f"{name}={n}" for name, n in sizes.items() if n is not None)
        raise ValueError(
            f"A mesh of {axes} does not divide {count} devices; the product of its axes must be "
            "their number."
        )
    if candidates is None:
        candidates = 1 if data is None else count // data
    grid = np.asarray(devices, dtype=object).reshape(candidates, count // candidates)
    return Mesh(grid, (CANDIDATES, DATA), axis_types=(AxisType.Auto, AxisType.Auto))
