"""Contractions of arrays. Plain functions: they trace under any transformation.

`precision` goes to every `dot_general`; the default asks for full precision everywhere, so that
tf32 and bfloat16 products are an explicit choice of the caller.
"""

import dataclasses
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import DTypeLike
from jaxtyping import Array, Inexact, Integer

from .._lean import conj, reshape
from .._structure import Structure
from .._tuned import tuned
from .equation import (
    Equation,
    dense_equation,
    entries_equation,
    environment_equation,
    gram_equation,
    inner_equation,
    jacobian_equation,
    layered_gram_equation,
    layers_equation,
    rows_equation,
)
from .path import Plan, plan

Cores = tuple[Array, ...]
FULL = lax.Precision.HIGHEST


@dataclasses.dataclass(frozen=True)
class Kernels:
    """Last products of a contraction.

    Attributes:
        large: entries from which on a last product is written in its final order at once:
            transposing it takes longer than the product ...
        terms: ... if it sums over at most so many terms.
    """

    large: int = 2**18
    terms: int = 8


KERNELS = tuned("kernels", Kernels(), traced=True)


def contract(
    equation: Equation,
    operands: Iterable[Any],
    *,
    precision: lax.PrecisionLike = FULL,
    dtype: DTypeLike | None = None,
    recipe: Plan | None = None,
) -> Array:
    """Evaluate an equation along its planned path, or by a plan that is given; without operands it
    is 1, of `dtype`."""
    recipe = plan(equation) if recipe is None else recipe
    work = list(operands)
    if not work:
        return jnp.ones((), dtype)
    turned = recipe.final_permutation != tuple(range(len(recipe.final_permutation)))
    for n, step in enumerate(recipe.steps, 1):
        right, left = (work.pop(position) for position in reversed(step.positions))
        if step.swapped:
            left, right = right, left
        if step.sum_left:
            left = left.sum(step.sum_left)
        if step.sum_right:
            right = right.sum(step.sum_right)
        last = n == len(recipe.steps) and not recipe.final_sum
        if last and turned and _is_thin(left, right, step.contract, step.batch):
            return _thin_product(left, right, step.contract, recipe.final_permutation)
        work.append(lax.dot_general(left, right, (step.contract, step.batch), precision=precision))
    (out,) = work
    if recipe.final_sum:
        out = out.sum(recipe.final_sum)
    return lax.transpose(out, recipe.final_permutation) if turned else out


def _is_thin(left: Array, right: Array, contract, batch) -> bool:
    """Whether a product is large and over so few terms that writing it, and then once more in
    another order, takes longer than multiplying."""
    terms = math.prod(left.shape[axis] for axis in contract[0])
    large = left.size * right.size >= KERNELS().large * terms**2
    return not batch[0] and len(contract[0]) > 0 and terms <= KERNELS().terms and large


def _thin_product(left: Array, right: Array, contract, permutation) -> Array:
    """The product with its axes permuted, as a sum of broadcast terms, which the compiler writes at
    once and where they belong."""
    parts = []
    for x, axes in zip((left, right), contract, strict=True):
        rest = [axis for axis in range(x.ndim) if axis not in axes]
        parts.append(lax.transpose(x, (*axes, *rest)).reshape(-1, *(x.shape[a] for a in rest)))
    first, second = parts
    free = first.ndim - 1
    shape = (*first.shape[1:], *second.shape[1:])
    shape = tuple(shape[axis] for axis in permutation)
    where = {axis: place for place, axis in enumerate(permutation)}
    out = None
    for a, b in zip(first, second, strict=True):
        # Broadcasting wants axes in ascending order of their places.
        x = _placed(a, [where[axis] for axis in range(free)], shape)
        y = _placed(b, [where[free + axis] for axis in range(b.ndim)], shape)
        out = x * y if out is None else out + x * y
    assert out is not None
    return out


def _placed(x: Array, places: list[int], shape: tuple[int, ...]) -> Array:
    order = sorted(range(x.ndim), key=places.__getitem__)
    return lax.broadcast_in_dim(lax.transpose(x, order), shape, [places[axis] for axis in order])


def dense(
    structure: Structure, cores: Cores, *, precision: lax.PrecisionLike = FULL
) -> Inexact[Array, "..."]:
    """The represented tensor, shape `structure.dims`.

    Args:
        structure: with its ranks.
        cores: arrays of shapes `structure.core_shape`.
        precision: of the products, as in `jax.lax.Precision`.

    Returns:
        An array of shape `structure.dims`.

    Example:
        >>> import jax
        >>> from tnjax import Structure, TensorNetwork
        >>> from tnjax.contract import dense
        >>> train = Structure.tensor_train((4, 5, 6), 2)
        >>> cores = TensorNetwork.random(train, key=jax.random.key(0)).cores
        >>> dense(train, cores).shape
        (4, 5, 6)
    """
    return contract(dense_equation(structure), cores, precision=precision)


def entries(
    structure: Structure,
    cores: Cores,
    indices: Integer[Array, "entries modes"],
    *,
    precision: lax.PrecisionLike = FULL,
) -> Inexact[Array, " entries"]:
    """The represented tensor at `indices`: one gathered row per core, never a dense tensor.

    Args:
        structure: with its ranks.
        cores: arrays of shapes `structure.core_shape`.
        indices: integers [entries, modes], not checked.
        precision: of the products, as in `jax.lax.Precision`.

    Returns:
        An array of shape [entries].

    Example:
        >>> import jax
        >>> from tnjax import Structure, TensorNetwork
        >>> from tnjax.contract import entries
        >>> train = Structure.tensor_train((4, 5, 6), 2)
        >>> cores = TensorNetwork.random(train, key=jax.random.key(0)).cores
        >>> entries(train, cores, jax.numpy.array([[0, 0, 0], [3, 4, 5]])).shape
        (2,)
    """
    rows = [gather(structure, cores, node, indices) for node in range(structure.num_nodes)]
    equation = entries_equation(structure, indices.shape[0])
    if all(not legs for legs in structure.legs):
        return jnp.broadcast_to(dense(structure, cores, precision=precision), indices.shape[:1])
    return contract(equation, rows, precision=precision)


def gather(structure: Structure, cores: Cores, node: int, indices: Array) -> Array:
    """The rows of a core that entries use, [entries, *bonds]; an internal core as it is."""
    legs = structure.legs[node]
    return cores[node][tuple(indices[:, mode] for mode in legs)] if legs else cores[node]


def entry_rows(
    structure: Structure,
    cores: Cores,
    node: int,
    indices: Integer[Array, "entries modes"],
    *,
    precision: lax.PrecisionLike = FULL,
) -> Inexact[Array, "entries bonds"]:
    """d(entry) / d(row of the core of `node`) for each entry: the other cores' rows, contracted."""
    equation = rows_equation(structure, node, indices.shape[0])
    rest = [gather(structure, cores, k, indices) for k in range(structure.num_nodes) if k != node]
    out = contract(equation, rest, precision=precision, dtype=cores[node].dtype)
    bonds = math.prod(structure.core_shape(node)[len(structure.legs[node]) :])
    carried = any(structure.legs[k] for k in range(structure.num_nodes) if k != node)
    return jnp.broadcast_to(out.reshape(-1 if carried else 1, bonds), (indices.shape[0], bonds))


def inner(
    structure: Structure, left: Cores, right: Cores, *, precision: lax.PrecisionLike = FULL
) -> Array:
    """The inner product <left, right> (left conjugated) of two networks of one structure.

    Args:
        structure: of both.
        left, right: cores of shapes `structure.core_shape`.
        precision: of the products, as in `jax.lax.Precision`.

    Returns:
        A scalar, an array of shape [].

    Example:
        >>> import jax
        >>> from tnjax import Structure, TensorNetwork
        >>> from tnjax.contract import inner
        >>> train = Structure.tensor_train((4, 5, 6), 2)
        >>> cores = TensorNetwork.random(train, key=jax.random.key(0)).cores
        >>> float(inner(train, cores, cores)) > 0  # the square of the norm
        True
    """
    operands = (*map(conj, left), *right)
    return contract(inner_equation(structure), operands, precision=precision)


def environment(
    structure: Structure,
    cores: Cores,
    nodes: tuple[int, ...],
    tensor: Array,
    *,
    given: tuple[int, ...] | None = None,
    precision: lax.PrecisionLike = FULL,
) -> Array:
    """`tensor` contracted with the conjugated cores of all nodes but `nodes`.

    For one node this is the right-hand side of its normal equations, in the shape of its core;
    for a pair its leading singular vectors are the best first slices of a new bond.

    Args:
        structure: with its ranks.
        cores: arrays of shapes `structure.core_shape`.
        nodes: whose cores are left out.
        tensor: of shape `structure.dims`.
        given: nodes, `nodes` among them, whose environment `tensor` is already.
        precision: of the products, as in `jax.lax.Precision`.

    Returns:
        The legs and outer bonds of `nodes`, node by node in their order.

    Example:
        >>> import jax
        >>> from tnjax import Structure, TensorNetwork
        >>> from tnjax.contract import environment
        >>> train = Structure.tensor_train((4, 5, 6), 2)
        >>> cores = TensorNetwork.random(train, key=jax.random.key(0)).cores
        >>> environment(train, cores, (1,), jax.numpy.ones((4, 5, 6))).shape == cores[1].shape
        True
    """
    whole = range(structure.num_nodes) if given is None else given
    rest = [conj(cores[k]) for k in whole if k not in nodes]
    equation = environment_equation(structure, nodes, given)
    return contract(equation, (tensor, *rest), precision=precision)


def gram(
    structure: Structure,
    cores: Cores,
    nodes: tuple[int, ...],
    *,
    precision: lax.PrecisionLike = FULL,
) -> Inexact[Array, "bonds bonds"]:
    """Gram matrix of the other cores over the open bonds of `nodes` (first axis conjugated).

    Args:
        structure: with its ranks.
        cores: arrays of shapes `structure.core_shape`.
        nodes: whose cores are left out.
        precision: of the products, as in `jax.lax.Precision`.

    Returns:
        A Hermitian matrix [bonds, bonds].

    Example:
        >>> import jax
        >>> from tnjax import Structure, TensorNetwork
        >>> from tnjax.contract import gram
        >>> train = Structure.tensor_train((4, 5, 6), 2)
        >>> cores = TensorNetwork.random(train, key=jax.random.key(0)).cores
        >>> gram(train, cores, (1,)).shape
        (4, 4)
    """
    rest = [core for k, core in enumerate(cores) if k not in nodes]
    operands = (*map(conj, rest), *rest)
    out = contract(
        gram_equation(structure, nodes), operands, precision=precision, dtype=cores[0].dtype
    )
    size = math.isqrt(out.size)
    return reshape(out, (size, size))


def layers(
    structure: Structure, left: Cores, right: Cores, *, precision: lax.PrecisionLike = FULL
) -> Cores:
    """For each node its two cores (left conjugated) contracted over their legs, [bonds, bonds]."""
    pairs = enumerate(zip(left, right, strict=True))
    return tuple(layer(structure, node, *pair, precision=precision) for node, pair in pairs)


def layer(
    structure: Structure,
    node: int,
    left: Array,
    right: Array,
    *,
    precision: lax.PrecisionLike = FULL,
) -> Array:
    """The product of the two cores of one node."""
    rows = math.prod(structure.core_shape(node)[: len(structure.legs[node])])
    a, b = (reshape(core, (rows, core.size // rows)) for core in (left, right))
    # Over the rows of both.
    return lax.dot_general(conj(a), b, (((0,), (0,)), ((), ())), precision=precision)


def layered_gram(
    structure: Structure,
    pairs: Sequence[Array],
    nodes: tuple[int, ...],
    *,
    given: tuple[int, ...] | None = None,
    gram: Array | None = None,
    precision: lax.PrecisionLike = FULL,
) -> Inexact[Array, "bonds bonds"]:
    """The Gram matrix of all other cores, as of `gram`, from their `layers`; or from the Gram
    matrix `gram` of the nodes `given` and the layers of those of them that are not in `nodes`."""
    equation = layered_gram_equation(structure, nodes, given)
    whole = range(structure.num_nodes) if given is None else given
    rest = [pairs[k] for k in whole if k not in nodes]
    rest = rest if gram is None else [gram, *rest]
    sizes = equation.size_dict
    shapes = [[sizes[label] for label in labels] for labels in equation.inputs]
    rest = [reshape(x, shape) for x, shape in zip(rest, shapes, strict=True)]
    out = contract(equation, rest, precision=precision, dtype=pairs[0].dtype)
    size = math.isqrt(out.size)
    return reshape(out, (size, size))


def _shaped(structure: Structure, pairs: Sequence[Array]) -> list[Array]:
    """Layers with an axis for each bond of each copy."""
    out = []
    for node, pair in enumerate(pairs):
        bonds = structure.core_shape(node)[len(structure.legs[node]) :]
        out.append(pair.reshape(*bonds, *bonds))
    return out


def layer_grams(
    structure: Structure, pairs: Cores, *, precision: lax.PrecisionLike = FULL
) -> Cores:
    """The Gram matrices of all nodes from their `layers`, all in one: they are the derivatives of
    the inner product by each of the layers."""
    equation = layers_equation(structure)

    def inner_product(pairs: Cores) -> Array:
        return contract(equation, _shaped(structure, pairs), precision=precision)

    value, derivatives = jax.vjp(inner_product, pairs)
    return derivatives(jnp.ones_like(value))[0]


def jacobian(
    structure: Structure, cores: Cores, node: int, *, precision: lax.PrecisionLike = FULL
) -> Inexact[Array, "others bonds"]:
    """dT / d(core of `node`) as a matrix: the other modes by the bonds of the node."""
    rest = [core for k, core in enumerate(cores) if k != node]
    equation = jacobian_equation(structure, node)
    out = contract(equation, rest, precision=precision, dtype=cores[0].dtype)
    bonds = math.prod(structure.core_shape(node)[len(structure.legs[node]) :])
    return out.reshape(-1, bonds)


dense_jit: Callable[..., Array] = jax.jit(dense, static_argnums=0, static_argnames="precision")
entries_jit: Callable[..., Array] = jax.jit(entries, static_argnums=0, static_argnames="precision")
inner_jit: Callable[..., Array] = jax.jit(inner, static_argnums=0, static_argnames="precision")
environment_jit: Callable[..., Array] = jax.jit(
    environment, static_argnums=(0, 2), static_argnames="precision"
)
gram_jit: Callable[..., Array] = jax.jit(gram, static_argnums=(0, 2), static_argnames="precision")
