"""What a search found, step by step."""

import dataclasses
from importlib.metadata import version
from typing import Any

from .. import _display
from .._citations import bibtex
from .._network import TensorNetwork
from .._status import Status
from .._storable import storable
from .._structure import Structure
from ..problems import Scales
from .archive import Archive, Record
from .strategy import MoveRecord

# Who to cite for a network in closed form that a search took over.
_CITES_OF_MOVES = {
    "tree": ("grasedyck2010",),
    "cp": ("kolda2009",),
    "tucker": ("vannieuwenhoven2012",),
}


@storable
@dataclasses.dataclass(frozen=True)
class Held:
    """A network that a search held beside the one that it changed.

    Attributes:
        num_params, error: of that network, which meets the target error.

    Example:
        >>> from tnjax import Held
        >>> str(Held(1200, 0.0987))
        '1,200 parameters, error 0.0987'
    """

    num_params: int
    error: float

    def __str__(self) -> str:
        return f"{self.num_params:,} parameters, error {self.error:.4g}"


@dataclasses.dataclass(frozen=True)
class Step:
    """One accepted move.

    Attributes:
        move: what was changed.
        structure, num_params, error: after the move and its fit.
        seconds: wall time of this step, its failed tries included.
        compile_seconds: the part of it spent tracing and compiling.
        programs: programs made in this step: traced, and compiled unless NumPy runs them.
        fitted: structures fitted in this step.
        screen_seconds: the part of `seconds` spent on the gains of candidates.
        held: the network that led then: it met the target error where this one did not yet, and
            the search would have returned it. The best tree, as a rule. None if this one led.

    Example:
        >>> import jax, tnjax
        >>> problem = tnjax.Decomposition(jax.numpy.ones((3, 4)))
        >>> first = tnjax.search(problem, key=jax.random.key(0), target_error=0.1).path[0]
        >>> str(first.move), first.num_params, first.rank
        ('start', 7, None)
    """

    move: MoveRecord
    structure: Structure
    num_params: int
    error: float
    seconds: float
    compile_seconds: float
    programs: int
    fitted: int = 1
    screen_seconds: float = 0.0
    held: Held | None = None

    def __str__(self) -> str:
        held = "" if self.held is None else f" (held: {self.held})"
        return (
            f"{self.move}: {self.num_params:,} parameters, error {self.error:.4g}, "
            f"{self.seconds:.1f} s{held}"
        )

    @property
    def rank(self) -> int | None:
        """After the move, of the bond that it changed; None where it changed none, or where the
        bond is gone with one of its nodes (a merge numbers nodes anew)."""
        edge = self.move.edge
        if edge is None or self.move.kind == "merge" or max(edge) >= self.structure.num_nodes:
            return None
        return self.structure.rank(edge)


def restored_result(result: "SearchResult", scales: Scales) -> "SearchResult":
    """The result on a standardized tensor, with its networks in the units of the data."""
    undo = lambda network: None if network is None else scales.restored(network)
    records = (dataclasses.replace(r, network=undo(r.network)) for r in result.archive)
    network = scales.restored(result.network)
    return dataclasses.replace(result, network=network, archive=Archive(tuple(records)))


@dataclasses.dataclass(frozen=True)
class Progress:
    """Where a search stands, for `Setup(on_progress=)`.

    Attributes:
        doing: what the next step is for, in a few plain words such as "growing".
        structure, num_params, error: of the network that the search would go on from; parameters
            are counted with the sizes of the data, as in the result.
        fitted: structures fitted so far, rejected ones included.
        seconds: since the search began, earlier runs that it resumes included.
        best_params: parameters of a network that meets the target error, which the search returns
            if it ends here: of this one, or of another one that it holds. None as long as there is
            none, and without a target error.

    Example:
        >>> import jax, tnjax
        >>> told = []
        >>> problem = tnjax.Decomposition(jax.numpy.ones((3, 4)))
        >>> setup = tnjax.Setup(on_progress=told.append)
        >>> _ = tnjax.search(problem, key=jax.random.key(0), target_error=0.1, setup=setup)
        >>> told[-1].num_params, told[-1].target_met
        (7, True)
    """

    doing: str
    structure: Structure
    num_params: int
    error: float
    fitted: int
    seconds: float
    best_params: int | None = None

    @property
    def target_met(self) -> bool:
        """Whether a network meets the target error."""
        return self.best_params is not None


@dataclasses.dataclass(frozen=True)
class SearchResult:
    """The outcome of `search`.

    Attributes:
        network: the network found; the smallest one that meets the target error where one was
            asked for and reached, else the one with the lowest error.
        error: its error; for a decomposition the unsquared relative Frobenius error.
        path: one `Step` for every accepted move, the start included; `Step.held` tells where
            another network led.
        status: why the search ended.
        archive: every fitted structure, rejected ones included, with its costs.
        programs: programs made (traced, and compiled unless NumPy runs them); 0 if all were there.
        seconds, compile_seconds: wall time of all, and the part spent tracing and compiling.
        seed_key: the raw data of the key, so that the run can be repeated.
        methods: keys of what was used, for `citation`.
        model: what the network is good for, in the words of the problem: a `DensityModel` for a
            `Density`, a `SupervisedModel` for `Supervised`; None where that is the network itself.

    Example:
        >>> import jax, tnjax
        >>> problem = tnjax.Decomposition(jax.numpy.ones((3, 4)))
        >>> result = tnjax.search(problem, key=jax.random.key(0), target_error=0.1)
        >>> result.status.ok, result.num_params, len(result.path), result.fitted
        (True, 7, 1, 1)
    """

    network: TensorNetwork
    error: float
    path: tuple[Step, ...]
    status: Status
    archive: Archive
    programs: int
    seconds: float
    compile_seconds: float
    seed_key: tuple[int, ...]
    model: Any = None
    methods: tuple[str, ...] = ()

    @property
    def structure(self) -> Structure:
        """The structure of `network`."""
        return self.network.structure

    @property
    def num_params(self) -> int:
        """Core entries of `network`."""
        return self.structure.num_params

    @property
    def fitted(self) -> int:
        """Structures fitted in all, rejected ones included."""
        return len(self.archive)

    @property
    def pareto(self) -> tuple[Record, ...]:
        """The fitted structures that no other one beats in both parameters and error, smallest
        first, with their networks. `archive.pareto("flops")` weighs another cost."""
        return self.archive.pareto()

    def choose(
        self,
        by: str = "num_params",
        *,
        target_error: float | None = None,
        max_params: int | None = None,
        max_flops: int | None = None,
        max_peak_bytes: int | None = None,
    ) -> Record:
        """The best fitted structure within limits: `choose(by="flops", target_error=0.1)`.

        Args:
            by: what should be small: "num_params", "flops", "peak_bytes" or "error".
            target_error, max_params, max_flops, max_peak_bytes: what it must not exceed.

        Raises:
            ValueError: if no fitted structure is within the limits, or `by` is none of these.
        """
        return self.archive.choose(
            by,
            target_error=target_error,
            max_params=max_params,
            max_flops=max_flops,
            max_peak_bytes=max_peak_bytes,
        )

    def citation(self) -> str:
        """BibTeX of the methods that this search used, tnjax first.

        Example:
            >>> import jax, tnjax
            >>> problem = tnjax.Decomposition(jax.numpy.ones((3, 4)))
            >>> found = tnjax.search(problem, key=jax.random.key(0), target_error=0.1)
            >>> "Adaptive Learning of Tensor Network Structures" in found.citation()
            True
        """
        moves = [key for step in self.path for key in _CITES_OF_MOVES.get(step.move.kind, ())]
        return bibtex([*self.methods, *moves], version("tnjax"))

    def __repr__(self) -> str:
        return (
            f"SearchResult(error={self.error:.3g}, {self.structure!r}, steps={len(self.path)}, "
            f"status={self.status.value}, seconds={self.seconds:.3g})"
        )

    def _repr_html_(self) -> str | None:
        return _display.as_html(self)
