"""Joining the processes of one search, on one machine or on many."""

import re
import socket
import time

import jax

# Seconds without a sign of life after which a process counts as lost.
HEARTBEAT = 30
_AUTO = "auto"


def initialize(
    coordinator: str = _AUTO,
    num_processes: int | None = None,
    process_id: int | None = None,
    *,
    timeout: float = 60,
) -> None:
    """Join the other processes of one search: `jax.distributed.initialize`, with its arguments
    checked and time limits that suit a search. Call it before anything else of JAX.

    Every process then makes the same mesh, problem and search; `make_mesh` counts the devices of
    all of them, and every process gets the result. Process 0 reads and writes the checkpoints.
    Processes on CPUs talk to each other by Gloo. If one of them is lost, XLA ends the others with
    an exception or by aborting them within a minute.

    Args:
        coordinator: HOST:PORT of process 0, which listens there; "auto" to read all three
            arguments from the environment of Slurm, Open MPI, a TPU pod or another cluster that
            JAX knows.
        num_processes: in all.
        process_id: of this one, from 0 on.
        timeout: seconds to wait for the others.

    Raises:
        ValueError: for arguments that do not fit each other, or an environment that does not tell.
        OSError: if there is no coordinator at that address, or process 0 cannot listen there.

    Example:
        >>> from tnjax.distributed import initialize
        >>> try:
        ...     initialize("10.0.0.1:1234", num_processes=2, process_id=2)
        ... except ValueError as error:
        ...     print(error)
        Process 2 of 2: expected an id from 0 to the number of processes - 1.
    """
    if coordinator == _AUTO:
        if (num_processes, process_id) != (None, None):
            raise ValueError(
                'initialize: coordinator="auto" reads the number of processes and the id from the '
                "cluster's environment; give HOST:PORT with them, or neither."
            )
        try:
            _join(timeout)
        except (ValueError, KeyError, RuntimeError) as error:
            raise ValueError(
                "initialize: no cluster's environment was found that tells of the processes "
                f"({error}). Give a coordinator, the number of processes and an id."
            ) from error
        return
    host, port = check_processes(coordinator, num_processes, process_id)
    if process_id == 0:
        _check_free(port)
    else:
        _wait_for(host, port, timeout)
    _join(
        timeout,
        coordinator_address=coordinator,
        num_processes=num_processes,
        process_id=process_id,
        cluster_detection_method="deactivate",
    )


def check_processes(
    coordinator: str, num_processes: int | None, process_id: int | None
) -> tuple[str, int]:
    """Host and port of the coordinator.

    Raises:
        ValueError: if an argument is missing or cannot be meant.
    """
    found = re.fullmatch(r"(\[[0-9a-fA-F:.]+\]|[^:\s]+):(\d{1,5})", coordinator)
    if not found or not 0 < int(found[2]) < 2**16:
        raise ValueError(f"coordinator {coordinator!r}: expected HOST:PORT, or auto.")
    if num_processes is None or process_id is None:
        raise ValueError(
            "With a coordinator, the number of processes and the id of this one are needed too."
        )
    if num_processes < 1 or not 0 <= process_id < num_processes:
        raise ValueError(
            f"Process {process_id} of {num_processes}: expected an id from 0 to the number of "
            "processes - 1."
        )
    return found[1].strip("[]"), int(found[2])


def _join(timeout: float, **arguments) -> None:
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.distributed.initialize(
        initialization_timeout=max(1, round(timeout)),
        heartbeat_timeout_seconds=HEARTBEAT,
        **arguments,
    )


def _check_free(port: int) -> None:
    with socket.socket() as test:
        test.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            test.bind(("", port))
        except OSError as error:
            raise OSError(f"The coordinator cannot listen on port {port}: {error}.") from error


def _wait_for(host: str, port: int, timeout: float) -> None:
    """Until something listens there: JAX itself would abort the process after the time-out."""
    end = time.monotonic() + timeout
    while True:
        try:
            socket.create_connection((host, port), timeout=max(0.1, min(timeout, 5))).close()
            return
        except OSError as error:
            if time.monotonic() > end:
                raise OSError(
                    f"No coordinator could be reached at {host}:{port} within {timeout:g} s "
                    f"({error}). Start process 0 there, or check the address."
                ) from error
        time.sleep(0.2)
