"""Contractions of arrays. Plain functions: they trace under any transformation.

`precision` goes to every `dot_general`; the default asks for full precision everywhere, so that
tf32 and bfloat16 products are an explicit choice of the caller.
"""

import math

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Inexact, Integer

from .._structure import Structure
from .equation import (
    Equation,
    dense_equation,
    entries_equation,
    environment_equation,
    gram_equation,
    inner_equation,
    jacobian_equation,
    layers_equation,
    rows_equation,
)
from .path import plan

Cores = tuple[Array, ...]
FULL = lax.Precision.HIGHEST


def contract(equation: Equation, operands, *, precision=FULL, dtype=None) -> Array:
    """Evaluate an equation along its planned path; without operands it is 1, of `dtype`."""
    recipe = plan(equation)
    work = list(operands)
    if not work:
        return jnp.ones((), dtype)
    for step in recipe.steps:
        right, left = (work.pop(position) for position in reversed(step.positions))
        if step.swapped:
            left, right = right, left
        if step.sum_left:
            left = left.sum(step.sum_left)
        if step.sum_right:
            right = right.sum(step.sum_right)
        work.append(lax.dot_general(left, right, (step.contract, step.batch), precision=precision))
    (out,) = work
    if recipe.final_sum:
        out = out.sum(recipe.final_sum)
    if recipe.final_permutation != tuple(range(out.ndim)):
        out = lax.transpose(out, recipe.final_permutation)
    return out


def dense(structure: Structure, cores: Cores, *, precision=FULL) -> Inexact[Array, "..."]:
    """The represented tensor, shape `structure.dims`."""
    return contract(dense_equation(structure), cores, precision=precision)


def entries(
    structure: Structure, cores: Cores, indices: Integer[Array, "entries modes"], *, precision=FULL
) -> Inexact[Array, " entries"]:
    """The represented tensor at `indices`: one gathered row per core, never a dense tensor."""
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
    precision=FULL,
) -> Inexact[Array, "entries bonds"]:
    """d(entry) / d(row of the core of `node`) for each entry: the other cores' rows, contracted."""
    equation = rows_equation(structure, node, indices.shape[0])
    rest = [gather(structure, cores, k, indices) for k in range(structure.num_nodes) if k != node]
    out = contract(equation, rest, precision=precision, dtype=cores[node].dtype)
    bonds = math.prod(structure.core_shape(node)[len(structure.legs[node]) :])
    carried = any(structure.legs[k] for k in range(structure.num_nodes) if k != node)
    return jnp.broadcast_to(out.reshape(-1 if carried else 1, bonds), (indices.shape[0], bonds))


def inner(structure: Structure, left: Cores, right: Cores, *, precision=FULL) -> Array:
    """The inner product <left, right> (left conjugated) of two networks of one structure."""
    operands = (*(core.conj() for core in left), *right)
    return contract(inner_equation(structure), operands, precision=precision)


def environment(
    structure: Structure, cores: Cores, nodes: tuple[int, ...], tensor: Array, *, precision=FULL
) -> Array:
    """`tensor` contracted with the conjugated cores of all nodes but `nodes`.

    For one node this is the right-hand side of its normal equations, in the shape of its core;
    for a pair its leading singular vectors are the best first slices of a new bond.
    """
    rest = [core.conj() for k, core in enumerate(cores) if k not in nodes]
    return contract(environment_equation(structure, nodes), (tensor, *rest), precision=precision)


def gram(
    structure: Structure, cores: Cores, nodes: tuple[int, ...], *, precision=FULL
) -> Inexact[Array, "bonds bonds"]:
    """Gram matrix of the other cores over the open bonds of `nodes` (first axis conjugated)."""
    rest = [core for k, core in enumerate(cores) if k not in nodes]
    operands = (*(core.conj() for core in rest), *rest)
    out = contract(
        gram_equation(structure, nodes), operands, precision=precision, dtype=cores[0].dtype
    )
    size = math.isqrt(out.size)
    return out.reshape(size, size)


def layers(structure: Structure, left: Cores, right: Cores, *, precision=FULL) -> Cores:
    """For each node its two cores (left conjugated) contracted over their legs, [bonds, bonds]."""
    out = []
    for node, pair in enumerate(zip(left, right, strict=True)):
        rows = math.prod(structure.core_shape(node)[: len(structure.legs[node])])
        a, b = (core.reshape(rows, -1) for core in pair)
        out.append(lax.dot(a.conj().T, b, precision=precision))
    return tuple(out)


def layer_grams(structure: Structure, pairs: Cores, *, precision=FULL) -> Cores:
    """The Gram matrices of all nodes from their `layers`, all in one: they are the derivatives of
    the inner product by each of the layers."""
    equation = layers_equation(structure)

    def inner_product(pairs: Cores) -> Array:
        shaped = []
        for node, pair in enumerate(pairs):
            bonds = structure.core_shape(node)[len(structure.legs[node]) :]
            shaped.append(pair.reshape(*bonds, *bonds))
        return contract(equation, shaped, precision=precision)

    value, derivatives = jax.vjp(inner_product, pairs)
    return derivatives(jnp.ones_like(value))[0]


def jacobian(
    structure: Structure, cores: Cores, node: int, *, precision=FULL
) -> Inexact[Array, "others bonds"]:
    """dT / d(core of `node`) as a matrix: the other modes by the bonds of the node."""
    rest = [core for k, core in enumerate(cores) if k != node]
    equation = jacobian_equation(structure, node)
    out = contract(equation, rest, precision=precision, dtype=cores[0].dtype)
    bonds = math.prod(structure.core_shape(node)[len(structure.legs[node]) :])
    return out.reshape(-1, bonds)


dense_jit = jax.jit(dense, static_argnums=0, static_argnames="precision")
entries_jit = jax.jit(entries, static_argnums=0, static_argnames="precision")
inner_jit = jax.jit(inner, static_argnums=0, static_argnames="precision")
environment_jit = jax.jit(environment, static_argnums=(0, 2), static_argnames="precision")
gram_jit = jax.jit(gram, static_argnums=(0, 2), static_argnames="precision")
