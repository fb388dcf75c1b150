r"""What every network must carry across every cut.

Cut the modes of a tensor in two, S and the rest. A network represents a tensor whose unfolding
over S has a rank of at most the product of the ranks of all bonds that cross the cut. By Eckart
and Young no matrix of a rank below the numerical rank $R_S(\varepsilon)$ of the unfolding comes
within a relative error $\varepsilon$ of it. So a network with an error of at most $\varepsilon$
has

$$\prod_{e \text{ crosses } S} r_e \ge R_S(\varepsilon) \quad \text{for every } S,$$

a necessary condition that costs no fit. It is not sufficient.
"""

import dataclasses
import functools
import itertools
import math
import warnings
from collections.abc import Iterable, Sequence

import numpy as np
from jaxtyping import Array, PRNGKeyArray, Shaped

from ..._deprecated import key_for_seed
from ..._formats import all_pairs
from ..._keys import host_seed
from ..._structure import Structure
from ..._tuned import tuned
from .choices import Program
from .integer import minimize_params
from .tree_svd import as_tensor, check_error
from .unfoldings import Cut, Unfoldings, cut_name, unfolded_shape


@dataclasses.dataclass(frozen=True)
class Cuts:
    """Cut bounds.

    Attributes:
        all_cuts_order: orders up to which all cuts are measured.
        sampled_cuts: cuts that are measured otherwise.
        sketched: multiplications for each entry that a sketch takes.
        reorder: multiplications that take as long as bringing an entry into its place.
        all_sides_nodes: nodes up to which every way to place them on the two sides of a cut is
            looked at.
        single_ranks: ranks up to this are options of their own in the integer program.
        interval: ratio of the ends of the intervals that larger ones share.
        certificate_nodes: nodes of the solver's tree for one round of a certificate.
        slack: tolerance of comparisons of logarithms of ranks, for rounding.
    """

    all_cuts_order: int = 10
    sampled_cuts: int = 512
    sketched: int = 150
    reorder: int = 50
    all_sides_nodes: int = 12
    single_ranks: int = 16
    interval: float = 1.15
    certificate_nodes: int = 500
    slack: float = 1e-9


CUTS = tuned("cuts", Cuts())


@dataclasses.dataclass(frozen=True)
class Certificate:
    """A lower bound of the parameters of certain networks.

    Attributes:
        num_params: no network with one node for each mode, bonds between pairs of nodes and no
            internal nodes has fewer parameters and satisfies the cut bounds, hence none of them
            reaches the target error. Networks with merged modes, internal nodes or hyperedges
            are not covered.
        structure: one with few parameters that satisfies all cut bounds (it need not reach the
            target error); None if none was found within the nodes.
        target_error: the relative error that all of this is about.
        dims: sizes of the modes.
        tight: whether `structure` has `num_params` parameters, so that no better bound follows
            from the cuts.

    Example:
        >>> import numpy as np
        >>> from tnjax import cut_bounds
        >>> certificate = cut_bounds(np.eye(4), 0.1).certificate()
        >>> certificate.num_params, certificate.tight
        (32, True)
    """

    num_params: int
    structure: Structure | None
    target_error: float
    dims: tuple[int, ...]

    @property
    def tight(self) -> bool:
        """Whether `structure` has `num_params` parameters."""
        return self.structure is not None and self.structure.num_params <= self.num_params

    def __str__(self) -> str:
        return (
            f"No network over these {len(self.dims)} nodes (one for each mode, bonds between "
            f"pairs) with fewer than {self.num_params} parameters satisfies the cut bounds of a "
            f"relative error of {self.target_error:g}."
        )


@dataclasses.dataclass(frozen=True, repr=False)
class CutBounds:
    """Lower bounds of the product of the ranks that cross each cut of the modes.

    Attributes:
        dims: of the tensor.
        target_error: relative error at which the bounds hold.
        ranks: the bound of every cut that was measured, keyed by the modes on the side without
            the last mode; cuts that any network satisfies (rank 1) are left out.
        complete: whether all cuts were measured.
        definite: how much of the ranks is left at twice the error: the sum of their logarithms at
            twice the error, over the sum at the error. Near 1 the tensor has ranks, as the tensor
            of a network has (up to noise). Well below 1 its singular values fall off slowly, and
            the error decides.

    Example:
        >>> import numpy as np
        >>> from tnjax import Structure, cut_bounds
        >>> bounds = cut_bounds(np.eye(4), 0.1)
        >>> bounds.rank((0,)), bounds.admits(Structure.tensor_train((4, 4), 3))
        (4, False)
        >>> bounds.violations(Structure.tensor_train((4, 4), 3))
        {(0,): (3, 4)}

    Reference:
        Eckart and Young, Psychometrika 1 (1936).
    """

    dims: tuple[int, ...]
    target_error: float
    ranks: dict[Cut, int]
    complete: bool
    definite: float = 1.0

    def __hash__(self) -> int:
        return hash((self.dims, self.target_error, tuple(sorted(self.ranks.items()))))

    def rank(self, modes: Iterable[int]) -> int:
        """The bound of the cut between some modes and the others; 1 where none is known."""
        return self.ranks.get(cut_name(modes, len(self.dims)), 1)

    def admits(self, structure: Structure) -> bool:
        """Whether a structure could reach the target error as far as the cuts tell: False means
        that no cores can make it do so, and fitting it is in vain.

        Internal nodes and nodes with several modes stand on whichever side is cheapest.
        """
        return not self._violated(structure, first=True)

    def violations(self, structure: Structure) -> dict[Cut, tuple[int, int]]:
        """The cuts that carry too little: for each, the largest rank that the structure carries
        across it, and what it needs."""
        return dict(self._violated(structure, first=False))

    def certificate(
        self,
        *,
        dims: tuple[int, ...] | None = None,
        nodes: int | None = None,
        seconds: float | None = None,
    ) -> Certificate:
        """The fewest parameters that satisfy the bounds, by integer programming.

        Args:
            dims: mode sizes to count parameters with, if not those of the tensor.
            nodes: of the solver's tree in each of up to eight rounds (500 by default), after which
                the best bound so far is returned; it holds all the same. The same bounds give the
                same certificate, however busy the machine is.
            seconds: of version 0.1; without effect, and a `DeprecationWarning`.

        Returns:
            The bound, and the smallest structure found that satisfies all cut bounds.
        """
        if seconds is not None:
            warnings.warn(
                "certificate: seconds=... has no effect any more, so that the machine's load does "
                "not change the bound; give nodes=... instead.",
                DeprecationWarning,
                stacklevel=2,
            )
        nodes = CUTS().certificate_nodes if nodes is None else nodes
        dims = self.dims if dims is None else tuple(dims)
        order = len(dims)
        pairs = list(all_pairs(order))
        if not self.ranks:
            lone = Structure.rank_one(dims)
            return Certificate(lone.num_params, lone, self.target_error, dims)
        crossing = {
            cut: [e for e, (a, b) in enumerate(pairs) if (a in cut) != (b in cut)]
            for cut in self.ranks
        }
        most = [
            max((r for cut, r in self.ranks.items() if e in crossing[cut]), default=1)
            for e in range(len(pairs))
        ]
        options = [_intervals(rank) for rank in most]  # (least, most) rank of each option
        program = Program(
            tuple(
                (math.log(dims[k]), tuple(e for e, pair in enumerate(pairs) if k in pair))
                for k in range(order)
            ),
            tuple(np.log([float(low) for low, _ in option]) for option in options),
        )
        highs = [np.log([float(high) for _, high in option]) for option in options]
        rows = [
            ({e: highs[e] for e in crossing[cut]}, math.log(rank) - CUTS().slack)
            for cut, rank in self.ranks.items()
        ]
        found = minimize_params(program, at_least=rows, nodes=nodes)
        structure = None
        if found.chosen is not None:
            picked = {pairs[e]: options[e][o][1] for e, o in enumerate(found.chosen)}
            structure = self._tightened(Structure.from_edges(self.dims, picked), dims)
        bound = max(sum(dims), math.ceil(found.bound * (1 - 1e-6) - 1e-3))
        if structure is not None:
            bound = min(bound, structure.num_params)
        return Certificate(bound, structure, self.target_error, dims)

    def _tightened(self, structure: Structure, dims: tuple[int, ...]) -> Structure:
        """With the mode sizes `dims`: ranks lowered one by one while all bounds hold, the largest
        saving first."""
        count = lambda structure: dataclasses.replace(structure, dims=dims).num_params
        while True:
            smaller = [structure.shrink(edge) for edge in structure.edges]
            smaller = [s for s in smaller if self.admits(s)]
            if not smaller:
                return dataclasses.replace(structure, dims=dims)
            structure = min(smaller, key=count)

    # Capacities -----------------------------------------------------------------------

    def _violated(self, structure: Structure, *, first: bool):
        if structure.dims != self.dims:
            raise ValueError(
                f"The cut bounds are for tensors of shape {self.dims}, the structure for "
                f"{structure.dims}."
            )
        if not self.ranks:
            return []
        cuts, needed = self._table
        capacity = _capacities(structure, cuts)
        short = np.flatnonzero(capacity < np.log(needed) - CUTS().slack)
        names = list(self.ranks)
        short = short[:1] if first else short
        return [
            (names[c], (math.floor(math.exp(capacity[c]) + 1e-6), int(needed[c]))) for c in short
        ]

    @functools.cached_property
    def _table(self) -> tuple[np.ndarray, np.ndarray]:
        """Which modes are on the named side: booleans [cuts, modes]; and the ranks needed."""
        order = range(len(self.dims))
        sides = np.asarray([[mode in cut for mode in order] for cut in self.ranks])
        return sides, np.asarray(list(self.ranks.values()))

    def __repr__(self) -> str:
        largest = max(self.ranks.values(), default=1)
        return (
            f"CutBounds(target_error={self.target_error:g}, cuts={len(self.ranks)}, "
            f"largest={largest}, complete={self.complete})"
        )


@key_for_seed
def cut_bounds(
    tensor: Shaped[Array | np.ndarray, "..."],
    target_error: float,
    *,
    key: PRNGKeyArray | None = None,
    max_work: float | None = None,
) -> CutBounds:
    """The bounds that any network of a tensor must satisfy to reach a relative error.

    All cuts are measured up to order 10; above, those of one and two modes, those of neighboring
    modes, and a sample of the others. Large unfoldings are sketched, which can only make a bound
    lower than it could be, never too high.

    Args:
        tensor: real or complex, dense.
        target_error: relative Frobenius error, in [0, 1).
        key: of the sample and the sketches; `jax.random.key(0)` by default.
        max_work: multiplications that all cuts together may take by the forecast, some 1e10 a
            second; those with the smallest unfoldings come first. All of them by default.

    Returns:
        The bounds of every cut that was measured.

    Raises:
        ValueError: if the tensor is zero or not finite, or the error is out of range.

    Example:
        >>> import numpy as np
        >>> from tnjax import Structure, cut_bounds
        >>> rng = np.random.default_rng(0)
        >>> x = np.einsum("ia,jab,kb->ijk", *map(rng.standard_normal, [(4, 2), (5, 2, 3), (6, 3)]))
        >>> bounds = cut_bounds(x, 1e-3)
        >>> bounds.ranks[0,], bounds.admits(Structure.tensor_train((4, 5, 6), (2, 2)))
        (2, False)
        >>> bounds.certificate().num_params  # 8 + 30 + 18, the planted network
        56
    """
    data = as_tensor(tensor, "cut_bounds")
    error = check_error(target_error, "cut_bounds")
    if not np.any(data):
        raise ValueError("cut_bounds: the tensor is zero, so a relative error has no meaning.")
    seed = 0 if key is None else host_seed(key)
    return bounds_of(Unfoldings(data, error, seed=seed), error, seed=seed, max_work=max_work)


def bounds_of(
    unfoldings: Unfoldings,
    error: float,
    *,
    cuts: list[Cut] | None = None,
    seed: int = 0,
    max_work: float | None = None,
) -> CutBounds:
    """The bounds from unfoldings that may be measured already; of all cuts, or of those given."""
    dims = unfoldings.dims
    chosen, complete = _choose_cuts(len(dims), seed)
    if cuts is None:
        cuts = chosen
    else:
        complete = complete and len(cuts) == len(chosen)
    if max_work is not None:
        affordable = _affordable(dims, cuts, max_work)
        cuts, complete = affordable, complete and len(affordable) == len(cuts)
    ranks = {cut: unfoldings.spectrum(cut).least_rank(error) for cut in cuts}
    ranks = {cut: rank for cut, rank in ranks.items() if rank > 1}
    here = sum(math.log(rank) for rank in ranks.values())
    there = sum(math.log(unfoldings.spectrum(cut).least_rank(2 * error)) for cut in ranks)
    return CutBounds(dims, error, ranks, complete, there / here if here else 1.0)


def _choose_cuts(order: int, seed: int) -> tuple[list[Cut], bool]:
    modes = range(order - 1)  # the side without the last mode names the cut
    if order <= CUTS().all_cuts_order:
        sizes = range(1, order)
        return [c for size in sizes for c in itertools.combinations(modes, size)], True
    cuts = {c for size in (1, 2) for c in itertools.combinations(modes, size)}
    cuts |= {tuple(range(a, b)) for a in modes for b in range(a + 1, order)}
    cuts |= {tuple(m for m in modes if m != a) for a in modes}
    rng = np.random.default_rng(seed)
    while len(cuts) < CUTS().sampled_cuts:
        cuts.add(tuple(m for m in modes if rng.random() < 0.5) or (0,))
    return sorted(cuts), False


def telling_cuts(dims: tuple[int, ...], max_work: float) -> list[Cut]:
    """All cuts, or those with at most three modes on a side, whichever can be measured within a
    forecast; none otherwise."""
    order = len(dims)
    if order > CUTS().all_cuts_order:
        return []
    cuts, _ = _choose_cuts(order, 0)
    few = [cut for cut in cuts if min(len(cut), order - len(cut)) <= 3]
    for some in (cuts, few):
        if len(_affordable(dims, some, max_work)) == len(some):
            return some
    return []


def _affordable(dims: tuple[int, ...], cuts: list[Cut], max_work: float) -> list[Cut]:
    """The cuts with the smallest sides that together stay within a forecast."""
    work = work_of(dims, cuts)
    order = np.argsort([min(unfolded_shape(dims, cut)) for cut in cuts], kind="stable")
    return [cuts[n] for n in order[np.cumsum(work[order]) <= max_work]]


def work_of(dims: tuple[int, ...], cuts: Sequence[Cut]) -> np.ndarray:
    """Multiplications that the spectrum of each cut takes."""
    smaller = np.asarray([min(unfolded_shape(dims, cut)) for cut in cuts])
    # Large sides are sketched, and even the smallest cut reorders all entries.
    return math.prod(dims) * (np.minimum(smaller, CUTS().sketched) + CUTS().reorder)


def _intervals(most: int) -> list[tuple[int, int]]:
    """Ranks 1 to `most`, small ones alone and large ones in intervals (least, most)."""
    out, low = [], 1
    while low <= most:
        high = low if low <= CUTS().single_ranks else min(most, int(low * CUTS().interval))
        out.append((low, high))
        low = high + 1
    return out


def _capacities(structure: Structure, cuts: np.ndarray) -> np.ndarray:
    """The logarithm of the largest rank that a structure carries across each cut: the cheapest
    way to place its nodes on two sides, a mode on the other side than its node costing its
    size. With many nodes not all ways are looked at, and the result may be too large."""
    nodes = structure.num_nodes
    log_dims = np.log([float(n) for n in structure.dims])
    owner = np.empty(len(structure.dims), int)
    for node, legs in enumerate(structure.legs):
        owner[list(legs)] = node
    if nodes <= CUTS().all_sides_nodes:
        sides, bonds = _all_sides(structure)
        modes = sides[:, owner].astype(np.float64)  # [ways, modes]
        wanted = cuts.astype(np.float64)
        # A mode is cut off if its node and the cut disagree: a + b - 2ab.
        cost = (modes * log_dims).sum(1)[:, None] + (wanted * log_dims).sum(1)[None]
        cost = cost - 2 * (modes * log_dims) @ wanted.T + bonds[:, None]
        return cost.min(0)
    return np.asarray([_descend(structure, owner, log_dims, cut) for cut in cuts])


@functools.lru_cache(maxsize=1024)
def _all_sides(structure: Structure) -> tuple[np.ndarray, np.ndarray]:
    """Every way to place the nodes on two sides, and for each the
    logarithm of the product of the ranks of the bonds that cross."""
    count = structure.num_nodes
    sides = (np.arange(2**count)[:, None] >> np.arange(count)) & 1 == 1
    return sides, _crossing(structure, sides)


def _crossing(structure: Structure, sides: np.ndarray) -> np.ndarray:
    bonds = np.zeros(len(sides))
    for edge, rank in structure.edges.items():
        ends = sides[:, list(edge)]
        bonds += np.where(ends.any(1) & ~ends.all(1), math.log(rank), 0.0)
    return bonds


def _descend(structure: Structure, owner, log_dims, cut: np.ndarray) -> float:
    """Nodes go where most of their modes are, then change sides one by one while that pays."""
    count = structure.num_nodes

    def cost(sides: np.ndarray) -> np.ndarray:
        apart = sides[:, owner] != cut
        return _crossing(structure, sides) + (apart * log_dims).sum(1)

    side = np.zeros(count, bool)
    for node, legs in enumerate(structure.legs):
        if legs:
            side[node] = sum(log_dims[m] * (1 if cut[m] else -1) for m in legs) > 0
    best = float(cost(side[None])[0])
    while True:
        flipped = side ^ np.eye(count, dtype=bool)
        costs = cost(flipped)
        pick = int(np.argmin(costs))
        if costs[pick] >= best - CUTS().slack:
            return best
        side, best = flipped[pick], float(costs[pick])
