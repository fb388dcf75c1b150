"""Sums over sampled entries, in pieces: never a dense tensor, never [samples, bonds²] at once.

The samples of one row of a core share their unknowns, so each mode keeps the order of the
samples by their row, cut into blocks of one row each and of one size (the last block of a row is
filled up). The Gram matrices are then batched matrix products over blocks, summed by row: some
ten times faster than a segment sum of outer products, on every kind of machine.
"""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Inexact, Int, Integer

from .. import _compile, _mesh
from .._network import TensorNetwork
from .._structure import Structure
from .._tracing import traced
from .._tuned import cached, tuned
from ..contract import kernels
from ..contract.cost import num_bonds, solve_flops
from ..contract.equation import entries_equation, rows_equation
from ..contract.path import plan


@dataclasses.dataclass(frozen=True)
class SampleCosts:
    """Work on many entries at once.

    Attributes:
        piece_bytes: bytes that one piece of the samples may take on the way: it stays in the cache.
        block_sizes: sizes of blocks of samples of one row.
        gather_flops: what gathering one row of a core costs, in flops.
        flops_per_entry: flops of a sweep that take as long as a loop that touches one entry for
            each core.
        blocks_per_row: blocks that the samples of a row are cut into on average: half of the last
            one is empty.
        least_piece: samples of a piece at least, and of a block of a node without modes.
    """

    piece_bytes: int = 8 * 1024**2
    block_sizes: tuple[int, ...] = (8, 16, 32, 64, 128)
    gather_flops: int = 16
    flops_per_entry: int = 120
    blocks_per_row: int = 8
    least_piece: int = 128


SAMPLES = tuned("samples", SampleCosts(), traced=True)


class HostSamples(NamedTuple):
    """What `Samples` hold, as arrays of NumPy (or traced ones), all of it and nothing else."""

    indices: Any
    values: Any
    weights: Any
    base: Any
    unit: Any

    def filled_up(self, parts: int) -> "HostSamples":
        """A number of samples that divides, by copies of the last one of weight zero."""
        filled = -len(self.values) % parts
        if not filled:
            return self
        last = lambda x: np.concatenate([x, *[x[-1:]] * filled]) if x.ndim else x
        more = HostSamples(*map(last, self))
        weights = np.where(np.arange(len(more.weights)) < len(self.weights), more.weights, 0)
        return more._replace(weights=weights.astype(self.weights.dtype))

    def blocks(self, shape: tuple[int, ...], mesh: Mesh | None) -> "tuple[Blocks, ...]":
        """The layout of every mode, for the samples of each device by itself."""
        if traced(self.indices):
            return tuple(Blocks.in_trace(self.indices[:, m], dim) for m, dim in enumerate(shape))
        devices = _mesh.size(mesh, _mesh.DATA)
        parts = np.split(self.filled_up(devices).indices, devices)
        out = []
        for mode, dim in enumerate(shape):
            of_parts = [Blocks.of(part[:, mode], dim) for part in parts]
            samples = np.concatenate([np.asarray(blocks.samples) for blocks in of_parts])
            rows = np.concatenate([np.asarray(blocks.rows) for blocks in of_parts])
            if mesh is None:
                out.append(Blocks(samples, rows))
            else:
                put = functools.partial(_mesh.put, mesh=mesh, spec=P(_mesh.DATA))
                out.append(Blocks(put(samples), put(rows)))
        return tuple(out)


class Samples(eqx.Module):
    """Entries on the device, in the units of the solvers.

    Attributes:
        indices: [samples, modes].
        values: observed there.
        weights: of the samples; they sum to 1.
        base: offsets, part of every prediction; a scalar zero without.
        unit: the error is the root of the loss times this (relative losses only).
        mesh: along whose `data` axis the samples are shared out; None for one device.
        filled: how many at the end, of weight zero, only make their number divide.

    Example:
        >>> import jax, numpy as np
        >>> from tnjax import Completion
        >>> indices, values = np.argwhere(np.ones((3, 4))), np.arange(12.0)
        >>> problem = Completion(indices, values, (3, 4), validation=0.25, key=jax.random.key(0))
        >>> problem.training.count
        9
    """

    indices: Int[Array, "samples modes"]
    values: Inexact[Array, " samples"]
    weights: Float[Array, " samples"]
    base: Float[Array, "*samples"]
    unit: Float[Array, ""]
    mesh: Mesh | None = eqx.field(static=True, default=None)
    filled: int = eqx.field(static=True, default=0)

    @property
    def count(self) -> int:
        """The number of samples, without those that only fill up."""
        return self.indices.shape[0] - self.filled

    @classmethod
    def of(cls, host: HostSamples, mesh: Mesh | None) -> "Samples":
        """Samples over the devices of a mesh, or on one."""
        if mesh is None:
            return cls(*map(jnp.asarray, host), mesh=None)
        full = host.filled_up(_mesh.size(mesh, _mesh.DATA))
        put = lambda x: _mesh.put(x, mesh, P(_mesh.DATA) if x.ndim else P())
        return cls(*map(put, full), mesh=mesh, filled=len(full.values) - len(host.values))

    def gathered(self) -> HostSamples:
        """From all devices, without what they are filled up with."""
        whole = lambda x: _mesh.on_host(x)[: self.count] if x.ndim else _mesh.on_host(x)
        return HostSamples(*map(whole, jax.tree.leaves(self)))

    def on_host(self) -> "Samples":
        """The same, its arrays those of NumPy."""
        plain = Samples(self.indices, self.values, self.weights, self.base, self.unit)
        return jax.tree.unflatten(jax.tree.structure(plain), self.gathered())

    def picked(self, ids: np.ndarray) -> HostSamples:
        """Some of them, with their weights as they are."""
        if self.mesh is None:
            pick = lambda x: np.asarray(x)[ids] if x.ndim else np.asarray(x)
            return HostSamples(*map(pick, jax.tree.leaves(self)))
        ran = _compile.run(_picked, (), (self, ids), work=len(ids))  # only those travel
        return HostSamples(*jax.device_get(ran.value))

    def take(self, ids: Int[Array, " batch"]) -> "Samples":
        """Some of them, with weights whose sum is 1 on average over draws of equal chances."""
        base = self.base if self.base.ndim == 0 else self.base[ids]
        weights = self.weights[ids] * (self.count / len(ids))
        return Samples(self.indices[ids], self.values[ids], weights, base, self.unit)


class Sampled(NamedTuple):
    """The entries of a problem: those that a network is fitted to, and those that judge it, if any
    are held out.

    Example:
        >>> import numpy as np
        >>> from tnjax import Completion
        >>> problem = Completion([[0, 0], [1, 1], [0, 1]], [1.0, 2.0, 3.0], (2, 2), validation=[2])
        >>> problem.sampled.training.count, problem.sampled.held_out.count
        (2, 1)
    """

    training: Samples
    held_out: Samples | None


def _picked(samples: Samples, ids: Array) -> tuple[Array, ...]:
    pick = lambda x: x.at[ids].get(mode="promise_in_bounds") if x.ndim else x
    return tuple(map(pick, jax.tree.leaves(samples)))


class Predictions(NamedTuple):
    """The point of a completion: what the network predicts, offsets included."""

    training: Array
    held_out: Array | None


class Blocks(eqx.Module):
    """The samples of one mode in blocks of one row each.

    Attributes:
        samples: numbers of the samples; the number of samples itself where a block is filled up.
        rows: the row (the index in this mode) of each block, ascending.
    """

    samples: Int[Array | np.ndarray, "blocks size"]
    rows: Int[Array | np.ndarray, " blocks"]

    @classmethod
    def of(cls, column: Integer[np.ndarray, " samples"], dim: int) -> "Blocks":
        """The blocks of a mode of size `dim`. Their number depends on the number of samples and
        on `dim` alone, so that data sets of one size share their programs."""
        count = len(column)
        blocks, size = _num_blocks(count, dim)
        order = np.argsort(column, kind="stable").astype(np.int32)
        lengths = np.bincount(column, minlength=dim)
        per_row = -(-lengths // size)
        first = np.cumsum(per_row) - per_row  # block
        begin = np.cumsum(lengths) - lengths  # sample
        samples = np.full(blocks * size, count, np.int32)
        within = np.arange(count) - np.repeat(begin, lengths)
        samples[np.repeat(first * size, lengths) + within] = order
        rows = np.repeat(np.arange(dim, dtype=np.int32), per_row)
        rows = np.concatenate([rows, np.full(blocks - len(rows), dim - 1, np.int32)])
        return cls(samples.reshape(blocks, size), rows)

    @classmethod
    def in_trace(cls, column: Int[Array, " samples"], dim: int) -> "Blocks":
        """The same of a traced column."""
        count = len(column)
        blocks, size = _num_blocks(count, dim)
        order = jnp.argsort(column, stable=True).astype(np.int32)
        lengths = jnp.zeros(dim, np.int32).at[column].add(1)
        per_row = -(-lengths // size)
        first = jnp.cumsum(per_row) - per_row  # block
        begin = jnp.cumsum(lengths) - lengths  # sample
        own = column[order]
        place = first[own] * size + jnp.arange(count, dtype=np.int32) - begin[own]
        samples = jnp.full(blocks * size, count, np.int32).at[place].set(order)
        ends, numbers = jnp.cumsum(per_row), jnp.arange(blocks, dtype=np.int32)
        rows = jnp.minimum(jnp.searchsorted(ends, numbers, side="right"), dim - 1)
        return cls(samples.reshape(blocks, size), rows.astype(np.int32))


def _num_blocks(count: int, dim: int) -> tuple[int, int]:
    """The number of blocks that hold `count` samples of a mode, and their size."""
    size = min(
        SAMPLES().block_sizes, key=lambda size: abs(size - count / dim / SAMPLES().blocks_per_row)
    )
    return count // size + dim, size


def num_slots(count: int, dim: int) -> int:
    """Places for samples in the blocks of a mode, filled up or not."""
    return math.prod(_num_blocks(count, dim))


def predict(
    structure: Structure, cores: tuple[Array, ...], indices: Integer[Array, "samples modes"]
) -> Inexact[Array, " samples"]:
    """The entries at `indices`, piece by piece."""
    count = indices.shape[0]
    size = piece_size(structure, cores[0].dtype)
    entries = functools.partial(kernels.entries, structure)
    if count <= size:
        return entries(cores, indices)
    pieces = -(-count // size)
    size = -(-count // pieces)
    one = jax.checkpoint(lambda cores, start: entries(cores, _cut(indices, start, size)))
    found = lax.map(lambda start: one(cores, start), _starts(count, pieces, size))
    last = count - (pieces - 1) * size
    return jnp.concatenate([found[:-1].ravel(), found[-1, size - last :]])


def predicted(network: TensorNetwork, samples: Samples) -> Inexact[Array, " samples"]:
    """The entries of a network at the indices of the samples, laid out as the samples are."""
    return _mesh.over_data(
        functools.partial(predict, network.structure),
        samples.mesh,
        (network.cores, samples.indices),
        (P(), P(_mesh.DATA)),
        P(_mesh.DATA),
    )


def row_equations(
    structure: Structure,
    cores: tuple[Array, ...],
    node: int,
    indices: Integer[Array, "samples modes"],
    blocks: tuple[Blocks, ...],
    parabola: Callable[[Array, Array], tuple[Array, Array]],
    mesh: Mesh | None = None,
) -> tuple[Array, Array]:
    r"""Normal equations of all rows of one core: sums of weighted outer products.

    With $j_s$ the derivative of entry s by its row of the core, $w_s$ its weight and $t_s$ its
    target, the row i has $G_i = \sum_s w_s \bar j_s j_s^T$ and $b_i = \sum_s w_s t_s \bar j_s$ over
    its samples.

    Args:
        parabola: (numbers of samples, their own part of the prediction) -> (weights w, products
            w t); numbers of fillings may be among them; their weights are dropped here.
        mesh: on one of whose devices these samples lie.

    Returns:
        gram [rows, bonds, bonds], rhs [rows, bonds]; an internal node has one row.
    """
    legs = structure.legs[node]
    bonds = math.prod(structure.core_shape(node)[len(legs) :])
    dims = [structure.dims[mode] for mode in legs]
    rows, count = math.prod(dims), indices.shape[0]
    matrix = cores[node].reshape(rows, bonds)
    if len(legs) == 1:
        layout = blocks[legs[0]]
        numbers, of_block = layout.samples, layout.rows
    else:  # one sample, or for an internal node many, in each block
        width = SAMPLES().least_piece if not legs else 1
        numbers = jnp.arange(-(-count // width) * width).reshape(-1, width)
        of_block = jnp.zeros(len(numbers), jnp.int32)
        for mode, dim in zip(legs, dims, strict=True):
            of_block = of_block * dim + indices[:, mode]

    def add(total, piece, fresh):
        numbers, of_block = piece
        ids = numbers.ravel()
        index = indices.at[ids].get(mode="clip")
        j = kernels.entry_rows(structure, cores, node, index)
        row = jnp.repeat(of_block, numbers.shape[1])
        own = jnp.sum(j * matrix.at[row].get(mode="clip"), -1)
        weight, product = parabola(jnp.minimum(ids, count - 1), own)
        real = (ids < count) & jnp.repeat(fresh, numbers.shape[1])
        weight, product = (jnp.where(real, x, 0).astype(j.dtype) for x in (weight, product))
        both = jnp.concatenate([weight[:, None] * j, product[:, None]], 1)
        shape = (*numbers.shape, -1)
        sums = lax.dot_general(
            j.conj().reshape(shape),
            both.reshape(shape),
            (((1,), (1,)), ((0,), (0,))),
            precision=kernels.FULL,
        )
        ordered = len(legs) == 1
        return total.at[of_block].add(sums, indices_are_sorted=ordered, mode="promise_in_bounds")

    total = _mesh.part(jnp.zeros((rows, bonds, bonds + 1), matrix.dtype), mesh)
    size = max(1, piece_size(structure, matrix.dtype) // numbers.shape[1])
    if len(numbers) <= size:
        total = add(total, (numbers, of_block), jnp.ones(len(numbers), bool))
    else:
        pieces = -(-len(numbers) // size)
        size = -(-len(numbers) // pieces)

        def body(total, n):
            start = jnp.minimum(n * size, len(numbers) - size)
            piece = (_cut(numbers, start, size), _cut(of_block, start, size))
            return add(total, piece, start + jnp.arange(size) >= n * size), None

        total, _ = lax.scan(body, total, jnp.arange(pieces))
    return total[..., :bonds], total[..., bonds]


def ridged(xp: Any, gram: Any, penalty: Any) -> Any:
    """Gram matrices [rows, bonds, bonds] with a ridge; a row that no entry uses gets the solution
    zero. `xp` is the module that computes, `numpy` or `jax.numpy`."""
    idle = xp.trace(gram, axis1=1, axis2=2).real + penalty == 0
    diagonal = penalty + idle.astype(gram.real.dtype)
    eye = np.eye(gram.shape[-1], dtype=gram.dtype)[None]
    return gram + diagonal[:, None, None].astype(gram.dtype) * eye


def sample_flops(structure: Structure) -> int:
    """Flops of one entry."""
    return plan(entries_equation(structure, 1)).flops


def sample_sweep_flops(structure: Structure, count: int) -> int:
    """Forecast of a sweep over the cores: at each node the other cores' rows of all samples are
    gathered and contracted, their outer products summed, and the rows of the core solved for."""
    look = structure.num_nodes * SAMPLES().gather_flops + sample_flops(structure)
    outer = sum(2 * bonds**2 for bonds in num_bonds(structure))
    return count * (structure.num_nodes * look + outer) + solve_flops(structure, rows=True)


def sample_loop_entries(structure: Structure, count: int) -> int:
    """The same in entries that loops touch: products of single rows are loops, not products of
    matrices."""
    return sample_sweep_flops(structure, count) // SAMPLES().flops_per_entry


def sample_bytes(structure: Structure, dtype: DTypeLike) -> int:
    """What one sample has alive at its worst moment in a sweep over the cores."""
    nodes = range(structure.num_nodes)
    bonds = [math.prod(structure.core_shape(k)[len(structure.legs[k]) :]) for k in nodes]
    peak = max(plan(rows_equation(structure, node, 1)).peak_size for node in nodes)
    return (peak + 6 * max(bonds)) * np.dtype(dtype).itemsize


def fit_bytes(structure: Structure, dtype: np.dtype, count: int) -> int:
    """What a sweep over `count` samples has alive at its worst moment, the data included."""
    vectors = count * (8 * len(structure.dims) + 6 * dtype.itemsize)
    piece = min(count, piece_size(structure, dtype)) * sample_bytes(structure, dtype)
    gram = 0
    for node in range(structure.num_nodes):
        bonds = math.prod(structure.core_shape(node)[len(structure.legs[node]) :])
        gram = max(gram, math.prod(structure.core_shape(node)) * bonds)
    return vectors + piece + 4 * gram * dtype.itemsize


@cached(maxsize=4096)
def piece_size(structure: Structure, dtype: DTypeLike) -> int:
    """Samples that are worked on at once."""
    return max(SAMPLES().least_piece, SAMPLES().piece_bytes // sample_bytes(structure, dtype))


def _cut(x: Array | np.ndarray, start, size: int) -> Array:
    return lax.dynamic_slice_in_dim(jnp.asarray(x), start, size)


def _starts(count: int, pieces: int, size: int) -> np.ndarray:
    """Where pieces begin; the last one reaches back, so that all have one size."""
    return np.minimum(np.arange(pieces) * size, count - size)
