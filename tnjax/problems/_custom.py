"""Any differentiable loss of a tensor or of a network."""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jaxtyping import Array

from .. import _mesh
from .._network import TensorNetwork
from ..contract import kernels
from ._base import Problem, check_mesh


class NetworkSum(eqx.Module):
    """The sum of networks, never merged: what a loss of the network sees while candidates are
    compared. It is read as a network is.

    Args:
        terms: networks of the same dims.

    Example:
        >>> import jax
        >>> from tnjax import Structure, TensorNetwork
        >>> from tnjax.problems import NetworkSum
        >>> one = TensorNetwork.random(Structure.rank_one((3, 4)), key=jax.random.key(0))
        >>> NetworkSum((one, one)).to_dense().shape
        (3, 4)
    """

    terms: tuple[TensorNetwork, ...]

    @property
    def dims(self) -> tuple[int, ...]:
        """Sizes of the modes."""
        return self.terms[0].dims

    def to_dense(self, **options: Any) -> Array:
        """The sum as a dense tensor, shape `dims`; options as of `TensorNetwork.to_dense`."""
        first, *rest = (term.to_dense(**options) for term in self.terms)
        return sum(rest, start=first)

    def entries(self, indices: Any, **options: Any) -> Array:
        """Single entries, shape [entries], as of `TensorNetwork.entries`."""
        first, *rest = (term.entries(indices, **options) for term in self.terms)
        return sum(rest, start=first)

    def norm(self) -> Array:
        """The Frobenius norm, by making the sum dense."""
        return jnp.linalg.norm(self.to_dense().ravel())


class Objective(Problem):
    """Any differentiable loss.

    Args:
        loss_fn: a pure JAX function that returns a real scalar. It receives the dense tensor
            (`of="dense"`), or an object with `to_dense`, `entries`, `norm` and `dims`
            (`of="network"`), so that a loss of sampled entries never makes the tensor. Pass the
            same function object again to reuse compiled programs; data that it should not
            bake in as constants can be given as `data`, handed on as its second argument.
        shape: of the tensor.
        of: what `loss_fn` receives.
        data: a pytree of arrays, passed on as `loss_fn(x, data)` where it is not None.
        dtype: of the cores, float by default.
        mesh: from `tnjax.make_mesh`: its `candidates` axis shares out the networks of a search
            that are looked at together. Every device has all of the data.

    `error` is the loss itself, so `target_error` bounds the loss.

    Raises:
        ValueError: if `loss_fn` is not callable, `of` is neither "dense" nor "network", or the
            dtype is not one of single or double precision.

    Example:
        >>> import jax.numpy as jnp
        >>> from tnjax import Objective
        >>> huber = Objective(lambda x: jnp.sum(jnp.sqrt(1 + x**2) - 1), (4, 5, 6))
        >>> huber.shape
        (4, 5, 6)
    """

    loss_fn: Callable[..., Array] = eqx.field(static=True)
    data: Any
    _shape: tuple[int, ...] = eqx.field(static=True)
    _dtype: Any = eqx.field(static=True)
    of: Literal["dense", "network"] = eqx.field(static=True)
    _devices: Mesh | None = eqx.field(static=True)

    def __init__(
        self,
        loss_fn: Callable[..., Array],
        shape: Sequence[int],
        *,
        of: Literal["dense", "network"] = "dense",
        data: Any = None,
        dtype: Any = None,
        mesh: Mesh | None = None,
    ):
        if not callable(loss_fn):
            raise ValueError(f"Objective: loss_fn must be callable, got {loss_fn!r}.")
        if of not in ("dense", "network"):
            raise ValueError(f'Objective: of={of!r}; expected "dense" or "network".')
        self.loss_fn = loss_fn
        self.data = jax.tree.map(jnp.asarray, data)
        self._shape = tuple(int(n) for n in shape)
        self._dtype = jnp.zeros(()).dtype if dtype is None else jnp.dtype(dtype)
        if self._dtype.name not in ("float32", "float64", "complex64", "complex128"):
            raise ValueError(
                f"Objective: dtype={self._dtype}; cores have single or double precision, real or "
                "complex. Convert inside of loss_fn where another one is needed."
            )
        self.of = of
        self._devices = None if mesh is None else check_mesh(mesh)

    @property
    def mesh(self) -> Mesh | None:
        return self._devices

    def on_host(self) -> "Objective":
        return jax.tree.map(_mesh.on_host, self._with(_devices=None))

    def placed(self, mesh: Mesh | None) -> "Objective":
        return self._with(_devices=None if mesh is None else check_mesh(mesh))

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of the modes of the tensor."""
        return self._shape

    @property
    def dtype(self) -> jnp.dtype:
        """The dtype of cores that fit the problem."""
        return self._dtype

    def _evaluate(self, x) -> Array:
        return self.loss_fn(x) if self.data is None else self.loss_fn(x, self.data)

    def loss(self, network: TensorNetwork) -> Array:
        if self.of == "network":
            return self._evaluate(network)
        return self._evaluate(kernels.dense(network.structure, network.cores))

    def error(self, network: TensorNetwork) -> Array:
        return self.loss(network)

    def functional_gradient(self, network: TensorNetwork) -> Array:
        if self.of == "dense":
            tensor = kernels.dense(network.structure, network.cores)
            return jax.grad(self._evaluate)(tensor).conj()
        shift = lambda tensor: self._evaluate(_Shifted(network, tensor))
        return jax.grad(shift)(jnp.zeros(self.shape, self.dtype)).conj()

    def linearize(self, network: TensorNetwork) -> Array | NetworkSum:
        if self.of == "network":
            return NetworkSum((network,))
        return kernels.dense(network.structure, network.cores)

    def shifted(self, point: Any, delta: TensorNetwork) -> Array | NetworkSum:
        if self.of == "network":
            return NetworkSum((*point.terms, delta))
        return point + kernels.dense(delta.structure, delta.cores)

    def perturbed_loss(self, point: Any, delta: TensorNetwork) -> Array:
        return self._evaluate(self.shifted(point, delta))


class _Shifted(eqx.Module):
    """A network plus a dense tensor, with the same reading methods."""

    network: TensorNetwork
    tensor: Array

    @property
    def dims(self) -> tuple[int, ...]:
        return self.network.dims

    def to_dense(self, **options: Any) -> Array:
        return self.network.to_dense(**options) + self.tensor

    def entries(self, indices: Any, **options: Any) -> Array:
        picked = self.tensor[tuple(jnp.asarray(indices).T)]
        return self.network.entries(indices, **options) + picked

    def norm(self) -> Array:
        return jnp.linalg.norm(self.to_dense().ravel())
