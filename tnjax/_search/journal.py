"""What a search notes of its steps: the path, the archive, the costs, and the checkpoints."""

import dataclasses
import math
import time
import warnings
from pathlib import Path

from .._network import TensorNetwork
from .._processes import check_same, leads
from ..problems import Problem
from .archive import Archive
from .cut_short import start_as_it_is
from .reach import warn_of_size
from .result import Held, Progress, Step
from .setup import Plan, budget_of
from .storage.checkpoint import Saved, Totals, fingerprint, open_folder, write_checkpoint
from .strategy import Fit, Info, MoveRecord, State


@dataclasses.dataclass(eq=False)
class Journal:
    """The books of one search, kept by its host loop alone.

    Attributes:
        problem, plan: of the search.
        folder: of the checkpoints; None if there are none.
        same: what must be the same for a search to go on from them.
        begin: when the search began, runs that it goes on from counted.
        path: accepted moves.
        archive: all fits.
        totals: what all steps took, and `before`, up to the last accepted move at `since`.
        larger: whether it was said that the network is larger than the tensor.
    """

    problem: Problem
    plan: Plan
    folder: Path | None
    same: dict[str, str]
    begin: float
    since: float
    path: list[Step] = dataclasses.field(default_factory=list)
    archive: Archive = dataclasses.field(default_factory=Archive)
    totals: Totals = dataclasses.field(default_factory=Totals)
    before: Totals = dataclasses.field(default_factory=Totals)
    larger: bool = False

    @classmethod
    def opened(
        cls, problem: Problem, plan: Plan, network: TensorNetwork
    ) -> "tuple[Journal, State | None]":
        """The books of a search from a network, and the state that a checkpoint has, if the
        search goes on from one."""
        limits, setup = plan.limits, plan.setup
        same, saved, folder = {}, None, None
        if setup.checkpoints is not None:
            folder = Path(setup.checkpoints)
            same = fingerprint(  # reads all data, so only where it is kept or compared
                problem.on_host(),
                network,
                strategy=plan.strategy,
                target_error=limits.target_error,
                max_params=limits.max_params,
                max_flops=limits.max_flops,
                memory_limit=limits.memory_limit,
                seed=plan.seed,
            )
            saved = open_folder(folder, same, resume=setup.resume, mesh=problem.mesh)
        journal = cls(problem, plan, folder, same, plan.begin, plan.begin)
        if saved is None:
            return journal, None
        journal.archive, journal.totals = saved.archive, saved.totals
        journal.begin, journal.before = plan.begin - saved.seconds, saved.totals
        journal.path.extend(saved.path)
        return journal, saved.state

    @property
    def seconds(self) -> float:
        """Since the search began."""
        return time.perf_counter() - self.begin

    def record(self, state: State, info: Info) -> None:
        """Archive all fits; a step for an accepted move, with what the failed tries before it
        took."""
        self.archive = self.archive.add(self.problem, info.fits)
        self.totals = self.totals.add(info)
        now = time.perf_counter()
        step = None if info.move is None else self._step(info.move, state, now)
        mesh = self.problem.mesh
        check_same(mesh, f"{info.move}, error {state.error!r}", state.cores)
        if self.folder is not None and (step is not None or info.save):
            self.totals = dataclasses.replace(self.totals, checkpoints=self.totals.checkpoints + 1)
            took = now - self.begin
            self._write(Saved(state, tuple(self.path), self.archive, self.totals, took))
        if self.plan.on_step is not None and step is not None:
            self.plan.on_step(step)

    def _step(self, move: MoveRecord, state: State, now: float) -> Step:
        """The next step of the path."""
        problem, totals, before = self.problem, self.totals, self.before
        step = Step(
            move,
            state.structure,
            problem.num_params(state.structure),
            state.error,
            now - self.since,
            totals.compile_seconds - before.compile_seconds,
            totals.programs - before.programs,
            totals.fitted - before.fitted,
            totals.screen_seconds - before.screen_seconds,
            self._held(state),
        )
        self.since, self.before = now, totals
        self.path.append(step)
        if move.kind == "grow":
            self.look_at_size(step.num_params)
        return step

    def _held(self, state: State) -> Held | None:
        """The network that leads in the place of the state's own."""
        fit = state.held
        if fit is None or budget_of(self.plan.limits).meets(state.error):
            return None
        return Held(self.problem.num_params(fit.structure), fit.error)

    @property
    def cells(self) -> float:
        """Entries of the tensor, where it is dense; beyond any number elsewhere."""
        return math.prod(self.problem.counted_shape) if self.problem.is_dense else math.inf

    def look_at_size(self, num_params: int, *, useless: bool = False) -> None:
        """Warn, once, of a network that has more parameters than the tensor has entries, or that
        is useless for another reason."""
        if (num_params > self.cells or useless) and not self.larger:
            self.larger = True
            warn_of_size(num_params, self.problem.counted_shape)

    def is_useless(self, fit: Fit) -> bool:
        """Whether the tensor itself would do as well, in no more numbers."""
        size = self.problem.num_params(fit.structure)
        met = budget_of(self.plan.limits).meets(fit.error)
        return size >= self.cells and (not met or (size > self.cells and bool(fit.structure.edges)))

    def tell(self, state: State) -> None:
        """Let those who watch know where the search stands."""
        on_progress, structure = self.plan.setup.on_progress, state.structure
        if on_progress is None:
            return
        num_params, held = self.problem.num_params(structure), state.held
        sizes = [] if held is None else [self.problem.num_params(held.structure)]
        if budget_of(self.plan.limits).meets(state.error):
            sizes.append(num_params)
        on_progress(
            Progress(
                state.doing,
                structure,
                num_params,
                state.error,
                self.totals.fitted,
                self.seconds,
                min(sizes, default=None),
            )
        )

    def nothing_fitted(self, network: TensorNetwork, best: Fit | None, *, early: bool) -> Fit:
        """The end of a search that was stopped before its start was ready: the best that was
        found, or else the start as it is. A resumed search begins with the start.

        Args:
            network: the start.
            best: of the fits that were noted; None if there are none.
            early: whether it was stopped before it was known what is searched on.
        """
        problem = self.problem
        fit = best or start_as_it_is(problem, network)
        took = self.seconds
        counted = problem.num_params(fit.structure)
        move = MoveRecord("start")
        self.path.append(Step(move, fit.structure, counted, fit.error, took, 0.0, 0))
        if self.folder is not None and leads(problem.mesh) and not early:
            self.totals = dataclasses.replace(self.totals, checkpoints=self.totals.checkpoints + 1)
            nothing = Totals(checkpoints=self.totals.checkpoints)
            self._write(Saved(None, (), Archive(), nothing, took))
        return fit

    def _write(self, saved: Saved) -> None:
        """A checkpoint; where that fails, the search warns and goes on."""
        if self.folder is None or not leads(self.problem.mesh):
            return
        try:
            write_checkpoint(self.folder, saved, self.same)
        except OSError as error:
            warnings.warn(
                f"This step could not be saved ({error}); the checkpoints before it are kept.",
                stacklevel=8,
            )
