"""Contractions of a network with the features of samples.

Sample s has for every block of modes an array $X_b[s]$, most often a vector $\\phi_k[s]$ for one
mode k. The network contracted with all of them is what it predicts; modes in no block stay open as
outputs. Features of a single mode are multiplied into the core that carries it first, which leaves
rows as a gather of entries does: one-hot features are entries.
"""

import functools
from collections.abc import Iterable, Sequence

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array

from .._structure import Structure
from .equation import Equation, Labels, batch_label, node_labels, sizes
from .kernels import contract

Blocks = tuple[tuple[int, ...], ...]  # of each array of features, the modes that it covers
Cores = tuple[Array, ...]


def outputs(structure: Structure, blocks: Blocks) -> tuple[int, ...]:
    """The modes that no block covers, ascending."""
    covered = {mode for block in blocks for mode in block}
    return tuple(mode for mode in range(len(structure.dims)) if mode not in covered)


def _single(structure: Structure, blocks: Blocks, node: int) -> tuple[int, ...]:
    """Numbers of the blocks of one mode that a node carries, in the order of its legs."""
    place = {block[0]: n for n, block in enumerate(blocks) if len(block) == 1}
    return tuple(place[mode] for mode in structure.legs[node] if mode in place)


def _row_labels(structure: Structure, blocks: Blocks, node: int) -> Labels:
    """Of a core with its features of single modes multiplied in."""
    gone = {blocks[n][0] for n in _single(structure, blocks, node)}
    rest = tuple(label for label in node_labels(structure, node) if label not in gone)
    return (batch_label(structure), *rest) if gone else rest


def _sizes(structure: Structure, count: int) -> dict[int, int]:
    return {**sizes(structure), batch_label(structure): count}


def _row_equation(structure: Structure, blocks: Blocks, node: int, count: int) -> Equation:
    batch = batch_label(structure)
    inputs = [node_labels(structure, node)]
    inputs += [(batch, *blocks[n]) for n in _single(structure, blocks, node)]
    return Equation.create(inputs, _row_labels(structure, blocks, node), _sizes(structure, count))


def _several(blocks: Blocks) -> list[int]:
    return [n for n, block in enumerate(blocks) if len(block) > 1]


def _environment_labels(structure: Structure, blocks: Blocks, nodes: Sequence[int]) -> Labels:
    """What is open once all other nodes and all blocks of several modes are contracted: samples,
    outputs elsewhere, modes of the nodes that such blocks cover, bonds that leave the nodes."""
    batch, inside = batch_label(structure), set(nodes)
    legs = {mode for node in nodes for mode in structure.legs[node]}
    wide = {mode for n in _several(blocks) for mode in blocks[n]}
    modes = [m for m in outputs(structure, blocks) if m not in legs]
    modes += [m for m in sorted(legs) if m in wide]
    bonds: list[int] = []
    for node in nodes:
        labels = node_labels(structure, node)[len(structure.legs[node]) :]
        for edge, label in zip(structure.core_edges(node), labels, strict=True):
            if set(edge) - inside and label not in bonds:
                bonds.append(label)
    others = [k for k in range(structure.num_nodes) if k not in inside]
    carried = bool(wide) or any(_single(structure, blocks, k) for k in others)
    return (*((batch,) if carried else ()), *modes, *bonds)


@functools.lru_cache(maxsize=4096)
def environment_equation(
    structure: Structure,
    blocks: Blocks,
    nodes: tuple[int, ...],
    count: int,
    given: tuple[int, ...] | None = None,
) -> Equation:
    """Rows of all nodes but `nodes`, then blocks of several modes -> their environment. With nodes
    `given`, the first operand is the environment of those, the rows are those of the rest of them,
    and there are no blocks of several modes."""
    whole = range(structure.num_nodes) if given is None else given
    inputs = [] if given is None else [_environment_labels(structure, blocks, given)]
    inputs += [_row_labels(structure, blocks, k) for k in whole if k not in nodes]
    if given is None:
        inputs += [(batch_label(structure), *blocks[n]) for n in _several(blocks)]
    output = _environment_labels(structure, blocks, nodes)
    return Equation.create(inputs, output, _sizes(structure, count))


@functools.lru_cache(maxsize=4096)
def prediction_equation(structure: Structure, blocks: Blocks, count: int) -> Equation:
    """Rows of all nodes, then blocks of several modes -> predictions [samples, *outputs]."""
    batch = batch_label(structure)
    inputs = [_row_labels(structure, blocks, k) for k in range(structure.num_nodes)]
    inputs += [(batch, *blocks[n]) for n in _several(blocks)]
    output = (batch, *outputs(structure, blocks))
    return Equation.create(inputs, output, _sizes(structure, count))


@functools.lru_cache(maxsize=4096)
def design_equation(structure: Structure, blocks: Blocks, node: int, count: int) -> Equation:
    """The environment of a node and its features of single modes -> what the predictions are
    linear in: [samples, outputs elsewhere, modes with features, bonds]."""
    batch, labels = batch_label(structure), node_labels(structure, node)
    single = _single(structure, blocks, node)
    around = _environment_labels(structure, blocks, (node,))
    inputs = [around, *((batch, *blocks[n]) for n in single)]
    open_legs = outputs(structure, blocks)
    elsewhere = tuple(m for m in open_legs if m not in structure.legs[node])
    carried = batch in around or bool(single)
    output = (
        *((batch,) if carried else ()),
        *elsewhere,
        *(label for label in labels if label not in open_legs),
    )
    return Equation.create(inputs, output, _sizes(structure, count))


def rows(
    structure: Structure, blocks: Blocks, cores: Cores, nodes: Iterable[int], features: Cores
) -> list[Array]:
    """The cores of some nodes with their features of single modes multiplied in."""
    found = []
    for node in nodes:
        own = _single(structure, blocks, node)
        equation = _row_equation(structure, blocks, node, features[0].shape[0])
        operands = (cores[node], *(features[n] for n in own))
        found.append(contract(equation, operands) if own else cores[node])
    return found


def predictions(structure: Structure, blocks: Blocks, cores: Cores, features: Cores) -> Array:
    """The network contracted with the features of each sample.

    Args:
        structure: with its ranks.
        blocks: the modes of each array of features.
        cores: arrays of shapes `structure.core_shape`.
        features: arrays [samples, *dims of the block].

    Returns:
        [samples, *outputs].
    """
    operands = rows(structure, blocks, cores, range(structure.num_nodes), features)
    operands += [features[n] for n in _several(blocks)]
    equation = prediction_equation(structure, blocks, features[0].shape[0])
    return contract(equation, operands)


def environment(
    structure: Structure,
    blocks: Blocks,
    cores: Cores,
    nodes: tuple[int, ...],
    features: Cores,
    *,
    given: tuple[int, ...] | None = None,
    around: Array | None = None,
) -> Array:
    """All that is outside of some nodes, contracted with the features there.

    Args:
        nodes: that are left out.
        given, around: nodes, `nodes` among them, whose environment `around` is known.
    """
    whole = range(structure.num_nodes) if given is None else given
    rest = [k for k in whole if k not in nodes]
    operands = [] if around is None else [around]
    operands += rows(structure, blocks, cores, rest, features)
    if around is None:
        operands += [features[n] for n in _several(blocks)]
    count = features[0].shape[0]
    equation = environment_equation(structure, blocks, nodes, count, given)
    return contract(equation, operands, dtype=cores[0].dtype)


def design(
    structure: Structure,
    blocks: Blocks,
    cores: Cores,
    node: int,
    features: Cores,
    *,
    given: tuple[int, ...] | None = None,
    around: Array | None = None,
) -> Array:
    """What the predictions are linear in, for the core of one node.

    Returns:
        [samples, outputs elsewhere, unknowns]; the unknowns are the modes with features and the
        bonds of the node. Outputs that the node carries itself see the same.
    """
    env = environment(structure, blocks, cores, (node,), features, given=given, around=around)
    count = features[0].shape[0]
    own = [features[n] for n in _single(structure, blocks, node)]
    equation = design_equation(structure, blocks, node, count)
    out = contract(equation, (env, *own))
    unknowns = 1
    for label in node_labels(structure, node):
        if label not in outputs(structure, blocks):
            unknowns *= equation.size_dict.get(label, sizes(structure)[label])
    if batch_label(structure) not in equation.output:
        out = lax.broadcast(out.reshape(-1, unknowns), (count,))
    return jnp.reshape(out, (count, -1, unknowns))
