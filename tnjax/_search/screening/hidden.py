"""Trees of hidden variables on the host: posteriors, and what one more hidden state would gain.

A new state of a bond is a distribution of its own, which is mixed into the network. Its tables and
its share are found by a few steps of expectation and maximization with all other cores frozen, so
that the gain is one that the network has before anything else is fitted.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from ..._structure import Edge, Structure
from ..._tuned import tuned
from ...contract import hypertree
from ...moves.cores import Cores


@dataclasses.dataclass(frozen=True)
class NewStates:
    """One more hidden state.

    Attributes:
        steps: of expectation and maximization.
        share: mass that a new state starts with.
        prior: pseudo-counts of its tables, as a share of all rows.
    """

    steps: int = 15
    share: float = 0.1
    prior: float = 1e-5


NEW_STATES = tuned("new_states", NewStates())


@dataclasses.dataclass(frozen=True)
class Tree:
    """A tree as tables.

    Attributes:
        structure: of the network.
        plan: order of the nodes, children first.
        tables: for each step the core as [mode, parent's bond, own bond].
        above: for each step that of its parent; -1 at a root.
        below: for each step those of its children.
    """

    structure: Structure
    plan: hypertree.Layout
    tables: tuple[np.ndarray, ...]
    above: tuple[int, ...]
    below: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, structure: Structure, cores: Cores) -> "Tree":
        """The tables of a network, as conditional probabilities given the parent's bond.

        Raises:
            ValueError: if the structure is no tree of hidden variables.
        """
        plan = hypertree.layout(structure)
        if plan is None:
            raise ValueError(
                "LatentTree: expected a tree with one variable and at most two bonds at each node "
                f"(bonds may join many), got {structure}; search by Greedy() from this start."
            )
        owner = {edge: step for step, edge in enumerate(plan.children) if edge is not None}
        above = tuple(-1 if edge is None else owner[edge] for edge in plan.parents)
        below: list[list[int]] = [[] for _ in above]
        for step, parent in enumerate(above):
            if parent >= 0:
                below[parent].append(step)
        tables = []
        for step, node in enumerate(plan.nodes):
            core = np.asarray(cores[node], np.float64)
            legs = len(structure.legs[node])
            places = [0] * legs
            places += [1 if e == plan.parents[step] else 2 for e in structure.core_edges(node)]
            shape = [1, 1, 1]
            for size, place in zip(core.shape, places, strict=True):
                shape[place] = size
            tables.append(core.transpose(np.argsort(places)).reshape(shape))
        tree = cls(structure, plan, tuple(tables), above, tuple(map(tuple, below)))
        return tree.normalized()

    def normalized(self) -> "Tree":
        """The same distribution with tables that sum to one for each state of the parent's bond."""
        tables = list(self.tables)
        for step in range(len(tables)):
            for child in self.below[step]:
                tables[step] = tables[step] * tables[child].sum((0, 2))
            for child in self.below[step]:
                sums = tables[child].sum((0, 2), keepdims=True)
                tables[child] = tables[child] / np.where(sums > 0, sums, 1)
            tables[step] = tables[step] / tables[step].max()
        for step, parent in enumerate(self.above):
            if parent < 0:
                tables[step] = tables[step] / tables[step].sum()
        return dataclasses.replace(self, tables=tuple(tables))

    def cores(self) -> tuple[Structure, Cores]:
        """The network of these tables."""
        ranks = dict(self.structure.edges)
        for step, edge in enumerate(self.plan.children):
            if edge is not None:
                ranks[edge] = self.tables[step].shape[2]
        structure = Structure(self.structure.dims, self.structure.legs, ranks)
        out: list[np.ndarray] = [np.zeros(0)] * structure.num_nodes
        for step, node in enumerate(self.plan.nodes):
            edges = structure.core_edges(node)
            order = [0] if structure.legs[node] else []
            order += [1 if edge == self.plan.parents[step] else 2 for edge in edges]
            rest = [axis for axis in range(3) if axis not in order]
            table = self.tables[step].transpose(*order, *rest)
            out[node] = np.ascontiguousarray(table.reshape(structure.core_shape(node)))
        return structure, tuple(out)

    def marginals(self) -> list[np.ndarray]:
        """For each step the probabilities of the states of the parent's bond."""
        out = [np.ones(1)] * len(self.above)
        for step in reversed(range(len(self.above))):
            own = np.einsum("p,xpc->c", out[step], self.tables[step])
            for child in self.below[step]:
                out[child] = own
        return out


@dataclasses.dataclass(frozen=True)
class Posterior:
    """A tree seen at rows.

    Attributes:
        seen: for each step 1 at categories that a row allows, [rows, categories].
        inner: for each step the product of what its children tell, divided by its largest entry,
            [rows, own bond].
        told: for each step what it tells its parent, divided by its largest entry,
            [rows, parent's bond].
        outer: derivative of the log-likelihood by `told`.
        scales: that largest entry, where `inner` is what the children told, [rows].
        states: posterior of the own bond, [rows, own bond].
    """

    seen: tuple[np.ndarray, ...]
    inner: tuple[np.ndarray, ...]
    outer: tuple[np.ndarray, ...]
    scales: tuple[np.ndarray, ...]
    told: tuple[np.ndarray, ...]
    states: tuple[np.ndarray, ...]


def posterior(tree: Tree, values: np.ndarray) -> Posterior:
    """Pass messages from the leaves to the root and back.

    Args:
        tree: with normalized tables.
        values: categories, -1 where they are missing, shape [rows, variables].
    """
    count, steps = len(values), range(len(tree.tables))
    seen, inner, scales, messages = [], [], [], []
    for step in steps:
        table, mode = tree.tables[step], tree.plan.modes[step]
        value = values[:, mode] if mode >= 0 else np.zeros(count, np.int32)
        digits = np.arange(len(table))
        seen.append(((value[:, None] == digits) | (value[:, None] < 0)).astype(np.float64))
        product = np.ones((count, table.shape[2]))
        for child in tree.below[step]:
            product *= messages[child]
            top = product.max(1, keepdims=True)
            product /= np.where(top > 0, top, 1)
        message = np.zeros(())
        for x in digits:
            message = message + seen[step][:, x, None] * (product @ table[x].T)
        top = message.max(1)
        top = np.where(top > 0, top, 1)
        inner.append(product)
        messages.append(message / top[:, None])
        scales.append(top)
    outer: list[np.ndarray] = [np.zeros(0)] * len(steps)
    states: list[np.ndarray] = [np.zeros(0)] * len(steps)
    for step in reversed(steps):
        table = tree.tables[step]
        if tree.above[step] < 0:
            outer[step] = 1 / messages[step]
        down = sum(seen[step][:, x, None] * (outer[step] @ table[x]) for x in range(len(table)))
        states[step] = down * inner[step] / scales[step][:, None]
        for child in tree.below[step]:
            told = messages[child]
            outer[child] = np.where(told > 0, states[step] / np.where(told > 0, told, 1), 0)
    return Posterior(*map(tuple, (seen, inner, outer, scales, messages, states)))


@dataclasses.dataclass(frozen=True)
class NewState:
    """One more state of the own bond of a step.

    Attributes:
        step: whose own bond it is.
        gain: by how much it lowers the negative log-likelihood with all else frozen, in nats.
        share: its mass.
        table: of its own core, [mode, parent's bond], times the parent's marginals of mass one.
        children: for each child its table [mode, own bond].
    """

    step: int
    gain: float
    share: float
    table: np.ndarray
    children: tuple[np.ndarray, ...]


def new_state(
    tree: Tree,
    found: Posterior,
    weights: np.ndarray,
    marginal: np.ndarray,
    step: int,
    rng: np.random.Generator,
) -> NewState:
    """The best new state of a bond, from a random start.

    Args:
        tree, found: the tree, and its posterior at the rows.
        weights: of the rows, of sum one.
        marginal: of the parent's bond.
        step: whose own bond gets a state.
        rng: of the start.
    """
    options = NEW_STATES()
    inner = tree.below[step]
    table = rng.gamma(1.0, size=tree.tables[step].shape[:2])
    parts = [rng.gamma(1.0, size=tree.tables[c].shape[::2]) for c in inner]
    table /= (table * marginal).sum()
    parts = [part / part.sum() for part in parts]
    # What the children told, in the units in which their product was kept.
    unit = np.ones(len(weights))
    if inner:
        product = np.ones_like(found.inner[step])
        for child in inner:
            product *= found.told[child]
        best = product.argmax(1)
        at = np.arange(len(best)), best
        unit = np.where(product[at] > 0, found.inner[step][at] / np.maximum(product[at], 1e-300), 0)
    unit = unit / found.scales[step]
    share, gain = options.share, 0.0
    seen, outer = found.seen[step], found.outer[step]
    for _ in range(options.steps):
        above = np.einsum("nx,xp,np->n", seen, table, outer, optimize=True)
        ratios = [
            np.einsum("nx,xc,nc->n", found.seen[c], part, found.inner[c], optimize=True)
            / found.scales[c]
            for c, part in zip(inner, parts, strict=True)
        ]
        density = above * unit
        for ratio in ratios:
            density = density * ratio
        mixed = (1 - share) + share * density
        gain = float(weights @ np.log(mixed))
        duty = weights * share * density / mixed
        share = float(np.clip(duty.sum(), 1e-6, 0.9))
        pull = duty / np.maximum(above, 1e-300)
        counts = table * np.einsum("nx,np,n->xp", seen, outer, pull, optimize=True)
        counts = counts + options.prior * marginal
        table = counts / np.maximum(marginal, 1e-12)
        table /= (table * marginal).sum()
        for k, child in enumerate(inner):
            pull = duty / np.maximum(ratios[k], 1e-300) / found.scales[child]
            counts = parts[k] * np.einsum(
                "nx,nc,n->xc", found.seen[child], found.inner[child], pull, optimize=True
            )
            counts = counts + options.prior
            parts[k] = counts / counts.sum()
    return NewState(step, gain, share, table, tuple(parts))


def grown(
    tree: Tree, states: Sequence[NewState], softness: float, noise: float, rng: np.random.Generator
) -> Tree:
    """The tree with new states, mixed in with their shares.

    Args:
        tree: to grow.
        states: one for each bond at the most.
        softness: mass that every table gives to entries that were not there: zeros stay zeros in
            an update, and a child that grows as well has a state that its parent does not know.
        noise: relative standard deviation of random factors, which tell states of equal tables
            apart.
        rng: of the factors.
    """
    tables = list(tree.tables)
    for state in sorted(states, key=lambda s: s.step):  # children first
        old = tables[state.step]
        new = state.share * state.table[:, :, None]
        tables[state.step] = np.concatenate([(1 - state.share) * old, new], 2)
        for child, part in zip(tree.below[state.step], state.children, strict=True):
            missing = tables[child].shape[2] - part.shape[1]
            fresh = np.zeros((len(part), missing))
            whole = np.concatenate([part, fresh], 1)[:, None, :]
            tables[child] = np.concatenate([tables[child], whole], 1)
    out = []
    for table in dataclasses.replace(tree, tables=tuple(tables)).normalized().tables:
        size = table.shape[0] * table.shape[2]
        sums = table.sum((0, 2), keepdims=True)
        table = (1 - softness) * table / np.where(sums > 0, sums, 1) + softness / size
        if noise > 0:
            table = table * rng.gamma(1 / noise**2, noise**2, size=table.shape)
        sums = table.sum((0, 2), keepdims=True)
        out.append(table / np.where(sums > 0, sums, 1))
    return dataclasses.replace(tree, tables=tuple(out))


def without(tree: Tree, found: Posterior, weights: np.ndarray) -> dict[tuple[int, int], float]:
    """By how much the loss rises, in nats, where one state of a bond is left out and nothing else
    changes: for each (step, state)."""
    marginals, out = tree.marginals(), {}
    for step, inner in enumerate(tree.below):
        if not inner:
            continue
        mass = marginals[inner[0]]
        left = np.log(np.maximum(1 - found.states[step], 1e-12))
        losses = np.log(np.maximum(1 - mass, 1e-12)) - weights @ left
        out |= {(step, state): float(loss) for state, loss in enumerate(losses)}
    return out


def dropped(tree: Tree, gone: Sequence[tuple[int, int]]) -> Tree:
    """The tree without some states; a bond keeps two at least."""
    tables = list(tree.tables)
    for step, inner in enumerate(tree.below):
        states = [state for at, state in gone if at == step]
        kept = [k for k in range(tables[step].shape[2]) if k not in states]
        if not states or len(kept) < 2:
            continue
        tables[step] = tables[step][:, :, kept]
        for child in inner:
            tables[child] = tables[child][:, kept]
    return dataclasses.replace(tree, tables=tuple(tables)).normalized()


def own_edge(tree: Tree, step: int) -> Edge:
    """The bond between a step and its children."""
    edge = tree.plan.children[step]
    assert edge is not None
    return edge
