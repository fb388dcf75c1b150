"""A structure together with its cores."""

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike, DTypeLike
from jaxtyping import Array, Inexact, Integer, PRNGKeyArray, Real

from . import _display
from . import _lean as lean
from ._init import random_cores
from ._structure import Structure
from ._tracing import traced
from .contract import kernels, sliced
from .contract.equation import dense_equation
from .contract.logarithms import inner_product, times_power
from .contract.logarithms import norm as contracted_norm
from .contract.schedule import SCHEDULES


class TensorNetwork(eqx.Module):
    r"""A tensor network: the static `structure` and one array per node, `cores`.

    A pytree whose leaves are the cores, so that `jax.jit`, `vmap`, `grad` and `jax.tree.map` work
    on it. Core k has the shape `structure.core_shape(k)`: open legs first, then bonds.

    Args:
        structure: the graph with its ranks.
        cores: arrays of one floating or complex dtype, one for each node.

    Raises:
        ValueError: if the number, a shape or the dtypes of the cores do not fit.

    Example:
        >>> import jax
        >>> from tnjax import Structure, TensorNetwork
        >>> train = Structure.tensor_train((4, 5, 6), 2)
        >>> network = TensorNetwork.random(train, key=jax.random.key(0))
        >>> network.to_dense().shape, network.num_params
        ((4, 5, 6), 40)
        >>> network.entries([[0, 0, 0], [3, 4, 5]]).shape
        (2,)
    """

    structure: Structure = eqx.field(static=True)
    cores: tuple[Array, ...]

    def __init__(self, structure: Structure, cores: Sequence[Any]):
        self.structure = structure
        self.cores = tuple(_as_array(core, node) for node, core in enumerate(cores))
        expected = tuple(structure.core_shape(node) for node in range(structure.num_nodes))
        given = tuple(core.shape for core in self.cores)
        if given != expected:
            raise ValueError(
                f"Core shapes {given} do not fit {structure}: expected {expected} "
                "(open legs first, then bonds in sorted order of their nodes)."
            )
        dtypes = {core.dtype for core in self.cores}
        if len(dtypes) != 1 or not jnp.issubdtype(min(dtypes, key=str), jnp.inexact):
            raise ValueError(
                "Cores must share one floating or complex dtype, got "
                f"{sorted(map(str, dtypes))}. Convert them first, e.g. with `astype`."
            )

    @classmethod
    def unchecked(cls, structure: Structure, cores: Sequence[Any]) -> "TensorNetwork":
        """A network whose cores are taken as they are, for instance with a leading axis that `vmap`
        maps over.

        Args:
            structure: the graph with its ranks.
            cores: one leaf for each node: arrays of any shape, shapes and dtypes, or None.

        Example:
            >>> import jax, numpy as np
            >>> from tnjax import Structure, TensorNetwork
            >>> train = Structure.tensor_train((4, 5), 2)
            >>> many = TensorNetwork.unchecked(train, (np.ones((7, 4, 2)), np.ones((7, 5, 2))))
            >>> jax.vmap(lambda network: network.norm())(many).shape
            (7,)
        """
        network = object.__new__(cls)
        object.__setattr__(network, "structure", structure)
        object.__setattr__(network, "cores", tuple(cores))
        return network

    @classmethod
    def random(
        cls, structure: Structure, *, key: PRNGKeyArray, dtype: DTypeLike | None = None
    ) -> "TensorNetwork":
        r"""Gaussian cores, scaled so that $E\|T\|^2 = 1$; dtype float by default.

        Args:
            structure: the graph with its ranks.
            key: from `jax.random.key`.
            dtype: of the cores, floating or complex; float by default.
        """
        dtype = jnp.zeros((), dtype).dtype  # that which is meant, where JAX holds no doubles
        return cls(structure, random_cores(structure, key=key, dtype=dtype))

    @property
    def dims(self) -> tuple[int, ...]:
        """Sizes of the modes of the represented tensor."""
        return self.structure.dims

    @property
    def dtype(self) -> jnp.dtype:
        """The dtype that all cores share."""
        return self.cores[0].dtype

    @property
    def num_params(self) -> int:
        """Number of core entries."""
        return self.structure.num_params

    def to_dense(
        self, *, memory_limit: int | None = None, precision: lax.PrecisionLike = kernels.FULL
    ) -> Inexact[Array, "..."]:
        """The represented tensor, shape `dims`.

        Args:
            memory_limit: bytes that the contraction may have alive at its worst moment. What would
                need more is contracted in slices (see `tnjax.contract.contract`).
            precision: of the products, as in `jax.lax.Precision`.

        Raises:
            MemoryLimitError: (a `ValueError`) if slices do not fit either; nothing has been
                allocated then.
        """
        if memory_limit is None:
            return kernels.dense_jit(self.structure, self.cores, precision=precision)
        equation, what = dense_equation(self.structure), "The dense tensor"
        return sliced.contract_jit(
            equation, self.cores, limit=memory_limit, what=what, precision=precision
        )

    def entries(
        self,
        indices: Integer[Array | np.ndarray, "entries modes"] | Sequence[Any],
        *,
        precision: lax.PrecisionLike = kernels.FULL,
    ) -> Inexact[Array, " entries"]:
        """Single entries, without the dense tensor: cost linear in their number.

        Args:
            indices: integers, one row per entry and one column per mode.
            precision: of the products, as in `jax.lax.Precision`.

        Raises:
            ValueError: if the shape is wrong, or an index is not an integer in range (not checked
                for traced indices).
        """
        modes = len(self.dims)
        if not traced(indices):
            indices = np.asarray(indices)
            if indices.ndim != 2 or indices.shape[1] != modes or indices.dtype.kind not in "iu":
                raise ValueError(
                    f"indices: expected integers of shape [num_entries, {modes}], got "
                    f"{indices.dtype} of shape {list(indices.shape)}."
                )
            bad = (indices < 0) | (indices >= np.asarray(self.dims))
            if bad.any():
                row, mode = (int(x) for x in np.argwhere(bad)[0])
                raise ValueError(
                    f"indices[{row}, {mode}] = {indices[row, mode]} is outside "
                    f"0..{self.dims[mode] - 1}, the range of mode {mode}."
                )
        indices = jnp.asarray(indices)
        return kernels.entries_jit(self.structure, self.cores, indices, precision=precision)

    def inner(self, other: "TensorNetwork") -> Array:
        """The inner product <self, other>, self conjugated, of two networks of one structure.

        Of many nodes only a product that is itself out of range overflows; `log_inner` of
        `tnjax.contract` gives the logarithm of such a one.
        """
        if self.structure != other.structure:
            raise ValueError(
                f"inner needs two networks of one structure, got {self.structure} and "
                f"{other.structure}."
            )
        if 2 * self.structure.num_nodes <= SCHEDULES().few:
            return kernels.inner_jit(self.structure, self.cores, other.cores)
        return times_power(*inner_product(self, other))

    def norm(self) -> Real[Array, ""]:
        """The Frobenius norm, by contracting the network with itself: never densified.

        Only a norm that is itself out of range overflows; `tnjax.contract.log_norm` gives the
        logarithm of such a one. In finite precision a norm far below the product of the cores'
        norms is lost to cancellation (about 1e-4 of that product in float32). Where it is zero,
        its gradient is taken as zero, which makes that of its square right.
        """
        return contracted_norm(self.structure, self.cores)

    def astype(self, dtype: DTypeLike) -> "TensorNetwork":
        """The same network with cores of another dtype."""
        return TensorNetwork(self.structure, [core.astype(dtype) for core in self.cores])

    def conj(self) -> "TensorNetwork":
        """The network of the conjugated tensor."""
        return TensorNetwork(self.structure, [core.conj() for core in self.cores])

    def __mul__(self, scalar: ArrayLike) -> "TensorNetwork":
        """The represented tensor times a scalar (the first core carries it).

        The dtype of the cores is kept; a complex factor makes real cores complex.
        """
        scalar = jnp.asarray(scalar)
        if jnp.iscomplexobj(scalar) and not jnp.issubdtype(self.dtype, jnp.complexfloating):
            self = self.astype(jnp.dtype(f"complex{max(64, 16 * self.dtype.itemsize)}"))
        return TensorNetwork(
            self.structure, (self.cores[0] * scalar.astype(self.dtype), *self.cores[1:])
        )

    __rmul__ = __mul__

    def __truediv__(self, scalar: ArrayLike) -> "TensorNetwork":
        return self * (1 / scalar)

    def __neg__(self) -> "TensorNetwork":
        return self * -1

    def balanced(self) -> "TensorNetwork":
        """The same tensor, cores scaled to equal Frobenius norms."""
        return TensorNetwork(self.structure, balance(self.cores))

    def __repr__(self) -> str:
        dtypes = {getattr(core, "dtype", None) for core in self.cores}
        if len(dtypes) == 1 and None not in dtypes:
            return f"TensorNetwork({self.structure!r}, dtype={self.dtype})"
        leaves = ", ".join(map(_leaf_name, self.cores))  # as `jax.tree.map` may leave them
        return f"TensorNetwork({self.structure!r}, cores=({leaves}))"

    def _repr_html_(self) -> str | None:
        return _display.as_html(self)


def balance(cores: tuple[Array, ...], sizes: Sequence[Array] | None = None) -> tuple[Array, ...]:
    """Scale cores to equal norms, their product kept. A zero core leaves all of them alone.

    Args:
        cores: of one dtype.
        sizes: what is made equal in the place of norms: for each core a number that grows as the
            core does.
    """
    sizes = [safe_norm(core) for core in cores] if sizes is None else sizes
    norms = lax.concatenate([lax.expand_dims(size, (0,)) for size in sizes], 0)
    # Where a core is zero, nothing is divided, so that no derivative is either.
    norms = jnp.where(jnp.all(norms > 0), norms, jnp.ones_like(norms))
    factors = jnp.exp(jnp.log(norms).mean()) / norms
    factors = factors.astype(cores[0].dtype)
    parts = (lax.slice(factors, (k,), (k + 1,)) for k in range(len(cores)))
    return tuple(
        lax.mul(core, lean.widened(lax.squeeze(part, (0,)), core.shape))
        for core, part in zip(cores, parts, strict=True)
    )


def safe_norm(x: Array) -> Array:
    """The Frobenius norm without overflow or underflow on the way."""
    largest = lax.stop_gradient(lax.reduce_max(lax.abs(x), tuple(range(x.ndim))))
    scale = _where_positive(largest, largest, 1)
    x = lax.div(x, lean.widened(lax.convert_element_type(scale, x.dtype), x.shape))
    return lax.mul(scale, _safe_sqrt(lean.real(lean.inner(x, x))))


def _safe_sqrt(square: Array) -> Array:
    """The square root, and zero with a gradient of zero where there is none."""
    return _where_positive(square, lax.sqrt(_where_positive(square, square, 1)), 0)


def _where_positive(x: Array, yes: Array, no: int) -> Array:
    positive = lax.gt(x, np.zeros((), x.dtype))
    return lax.select(positive, yes, np.asarray(no, yes.dtype))


def _leaf_name(leaf: Any) -> str:
    """An array by its dtype and shape; anything else as it shows itself."""
    if hasattr(leaf, "dtype") and hasattr(leaf, "shape"):
        return f"{leaf.dtype}{list(leaf.shape)}"
    return repr(leaf)


def scaled(network: TensorNetwork, factor: ArrayLike) -> TensorNetwork:
    """The tensor times a positive factor, spread evenly over the cores (extreme scales fit)."""
    if traced(network, factor):
        root = jnp.asarray(factor) ** (1 / len(network.cores))
        cores = [core * root.astype(core.dtype) for core in network.cores]
        return TensorNetwork(network.structure, cores)
    root = float(np.asarray(factor)) ** (1 / len(network.cores))
    # On the host: on a device each new shape of a core would compile a program.
    cores = [core * np.asarray(root, core.dtype) for core in map(np.asarray, network.cores)]
    return TensorNetwork(network.structure, cores)


def _as_array(core: Any, node: int) -> Array:
    """A JAX array. `jnp.asarray` would compile a program for each new shape."""
    if isinstance(core, jax.Array):
        return core
    array = np.asarray(core)
    if array.dtype.kind in "OSUMm":
        what = type(core).__name__ if array.ndim == 0 else f"an array of {array.dtype}"
        raise ValueError(
            f"TensorNetwork: core {node} is {what}, but expected an array of floating or complex "
            "numbers; `TensorNetwork.unchecked` takes anything."
        )
    return jax.device_put(array)


def relative_error(x: TensorNetwork | ArrayLike, y: TensorNetwork | ArrayLike) -> Array:
    r"""The relative Frobenius error $\|x - y\|_F / \|y\|_F$: never squared.

    Args:
        x: the approximation, an array or a `TensorNetwork`.
        y: the truth, an array of the same shape.

    Returns:
        A real scalar, an array of shape [].

    Raises:
        ValueError: if the shapes differ.

    Example:
        >>> import jax.numpy as jnp
        >>> from tnjax import relative_error
        >>> float(relative_error(jnp.array([1.0, 1.0]), jnp.array([1.0, 0.0])))
        1.0
    """
    x, y = (v.to_dense() if isinstance(v, TensorNetwork) else jnp.asarray(v) for v in (x, y))
    if x.shape != y.shape:
        raise ValueError(f"relative_error: shapes differ, {x.shape} and {y.shape}.")
    with jax.numpy_dtype_promotion("standard"):  # a network and its data may differ in precision
        dtype = jnp.promote_types(x.dtype, y.dtype)
    x, y = x.astype(dtype), y.astype(dtype)
    scale = jnp.abs(y).max() if y.size else jnp.zeros(())
    scale = jnp.where(scale > 0, scale, jnp.ones_like(scale)).astype(y.dtype)
    return jnp.linalg.norm(((x - y) / scale).ravel()) / jnp.linalg.norm((y / scale).ravel())
