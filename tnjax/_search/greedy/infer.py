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
from ...problems import Decomposition, Problem
from ...solve import ALS
from ...solve.limits import limits_of
from ..fitting.population import BATCH_BYTES
from ..fitting.races import attempt
from ..reach import warn_of_noise
from ..reduce.core import host_error, multiplied
from ..spectra.cuts import bounds_of, telling_cuts
from ..spectra.graphs import graphs_of
from ..spectra.tree_svd import tree_svd
from ..spectra.trees import best_trees
from ..spectra.unfoldings import Cut, Unfoldings, cut_name, unfolded_shape
from ..spectra.whitened import whitened
from ..strategy import Budget, Fit, Info, MoveRecord
from .fits import Step, advance, holding
from .measure import DEFINITE, TREE_MODES
from .options import Options
from .phase import Phase
from .state import GreedyState, Outcome, Rival
from .tries import admits

# Multiplications that measuring the unfoldings may take that graphs are inferred from.
TOLD = 1e11
# Cuts, those with the largest sides, that must have ranks before all are measured.
_PROBED = 6
# Singular values that sum up to less than this part of the norm are rounding, or in units of the
# precision of the data.
ROUNDING = 1e-6
_ROUNDING_UNITS = 100
# The ranks at so many times that are the same but for this part, unless the singular values fall
# off smoothly.
_COARSER, _SAME = 10.0, 0.05
# Logarithms of the ranks, all together, that must be missing to those of the sides.
_LOW = 0.02
# Noise of the size of the error leaves at least and in the median at most this part of it in the
# square (0.9 to 1.1 with 5 % of noise, single cuts more; images leave 0.0 to 0.5 of some cuts).
_WHITE = 0.8, 1.25
# Inferences, each with other perturbations; the graphs that one may name; and for how many starts
# and sweeps they are tried: all, and once more the first that have failed.
_ROUNDS = 3
_GRAPHS = 20
_FIRST, _LAST, _AGAIN = (4, 32), (32, 96), 6
# Graphs with fewer parameters that are tried after one that meets the target; modes up to which
# inferring once more takes less than a tenth of a second.
_SMALLER, _QUICK_MODES = 3, 5
# Flops that the sweeps of an attempt may cost, by which it has fewer starts, and those of all.
_FLOPS = 2e11
_ALL_FLOPS = 1e12
# A tree is taken before anything grows if it has at most so many times the least parameters that
# the ranks of single modes allow. (W states of rank two: 1.75; rings of rank two: 3.)
_TREE_WORTH = 2
# The error in the coordinates that are fitted in, as a part of the target error.
_INSIDE = 0.1


def applies(options: Options, problem: Problem, structure: Structure, budget: Budget) -> bool:
    """Whether graphs may be inferred at all."""
    target = budget.target_error
    dense = problem.is_dense and target is not None and 0 < target < 1
    plain = structure == Structure.rank_one(structure.dims) and options.edges is None
    dense = dense and not problem.nonnegative
    return options.infer and dense and plain and bool(telling_cuts(structure.dims, TOLD))


class Told(NamedTuple):
    """Ranks of the unfoldings, and the error down to which they are complete; None if noise covers
    some of them."""

    ranks: dict[Cut, int]
    exact: float | None


class Infer(Phase):
    """Graphs whose smallest cuts have the ranks of the unfoldings."""

    name = "infer"

    def step(self, options: Options, problem: Problem, state: GreedyState, budget: Budget) -> Step:
        return step(options, problem, state, budget)


def step(options: Options, problem: Problem, state: GreedyState, budget: Budget) -> Step:
    """Try the inferred graphs, if there are any; if none does, growth begins."""
    target = budget.target_error
    assert target is not None
    unfoldings = Unfoldings(problem.dense_target, target)
    names, info = telling_cuts(unfoldings.dims, TOLD), Info()
    probed = sorted(names, key=lambda cut: -min(unfolded_shape(unfoldings.dims, cut)))[:_PROBED]
    told, cuts = None, bounds_of(unfoldings, target, cuts=probed)
    warn_of_noise(unfoldings, probed, target)
    if cuts.definite >= DEFINITE:
        cuts = bounds_of(unfoldings, target, cuts=names)
        told = ranks_told(unfoldings, names, problem.dtype) if cuts.definite >= DEFINITE else None
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
    ranks, exact = told
    tensor, factors = unfoldings.tensor, [None] * unfoldings.tensor.ndim
    if exact is not None:
        tensor, factors = whitened(tensor, exact)
    inside = Decomposition(jnp.asarray(tensor, problem.dtype))
    info, failed, spent = Info(), [], 0.0

    def attempted(graph: Structure, starts: int, sweeps: int) -> Fit:
        nonlocal info, spent
        solver, shape = ALS(), dataclasses.replace(graph, dims=tensor.shape)
        target = _INSIDE * (budget.target_error or 0.0)
        limits = limits_of(solver, inside, target_error=target, max_steps=sweeps)
        cost = sweeps * inside.sweep_flops(shape)
        memory = (budget.memory_limit or BATCH_BYTES) // inside.fit_peak_bytes(shape)
        starts = max(1, min(starts, memory, int(_FLOPS / cost)))
        spent += starts * cost
        out = attempt(
            inside,
            solver,
            [(shape, None)],
            shape,
            limits=limits,
            lanes=starts,
            seed=state.seed,
            step_flops=inside.sweep_flops(shape),
        )
        network = multiplied(TensorNetwork(shape, out.fits[0].cores), factors, graph.dims)
        fit = Fit(graph, network.cores, host_error(problem, network))
        _interrupt.note(problem, fit)
        info = info + Info(None, out.programs, out.compile_seconds, (fit,), work=out.work)
        return fit

    def left() -> bool:
        fits = budget.fits_left is None or info.fitted < budget.fits_left
        return fits and spent < _ALL_FLOPS

    def inferred(turn: int) -> tuple[Structure, ...]:
        return graphs_of(
            ranks,
            problem.shape,
            counted=problem.counted_shape,
            complete=False,
            seed=(*state.seed, turn),
            most=_GRAPHS,
        )

    def smaller(fit: Fit, graphs: tuple[Structure, ...]) -> Fit:
        """Another graph, as close to the ranks, that does with fewer parameters, of another
        inference as well where that takes no time, and of those that failed from more starts; or
        the same."""
        params, allowed = problem.num_params, lambda g: admits(options, problem, state, budget, g)
        more = inferred(_ROUNDS) if len(problem.shape) <= _QUICK_MODES else ()
        fewer = [g for g in dict.fromkeys((*more, *graphs)) if params(g) < params(fit.structure)]
        for graph in list(filter(allowed, fewer))[:_SMALLER]:
            if left():
                other = attempted(graph, *(_LAST if graph in failed else _FIRST))
                if budget.meets(other.error):
                    return other
        return fit

    cp = Structure.cp(problem.shape, max(ranks.values(), default=1))
    alike = options.hyperedges and len(problem.shape) > 2 and len(set(ranks.values())) == 1
    for tries in (_FIRST, _LAST) if alike and admits(options, problem, state, budget, cp) else ():
        # No graph of bonds alone has the same rank in every cut.
        fit = attempted(cp, *tries) if left() else None
        if fit is not None and budget.meets(fit.error):
            return fit, info
    for turn in range(_ROUNDS):
        graphs = inferred(turn)
        for graph in graphs:
            if graph in failed or not admits(options, problem, state, budget, graph) or not left():
                continue
            fit = attempted(graph, *_FIRST)
            if budget.meets(fit.error):
                fit = smaller(fit, graphs)
                return fit, info
            failed.append(graph)
    for graph in failed[:_AGAIN]:
        if left():
            fit = attempted(graph, *_LAST)
            if budget.meets(fit.error):
                return fit, info
    return None, info


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
    if not options.internal or len(modes) > TREE_MODES or None in singles:
        return None
    least = sum(size * (rank or 1) for size, rank in zip(dims, singles, strict=True))
    target = budget.target_error or 0.0
    for found in best_trees(unfoldings, target, count=1, dims=dims, below=_TREE_WORTH * least):
        structure = found.tree.structure(found.ranks)
        if admits(options, problem, state, budget, structure):
            network = tree_svd(problem.dense_target, structure)
            cores = tuple(map(np.asarray, network.cores))
            fit = Fit(network.structure, cores, host_error(problem, network))
            if problem.num_params(fit.structure) <= _TREE_WORTH * least and budget.meets(fit.error):
                return fit
    return None


def ranks_told(unfoldings: Unfoldings, cuts: list[Cut], dtype: np.dtype) -> Told | None:
    """The ranks of the unfoldings: down to rounding for exact data, above the noise for noisy data,
    and None for all other data."""
    rounding = max(ROUNDING, _ROUNDING_UNITS * float(jnp.finfo(dtype).eps))
    exact = unfoldings.to_error(rounding)
    ranks = {cut: exact.spectrum(cut).least_rank(exact.error) for cut in cuts}
    most = {cut: min(unfolded_shape(unfoldings.dims, cut)) for cut in cuts}
    logs = lambda ranks: sum(math.log(rank) for rank in ranks.values())
    low = logs(ranks) <= (1 - _LOW) * logs(most)
    same = sum(exact.spectrum(cut).least_rank(_COARSER * rounding) for cut in cuts)
    if low and same >= (1 - _SAME) * sum(ranks.values()):
        return Told(ranks, exact.error)
    ranks = {cut: _above_noise(unfoldings, cut) for cut in cuts}
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
    least, most = _WHITE
    return not levels or bool(min(levels) >= least and np.median(levels) <= most)
