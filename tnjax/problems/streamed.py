"""A dense tensor that is never in memory as a whole: read slab by slab, again and again."""

import dataclasses
import math
import os
from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import numpy as np

from .._network import TensorNetwork
from .._structure import Structure
from .._tuned import tuned
from ..contract.cost import MemoryLimitError, dense_flops, format_bytes
from ..contract.host import dense_slab


@dataclasses.dataclass(frozen=True)
class SlabBytes:
    """Tensors read slab by slab.

    Attributes:
        slab_bytes: bytes of a slab at most: small enough to stay out of the way, large enough to
            read fast.
        slabs_alive: arrays of the size of a slab, in double precision, that are alive together: the
            slab, what is left of it, its unfolding, and the network's part of the tensor with the
            work to compute it.
        cores_alive: arrays of the size of the projected tensor that are alive together: its parts,
            joined, in double precision, projected further, and in a fit.
        least_share: the part of the memory limit that is left for the projected tensor.
    """

    slab_bytes: int = 32 * 2**20
    slabs_alive: int = 6
    cores_alive: int = 6
    least_share: float = 0.25


SLABS = tuned("slabs", SlabBytes())


@runtime_checkable
class Slabs(Protocol):
    """A tensor in pieces, such as `tnjax.io.open_tensor` gives.

    Attributes:
        shape: of the tensor.
        dtype: of its numbers.
        fortran: whether its last mode is the slowest, not the first.

    Example:
        >>> import numpy as np
        >>> from tnjax.problems import Slabs
        >>> class Ones:
        ...     shape, dtype, fortran = (4, 3), np.dtype(np.float64), False
        ...     def slabs(self, max_bytes):
        ...         yield from np.ones((4, 1, 3))
        >>> isinstance(Ones(), Slabs), len(list(Ones().slabs(24)))
        (True, 4)
    """

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of the modes of the tensor."""
        ...

    @property
    def dtype(self) -> np.dtype:
        """Of its numbers."""
        ...

    @property
    def fortran(self) -> bool:
        """Whether the last mode is the slowest, not the first."""
        ...

    def slabs(self, max_bytes: int) -> Iterator[np.ndarray]:
        """Arrays [rows, *stored_shape[1:]], the slowest mode first, from beginning to end."""
        ...


class Plan(NamedTuple):
    """How much memory reading and projecting take.

    Attributes:
        slab_bytes: of a slab in the file.
        core_bytes: that the projected tensor may have in double precision.
        peak_bytes: of all arrays together.
    """

    slab_bytes: int
    core_bytes: int
    peak_bytes: int


@dataclasses.dataclass(frozen=True)
class StreamedDecomposition:
    r"""Approximate a dense tensor that does not fit into memory; for `search` with a target error.

    The tensor is read once, slab by slab along its slowest mode, and each slab is projected as it
    is read on bases of the other modes that grow where they must: what is left is a small tensor
    to search on. Then it is read a second time, for the error of the network found.

    Args:
        source: the tensor, from `tnjax.io.open_tensor`.
        dtype: of the cores; the default is double precision, where JAX has that switched on.
        dims: sizes of the modes to work in, as NumPy reshapes, which keep the slowest mode apart;
            those of the source by default.
        memory_limit: bytes for all arrays; half of this machine's memory by default.

    Raises:
        ValueError: if the source is not read in slabs, has no entries, or cannot be reshaped so.
        MemoryLimitError: (a `ValueError`) if not even one slab fits.

    Example:
        >>> import jax, numpy as np, pathlib, tempfile, tnjax
        >>> from tnjax.io import open_tensor
        >>> a, b = np.linspace(1, 2, 40).reshape(20, 2), np.linspace(-1, 1, 60).reshape(2, 30)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     np.save(pathlib.Path(folder) / "x.npy", a @ b)
        ...     source = open_tensor(pathlib.Path(folder) / "x.npy")
        ...     result = tnjax.search(
        ...         tnjax.StreamedDecomposition(source), key=jax.random.key(0), target_error=1e-3
        ...     )
        >>> result.num_params, result.error < 1e-3
        (100, True)

    Reference:
        Vannieuwenhoven, Vandebril, Meerbergen, "A New Truncation Strategy for the Higher-Order
        Singular Value Decomposition" (2012), for one slab after the other.
    """

    source: Slabs
    dtype: Any = np.float64
    dims: tuple[int, ...] | None = None
    memory_limit: int | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.source, Slabs):
            raise ValueError(
                "StreamedDecomposition: expected a source that is read in slabs, such as "
                f"tnjax.io.open_tensor gives, got {type(self.source).__name__}; a tensor in memory "
                "is for Decomposition."
            )
        shape = tuple(self.source.shape)
        if not shape or not math.prod(shape):
            raise ValueError(f"StreamedDecomposition: a tensor of shape {shape} has no entries.")
        real = jax.dtypes.canonicalize_dtype(self.dtype)  # as JAX holds it
        if np.dtype(self.source.dtype).kind == "c":
            real = np.result_type(real, np.complex64)
        object.__setattr__(self, "dtype", np.dtype(real))
        if self.dims is not None:
            self._check_dims(shape, tuple(self.dims))
        limit = memory_of_machine() // 2 if self.memory_limit is None else self.memory_limit
        object.__setattr__(self, "memory_limit", limit)
        _ = self.plan

    def _check_dims(self, shape: tuple[int, ...], dims: tuple[int, ...]) -> None:
        products = {math.prod(dims[:k]) for k in range(1, len(dims) + 1)}
        if self.source.fortran and dims != shape:
            raise ValueError(
                f"StreamedDecomposition: a tensor whose last mode is the slowest in the file "
                f"cannot be reshaped as it is read; save it in C order, or leave {shape}."
            )
        if math.prod(dims) != math.prod(shape) or shape[0] not in products:
            raise ValueError(
                f"StreamedDecomposition: {dims} does not keep the first of the modes {shape} "
                "apart, along which it is read."
            )

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the tensor, in the modes to work in."""
        return tuple(self.source.shape if self.dims is None else self.dims)

    @property
    def stored_shape(self) -> tuple[int, ...]:
        """The same with the slowest mode first."""
        return self.shape[::-1] if self.source.fortran else self.shape

    @property
    def leading(self) -> int:
        """How many modes of the stored shape make up the slowest mode of the source."""
        slowest, count, size = self.source.shape[-1 if self.source.fortran else 0], 0, 1
        while size < slowest or not count:
            size *= self.stored_shape[count]
            count += 1
        return count

    @property
    def plan(self) -> Plan:
        """The memory that it takes, which is kept.

        Raises:
            MemoryLimitError: if not even one slab fits.
        """
        limit = self.memory_limit
        assert limit is not None
        size = np.dtype(self.source.dtype).itemsize
        row = math.prod(self.stored_shape[self.leading :]) * size
        wide = np.dtype(np.complex128 if self.dtype.kind == "c" else np.float64).itemsize / size
        each = wide * SLABS().slabs_alive
        slab = max(row, min(SLABS().slab_bytes, int((1 - SLABS().least_share) * limit / each)))
        slab = min(slab, math.prod(self.shape) * size)
        work = int(each * slab)
        if work > (1 - SLABS().least_share / 2) * limit:
            raise MemoryLimitError(
                f"Reading the tensor slab by slab needs {format_bytes(work)} for the smallest "
                f"slab ({format_bytes(row)} in the file), more than the memory limit of "
                f"{format_bytes(limit)} allows. Raise the limit, or save the tensor with a longer "
                "first mode."
            )
        return Plan(slab, (limit - work) // SLABS().cores_alive, limit)

    def slabs(self) -> Iterator[np.ndarray]:
        """The tensor in slabs [rows, *stored_shape[leading:]]; one may overwrite the one before."""
        rest = self.stored_shape[self.leading :]
        for slab in self.source.slabs(self.plan.slab_bytes):
            if slab.dtype.kind in "iub" or slab.dtype.itemsize < 4:
                slab = slab.astype(self.dtype)
            yield slab.reshape(len(slab), *rest)

    # What a search asks of a problem ------------------------------------------------------

    def flops(self, structure: Structure) -> int:
        """Of contracting a network to the whole tensor."""
        return dense_flops(structure)

    def fit_peak_bytes(self, structure: Structure) -> int:
        """Of all that is done with the whole tensor."""
        del structure
        return self.plan.peak_bytes

    def relative_error(self, network: TensorNetwork) -> float:
        """||X - T|| / ||X|| over the whole tensor, which is read for it.

        Raises:
            ValueError: if the shapes differ, or the tensor is zero.
        """
        if network.structure.dims != self.shape:
            raise ValueError(
                f"The network has the shape {network.structure.dims}, the tensor {self.shape}."
            )
        first, missed, whole = 0, 0.0, 0.0
        for slab in self.slabs():
            part = self.rows(network, first, first + len(slab))
            whole += squared_norm(slab)
            missed += squared_norm(part - slab)
            first += len(slab)
        if whole == 0:
            raise ValueError("The tensor is zero everywhere, so a relative error has no meaning.")
        return math.sqrt(missed / whole)

    def rows(self, network: TensorNetwork, first: int, last: int) -> np.ndarray:
        """The part of a network's tensor that a slab covers, [rows, *stored_shape[leading:]]."""
        order, structure = len(self.shape), network.structure
        cores = [np.asarray(core) for core in network.cores]
        if self.leading == 1:
            mode = order - 1 if self.source.fortran else 0
            part = dense_slab(structure, cores, {mode: slice(first, last)})
            return part.T if self.source.fortran else part
        parts = []
        for row in range(first, last):
            places = np.unravel_index(row, self.shape[: self.leading])
            cut = {mode: slice(int(n), int(n) + 1) for mode, n in enumerate(places)}
            parts.append(dense_slab(structure, cores, cut).squeeze(tuple(cut)))
        return np.stack(parts)


def squared_norm(array: np.ndarray) -> float:
    """||X||^2, summed up in double precision over blocks of what is single."""
    flat, total, block = array.reshape(-1), 0.0, 2**16
    for first in range(0, flat.size, block):
        part = flat[first : first + block]
        total += float(np.vdot(part, part).real)
    return total


def memory_of_machine() -> int:
    """Memory of this machine; 8 GiB where it does not tell.

    Returns:
        Bytes.

    Example:
        >>> from tnjax.problems import memory_of_machine
        >>> memory_of_machine() > 2**20
        True
    """
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 8 * 2**30
