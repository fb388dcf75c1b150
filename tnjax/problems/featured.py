"""Sums over samples that are given by features, in pieces: never [samples, unknowns²] at once."""

import dataclasses
import functools
import math
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int

from .._network import TensorNetwork
from .._structure import Structure
from .._tuned import cached, tuned
from ..contract import designs
from ..contract.cost import solve_flops
from ..contract.designs import Blocks
from ..contract.kernels import FULL
from ..contract.path import plan


@dataclasses.dataclass(frozen=True)
class FeaturedCosts:
    """Work on many samples at once.

    Attributes:
        piece_bytes: bytes that one piece of the samples may take on the way: it stays in the cache.
        least_piece: samples of a piece at least.
        shared_bytes: bytes up to which a sweep keeps what the cores of several nodes share.
        flops_per_entry: flops of a sweep that take as long as a loop that touches one entry.
    """

    piece_bytes: int = 8 * 1024**2
    least_piece: int = 128
    shared_bytes: int = 256 * 1024**2
    flops_per_entry: int = 120


FEATURED = tuned("featured", FeaturedCosts(), traced=True)


class FeatureSamples(eqx.Module):
    """Samples on the device, in the units of the solvers.

    Attributes:
        features: of each block an array [samples, *its dims].
        values: [samples], or [samples, outputs].
        weights: of the samples; they sum to 1.
        base: offsets, part of every prediction: [] or [1, outputs].
        unit: the error is the root of the loss times this (relative losses only).

    Example:
        >>> import numpy as np
        >>> from tnjax.problems import Supervised
        >>> features = [np.ones((4, 2)), np.arange(8.0).reshape(4, 2)]
        >>> problem = Supervised(features, [0.0, 1.0, 2.0, 3.0])
        >>> problem.training.count, len(problem.training.features)
        (4, 2)
    """

    features: tuple[Float[Array, "samples ..."], ...]
    values: Float[Array, "samples *outputs"]
    weights: Float[Array, " samples"]
    base: Float[Array, "..."]
    unit: Float[Array, ""]

    @property
    def count(self) -> int:
        """The number of samples."""
        return self.weights.shape[0]

    def take(self, ids: Int[Array | np.ndarray, " batch"]) -> "FeatureSamples":
        """Some of them, with weights whose sum is 1 on average over draws of equal chances."""
        features = tuple(x[ids] for x in self.features)
        weights = self.weights[ids] * (self.count / len(ids))
        return FeatureSamples(features, self.values[ids], weights, self.base, self.unit)


@cached(maxsize=4096)
def _bytes(structure: Structure, blocks: Blocks, dtype: DTypeLike) -> int:
    """What one sample has alive at its worst moment in a sweep over the cores."""
    equations = []
    unknowns = 1
    for node in range(structure.num_nodes):
        equations.append(designs.environment_equation(structure, blocks, (node,), 1))
        equations.append(designs.design_equation(structure, blocks, node, 1))
        unknowns = max(unknowns, 3 * math.prod(structure.core_shape(node)))
    peak = max(plan(equation).peak_size for equation in equations)
    return (peak + unknowns) * np.dtype(dtype).itemsize


@cached(maxsize=4096)
def piece_size(structure: Structure, blocks: Blocks, dtype: DTypeLike) -> int:
    """Samples that are worked on at once."""
    return max(FEATURED().least_piece, FEATURED().piece_bytes // _bytes(structure, blocks, dtype))


@cached(maxsize=4096)
def sample_flops(structure: Structure, blocks: Blocks) -> int:
    """Flops of the prediction for one sample."""
    nodes = range(structure.num_nodes)
    rows = sum(2 * math.prod(structure.core_shape(node)) for node in nodes)
    return rows + plan(designs.prediction_equation(structure, blocks, 1)).flops


def sweep_flops(structure: Structure, blocks: Blocks, count: int) -> int:
    """Forecast of a sweep over the cores: designs, Gram matrices of all unknowns of a core, and
    their solution."""
    sizes = [math.prod(structure.core_shape(k)) for k in range(structure.num_nodes)]
    look = structure.num_nodes * sample_flops(structure, blocks)
    solve = sum(size**3 // 3 for size in sizes) + solve_flops(structure, rows=False)
    return count * (look + sum(2 * size**2 for size in sizes)) + solve


def loop_entries(structure: Structure, blocks: Blocks, count: int) -> int:
    """The same in entries that loops touch."""
    return sweep_flops(structure, blocks, count) // FEATURED().flops_per_entry


def peak_bytes(structure: Structure, blocks: Blocks, dtype: DTypeLike, count: int) -> int:
    """What a sweep over `count` samples has alive at its worst moment, the data included."""
    item = np.dtype(dtype).itemsize
    data = sum(math.prod(structure.dims[mode] for mode in block) for block in blocks)
    piece = min(count, piece_size(structure, blocks, dtype)) * _bytes(structure, blocks, dtype)
    gram = max(math.prod(structure.core_shape(k)) for k in range(structure.num_nodes)) ** 2
    return count * (data + 6) * item + piece + 4 * gram * item


def _pieces(count: int, size: int) -> tuple[int, int]:
    """How many pieces there are, and of which size."""
    pieces = -(-count // size)
    return pieces, -(-count // pieces)


def _cut(tree, start: Array, size: int):
    return jax.tree.map(lambda x: lax.dynamic_slice_in_dim(x, start, size), tree)


def predict(
    structure: Structure, blocks: Blocks, cores: tuple[Array, ...], features: tuple[Array, ...]
) -> Array:
    """What a network predicts for samples, [samples] or [samples, outputs], piece by piece."""
    count, size = features[0].shape[0], piece_size(structure, blocks, cores[0].dtype)
    one = functools.partial(designs.predictions, structure, blocks)
    if count <= size:
        return one(cores, features)
    pieces, size = _pieces(count, size)
    starts = np.minimum(np.arange(pieces) * size, count - size)
    part = jax.checkpoint(lambda cores, start: one(cores, _cut(features, start, size)))
    found = lax.map(lambda start: part(cores, start), starts)
    last = count - (pieces - 1) * size
    open_legs = found.shape[2:]
    return jnp.concatenate([found[:-1].reshape(-1, *open_legs), found[-1, size - last :]])


def shares(structure: Structure, blocks: Blocks, nodes: tuple[int, ...], count: int, dtype) -> bool:
    """Whether a sweep had better keep what is outside of some nodes."""
    if structure.num_nodes < 4 or any(len(block) > 1 for block in blocks):
        return False
    equation = designs.environment_equation(structure, blocks, nodes, count)
    return plan(equation).peak_size * np.dtype(dtype).itemsize <= FEATURED().shared_bytes


Parabola = Callable[[Array, Array, Array], tuple[Array, Array]]


def equations(
    network: TensorNetwork,
    blocks: Blocks,
    node: int,
    samples: FeatureSamples,
    base: Array,
    parabola: Parabola,
    *,
    known: tuple[tuple[int, ...], Array] | None = None,
    equal: bool = False,
) -> tuple[Array, Array]:
    """Normal equations of all unknowns of one core.

    Args:
        base: what is predicted besides the network, [], [1, outputs], or as the values.
        parabola: (base, the network's own part, values) -> (curvatures w, products w t), as the
            values, without the weights of the samples.
        known: nodes, this one among them, and their environment, if it is known.
        equal: whether all outputs of a sample have one curvature.

    Returns:
        gram [outputs of the node or 1, n, n], rhs [outputs of the node, n] for its n unknowns of
        each output that it carries (one where it carries none).
    """
    structure, cores = network.structure, network.cores
    given, around = (None, None) if known is None else known
    open_legs = designs.outputs(structure, blocks)
    carried = [structure.dims[m] for m in open_legs if m in structure.legs[node]]
    matrix = cores[node].reshape(math.prod(carried), -1)
    count, size = samples.count, piece_size(structure, blocks, cores[0].dtype)
    unknowns, shape = matrix.shape[1], samples.values.shape[1:]

    def sums(features, around, base, values, weights) -> tuple[Array, Array]:
        j = designs.design(
            structure, blocks, cores, node, features, given=given, around=around
        )  # [samples, outputs elsewhere, unknowns]
        own = jnp.einsum("son,rn->sor", j, matrix, precision=FULL)
        curvature, product = parabola(base, own.reshape(-1, *shape), values)
        wide = lambda x: (x * weights.reshape(-1, *(1,) * len(shape))).reshape(own.shape)
        curvature, product = wide(curvature), wide(product)
        rhs = jnp.einsum("son,sor->rn", j, product, precision=FULL)
        flat = j.reshape(-1, unknowns)
        if curvature.shape[2] == 1 or equal:
            weighted = flat * curvature[..., 0].reshape(-1, 1)
            return jnp.matmul(flat.T, weighted, precision=FULL)[None], rhs
        weighted = j[..., None, :] * curvature[..., None]  # [samples, 1, rows, unknowns]
        weighted = weighted.reshape(-1, curvature.shape[2], unknowns)
        return jnp.einsum("sm,srn->rmn", flat, weighted, precision=FULL), rhs

    per_sample = base.ndim > 0 and base.shape[0] == count
    given_base = base if per_sample else jnp.zeros((count,), cores[0].dtype)
    data = (samples.features, given_base, samples.values, samples.weights)
    whole = lambda features, part, values, weights, around=around: sums(
        features, around, part if per_sample else base, values, weights
    )
    if count <= size or around is not None:
        return whole(*data)
    pieces, size = _pieces(count, size)

    def body(total, n):
        start = jnp.minimum(n * size, count - size)
        features, part, values, weights = _cut(data, start, size)
        fresh = start + jnp.arange(size) >= n * size
        found = whole(features, part, values, jnp.where(fresh, weights, 0), None)
        return jax.tree.map(jnp.add, total, found), None

    shapes = jax.eval_shape(lambda data: whole(*data), _cut(data, jnp.asarray(0), size))
    zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
    return lax.scan(body, zeros, jnp.arange(pieces))[0]


predict_jit: Callable[..., Array] = jax.jit(predict, static_argnums=(0, 1))
