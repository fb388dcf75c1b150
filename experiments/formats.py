"""Formats of the field at a given error: TensorLy's TT, Tucker and CP, and the truncated SVD."""

import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np

TENSORLY = ("tt", "tucker", "cp")
# Parts of the error at which ranks are cut, since a format shares the error among its ranks.
_PARTS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


def stopwatch(seconds: float) -> Callable[[], bool]:
    """True once this process has used so many seconds of the processor, whoever shares it."""
    end = time.process_time() + seconds
    return lambda: time.process_time() > end


def best_svd(tensor: np.ndarray, error: float) -> dict[str, Any]:
    """The truncated SVD of an unfolding with the fewest parameters, over the unfoldings of modes
    that are neighbors in their order."""
    best: dict[str, Any] = {"params": None, "error": None, "status": "not reached"}
    for k in range(1, tensor.ndim):
        matrix = tensor.reshape(math.prod(tensor.shape[:k]), -1)
        s = _singular_values(matrix)
        tails = np.append(np.sqrt(np.cumsum(s[::-1] ** 2)[::-1]), 0.0) / np.linalg.norm(s)
        rank = int(np.flatnonzero(tails <= error)[0])
        params = rank * sum(matrix.shape)
        if best["params"] is None or params < best["params"]:
            best = {"params": params, "error": float(tails[rank])}
    return best


def tensorly(name: str, tensor: np.ndarray, error: float, seconds: float) -> dict[str, Any]:
    """TensorLy at the smallest ranks for which its result stays within the error: TT and Tucker
    ranks by truncation at one tolerance, CP's by doubling and bisection.

    Args:
        name: one of `TENSORLY`.
        tensor: of any order.
        error: relative.
        seconds: of the processor.
    """
    stop = stopwatch(seconds)
    attempt = {"tt": _tt, "tucker": _tucker, "cp": _cp}[name]
    if name == "cp":
        return _smallest_rank(attempt, tensor, error, stop)
    best: dict[str, Any] = {"params": None, "error": None, "status": "not reached"}
    for part in _PARTS:
        if stop():
            break
        found, params = attempt(tensor, _ranks(name, tensor, part * error))
        if found <= error and (best["params"] is None or params < best["params"]):
            best = {"params": params, "error": found}
    return best


def _smallest_rank(attempt, tensor: np.ndarray, error: float, stop) -> dict[str, Any]:
    best: dict[str, Any] = {"params": None, "error": None, "status": "not reached"}
    low, high = 0, None
    while not stop() and (high is None or high - low > max(1, low // 16)):
        rank = max(1, 2 * low) if high is None else (low + high) // 2
        if rank * sum(tensor.shape) > tensor.size:
            break
        found, params = attempt(tensor, rank)
        if found <= error:
            high, best = rank, {"params": params, "error": found}
        else:
            low = rank
    return best


def _ranks(name: str, tensor: np.ndarray, tolerance: float) -> list[int]:
    import tensorly as tl

    if name == "tt":
        shapes = [(math.prod(tensor.shape[:k]), -1) for k in range(1, tensor.ndim)]
        spectra = [_singular_values(tensor.reshape(shape)) for shape in shapes]
    else:
        spectra = [_singular_values(tl.unfold(tensor, k)) for k in range(tensor.ndim)]
    norm = np.linalg.norm(tensor)
    tails = [np.append(np.sqrt(np.cumsum(s[::-1] ** 2)[::-1]), 0.0) for s in spectra]
    return [max(1, int(np.flatnonzero(t <= tolerance * norm)[0])) for t in tails]


def _tt(tensor: np.ndarray, ranks: list[int]) -> tuple[float, int]:
    import tensorly as tl
    from tensorly import decomposition

    found = decomposition.tensor_train(tensor, [1, *ranks, 1])
    return _error(tl.tt_to_tensor(found), tensor), int(sum(f.size for f in found.factors))


def _tucker(tensor: np.ndarray, ranks: list[int]) -> tuple[float, int]:
    import tensorly as tl
    from tensorly import decomposition

    core, factors = decomposition.tucker(tensor, ranks, n_iter_max=20, tol=1e-5)
    params = core.size + sum(f.size for f in factors)
    return _error(tl.tucker_to_tensor((core, factors)), tensor), int(params)


def _cp(tensor: np.ndarray, rank: int) -> tuple[float, int]:
    import tensorly as tl
    from tensorly import decomposition

    found = decomposition.parafac(tensor, rank, n_iter_max=60, tol=1e-6, random_state=0)
    return _error(tl.cp_to_tensor(found), tensor), rank * sum(tensor.shape)


def _error(dense, tensor: np.ndarray) -> float:
    return float(np.linalg.norm(dense - tensor) / np.linalg.norm(tensor))


def _singular_values(matrix: np.ndarray) -> np.ndarray:
    if matrix.shape[0] > matrix.shape[1]:
        matrix = matrix.T
    return np.sqrt(np.maximum(np.linalg.eigvalsh(matrix @ matrix.T)[::-1], 0))
