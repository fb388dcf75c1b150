"""The ridge and the strengths of smoothness, chosen by held-out entries."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping

from jaxtyping import PRNGKeyArray

from .._network import TensorNetwork
from .._structure import Structure
from .._tuned import tuned
from ..problems import Completion
from ._als import ALS
from ._fit import FitResult, fit
from .limits import SolverLike


@dataclasses.dataclass(frozen=True)
class PriorPath:
    """The path along which strengths are chosen.

    Attributes:
        ridges: ridges that are tried first, in units of one entry; 0 is tried too.
        cores: smoothness of the cores beside each of them, as a multiple of it.
        tensor: smoothness of the tensor beside each of them, as a multiple.
        sweeps: of a fit on the way.
        factor: by which each strength is changed by itself afterwards, up and down.
        rounds: over all strengths, at most.
        worth: a change is taken if it lowers the held-out error by this part.
        last: sweeps of the fit with what was chosen.
    """

    ridges: tuple[float, ...] = (1.0, 0.2, 0.04, 0.0)
    cores: float = 10.0
    tensor: float = 1.0
    sweeps: int = 16
    factor: float = 3.0
    rounds: int = 2
    worth: float = 2e-3
    last: int = 60


PRIOR_PATH = tuned("prior_path", PriorPath())


@dataclasses.dataclass(frozen=True)
class PriorChoice:
    """What held-out entries chose.

    Attributes:
        strengths: by name, as `Completion.undecided` names them.
        problem: with these.
        result: its fit.
        tried: the strengths that were tried, each with its held-out error.

    Example:
        >>> import jax, numpy as np, tnjax
        >>> x = np.sin(np.add.outer(np.arange(12) / 3, np.arange(10) / 4))
        >>> x += 0.3 * np.random.default_rng(0).standard_normal(x.shape)
        >>> problem = tnjax.Completion.from_mask(
        ...     x, validation="auto", key=jax.random.key(0), smooth="auto", ridge="auto"
        ... )
        >>> train = tnjax.Structure.tensor_train(x.shape, 4)
        >>> choice = tnjax.choose_prior(problem, train, key=jax.random.key(0))
        >>> sorted(choice.strengths)
        ['cores 0', 'cores 1', 'ridge']
    """

    strengths: dict[str, float]
    problem: Completion
    result: FitResult
    tried: tuple[tuple[dict[str, float], float], ...]


def choose_prior(
    problem: Completion,
    start: Structure | TensorNetwork,
    *,
    key: PRNGKeyArray,
    strengths: Mapping[str, float] | None = None,
    solver: SolverLike = None,
    on_try: Callable[[dict[str, float], float], None] | None = None,
) -> PriorChoice:
    """Choose the strengths that a completion leaves to its held-out entries ("auto").

    First all strengths together, from strong to none, each from the same start; then each by
    itself, larger and smaller, from the best network so far. Strengths are traced: one program
    serves all fits.

    Args:
        problem: with held-out entries and something `undecided`.
        start: a structure, or a network to go on from.
        key: for random starts.
        strengths: if given, only changes of these are tried, each once.
        solver: as of `fit`; ALS by default.
        on_try: called with each choice of strengths and its held-out error.

    Returns:
        The strengths, the problem with them, and its fit.

    Raises:
        ValueError: if nothing is held out, or nothing is undecided.

    Example:
        >>> import jax, numpy as np
        >>> from tnjax import Completion, Structure, choose_prior
        >>> x = np.outer(np.arange(1.0, 9), np.arange(1.0, 8))
        >>> problem = Completion.from_mask(x, validation=0.2, key=jax.random.key(0), ridge="auto")
        >>> choice = choose_prior(problem, Structure.rank_one(x.shape), key=jax.random.key(0))
        >>> choice.strengths["ridge"] < 1
        True
    """
    if problem.held_out is None or not problem.undecided:
        raise ValueError(
            'choose_prior: the problem needs held-out entries (validation="auto") and something to '
            'choose, such as ridge="auto" or smooth="auto".'
        )
    path = PRIOR_PATH()
    solver = ALS() if solver is None else solver
    tried: list[tuple[dict[str, float], float]] = []

    def attempt(trial: dict[str, float], start: Structure | TensorNetwork) -> FitResult:
        chosen = problem.with_prior(trial)
        found = fit(chosen, start, key=key, solver=solver, max_steps=path.sweeps)
        tried.append((dict(trial), found.error))
        if on_try is not None:
            on_try(dict(trial), found.error)
        return found

    best: tuple[dict[str, float], FitResult] | None = None
    for trial in [dict(strengths)] if strengths is not None else _together(problem):
        found = attempt(trial, start)
        if best is None or found.error < best[1].error:
            best = trial, found
    assert best is not None
    for _ in range(path.rounds if strengths is None else 1):
        before = best[1].error
        for name in problem.undecided:
            for trial in _around(best[0], name):
                found = attempt(trial, best[1].network)
                if found.error < (1 - path.worth) * best[1].error:
                    best = trial, found
                    break
        if not best[1].error < (1 - path.worth) * before:
            break
    chosen = problem.with_prior(best[0])
    last = fit(chosen, best[1].network, key=key, solver=solver, max_steps=path.last)
    result = last if last.error < best[1].error else best[1]
    return PriorChoice(best[0], chosen, result, tuple(tried))


def _together(problem: Completion) -> Iterator[dict[str, float]]:
    """All strengths together, from strong to none."""
    times = {"ridge": 1.0, "cores": PRIOR_PATH().cores, "tensor": PRIOR_PATH().tensor}
    for ridge in PRIOR_PATH().ridges:
        yield {name: times[name.split()[0]] * ridge for name in problem.undecided}


def _around(strengths: Mapping[str, float], name: str) -> Iterator[dict[str, float]]:
    """One strength by itself, larger and smaller."""
    factor, now = PRIOR_PATH().factor, strengths[name]
    if now > 0:
        for value in (now * factor, now / factor, 0.0):
            yield {**strengths, name: value}
    else:
        yield {**strengths, name: PRIOR_PATH().ridges[-2]}
