"""Trials of a sweep: every combination of a grid, random draws, and seeds."""

import dataclasses
import hashlib
import itertools
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

_LAWS = ("uniform", "log_uniform", "integers", "choice")


@dataclasses.dataclass(frozen=True)
class Trial:
    """One run of a sweep.

    Attributes:
        settings: options by name; values that JSON can hold.
        seed: of all its random numbers.
        stamp: what else its result depends on, such as the size and time of an input file. A trial
            that finished under another stamp is not taken for this one.

    Example:
        >>> from tnjax.sweep import Trial
        >>> Trial({"power": 0.5}, seed=3).settings["power"]
        0.5
    """

    settings: Mapping[str, Any]
    seed: int
    stamp: str = ""

    @property
    def name(self) -> str:
        """Of its folder: the same for the same settings and seed, whatever else is swept.

        Example:
            >>> from tnjax.sweep import Trial
            >>> a, b = Trial({"power": 0.5, "x": 1}, 3), Trial({"x": 1, "power": 0.5}, 3)
            >>> a.name == b.name, a.name == Trial({"power": 0.5, "x": 1}, 4).name
            (True, False)
        """
        text = json.dumps([dict(self.settings), self.seed], sort_keys=True, default=repr)
        return f"{hashlib.sha256(text.encode()).hexdigest()[:12]}-seed{self.seed}"


def expand(
    options: Mapping[str, Any],
    *,
    grid: Mapping[str, Sequence[Any]] | None = None,
    random: Mapping[str, Mapping[str, Any]] | None = None,
    samples: int = 1,
    draw_seed: int = 0,
    seeds: Sequence[int] = (0,),
) -> tuple[Trial, ...]:
    """All trials: each combination of the grid, with each random draw, with each seed.

    Args:
        options: the same for all.
        grid: the values to try of each option.
        random: what to draw other options from: `{"uniform": [low, high]}`, `{"log_uniform": [low,
            high]}`, `{"integers": [low, high]}` (both included) or `{"choice": [values]}`.
        samples: how many draws. The first ones stay the same if there are more.
        draw_seed: of the draws.
        seeds: of the trials.

    Returns:
        The trials; settings change slowest, seeds fastest.

    Raises:
        ValueError: if an option is given twice, or a grid, a law, the seeds or the number of
            draws make no sense.

    Example:
        >>> from tnjax.sweep import expand
        >>> trials = expand({"max_params": 99}, grid={"power": [0.0, 0.5]}, seeds=range(3))
        >>> len(trials), dict(trials[0].settings)
        (6, {'max_params': 99, 'power': 0.0})
    """
    grid, random = dict(grid or {}), dict(random or {})
    given = [*options, *grid, *random]
    twice = sorted({name for name in given if given.count(name) > 1})
    if twice:
        raise ValueError(f"sweep: {', '.join(twice)} is given more than once.")
    for name, values in grid.items():
        if isinstance(values, str) or not isinstance(values, Sequence) or not values:
            raise ValueError(f"sweep: grid: {name} must be a list of values, got {values!r}.")
    if not random:
        draws: list[dict[str, Any]] = [{}]
    else:
        if samples < 1:
            raise ValueError(f"sweep: samples must be 1 or more, got {samples}.")
        laws = {name: _law(name, random[name]) for name in sorted(random)}
        draws = []
        for number in range(samples):
            rng = np.random.default_rng([draw_seed, number])
            draws.append({name: _draw(rng, *law) for name, law in laws.items()})
    if not seeds:
        raise ValueError("sweep: there are no seeds.")
    out = {}
    for values in itertools.product(*grid.values()):
        for draw in draws:
            settings = {**options, **dict(zip(grid, values, strict=True)), **draw}
            for seed in seeds:
                trial = Trial(settings, int(seed))
                out.setdefault(trial.name, trial)
    return tuple(out.values())


def _law(name: str, law: Any) -> tuple[str, list[Any]]:
    """The one law that an option is drawn from, checked."""
    kind = next(iter(law)) if isinstance(law, Mapping) and len(law) == 1 else None
    values = law[kind] if kind in _LAWS else None
    if not isinstance(values, list | tuple) or not values:
        raise ValueError(
            f"sweep: random: {name} must be one of {', '.join(_LAWS)} with a list, such as "
            f"{{uniform: [0, 1]}}, got {law!r}."
        )
    values = list(values)
    if kind != "choice":
        try:
            low, high = map(float, values)
        except (TypeError, ValueError):
            low, high = math.nan, math.nan
        whole = kind != "integers" or (low == int(low) and high == int(high))
        if not (low <= high and math.isfinite(high - low) and whole):
            raise ValueError(f"sweep: random: {name}: {kind} needs [low, high], got {values!r}.")
        if kind == "log_uniform" and low <= 0:
            raise ValueError(f"sweep: random: {name}: log_uniform needs low > 0, got {values!r}.")
        values = [low, high]
    assert kind is not None
    return kind, values


def _draw(rng: np.random.Generator, kind: str, values: list[Any]) -> Any:
    if kind == "choice":
        return values[int(rng.integers(len(values)))]
    low, high = values
    if kind == "integers":
        return int(rng.integers(int(low), int(high), endpoint=True))
    if kind == "log_uniform":
        return float(math.exp(rng.uniform(math.log(low), math.log(high))))
    return float(rng.uniform(low, high))
