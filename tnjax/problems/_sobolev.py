"""Smooth cores: a ridge on the differences of neighboring rows of the cores."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._network import TensorNetwork
from ._smoothness import Coupled

AUTO = "auto"


class SmoothCores(eqx.Module):
    r"""What a ridge does to the rows of a core, done to the differences of neighboring ones.

    $$C(T) = \sum_m \nu_m \|D G_{k(m)}\|_F^2$$

    for the core $G_{k(m)}$ that carries mode m and the differences D along that mode. As a ridge
    does, it takes away parts of the network that the entries need little, and among these first
    those that vary much from index to index; smoothness of the tensor weighs all parts by their
    size, and takes none away.

    Attributes:
        modes: along which cores are smooth.
        strengths: $\nu_m$, for a loss whose weights sum to 1.
        orders: 1: neighboring rows are alike; 2: each is the mean of its neighbors.
        periodic: whether the last row is a neighbor of the first.
        undecided: numbers of the strengths that the held-out entries are to choose.

    Reference:
        Yokota, Zhao, Cichocki, "Smooth PARAFAC Decomposition for Tensor Completion", IEEE Trans.
        Signal Process. 64 (2016).
    """

    modes: tuple[int, ...] = eqx.field(static=True)
    strengths: Float[Array, " modes"]
    orders: tuple[int, ...] = eqx.field(static=True)
    periodic: tuple[bool, ...] = eqx.field(static=True)
    undecided: tuple[int, ...] = eqx.field(static=True)

    @classmethod
    def of(
        cls, smooth: Mapping[int, "SmoothMode"], shape: Sequence[int], count: int, real: np.dtype
    ) -> "SmoothCores":
        """From options.

        Args:
            smooth: for each mode how smooth its core is, in units of one entry of `count`.

        Raises:
            ValueError: for a mode that is not there or no possible strength.
        """
        strengths, orders, periodic, undecided = [], [], [], []
        for n, (mode, value) in enumerate(smooth.items()):
            value.check(mode, shape)
            if isinstance(value.strength, str):  # "auto"
                undecided.append(n)
                strengths.append(0.0)
            else:
                strengths.append(value.strength / count)
            orders.append(value.differences)
            periodic.append(value.periodic)
        found = jnp.asarray(np.asarray(strengths, float), real)
        return cls(tuple(smooth), found, tuple(orders), tuple(periodic), tuple(undecided))

    def penalty(self, network: TensorNetwork) -> Array:
        """C(T)."""
        parts = [jnp.vdot(x, x).real for x in self.residuals(network)]
        return jnp.sum(jnp.stack(parts)) if parts else jnp.zeros((), self.strengths.dtype)

    def by_node(self, network: TensorNetwork) -> list[Array]:
        """`residuals` of each core, one after the other."""
        out: list[list[Array]] = [[] for _ in network.cores]
        for mode, residual in zip(self.modes, self.residuals(network), strict=True):
            out[_place(network, mode)[0]].append(residual)
        nothing = jnp.zeros((1,), network.dtype)
        return [jnp.concatenate(parts) if parts else nothing for parts in out]

    def residuals(self, network: TensorNetwork) -> list[Array]:
        """Vectors whose squares sum up to the penalty, one for each mode."""
        out = []
        for n, mode in enumerate(self.modes):
            node, axis = _place(network, mode)
            core = jnp.moveaxis(network.cores[node], axis, 0)
            root = jnp.sqrt(self.strengths[n]).astype(core.dtype)
            difference = jnp.asarray(self._difference(n, core.shape[0]), core.dtype)
            out.append((root * jnp.tensordot(difference, core, 1)).ravel())
        return out

    def coupled_equations(self, network: TensorNetwork, node: int) -> Coupled:
        """What C adds to the normal equations of a core."""
        found = self._laplacians(network, node)
        matrix = _matrix(network, node)
        eye = np.eye(matrix.shape[-1], dtype=matrix.dtype)[None]
        diagonal = jnp.zeros((), matrix.dtype)
        for weight, laplacian, axis in found:
            diagonal += weight * _spread(np.diag(laplacian), axis, network, node, matrix.dtype)
        gram = jnp.broadcast_to(diagonal, matrix.shape[:1])[:, None, None] * eye
        return Coupled(gram, self._tied(found, network, node) if found else None)

    def normal_equations(self, network: TensorNetwork, node: int) -> tuple[Array, Array]:
        """The same with every row by itself, by a parabola that lies above it."""
        matrix = _matrix(network, node)
        exact, tied = self.coupled_equations(network, node)
        if tied is None:
            return exact, jnp.zeros_like(matrix)
        off = jnp.zeros((), matrix.dtype)
        for weight, laplacian, axis in self._laplacians(network, node):
            sums = np.abs(laplacian - np.diag(np.diag(laplacian))).sum(1)
            off += weight * _spread(sums, axis, network, node, matrix.dtype)
        eye = np.eye(matrix.shape[-1], dtype=matrix.dtype)[None]
        return exact + off[:, None, None] * eye, off[:, None] * matrix - tied(matrix)

    def _tied(self, found: Any, network: TensorNetwork, node: int) -> Callable[[Array], Array]:
        dims = _dims(network, node)

        def tied(x: Array) -> Array:
            y, out = x.reshape(*dims, -1), 0
            for weight, laplacian, axis in found:
                off = jnp.asarray(laplacian - np.diag(np.diag(laplacian)), x.dtype)
                out += weight * jnp.moveaxis(jnp.tensordot(off, y, (1, axis)), 0, axis)
            return jnp.asarray(out).reshape(x.shape)

        return tied

    def _laplacians(self, network: TensorNetwork, node: int) -> list[tuple[Array, np.ndarray, int]]:
        """Strength, D'D and axis of each mode of a core."""
        legs, out = network.structure.legs[node], []
        for n, mode in enumerate(self.modes):
            if mode in legs:
                difference = self._difference(n, network.dims[mode])
                weight = self.strengths[n].astype(network.dtype)
                out.append((weight, difference.T @ difference, legs.index(mode)))
        return out

    def _difference(self, n: int, dim: int) -> np.ndarray:
        """D [differences, dim]."""
        step = np.eye(dim, k=1) - np.eye(dim)
        if self.periodic[n] and dim > 2:
            step[-1, 0] = 1
            return step if self.orders[n] == 1 else -step.T @ step
        return step[:-1] if self.orders[n] == 1 else np.diff(np.eye(dim), n=2, axis=0)


class SmoothMode(eqx.Module):
    """How smooth cores are along a mode.

    Attributes:
        strength: 0 or more, in units of one entry, as a ridge; or "auto": chosen by held-out
            entries (see `tnjax.choose_prior`).
        differences: 1: neighboring rows are alike; 2: each row is the mean of its neighbors.
        periodic: whether the last index is the neighbor of the first (hours, days of the week).

    Example:
        >>> from tnjax.problems import SmoothMode
        >>> SmoothMode("auto", periodic=True).differences
        1
    """

    strength: float | str = eqx.field(static=True, default=AUTO)
    differences: int = eqx.field(static=True, default=1)
    periodic: bool = eqx.field(static=True, default=False)

    def check(self, mode: Any, shape: Sequence[int]) -> None:
        """Raise `ValueError` where this is not possible for a mode of a tensor."""
        number = 0.0 if self.strength == AUTO else self.strength
        wrong = isinstance(number, str) or not 0 <= number < float("inf")
        if mode not in range(len(shape)) or wrong or self.differences not in (1, 2):
            raise ValueError(
                f"Completion: smooth={{{mode!r}: {self}}}; expected a mode of "
                f'0..{len(shape) - 1}, a strength of 0 or more or "auto", and 1 or 2 differences.'
            )


def _place(network: TensorNetwork, mode: int) -> tuple[int, int]:
    """The node that carries a mode, and the axis of its core."""
    legs = network.structure.legs
    node = next(k for k, modes in enumerate(legs) if mode in modes)
    return node, legs[node].index(mode)


def _dims(network: TensorNetwork, node: int) -> list[int]:
    return [network.dims[mode] for mode in network.structure.legs[node]]


def _matrix(network: TensorNetwork, node: int) -> Array:
    rows = int(np.prod(_dims(network, node), dtype=int))
    return network.cores[node].reshape(rows, -1)


def _spread(values: np.ndarray, axis: int, network: TensorNetwork, node: int, dtype: Any) -> Array:
    """Numbers of the indices of a leg as numbers of the rows of a core."""
    dims = _dims(network, node)
    shape = [-1 if k == axis else 1 for k in range(len(dims))]
    return jnp.asarray(np.broadcast_to(values.reshape(shape), dims).ravel(), dtype)
