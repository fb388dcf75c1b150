r"""Completion with modes in groups, where growth cannot begin: no product of vectors explains any
of what is held out.

The modes are put together in three groups, which leaves a tensor of order 3. A train of two bonds
completes it easily: it has few stationary points, and both outer cores begin at the leading
singular vectors of their unfoldings, which the entries estimate. The right groups give themselves
away: only they explain entries that were not seen. The completed tensor is dense, and is decomposed
like any other.
"""

import dataclasses
import itertools
import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int

from ... import _compile
from ..._structure import Structure
from ..._tuned import tuned
from ...moves.cores import Cores
from ...problems import Decomposition, Problem, Sampled, Samples
from ...problems.coordinates import entry_keys
from ...problems.leading import leading_vectors
from ...problems.samples import HostSamples
from ...solve.rows import cholesky_rows
from ..spectra.cuts import telling_cuts
from ..spectra.graphs import GRAPHS
from ..spectra.tree_svd import tree_svd
from ..spectra.trees import best_trees
from ..spectra.unfoldings import Unfoldings
from ..strategy import Budget, Info, MoveRecord
from .fits import Step, advance
from .infer import INFERENCE, found_graph, ranks_told
from .measure import MEASURING
from .options import Options
from .phase import Phase
from .state import GreedyState, Outcome


@dataclasses.dataclass(frozen=True)
class Completing:
    """Completion of a tensor with its modes in three groups.

    Attributes:
        nothing: a start leaves nothing to grow from if its error on held-out entries is at least
            this.
        most_entries: entries that are looked at; more take longer and tell no more.
        ranks: ranks of both bonds that are tried; too high a rank does as well, if there are
            entries enough.
        most_products: products of two features of the middle core, for all entries: about a second
            of sweeps.
        most_rows: rows of an outer core, which is solved for row by row.
        unknowns: unknowns for each entry: with more the entries do not tell the cores.
        most_groupings: ways to put the modes in groups that are tried, those with the fewest
            unknowns.
        ridge: the ridge of the first sweep, relative to the mean of the diagonals; it decides at
            first, where the entries would lead astray.
        ridge_factor: factor of the ridge from sweep to sweep.
        ridge_units: the last ridge, in units of the precision.
        sweeps: sweeps between two looks at the held-out entries.
        looks: looks at the most.
        go_on: groupings that go on after the first look.
        hopeful: their largest held-out error at that look.
        better: a grouping has ended if the error is not below this part of that at the last look.
        useful: held-out error at which a completion will do.
        found: held-out error at which no higher ranks are tried.
    """

    nothing: float = 0.9
    most_entries: int = 100_000
    ranks: tuple[int, ...] = (2, 3, 4, 6)
    most_products: float = 4e7
    most_rows: int = 4096
    unknowns: float = 0.5
    most_groupings: int = 24
    ridge: float = 0.3
    ridge_factor: float = 0.8
    ridge_units: float = 1e5
    sweeps: int = 10
    looks: int = 10
    go_on: int = 3
    hopeful: float = 0.9
    better: float = 0.9
    useful: float = 0.5
    found: float = 0.1


COMPLETING = tuned("grouped", Completing())


class Grouping(NamedTuple):
    """Modes of the first, the middle and the last core."""

    first: tuple[int, ...]
    middle: tuple[int, ...]
    last: tuple[int, ...]


class Completed(NamedTuple):
    """All entries, in the units of the problem, and the relative error of those held out."""

    tensor: Float[np.ndarray, "..."]
    error: float


def applies(options: Options, problem: Problem, state: GreedyState) -> bool:
    """Whether a completion has fitted its start in vain, and groups of modes may help."""
    entries = problem.sampled
    if entries is None or problem.nonnegative:
        return False
    plain = state.structure == Structure.rank_one(problem.shape) and options.edges is None
    judged = entries.held_out is not None and not jnp.issubdtype(problem.dtype, jnp.complexfloating)
    few = len(problem.shape) <= GRAPHS().most_modes
    small = few and math.prod(problem.shape) <= MEASURING().most_cells
    return options.infer and plain and judged and small and state.error >= COMPLETING().nothing


class Grouped(Phase):
    """A completion with modes in groups, decomposed."""

    name = "grouped"

    def step(self, options: Options, problem: Problem, state: GreedyState, budget: Budget) -> Step:
        return step(options, problem, state, budget)


def step(options: Options, problem: Problem, state: GreedyState, budget: Budget) -> Step:
    """Complete with groups of modes, decompose, and fit to the entries; if that explains no more
    than the start does, growth begins as if nothing had been."""
    completed, info = complete(problem)
    if completed is None:
        return state, info, Outcome.ENDED
    (structure, cores), more = _decomposed(options, problem, state, completed)
    info = info + dataclasses.replace(more, fits=())  # those of another problem
    if budget.forbids(problem, structure) is not None:
        return state, info, Outcome.ENDED
    capacity = options.capacity(problem, structure)
    trial = dataclasses.replace(state, structure=structure, cores=cores, capacity=capacity)
    trial, fitted, outcome = advance(options, problem, budget, trial, MoveRecord("infer"))
    if not trial.error < state.error:
        return state, dataclasses.replace(info + fitted, move=None), Outcome.ENDED
    outcome = Outcome.ENDED if outcome is Outcome.STAY else outcome
    return trial, dataclasses.replace(info + fitted, move=fitted.move), outcome


def complete(problem: Problem) -> tuple[Completed | None, Info]:
    """The completion that explains most of the held-out entries, if it explains a good part."""
    info = Info()
    best = Completed(np.zeros(()), math.inf)
    assert problem.sampled is not None
    entries = _Entries.of(problem.shape, problem.sampled)
    for rank in COMPLETING().ranks:
        enough = rank**4 * entries.count <= COMPLETING().most_products
        found = groupings(problem.shape, rank, entries.count if enough else 0)
        fits = []
        room = _room(problem.shape, found)
        for grouping in found:
            fit, info = _Fit.start(entries, grouping, rank, room).swept(info)
            fits.append(fit)
        hopeful = sorted((f for f in fits if f.error < COMPLETING().hopeful), key=lambda f: f.error)
        for fit in hopeful[: COMPLETING().go_on]:
            for _ in range(1, COMPLETING().looks):
                later, info = fit.swept(info)
                ended = not later.error < COMPLETING().better * fit.error
                fit = min(fit, later, key=lambda f: f.error)
                if ended:
                    break
            if fit.error < best.error:
                best = Completed(fit.dense(), fit.error)
        if best.error <= COMPLETING().found:
            break
    return (best if best.error <= COMPLETING().useful else None), info


def groupings(shape: tuple[int, ...], rank: int, count: int) -> list[Grouping]:
    """All ways to put modes in three groups whose cores have few unknowns beside the number of
    entries; those with the fewest unknowns first."""
    found = []
    for groups in itertools.product(range(3), repeat=len(shape)):
        if set(groups) != {0, 1, 2} or groups.index(0) > groups.index(2):  # either end is first
            continue
        parts = Grouping(*(tuple(m for m, g in enumerate(groups) if g == k) for k in range(3)))
        first, middle, last = (_size(shape, part) for part in parts)
        unknowns = (first + last) * rank + middle * rank**2
        determined = min(first, last) >= rank and unknowns <= COMPLETING().unknowns * count
        if determined and max(first, last) <= COMPLETING().most_rows:
            found.append((unknowns, parts))
    return [parts for _, parts in sorted(found)[: COMPLETING().most_groupings]]


def _room(shape: tuple[int, ...], groupings: Sequence[Grouping]) -> tuple[int, int]:
    """Rows of an outer core and of a middle one that do for all groupings: one program."""
    sizes = [[_size(shape, part) for part in parts] for parts in groupings]
    outer = max((max(first, last) for first, _, last in sizes), default=0)
    return outer, max((middle for _, middle, _ in sizes), default=0)


# Fits of a grouping -------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class _Entries:
    """What is looked at of a completion, offsets taken off.

    Attributes:
        known, held: those of training, and those held out.
        vectors: leading singular vectors, by the modes that are rows.
    """

    shape: tuple[int, ...]
    known: HostSamples
    held: HostSamples
    vectors: dict[tuple[int, ...], np.ndarray] = dataclasses.field(default_factory=dict)

    @classmethod
    def of(cls, shape: tuple[int, ...], entries: Sampled) -> "_Entries":
        assert entries.held_out is not None
        return cls(shape, _centered(entries.training), _centered(entries.held_out))

    @property
    def count(self) -> int:
        return len(self.known.values)

    def leading(self, modes: tuple[int, ...], rank: int) -> np.ndarray:
        """[rows, rank]; those of the largest rank are computed once for all."""
        if modes not in self.vectors:
            indices, values, weights = self.known[:3]
            values = np.where(weights > 0, values, 0)
            most = min(max(COMPLETING().ranks), _size(self.shape, modes))
            self.vectors[modes] = leading_vectors(indices, values, self.shape, modes, most)
        return self.vectors[modes][:, :rank]


def _centered(samples: Samples) -> HostSamples:
    """As many as are looked at."""
    if samples.count > COMPLETING().most_entries:
        rng = np.random.default_rng(0)
        ids = np.sort(rng.choice(samples.count, COMPLETING().most_entries, replace=False))
        host = samples.picked(ids)
    else:
        host = samples.gathered()
    return host._replace(values=host.values - host.base)


_Placed = tuple[np.ndarray, np.ndarray, np.ndarray]


@dataclasses.dataclass(frozen=True)
class _Fit:
    """Sweeps over the three cores of a grouping.

    Attributes:
        seen, held: the row of each core [entries, 3], the values and weights, of training and of
            what is held out.
        cores: [rows, rank] orthonormal, [rows, rank, rank], [rows, rank] orthonormal; rows past
            those of the grouping are zero.
        error: relative, of the held-out entries.
        looks: how often that was looked at.
    """

    shape: tuple[int, ...]
    grouping: Grouping
    seen: _Placed
    held: _Placed
    cores: tuple[np.ndarray, ...]
    error: float = math.inf
    looks: int = 0

    @classmethod
    def start(
        cls, entries: _Entries, grouping: Grouping, rank: int, room: tuple[int, int]
    ) -> "_Fit":
        """From the singular vectors that the entries tell.

        Args:
            room: rows of an outer core and of the middle one.
        """
        shape, (outer, middle) = entries.shape, room
        seen, held = (_placed(part, shape, grouping) for part in (entries.known, entries.held))
        ends = []
        for modes in (grouping.first, grouping.last):
            end = entries.leading(modes, rank).astype(seen[1].dtype)
            ends.append(np.pad(end, ((0, outer - len(end)), (0, 0))))
        cores = ends[0], np.zeros((middle, rank, rank), seen[1].dtype), ends[1]
        return cls(shape, grouping, seen, held, cores)

    def swept(self, info: Info) -> "tuple[_Fit, Info]":
        """The fit after some more sweeps, and the account of all so far."""
        dtype = self.seen[1].dtype
        least, sweeps = COMPLETING().ridge_units * np.finfo(dtype).eps, COMPLETING().sweeps
        done = self.looks * sweeps + np.arange(sweeps)
        ridges = np.maximum(COMPLETING().ridge * COMPLETING().ridge_factor ** done, least)
        args = self.seen, self.held, self.cores, ridges.astype(dtype)
        work = sweeps * len(self.seen[1]) * self.cores[1].shape[1] ** 4
        ran = _compile.run(_sweeps, (), args, work=work, passes=sweeps)
        *cores, error = jax.device_get(ran.value)
        error = float(error) if np.isfinite(error) else math.inf
        after = dataclasses.replace(self, cores=tuple(cores), error=error, looks=self.looks + 1)
        return after, info + Info(None, ran.programs, ran.seconds)

    def dense(self) -> np.ndarray:
        """All entries of the tensor."""
        shape = self.shape
        sizes = [_size(shape, part) for part in self.grouping]
        cores = [core[:size] for core, size in zip(self.cores, sizes, strict=True)]
        tensor = np.einsum("ap,cpq,bq->acb", *cores, optimize=True)
        order = [mode for part in self.grouping for mode in part]
        return tensor.reshape([shape[m] for m in order]).transpose(np.argsort(order))


def _placed(samples: HostSamples, shape: tuple[int, ...], grouping: Grouping) -> _Placed:
    rows = [entry_keys(samples.indices[:, part], [shape[m] for m in part]) for part in grouping]
    return np.stack(rows, 1).astype(np.int32), samples.values, samples.weights


def _size(shape: tuple[int, ...], modes: Iterable[int]) -> int:
    return math.prod(shape[mode] for mode in modes)


def _sweeps(seen, held, cores: tuple[Array, Array, Array], ridges: Float[Array, " sweeps"]):
    """The cores after a sweep with each ridge, and the error of the held-out entries."""
    rows, values, weights = seen
    a, c, b = rows[:, 0], rows[:, 1], rows[:, 2]
    first, middle, last = cores

    def solved(features: Array, own: Array, core: Array, ridge: Array) -> Array:
        return _solved(features, own, values, weights, core.shape[0], ridge).reshape(core.shape)

    def between(first: Array, last: Array, ridge: Array) -> Array:
        features = (first[a][:, :, None] * last[b][:, None, :]).reshape(len(values), -1)
        return solved(features, c, middle, ridge)

    def sweep(ends, ridge):
        first, last = ends
        right = jnp.einsum("npq,nq->np", between(first, last, ridge)[c], last[b])
        first = jnp.linalg.qr(solved(right, a, first, ridge))[0]
        left = jnp.einsum("npq,np->nq", between(first, last, ridge)[c], first[a])
        last = jnp.linalg.qr(solved(left, b, last, ridge))[0]
        return (first, last), None

    (first, last), _ = lax.scan(sweep, (first, last), ridges)
    middle = between(first, last, ridges[-1])
    rows, values, weights = held
    found = jnp.einsum("np,npq,nq->n", first[rows[:, 0]], middle[rows[:, 1]], last[rows[:, 2]])
    square = lambda x: jnp.sum(weights * x**2)
    return first, middle, last, jnp.sqrt(square(found - values) / square(values))


def _solved(
    features: Float[Array, "entries n"],
    rows: Int[Array, " entries"],
    values: Float[Array, " entries"],
    weights: Float[Array, " entries"],
    count: int,
    ridge: Float[Array, ""],
) -> Float[Array, "rows n"]:
    """Least squares for every row; all lean on the same ridge, those with few entries the more."""
    size = features.shape[1]
    weighted = weights[:, None] * features
    add = lambda x: jax.ops.segment_sum(x, rows, count)
    gram = add(weighted[:, :, None] * features[:, None, :])
    traces = jnp.trace(gram, axis1=1, axis2=2)
    used = jnp.maximum(jnp.sum(traces > 0), 1).astype(traces.dtype)
    mean = traces.sum() / (size * used)
    shift = jnp.maximum(ridge * mean, jnp.finfo(mean.dtype).tiny)
    factor = lax.linalg.cholesky(gram + shift * np.eye(size, dtype=gram.dtype)[None])
    return cholesky_rows(factor, add(weighted * values[:, None]))


# From the completion to a network -----------------------------------------------------------


def _decomposed(
    options: Options, problem: Problem, state: GreedyState, completed: Completed
) -> tuple[tuple[Structure, Cores], Info]:
    """A small network of the completion, as close to it as that is to the truth."""
    error = max(completed.error, INFERENCE().rounding)
    inside = Decomposition(jnp.asarray(completed.tensor, problem.dtype))
    unfoldings = Unfoldings(inside.dense_target, error)
    names = telling_cuts(inside.shape, INFERENCE().told)
    found, info = None, Info()
    told = ranks_told(unfoldings, names, problem.dtype) if names else None
    if told is not None:
        budget = Budget(target_error=error)
        found, info = found_graph(options, inside, state, budget, unfoldings, told)
    if found is not None:
        structure, cores = found.structure, found.cores
    else:
        best = best_trees(unfoldings, error, count=1)[0]
        network = tree_svd(inside.dense_target, best.tree.structure(best.ranks))
        structure, cores = network.structure, network.cores
    head, *rest = map(np.asarray, cores)
    head = head * np.asarray(inside.scale, head.dtype)
    return (structure, (head, *rest)), info
