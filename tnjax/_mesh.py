"""Where arrays live when there is more than one device: the two axes of a mesh, and how arrays go
onto it, are worked on there and come back.

Along `candidates` lie networks that are fitted or screened together, along `data` the slabs of a
dense tensor, or parts of the samples. Everything else (cores, solver states, results) is small and
every device has all of it. Without a mesh all functions here leave their arguments as they are, so
that the programs are the same on one device.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

CANDIDATES, DATA = "candidates", "data"
# Bytes that each process tells the others at a time.
_PIECE_BYTES = 16 * 2**20


def of(args: Any) -> Mesh | None:
    """The mesh of the first argument that has one: a problem knows where its data are."""
    found = (getattr(arg, "mesh", None) for arg in args)
    return next((mesh for mesh in found if isinstance(mesh, Mesh)), None)


def size(mesh: Mesh | None, axis: str) -> int:
    """Devices along an axis."""
    return 1 if mesh is None else mesh.shape[axis]


def rounded_up(count: int, parts: int) -> int:
    """The next multiple of `parts`."""
    return -(-count // parts) * parts


# Onto the mesh and back ---------------------------------------------------------------------


def put(array: np.ndarray, mesh: Mesh, spec: P) -> jax.Array:
    """An array on the devices of a mesh; each process gives its own devices' parts of it."""
    sharding = NamedSharding(mesh, spec)
    return jax.make_array_from_callback(array.shape, sharding, lambda index: array[index])


def on_host(array: Any) -> np.ndarray:
    """An array as NumPy's, gathered from all devices, in every process."""
    if isinstance(array, jax.Array) and not array.is_fully_addressable:
        if not array.is_fully_replicated:
            return _collected(array)
        array = array.addressable_data(0)
    return np.asarray(array)


def _collected(array: jax.Array) -> np.ndarray:
    """What lies along `data` on the devices of several processes, told to all of them piece by
    piece, so that no device ever has the whole."""
    sharding = array.sharding
    assert isinstance(sharding, NamedSharding)
    axis = tuple(sharding.spec).index(DATA)
    own = {shard.index[axis].start or 0: shard.data for shard in array.addressable_shards}
    out = np.empty(array.shape, array.dtype)
    by_rows = np.moveaxis(out, axis, 0)
    for start in sorted(own):  # as many in every process: its devices are consecutive ones
        rows = np.moveaxis(np.asarray(own[start]), axis, 0)
        starts = multihost_utils.process_allgather(np.asarray([start], np.int32))[:, 0]
        step = max(1, _PIECE_BYTES * len(rows) // rows.nbytes)
        for first in range(0, len(rows), step):
            found = multihost_utils.process_allgather(rows[first : first + step])
            for place, part in zip(starts + first, found, strict=True):
                by_rows[place : place + len(part)] = part
    return out


def shardings(tree: Any, mesh: Mesh) -> Any:
    """Where the arguments of a program lie: as they are on the mesh, or whole on every device."""
    whole = NamedSharding(mesh, P())
    return jax.tree.map(lambda leaf: leaf.sharding if _lies_on(leaf, mesh) else whole, tree)


def brought(tree: Any, mesh: Mesh) -> Any:
    """Arguments of a program, those that lie on another device as NumPy arrays."""
    strange = lambda leaf: isinstance(leaf, jax.Array) and not _lies_on(leaf, mesh)
    return jax.tree.map(lambda leaf: on_host(leaf) if strange(leaf) else leaf, tree)


def _lies_on(leaf: Any, mesh: Mesh) -> bool:
    sharding = getattr(leaf, "sharding", None)
    return isinstance(sharding, NamedSharding) and sharding.mesh == mesh


# Inside a program ---------------------------------------------------------------------------


def vmapped(function: Callable, mesh: Mesh | None, in_axes: Any = 0) -> Callable:
    """`jax.vmap`, whose lanes are shared out along `candidates`; their number must divide."""
    if mesh is None:
        return jax.vmap(function, in_axes)

    def call(*args):
        axes = in_axes if isinstance(in_axes, tuple) else (in_axes,) * len(args)
        args = tuple(
            arg if axis is None else _shared_out(arg, mesh)
            for arg, axis in zip(args, axes, strict=True)
        )
        return jax.vmap(function, in_axes)(*args)

    return call


def _shared_out(tree: Any, mesh: Mesh) -> Any:
    free = lambda leaf: [P.UNCONSTRAINED] * (jnp.ndim(leaf) - 1)
    return jax.tree.map(lambda leaf: laid(leaf, mesh, P(CANDIDATES, *free(leaf))), tree)


def laid(tree: Any, mesh: Mesh | None, spec: P) -> Any:
    """Arrays with a given layout."""
    return tree if mesh is None else lax.with_sharding_constraint(tree, NamedSharding(mesh, spec))


def over_data(
    function: Callable, mesh: Mesh | None, args: tuple, split: tuple, out: P | None
) -> Any:
    """`function(*args)` where each device sees its own part of the data.

    Args:
        function: of the parts; without a mesh, of the whole.
        split: for each argument how it is split along `data`, a prefix of its tree.
        out: how the results are split; None for results that are to be added up. All devices get
            the sum.
    """
    if mesh is None:
        return function(*args)
    # Nothing but the data is split, neither here nor, by way of gradients, around here.
    args = tuple(laid(arg, mesh, P()) if spec == P() else arg for arg, spec in zip(args, split))
    local = function if out is not None else lambda *parts: _stacked(function(*parts))
    spec = P(DATA) if out is None else out
    run = jax.shard_map(local, mesh=mesh, in_specs=split, out_specs=spec, axis_names={DATA})
    found = jax.jit(run)(*args)
    if out is not None:
        return found
    return laid(jax.tree.map(lambda part: part.sum(0), found), mesh, P())


def part(x: Any, mesh: Mesh | None) -> Any:
    """In a function of `over_data`: `x` as the type of what differs from device to device."""
    return x if mesh is None else lax.pcast(x, DATA, to="varying")


def _stacked(tree: Any) -> Any:
    return jax.tree.map(lambda part: part[None], tree)


def filled_up(tree: Any, count: int) -> Any:
    """Lanes (of arrays on the host or in a program) repeated from the first one, up to `count`."""

    def more(lanes):
        numbers = np.arange(count)
        return lanes[np.where(numbers < lanes.shape[0], numbers, 0)]

    return jax.tree.map(lambda lanes: lanes if lanes.shape[0] == count else more(lanes), tree)
