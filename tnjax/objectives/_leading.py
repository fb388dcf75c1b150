"""Where to start from: the leading vector of each mode, by pairs of observed entries."""

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import LinearOperator, eigsh

# A leading eigenvalue counts if it exceeds that of shuffled values by this factor.
_SIGNIFICANT = 1.3
# Values beyond this quantile of moduli are cut down to it: single large ones hide the rest.
_TRIM = 0.9
_DENSE_DIM = 400
_MAX_ENTRIES = 1_000_000


def leading_vectors(
    indices: np.ndarray, values: np.ndarray, shape: tuple[int, ...], rng: np.random.Generator
) -> list[np.ndarray | None]:
    r"""An estimate of the first left singular vector of every unfolding.

    For the unfolding $A$ of the observed values (zeros elsewhere), $A A^T$ off its diagonal is an
    unbiased estimate of that of the full tensor, up to a factor: each term is a product of two
    different entries that differ in this mode alone. Where no two entries do, or the leading
    eigenvalue is no larger than chance makes it, there is no estimate.

    Returns:
        for each mode a vector of norm sqrt(dim), or None.

    Reference:
        Montanari, Sun, "Spectral algorithms for tensor completion", Comm. Pure Appl. Math. 71
        (2018).
    """
    indices, values = indices[:_MAX_ENTRIES], values[:_MAX_ENTRIES]
    cut = np.quantile(np.abs(values), _TRIM)
    values = np.clip(values, -cut, cut) / (cut or 1.0)
    shuffled = rng.permutation(values)
    found: list[np.ndarray | None] = []
    for mode, dim in enumerate(shape):
        others = [m for m in range(len(shape)) if m != mode]
        columns = _numbered(indices[:, others], [shape[m] for m in others])
        vector = None
        if dim > 1 and columns.max() + 1 < len(values):
            top, vector = _leading(indices[:, mode], columns, values, dim)
            chance, _ = _leading(indices[:, mode], columns, shuffled - shuffled.mean(), dim)
            vector = vector * np.sqrt(dim) if top > _SIGNIFICANT * max(chance, 0) else None
        found.append(vector)
    return found


def _numbered(indices: np.ndarray, dims: list[int]) -> np.ndarray:
    """Equal rows get equal numbers, counted from 0."""
    key = np.zeros(len(indices), np.int64)
    seen = 1
    for mode, dim in enumerate(dims):
        if seen * dim >= 2**62:
            key = np.unique(key, return_inverse=True)[1].ravel()
            seen = len(key)
        key, seen = key * dim + indices[:, mode], seen * dim
    return np.unique(key, return_inverse=True)[1].ravel()


def _leading(rows, columns, values, dim: int) -> tuple[float, np.ndarray]:
    """The largest eigenvalue of A Aᵀ without its diagonal, and its vector."""
    unfolded = sparse.csr_matrix((values, (rows, columns)), (dim, columns.max() + 1))
    diagonal = np.asarray(unfolded.multiply(unfolded).sum(1)).ravel()
    if dim <= _DENSE_DIM:
        gram = (unfolded @ unfolded.T).toarray()
        gram[np.arange(dim), np.arange(dim)] -= diagonal
        eigenvalues, vectors = np.linalg.eigh(gram)
        return float(eigenvalues[-1]), vectors[:, -1]
    product = lambda x: unfolded @ (unfolded.T @ x.ravel()) - diagonal * x.ravel()
    # SciPy's annotations do not know its own constructor.
    operator = LinearOperator((dim, dim), matvec=product, dtype=np.float64)  # pyright: ignore
    eigenvalues, vectors = eigsh(operator, 1, which="LA", v0=np.ones(dim))
    return float(eigenvalues[0]), vectors[:, 0]
