"""Completion from entries that are never in memory as a whole: read chunk by chunk, many times."""

import dataclasses
import functools
import math
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, PRNGKeyArray

from .. import _compile
from .._network import TensorNetwork, scaled
from .._structure import Structure
from .._tuned import tuned
from ..contract.cost import MemoryLimitError, format_bytes
from ._completion import Completion
from .coordinates import check_ridge
from .samples import Blocks, predict, ridged, row_equations, sample_loop_entries
from .streamed import memory_of_machine

TRAINING, VALIDATION, TEST = 0, 1, 2
PARTS = ("training", "validation", "test")


@dataclasses.dataclass(frozen=True)
class OnDisk:
    """Completions from disk.

    Attributes:
        chunk: entries of a chunk at most.
        least_chunk: entries of a chunk at least.
        share: the part of the memory limit that a chunk may take.
        row_bytes: bytes for each index of each mode: rows of cores of rank one, and how often it is
            observed.
        least_subset: a subset of fewer entries is not worth a search.
        deviations: standard deviations that the size of a random subset may exceed its mean by.
    """

    chunk: int = 2**18
    least_chunk: int = 2**10
    share: float = 0.25
    row_bytes: int = 64
    least_subset: int = 2**10
    deviations: int = 6


ON_DISK = tuned("samples_on_disk", OnDisk())

# Streams of random numbers.
_SPLIT, _SUBSET = 0, 1


@runtime_checkable
class SampleSource(Protocol):
    """Entries in chunks, such as `tnjax.io.open_samples` gives.

    Attributes:
        shape: of the tensor.
        dtype: of the values.
        count: of the entries.

    Example:
        >>> import numpy as np
        >>> from tnjax.problems import SampleSource
        >>> class Diagonal:
        ...     shape, dtype, count = (9, 9), np.dtype(np.float64), 9
        ...     def chunks(self, rows):
        ...         for first in range(0, self.count, rows):
        ...             where = np.arange(first, min(first + rows, self.count), dtype=np.int32)
        ...             yield np.stack([where, where], axis=1), np.ones(len(where))
        >>> isinstance(Diagonal(), SampleSource), sum(len(v) for _, v in Diagonal().chunks(4))
        (True, 9)
    """

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of the modes of the tensor."""
        ...

    @property
    def dtype(self) -> np.dtype:
        """Of the values."""
        ...

    @property
    def count(self) -> int:
        """Number of the entries."""
        ...

    def chunks(self, rows: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Indices [rows, modes] int32 and values [rows], from the first entry to the last."""
        ...


class SamplePlan(NamedTuple):
    """How much memory reading, and searching on a subset, take.

    Attributes:
        chunk: entries read at a time.
        subset: entries to search on, at most.
        search_bytes: that the search may have alive.
        peak_bytes: of all arrays together.
    """

    chunk: int
    subset: int
    search_bytes: int
    peak_bytes: int


class PartError(NamedTuple):
    """The error of a network on the entries of one part: the number of entries, the norm of their
    values, and the norm of the differences."""

    entries: int
    norm: float
    missed: float

    @property
    def error(self) -> float | None:
        """Relative; None where there are no entries, or all are zero."""
        return self.missed / self.norm if self.norm else None


@dataclasses.dataclass(frozen=True)
class StreamedCompletion:
    r"""Learn a tensor from entries that do not fit into memory; for `search` and `fit_from_disk`.

    The structure is searched on a uniform random subset of the entries, drawn in one pass over the
    disk. Then the network found is fitted to all of them by alternating least squares, whose normal
    equations are sums over chunks, and its errors are those on all entries. Which entries are for
    training, validation and test is told by a hash of the key and the number of the entry, so that
    they are the same ones however the data are read, and the same in the subset.

    The loss is the squared one.

    Args:
        source: the entries, from `tnjax.io.open_samples`.
        key: `jax.random.key(seed)`, for the split and the subset.
        validation: share of the entries that decide when to stop, and which network is kept.
        test: share of the entries that nothing but the final error looks at.
        dtype: of the cores, float64 or float32 (complex data have complex cores).
        offsets, ridge, nonnegative: as of `Completion`; offsets are estimated from the subset.
        duplicates: what is given more than once counts as often ("keep"), or is refused where it
            is seen, which is in the subset ("refuse").
        memory_limit: bytes for all arrays; half of this machine's memory by default.
        subset: most entries to search on.

    Raises:
        ValueError: for a share or a ridge out of its range.
        MemoryLimitError: (a `ValueError`) if the limit does not hold the least that is needed.

    Example:
        >>> import jax, numpy as np, tempfile, tnjax
        >>> from tnjax.io import open_samples, write_samples
        >>> a, b = np.linspace(1, 2, 40), np.linspace(-1, 1, 30)
        >>> indices = np.random.default_rng(0).integers((40, 30), size=(5000, 2))
        >>> with tempfile.TemporaryDirectory() as base:
        ...     _ = write_samples(f"{base}/x", [(indices, np.outer(a, b)[tuple(indices.T)])])
        ...     problem = tnjax.StreamedCompletion(
        ...         open_samples(f"{base}/x"), key=jax.random.key(0), subset=2000
        ...     )
        ...     result = tnjax.search(problem, key=jax.random.key(0), target_error=1e-3)
        ...     errors = problem.errors(result.network)
        >>> result.num_params, result.error < 1e-3, sum(part.entries for part in errors.values())
        (70, True, 5000)

    Reference:
        Grasedyck, Kluge, Kraemer, "Variants of Alternating Least Squares Tensor Completion in the
        Tensor Train Format", SIAM J. Sci. Comput. 37 (2015); the hash: Steele, Lea, Flood, "Fast
        Splittable Pseudorandom Number Generators" (2014).
    """

    source: SampleSource
    _: dataclasses.KW_ONLY
    key: PRNGKeyArray
    validation: float = 0.1
    test: float = 0.0
    dtype: Any = np.float64
    offsets: str | None = None
    ridge: float = 0.0
    nonnegative: bool = False
    duplicates: Literal["keep", "refuse"] = "keep"
    memory_limit: int | None = None
    subset: int = 500_000
    _last: list[Any] = dataclasses.field(default_factory=list, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not isinstance(self.source, SampleSource):
            raise ValueError(
                "StreamedCompletion: expected a source that is read in chunks, such as "
                f"tnjax.io.open_samples gives, got {type(self.source).__name__}; entries in memory "
                "are for Completion."
            )
        for name in ("validation", "test"):
            share = getattr(self, name)
            if not 0 <= share < 1:
                raise ValueError(
                    f"StreamedCompletion: {name} must be a share of at least 0 and below 1, got "
                    f"{share!r}."
                )
        if self.validation + self.test >= 1:
            raise ValueError("StreamedCompletion: validation and test leave nothing for training.")
        if isinstance(self.subset, bool) or self.subset < 1:
            raise ValueError(f"StreamedCompletion: subset must be 1 or more, got {self.subset!r}.")
        check_ridge(self.ridge)
        real = jax.dtypes.canonicalize_dtype(self.dtype)  # as JAX holds it
        if np.dtype(self.source.dtype).kind == "c":
            real = np.result_type(real, np.complex64)
        object.__setattr__(self, "dtype", np.dtype(real))
        limit = memory_of_machine() // 2 if self.memory_limit is None else self.memory_limit
        object.__setattr__(self, "memory_limit", limit)
        _ = self.plan

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of the modes of the tensor."""
        return tuple(self.source.shape)

    @property
    def plan(self) -> SamplePlan:
        """The memory that it takes, which is kept.

        Raises:
            MemoryLimitError: if not even a small chunk and a small subset fit.
        """
        limit, count, order = self.memory_limit, self.source.count, len(self.shape)
        assert limit is not None
        rows = ON_DISK().row_bytes * sum(self.shape)
        if rows > limit:
            raise MemoryLimitError(
                f"The shape {self.shape} alone needs {format_bytes(rows)} for what is kept of each "
                f"index, more than the memory limit of {format_bytes(limit)} allows. Raise the "
                "limit, or number the indices that occur."
            )
        read, search = read_bytes(order, self.dtype), completion_bytes(order, self.dtype)
        chunk = min(
            ON_DISK().chunk, count, max(ON_DISK().least_chunk, int(ON_DISK().share * limit) // read)
        )
        able = (limit - chunk * read) // search
        if able < min(ON_DISK().least_subset, count):
            least = (
                min(ON_DISK().least_chunk, count) * read
                + min(ON_DISK().least_subset, count) * search
            )
            raise MemoryLimitError(
                f"Completion of {count} entries on disk needs {format_bytes(least)} for its "
                f"smallest chunk and subset, more than the memory limit of {format_bytes(limit)} "
                "allows. Raise the limit."
            )
        subset = min(self.subset, able, count)
        left = limit - chunk * read
        return SamplePlan(chunk, subset, left, limit)

    # The split ----------------------------------------------------------------------------

    def parts(self, first: int, count: int) -> np.ndarray:
        """To which of `PARTS` entries belong, from number `first` on, [count]."""
        draws = uniform(self.key, _SPLIT, first, count)
        kept = np.where(draws < self.test + self.validation, VALIDATION, TRAINING)
        return np.where(draws < self.test, TEST, kept).astype(np.int8)

    def chosen(self, first: int, count: int) -> np.ndarray:
        """Whether entries are in the subset, [count]."""
        total, most = self.source.count, self.plan.subset
        if most >= total:
            return np.ones(count, bool)
        share = max(0.5 * most, most - ON_DISK().deviations * math.sqrt(most)) / total
        return uniform(self.key, _SUBSET, first, count) < share

    @functools.cached_property
    def sample(self) -> Completion:
        """The completion of the subset, to search on. All entries are read, and looked at, for it.

        Raises:
            ValueError: if an entry cannot be used (see `tnjax.io.SampleFile.chunks`), all values
                are zero, or no entry fell to training or validation.
        """
        found: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        for first, indices, values in self._chunks():
            part = self.parts(first, len(values))
            rows = np.flatnonzero(self.chosen(first, len(values)) & (part != TEST))
            found.append((indices[rows], values[rows], part[rows]))
        indices, values, part = (np.concatenate(arrays) for arrays in zip(*found, strict=True))
        del found
        held = np.flatnonzero(part == VALIDATION)
        if not len(values) or len(held) == len(values) or (self.validation and not len(held)):
            raise ValueError(
                f"StreamedCompletion: of {len(values)} entries in the subset {len(held)} fell to "
                "validation; there are too few for the shares."
            )
        return Completion(
            indices,
            values.astype(self.dtype),
            self.shape,
            duplicates=self.duplicates,
            validation=held if len(held) else None,
            offsets=self.offsets,
            ridge=self.ridge,
            nonnegative=self.nonnegative,
        )

    # All entries --------------------------------------------------------------------------

    def _chunks(self) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        first = 0
        for indices, values in self.source.chunks(self.plan.chunk):
            yield first, indices, values
            first += len(values)

    def _centered(self, indices: np.ndarray, values: np.ndarray) -> np.ndarray:
        """What the network has to explain, in its units."""
        offsets = self.sample.offsets
        if offsets is not None:
            values = values - offsets.at(indices)
        return values

    def errors(self, network: TensorNetwork) -> dict[str, PartError]:
        """Of a network over all entries on disk, which are read for it, by part.

        Args:
            network: as `search` and `fit_from_disk` return it.

        Raises:
            ValueError: if the shapes differ.
        """
        if network.structure.dims != self.shape:
            raise ValueError(
                f"The network has the shape {network.structure.dims}, the tensor {self.shape}."
            )
        if self._last and self._last[0] is network:  # what a fit ends with is asked for again
            return self._last[1]
        sums = np.zeros((len(PARTS), 3))
        structure = network.structure
        cores = [np.asarray(core, self.dtype) for core in network.cores]
        work = sample_loop_entries(structure, self.source.count)  # of all chunks
        for first, indices, values in self._chunks():
            part = self.parts(first, len(values))
            args = (cores, _filled(indices, self.plan.chunk))
            guess = _compile.run(_predict, (structure,), args, work=work).value
            guess = np.asarray(guess)[: len(values)]
            left = np.abs(self._centered(indices, values) - guess).astype(np.float64) ** 2
            sizes = np.abs(values).astype(np.float64) ** 2
            for column, squares in enumerate((np.ones(len(values)), sizes, left)):
                sums[:, column] += np.bincount(part, squares, len(PARTS))
        found = {
            name: PartError(int(count), math.sqrt(norm), math.sqrt(missed))
            for name, (count, norm, missed) in zip(PARTS, sums, strict=True)
            if count
        }
        self._last[:] = [network, found]
        return found

    def normal_equations(self, network: TensorNetwork, node: int) -> tuple[np.ndarray, np.ndarray]:
        """The least squares problem for one core, of all entries of training: as of `Completion`,
        whose units these are (`sample.scale`).

        Args:
            network: in those units; supplies the other cores.
            node: whose core is sought.

        Returns:
            gram [rows, bonds, bonds] and rhs [rows, bonds].
        """
        structure, chunk, scale = network.structure, self.plan.chunk, self.sample.scale
        legs = structure.legs[node]
        wide = np.complex128 if self.dtype.kind == "c" else np.float64
        work = sample_loop_entries(structure, self.source.count)  # of all chunks
        totals: list[np.ndarray] = []
        waiting, seen = None, 0

        def add(found) -> None:
            for n, part in enumerate(found):
                part = np.asarray(part, wide)
                totals[n : n + 1] = [totals[n] + part if len(totals) > n else part]

        for first, indices, values in self._chunks():
            rows = np.flatnonzero(self.parts(first, len(values)) == TRAINING)
            seen += len(rows)
            known = _filled(indices[rows], chunk)
            target = self._centered(indices[rows], values[rows]) / scale
            target = _filled(target.astype(self.dtype), chunk)
            blocks: tuple[Blocks, ...] = ()
            if len(legs) == 1:
                dim = structure.dims[legs[0]]
                column = known[:, legs[0]]
                small = column.astype(np.uint16) if dim <= 2**16 else column  # sorts faster
                blocks = (Blocks.of(small, dim),) * len(structure.dims)
            args = (network.cores, known, target, np.asarray(len(rows), np.int32), blocks)
            found = _compile.run(_sums, (structure, node), args, work=work).value
            if waiting is not None:  # the device works while the next chunk is read
                add(waiting)
            waiting = found
        if not seen or waiting is None:
            raise ValueError("StreamedCompletion: no entry is left for training.")
        add(waiting)
        gram, rhs = (total / seen for total in totals)
        return ridged(np, gram, self.ridge / seen).astype(self.dtype), rhs.astype(self.dtype)

    # What a search asks of a problem ------------------------------------------------------

    def scaled_in(self, network: TensorNetwork) -> TensorNetwork:
        """A network in the units of the solvers."""
        return scaled(network.astype(self.dtype), 1 / self.sample.scale)

    def scaled_out(self, network: TensorNetwork) -> TensorNetwork:
        """A network in the units of the data."""
        return scaled(network, self.sample.scale)


def _predict(structure: Structure, cores: list[Array], indices: Int[Array, "samples modes"]):
    return predict(structure, tuple(cores), indices)


def _sums(structure: Structure, node: int, cores, indices, values, count, blocks):
    """Sums of a chunk; entries from `count` on are fillings."""

    def parabola(ids: Array, own: Array) -> tuple[Array, Array]:
        real = ids < count
        value = values.at[ids].get(mode="promise_in_bounds")
        return real.astype(jnp.finfo(value.dtype).dtype), jnp.where(real, value, 0)

    return row_equations(structure, cores, node, indices, blocks, parabola)


def _filled(rows: np.ndarray, count: int) -> np.ndarray:
    """As many rows as programs are compiled for."""
    if len(rows) == count:
        return rows
    out = np.zeros((count, *rows.shape[1:]), rows.dtype)
    out[: len(rows)] = rows
    return out


def completion_bytes(order: int, dtype: np.dtype) -> int:
    """What an entry of a `Completion` has alive at its worst moment: when the problem is made, or
    in a sweep.

    Args:
        order: number of modes.
        dtype: of the values.

    Returns:
        Bytes for each entry.

    Example:
        >>> import numpy as np
        >>> from tnjax.problems import completion_bytes
        >>> completion_bytes(4, np.dtype(np.float32)) < completion_bytes(4, np.dtype(np.float64))
        True
    """
    return 24 * order + 14 * np.dtype(dtype).itemsize + 100


def read_bytes(order: int, dtype: np.dtype) -> int:
    """What an entry of a chunk has alive: as read, as 32-bit indices, sorted by a mode, on the
    device, and once more while the next chunk is read."""
    return 32 * order + 10 * np.dtype(dtype).itemsize + 120


def uniform(key: PRNGKeyArray, stream: int, first: int, count: int) -> np.ndarray:
    """Numbers in [0, 1), a hash of a key and the numbers of entries (SplitMix64)."""
    words = [int(word) for word in np.asarray(jax.random.key_data(key)).ravel()]
    seed = np.zeros(1, np.uint64)
    for word in (*words, stream):
        seed = _mixed(seed + np.uint64(word))
    numbers = np.arange(first, first + count, dtype=np.uint64)
    mixed = _mixed(seed + numbers * np.uint64(0x9E3779B97F4A7C15))
    return (mixed >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _mixed(x: np.ndarray) -> np.ndarray:
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
