"""Decomposition of a sparse tensor: all that is not listed is zero, and nothing is made dense."""

import math
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Inexact, Int

from .. import _lean as lean
from .._network import TensorNetwork
from .._structure import Structure
from ..contract import kernels
from ..contract.cost import cost as contraction
from ..contract.cost import gram_equation_of, layered_flops, solve_flops
from ._all_cells import AllCells
from ._dtypes import check_range
from .coordinates import Duplicates, checked_entries
from .samples import fit_bytes, sample_flops, sample_loop_entries

# Entries that are looked at together, each with a row of all bonds of a core.
_PIECE = 2**15


class SparseDecomposition(AllCells):
    r"""Approximate a tensor of which all entries but some are zero: least squares over all cells.

    $$L(T) = \frac{\|X - T\|_F^2}{\|X\|_F^2}
           = 1 - \frac{2 \,\mathrm{Re} \langle X, T \rangle - \|T\|_F^2}{\|X\|_F^2}$$

    The inner product is a sum over the entries, the norm of the network a contraction with itself:
    the cost is linear in the entries and does not know the number of cells. (What is unknown
    instead of zero is learned by `Completion`.) The difference costs half of the digits: errors
    below some 1e-8 in double and 1e-3 in single precision are rounding.

    Args:
        indices: integers [entries, modes], counted from 0.
        values: numbers [entries]; their dtype, as JAX holds it, is that of the cores.
        shape: of the tensor.
        duplicates: an entry that is given more than once is refused ("refuse"), or its values are
            added up ("sum") or averaged ("mean").

    Raises:
        ValueError: for indices out of range, shapes that do not fit, no entry, values that are NaN,
            infinite or all zero, and duplicates that are refused.

    Example:
        >>> import jax, numpy as np
        >>> from tnjax import Structure, fit
        >>> from tnjax.problems import SparseDecomposition
        >>> indices = np.asarray([[0, 0, 0], [9, 99, 999], [9, 99, 0]])
        >>> problem = SparseDecomposition(indices, np.asarray([2.0, 1.0, 1.0]), (10, 100, 1000))
        >>> cp = Structure.cp(problem.shape, 2)
        >>> fit(problem, cp, key=jax.random.key(0), num_starts=4, max_steps=50).error < 1e-5
        True

    Reference:
        Bader and Kolda, SIAM J. Sci. Comput. 30 (2007), section 5.
    """

    indices: Int[Array, "entries modes"]
    values: Inexact[Array, " entries"]
    _scale: Float[Array | np.ndarray, ""]
    _shape: tuple[int, ...] = eqx.field(static=True)

    def __init__(
        self,
        indices: Any,
        values: Any,
        shape: Sequence[int],
        *,
        duplicates: Duplicates = "refuse",
    ):
        if duplicates == "keep":
            raise ValueError('SparseDecomposition: add duplicates up ("sum") or average them.')
        entries = checked_entries(indices, values, shape, None, duplicates)
        indices, values = np.asarray(entries.indices), np.asarray(entries.values)
        largest = float(np.abs(values).max())
        if largest == 0:
            raise ValueError("SparseDecomposition: all values are zero; there is nothing to learn.")
        check_range(largest, values.dtype, "SparseDecomposition")
        unit = values / largest
        norm = float(np.linalg.norm(unit))
        self._scale = np.asarray(largest * norm)
        # Filled up to whole pieces, with entries of value zero.
        more = -len(values) % min(_PIECE, 1 << (len(values) - 1).bit_length())
        self.indices = jnp.asarray(np.pad(indices, ((0, more), (0, 0)), mode="edge"), jnp.int32)
        self.values = jnp.asarray(np.pad(unit / norm, (0, more)), values.dtype)
        self._shape = tuple(int(n) for n in shape)

    @property
    def shape(self) -> tuple[int, ...]:
        return self._shape

    @property
    def dtype(self) -> jnp.dtype:
        return self.values.dtype

    @property
    def scale(self) -> float:
        """||X||: solvers see the tensor with norm 1."""
        return float(self._scale)

    # Forecasts ------------------------------------------------------------------------------

    @property
    def work(self) -> int:
        return self.indices.size

    def loop_entries(self, structure: Structure) -> int:
        return max(self.work, sample_loop_entries(structure, self.indices.shape[0]))

    def flops(self, structure: Structure) -> int:
        return self.indices.shape[0] * sample_flops(structure) + layered_flops(structure)

    def sweep_flops(self, structure: Structure) -> int:
        return structure.num_nodes * self.flops(structure) + solve_flops(structure)

    def fit_peak_bytes(self, structure: Structure) -> int:
        entries = fit_bytes(structure, np.dtype(self.dtype), self.indices.shape[0])
        nodes = range(structure.num_nodes)
        grams = (gram_equation_of(structure, node) for node in nodes)
        return entries + max(contraction(gram, self.dtype).peak_bytes for gram in grams)

    # The loss -------------------------------------------------------------------------------

    def loss(self, network: TensorNetwork) -> Array:
        return self._loss((network,))

    def error(self, network: TensorNetwork) -> Array:
        """The relative Frobenius error over all cells."""
        return jnp.sqrt(self.loss(network))

    def loss_of_error(self, error: float) -> float:
        return error**2

    def _loss(self, terms: Sequence[TensorNetwork]) -> Array:
        """Of the sum of networks of one structure."""
        total = jnp.ones((), jnp.finfo(self.dtype).dtype)
        for n, term in enumerate(terms):
            total = total - 2 * self._pairing(term) + self._product(term, term)
            for other in terms[:n]:
                total = total + 2 * self._product(other, term)
        return jnp.maximum(total, 0)

    def _pairing(self, network: TensorNetwork) -> Array:
        """The real part of the inner product with the tensor."""
        structure, cores = network.structure, network.cores

        def piece(total, part):
            indices, values = part
            return total + lean.real(
                lean.inner(values, kernels.entries(structure, cores, indices))
            ), None

        zero = jnp.zeros((), jnp.finfo(self.dtype).dtype)
        return lax.scan(piece, zero, self._pieces())[0]

    def _product(self, left: TensorNetwork, right: TensorNetwork) -> Array:
        return kernels.inner(left.structure, left.cores, right.cores).real

    def _pieces(self) -> tuple[Array, Array]:
        size = min(_PIECE, self.values.shape[0])
        return (
            self.indices.reshape(-1, size, len(self.shape)),
            self.values.reshape(-1, size),
        )

    def residual(self, network: TensorNetwork) -> Array:
        raise NotImplementedError(
            "The residual of a SparseDecomposition has an entry in each cell."
        )

    def normal_equations(
        self,
        network: TensorNetwork,
        node: int,
        point: Sequence[TensorNetwork] | None = None,
        layers: Sequence[Array] | None = None,
        partial: Any = None,
    ) -> tuple[Array, Array]:
        rhs = self._environment(network, node)
        for term in point or ():
            rhs = rhs - _overlap(network, term, node).reshape(rhs.shape)
        return self._gram(network, node, layers), rhs

    def _environment(self, network: TensorNetwork, node: int) -> Array:
        """The tensor contracted with the other cores, conjugated: [rows, bonds]."""
        structure, cores = network.structure, network.cores
        legs = structure.legs[node]
        sizes = [self.shape[mode] for mode in legs]
        rows = math.prod(sizes)

        def piece(total, part):
            indices, values = part
            rest = kernels.entry_rows(structure, cores, node, indices).conj()
            where = jnp.zeros(len(values), jnp.int32)
            for mode, size in zip(legs, sizes, strict=True):
                where = where * size + indices[:, mode]
            return total.at[where].add(values[:, None] * rest, mode="promise_in_bounds"), None

        bonds = math.prod(structure.core_shape(node)[len(legs) :])
        return lax.scan(piece, jnp.zeros((rows, bonds), self.dtype), self._pieces())[0]

    def linearize(self, network: TensorNetwork) -> tuple[TensorNetwork, ...]:
        return (network,)

    def shifted(self, point: Any, delta: TensorNetwork) -> tuple[TensorNetwork, ...]:
        return (*point, delta)

    def perturbed_loss(self, point: Any, delta: TensorNetwork) -> Array:
        return self._loss((*point, delta))


def _overlap(network: TensorNetwork, term: TensorNetwork, node: int) -> Array:
    """A network contracted with the conjugated cores of another one, without that of `node`."""
    structure, cores = network.structure, network.cores

    def product(core: Array) -> Array:
        left = (*cores[:node], core, *cores[node + 1 :])
        return kernels.inner(structure, left, term.cores).real

    return jax.grad(product)(cores[node]).conj()
