"""Standard models on any graph of sites. Their matrices are real, so that real networks do."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from jax.typing import DTypeLike

from ._sum import SumOfProducts

Edges = Iterable[tuple[int, int]]


def heisenberg(
    edges: Edges,
    coupling: Any = 1.0,
    *,
    num_sites: int | None = None,
    spin: float = 0.5,
    dtype: DTypeLike | None = None,
) -> SumOfProducts:
    r"""The Heisenberg model $\sum_{(i, j)} J_{ij}\, S_i \cdot S_j$; a positive coupling favors
    antiparallel spins.

    Args:
        edges: pairs of sites.
        coupling: $J$, one number or one for each edge.
        num_sites: by default those that the edges name.
        spin: 1/2, 1, 3/2, ...; a site has 2 `spin` + 1 states, from the highest $S^z$ down.
        dtype: as of `SumOfProducts`.

    Returns:
        a Hermitian operator on `num_sites` sites.

    Raises:
        ValueError: for edges that are no pairs of different sites, couplings that do not fit them,
            or a spin that is no multiple of 1/2.

    Example:
        >>> import numpy as np
        >>> from tnjax.operators import heisenberg, lattice_edges
        >>> ring = heisenberg(lattice_edges(4, periodic=True))
        >>> round(float(np.linalg.eigvalsh(ring.to_dense())[0]), 6)
        -2.0
    """
    states = round(2 * spin) + 1
    if states < 2 or states != 2 * spin + 1:
        raise ValueError(f"heisenberg: spin={spin}; expected 1/2, 1, 3/2, ...")
    up = _raising(states)
    along = np.diag(np.arange(states - 1, -states, -2) / 2)
    terms = []
    pairs, couplings, count = _checked("heisenberg", edges, coupling, num_sites)
    for (i, j), strength in zip(pairs, couplings, strict=True):
        terms += [(strength / 2, {i: up, j: up.T}), (strength / 2, {i: up.T, j: up})]
        terms += [(strength, {i: along, j: along})]
    return SumOfProducts((states,) * count, terms, dtype=dtype)


def transverse_ising(
    edges: Edges,
    coupling: Any = 1.0,
    field: Any = 1.0,
    *,
    num_sites: int | None = None,
    dtype: DTypeLike | None = None,
) -> SumOfProducts:
    r"""The Ising model in a transverse field,
    $-\sum_{(i, j)} J_{ij}\, Z_i Z_j - \sum_i h_i X_i$ with Pauli matrices.

    Args:
        edges: pairs of sites.
        coupling: $J$, one number or one for each edge.
        field: $h$, one number or one for each site.
        num_sites: by default those that the edges name.
        dtype: as of `SumOfProducts`.

    Returns:
        a Hermitian operator on `num_sites` sites.

    Raises:
        ValueError: for edges that are no pairs of different sites, or couplings or fields that do
            not fit them.

    Example:
        >>> import numpy as np
        >>> from tnjax.operators import transverse_ising
        >>> model = transverse_ising([(0, 1), (1, 2)], field=0.0)
        >>> round(float(np.linalg.eigvalsh(model.to_dense())[0]), 6)  # all spins along Z
        -2.0
    """
    pairs, couplings, count = _checked("transverse_ising", edges, coupling, num_sites)
    fields = _for_each("transverse_ising: field", field, count, "sites")
    z, x = np.diag([1.0, -1.0]), np.asarray([[0.0, 1.0], [1.0, 0.0]])
    terms = [(-j, {a: z, b: z}) for (a, b), j in zip(pairs, couplings, strict=True)]
    terms += [(-h, {site: x}) for site, h in enumerate(fields)]
    return SumOfProducts((2,) * count, terms, dtype=dtype)


def j1j2(
    shape: int | Sequence[int],
    j2: Any,
    j1: Any = 1.0,
    *,
    periodic: bool = False,
    dtype: DTypeLike | None = None,
) -> SumOfProducts:
    r"""The $J_1$-$J_2$ Heisenberg model of spins 1/2: $J_1$ between nearest neighbors, $J_2$
    between second ones (across the diagonals of a square; two sites apart on a chain).

    Args:
        shape: sites of a chain, or rows and columns of a square lattice.
        j2, j1: the couplings.
        periodic: whether the edges of the lattice are joined.
        dtype: as of `SumOfProducts`.

    Returns:
        a Hermitian operator on the sites of the lattice.

    Raises:
        ValueError: for a lattice of other dimensions, or without sites.

    Example:
        >>> import numpy as np
        >>> from tnjax.operators import j1j2
        >>> pair_by_pair = j1j2(4, 0.5, periodic=False)  # Majumdar and Ghosh: two singlets
        >>> round(float(np.linalg.eigvalsh(pair_by_pair.to_dense())[0]), 6)
        -1.5
    """
    near = heisenberg(lattice_edges(shape, periodic=periodic), j1, dtype=dtype)
    far = lattice_edges(shape, periodic=periodic, second=True)
    return near + heisenberg(far, j2, num_sites=len(near.dims), dtype=dtype)


def lattice_edges(
    shape: int | Sequence[int], *, periodic: bool = False, second: bool = False
) -> list[tuple[int, int]]:
    """The edges of a chain or a square lattice; site (r, c) has the number r * columns + c.

    Args:
        shape: sites of a chain, or rows and columns.
        periodic: whether the ends are joined.
        second: second neighbors (across the diagonals of a square; two sites apart on a chain) in
            the place of nearest ones.

    Returns:
        Pairs of different sites, each once, the smaller site first.

    Raises:
        ValueError: for a lattice of other dimensions, or without sites.

    Example:
        >>> from tnjax.operators import lattice_edges
        >>> lattice_edges((2, 2)), lattice_edges((2, 2), second=True)
        ([(0, 1), (0, 2), (1, 3), (2, 3)], [(0, 3), (1, 2)])
    """
    sizes = (shape,) if isinstance(shape, int) else tuple(shape)
    if len(sizes) not in (1, 2) or any(int(n) != n or n < 1 for n in sizes):
        raise ValueError(
            f"lattice_edges: shape={shape!r}; expected a number of sites, or rows and columns."
        )
    steps = {1: [(2,)] if second else [(1,)], 2: [(1, 1), (1, -1)] if second else [(0, 1), (1, 0)]}
    found = set()
    for site in np.ndindex(*sizes):
        for step in steps[len(sizes)]:
            to = [a + b for a, b in zip(site, step, strict=True)]
            if periodic:
                to = [a % n for a, n in zip(to, sizes, strict=True)]
            if all(0 <= a < n for a, n in zip(to, sizes, strict=True)):
                pair = (int(np.ravel_multi_index(p, sizes)) for p in (site, tuple(to)))
                found.add(tuple(sorted(pair)))
    return sorted(edge for edge in found if edge[0] != edge[1])


def _raising(states: int) -> np.ndarray:
    """S+ in the basis of falling S^z."""
    spin = (states - 1) / 2
    m = spin - np.arange(1, states)  # of the state that is raised
    return np.diag(np.sqrt(spin * (spin + 1) - m * (m + 1)), 1)


def _checked(
    what: str, edges: Edges, coupling: Any, num_sites: int | None
) -> tuple[list[tuple[int, int]], Sequence[Any], int]:
    """Edges, their couplings, and the number of sites."""
    pairs = [tuple(int(site) for site in edge) for edge in edges]
    bad = [pair for pair in pairs if len(pair) != 2 or pair[0] == pair[1] or min(pair) < 0]
    if bad or not pairs:
        found = f"the edge {bad[0]}" if bad else "no edge"
        raise ValueError(f"{what}: {found}; expected pairs of different sites, from 0 on.")
    count = 1 + max(map(max, pairs))
    if num_sites is not None and num_sites < count:
        raise ValueError(f"{what}: num_sites={num_sites}, but an edge names site {count - 1}.")
    couplings = _for_each(f"{what}: coupling", coupling, len(pairs), "edges")
    return [(a, b) for a, b in pairs], couplings, count if num_sites is None else num_sites


def _for_each(what: str, value: Any, count: int, of: str) -> Sequence[Any]:
    """One number for each."""
    shape = np.shape(value)
    if shape not in ((), (count,)):
        raise ValueError(f"{what} has shape {shape}; expected one number or {count}, as {of}.")
    return [value if not shape else value[k] for k in range(count)]
