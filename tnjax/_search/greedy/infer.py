"""What `Greedy` does before it grows: the graphs that the ranks of the unfoldings tell are tried.

Where a network represents the data, up to noise, this spares the growth. Where no graph is close
to the ranks, or none reaches the target from random cores, growth begins as if nothing had been.
"""

import dataclasses
import math
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from ... import _interrupt
from ..._network import TensorNetwork
from ..._structure import Structure
from ..._tuned import tuned
from ...problems import Decomposition, Problem
from ...solve import ALS, LevenbergMarquardt
from ...solve.limits import limits_of
from ..fitting.population import SHARING
from ..fitting.races import attempt
from ..fitting.refit import refit
from ..reach import warn_of_noise
from ..reduce.core import host_error, multiplied
from ..spectra.cuts import bounds_of, telling_cuts
from ..spectra.graphs import graphs_of
from ..spectra.tree_svd import tree_svd
from ..spectra.trees import best_trees
from ..spectra.unfoldings import Cut, Unfoldings, cut_name, unfolded_shape
from ..spectra.whitened import whitened
from ..strategy import Budget, Fit, Info, MoveRecord
from . import incumbent
from .fits import Step, advance, holding
from .measure import MEASURING
from .options import Options
from .phase import Phase
from .state import GreedyState, Outcome, Rival
from .tries import admits


@dataclasses.dataclass(frozen=True)
class Inference:
    """Graphs inferred from the ranks of unfoldings.

    Attributes:
        told: multiplications that measuring the unfoldings may take, some ten seconds.
        probed: cuts, those with the largest sides, that must have ranks before all are measured.
        rounding: singular values that sum up to less than this part of the norm are rounding.
        rounding_units: the same in units of the precision of the data; the larger one counts.
        coarser: data have exact ranks if these stay at this many times the rounding; singular
            values that fall off smoothly do not.
        same: but for this part of the ranks.
        low: part of the logarithms of the sides, all together, that must be missing in those of the
            ranks.
        white: noise of the size of the error leaves at least the inverse of this factor of it in
            the square, and in the median at most this factor (with 5 % of noise 0.9 to 1.1, single
            cuts more; images leave 0.0 to 0.5 of some cuts).
        rounds: inferences, each with other perturbations.
        graphs: graphs that one inference may name.
        first: starts and sweeps by which each graph is tried.
        creeping: the best start goes on by Levenberg-Marquardt below this error: where sweeps creep
            towards an exact solution, that converges in some tens of steps ...
        converging: ... of which there are at most so many.
        last: starts and sweeps by which those that failed are tried once more.
        again: how many of those, the closest ones.
        smaller: graphs with fewer parameters that are tried after one that meets the target.
        quick_modes: modes up to which inferring once more takes less than a tenth of a second.
        flops: flops that the sweeps of one attempt may cost, by which it has fewer starts: some ten
            seconds.
        all_flops: the same of all attempts together.
        inside: the error in the whitened coordinates that are fitted in, as a part of the target
            error: what is small in them may be large outside.
        tree_worth: a tree is taken before anything grows if it has at most so many times the least
            parameters that the ranks of single modes allow (W states of rank two: 1.75; rings of
            rank two: 3).
    """

    told: float = 1e11
    probed: int = 6
    rounding: float = 1e-6
    rounding_units: int = 100
    coarser: float = 10.0
    same: float = 0.05
    low: float = 0.02
    white: float = 1.25
    rounds: int = 3
    graphs: int = 20
    first: tuple[int, ...] = (4, 32)
    creeping: float = 0.01
    converging: int = 40
    last: tuple[int, ...] = (32, 96)
    again: int = 6
    smaller: int = 3
    quick_modes: int = 5
    flops: float = 2e11
    all_flops: float = 1e12
    inside: float = 0.1
    tree_worth: int = 2


INFERENCE = tuned("inference", Inference())


def applies(options: Options, problem: Problem, structure: Structure, budget: Budget) -> bool:
    """Whether graphs may be inferred at all."""
    target = budget.target_error
    dense = problem.is_dense and target is not None and 0 < target < 1
    plain = structure == Structure.rank_one(structure.dims) and options.edges is None
    dense = dense and not problem.nonnegative
    return (
        options.infer and dense and plain and bool(telling_cuts(structure.dims, INFERENCE().told))
    )


class Told(NamedTuple):
    """Ranks of the unfoldings, and the error down to which they are complete; None if noise covers
    some of them."""

    ranks: dict[Cut, int]
    exact: float | None


class Infer(Phase):
    """Graphs whose smallest cuts have the ranks of the unfoldings."""

    name = "infer"

    def step(self, options: Options, problem: Problem, state: GreedyState, budget: Budget) -> Step:
        taken = step(options, problem, state, budget)
        return incumbent.settled(options, problem, taken)


def step(options: Options, problem: Problem, state: GreedyState, budget: Budget) -> Step:
    """Try the inferred graphs, if there are any; if none does, growth begins."""
    target = budget.target_error
    assert target is not None
    unfoldings = Unfoldings(problem.dense_target, target)
    names, info = telling_cuts(unfoldings.dims, INFERENCE().told), Info()
    probed = sorted(names, key=lambda cut: -min(unfolded_shape(unfoldings.dims, cut)))
    probed = probed[: INFERENCE().probed]
    told, cuts = None, bounds_of(unfoldings, target, cuts=probed)
    warn_of_noise(unfoldings, probed, target)
    if cuts.definite >= MEASURING().definite:
        cuts = bounds_of(unfoldings, target, cuts=names)
        if cuts.definite >= MEASURING().definite:
            told = ranks_told(unfoldings, names, problem.dtype)
    if told is not None:
        state = dataclasses.replace(state, cuts=cuts)
        found, info = found_graph(options, problem, state, budget, unfoldings, told)
        if found is not None:
            state = holding(options, problem, state, found)
            return state, dataclasses.replace(info, move=MoveRecord("infer")), Outcome.MET
        found = _small_tree(options, problem, state, budget, unfoldings, told)
        if found is not None:
            state, info = holding(options, problem, state, found), info + Info(fits=(found,))
            return state, dataclasses.replace(info, move=MoveRecord("tree")), Outcome.MET
    rival = None if told is not None else Rival()
    state = dataclasses.replace(state, rival=rival)
    state, screened, outcome = advance(options, problem, budget, state, MoveRecord("start"))
    outcome = Outcome.ENDED if outcome is Outcome.STAY else outcome
    return state, dataclasses.replace(info + screened, move=None), outcome


def found_graph(
    options: Options,
    problem: Problem,
    state: GreedyState,
    budget: Budget,
    unfoldings: Unfoldings,
    told: Told,
) -> tuple[Fit | None, Info]:
    """The first inferred graph that meets the target from random cores, and all that was done."""
    trials = _Trials(options, problem, state, budget, unfoldings, told)
    found = trials.hyperedge() or trials.graph()
    return found, trials.info


class _Trials:
    """Inferred graphs, fitted from random cores; `info` tells all that was done.

    Data with exact ranks are fitted in whitened coordinates.
    """

    def __init__(
        self,
        options: Options,
        problem: Problem,
        state: GreedyState,
        budget: Budget,
        unfoldings: Unfoldings,
        told: Told,
    ):
        self.options, self.problem, self.state, self.budget = options, problem, state, budget
        self.ranks = told.ranks
        tensor, self.factors = unfoldings.tensor, [None] * unfoldings.tensor.ndim
        if told.exact is not None:
            tensor, self.factors = whitened(tensor, told.exact)
        self.inside = Decomposition(jnp.asarray(tensor, problem.dtype))
        self.info, self.failed, self.spent = Info(), [], 0.0

    def hyperedge(self) -> Fit | None:
        """A hyperedge over all modes, if all ranks are equal and it meets the target: no graph of
        bonds alone has the same rank in every cut."""
        cp = Structure.cp(self.problem.shape, max(self.ranks.values(), default=1))
        alike = len(self.problem.shape) > 2 and len(set(self.ranks.values())) == 1
        if self.options.hyperedges and alike and self._admitted(cp):
            for tries in (INFERENCE().first, INFERENCE().last):
                fit = self._attempt(cp, tries) if self._left() else None
                if fit is not None and self.budget.meets(fit.error):
                    return fit
        return None

    def graph(self) -> Fit | None:
        """The first graph of bonds that meets the target, or a smaller one as close to the ranks;
        the closest ones of those that failed are tried once more."""
        for turn in range(INFERENCE().rounds):
            graphs = self._inferred(turn)
            for graph in graphs:
                if graph in self.failed or not self._admitted(graph) or not self._left():
                    continue
                fit = self._attempt(graph, INFERENCE().first)
                if self.budget.meets(fit.error):
                    return self._smaller(fit, graphs)
                self.failed.append(graph)
        for graph in self.failed[: INFERENCE().again]:
            if self._left():
                fit = self._attempt(graph, INFERENCE().last)
                if self.budget.meets(fit.error):
                    return fit
        return None

    def _smaller(self, fit: Fit, graphs: tuple[Structure, ...]) -> Fit:
        """Another graph, as close to the ranks, that does with fewer parameters, of another
        inference as well where that takes no time, and of those that failed from more starts; or
        the same."""
        params, quick = self.problem.num_params, len(self.problem.shape) <= INFERENCE().quick_modes
        more = self._inferred(INFERENCE().rounds) if quick else ()
        fewer = [g for g in dict.fromkeys((*more, *graphs)) if params(g) < params(fit.structure)]
        for graph in list(filter(self._admitted, fewer))[: INFERENCE().smaller]:
            if self._left():
                tries = INFERENCE().last if graph in self.failed else INFERENCE().first
                other = self._attempt(graph, tries)
                if self.budget.meets(other.error):
                    return other
        return fit

    def _inferred(self, turn: int) -> tuple[Structure, ...]:
        return graphs_of(
            self.ranks,
            self.problem.shape,
            counted=self.problem.counted_shape,
            complete=False,
            seed=(*self.state.seed, turn),
            most=INFERENCE().graphs,
        )

    def _admitted(self, graph: Structure) -> bool:
        return admits(self.options, self.problem, self.state, self.budget, graph)

    def _left(self) -> bool:
        """Whether the budget and the work for all attempts allow another one."""
        fits_left = self.budget.fits_left
        fits = fits_left is None or self.info.fitted < fits_left
        return fits and self.spent < INFERENCE().all_flops

    def _attempt(self, graph: Structure, tries: tuple[int, ...]) -> Fit:
        """A graph, fitted from so many starts by so many sweeps."""
        (starts, sweeps), inside, budget = tries, self.inside, self.budget
        solver, shape = ALS(), dataclasses.replace(graph, dims=inside.shape)
        target = INFERENCE().inside * (budget.target_error or 0.0)
        limits = limits_of(solver, inside, target_error=target, max_steps=sweeps)
        cost = sweeps * inside.sweep_flops(shape)
        memory = (budget.memory_limit or SHARING().batch_bytes) // inside.fit_peak_bytes(shape)
        starts = max(1, min(starts, memory, int(INFERENCE().flops / cost)))
        self.spent += starts * cost
        out = attempt(
            inside,
            solver,
            [(shape, None)],
            shape,
            limits=limits,
            lanes=starts,
            seed=self.state.seed,
            step_flops=inside.sweep_flops(shape),
        )
        (found,) = out.fits
        self.info += Info(None, out.programs, out.compile_seconds, work=out.work)
        if target < found.error < INFERENCE().creeping:
            found = self._converged(inside, found, target)
        network = multiplied(TensorNetwork(shape, found.cores), self.factors, graph.dims)
        fit = Fit(graph, network.cores, host_error(self.problem, network))
        exact = found.error <= max(target, INFERENCE().rounding)
        if exact and not budget.meets(fit.error):  # directions were left out as rounding
            fit = self._converged(self.problem, fit, budget.target_error or 0.0)
        _interrupt.note(self.problem, fit)
        self.info += Info(fits=(fit,))
        return fit

    def _converged(self, problem: Problem, fit: Fit, target: float) -> Fit:
        """A fit that is near an exact solution, by Levenberg-Marquardt."""
        solver = LevenbergMarquardt(max_steps=INFERENCE().converging)
        found, info = refit(problem, solver, fit.structure, fit.cores, target_error=target)
        self.info += dataclasses.replace(info, fits=())
        return found


def _small_tree(
    options: Options,
    problem: Problem,
    state: GreedyState,
    budget: Budget,
    unfoldings: Unfoldings,
    told: Told,
) -> Fit | None:
    """The best tree by truncated singular value decompositions, where no network is much smaller:
    each core has at least as many bonds as the rank of the unfolding over its modes."""
    modes, dims = range(len(problem.shape)), problem.counted_shape
    singles = [told.ranks.get(cut_name((mode,), len(modes))) for mode in modes]
    if not options.internal or len(modes) > MEASURING().tree_modes or None in singles:
        return None
    least = sum(size * (rank or 1) for size, rank in zip(dims, singles, strict=True))
    target = budget.target_error or 0.0
    most = INFERENCE().tree_worth * least
    for found in best_trees(unfoldings, target, count=1, dims=dims, below=most):
        structure = found.tree.structure(found.ranks)
        if admits(options, problem, state, budget, structure):
            network = tree_svd(problem.dense_target, structure)
            cores = tuple(map(np.asarray, network.cores))
            fit = Fit(network.structure, cores, host_error(problem, network))
            if problem.num_params(fit.structure) <= most and budget.meets(fit.error):
                return fit
    return None


def ranks_told(unfoldings: Unfoldings, cuts: list[Cut], dtype: np.dtype) -> Told | None:
    """The ranks of the unfoldings: down to rounding for exact data, above the noise for noisy data,
    and None for all other data."""
    rounding = max(INFERENCE().rounding, INFERENCE().rounding_units * float(jnp.finfo(dtype).eps))
    exact = unfoldings.to_error(rounding)
    ranks = {cut: exact.spectrum(cut).least_rank(exact.error) for cut in cuts}
    most = {cut: min(unfolded_shape(unfoldings.dims, cut)) for cut in cuts}
    logs = lambda ranks: sum(math.log(rank) for rank in ranks.values())
    low = lambda ranks: logs(ranks) <= (1 - INFERENCE().low) * logs(most)
    same = sum(exact.spectrum(cut).least_rank(INFERENCE().coarser * rounding) for cut in cuts)
    if low(ranks) and same >= (1 - INFERENCE().same) * sum(ranks.values()):
        return Told(ranks, exact.error)
    ranks = {cut: _above_noise(unfoldings, cut) for cut in cuts}
    if not low(ranks) and ranks != most:  # what little is left tells nothing of noise
        return None
    return Told(ranks, None) if _white(unfoldings, ranks) else None


def _above_noise(unfoldings: Unfoldings, cut: Cut) -> int:
    """Singular values above those of noise of the size of the error (Marchenko and Pastur)."""
    rows, columns = unfolded_shape(unfoldings.dims, cut)
    edge = unfoldings.error**2 * (rows**0.5 + columns**0.5) ** 2 / (rows * columns)
    return max(1, int(np.sum(unfoldings.spectrum(cut).squares > edge)))


def _white(unfoldings: Unfoldings, ranks: dict[Cut, int]) -> bool:
    """Whether what the ranks leave is noise of the size of the error: about the same of every
    unfolding, for the degrees of freedom that are left."""
    levels = []
    for cut, rank in ranks.items():
        rows, columns = unfolded_shape(unfoldings.dims, cut)
        tails = unfoldings.spectrum(cut).tails
        if rank < min(rows, columns):
            free = 1 - rank * (rows + columns - rank) / (rows * columns)
            levels.append(tails[min(rank, len(tails) - 1)] / (free * unfoldings.error**2))
    white = INFERENCE().white
    return not levels or bool(min(levels) >= 1 / white and np.median(levels) <= white)
