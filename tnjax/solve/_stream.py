"""Fitting to samples that do not fit into memory: read from disk, chunk by chunk."""

import dataclasses
import functools
import math
import time
from typing import Any, Unpack

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from jaxtyping import PRNGKeyArray

from .._limits import Limits, StreamLimits, limits_from, positive
from .._network import TensorNetwork, scaled
from .._status import Status
from .._structure import Structure
from ..problems import Completion, Supervised
from ._fit import FitResult
from ._minibatch import batch_update
from .limits import check_shape
from .real import from_real, to_real


class StreamOptions(StreamLimits, total=False):
    """What `fit_stream` takes as further keywords, beside an optimizer."""

    epochs: int
    chunk_size: int
    batch_size: int


@dataclasses.dataclass(frozen=True)
class _Reading:
    """Passes over the data, and the entries that are read at a time and in one update."""

    epochs: int = 1
    chunk_size: int = 1_000_000
    batch_size: int = 4096

    @classmethod
    def of(cls, options: StreamOptions) -> tuple["_Reading", dict[str, Any]]:
        """From keywords, and those that are none of these."""
        names = [field.name for field in dataclasses.fields(cls)]
        reading = cls(**{name: options[name] for name in names if name in options})
        for name in names:
            positive(getattr(reading, name), f"fit_stream: {name}")
        return reading, {name: value for name, value in options.items() if name not in names}

    def sizes(self, count: int) -> tuple[int, int]:
        """Of a chunk, and of a batch in it; what is left over waits its turn."""
        batch = min(self.batch_size, count, self.chunk_size)
        return min(self.chunk_size, count) // batch * batch, batch


def fit_stream(
    problem: Completion | Supervised,
    inputs: Any,
    values: Any,
    structure_or_network: Structure | TensorNetwork,
    *,
    key: PRNGKeyArray,
    transformation: optax.GradientTransformation | None = None,
    limits: Limits | None = None,
    **options: Unpack[StreamOptions],
) -> FitResult:
    """Minibatch gradient steps over samples that stay on disk.

    The chunks of a pass come in random order, each shuffled, and the next one is read while the
    device works on the present one: memory holds two chunks, whatever the size of the data.

    Args:
        problem: a `Completion` or `Supervised` of a part of the data that fits into memory. It
            supplies the loss, the scale, the maps of columns and, by its `error` after each chunk,
            which network is the best (by what it holds out, if anything). A completion without
            offsets.
        inputs: memory-mapped such as `np.load(path, mmap_mode="r")`: of a completion, indices
            [entries, modes], integers; else what `Supervised` was given: columns by name, or a list
            of features [samples, ...]. The features of columns are made chunk by chunk.
        values: numbers [samples], or [samples, outputs], memory-mapped too.
        structure_or_network: a structure to start at random cores, or a network to improve.
        key: for the start and the order of the samples.
        transformation: an optax transformation; `optax.adam(3e-3)` by default.
        limits: `target_error` and `max_seconds`, in one value or as keywords; looked at after every
            chunk. See `Limits`.
        options: these limits, and `epochs`, passes over the data (1 by default), `chunk_size`,
            samples read at a time (a million), and `batch_size`, in one update (4096).

    Returns:
        a `FitResult` whose steps are chunks.

    Raises:
        ValueError: for arrays or a structure that do not fit the problem, samples that the problem
            would not take (found when their chunk is read), a completion with offsets, or a limit
            that is not positive.

    Example:
        >>> import jax, numpy as np
        >>> from tnjax import Completion, Structure, TensorNetwork, fit_stream
        >>> truth = TensorNetwork.random(Structure.rank_one((4, 5)), key=jax.random.key(1))
        >>> indices = np.argwhere(np.ones((4, 5)))
        >>> values = np.asarray(truth.entries(indices))
        >>> problem = Completion(indices[::2], values[::2], (4, 5))
        >>> result = fit_stream(
        ...     problem, indices, values, truth.structure, key=jax.random.key(0), batch_size=4
        ... )
        >>> result.steps
        1
    """
    begin = time.perf_counter()
    reading, plain_limits = _Reading.of(options)
    limits = limits_from("fit_stream", limits, plain_limits, StreamLimits)
    problem = problem.placed(None)
    try:
        arrays = problem.stream(inputs, values)
    except ValueError as error:
        raise ValueError(f"fit_stream: {error}") from error
    start_key, order_key = jax.random.split(key)
    network = _start(problem, structure_or_network, start_key)
    transformation = optax.adam(3e-3) if transformation is None else transformation
    size, batch_size = reading.sizes(len(values))
    rng = np.random.default_rng(np.asarray(jax.random.key_data(order_key)).ravel())
    optimizer = optax.with_extra_args_support(transformation)
    state = jax.jit(optimizer.init)(to_real(network))
    run = jax.jit(functools.partial(_chunk, transformation, network.structure, batch_size))
    measure = jax.jit(lambda problem, network: problem.error(network))
    best, best_error, history = network, float(measure(problem, network)), []
    status, compile_seconds = Status.RUNNING, 0.0
    chunks = _chunks(problem, arrays, values, size, reading.epochs, rng)
    waiting = next(chunks, None)
    while waiting is not None and status is Status.RUNNING:
        cores, state = run(problem, to_real(network), state, *waiting)  # returns at once
        waiting = next(chunks, None)
        network = from_real(network.structure, network.dtype)(cores)
        error = float(measure(problem, network))
        if not history:
            compile_seconds = time.perf_counter() - begin
        history.append(error)
        if error < best_error:
            best, best_error = network, error
        status = _status(error, best_error, limits, time.perf_counter() - begin)
    best = scaled(best, problem.scale)
    return FitResult(
        best,
        best_error,
        Status.MAX_STEPS if status is Status.RUNNING else status,
        len(history),
        np.asarray(history),
        time.perf_counter() - begin,
        compile_seconds,
        model=problem.model(best),
    )


def _status(error: float, best_error: float, limits: Limits, seconds: float) -> Status:
    """After a chunk."""
    if not math.isfinite(error):
        return Status.NON_FINITE
    if limits.target_error is not None and best_error <= limits.target_error:
        return Status.TARGET_REACHED
    if limits.max_seconds is not None and seconds > limits.max_seconds:
        return Status.MAX_SECONDS
    return Status.RUNNING


def _start(
    problem: Completion | Supervised, given: Structure | TensorNetwork, key
) -> TensorNetwork:
    if isinstance(given, TensorNetwork):
        check_shape(problem, given.structure)
        return scaled(given.astype(problem.dtype), 1 / problem.scale)
    check_shape(problem, given)
    return problem.prepared(TensorNetwork.random(given, key=key, dtype=problem.dtype))


def _chunks(problem: Completion | Supervised, inputs, values, size: int, epochs: int, rng):
    """Shuffled chunks of one size, checked, on the device; a pass begins at a random place."""
    count = len(values)
    for _ in range(epochs):
        first = int(rng.integers(count))
        starts = (first + size * np.arange(max(1, count // size))) % count
        for start in rng.permutation(starts):
            parts = [slice(start, min(start + size, count)), slice(0, max(0, start + size - count))]
            order = rng.permutation(size)
            read = lambda x, parts=parts, order=order: np.concatenate(
                [np.asarray(x[part]) for part in parts]
            )[order]
            try:
                yield problem.chunk(jax.tree.map(read, inputs), read(values))
            except ValueError as error:
                raise ValueError(f"fit_stream: near sample {start}: {error}") from error


def _chunk(transformation, structure, batch_size: int, problem, cores, state, inputs, values):
    """Updates over one chunk, batch by batch."""
    batches = values.shape[0] // batch_size

    def update(carry, batch):
        cores, state = carry
        piece, ids = problem.of_chunk(*batch), jnp.arange(batch_size)
        return batch_update(transformation, piece, structure, cores, state, ids), None

    reshape = lambda x: x.reshape(batches, batch_size, *x.shape[1:])
    (cores, state), _ = lax.scan(
        update, (cores, state), (jax.tree.map(reshape, inputs), reshape(values))
    )
    return cores, state
