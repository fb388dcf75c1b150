"""Decomposition of a dense tensor."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Inexact, Shaped

from .._contract import kernels
from .._contract.cost import layered_flops
from .._contract.equation import Equation, dense_equation, inner_equation, node_labels
from .._contract.equation import sizes as label_sizes
from .._contract.path import plan
from .._network import TensorNetwork
from ._base import LeastSquares


class Decomposition(LeastSquares):
    r"""Approximate a dense tensor: the loss is the squared relative error.

    $$L(T) = \|X - T\|_F^2 / \|X\|_F^2$$

    computed from the residual, never as $\|X\|^2 - \langle X, T\rangle$, which would end at 1e-3
    in float32.

    Args:
        tensor: real or complex, any number of modes. Integers become floats. The dtype of the
            cores is that of the tensor (as JAX holds it: float64 needs `jax_enable_x64`).

    Raises:
        ValueError: if the tensor is empty, has no mode, is zero, or holds NaN or infinity.

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
    _scale: Float[np.ndarray, ""]

    def __init__(self, tensor: Shaped[Array | np.ndarray, "..."]):
        tensor = np.asarray(tensor)
        if tensor.dtype.kind in "iub":
            tensor = tensor.astype(jnp.zeros(()).dtype)
        if tensor.dtype.kind not in "fcV":
            raise ValueError(f"Decomposition: expected a tensor of numbers, got {tensor.dtype}.")
        if not tensor.ndim or not tensor.size:
            raise ValueError(
                f"Decomposition: expected a tensor with one or more modes and no empty one, got "
                f"the shape {tensor.shape}."
            )
        bad = int(tensor.size - np.isfinite(tensor).sum())
        if bad:
            raise ValueError(
                f"Decomposition: {bad} of {tensor.size} entries are NaN or infinite. Replace or "
                "crop them first."
            )
        largest = np.abs(tensor).max()
        if largest == 0:
            raise ValueError(
                "Decomposition: the tensor is zero everywhere, so a relative error has no meaning."
            )
        unit = tensor / largest
        norm = np.linalg.norm(unit.ravel())
        self.target = jnp.asarray(unit / norm)
        self._scale = np.asarray(float(largest) * float(norm))

    @property
    def shape(self) -> tuple[int, ...]:
        return self.target.shape

    @property
    def dtype(self) -> jnp.dtype:
        return self.target.dtype

    @property
    def scale(self) -> float:
        """||X||: solvers see the tensor with norm 1."""
        return float(self._scale)

    def residual(self, network: TensorNetwork) -> Array:
        return self.target - kernels.dense(network.structure, network.cores)

    def loss(self, network: TensorNetwork) -> Array:
        return _square(self.residual(network))

    def error(self, network: TensorNetwork) -> Array:
        """The relative Frobenius error."""
        return jnp.linalg.norm(self.residual(network).ravel())

    def loss_of_error(self, error: float) -> float:
        return error**2

    def functional_gradient(self, network: TensorNetwork) -> Array:
        return -2 * self.residual(network)

    def normal_equations(
        self, network: TensorNetwork, node: int, point: Array | None = None
    ) -> tuple[Array, Array]:
        structure, cores = network.structure, network.cores
        data = self.target if point is None else point
        rhs = kernels.environment(structure, cores, (node,), data)
        gram = kernels.gram(structure, cores, (node,))
        rows = math.prod(structure.dims[mode] for mode in structure.legs[node])
        return gram[None], rhs.reshape(rows, -1)

    def normal_operator(self, network: TensorNetwork):
        # By contracting the network with itself: no dense tensor is made.
        structure, cores = network.structure, network.cores
        if layered_flops(structure) > 2 * plan(inner_equation(structure)).flops:
            return self._blocks(network), self._interleaved(network)
        grams, change = jax.linearize(
            lambda pairs: kernels.layer_grams(structure, pairs),
            kernels.layers(structure, cores, cores),
        )

        def product(v: TensorNetwork) -> TensorNetwork:
            changes = change(kernels.layers(structure, cores, v.cores))
            out = []
            for core, other, gram, extra in zip(cores, v.cores, grams, changes, strict=True):
                rows, more = (x.reshape(-1, gram.shape[0]) for x in (other, core))
                out.append((_times(rows, gram.T) + _times(more, extra.T)).reshape(core.shape))
            return TensorNetwork(structure, out)

        return [gram[None] for gram in grams], product

    def _interleaved(self, network: TensorNetwork):
        structure, cores = network.structure, network.cores

        def pulled_back(right):  # J^H T(right), conjugated
            return jax.grad(lambda left: kernels.inner(structure, left, right).real)(cores)

        _, forward = jax.linearize(pulled_back, cores)
        return lambda v: TensorNetwork(structure, forward(v.cores)).conj()

    def linearize(self, network: TensorNetwork) -> Array:
        return self.residual(network)

    def shifted(self, point: Array, delta: TensorNetwork) -> Array:
        return point - kernels.dense(delta.structure, delta.cores)

    def perturbed_loss(self, point: Array, delta: TensorNetwork) -> Array:
        # Expanded, so that no dense tensor is made for a candidate.
        return _square(point) + self.slope(point, delta) + self.curvature(point, delta) / 2

    def slope(self, point: Array, delta: TensorNetwork) -> Array:
        equation = _pairing_equation(delta)
        return -2 * kernels.contract(equation, (point.conj(), *delta.cores)).real

    def curvature(self, point: Array, delta: TensorNetwork) -> Array:
        return 2 * kernels.inner(delta.structure, delta.cores, delta.cores).real


def _pairing_equation(network: TensorNetwork) -> Equation:
    """A tensor and all cores -> a number."""
    structure = network.structure
    inputs = [node_labels(structure, node) for node in range(structure.num_nodes)]
    return Equation.create([dense_equation(structure).output, *inputs], (), label_sizes(structure))


def _times(a: Array, b: Array) -> Array:
    return jnp.matmul(a, b, precision=kernels.FULL)


def _square(x: Array) -> Array:
    return jnp.vdot(x, x).real
