"""Trials of a sweep whose options are those of `tnjax decompose` or `tnjax complete`."""

from __future__ import annotations

import dataclasses
import difflib
import types
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ._arguments import SHARE, share
from ._common import InputError, check_search_options
from ._complete import Complete
from ._complete_options import check_completion
from ._decompose import Decompose
from ._devices import ProcessOptions
from ._options import SearchOptions

if TYPE_CHECKING:
    from ..sweep import Trial, Watch

COMMANDS: dict[str, type[Decompose] | type[Complete]] = {
    "decompose": Decompose,
    "complete": Complete,
}
# What the sweep itself decides on.
_OWN = ("out", "resume", "seed", *(field.name for field in dataclasses.fields(ProcessOptions)))


@dataclasses.dataclass(frozen=True)
class CommandTask:
    """What a worker does with a trial: the command, with its options, into its folder."""

    command: str

    def __call__(self, trial: Trial, folder: Path, resume: bool, watch: Watch) -> None:
        import jax

        options = options_of(self.command, trial, folder, resume)
        # As in a new process, whoever ran here before (and who runs beside it asks for the same).
        jax.config.update("jax_enable_x64", options.dtype == "float64")
        options.run(watch)


def settled(command: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a trial in the types of the command's options, as values that JSON can hold.

    Raises:
        InputError: for an option that the command does not have, lacks, or that is of another type.
    """
    hints = _hints(command)
    full = typing.get_type_hints(COMMANDS[command], include_extras=True)
    shares = [name for name in hints if SHARE in getattr(full[name], "__metadata__", ())]
    out = {}
    for name, value in settings.items():
        if name not in hints:
            raise InputError(f"{command} has no option {name!r}{meant(name, hints)}.")
        try:
            read = name in shares and isinstance(value, str)
            out[name] = share(value) if read else _converted(value, hints[name])
        except (TypeError, ValueError) as error:
            raise InputError(f"{name}: expected {_words(hints[name])}, got {value!r}.") from error
    if "input" not in out:
        raise InputError("the options lack input, the file to read.")
    return out


def check_trial(command: str, trial: Trial) -> Trial:
    """The trial with a stamp of its data, all its options looked at before anything is started.

    Raises:
        InputError: for an option that cannot be meant.
        OSError: if the input is not there.
    """
    options = options_of(command, trial, Path("trial"), False)
    check_search_options(options)
    if isinstance(options, Complete):
        check_completion(options)
    parts = [options.input]
    if options.input.is_dir():
        parts = sorted(part for part in options.input.rglob("*") if part.is_file())
    facts = [part.stat() for part in parts]
    size = sum(fact.st_size for fact in facts)
    changed = max((fact.st_mtime_ns for fact in facts), default=0)
    stamp = f"{options.input.name} of {size} bytes, changed {changed}"
    return dataclasses.replace(trial, stamp=stamp)


def options_of(command: str, trial: Trial, folder: Path, resume: bool) -> Decompose | Complete:
    """The options of a trial as the command line would have parsed them."""
    hints = _hints(command)
    values: dict[str, Any] = {
        name: Path(value) if value is not None and Path in _kinds(hints[name]) else value
        for name, value in trial.settings.items()
    }
    return COMMANDS[command](**values, seed=trial.seed, out=folder, resume=resume)


def meant(name: str, known: Iterable[str]) -> str:
    """A guess at what was meant, for the end of a message."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; known are {', '.join(sorted(known))}"


def _hints(command: str) -> dict[str, Any]:
    hints = typing.get_type_hints(COMMANDS[command])
    fields = {field.name for field in dataclasses.fields(SearchOptions)} | {*hints}
    return {name: hints[name] for name in sorted(fields) if name not in _OWN}


def _kinds(hint: Any) -> tuple[Any, ...]:
    """The members of a union, or the type itself."""
    union = isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union
    return typing.get_args(hint) if union else (hint,)


def _words(hint: Any) -> str:
    if typing.get_origin(hint) is Literal:
        return f"one of {', '.join(typing.get_args(hint))}"
    names = {int: "a whole number", float: "a number", bool: "true or false", type(None): "null"}
    return " or ".join(names.get(kind, "text") for kind in _kinds(hint))


def _converted(value: Any, hint: Any) -> Any:
    """A value of YAML, where 1e-3 is text, as the option takes it."""
    if typing.get_origin(hint) is Literal:
        if value not in typing.get_args(hint):
            raise ValueError
        return value
    kinds = _kinds(hint)
    if value is None and type(None) in kinds:
        return None
    if bool in kinds or isinstance(value, bool):
        if not (isinstance(value, bool) and bool in kinds):
            raise TypeError
        return value
    if value is None:
        raise TypeError
    if int in kinds:
        number = float(value)
        if number != int(number):
            raise ValueError
        return int(value) if isinstance(value, int) else int(number)
    if float in kinds:
        return float(value)
    if isinstance(value, list):
        return ",".join(map(str, value))
    if isinstance(value, str | int | float):
        return str(value)
    raise TypeError
