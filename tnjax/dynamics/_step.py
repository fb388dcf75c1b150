"""One step of the basis-update and Galerkin integrator on a tree: a pure function of arrays.

All cores but that of the root are isometries to their parents, before and after a step.
"""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Real

from ..contract import kernels
from ..contract.equation import Equation
from ._flow import flow
from ._tree import Cores, Tree

Blocks = Sequence[Array | None]  # for each bond of a node, [bra, operator, ket]
Values = dict[int, Array]


@functools.partial(jax.jit, static_argnums=0)
def step(
    tree: Tree, cores: Cores, operator: Cores, time: Real[Array, ""]
) -> tuple[Cores, Values, Array]:
    """A step in time, at twice the ranks.

    Args:
        tree: with its root.
        cores: of the state, of any gauge.
        operator: its cores, [out, in, children, parent].
        time: by how much.

    Returns:
        The cores with every bond in the basis of its singular vectors, so that to take the first
        few of each is to truncate; the singular values by the nodes below the bonds; the norm.
    """
    cores = _orthonormal(tree, cores)
    inputs, above = _restricted(tree, cores, operator)
    new, turns, blocks = list(cores), {}, {}
    for node in tree.order:
        around = [*(blocks[child] for child in tree.children[node]), above[node]]
        matrices = [turns[child] for child in tree.children[node]]
        apply = functools.partial(_applied, operator[node], around)
        late = flow(apply, _turned(inputs[node], matrices), time)
        if node == tree.root:
            new[node] = late
            break
        early = _turned(cores[node], matrices)
        both = jnp.concatenate([early, late], -1)
        new[node], r = _factored(both)
        turns[node] = r[:, : early.shape[-1]]
        blocks[node] = _block(new[node], operator[node], around, tree_axis(tree, node))
    return *_in_singular_bases(tree, new), jnp.linalg.norm(new[tree.root].ravel())


def tree_axis(tree: Tree, node: int) -> int:
    """The place of the parent among the bonds of a node."""
    return len(tree.children[node])


def _restricted(tree: Tree, cores: Cores, operator: Cores) -> tuple[Values, Values]:
    """For each node its core with the weight of the state, and the operator on the rest of the tree
    above it, in the bases of the start."""
    below: dict[int, Array] = {}
    for node in tree.inner:
        around = [*(below[child] for child in tree.children[node]), None]
        below[node] = _block(cores[node], operator[node], around, tree_axis(tree, node))
    root = tree.root
    weighted, above = {root: cores[root]}, {root: jnp.ones((1, 1, 1), cores[root].dtype)}
    for node in reversed(tree.order):
        around = [*(below[child] for child in tree.children[node]), above[node]]
        for place, child in enumerate(tree.children[node]):
            rest, r = _factored(jnp.moveaxis(weighted[node], 1 + place, -1))
            rest = jnp.moveaxis(rest, -1, 1 + place)
            above[child] = _block(rest, operator[node], around, place)
            weighted[child] = _times(cores[child], r.T)
    return weighted, above


def _orthonormal(tree: Tree, cores: Cores) -> Cores:
    out, rests = list(cores), {}
    for node in tree.order:
        out[node] = _turned(out[node], [rests[child] for child in tree.children[node]])
        if node != tree.root:
            out[node], rests[node] = _factored(out[node])
    return tuple(out)


def _in_singular_bases(tree: Tree, cores: list[Array]) -> tuple[Cores, Values]:
    out, values = list(cores), {}
    weighted = {tree.root: cores[tree.root]}
    for node in reversed(tree.order):
        turns = []
        for place, child in enumerate(tree.children[node]):
            matrix = jnp.moveaxis(weighted[node], 1 + place, 0)
            basis, s, _ = jnp.linalg.svd(matrix.reshape(len(matrix), -1), full_matrices=False)
            turns.append(basis.conj().T)
            out[child] = _times(cores[child], basis)
            weighted[child] = _times(out[child], jnp.diag(s).astype(basis.dtype))
            values[child] = s
        out[node] = _turned(out[node], turns)
    return tuple(out), values


def _factored(core: Array) -> tuple[Array, Array]:
    """QR of a core, its last axis against all others."""
    q, r = jnp.linalg.qr(core.reshape(-1, core.shape[-1]))
    return q.reshape(*core.shape[:-1], -1), r


def _times(core: Array, matrix: Array) -> Array:
    """The last axis times a matrix."""
    return jnp.tensordot(core, matrix, 1, precision=kernels.FULL)


def _turned(core: Array, matrices: list[Array]) -> Array:
    """Matrices on the axes of the children."""
    for axis, matrix in enumerate(matrices, 1):
        core = jnp.moveaxis(_times(jnp.moveaxis(core, axis, -1), matrix.T), -1, axis)
    return core


def _labels(bonds: int) -> tuple[list[int], list[int], list[int]]:
    """Labels of the bonds of ket, bra and operator; the leg of the ket is 0, that of the bra 1."""
    ket, bra, middle = (list(range(2 + bonds * k, 2 + bonds * (k + 1))) for k in range(3))
    return ket, bra, middle


def _applied(operator: Array, around: Blocks, core: Array) -> Array:
    """The operator, restricted to the bases around a node, on the core of the node."""
    ket, bra, middle = _labels(len(around))
    inputs = [(0, *ket), (1, 0, *middle), *zip(bra, middle, ket, strict=True)]
    return _contract(inputs, (1, *bra), [core, operator, *around])


def _block(core: Array, operator: Array, around: Blocks, place: int) -> Array:
    """The operator between two copies of all that lies behind one bond of a node."""
    ket, bra, middle = _labels(len(around))
    rest = [n for n in range(len(around)) if n != place]
    inputs = [(0, *ket), (1, 0, *middle), (1, *bra), *((bra[n], middle[n], ket[n]) for n in rest)]
    operands = [core, operator, core.conj(), *(around[n] for n in rest)]
    return _contract(inputs, (bra[place], middle[place], ket[place]), operands)


def _contract(inputs, output, operands: Sequence[Array | None]) -> Array:
    sizes = {}
    for labels, x in zip(inputs, operands, strict=True):
        assert x is not None
        sizes |= dict(zip(labels, x.shape, strict=True))
    equation = Equation.create(inputs, output, sizes)
    return kernels.contract(equation, operands, precision=lax.Precision.HIGHEST)
