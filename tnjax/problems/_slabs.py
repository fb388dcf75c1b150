"""A dense tensor in slabs along its longest mode, one for each device along a mesh's `data` axis.

A contraction that sums over all modes is the sum of the contractions of the slabs, each with its
own rows of one core. So what travels between devices is as large as a core, and never as large as
the tensor. A mode that does not divide is filled up with zeros: with the zero rows of its core
they add nothing to any sum.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from .. import _mesh
from .._network import TensorNetwork
from .._structure import Structure


@dataclasses.dataclass(frozen=True)
class Slabs:
    """How a tensor is laid out.

    Attributes:
        mesh: whose `data` axis counts the slabs.
        mode: that is cut.
        size: of this mode, without what it is filled up with.
    """

    mesh: Mesh
    mode: int
    size: int

    @classmethod
    def of(cls, shape: tuple[int, ...], mesh: Mesh) -> "Slabs":
        """Along the longest mode, the first one of equals."""
        mode = max(range(len(shape)), key=lambda k: shape[k])
        return cls(mesh, mode, shape[mode])

    @property
    def thickness(self) -> int:
        """Of a slab."""
        return -(-self.size // _mesh.size(self.mesh, _mesh.DATA))

    @property
    def filled(self) -> int:
        """The size of the mode as it is laid out."""
        return self.thickness * _mesh.size(self.mesh, _mesh.DATA)

    def put(self, tensor: np.ndarray, *, stacked: bool = False) -> jax.Array:
        """The tensor on the devices; with `stacked`, one for each lane of a leading axis."""
        axis = self.mode + stacked
        widths = [(0, 0)] * tensor.ndim
        widths[axis] = (0, self.filled - self.size)
        tensor = np.pad(tensor, widths) if self.filled > self.size else tensor
        lanes = [_mesh.CANDIDATES] if stacked else []
        return _mesh.put(tensor, self.mesh, P(*lanes, *self.spec(self.mode)))

    def spec(self, axis: int) -> P:
        """An array whose axis is cut like the mode."""
        return P(*[None] * axis, _mesh.DATA)

    def whole(self, array: Any, axis: int) -> Any:
        """An array without what its axis was filled up with."""
        return array[(slice(None),) * axis + (slice(self.size),)]

    def structure(self, structure: Structure) -> Structure:
        """The structure of a slab."""
        dims = list(structure.dims)
        dims[self.mode] = self.thickness
        return dataclasses.replace(structure, dims=tuple(dims))

    def place(self, structure: Structure) -> tuple[int, int]:
        """The node that carries the mode, and the axis of its core."""
        node = next(k for k, legs in enumerate(structure.legs) if self.mode in legs)
        return node, structure.legs[node].index(self.mode)


def slabwise(
    slabs: Slabs | None,
    function: Callable,
    network: TensorNetwork,
    tensors: tuple = (),
    *,
    out: P | None = None,
) -> Any:
    """`function(structure, cores, *tensors)` of the whole tensors, or of each slab.

    Args:
        tensors: of the shape of the data, as they are laid out.
        out: how the result is cut; None if the results of the slabs are to be added up.
    """
    structure, cores = network.structure, network.cores
    if slabs is None:
        return function(structure, cores, *tensors)
    cores = _mesh.laid(cores, slabs.mesh, P())
    node, axis = slabs.place(structure)
    core = cores[node]
    widths = [(0, 0)] * core.ndim
    widths[axis] = (0, slabs.filled - slabs.size)
    core = jnp.pad(core, widths) if slabs.filled > slabs.size else core
    cores = (*cores[:node], core, *cores[node + 1 :])
    split = tuple(slabs.spec(axis) if k == node else P() for k in range(len(cores)))
    part = slabs.structure(structure)
    return _mesh.over_data(
        lambda cores, *tensors: function(part, cores, *tensors),
        slabs.mesh,
        (cores, *tensors),
        (split, *(slabs.spec(slabs.mode),) * len(tensors)),
        out,
    )
