"""Alternating least squares over entries that stay on disk."""

import math
import time

import jax
import numpy as np
from jaxtyping import Array, PRNGKeyArray

from .. import _compile, _interrupt
from .._limits import positive
from .._network import TensorNetwork, balance
from .._status import Status
from .._structure import Structure
from ..problems import StreamedCompletion
from ._als import ALS, ALS_STEP
from ._fit import FitResult
from .limits import check_shape
from .rows import row_steps


def fit_from_disk(
    problem: StreamedCompletion,
    structure_or_network: Structure | TensorNetwork,
    *,
    key: PRNGKeyArray | None = None,
    max_steps: int = 10,
    rtol: float = 1e-2,
    target_error: float | None = None,
    max_seconds: float | None = None,
) -> FitResult:
    """Exact alternating least squares on entries that memory does not hold.

    The normal equations of a core are sums over chunks, so that a sweep is that of `ALS` on all
    entries of training at once. It reads the data once for every core, and once more for the error.

    Args:
        problem: a `StreamedCompletion`.
        structure_or_network: a structure to start at random cores, or a network to improve.
        key: `jax.random.key(seed)` for a random start.
        max_steps: sweeps at the most.
        rtol: a sweep that lowers the best error by less than this fraction is the last one.
        target_error: stop at or below it, after one sweep or more.
        max_seconds: stop after so much time, after one sweep or more.

    Returns:
        a `FitResult` whose error is that on all entries of validation (of training, where there are
        none). The network is never worse than the one given.

    Raises:
        ValueError: if the shapes differ, a key is missing, a limit is not positive, or an entry
            cannot be used.

    Example:
        >>> import jax, numpy as np, tempfile
        >>> from tnjax import StreamedCompletion, Structure, fit_from_disk
        >>> from tnjax.io import open_samples, write_samples
        >>> table = np.outer(np.linspace(1, 2, 20), np.linspace(-1, 1, 30))
        >>> indices = np.argwhere(np.ones((20, 30)))
        >>> with tempfile.TemporaryDirectory() as base:
        ...     _ = write_samples(f"{base}/x", [(indices, table.ravel())])
        ...     problem = StreamedCompletion(open_samples(f"{base}/x"), key=jax.random.key(0))
        ...     result = fit_from_disk(problem, Structure.rank_one((20, 30)), key=jax.random.key(0))
        >>> result.error < 1e-3
        True
    """
    begin = time.perf_counter()
    positive(max_steps, "fit_from_disk: max_steps")
    positive(target_error, "fit_from_disk: target_error")
    positive(max_seconds, "fit_from_disk: max_seconds")
    network = _start(problem, structure_or_network, key)
    best, best_error = _judged(problem, network)  # raises Stopped, if there is no time for it
    ridge = np.asarray(ALS().init(problem.sample, network))
    history: list[float] = []
    status = Status.MAX_STEPS
    while len(history) < max_steps:
        try:
            network = _sweep(problem, network, ridge)
            result, error = _judged(problem, network)
        except _interrupt.Stopped as stopped:
            status = stopped.status
            break
        history.append(error if math.isfinite(error) else best_error)
        if not math.isfinite(error):  # a failed factorization
            network, ridge = problem.scaled_in(best), ALS_STEP().raised * ridge
            status = Status.NON_FINITE
        else:
            enough = error < best_error * (1 - rtol)
            if error < best_error:
                best, best_error = result, error
            status = Status.MAX_STEPS if enough else Status.STAGNATED
        if target_error is not None and best_error <= target_error:
            status = Status.TARGET_REACHED
        elif max_seconds is not None and time.perf_counter() - begin > max_seconds:
            status = Status.MAX_SECONDS
        if status not in (Status.MAX_STEPS, Status.NON_FINITE):
            break
    return FitResult(
        best,
        best_error,
        status,
        len(history),
        np.asarray(history),
        time.perf_counter() - begin,
        0.0,
    )


def _start(
    problem: StreamedCompletion, given: Structure | TensorNetwork, key: PRNGKeyArray | None
) -> TensorNetwork:
    sample = problem.sample
    if isinstance(given, TensorNetwork):
        check_shape(sample, given.structure)
        return sample.feasible(problem.scaled_in(given))
    check_shape(sample, given)
    if key is None:
        raise ValueError("fit_from_disk needs `key=jax.random.key(seed)` to draw its start.")
    return sample.prepared(TensorNetwork.random(given, key=key, dtype=sample.dtype))


def _judged(problem: StreamedCompletion, network: TensorNetwork) -> tuple[TensorNetwork, float]:
    """A network in the units of the data, and its error on all entries that judge."""
    outside = problem.scaled_out(network)
    if not all(np.isfinite(np.asarray(core)).all() for core in network.cores):
        return outside, math.inf
    found = problem.errors(outside)
    part = found.get("validation", found.get("training"))
    error = None if part is None else part.error
    if error is None:
        raise ValueError(
            "fit_from_disk: the values to compare with are all zero, so that a relative error has "
            "no meaning."
        )
    return outside, error


def _sweep(problem: StreamedCompletion, network: TensorNetwork, ridge: np.ndarray) -> TensorNetwork:
    """Every core once, as a step of `ALS`."""
    for node in range(network.structure.num_nodes):
        gram, rhs = problem.normal_equations(network, node)
        core = np.asarray(network.cores[node])
        args = (gram, rhs, core.reshape(rhs.shape), ridge)
        ran = _compile.run(_rows, (problem.nonnegative,), args, work=gram.size)
        core = core + np.asarray(ran.value).reshape(core.shape)
        cores = [*network.cores[:node], core, *network.cores[node + 1 :]]
        network = TensorNetwork(network.structure, cores)
    ran = _compile.run(_balanced, (), (network.cores,), work=network.num_params)
    return TensorNetwork(network.structure, list(map(np.asarray, jax.device_get(ran.value))))


def _rows(nonnegative: bool, gram: Array, rhs: Array, x: Array, ridge: Array) -> Array:
    return row_steps(gram, rhs, x, ridge, nonnegative)


def _balanced(cores: tuple[Array, ...]) -> list[Array]:
    return list(balance(cores))
