"""Entries and overlaps of networks of many modes, as mantissas with logarithms beside them.

The entries of a network of 1,500 modes lie far outside of what floats can hold. Every intermediate
is divided by its largest entry here, and the logarithm of that is added up.
"""

import dataclasses
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Inexact, Integer, Real

from .._structure import Structure
from .._tuned import tuned
from . import hypertree
from .equation import Equation, batch_label, entries_equation, node_labels, sizes
from .hypertree import Cores
from .kernels import FULL
from .path import plan


@dataclasses.dataclass(frozen=True)
class Loops:
    """When a tree is contracted by a loop.

    Attributes:
        nodes: nodes from which on a tree is contracted by one loop. A program without a loop knows
            the size of each core, but takes longer to compile with each node (about 20 ms).
        held: entries of intermediates that are held together (derivatives keep them all) ...
        rows: ... but for so many rows at least.
    """

    nodes: int = 9
    held: int = 2**25
    rows: int = 64


_FINITE = 80.0  # exponents up to which a single-precision float is finite

ROW_LOOPS = tuned("scaled_loops", Loops(), traced=True)


class LogScaled(NamedTuple):
    """Numbers `mantissa * exp(log)`; mantissas are at most about one."""

    mantissa: Inexact[Array, "..."]
    log: Real[Array, "..."]

    def log_abs(self) -> Real[Array, "..."]:
        """The logarithm of the absolute value; -inf where it is zero."""
        return jnp.log(jnp.abs(self.mantissa)) + self.log

    def times(self, factor: Any) -> "LogScaled":
        """These numbers times another."""
        return LogScaled(self.mantissa * factor, self.log)

    def real(self) -> "LogScaled":
        """The real parts."""
        return LogScaled(self.mantissa.real, self.log)


def total(parts: Sequence[LogScaled]) -> LogScaled:
    """The sum of several, each of one shape."""
    if len(parts) == 1:
        return parts[0]
    zero = [part.mantissa == 0 for part in parts]
    logs = [jnp.where(z, -jnp.inf, part.log) for z, part in zip(zero, parts, strict=True)]
    top = logs[0]
    for log in logs[1:]:
        top = jnp.maximum(top, log)
    top = lax.stop_gradient(jnp.where(jnp.isfinite(top), top, jnp.zeros_like(top)))
    terms = []
    for part, z in zip(parts, zero, strict=True):  # what is zero may have a derivative
        power = jnp.where(z, jnp.minimum(part.log - top, _FINITE), part.log - top)
        terms.append(part.mantissa * jnp.exp(power).astype(part.mantissa.dtype))
    return LogScaled(sum(terms[1:], start=terms[0]), top)


def entries(structure: Structure, cores: Cores, rows: Integer[Array, "rows modes"]) -> LogScaled:
    """Entries of a network; a mode is summed over in those rows where its index is -1.

    Args:
        structure: with its ranks.
        cores: arrays of shapes `structure.core_shape`.
        rows: indices, shape [rows, modes].

    Returns:
        mantissas and logarithms, shape [rows].
    """
    tree = _loop(structure)
    values = lambda rows: _gathered(structure, cores, rows)
    if tree is not None:
        stack = hypertree.stacked(structure, cores)
        return tree_entries(tree, stack, rows)
    return LogScaled(*in_chunks(values, rows, peak_size(structure, 1)))


def tree_entries(tree: hypertree.Layout, stack: Array, rows: Array) -> LogScaled:
    """`entries` of a tree whose cores are stacked."""
    look = lambda rows: hypertree.upward(tree, stack, hypertree.seen_values(rows, tree))
    return LogScaled(*in_chunks(look, rows, len(tree.nodes) * tree.rank * (2 + tree.dim)))


def in_chunks(
    values: Callable[[Array], tuple[Array, Array]], rows: Array, row_size: int
) -> tuple[Array, Array]:
    """Mantissas and logarithms of rows, of so many together as memory should hold."""
    count, some = rows.shape[0], _at_once(row_size)
    if count <= some:
        return values(rows)
    parts = -(-count // some)
    padding = jnp.zeros((parts * some - count, rows.shape[1]), rows.dtype)
    chunks = jnp.concatenate([rows, padding]).reshape(parts, some, rows.shape[1])
    mantissa, log = lax.map(jax.checkpoint(values), chunks)
    return mantissa.reshape(-1)[:count], log.reshape(-1)[:count]


def _at_once(row_size: int) -> int:
    return max(ROW_LOOPS().rows, ROW_LOOPS().held // max(1, row_size))


def rows_at_once(structure: Structure) -> int:
    """Rows whose intermediates are held together."""
    return _at_once(peak_size(structure, 1))


def _gathered(structure: Structure, cores: Cores, rows: Array) -> LogScaled:
    """Entries without a loop over the nodes."""
    gathered = []
    for node, core in enumerate(cores):
        legs = structure.legs[node]
        for axis in range(len(legs)):  # one more slice, the sum, which -1 picks
            core = jnp.concatenate([core, core.sum(axis, keepdims=True)], axis)
        if legs:
            shape = core.shape[: len(legs)]
            flat = jnp.zeros(rows.shape[0], rows.dtype)
            for size, mode in zip(shape, legs, strict=True):
                index = rows[:, mode]
                flat = flat * size + jnp.where(index < 0, size - 1, index)
            core = core.reshape(math.prod(shape), *core.shape[len(legs) :])[flat]
        gathered.append(core)
    equation = entries_equation(structure, rows.shape[0])
    return _contracted(equation, gathered, batch_label(structure))


def overlap(structure: Structure, left: Cores, other: Structure, right: Cores) -> LogScaled:
    """The inner product of two networks (left conjugated), of any two structures of one shape."""
    tree = _loop(structure) if structure == other else None
    if tree is not None:
        a, b = (hypertree.stacked(structure, cores) for cores in (left, right))
        nothing = jnp.full((len(tree.nodes), 1), -1, jnp.int32)
        mantissa, log = hypertree.upward(tree, a, nothing, b)
        return LogScaled(mantissa[0], log[0])
    shift = len(structure.dims) + len(structure.edges)
    modes = len(structure.dims)
    second = [
        tuple(x if x < modes else x - modes + shift for x in node_labels(other, k))
        for k in range(other.num_nodes)
    ]
    first = [node_labels(structure, k) for k in range(structure.num_nodes)]
    size = dict(sizes(structure))
    size |= {n + shift: rank for n, rank in enumerate(other.ranks)}
    size = {label: size[label] for labels in (*first, *second) for label in labels}
    equation = Equation.create([*first, *second], (), size)
    return _contracted(equation, [*(core.conj() for core in left), *right], None)


def doubled(structure: Structure, left: Cores, right: Cores) -> tuple[Structure, Cores]:
    """A network with the entries conj(left) * right of two networks of one structure: each bond has
    the square of its rank."""
    ranks = {edge: rank**2 for edge, rank in structure.edges.items()}
    out = []
    for node, (a, b) in enumerate(zip(left, right, strict=True)):
        legs, bonds = len(structure.legs[node]), structure.degree(node)
        one = a.conj().reshape(*a.shape[:legs], *itertools.chain(*((r, 1) for r in a.shape[legs:])))
        two = b.reshape(*b.shape[:legs], *itertools.chain(*((1, r) for r in b.shape[legs:])))
        shape = [r * s for r, s in zip(a.shape[legs:], b.shape[legs:], strict=True)]
        wide = jnp.broadcast_shapes(one.shape, two.shape)
        product = jnp.broadcast_to(one, wide) * jnp.broadcast_to(two, wide)
        out.append(product.reshape(*a.shape[:legs], *shape))
        assert bonds == len(shape)
    return Structure(structure.dims, structure.legs, ranks), tuple(out)


def flops(structure: Structure, num_rows: int) -> int:
    """Forecast of `entries`."""
    tree = _loop(structure)
    if tree is not None:
        return 2 * num_rows * len(tree.nodes) * tree.dim * tree.rank**2
    return plan(entries_equation(structure, num_rows)).flops


def peak_size(structure: Structure, num_rows: int) -> int:
    """Forecast of the entries of all intermediates, which derivatives keep."""
    tree = _loop(structure)
    if tree is not None:
        return num_rows * len(tree.nodes) * tree.rank * (2 + tree.dim)
    return plan(entries_equation(structure, num_rows)).moved


def has_loop(structure: Structure) -> bool:
    """Whether the network is a tree that a loop contracts."""
    return _loop(structure) is not None


def _loop(structure: Structure) -> hypertree.Layout | None:
    if structure.num_nodes < ROW_LOOPS().nodes:
        return None
    return hypertree.layout(structure)


def _contracted(equation: Equation, operands: Sequence[Any], batch: int | None) -> LogScaled:
    """An equation along its planned path, every intermediate scaled; one factor for each row where
    there is an axis of rows."""
    recipe = plan(equation)
    labels = list(equation.inputs)
    work = list(operands)
    real = jnp.finfo(work[0].dtype).dtype
    log: Any = jnp.zeros((), real)
    needed_later = lambda: set(equation.output).union(*labels)
    for step in recipe.steps:
        (i, j), swapped = step.positions, step.swapped
        right, left = work.pop(j), work.pop(i)
        right_labels, left_labels = labels.pop(j), labels.pop(i)
        if swapped:
            left, right, left_labels, right_labels = right, left, right_labels, left_labels
        kept = needed_later()
        left = left.sum(step.sum_left) if step.sum_left else left
        right = right.sum(step.sum_right) if step.sum_right else right
        left_labels = tuple(x for a, x in enumerate(left_labels) if a not in step.sum_left)
        right_labels = tuple(x for a, x in enumerate(right_labels) if a not in step.sum_right)
        shared = [x for x in left_labels if x in right_labels]
        names = (
            *(x for x in shared if x in kept),
            *(x for x in left_labels if x not in shared),
            *(x for x in right_labels if x not in shared),
        )
        out = lax.dot_general(left, right, (step.contract, step.batch), precision=FULL)
        out, more = _divided(out, names, batch)
        log = _added(log, more)
        work.append(out)
        labels.append(names)
    (out,) = work
    if recipe.final_sum:
        out = out.sum(recipe.final_sum)
    out = lax.transpose(out, recipe.final_permutation)
    return LogScaled(out, jnp.broadcast_to(log, out.shape))


def _added(a: Array, b: Array) -> Array:
    shape = jnp.broadcast_shapes(jnp.shape(a), jnp.shape(b))
    return jnp.broadcast_to(a, shape) + jnp.broadcast_to(b, shape)


def _divided(x: Array, names: Sequence[int], batch: int | None) -> tuple[Array, Array]:
    """An array divided by its largest entry (of each row), and the logarithm of that."""
    axes = tuple(axis for axis, name in enumerate(names) if name != batch)
    largest = lax.stop_gradient(jnp.abs(x).max(axes, keepdims=True))
    largest = jnp.where(largest > 0, largest, jnp.ones_like(largest))
    return x / largest.astype(x.dtype), jnp.log(largest.squeeze(axes))
