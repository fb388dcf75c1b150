"""Contractions that cost too much to be exact, with an estimate of their error.

Nodes are absorbed one by one into a train over the bonds that are open, the boundary; its own bonds
are cut to `chi` by singular values. A grid (a PEPS) is swept row by row, which is the method of
boundary matrix product states; any other graph in an order that is found, or given.

Reference:
    Verstraete and Cirac, arXiv cond-mat/0407066; Pan, Zhou, Li, Zhang, arXiv 1912.03014.
"""

import functools
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike
from jaxtyping import Array, Integer

from .._structure import Structure
from . import kernels
from ._boundary import swept
from ._mantissa import times_power
from .equation import Equation, node_labels, sizes
from .logarithms import Network, _as_equation, as_log

Order = Sequence[int]


class Truncated(NamedTuple):
    """A number of any size, `phase * exp(log_abs)`, and by how much it may be wrong.

    Attributes:
        log_abs: real, the natural logarithm of the modulus; -inf for zero.
        phase: of modulus 1, of the dtype of the cores; 0 for zero.
        error: real, an estimate of the relative error: the larger one of the relative change from
            the value at half of `chi` and the square root of `discarded`. It is no bound: in tests
            it covers all squared norms of random grids, but only four of five entries of random
            grids where it says that they are wrong by half (their terms cancel).
        discarded: real, the accumulated discarded weight: for each cut the share of the boundary's
            squared norm that was cut off, all of them added.

    Example:
        >>> import jax
        >>> from tnjax import Structure, TensorNetwork
        >>> from tnjax.contract import truncated_inner
        >>> grid = Structure.peps((2,) * 6, (3, 2), 2)
        >>> network = TensorNetwork.random(grid, key=jax.random.key(0))
        >>> value = truncated_inner(network, network, chi=3)
        >>> float(value.phase), 0 < float(value.error) < 1
        (1.0, True)
    """

    log_abs: Array
    phase: Array
    error: Array
    discarded: Array


class Expectation(NamedTuple):
    """An expectation value.

    Attributes:
        value: scalar, of the dtype of the cores.
        error: real, an estimate of the absolute error: the change from the value at half of `chi`.

    Example:
        >>> import jax.numpy as jnp
        >>> from tnjax import Structure, TensorNetwork
        >>> from tnjax.contract import truncated_expectation
        >>> spins = TensorNetwork(Structure.rank_one((2, 2)), [jnp.ones(2), jnp.ones(2)])
        >>> found = truncated_expectation(spins, {0: jnp.eye(2), 1: jnp.eye(2)}, chi=1)
        >>> round(float(found.value), 6), round(float(found.error), 6)
        (1.0, 0.0)
    """

    value: Array
    error: Array


def truncated_contract(
    equation: str | tuple[Sequence[Sequence[int]], Sequence[int]],
    *operands: ArrayLike,
    chi: int,
    order: Order | None = None,
    precision: lax.PrecisionLike = kernels.FULL,
) -> Truncated:
    r"""Contract arrays to a number with bonds of the boundary of at most `chi`.

    A grid of n arrays with bonds D costs $O(n \chi^3 D^2 + n \chi^2 D^4)$. Exact if `chi` is as
    large as the ranks of the boundary.

    Args:
        equation: as of `contract`, with no label in its output.
        operands: arrays of one floating or complex dtype.
        chi: the largest bond of the boundary, 1 or more.
        order: in which the operands are absorbed; found by default.
        precision: of the products, as in `jax.lax.Precision`.

    Returns:
        The value with its estimated error. It traces; derivatives are those of the singular value
        decompositions inside, which do not exist where kept and other values are equal.

    Raises:
        ValueError: if labels and shapes do not fit, the output has labels, `chi` is not positive or
            the order is not a permutation.

    Example:
        >>> import jax.numpy as jnp
        >>> from tnjax.contract import truncated_contract
        >>> x = jnp.array([[1.0, 2.0], [3.0, 4.0]])
        >>> value = truncated_contract("ab,bc,ca->", x, x, x, chi=4)
        >>> round(float(value.phase * jnp.exp(value.log_abs)), 3)  # the trace of the third power
        155.0
    """
    arrays = tuple(jnp.asarray(x) for x in operands)
    planned = _as_equation(equation, [x.shape for x in arrays])
    if planned.output:
        raise ValueError(
            "truncated_contract: the output has labels; expected a number. Give each of its "
            "entries as a contraction of its own."
        )
    order = _checked(len(arrays), chi, order, "operands")
    return _truncated(planned, arrays, order, chi, precision)


def truncated_inner(
    left: Network,
    right: Network,
    *,
    chi: int,
    order: Order | None = None,
    precision: lax.PrecisionLike = kernels.FULL,
) -> Truncated:
    """The inner product <left, right>, left conjugated, of networks too large to be exact.

    Args:
        left, right: networks whose nodes carry the same legs; their bonds may differ.
        chi: the largest bond of the boundary.
        order: in which the nodes are absorbed, such as the rows of a grid one after the other;
            found by default.
        precision: of the products, as in `jax.lax.Precision`.

    Returns:
        The value with its estimated error.

    Raises:
        ValueError: if the legs, sizes or dtypes differ, `chi` is not positive or the order is not a
            permutation of the nodes.

    Example:
        >>> import jax
        >>> from tnjax import Structure, TensorNetwork
        >>> from tnjax.contract import log_norm, truncated_inner
        >>> grid = Structure.peps((2,) * 4, (2, 2), 2)
        >>> network = TensorNetwork.random(grid, key=jax.random.key(0))
        >>> value = truncated_inner(network, network, chi=64)
        >>> abs(float(value.log_abs - 2 * log_norm(network))) < 1e-4
        True
    """
    order = _checked(left.structure.num_nodes, chi, order, "nodes")
    equation, layers = _two_layers(left, right, {}, precision)
    return _truncated(equation, layers, order, chi, precision)


def truncated_entries(
    network: Network,
    indices: Integer[Array | np.ndarray, "entries modes"] | Sequence[Sequence[int]],
    *,
    chi: int,
    order: Order | None = None,
    precision: lax.PrecisionLike = kernels.FULL,
) -> Truncated:
    """Entries of a network too large for `TensorNetwork.entries`, each with its estimated error.

    Args:
        network: a `TensorNetwork`.
        indices: integers, one row per entry and one column per mode.
        chi: the largest bond of the boundary.
        order: in which the nodes are absorbed; found by default.
        precision: of the products, as in `jax.lax.Precision`.

    Returns:
        Values with their estimated errors, arrays of shape [entries].

    Raises:
        ValueError: if the indices have another number of columns, `chi` is not positive or the
            order is not a permutation of the nodes.

    Example:
        >>> import jax, numpy as np
        >>> from tnjax import Structure, TensorNetwork
        >>> from tnjax.contract import truncated_entries
        >>> grid = Structure.peps((2,) * 6, (3, 2), 2)
        >>> network = TensorNetwork.random(grid, key=jax.random.key(0))
        >>> indices = np.array([[0] * 6, [1] * 6])
        >>> found = truncated_entries(network, indices, chi=8)
        >>> np.allclose(found.phase * np.exp(found.log_abs), network.entries(indices), rtol=1e-4)
        True
    """
    structure = network.structure
    order = _checked(structure.num_nodes, chi, order, "nodes")
    indices = jnp.asarray(indices)
    if indices.ndim != 2 or indices.shape[1] != len(structure.dims):
        raise ValueError(
            f"truncated_entries: indices have the shape {list(indices.shape)}; expected "
            f"[entries, {len(structure.dims)}]."
        )
    return _truncated_entries(structure, order, chi, precision, network.cores, indices)


def truncated_expectation(
    network: Network,
    operators: Mapping[int, ArrayLike],
    *,
    chi: int,
    order: Order | None = None,
    precision: lax.PrecisionLike = kernels.FULL,
) -> Expectation:
    r"""The expectation value $\langle T|O|T\rangle / \langle T|T\rangle$ of a product of operators.

    Args:
        network: a `TensorNetwork` T.
        operators: a matrix [size, size] for each of some modes, which acts on the second T.
        chi: the largest bond of the boundary.
        order: in which the nodes are absorbed; found by default.
        precision: of the products, as in `jax.lax.Precision`.

    Returns:
        The value with its estimated error, smaller than those of the two products where their
        errors are alike.

    Raises:
        ValueError: if an operator does not fit its mode, `chi` is not positive or the order is not
            a permutation of the nodes.

    Example:
        >>> import jax.numpy as jnp, numpy as np
        >>> from tnjax import Structure, TensorNetwork
        >>> from tnjax.contract import truncated_expectation
        >>> spins = TensorNetwork(Structure.rank_one((2, 2)), [jnp.array([3.0, 1.0]), jnp.ones(2)])
        >>> z = np.array([[1.0, 0.0], [0.0, -1.0]])
        >>> round(float(truncated_expectation(spins, {0: z}, chi=1).value), 6)
        0.8
    """
    order = _checked(network.structure.num_nodes, chi, order, "nodes")
    dims = network.structure.dims
    matrices = {mode: jnp.asarray(x, network.cores[0].dtype) for mode, x in operators.items()}
    for mode, matrix in matrices.items():
        if mode not in range(len(dims)) or matrix.shape != (dims[mode],) * 2:
            raise ValueError(
                f"truncated_expectation: mode {mode} has an operator of shape "
                f"{list(matrix.shape)}, but the modes have the sizes {list(dims)}; expected a "
                "square matrix of the size of its mode."
            )
    bottom, layers = _two_layers(network, network, {}, precision)
    top, changed = _two_layers(network, network, matrices, precision)
    values = []
    for width in (chi, _half(chi)):
        above = swept(top, changed, order=order, chi=width, precision=precision)
        below = swept(bottom, layers, order=order, chi=width, precision=precision)
        ratio = above.mantissa / below.mantissa
        values.append(times_power(ratio, above.exponent - below.exponent))
    return Expectation(values[0], jnp.abs(values[0] - values[1]))


def _checked(count: int, chi: int, order: Order | None, what: str) -> tuple[int, ...] | None:
    if chi < 1:
        raise ValueError(f"chi: expected a positive integer, got {chi}.")
    if order is None:
        return None
    if sorted(order) != list(range(count)):
        raise ValueError(
            f"order: expected each of the {what} 0..{count - 1} once, got {list(order)}."
        )
    return tuple(order)


def _half(chi: int) -> int:
    return max(1, chi // 2)


def _truncated(equation: Equation, arrays: Sequence[Array], order, chi: int, precision):
    best, half = (
        swept(equation, arrays, order=order, chi=width, precision=precision)
        for width in (chi, _half(chi))
    )
    zero = best.mantissa == 0
    ratio = half.mantissa / jnp.where(zero, 1, best.mantissa)
    change = jnp.abs(1 - times_power(ratio, half.exponent - best.exponent))
    change = jnp.where(zero, jnp.where(half.mantissa == 0, 0, jnp.inf), change)
    error = jnp.maximum(change, jnp.sqrt(lax.stop_gradient(best.discarded)))
    return Truncated(*as_log(best.mantissa, best.exponent), error, best.discarded)


@functools.partial(jax.jit, static_argnums=(0, 1, 2, 3))
def _truncated_entries(structure: Structure, order, chi: int, precision, cores, indices):
    """One contraction for each entry, all at once."""
    legs = structure.legs
    inputs = [node_labels(structure, k)[len(legs[k]) :] for k in range(structure.num_nodes)]
    equation = Equation.create(inputs, (), sizes(structure))

    def entry(index: Array) -> Truncated:
        rows = [core[tuple(index[mode] for mode in legs[k])] for k, core in enumerate(cores)]
        return _truncated(equation, rows, order, chi, precision)

    return jax.vmap(entry)(indices)


def _two_layers(
    left: Network, right: Network, operators: Mapping[int, Array], precision: lax.PrecisionLike
) -> tuple[Equation, list[Array]]:
    """For each node its two cores contracted over their legs; the two bonds between the same nodes
    are one label. The operators act on the second layer."""
    a, b = left.structure, right.structure
    dtypes = left.cores[0].dtype, right.cores[0].dtype
    if a.legs != b.legs or a.dims != b.dims or dtypes[0] != dtypes[1]:
        raise ValueError(
            "A truncated inner product needs nodes with the same legs, of one size and dtype; got "
            f"{dtypes[0]} cores of {a} and {dtypes[1]} cores of {b}."
        )
    edges = sorted({*a.edges, *b.edges})
    inputs, layers = [], []
    for node, (x, y) in enumerate(zip(left.cores, right.cores, strict=True)):
        for axis, mode in enumerate(a.legs[node]):
            if mode in operators:
                y = jnp.tensordot(operators[mode], y, ((1,), (axis,)), precision=precision)
                y = jnp.moveaxis(y, 0, axis)
        own = [edge for edge in edges if node in edge]
        ranks = [s.edges.get(edge, 1) for s in (a, b) for edge in own]
        pair = kernels.layer(a, node, x, y, precision=precision).reshape(ranks)
        pairs = [axis for n in range(len(own)) for axis in (n, n + len(own))]
        layers.append(pair.transpose(pairs).reshape([a.rank(e) * b.rank(e) for e in own]))
        inputs.append(tuple(edges.index(edge) for edge in own))
    bonds = {n: a.rank(edge) * b.rank(edge) for n, edge in enumerate(edges)}
    return Equation.create(inputs, (), bonds), layers
