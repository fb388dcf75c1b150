"""Named formats, ranks chosen for the error or the parameter budget: what a search must beat."""

import dataclasses
import math
from typing import Any

import numpy as np

from ..._network import TensorNetwork
from ..._status import Status
from ..._structure import Structure
from ..._tuned import tuned
from ...moves.cores import Cores
from ...problems import Problem
from ...solve.limits import as_solver
from ..fitting.work import fit_work
from ..reach import least_error
from ..spectra.ranks import ranks_for_budget, ranks_for_error
from ..spectra.ring import ring_structures, ring_svd
from ..spectra.tree_svd import Tree
from ..spectra.trees import two_node_trees
from ..spectra.unfoldings import Unfoldings
from ..strategy import Budget, Fit, Info, MoveRecord
from .ladder import Ladder, LadderState
from .proposing import FITTING, Proposing, ProposingState, tree_of
from .tree import check_limits

FORMATS = ("tt", "tr", "tucker", "ht", "cp", "svd")
_NAMES = {
    "tt": Structure.tensor_train,
    "tr": Structure.tensor_ring,
    "tucker": Structure.tucker,
    "ht": Structure.hierarchical_tucker,
}


@dataclasses.dataclass(frozen=True)
class Fixed:
    """Networks of a fixed format.

    Attributes:
        budget_errors: errors of rings that are looked at for a parameter budget, between
            `least_error` and 0.9.
        least_error: the least of these errors.
        starts: random starts of a network whose ranks are given, as long as all of them together
            take no more sweeps than one fit may: one that ends early is at a saddle, or done.
    """

    budget_errors: int = 25
    least_error: float = 1e-3
    starts: int = 8


FIXED = tuned("fixed", Fixed())


# Who to cite for each format; the truncated SVD is everybody's.
_CITES = {
    "tt": ("oseledets2011",),
    "tr": ("zhao2016",),
    "tucker": ("vannieuwenhoven2012",),
    "ht": ("grasedyck2010",),
    "cp": ("kolda2009",),
    "svd": (),
}


@dataclasses.dataclass(frozen=True)
class FixedFormat(Proposing):
    """One named format, its ranks as small as the target error allows.

    Tensor train, Tucker and hierarchical Tucker ranks are chosen by an integer program from the
    spectra of the data, so that truncated SVDs keep the target error; then smaller ranks are
    tried, as long as a fit brings the error back under the target, and single ranks trimmed. A
    ring starts from the truncated SVDs of its best cut. "svd" is the truncated SVD of one
    unfolding, the best one: a network of two nodes with merged modes. The rank of CP is
    bracketed and bisected by fits; so are equal ranks of any format where the problem has no
    dense tensor.

    Args:
        format: "tt", "tr", "tucker", "ht", "cp" or "svd".
        trim: take single ranks away at the end while the target stays met.
        solver: for the cores, as in `fit`.
        ranks: the ranks themselves instead: one for all bonds (less where the tensor can use
            less), or one for each in the order of the constructor, such as
            `Structure.tensor_train`. That network is fitted and nothing else, from several starts
            where they are random and the fits end early.

    Raises:
        ValueError: for an unknown format, and for ranks that are not positive or, in a search, too
            many or too few.

    Example:
        >>> import jax, numpy as np
        >>> from tnjax import Decomposition, FixedFormat, search
        >>> x = np.random.default_rng(0).standard_normal((4, 4, 4))
        >>> result = search(
        ...     Decomposition(x),
        ...     key=jax.random.key(0),
        ...     strategy=FixedFormat("svd"),
        ...     target_error=0.5,
        ... )
        >>> result.structure.num_nodes, result.error <= 0.5
        (2, True)

    Reference:
        Oseledets (2011) for the train; Vannieuwenhoven et al. (2012) and Ghadiri et al. (2023)
        for Tucker and its core shape; Grasedyck (2010) for the hierarchical format; Zhao et al.,
        arXiv 1606.05535, algorithm 1, for the ring.
    """

    format: str = "tt"
    trim: bool = True
    solver: Any = None
    ranks: int | tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if self.ranks is not None:
            told = (self.ranks,) if isinstance(self.ranks, int) else tuple(self.ranks)
            if not told or any(rank < 1 for rank in told):
                raise ValueError(f"FixedFormat: ranks must be 1 or more, got {self.ranks!r}.")
            if len(told) > 1 and self.format in ("cp", "svd"):
                raise ValueError(f"FixedFormat: {self.format} has one rank, got {self.ranks!r}.")
        if self.format not in FORMATS:
            raise ValueError(
                f"FixedFormat: unknown format {self.format!r}; choose one of {', '.join(FORMATS)}."
            )

    @property
    def word(self) -> str:
        return self.format

    @property
    def cites(self) -> tuple[str, ...]:
        return _CITES[self.format]

    @property
    def on_core(self) -> bool:
        return self.ranks is None  # those that are given are ranks of the tensor itself

    def groups(
        self, problem: Problem, budget: Budget, seed: tuple[int, ...]
    ) -> tuple[tuple[Structure, ...], ...]:
        check_limits(budget, "FixedFormat")
        if self._by_rank(problem):
            return ()
        tensor, dims = problem.dense_target, tuple(problem.counted_shape)
        target, limit = budget.target_error, budget.max_params
        groups: list[tuple[Structure, ...]] = []
        if target is not None:
            errors = [factor * target for factor in FITTING().bold if factor * target < 1]
            if self.format == "tr":
                ladder = [ring_structures(tensor, error, dims)[0] for error in errors]
            else:
                ladder = [self._for_error(tensor, error, dims) for error in errors]
            groups.append(tuple(dict.fromkeys(ladder)))
        safe = any(budget.forbids(problem, s) is None for group in groups for s in group[:1])
        if limit is not None and not safe:
            groups.insert(0, tuple(self._for_budget(tensor, limit, dims)))
        return tuple(groups)

    def start_cores(self, problem: Problem, structure: Structure, state: ProposingState) -> Cores:
        closed = len(structure.edges) == len(structure.dims)  # else it is a chain
        if self.format == "tr" and closed and problem.is_dense:
            return ring_svd(problem.dense_target, structure)
        return super().start_cores(problem, structure, state)

    # Structures -----------------------------------------------------------------------

    def _for_error(self, tensor: np.ndarray, error: float, dims) -> Structure:
        unfoldings = Unfoldings(tensor, error)
        ranked = [
            (tree, ranks_for_error(tree, unfoldings, error, dims=dims))
            for tree in self._trees(tensor.shape)
        ]
        tree, ranks = min(ranked, key=lambda pair: pair[0].num_params(pair[1], dims))
        return tree.structure(ranks)

    def _for_budget(self, tensor: np.ndarray, limit: int, dims) -> list[Structure]:
        """Within the parameter budget, by the lowest error that truncation would leave."""
        if self.format == "tr":
            return [
                s
                for error in np.geomspace(FIXED().least_error, 0.9, FIXED().budget_errors)
                for s in ring_structures(tensor, float(error), dims)[:1]
                if dataclasses.replace(s, dims=dims).num_params <= limit
            ][:1]
        unfoldings = Unfoldings(tensor)
        found = []
        for tree in self._trees(tensor.shape):
            ranks = ranks_for_budget(tree, unfoldings, limit, dims=dims)
            if ranks is not None:
                tails = [
                    unfoldings.spectrum(cut).tails[ranks[edge]] for edge, cut in tree.cuts.items()
                ]
                found.append((sum(tails), tree.structure(ranks)))
        return [structure for _, structure in sorted(found, key=lambda pair: pair[0])[:1]]

    def _trees(self, dims: tuple[int, ...]) -> list[Tree]:
        """The trees of the format; several for "svd", where any cut will do."""
        if self.format == "svd":
            return two_node_trees(dims)
        return [Tree.of(_template(self.format, dims, 2))]

    # Ranks by trial -------------------------------------------------------------------

    def _by_rank(self, problem: Problem) -> bool:
        return self.format == "cp" or not problem.is_dense

    def init(
        self, problem: Problem, start: TensorNetwork, budget: Budget, *, seed: tuple[int, ...]
    ) -> tuple[ProposingState, Info]:
        if self.ranks is not None:
            return self._told(problem, budget, seed)
        state, info = super().init(problem, start, budget, seed=seed)
        if self._by_rank(problem) and state.phase == "propose":
            return LadderState.of(state), info
        return state, info

    def _told(self, problem: Problem, budget: Budget, seed: tuple[int, ...]):
        """The network of the given ranks, fitted."""
        dims, ranks = tuple(problem.shape), self.ranks
        assert ranks is not None
        if isinstance(ranks, int) or self.format in ("cp", "svd"):
            (rank,) = (ranks,) if isinstance(ranks, int) else ranks
            structure = _template(self.format, dims, rank)
        else:
            structure = _NAMES[self.format](dims, ranks)
        why = budget.forbids(problem, structure)
        if why is not None:
            raise ValueError(
                f"FixedFormat: {structure} has the ranks that were given, but {why.message}."
            )
        fit, info = self._best_of_starts(problem, structure, budget, seed)
        status = Status.TARGET_REACHED if budget.meets(fit.error) else Status.STAGNATED
        if not math.isfinite(fit.error):
            status = Status.NON_FINITE
        state = ProposingState(
            fit.structure, fit.cores, fit.error, (*seed, 1), phase="done", status=status
        )
        return state, dataclasses.replace(info, move=MoveRecord(self.format))

    def _best_of_starts(
        self, problem: Problem, structure: Structure, budget: Budget, seed: tuple[int, ...]
    ) -> tuple[Fit, Info]:
        """The best fit of a structure: of one start, where that is not random."""
        state = ProposingState(structure, (), math.inf, seed)
        cores = self.start_cores(problem, structure, state)
        fit, info = self._fit(problem, structure, cores, budget)
        if not self._random_start(problem, structure):
            return fit, info
        enough = max(budget.target_error or 0.0, least_error(problem))
        solver = as_solver(self.solver, problem)
        none, most = (
            fit_work(structure, problem.sweep_flops(structure), round(steps))
            for steps in (0, FITTING().effort * solver.max_steps)
        )
        spent = info.work - none
        for turn in range(1, FIXED().starts):
            if fit.error <= enough or spent >= most - none:
                break
            state = dataclasses.replace(state, seed=(*seed, turn))
            cores = self.start_cores(problem, structure, state)
            other, more = self._fit(problem, structure, cores, budget)
            info, spent = info + more, spent + more.work - none
            if math.isfinite(other.error) and not fit.error <= other.error:
                fit = other
        return fit, info

    def _random_start(self, problem: Problem, structure: Structure) -> bool:
        """Whether `start_cores` draws the cores."""
        ring = self.format == "tr" and problem.is_dense
        return not ring and tree_of(problem, structure) is None

    def step(
        self, problem: Problem, state: ProposingState, budget: Budget
    ) -> tuple[ProposingState, Info]:
        if isinstance(state, LadderState) and state.phase == "propose":
            template = lambda rank: _template(self.format, tuple(problem.shape), rank)
            return Ladder(self, template).step(problem, state, budget)
        return super().step(problem, state, budget)


def _template(format: str, dims: tuple[int, ...], rank: int) -> Structure:
    """The format with equal ranks, where a tensor of these sizes can use them."""
    if format == "cp":
        return Structure.cp(dims, rank)
    if format == "tr":
        return Structure.tensor_ring(dims, rank) if len(dims) > 2 else _template("tt", dims, rank)
    if format == "svd":
        half = (len(dims) + 1) // 2
        legs = tuple(range(half)), tuple(range(half, len(dims)))
        return Structure(dims, legs, {(0, 1): rank}) if legs[1] else Structure.rank_one(dims)
    structure = _NAMES[format](dims, 2)
    most = Tree.of(structure).largest_ranks()
    return Structure(dims, structure.legs, {e: min(rank, most[e]) for e in structure.edges})
