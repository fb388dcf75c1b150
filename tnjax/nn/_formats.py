"""Named layouts of a weight, and sizes that factor."""

import math
from collections.abc import Mapping, Sequence

from .._formats import Ranks, _spread
from .._structure import Edge, Structure
from ._layout import Layout


def factor(size: int, count: int, *, pad: bool = False) -> tuple[int, ...]:
    """Split a size into `count` digits, as even as possible, smallest first.

    Args:
        size: of a mode.
        count: of digits.
        pad: allow a product above `size`; the smallest one whose digits differ by one at most.

    Returns:
        The digits, whose product is `size`, or above it with `pad`.

    Raises:
        ValueError: if the size has no such factors of 2 or more, or they are very uneven (the
            largest past eight times the even split), and `pad` is not set.

    Example:
        >>> from tnjax.nn import factor
        >>> factor(1536, 4), factor(30522, 3, pad=True)
        ((4, 6, 8, 8), (31, 31, 32))
    """
    if size < 1 or count < 1:
        raise ValueError(f"factor: expected positive integers, got {size} and {count}.")
    if count == 1:
        return (size,)
    exact = min(_splits(size, count, 2), key=lambda s: (s[-1] / s[0], s), default=None)
    if exact is not None and exact[-1] <= (2 if pad else 8) * size ** (1 / count):
        return exact
    low = max(2, math.floor(size ** (1 / count) + 1e-9))
    padded = next(
        digits
        for digits in ((low,) * (count - k) + (low + 1,) * k for k in range(count + 1))
        if math.prod(digits) >= size
    )
    if pad:
        return padded
    word = "x".join(map(str, padded))
    found = "has no" if exact is None else f"has, as its most even, {'x'.join(map(str, exact))} as"
    raise ValueError(
        f"factor: {size} {found} {count} factors of 2 or more. Pass `pad=True` to pad it to "
        f"{word} = {math.prod(padded)}, ask for fewer factors, or give the dims yourself."
    )


def _splits(size: int, count: int, least: int):
    """All non-decreasing splits of `size` into `count` factors of at least `least`."""
    if count == 1:
        if size >= least:
            yield (size,)
        return
    for first in range(least, int(size ** (1 / count) + 1e-9) + 1):
        if size % first == 0:
            for rest in _splits(size // first, count - 1, first):
                yield (first, *rest)


def low_rank(rows: int, columns: int, rank: int) -> Layout:
    """W = A B with `rank` columns of A.

    Args:
        rows, columns: sizes of the matrix.
        rank: of the bond.

    Returns:
        The layout of a matrix [rows, columns].

    Raises:
        ValueError: if a number is not positive.

    Example:
        >>> from tnjax.nn import low_rank
        >>> low_rank(20, 30, 4).num_params
        200
    """
    return Layout(Structure.tensor_train((rows, columns), rank), 1)


def paired(
    row_dims: Sequence[int],
    column_dims: Sequence[int],
    edges: Mapping[Edge, int] | None = None,
    *,
    rows: int = 0,
    columns: int = 0,
) -> Layout:
    """Node k carries digit k of the rows and digit k of the columns; any bonds.

    Without bonds it is a Kronecker product: the rank-one start of a search.

    Args:
        row_dims, column_dims: digits of the rows and of the columns, one of each for every node.
        edges: rank of every bond; none by default.
        rows, columns: sizes of the matrix, the products of the digits by default; a smaller
            matrix is padded.

    Returns:
        The layout of a matrix [rows, columns].

    Raises:
        ValueError: if the numbers of digits or ranks do not fit, or the digits are too small.

    Example:
        >>> from tnjax.nn import paired
        >>> paired((4, 4), (2, 2)).num_params
        16
    """
    row_dims, column_dims = tuple(row_dims), tuple(column_dims)
    if len(row_dims) != len(column_dims):
        raise ValueError(
            f"paired: one row digit and one column digit for each node, got {row_dims} and "
            f"{column_dims}. Fill up with digits of size 1."
        )
    count = len(row_dims)
    legs = tuple((k, count + k) for k in range(count))
    structure = Structure((*row_dims, *column_dims), legs, dict(edges or {}))
    return Layout(structure, count, rows, columns)


def tt_matrix(
    row_dims: Sequence[int],
    column_dims: Sequence[int],
    ranks: Ranks,
    *,
    rows: int = 0,
    columns: int = 0,
) -> Layout:
    """TT-matrix (matrix product operator): a chain of nodes with a row and a column digit each.

    Args:
        row_dims, column_dims: digits of the rows and of the columns, one of each for every node.
        ranks: of the bonds along the chain, or one for all.
        rows, columns: sizes of the matrix, the products of the digits by default; a smaller
            matrix is padded.

    Returns:
        The layout of a matrix [rows, columns].

    Raises:
        ValueError: if the numbers of digits or ranks do not fit, or the digits are too small.

    Example:
        >>> from tnjax.nn import tt_matrix
        >>> tt_matrix((4, 4), (4, 4), 3).num_params
        96

    Reference:
        Novikov, Podoprikhin, Osokin, Vetrov, arXiv 1509.06569, section 3.
    """
    bonds = [(k, k + 1) for k in range(len(row_dims) - 1)]
    ranks = _spread(ranks, len(bonds), "tt_matrix")
    edges = dict(zip(bonds, ranks, strict=True))
    return paired(row_dims, column_dims, edges, rows=rows, columns=columns)


def tr_matrix(
    row_dims: Sequence[int],
    column_dims: Sequence[int],
    ranks: Ranks,
    *,
    rows: int = 0,
    columns: int = 0,
) -> Layout:
    """A closed TT-matrix; `ranks[k]` joins node k and node k + 1, the last one closes the ring.

    Args:
        row_dims, column_dims: digits of the rows and of the columns, one of each for every node.
        ranks: of the bonds around the ring, or one for all.
        rows, columns: sizes of the matrix, the products of the digits by default; a smaller
            matrix is padded.

    Returns:
        The layout of a matrix [rows, columns].

    Raises:
        ValueError: for fewer than three nodes, if the numbers of digits or ranks do not fit, or
            the digits are too small.

    Example:
        >>> from tnjax.nn import tr_matrix
        >>> tr_matrix((2, 2, 2), (2, 2, 2), 3).num_params
        108
    """
    count = len(row_dims)
    if count < 3:
        raise ValueError(f"tr_matrix: a ring needs three or more nodes, got {count}.")
    ranks = _spread(ranks, count, "tr_matrix")
    edges = {(k, (k + 1) % count): rank for k, rank in enumerate(ranks)}
    return paired(row_dims, column_dims, edges, rows=rows, columns=columns)


def tucker_matrix(
    row_dims: Sequence[int],
    column_dims: Sequence[int],
    ranks: Ranks,
    *,
    rows: int = 0,
    columns: int = 0,
) -> Layout:
    """Tucker: one factor for each node of a row and a column digit, around a core tensor.

    Args:
        row_dims, column_dims: digits of the rows and of the columns, one of each for every node.
        ranks: of the bonds to the core tensor, or one for all.
        rows, columns: sizes of the matrix, the products of the digits by default; a smaller
            matrix is padded.

    Returns:
        The layout of a matrix [rows, columns].

    Raises:
        ValueError: if the numbers of digits or ranks do not fit, or the digits are too small.

    Example:
        >>> from tnjax.nn import tucker_matrix
        >>> tucker_matrix((4, 4), (4, 4), 3).num_params
        105
    """
    center = len(row_dims)
    ranks = _spread(ranks, center, "tucker_matrix")
    base = paired(row_dims, column_dims)
    structure = Structure(
        base.structure.dims,
        (*base.structure.legs, ()),
        {(k, center): rank for k, rank in enumerate(ranks)},
    )
    return Layout(structure, center, rows, columns)


def block_tensor_train(
    row_dims: tuple[int, int],
    column_dims: tuple[int, int],
    rank: int,
    *,
    rows: int = 0,
    columns: int = 0,
) -> Layout:
    r"""Block Tensor-Train of two cores: a matrix of low-rank blocks.

    $$W_{(\alpha\beta),(\gamma\delta)} = \sum_{\sigma \le r}
      L_{\alpha\gamma\beta\sigma} R_{\beta\delta\gamma\sigma}$$

    Both cores carry the digits beta and gamma (two copy nodes), so that each costs
    `rank` x three digits, and a product with a vector about as many operations as parameters.

    Args:
        row_dims: digits alpha, beta of the rows.
        column_dims: digits gamma, delta of the columns.
        rank: of the blocks.
        rows, columns: sizes of the matrix, the products of the digits by default; a smaller
            matrix is padded.

    Returns:
        The layout of a matrix [rows, columns].

    Raises:
        ValueError: if a number is not positive, or the digits are too small.

    Example:
        >>> from tnjax.nn import block_tensor_train
        >>> block_tensor_train((4, 8), (4, 8), 1).num_params
        384

    Reference:
        Qiu, Potapczynski, Finzi, Goldblum, Wilson, arXiv 2406.06248, section 3.
    """
    # Node 0 = L with row digit 0, node 1 = R with column digit 1; nodes 2 and 3 copy.
    edges = {(0, 1): rank, (0, 1, 2): row_dims[1], (0, 1, 3): column_dims[0]}
    dims = (*row_dims, *column_dims)
    structure = Structure(dims, ((0,), (3,), (1,), (2,)), edges)
    places = ((2, (0, 1, 2)), (3, (0, 1, 3)))
    copies = tuple(node for node, edge in places if edge in structure.edges)
    return Layout(structure, 2, rows, columns, copies)


def monarch(rows: int, columns: int, blocks: int, *, pad: bool = False) -> Layout:
    """Monarch: two block-diagonal factors with a permutation between, a Block Tensor-Train of
    rank 1.

    Args:
        rows, columns: sizes of the matrix.
        blocks: of the first factor.
        pad: allow sizes that are not multiples of `blocks`.

    Returns:
        The layout of a matrix [rows, columns].

    Raises:
        ValueError: if `blocks` does not divide rows and columns and `pad` is not set.

    Example:
        >>> from tnjax.nn import monarch
        >>> monarch(64, 64, 8).num_params
        1024

    Reference:
        Dao et al., arXiv 2204.00595, section 3.
    """
    if not pad and (rows % blocks or columns % blocks):
        raise ValueError(
            f"monarch: {blocks} blocks do not divide {rows} rows and {columns} columns. Pass "
            "`pad=True`, or another number of blocks."
        )
    return block_tensor_train(
        (-(-rows // blocks), blocks),
        (blocks, -(-columns // blocks)),
        1,
        rows=rows,
        columns=columns,
    )
