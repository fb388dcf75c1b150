"""Contractions on a logarithmic scale: `contract`, and the norms and inner products of networks of
any size."""

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike
from jaxtyping import Array, Inexact, Int, Real

from .._structure import Structure
from . import kernels, sliced
from ._mantissa import times_power
from .equation import Equation, inner_equation, node_labels
from .scaled import Scaled
from .schedule import SCHEDULES


class LogInner(NamedTuple):
    """A number as its phase and the logarithm of its modulus: `phase * exp(log_abs)`.

    Attributes:
        log_abs: real scalar, natural logarithm; -inf for zero.
        phase: scalar of modulus 1, of the dtype of the cores (1 or -1 where they are real); 0 for
            zero.

    Example:
        >>> import jax.numpy as jnp
        >>> from tnjax import Structure, TensorNetwork
        >>> from tnjax.contract import log_inner
        >>> point = TensorNetwork(Structure.rank_one((2,)), [jnp.array([3.0, 4.0])])
        >>> value = log_inner(point, -point)
        >>> float(value.phase), round(float(jnp.exp(value.log_abs)), 3)
        (-1.0, 25.0)
    """

    log_abs: Array
    phase: Array


@runtime_checkable
class Network(Protocol):
    """What has a structure and cores, as a `TensorNetwork` has.

    Example:
        >>> import jax.numpy as jnp
        >>> from tnjax import Structure, TensorNetwork
        >>> from tnjax.contract import Network
        >>> isinstance(TensorNetwork(Structure.rank_one((2,)), [jnp.ones(2)]), Network)
        True
    """

    structure: Structure
    cores: tuple[Any, ...]


def contract(
    equation: str | tuple[Sequence[Sequence[int]], Sequence[int]],
    *operands: ArrayLike,
    log: bool = False,
    memory_limit: int | None = None,
    precision: lax.PrecisionLike = kernels.FULL,
) -> Inexact[Array, "..."] | Scaled:
    """Contract any number of arrays, from two to thousands, along a planned path.

    Chains of equal steps are compiled as one loop and equal steps as one batch, so that the time to
    compile hardly depends on the number of operands, and equal shapes pay.

    Args:
        equation: einsum letters, "ab,bc->ac", or for more labels than there are letters the
            integer labels of all operands and those of the output, `([(0, 1), (1, 2)], (0, 2))`.
        operands: arrays of one floating or complex dtype of single or double precision.
        log: give the mantissa and the logarithm of the scale, which neither overflow nor underflow.
        memory_limit: bytes that operands, result and all between may have alive at the worst
            moment. What would need more is contracted in slices, one after the other, which takes
            more products and gives the same value; derivatives make each slice anew.
        precision: of the products, as in `jax.lax.Precision`.

    Returns:
        The contracted array; with `log` a `Scaled`, whose mantissa carries the derivatives.

    Raises:
        ValueError: if labels and shapes do not fit, dtypes differ, or an operand has a label twice.
        MemoryLimitError: (a `ValueError`) if slices do not fit into the limit either.

    Example:
        >>> import jax.numpy as jnp
        >>> from tnjax.contract import contract
        >>> x = jnp.array([[1.0, 2.0], [3.0, 4.0]])
        >>> contract("ab,bc->ac", x, x).tolist()
        [[7.0, 10.0], [15.0, 22.0]]
        >>> chain = [x / 1e20] * 1000  # the trace of a product of a thousand matrices
        >>> labels = [(n, (n + 1) % 1000) for n in range(1000)]
        >>> value = contract((labels, ()), *chain, log=True)
        >>> round(float(value.log_scale + jnp.log(value.mantissa)))
        -44370
        >>> wide = jnp.ones((64, 64, 64))  # a product of two has 2^24 entries, 64 MiB
        >>> float(contract("abc,ade,bdf,cef->", wide, wide, wide, wide, memory_limit=2**25))
        68719476736.0
    """
    planned, arrays = as_equation(equation, operands)
    if not log and len(arrays) <= SCHEDULES().few:
        if memory_limit is None:
            return kernels.contract(planned, arrays, precision=precision)
        return sliced.contract_jit(planned, arrays, limit=memory_limit, precision=precision)
    mantissa, exponent = sliced.evaluate_jit(
        planned, arrays, limit=memory_limit, precision=precision
    )
    if not log:
        return times_power(mantissa, exponent)
    return Scaled(mantissa, log_scale(mantissa, exponent))


_DTYPES = ("float32", "float64", "complex64", "complex128")


def log_norm(
    network: Network,
    *,
    memory_limit: int | None = None,
    precision: lax.PrecisionLike = kernels.FULL,
) -> Real[Array, ""]:
    r"""The natural logarithm of the Frobenius norm, for networks of any size and scale.

    Trees cost $O(n d r^{k+1})$ for n nodes of k bonds; the programs of chains of equal cores do not
    depend on n.

    Args:
        network: a `TensorNetwork`.
        memory_limit: bytes, as of `contract`.
        precision: of the products, as in `jax.lax.Precision`.

    Returns:
        A real scalar: -inf for a network of zeros, where the gradient is taken as zero.

    Example:
        >>> import jax
        >>> from tnjax import Structure, TensorNetwork
        >>> from tnjax.contract import log_norm
        >>> train = Structure.tensor_train((2,) * 1000, 3)
        >>> network = TensorNetwork.random(train, key=jax.random.key(0))
        >>> tiny = jax.tree.map(lambda core: core * 1e-10, network)
        >>> round(float(log_norm(tiny) - log_norm(network)))
        -23026
    """
    mantissa, exponent = squared_norm(
        network.structure, network.cores, limit=memory_limit, precision=precision
    )
    return log_of_norm(mantissa, exponent)


def log_of_norm(square: Array, exponent: Int[Array, ""]) -> Real[Array, ""]:
    """The logarithm of a norm, from its square as a mantissa and a power of two."""
    return _safe_log(square.real) / 2 + log_scale(square, exponent) / 2


def log_inner(
    left: Network,
    right: Network,
    *,
    memory_limit: int | None = None,
    precision: lax.PrecisionLike = kernels.FULL,
) -> LogInner:
    """The inner product <left, right>, left conjugated, as a logarithm and a phase.

    Args:
        left, right: networks of tensors of one shape; their structures may differ.
        memory_limit: bytes, as of `contract`.
        precision: of the products, as in `jax.lax.Precision`.

    Returns:
        The logarithm of the modulus, and the phase. Where the product is zero, gradients are taken
        as zero.

    Raises:
        ValueError: if the shapes or the dtypes of the tensors differ.

    Example:
        >>> import jax
        >>> from tnjax import Structure, TensorNetwork
        >>> from tnjax.contract import log_inner, log_norm
        >>> train = Structure.tensor_train((2,) * 100, 3)
        >>> network = TensorNetwork.random(train, key=jax.random.key(0))
        >>> abs(float(log_inner(network, network).log_abs - 2 * log_norm(network))) < 1e-3
        True
    """
    return as_log(*inner_product(left, right, limit=memory_limit, precision=precision))


def as_log(mantissa: Array, exponent: Int[Array, ""]) -> LogInner:
    """A number given as a mantissa, not far from 1 or zero, and a power of two."""
    square = (mantissa * mantissa.conj()).real
    root = jnp.sqrt(jnp.where(square > 0, square, 1)).astype(mantissa.dtype)
    phase = jnp.where(square > 0, mantissa / root, 0)
    return LogInner(_safe_log(square) / 2 + log_scale(mantissa, exponent), phase)


def norm(
    structure: Structure, cores: tuple[Array, ...], *, precision: lax.PrecisionLike = kernels.FULL
) -> Real[Array, ""]:
    """The Frobenius norm: inf or 0 only where it is out of range itself. Where it is zero, its
    gradient is taken as zero.

    Args:
        structure: with its ranks.
        cores: arrays of shapes `structure.core_shape`.
        precision: of the products, as in `jax.lax.Precision`.

    Returns:
        A real scalar.

    Example:
        >>> import jax
        >>> from tnjax import Structure, TensorNetwork
        >>> from tnjax.contract import norm
        >>> point = TensorNetwork(Structure.rank_one((2,)), [jax.numpy.array([3e30, 4e30])])
        >>> float(norm(point.structure, point.cores)) > 4.9e30
        True
    """
    square, exponent = squared_norm(structure, cores, precision=precision)
    odd = exponent % 2
    square = times_power(square, odd)
    positive = square > 0
    root = jnp.where(positive, jnp.sqrt(jnp.where(positive, square, 1)), 0)
    return times_power(root, (exponent - odd) // 2)


def squared_norm(
    structure: Structure,
    cores: Sequence[Array],
    *,
    limit: int | None = None,
    precision: lax.PrecisionLike = kernels.FULL,
) -> tuple[Real[Array, ""], Int[Array, ""]]:
    """The squared norm as a mantissa and a power of two."""
    mantissa, exponent = _squared_norm_jit(structure, tuple(cores), limit, precision)
    return mantissa.real, exponent


@functools.partial(jax.jit, static_argnums=(0, 2, 3))
def _squared_norm_jit(structure: Structure, cores, limit, precision) -> tuple[Array, Array]:
    nodes = range(structure.num_nodes)
    uses = (*((k, True) for k in nodes), *((k, False) for k in nodes))
    groups = tuple((k, k + structure.num_nodes) for k in nodes)
    equation = inner_equation(structure)
    return sliced.evaluate(
        equation, cores, uses=uses, groups=groups, limit=limit, precision=precision
    )


def inner_product(
    left: Network,
    right: Network,
    *,
    limit: int | None = None,
    precision: lax.PrecisionLike = kernels.FULL,
) -> tuple[Array, Int[Array, ""]]:
    """The inner product, left conjugated, as a mantissa and a power of two."""
    dims = left.structure.dims, right.structure.dims
    dtypes = left.cores[0].dtype, right.cores[0].dtype
    if dims[0] != dims[1] or dtypes[0] != dtypes[1]:
        raise ValueError(
            f"An inner product needs tensors of one shape and dtype, got {dtypes[0]} of shape "
            f"{list(dims[0])} and {dtypes[1]} of shape {list(dims[1])}."
        )
    arrays = (tuple(left.cores), tuple(right.cores))
    return _inner_product_jit(left.structure, right.structure, arrays, limit, precision)


@functools.partial(jax.jit, static_argnums=(0, 1, 3, 4))
def _inner_product_jit(left: Structure, right: Structure, cores, limit, precision):
    count = left.num_nodes
    uses = tuple((k, k < count) for k in range(count + right.num_nodes))
    groups = None
    if left.legs == right.legs:
        groups = tuple((k, k + count) for k in range(count))
    equation = two_layers(left, right)
    arrays = (*cores[0], *cores[1])
    return sliced.evaluate(
        equation, arrays, uses=uses, groups=groups, limit=limit, precision=precision
    )


def two_layers(left: Structure, right: Structure) -> Equation:
    """The inner product of two networks: they share the labels of their modes."""
    shift = len(left.edges)
    modes = len(left.dims)
    inputs = [node_labels(left, k) for k in range(left.num_nodes)]
    for k in range(right.num_nodes):
        labels = node_labels(right, k)
        inputs.append(tuple(x if x < modes else x + shift for x in labels))
    bonds = (*left.edges.values(), *right.edges.values())
    sizes = dict(enumerate((*left.dims, *bonds)))
    return Equation.create(inputs, (), sizes)


def log_scale(mantissa: Array, exponent: Int[Array, ""]) -> Real[Array, ""]:
    """The natural logarithm of a power of two; 0 for a tensor of zeros."""
    real = mantissa.real.dtype
    zero = jnp.all(lax.stop_gradient(mantissa) == 0)
    return jnp.where(zero, 0, exponent).astype(real) * jnp.asarray(np.log(2), real)


def _safe_log(x: Array) -> Array:
    """The logarithm, and -inf with a gradient of zero where there is none."""
    positive = x > 0
    return jnp.where(positive, jnp.log(jnp.where(positive, x, 1)), -jnp.inf)


def as_equation(equation: Any, operands: Sequence[ArrayLike]) -> tuple[Equation, list[Array]]:
    """What `contract` takes, checked."""
    arrays = [jnp.asarray(x) for x in operands]
    planned = _as_equation(equation, [x.shape for x in arrays])
    dtypes = {x.dtype for x in arrays}
    if len(dtypes) != 1 or min(dtypes, key=str).name not in _DTYPES:
        raise ValueError(
            f"contract: operands have the dtypes {sorted(map(str, dtypes))}; expected one of "
            f"{', '.join(_DTYPES)}. Convert them first, e.g. with `astype`."
        )
    return planned, arrays


def _as_equation(equation: Any, shapes: list[tuple[int, ...]]) -> Equation:
    if isinstance(equation, str):
        words, arrow, output = equation.replace(" ", "").partition("->")
        inputs: Any = [tuple(map(ord, word)) for word in words.split(",")]
        if not arrow:
            raise ValueError(f'contract: {equation!r} has no "->"; name the output.')
        output = tuple(map(ord, output))
    else:
        inputs, output = [tuple(labels) for labels in equation[0]], tuple(equation[1])
    if len(inputs) != len(shapes) or not shapes:
        raise ValueError(
            f"contract: the equation has {len(inputs)} operands, but {len(shapes)} are given; "
            "expected one or more, and one for each."
        )
    sizes: dict[int, int] = {}
    for n, (labels, shape) in enumerate(zip(inputs, shapes, strict=True)):
        if len(labels) != len(shape) or len(set(labels)) != len(labels):
            raise ValueError(
                f"contract: operand {n} has the shape {list(shape)} and the labels "
                f"{_shown(labels, equation)}; expected one label for each axis, none of them twice "
                "(take a diagonal first)."
            )
        for label, size in zip(labels, shape, strict=True):
            if sizes.setdefault(label, size) != size:
                raise ValueError(
                    f"contract: operand {n} has {size} entries along {_shown((label,), equation)}, "
                    f"another one {sizes[label]}."
                )
    if len(set(output)) != len(output) or not set(output) <= set(sizes):
        raise ValueError(
            f"contract: the output {_shown(output, equation)} may name each label of the operands "
            "once."
        )
    return Equation.create(inputs, output, sizes)


def _shown(labels: Sequence[int], equation: Any) -> str:
    return repr("".join(map(chr, labels)) if isinstance(equation, str) else list(labels))
