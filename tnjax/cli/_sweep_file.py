"""The YAML file of a sweep: known keys only, plain values, nothing that is executed."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from ._common import InputError
from ._trials import COMMANDS, check_trial, meant, settled

if TYPE_CHECKING:
    from ..sweep import EarlyStopping, Resources, Trial

_KEYS = (
    "command",
    "options",
    "grid",
    "random",
    "samples",
    "draw_seed",
    "seeds",
    "cpus",
    "gpus",
    "retries",
    "early_stopping",
)


@dataclasses.dataclass(frozen=True)
class SweepFile:
    """What a file asks for.

    Attributes:
        command: decompose or complete.
        trials: all of them.
        resources, early_stopping: as `run_sweep` takes them.
        retries: as `Cluster` takes them.
        content: the file as plain values.
    """

    command: str
    trials: tuple[Trial, ...]
    resources: Resources
    retries: int
    early_stopping: EarlyStopping | None
    content: dict[str, Any]


def read_sweep_file(path: Path) -> SweepFile:
    """Read and check a file, all trials included.

    Raises:
        InputError: for an unknown key or option, or a value that cannot be meant.
        OSError: if it, or an input, cannot be read.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a YAML file ({error}).") from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: expected keys and values, such as command: decompose.")
    try:
        return _sweep_file(content)
    except ValueError as error:
        raise InputError(f"{path}: {error}") from error


def _sweep_file(content: dict[str, Any]) -> SweepFile:
    from ..sweep import EarlyStopping, Resources, expand

    for key in content:
        if key not in _KEYS:
            raise InputError(f"unknown key {key!r}{meant(str(key), _KEYS)}.")
    command = content.get("command")
    if command not in COMMANDS:
        raise InputError(f"command must be {' or '.join(COMMANDS)}, got {command!r}.")
    tables = {key: _table(key, content.get(key) or {}) for key in ("options", "grid", "random")}
    trials = expand(
        tables["options"],
        grid=tables["grid"],
        random=tables["random"],
        samples=_whole("samples", content.get("samples", 1)),
        draw_seed=_whole("draw_seed", content.get("draw_seed", 0)),
        seeds=_seeds(content.get("seeds", 1)),
    )
    known: dict[str, Trial] = {}
    for trial in trials:
        trial = dataclasses.replace(trial, settings=settled(command, trial.settings))
        known.setdefault(trial.name, check_trial(command, trial))
    early = content.get("early_stopping")
    if early is not None:
        early = _table("early_stopping", {} if early is True else early)
        for key in early:
            if key not in ("grace", "factor"):
                raise InputError(f"early_stopping: unknown key {key!r}; known are grace, factor.")
        try:
            early = EarlyStopping(**early)
        except TypeError as error:
            raise InputError(f"early_stopping: expected numbers, got {early!r}.") from error
    return SweepFile(
        command,
        tuple(known.values()),
        Resources(content.get("cpus", 1), content.get("gpus", 0)),
        _whole("retries", content.get("retries", 2)),
        early,
        content,
    )


def _table(key: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
        raise InputError(f"{key} must hold names and values, got {value!r}.")
    return dict(value)


def _whole(key: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise InputError(f"{key} must be a whole number, 0 or more, got {value!r}.")
    return value


def _seeds(value: Any) -> list[int]:
    """A number n for 0 to n - 1, or a list."""
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return list(range(value))
    whole = lambda n: isinstance(n, int) and not isinstance(n, bool)
    if not isinstance(value, list) or not value or not all(map(whole, value)):
        raise InputError(f"seeds must be how many, or a list of whole numbers, got {value!r}.")
    return value
