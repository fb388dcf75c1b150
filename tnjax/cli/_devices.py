"""Options of a run on many devices and in many processes, and how its processes end."""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import os
import signal
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NoReturn

from ._arguments import MaybeInt, MaybeText

if TYPE_CHECKING:
    from jax.sharding import Mesh

# Exit status after another process was lost.
LOST = 3
_AXES = ("candidates", "data")


class InputError(ValueError):
    """Something that the user gave cannot be used."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ProcessOptions:
    """With whom a search runs; alone by default."""

    coordinator: MaybeText = None
    """HOST:PORT of process 0, to run one search in several processes, each started with the same
    options but --process-id; auto: the cluster's environment tells (Slurm, Open MPI, ...)."""
    num_processes: MaybeInt = None
    """Processes in all."""
    process_id: MaybeInt = None
    """Of this process, from 0 on; process 0 writes --out."""
    coordinator_timeout: float = 60.0
    """Seconds to wait for the other processes."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class DeviceOptions(ProcessOptions):
    """On which devices, and in how many processes; by default on one device."""

    GROUP = "cluster"

    devices: MaybeInt = None
    """Devices to use, of all processes together; the data are shared out among them."""
    mesh: MaybeText = None
    """How: such as candidates=4,data=2 for 8 devices, where each pair holds all the data and looks
    at a fourth of the candidate networks."""


def check_device_options(options: DeviceOptions) -> None:
    """Raise `InputError` for an option that cannot be meant."""
    if options.devices is not None and options.devices < 1:
        raise InputError(f"--devices must be 1 or more, got {options.devices}.")
    parse_mesh(options.mesh)
    if options.coordinator is None:
        for name in ("num_processes", "process_id"):
            if getattr(options, name) is not None:
                raise InputError(f"--{name.replace('_', '-')} needs --coordinator HOST:PORT.")
        return
    if not 0 < options.coordinator_timeout < 1e6:
        raise InputError(
            f"--coordinator-timeout must be a positive number, got {options.coordinator_timeout}."
        )
    if options.coordinator != "auto":
        from ..distributed.processes import check_processes

        check_processes(options.coordinator, options.num_processes, options.process_id)


def parse_mesh(text: str | None) -> dict[str, int]:
    """The axes that --mesh names, with their sizes."""
    found: dict[str, int] = {}
    for word in [] if text is None else text.split(","):
        name, _, size = word.partition("=")
        if name not in _AXES:
            raise InputError(
                f"--mesh {text!r}: there is no axis {name!r}; expected {' and '.join(_AXES)}, such "
                "as candidates=4,data=2."
            )
        if not size.isascii() or not size.isdigit() or int(size) < 1 or name in found:
            raise InputError(
                f"--mesh {text!r}: expected each axis once with a positive number, such as "
                "candidates=4,data=2."
            )
        found[name] = int(size)
    return found


def make_mesh(options: DeviceOptions) -> Mesh | None:
    """The devices of a run, joined with those of its other processes."""
    from .. import distributed

    if options.coordinator is not None:
        with _quiet():
            distributed.initialize(
                options.coordinator,
                options.num_processes,
                options.process_id,
                timeout=options.coordinator_timeout,
            )
        _joined()
    elif options.devices is None and options.mesh is None:
        return None
    return distributed.make_mesh(options.devices, **parse_mesh(options.mesh))


# How the processes of a run end --------------------------------------------------------------

_pipe: int | None = None
_met = False


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """XLA's trace of a time-out is not for users: the watching process says what happened."""
    if _pipe is None:
        yield
        return
    sys.stderr.flush()
    kept, nothing = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nothing)


def _joined() -> None:
    """Remember, and tell the watching process, that the others are there."""
    global _met
    _met = True
    if _pipe is not None:
        os.write(_pipe, b"!")


def watched(options: DeviceOptions, run: Callable[[], int]) -> int:
    """Exit status of `run`, which is one of several processes: it is watched by this one.

    XLA aborts a process whose peers are gone, in the middle of anything. So the work is done in a
    child, and what became of it is said here in one line.
    """
    if not hasattr(os, "fork"):
        return run()
    listen, tell = os.pipe()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    child = os.fork()
    if child == 0:
        global _pipe
        os.close(listen)
        _pipe = tell
        os.setpgid(0, 0)
        _die_with_parent()
        _end(run())
    os.close(tell)
    with _forwarded(child):
        _, code = os.waitpid(child, 0)
    met = os.read(listen, 1) == b"!"
    os.close(listen)
    status = os.waitstatus_to_exitcode(code)
    if status >= 0:
        return status
    if not met:
        print(
            f"tnjax: error: not all of {options.num_processes or 'the'} processes met at "
            f"{options.coordinator} within {options.coordinator_timeout:g} s.",
            file=sys.stderr,
        )
        return 2
    print(f"tnjax: error: {lost_line(f'ended by signal {-status}')}", file=sys.stderr)
    return LOST


def lost_line(detail: str) -> str:
    """What to say after another process was lost."""
    return (
        f"another process of this run was lost ({detail}); start all of them, or one alone, with "
        "--resume to go on from the last step."
    )


def is_lost(error: BaseException) -> bool:
    """Whether an exception comes from a process that does not answer any more."""
    if not isinstance(error, (ValueError, RuntimeError)) or isinstance(error, InputError):
        return False
    words = ("Gloo", "coordination", "Connection closed by peer", "NCCL")
    return _met and any(word in str(error) for word in words)


def _end(status: int) -> NoReturn:
    """Leave the child, without waiting for the others where it has failed."""
    if status not in (2, LOST):
        sys.exit(status)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(status)


def _die_with_parent() -> None:
    with contextlib.suppress(OSError, AttributeError):  # Linux only
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)


@contextlib.contextmanager
def _forwarded(child: int) -> Iterator[None]:
    """Signals that ask to stop go to the child."""

    from .._signals import handled

    def forward(number: int, _) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, number)

    with handled(forward):
        yield
