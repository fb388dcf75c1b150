"""Where to start from: the leading vector of each mode, by pairs of observed entries."""

import dataclasses
import functools
import math
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from .._network import TensorNetwork
from .._tuned import tuned
from ._remembered import Remembered
from .coordinates import entry_keys


@dataclasses.dataclass(frozen=True)
class InformedStart:
    """Starts that the observed entries tell.

    Attributes:
        significant: a leading eigenvalue counts if it exceeds that of shuffled values by this
            factor.
        trim: values beyond this quantile of moduli are cut down to it: single large ones hide the
            rest.
        dense_dim: sizes of a mode up to which all eigenvalues are computed.
        large_mean: a mean of this share of the root mean square is worth starting from.
        noise: how much of the random numbers stays in a start that is known.
        max_core: unknowns of the small core that tells how the vectors of the modes belong
            together.
        max_rows: entries that it is fitted to.
        power_starts: starts of the power iteration for its best rank-one approximation.
        power_sweeps: sweeps of each.
        max_entries: entries that eigenvalues are computed from.
        ridge: ridge of the small core, relative to the mean of the diagonal.
    """

    significant: float = 1.3
    trim: float = 0.9
    dense_dim: int = 400
    large_mean: float = 0.3
    noise: float = 0.1
    max_core: int = 300
    max_rows: int = 50_000
    power_starts: int = 20
    power_sweeps: int = 15
    max_entries: int = 1_000_000
    ridge: float = 1e-3


INFORMED = tuned("informed_start", InformedStart())

# All starts of a fit begin with the same vectors, which take longer than a start of a small tensor.
_KNOWN: Remembered[list[np.ndarray] | None] = Remembered(4)


def informed_start(
    network: TensorNetwork,
    indices: np.ndarray,
    values: np.ndarray | None,
    weights: np.ndarray,
    *,
    size: float,
    nonnegative: bool,
) -> TensorNetwork:
    """A random start with E||T||² = 1 in the size of the data, its first term (position 0 of all
    bonds) the outer product of what is known of each mode. Rows that are nowhere observed are
    zero.

    Args:
        indices, values, weights: what is observed; without values nothing is known.
        size: root mean square that the entries of T should have.
        nonnegative: no core may have a negative entry.
    """
    structure, dims = network.structure, network.dims
    share = size ** (1 / len(network.cores))
    factor = share * math.exp(math.fsum(map(math.log, dims)) / 2 / len(network.cores))
    vectors = None
    if values is not None and not np.iscomplexobj(values):
        indices, values, weights = map(np.asarray, (indices, values, weights))
        make = lambda: _known_vectors(indices, values, weights, dims)
        vectors = _KNOWN.get((indices, values, weights), make, (INFORMED(), dims))
    cores = []
    for node, core in enumerate(network.cores):
        legs = structure.legs[node]
        core = np.asarray(np.array(core) * np.asarray(factor, core.dtype))  # of a number too
        if vectors is not None:
            first = (..., *(0,) * (core.ndim - len(legs)))
            known = functools.reduce(np.multiply.outer, [vectors[mode] for mode in legs], share)
            core[first] = INFORMED().noise * core[first] + known
        if nonnegative:
            core = np.abs(core)
        for axis, mode in enumerate(legs):
            seen = np.bincount(indices[:, mode], minlength=dims[mode]) > 0
            core = core * seen.reshape(-1, *(1,) * (core.ndim - axis - 1)).astype(core.dtype)
        cores.append(jnp.asarray(core))
    return TensorNetwork(structure, cores)


def sized_start(
    network: TensorNetwork, indices: Array, weights: Array, *, size: Any, nonnegative: bool
) -> TensorNetwork:
    """What `informed_start` does without values, in a trace; rows whose entries have no weight
    are zero too."""
    count = len(network.cores)
    factor = size ** (1 / count) * math.exp(math.fsum(map(math.log, network.dims)) / 2 / count)
    cores = []
    for node, core in enumerate(network.cores):
        core = core * jnp.asarray(factor, core.dtype)
        core = jnp.abs(core) if nonnegative else core
        for axis, mode in enumerate(network.structure.legs[node]):
            seen = jnp.zeros(network.dims[mode], bool).at[indices[:, mode]].max(weights > 0)
            core = core * seen.reshape(-1, *(1,) * (core.ndim - axis - 1)).astype(core.dtype)
        cores.append(core)
    return TensorNetwork(network.structure, cores)


def _known_vectors(indices, values, weights, dims) -> list[np.ndarray] | None:
    """A vector of each mode, or None if chance would tell as much."""
    draw = np.random.default_rng(0)
    size = max(1, int(INFORMED().max_core ** (1 / len(dims)) + 1e-9))
    found = leading_bases(indices, values, dims, size, draw)
    flat = abs(np.average(values, weights=weights)) > INFORMED().large_mean
    if not flat and all(basis is None for basis in found):
        return None
    fallback = np.ones if flat else draw.standard_normal
    bases = [fallback(n)[:, None] if b is None else b for n, b in zip(dims, found, strict=True)]
    return best_product(indices[: INFORMED().max_rows], values[: INFORMED().max_rows], bases, draw)


def leading_bases(
    indices: np.ndarray,
    values: np.ndarray,
    shape: tuple[int, ...],
    size: int,
    rng: np.random.Generator,
) -> list[np.ndarray | None]:
    r"""Estimates of the first left singular vectors of every unfolding.

    For the unfolding $A$ of the observed values (zeros elsewhere), $A A^T$ off its diagonal is an
    unbiased estimate of the same matrix of the full tensor, up to a factor: each term is a product
    of two different entries that differ in this mode alone. Where no two entries do, or the leading
    eigenvalue is no larger than chance makes it, there is no estimate.

    Returns:
        for each mode up to `size` columns of norm sqrt(dim), or None.

    Reference:
        Montanari, Sun, "Spectral algorithms for tensor completion", Comm. Pure Appl. Math. 71
        (2018).
    """
    indices, values = indices[: INFORMED().max_entries], values[: INFORMED().max_entries]
    values = trimmed(values)
    shuffled = rng.permutation(values)
    found: list[np.ndarray | None] = []
    for mode, dim in enumerate(shape):
        rows, columns = _unfolded(indices, shape, (mode,))
        basis = None
        if dim > 1 and columns.max() + 1 < len(values):
            top, vectors = _leading(rows, columns, values, dim, size)
            chance, _ = _leading(rows, columns, shuffled - shuffled.mean(), dim, 1)
            enough = top > INFORMED().significant * max(chance[0], 0)
            basis = vectors[:, enough] * np.sqrt(dim) if enough[0] else None
        found.append(basis)
    return found


def leading_vectors(
    indices: np.ndarray,
    values: np.ndarray,
    shape: tuple[int, ...],
    modes: tuple[int, ...],
    size: int,
) -> np.ndarray:
    """As `leading_bases`, of the unfolding with these modes as rows, and without asking whether
    chance would tell as much: orthonormal columns [rows, size]."""
    rows, columns = _unfolded(indices, shape, modes)
    dim = math.prod(shape[mode] for mode in modes)
    return _leading(rows, columns, trimmed(values), dim, size)[1]


def _unfolded(
    indices: np.ndarray, shape: tuple[int, ...], modes: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """The row of every entry in the unfolding with these modes as rows, and its column, counted
    among those with an entry."""
    others = [m for m in range(len(shape)) if m not in modes]
    rows, columns = (
        entry_keys(indices[:, part], [shape[m] for m in part]) for part in (list(modes), others)
    )
    return rows, np.unique(columns, return_inverse=True)[1]


def trimmed(values: np.ndarray) -> np.ndarray:
    """The values scaled to sizes of 1 at most, single large ones cut down."""
    cut = np.quantile(np.abs(values), INFORMED().trim)
    return np.clip(values, -cut, cut) / (cut or 1.0)


def best_product(
    indices: np.ndarray, values: np.ndarray, bases: list[np.ndarray], rng: np.random.Generator
) -> list[np.ndarray]:
    """The vectors in the spans of the bases whose outer product fits the values best: a small
    core by least squares, then its best rank-one approximation by power iteration."""
    rows = bases[0][indices[:, 0]]
    for mode, basis in enumerate(bases[1:], start=1):
        rows = (rows[:, :, None] * basis[indices[:, mode]][:, None]).reshape(len(rows), -1)
    gram = rows.T @ rows
    ridge = INFORMED().ridge * np.trace(gram) / len(gram) * np.eye(len(gram))
    core = np.linalg.solve(gram + ridge, rows.T @ values)
    core = core.reshape([basis.shape[1] for basis in bases])
    best, largest = None, -1.0
    for _ in range(INFORMED().power_starts):
        vectors = [rng.standard_normal(n) for n in core.shape]
        size = 0.0
        for _ in range(INFORMED().power_sweeps):
            for mode in range(core.ndim):
                rest = np.moveaxis(core, mode, -1)
                for other, vector in enumerate(vectors):
                    if other != mode:
                        rest = np.tensordot(vector, rest, 1)
                size = float(np.linalg.norm(rest))
                vectors[mode] = rest / (size or 1.0)
        if size > largest:
            best, largest = vectors, size
    assert best is not None
    return [basis @ vector for basis, vector in zip(bases, best, strict=True)]


def _leading(rows, columns, values, dim: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The largest eigenvalues of A Aᵀ without its diagonal, descending, and their vectors."""
    from scipy import sparse

    unfolded = sparse.csr_matrix((values, (rows, columns)), (dim, columns.max() + 1))
    diagonal = np.asarray(unfolded.multiply(unfolded).sum(1)).ravel()
    if dim <= INFORMED().dense_dim:
        gram = (unfolded @ unfolded.T).toarray()
        gram[np.arange(dim), np.arange(dim)] -= diagonal
        eigenvalues, vectors = np.linalg.eigh(gram)
    else:
        from scipy.sparse.linalg import LinearOperator, eigsh

        product = lambda x: unfolded @ (unfolded.T @ x.ravel()) - diagonal * x.ravel()
        # SciPy's annotations do not know its own constructor.
        operator = LinearOperator((dim, dim), matvec=product, dtype=np.float64)  # pyright: ignore
        eigenvalues, vectors = eigsh(operator, count, which="LA", v0=np.ones(dim))
    return eigenvalues[::-1][:count], vectors[:, ::-1][:, :count]
