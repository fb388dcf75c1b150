"""Trees whose bonds may be hyperedges, contracted from the leaves to the root by one loop.

The program of a loop does not grow with the number of nodes, so that a tree of 1,500 nodes compiles
as fast as one of ten. It holds few messages at a time: the heaviest child of a node comes first,
and so a stack of log2(nodes) + 1 messages is enough. Each message is divided by its largest entry,
whose logarithm is kept aside.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Inexact, Integer, Real

from .._structure import Edge, Structure
from .._tuned import cached
from .kernels import FULL

Cores = tuple[Array | np.ndarray, ...]


@dataclasses.dataclass(frozen=True)
class Rooted:
    """A tree seen from a root.

    Attributes:
        order: nodes, each one after its parent.
        parents: for each node the bond that leads to the root; None at a root.
    """

    order: tuple[int, ...]
    parents: tuple[Edge | None, ...]

    def children(self, structure: Structure, node: int) -> tuple[Edge, ...]:
        """The bonds of a node that lead away from the root."""
        return tuple(e for e in structure.core_edges(node) if e != self.parents[node])


@cached(maxsize=4096)
def rooted(structure: Structure) -> Rooted | None:
    """The structure seen from a root in each connected part, a node of the fewest bonds; None
    where it has loops. A hyperedge closes no loop by itself.

    Example:
        >>> from tnjax import Structure
        >>> from tnjax.contract.hypertree import rooted
        >>> rooted(Structure.tensor_train((2, 3, 4), 2)).order
        (0, 1, 2)
        >>> rooted(Structure.tensor_ring((2, 3, 4), 2)) is None
        True
    """
    parents: dict[int, Edge | None] = {}
    crossed: set[Edge] = set()
    order: list[int] = []
    for root in sorted(range(structure.num_nodes), key=structure.degree):
        if root in parents:
            continue
        parents[root] = None
        waiting = [root]
        while waiting:
            node = waiting.pop()
            order.append(node)
            for edge in structure.core_edges(node):
                if edge == parents[node]:
                    continue
                if edge in crossed:
                    return None
                crossed.add(edge)
                for other in edge:
                    if other == node:
                        continue
                    if other in parents:
                        return None
                    parents[other] = edge
                    waiting.append(other)
    return Rooted(tuple(order), tuple(parents[k] for k in range(structure.num_nodes)))


@dataclasses.dataclass(frozen=True, eq=False)
class Layout:
    """The order of the loop over a tree in which no node has more than two bonds or one leg.

    Attributes:
        nodes: in the order of the loop, children first.
        parents, children: for each of them the bond towards the root and the one away from it.
        read, write: places on the stack of what the children tell, and of what the parent is told.
        fresh: whether nothing is written there yet (else the new message is multiplied in).
        leaf: whether there are no children.
        depth: size of the stack.
        dim, rank: the largest mode size and rank; cores are filled up to them by zeros.
        modes: mode of each node; -1 without a leg.
    """

    nodes: tuple[int, ...]
    parents: tuple[Edge | None, ...]
    children: tuple[Edge | None, ...]
    read: np.ndarray
    write: np.ndarray
    fresh: np.ndarray
    leaf: np.ndarray
    depth: int
    dim: int
    rank: int
    modes: np.ndarray


@cached(maxsize=4096)
def layout(structure: Structure) -> Layout | None:
    """How a loop goes over a structure; None where it has loops, or nodes with more bonds or legs
    than the loop knows."""
    if any(len(legs) > 1 for legs in structure.legs):
        return None
    if any(structure.degree(node) > 2 for node in range(structure.num_nodes)):
        return None
    tree = rooted(structure)
    if tree is None:
        return None
    below: dict[int, list[int]] = {}
    for node in tree.order:
        edge = tree.parents[node]
        if edge is not None:
            (parent,) = (k for k in edge if tree.parents[k] != edge)
            below.setdefault(parent, []).append(node)
    size = [1] * structure.num_nodes
    for node in reversed(tree.order):
        size[node] += sum(size[k] for k in below.get(node, ()))
    steps: list[tuple[int, int, int, bool]] = []
    roots = [node for node in tree.order if tree.parents[node] is None]
    heavy = lambda nodes: sorted(nodes, key=lambda k: -size[k])
    # node, place read, place written, whether it is the first there, whether its children are done
    work = [(k, int(n > 0), 0, n == 0, False) for n, k in enumerate(heavy(roots))][::-1]
    while work:
        node, read, write, fresh, ready = work.pop()
        if ready:
            steps.append((node, read, write, fresh))
            continue
        work.append((node, read, write, fresh, True))
        inner = heavy(below.get(node, ()))
        work += [(k, read + (n > 0), read, n == 0, False) for n, k in enumerate(inner)][::-1]
    nodes, read, write, fresh = zip(*steps, strict=True)
    children = [tree.children(structure, node) for node in nodes]
    if any(len(edges) > 1 for edges in children):
        return None  # a part whose nodes all have two bonds has a loop, so this is for safety
    return Layout(
        nodes,
        tuple(tree.parents[node] for node in nodes),
        tuple(edges[0] if edges else None for edges in children),
        np.asarray(read, np.int32),
        np.asarray(write, np.int32),
        np.asarray(fresh),
        np.asarray([not below.get(node) for node in nodes]),
        1 + max(*read, *write),
        max(structure.dims),
        max(structure.ranks, default=1),
        np.asarray([structure.legs[k][0] if structure.legs[k] else -1 for k in nodes], np.int32),
    )


def stacked(structure: Structure, cores: Cores) -> Inexact[Array, "nodes d p c"]:
    """All cores as one array [nodes, mode, bond to the parent, bond to the children], filled up by
    zeros: one operation, however many cores there are."""
    index, _ = _places(structure)
    flat = [core.reshape(-1) for core in cores]
    return jnp.concatenate([*flat, jnp.zeros(1, flat[0].dtype)])[index]


def stacked_on_host(structure: Structure, cores: Cores) -> np.ndarray:
    """`stacked` of known cores: a program that gets it does not grow with their number."""
    flat = [np.asarray(core).reshape(-1) for core in cores]
    return np.concatenate([*flat, np.zeros(1, flat[0].dtype)])[_places(structure)[0]]


def unstacked(structure: Structure, stack: Array | np.ndarray) -> Cores:
    """The cores from `stacked`."""
    _, back = _places(structure)
    flat, out, begin = stack.reshape(-1)[back], [], 0
    for node in range(structure.num_nodes):
        shape = structure.core_shape(node)
        end = begin + math.prod(shape)
        out.append(flat[begin:end].reshape(shape))
        begin = end
    return tuple(out)


@cached(maxsize=64)
def _places(structure: Structure) -> tuple[np.ndarray, np.ndarray]:
    """Where each entry of `stacked` is in all cores, one after the other (past their end for
    zeros), and where each entry of the cores is in `stacked`."""
    plan = layout(structure)
    assert plan is not None
    index = np.full((len(plan.nodes), plan.dim, plan.rank, plan.rank), structure.num_params)
    sizes = [math.prod(structure.core_shape(node)) for node in range(structure.num_nodes)]
    begins = np.cumsum([0, *sizes])
    for step, node in enumerate(plan.nodes):
        shape = structure.core_shape(node)
        places = [0] * len(structure.legs[node])
        places += [1 if e == plan.parents[step] else 2 for e in structure.core_edges(node)]
        full = [1, 1, 1]
        for size, place in zip(shape, places, strict=True):
            full[place] = size
        numbers = begins[node] + np.arange(sizes[node]).reshape(shape)
        numbers = numbers.transpose(np.argsort(places)).reshape(full)
        index[step, : full[0], : full[1], : full[2]] = numbers
    back = np.zeros(structure.num_params + 1, np.int32)
    back[index.reshape(-1)] = np.arange(index.size)
    return index.astype(np.int32), back[:-1]


def seen_values(rows: Integer[Array, "rows modes"], plan: Layout) -> Integer[Array, "nodes rows"]:
    """For each step the values of its mode; 0 at nodes without a leg. (-1 is summed out.)"""
    values = jnp.take(rows.T, np.maximum(plan.modes, 0), axis=0)
    return jnp.where(jnp.asarray(plan.modes < 0)[:, None], jnp.zeros_like(values), values)


def upward(
    plan: Layout,
    left: Inexact[Array, "nodes d p c"],
    values: Integer[Array, "nodes rows"],
    right: Inexact[Array, "nodes d p c"] | None = None,
) -> tuple[Inexact[Array, " rows"], Real[Array, " rows"]]:
    r"""Entries of a tree, or overlaps of two.

    Args:
        plan: of the structure.
        left: its cores, `stacked`.
        values: of the modes, see `seen_values`; -1 sums a mode out.
        right: cores of another network of that structure: then the sum over what is summed out of
            conj(left) * right, with both at the values that are seen.

    Returns:
        (m, l): the entries are m * exp(l).
    """
    count, rank = values.shape[1], plan.rank
    shape = (count, rank) if right is None else (count, rank, rank)
    corner = jnp.zeros(shape, left.dtype)
    corner = corner.at[(slice(None), *(0,) * (len(shape) - 1))].set(1)
    real = jnp.finfo(left.dtype).dtype
    digits = jnp.arange(plan.dim, dtype=values.dtype)[None, :]

    def body(carry, item):
        stack, logs = carry
        core, value, read, write, fresh, leaf = item[:6]
        told = jnp.where(leaf, corner, stack[read])
        weights = ((value[:, None] == digits) | (value[:, None] < 0)).astype(left.dtype)
        if right is None:
            new = jnp.einsum("nc,xpc,nx->np", told, core, weights, precision=FULL)
        else:
            half = jnp.einsum("xpc,ncd->nxpd", core.conj(), told, precision=FULL)
            new = jnp.einsum("nxpd,xqd,nx->npq", half, item[6], weights, precision=FULL)
        new = jnp.where(fresh, new, new * stack[write])
        largest = lax.stop_gradient(jnp.abs(new).max(tuple(range(1, new.ndim))))
        largest = jnp.where(largest > 0, largest, jnp.ones_like(largest))
        new = new / largest.reshape(-1, *(1,) * (new.ndim - 1)).astype(new.dtype)
        return (stack.at[write].set(new), logs + jnp.log(largest)), None

    start = (jnp.zeros((plan.depth, *shape), left.dtype), jnp.zeros(count, real))
    items: Sequence[Any] = (left, values, plan.read, plan.write, plan.fresh, plan.leaf)
    items = items if right is None else (*items, right)
    (stack, logs), _ = lax.scan(body, start, tuple(map(jnp.asarray, items)))
    return stack[(0, slice(None), *(0,) * (len(shape) - 1))], logs
