"""Decomposition of a dense tensor."""

import math
import warnings
from collections.abc import Sequence
from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P
from jaxtyping import Array, Float, Inexact, PRNGKeyArray

from .. import _lean as lean
from .. import _mesh
from .._network import TensorNetwork, scaled
from .._structure import Structure
from .._tracing import traced
from ..contract import kernels
from ..contract.cost import layered_flops
from ..contract.equation import Equation, dense_equation, node_labels
from ..contract.equation import sizes as label_sizes
from ._all_cells import AllCells, Part, Partial, parted
from ._base import check_mesh
from ._dtypes import check_range, computed
from ._slabs import Slabs, slabwise

AnyDecomposition = TypeVar("AnyDecomposition", bound="Decomposition")


class Decomposition(AllCells):
    r"""Approximate a dense tensor: the loss is the squared relative error.

    $$L(T) = \|X - T\|_F^2 / \|X\|_F^2$$

    computed from the residual, never as $\|X\|^2 - \langle X, T\rangle$, which would end at 1e-3
    in float32.

    Args:
        tensor: real or complex, any number of modes: an array of NumPy, JAX or xarray (whose names
            `tnjax.io.modes_of` gives). Integers become floats. The dtype of the cores is that of
            the tensor (as JAX holds it: float64 needs `jax_enable_x64`), or float32 for half
            precision and float64 for extended precision, with a warning. It may be traced, which is
            for `tnjax.solve.run`: what needs its entries is not checked then, and a tensor that is
            zero or not finite ends with the status `NON_FINITE`.
        mesh: from `tnjax.make_mesh`: its `data` axis shares out the tensor along the longest mode,
            its `candidates` axis the networks of a search that are looked at together.
        nonnegative: whether no core may have a negative entry. `ALS` then solves for the rows of
            cores by coordinate descent (hierarchical ALS), and what reads singular values is left
            out. (The tensor may have negative entries all the same: noise makes some.)

    Raises:
        ValueError: if the tensor is empty, has no mode, is zero, or holds NaN, infinity or masked
            entries; if a traced one should go onto a mesh; if `nonnegative` cores are asked for a
            complex one.

    Example:
        >>> import numpy as np
        >>> from tnjax import Decomposition
        >>> problem = Decomposition(np.arange(24.0).reshape(2, 3, 4))
        >>> problem.shape
        (2, 3, 4)

    Reference:
        arXiv 2008.05437, section 4.1.
    """

    target: Inexact[Array, "..."]
    _scale: Float[Array | np.ndarray, ""]
    slabs: Slabs | None = eqx.field(static=True, default=None, kw_only=True)
    _nonnegative: bool = eqx.field(static=True, default=False, kw_only=True)

    def __init__(self, tensor: Any, *, mesh: Mesh | None = None, nonnegative: bool = False):
        _check_unmasked(tensor)
        self._nonnegative = bool(nonnegative)
        known = not traced(tensor)
        tensor = np.asarray(tensor) if known else tensor
        if tensor.dtype.kind in "iub":
            tensor = tensor.astype(jnp.zeros(()).dtype)
        if tensor.dtype.kind not in "fcV":
            raise ValueError(f"Decomposition: expected a tensor of numbers, got {tensor.dtype}.")
        tensor = computed(tensor, "Decomposition")
        if nonnegative and tensor.dtype.kind == "c":
            raise ValueError(
                f"Decomposition: nonnegative cores need real entries, got {tensor.dtype}; "
                "decompose moduli, or leave `nonnegative` out."
            )
        if not tensor.ndim or not tensor.size:
            raise ValueError(
                f"Decomposition: expected a tensor with one or more modes and no empty one, got "
                f"the shape {tensor.shape}."
            )
        if not known:
            if mesh is not None:
                raise ValueError(
                    "Decomposition: a traced tensor cannot be put onto a mesh; leave `mesh` out, "
                    "and share work out around the trace, e.g. by jax.shard_map over tensors."
                )
            self.target, self._scale = _normalized(jnp.asarray(tensor))
            self.slabs = None
            return
        tensor = np.asarray(tensor)
        largest = _largest(tensor)
        if not math.isfinite(largest):
            bad = int(tensor.size - np.isfinite(tensor).sum())
            raise ValueError(
                f"Decomposition: {bad} of {tensor.size} entries are NaN or infinite. Replace or "
                "crop them first, or learn from the others with Completion.from_mask."
            )
        if largest == 0:
            raise ValueError(
                "Decomposition: the tensor is zero everywhere, so a relative error has no meaning."
            )
        check_range(largest, tensor.dtype, "Decomposition")
        unit: Any = tensor / np.asarray(largest, np.real(tensor).dtype)  # the only copy
        norm = np.linalg.norm(unit.ravel())
        self._scale = np.asarray(largest * float(norm))
        unit /= norm
        self.slabs = None if mesh is None else Slabs.of(unit.shape, check_mesh(mesh))
        self.target = jax.device_put(unit) if self.slabs is None else self.slabs.put(unit)

    @property
    def nonnegative(self) -> bool:
        return self._nonnegative

    @property
    def is_dense(self) -> bool:
        return not self.nonnegative  # truncated SVDs have entries of both signs

    @property
    def dense_target(self) -> np.ndarray:
        """The tensor, with norm 1, as an array of NumPy, gathered from all devices."""
        target = _mesh.on_host(self.target)
        return target if self.slabs is None else self.slabs.whole(target, self.slabs.mode)

    @property
    def array(self) -> np.ndarray:
        """The name of `dense_target` in version 0.1."""
        warnings.warn(
            "Decomposition.array is now called dense_target; the old name goes after version 0.2.",
            DeprecationWarning,
            stacklevel=2,
        )
        return self.dense_target

    @property
    def projectable(self) -> bool:
        # A subclass may have more data, or another loss: it has to say so itself.
        return type(self) is Decomposition and not self.nonnegative

    @property
    def permutable(self) -> bool:
        return type(self) is Decomposition

    def permuted(self: AnyDecomposition, orders: Sequence[Sequence[int]]) -> AnyDecomposition:
        if not self.permutable:
            return super().permuted(orders)
        target = self.dense_target
        targets = np.stack([np.transpose(target, order) for order in orders])
        if self.slabs is not None:
            targets = self.slabs.put(targets, stacked=True)
        stacked = lambda leaf: targets if leaf is self.target else np.stack([leaf] * len(orders))
        return jax.tree.map(stacked, self)

    def prepared(self, network: TensorNetwork) -> TensorNetwork:
        """A random start; without negative entries, of the norm of the tensor."""
        if not self.nonnegative:
            return network
        cores = [jnp.abs(core) for core in network.cores]
        network = TensorNetwork(network.structure, cores)
        return scaled(network, 1 / network.norm())

    def perturbed(self: AnyDecomposition, noise: Any, *, key: PRNGKeyArray) -> AnyDecomposition:
        real = jnp.finfo(self.dtype).dtype
        factors = 1 + noise * jax.random.uniform(key, self.shape, real, -1, 1)
        return self._of(self._local * factors.astype(self.dtype))

    def resampled(
        self: AnyDecomposition, network: TensorNetwork, *, key: PRNGKeyArray
    ) -> AnyDecomposition:
        residual = _residual(network.structure, network.cores, self._local)
        mixed = jax.random.permutation(key, residual.ravel()).reshape(residual.shape)
        return self._of(self._local - residual + mixed)

    @property
    def _local(self) -> Array:
        if self.slabs is not None:
            raise ValueError(
                "Decomposition: on a mesh no other data are drawn; take problem.placed(None)."
            )
        return jnp.asarray(self.target)

    def _of(self: AnyDecomposition, tensor: Array) -> AnyDecomposition:
        """The same problem of another tensor, in the units of the solvers."""
        target, factor = _normalized(tensor)
        scale = jnp.asarray(self._scale) * factor.astype(jnp.asarray(self._scale).dtype)
        return self._with(target=target, _scale=scale)

    @property
    def resolution(self) -> float:
        return float(jnp.finfo(self.dtype).eps)

    def on_host(self: AnyDecomposition) -> AnyDecomposition:
        return jax.tree.map(_mesh.on_host, self._with(target=self.dense_target, slabs=None))

    def placed(self: AnyDecomposition, mesh: Mesh | None) -> AnyDecomposition:
        if mesh == self.mesh:
            return self
        tensor = self.dense_target
        slabs = None if mesh is None else Slabs.of(tensor.shape, check_mesh(mesh))
        target = jnp.asarray(tensor) if slabs is None else slabs.put(tensor)
        return self._with(target=target, slabs=slabs)

    @property
    def mesh(self) -> Mesh | None:
        return None if self.slabs is None else self.slabs.mesh

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of the modes of the tensor."""
        shape, slabs = list(self.target.shape), self.slabs
        if slabs is not None:
            shape[slabs.mode] = slabs.size
        return tuple(shape)

    @property
    def dtype(self) -> jnp.dtype:
        """The dtype of cores that fit the problem."""
        return self.target.dtype

    @property
    def scale(self) -> Any:
        """||X||: solvers see the tensor with norm 1."""
        return self._scale if traced(self._scale) else float(self._scale)

    def fit_peak_bytes(self, structure: Structure) -> int:
        """Bytes on one device, for its slab."""
        return super().fit_peak_bytes(
            structure if self.slabs is None else self.slabs.structure(structure)
        )

    def normal_operator_flops(self, structure: Structure) -> int:
        """The network is contracted with itself, which high ranks make dearer much faster than a
        look at the data."""
        return 3 * layered_flops(structure)

    def residual(self, network: TensorNetwork) -> Array:
        """As it is laid out: filled up like the target."""
        return self._slabwise(_residual, network, (self.target,), keep=True)

    def loss(self, network: TensorNetwork) -> Array:
        return self._slabwise(lambda *args: _square(_residual(*args)), network, (self.target,))

    def error(self, network: TensorNetwork) -> Array:
        """The relative Frobenius error."""
        if self.slabs is not None:
            return jnp.sqrt(self.loss(network))
        return jnp.linalg.norm(self.residual(network).ravel())

    def loss_of_error(self, error: float) -> float:
        return error**2

    def functional_gradient(self, network: TensorNetwork) -> Array:
        residual = self.residual(network)
        if self.slabs is not None:
            residual = self.slabs.whole(residual, self.slabs.mode)
        return -2 * residual

    def normal_equations(
        self,
        network: TensorNetwork,
        node: int,
        point: Array | None = None,
        layers: Sequence[Array] | None = None,
        partial: Partial | None = None,
    ) -> tuple[Array, Array]:
        structure, part = network.structure, None
        if partial is None:
            rhs = self._environment(network, node, self.target if point is None else point)
        else:
            data, part = parted(network, (node,), layers, partial)
            rhs = data.array
        gram = (
            self._gram(network, node, layers) if part is None else lax.expand_dims(part.array, (0,))
        )
        rows = math.prod(structure.dims[mode] for mode in structure.legs[node])
        return gram, lean.reshape(rhs, (rows, rhs.size // rows))

    def partial(
        self,
        network: TensorNetwork,
        nodes: tuple[int, ...],
        layers: Sequence[Array] | None = None,
        partial: Partial | None = None,
    ) -> Partial | None:
        if self.slabs is not None:
            return None
        return parted(network, nodes, layers, partial or Partial(Part(None, self.target)))

    def _environment(self, network: TensorNetwork, node: int, data: Array) -> Array:
        """The data contracted with the other cores."""

        def environment(structure, cores, data):
            return kernels.environment(structure, cores, (node,), data)

        slabs = self.slabs
        if slabs is None or slabs.mode not in network.structure.legs[node]:
            return self._slabwise(environment, network, (data,))
        _, axis = slabs.place(network.structure)  # each slab has its own rows of this core
        rows = slabwise(slabs, environment, network, (data,), out=slabs.spec(axis))
        return slabs.whole(_mesh.laid(rows, slabs.mesh, P()), axis)

    def _slabwise(self, function, network: TensorNetwork, tensors=(), keep: bool = False):
        slabs = self.slabs
        out = slabs.spec(slabs.mode) if keep and slabs is not None else None
        return slabwise(slabs, function, network, tensors, out=out)

    def linearize(self, network: TensorNetwork) -> Array:
        return self.residual(network)

    def shifted(self, point: Array, delta: TensorNetwork) -> Array:
        return self._slabwise(_residual, delta, (point,), keep=True)

    def perturbed_loss(self, point: Array, delta: TensorNetwork) -> Array:
        # Expanded, so that no dense tensor is made for a candidate.
        square = self._slabwise(lambda _, __, point: _square(point), delta, (point,))
        return square + self.slope(point, delta) + self.curvature(point, delta) / 2

    def slope(self, point: Array, delta: TensorNetwork) -> Array:
        def pairing(structure, cores, point):
            return kernels.contract(_pairing_equation(structure), (lean.conj(point), *cores))

        return -2 * self._slabwise(pairing, delta, (point,)).real

    def curvature(self, point: Array, delta: TensorNetwork) -> Array:
        return 2 * kernels.inner(delta.structure, delta.cores, delta.cores).real


def _residual(structure: Structure, cores, data: Array) -> Array:
    return data - kernels.dense(structure, cores)  # optax may hold single cores in double


def _pairing_equation(structure: Structure) -> Equation:
    """A tensor and all cores -> a number."""
    inputs = [node_labels(structure, node) for node in range(structure.num_nodes)]
    return Equation.create([dense_equation(structure).output, *inputs], (), label_sizes(structure))


def _square(x: Array) -> Array:
    return lean.real(lean.inner(x, x))


def _normalized(tensor: Array) -> tuple[Array, Array]:
    """The tensor divided by its norm, and the norm, without overflow on the way."""
    largest = lax.stop_gradient(jnp.abs(tensor).max())
    unit = tensor / largest.astype(tensor.dtype)
    norm = jnp.linalg.norm(unit.ravel())
    return unit / norm.astype(tensor.dtype), largest * norm


def _check_unmasked(tensor: Any) -> None:
    """Refuse masked entries of NumPy, which `np.asarray` would take for numbers."""
    if np.ma.isMaskedArray(tensor):
        masked = int(np.ma.getmaskarray(tensor).sum())
        if masked:
            raise ValueError(
                f"Decomposition: {masked} of {tensor.size} entries are masked. Learn from the "
                "others with Completion.from_mask(tensor), or fill them first."
            )


def _largest(tensor: np.ndarray) -> float:
    """The largest absolute value; NaN or infinity where there are any."""
    if np.iscomplexobj(tensor):
        return float(np.abs(tensor).max())
    return float(np.maximum(np.abs(tensor.min()), np.abs(tensor.max())))
