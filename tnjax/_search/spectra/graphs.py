r"""Graphs read off the ranks of all unfoldings.

Of a tensor that a network with generic cores represents, the rank of the unfolding over a set of
modes is the capacity of the smallest cut between these modes and the others (the quantum min-cut):
over all ways to place the nodes on two sides, the product of the ranks that cross and of the sizes
of the modes whose node is on the wrong side. So the graph and its ranks, bonds between pairs of
nodes with a mode each, can be inferred without fitting one network: by the graph whose smallest
cuts come closest to the measured ranks. Nothing here needs the tensor itself.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import PRNGKeyArray

from ... import _interrupt
from ..._deprecated import key_for_seed
from ..._formats import all_pairs
from ..._keys import host_seed
from ..._structure import Structure
from ..._tuned import tuned
from .unfoldings import Cut, cut_name


@dataclasses.dataclass(frozen=True)
class Graphs:
    """Graphs whose smallest cuts have given ranks.

    Attributes:
        most_modes: modes with bonds up to which graphs are inferred: all 2^n ways to place the
            nodes are looked at.
        patience: perturbed descents without a better graph after which the search ends, for each
            pair of modes (or as many as there are pairs, if that is less).
        work: multiplications that all of it may take, some four seconds.
        shaken: changes that a perturbation makes, drawn evenly.
        moved: the part of them that moves a bond.
        restart: after so many perturbations in vain the next one begins at a start.
        close: graphs are close enough if their cuts differ from the ranks by this part of all
            logarithms ...
        tie: ... and by this part more than those of the closest one.
        exact: differences of logarithms up to this are rounding.
    """

    most_modes: int = 10
    patience: int = 15
    work: float = 4e10
    shaken: tuple[int, ...] = (1, 2, 3)
    moved: float = 0.6
    restart: int = 25
    close: float = 0.05
    tie: float = 0.0025
    exact: float = 1e-6


GRAPHS = tuned("graphs", Graphs())


Cost = tuple[float, int, int]
_WORST: Cost = (math.inf, 0, 0)


@key_for_seed
def inferred_graphs(
    ranks: Mapping[Cut, int],
    dims: Sequence[int],
    *,
    counted: Sequence[int] | None = None,
    complete: bool = True,
    key: PRNGKeyArray | None = None,
    most: int = 4,
) -> tuple[Structure, ...]:
    """The graphs whose smallest cuts are closest to the ranks of the unfoldings.

    Args:
        ranks: of the unfoldings over sets of modes, named by the side without the last mode.
        dims: sizes of the modes.
        counted: sizes to count parameters with, which decide between equally close graphs.
        complete: whether the sets of modes that are left out have rank one; otherwise nothing is
            known of them (of all single modes there must be ranks).
        key: of the perturbations; `jax.random.key(0)` by default.
        most: graphs at most; none if none is close.

    Returns:
        Structures with one node for each mode and bonds between pairs, all about as close as the
        closest one. The ranks tell most at cuts that cut no mode off, so structures with the most
        such cuts come first; among equal ones, those with the fewest parameters.

    Raises:
        ValueError: for a set of modes that names no cut of a tensor with these dims.

    Example:
        >>> import numpy as np
        >>> from tnjax import cut_bounds, inferred_graphs
        >>> rng = np.random.default_rng(0)
        >>> cores = map(rng.standard_normal, [(9, 2, 3), (9, 2), (9, 3, 2), (9, 2)])
        >>> tensor = np.einsum("iab,ja,kbc,lc->ijkl", *cores)
        >>> ranks = cut_bounds(tensor, 1e-6).ranks
        >>> dict(inferred_graphs(ranks, tensor.shape)[0].edges)
        {(0, 1): 2, (0, 2): 3, (2, 3): 2}

    Reference:
        Cui, Freedman, Sattath, Stong and Minton, "Quantum max-flow/min-cut", J. Math. Phys. 57
        (2016), for what the ranks of generic cores are.
    """
    seed = 0 if key is None else host_seed(key)
    return graphs_of(ranks, dims, counted=counted, complete=complete, seed=(seed,), most=most)


def graphs_of(
    ranks: Mapping[Cut, int],
    dims: Sequence[int],
    *,
    counted: Sequence[int] | None,
    complete: bool,
    seed: Sequence[int],
    most: int,
) -> tuple[Structure, ...]:
    """`inferred_graphs`, of a seed for NumPy's generator."""
    dims = tuple(dims)
    order = len(dims)
    for cut in ranks:
        if not cut or sorted(set(cut)) != sorted(cut) or not set(cut) <= set(range(order - 1)):
            raise ValueError(
                f"inferred_graphs: {cut} names no cut of a tensor of {order} modes; give the modes "
                f"of the side without mode {order - 1}, as `cut_bounds` does."
            )
    used = [k for k in range(order) if ranks.get(cut_name((k,), order), 1) > 1]
    if not 2 <= len(used) <= GRAPHS().most_modes:
        return ()
    counted = dims if counted is None else tuple(counted)
    cuts = _MinCuts(ranks, dims, counted, used, complete)
    found = _closest(cuts, np.random.default_rng([len(used), *seed]))
    total = float(cuts.measured.sum())
    enough = min(GRAPHS().close * total, min(found.values())[0] + GRAPHS().tie * total)
    close = sorted((cost[1:], logs) for logs, cost in found.items() if cost[0] <= enough)
    graphs = []
    for _, logs in close[:most]:
        ranked = zip(cuts.pairs, logs, strict=True)
        edges = {(used[i], used[j]): round(math.exp(log)) for (i, j), log in ranked}
        graphs.append(Structure.from_edges(dims, edges))
    return tuple(graphs)


class _MinCuts:
    """The smallest cuts of graphs over some modes, and how far they are from measured ranks.

    A graph is the vector of the logarithms of the ranks of all `pairs`. Of two graphs the one with
    the smaller `Cost` is better: first the distance from the measured ranks, summed over all cuts;
    then the cuts that are smallest where they cut modes off, so that their ranks tell of sizes
    instead of bonds; then the parameters.
    """

    def __init__(
        self,
        ranks: Mapping[Cut, int],
        dims: tuple[int, ...],
        counted: tuple[int, ...],
        used: list[int],
        complete: bool,
    ):
        count = len(used)
        sizes = np.log([float(dims[k]) for k in used])
        ways = (np.arange(2**count)[:, None] >> np.arange(count)) & 1
        # Each cut by the way that cuts no mode off, without the last one.
        names = [cut_name([used[k] for k in np.flatnonzero(way)], len(dims)) for way in ways]
        alone = range(1, 2 ** (count - 1))
        self.alone = np.asarray([way for way in alone if complete or names[way] in ranks])
        self.measured = np.log([float(ranks.get(names[way], 1)) for way in self.alone])
        sides = ways[self.alone]
        # What the modes on the wrong side cost, for every way and cut: a + b - 2ab each.
        self.legs = (ways @ sizes)[:, None] + (sides @ sizes)[None] - 2 * (ways * sizes) @ sides.T
        self.pairs = list(all_pairs(count))
        self.crossing = np.asarray([ways[:, i] != ways[:, j] for i, j in self.pairs])
        self.ends = np.asarray([[k in pair for pair in self.pairs] for k in range(count)], float)
        self.log_counted = np.log([float(counted[k]) for k in used])
        self.work = self.legs.size * len(self.pairs)

    def cost(self, graph: np.ndarray) -> Cost:
        costs = self._costs(graph)
        capacity = costs.min(0)
        miss = round(float(np.abs(capacity - self.measured).sum()), 5)
        alone = costs[self.alone, np.arange(len(capacity))]
        params = round(float(np.exp(self.log_counted + self.ends @ graph).sum()))
        return miss, int(np.sum(alone > capacity + GRAPHS().exact)), params

    def sparsest(self) -> np.ndarray:
        """The graph with the smallest sum of logarithms whose bonds across every cut carry its
        rank, by linear programming, ranks rounded."""
        from scipy import optimize  # a third of what a small search imports; not all need it

        crossing = self.crossing[:, self.alone].T.astype(float)
        found = optimize.linprog(
            np.ones(len(self.pairs)), A_ub=-crossing, b_ub=-self.measured, method="highs"
        )
        if found.x is None:
            return np.zeros(len(self.pairs))
        return np.log(np.maximum(1.0, np.round(np.exp(found.x))))

    def best_change(self, graph: np.ndarray) -> tuple[Cost, np.ndarray]:
        """The best of all graphs that differ in one rank, by at most 2 upwards."""
        costs = self._costs(graph)
        best, changed = _WORST, graph
        for pair, crosses in enumerate(self.crossing):
            _interrupt.checkpoint()
            within, through = costs[~crosses].min(0), costs[crosses].min(0)
            rank = round(math.exp(graph[pair]))
            others = np.log([float(r) for r in range(1, rank + 3) if r != rank])
            capacity = np.minimum(within, through + (others - graph[pair])[:, None])
            misses = np.abs(capacity - self.measured).sum(1)
            for pick in np.flatnonzero(misses <= min(misses.min(), best[0]) + GRAPHS().exact):
                candidate = graph.copy()
                candidate[pair] = others[pick]
                cost = self.cost(candidate)
                if cost < best:
                    best, changed = cost, candidate
        return best, changed

    def descend(
        self, graph: np.ndarray, seen: dict[tuple[float, ...], Cost]
    ) -> tuple[Cost, np.ndarray]:
        """Change one rank after the other while that makes the graph better; all graphs on the
        way are added to those seen."""
        cost = self.cost(graph)
        while True:
            seen[tuple(graph)] = cost
            next_cost, changed = self.best_change(graph)
            if next_cost >= cost:
                return cost, graph
            cost, graph = next_cost, changed

    def shaken(self, graph: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
        """The graph after some changes: a bond takes one of its ends to another mode, or the rank
        of a pair changes by one."""
        graph, modes = graph.copy(), len(self.ends)
        for _ in range(count):
            bonds = np.flatnonzero(graph)
            if len(bonds) and rng.random() < GRAPHS().moved:
                bond = int(rng.choice(bonds))
                kept = self.pairs[bond][int(rng.integers(2))]
                other = (kept + int(rng.integers(1, modes))) % modes
                pair = self.pairs.index((min(kept, other), max(kept, other)))
                graph[[bond, pair]] = graph[[pair, bond]]
            else:
                pair = int(rng.integers(len(graph)))
                rank = round(math.exp(graph[pair])) + int(rng.integers(-1, 2))
                graph[pair] = math.log(max(1, rank))
        return graph

    def _costs(self, graph: np.ndarray) -> np.ndarray:
        return self.legs + (graph @ self.crossing)[:, None]


def _closest(cuts: _MinCuts, rng: np.random.Generator) -> dict[tuple[float, ...], Cost]:
    """Graphs and their costs: descents from two starts, then from perturbations of the best."""
    starts = (np.zeros(len(cuts.pairs)), cuts.sparsest())
    found = {}
    for start in starts:
        cuts.descend(start, found)
    best, graph = min((cost, graph) for graph, cost in found.items())
    cost, graph, vain = best, np.asarray(graph), 0
    for _ in range(int(GRAPHS().work / cuts.work / 5)):
        if vain >= min(GRAPHS().patience, len(graph)) * len(graph) or best[:2] == (0, 0):
            break
        if vain % GRAPHS().restart == GRAPHS().restart - 1:
            graph, cost = starts[int(rng.integers(len(starts)))], _WORST
            count = len(graph) // 2
        else:
            count = int(rng.choice(GRAPHS().shaken))
        shaken = cuts.shaken(graph, count, rng)
        new_cost, new = cuts.descend(shaken, found)
        if new_cost <= cost:
            cost, graph = new_cost, new
        vain = 0 if new_cost < best else vain + 1
        best = min(best, new_cost)
    return found
