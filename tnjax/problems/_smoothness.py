"""Smoothness of the represented tensor along some of its modes."""

import dataclasses
import math
from collections.abc import Mapping, Sequence

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from .._network import TensorNetwork
from ..contract import kernels


class Smoothness(eqx.Module):
    r"""Squared differences of neighboring slices (the quadratic form of a graph Laplacian).

    $$S(T) = \sum_m \frac{\mu_m}{\prod_k n_k} \sum_{(i, j) \in E_m} \|T_{m=i} - T_{m=j}\|_F^2$$

    It is a function of the tensor and not of the cores, so that no gauge escapes it, and is
    computed by contracting the network with itself: never densified.

    Attributes:
        modes, strengths: the modes m and their $\mu_m$.
        differences: for each of them a matrix [pairs, dim] with rows $e_i - e_j$.
    """

    modes: tuple[int, ...] = eqx.field(static=True)
    strengths: Float[Array, " modes"]
    differences: tuple[Array, ...]

    @classmethod
    def of(
        cls,
        strengths: Mapping[int, float],
        graphs: Mapping[int, np.ndarray],
        shape: Sequence[int],
        dtype: DTypeLike,
    ) -> "Smoothness":
        """From options; a mode without a graph is a path, index i next to i + 1.

        Raises:
            ValueError: for a mode that is not there, a negative strength, or a pair of a graph
                that is not two different indices of its mode.
        """
        matrices = []
        for mode, strength in {**dict.fromkeys(graphs, 1.0), **strengths}.items():
            if mode not in range(len(shape)) or not strength >= 0 or mode not in strengths:
                raise ValueError(
                    f"Completion: smooth={dict(strengths)!r}; expected a strength of 0 or more for "
                    f"modes 0..{len(shape) - 1}, and one for each mode of `graphs`."
                )
            dim = shape[mode]
            path = np.stack([np.arange(dim - 1), np.arange(1, dim)], 1)
            pairs = np.asarray(graphs.get(mode, path))
            fits = pairs.ndim == 2 and pairs.shape[1] == 2 and pairs.dtype.kind in "iu"
            if (
                not fits
                or ((pairs < 0) | (pairs >= dim)).any()
                or (pairs[:, 0] == pairs[:, 1]).any()
            ):
                raise ValueError(
                    f"Completion: the graph of mode {mode} must list pairs of different indices "
                    f"in 0..{dim - 1}."
                )
            matrix = np.zeros((len(pairs), dim))
            rows = np.arange(len(pairs))
            matrix[rows, pairs[:, 0]], matrix[rows, pairs[:, 1]] = 1, -1
            matrices.append(jnp.asarray(matrix, dtype))
        return cls(tuple(strengths), jnp.asarray([*strengths.values()], dtype), tuple(matrices))

    def penalty(self, network: TensorNetwork) -> Array:
        """S(T)."""
        total = jnp.zeros((), network.dtype)
        for mode, strength, matrix in self._parts():
            structure, cores = _differenced(network, mode, matrix)
            square = kernels.inner(structure, cores, cores)
            total += strength * square / math.prod(network.dims)
        return total.real

    def normal_equations(self, network: TensorNetwork, node: int) -> tuple[Array, Array]:
        """What S adds to the normal equations of a core.

        Rows that S ties to each other are untied by a parabola that lies above it (twice the
        degrees in place of the Laplacian, at the present core), so that solving for every row
        by itself lowers S plus any other function of the rows.

        Returns:
            gram [rows or 1, bonds, bonds], rhs [rows, bonds].
        """
        structure, cores = network.structure, network.cores
        legs = structure.legs[node]
        dims = [structure.dims[mode] for mode in legs]
        core = cores[node].reshape(*dims, -1)
        gram, rhs = (
            jnp.zeros((), network.dtype),
            jnp.zeros((math.prod(dims), core.shape[-1]), network.dtype),
        )
        for mode, strength, matrix in self._parts():
            weight = (strength / math.prod(network.dims)).astype(network.dtype)
            if mode not in legs:
                other, differenced = _differenced(network, mode, matrix)
                gram += weight * kernels.gram(other, differenced, (node,))[None]
                continue
            own = kernels.gram(structure, cores, (node,))
            axis = legs.index(mode)
            twice = 2 * jnp.abs(matrix).sum(0)
            shape = [1] * core.ndim
            shape[axis] = -1
            twice = twice.astype(core.dtype)
            rows = jnp.broadcast_to(twice.reshape(shape), (*dims, 1)).reshape(-1, 1, 1)
            laplacian = jnp.tensordot(matrix.T @ matrix, core, (1, axis))
            pulled = twice.reshape(shape) * core - jnp.moveaxis(laplacian, 0, axis)
            gram += weight * rows * own[None]
            rhs += weight * pulled.reshape(rhs.shape) @ own.T
        return gram, rhs

    def _parts(self):
        return zip(self.modes, self.strengths, self.differences, strict=True)


def _differenced(network: TensorNetwork, mode: int, matrix: Array):
    """The network of the differences along a mode."""
    structure = network.structure
    node = next(k for k, legs in enumerate(structure.legs) if mode in legs)
    axis = structure.legs[node].index(mode)
    core = jnp.moveaxis(jnp.tensordot(matrix, network.cores[node], (1, axis)), 0, axis)
    dims = tuple(len(matrix) if m == mode else n for m, n in enumerate(structure.dims))
    cores = (*network.cores[:node], core, *network.cores[node + 1 :])
    return dataclasses.replace(structure, dims=dims), cores
