"""Ray for as long as a sweep lasts: on this machine only, quiet, and nothing left behind."""

import contextlib
import dataclasses
import functools
import math
import os
import secrets
import shutil
import socket
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .._install import install_hint

# Ray keeps the objects of trials here; those of a sweep are a few kilobytes (Ray's least).
_OBJECT_STORE = 80 * 2**20
_LOG_BYTES = 2**20
# Sockets below the folder have names of some 70 bytes, and Linux allows 107.
_LONGEST_TEMP = 30

# Seconds for a cluster to answer.
_PATIENCE = 10

# No word to anybody outside, small logs, nobody's working directory changed, no files of loggers,
# and workers that get as much of the processor as other programs.
_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ROTATION_MAX_BYTES": str(_LOG_BYTES),
    "RAY_ROTATION_BACKUP_COUNT": "1",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_worker_niceness": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "TUNE_WARN_THRESHOLD_S": "60",
}
# Ray's word for "this is no part of a cluster": with it, all its servers listen on loopback only.
_ALONE = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}


@dataclasses.dataclass(frozen=True)
class Resources:
    """What one trial gets.

    Args:
        cpus: cores, and threads that JAX computes with.
        gpus: devices; several trials share one where this is a fraction.

    Raises:
        ValueError: if it is not a positive number of cores, or a negative one of devices.

    Example:
        >>> from tnjax.sweep import Resources
        >>> Resources(cpus=2, gpus=0.5).gpus
        0.5
    """

    cpus: float = 1
    gpus: float = 0

    def __post_init__(self) -> None:
        for name, least in (("cpus", 0.01), ("gpus", 0)):
            value = getattr(self, name)
            good = isinstance(value, int | float) and not isinstance(value, bool)
            if not (good and math.isfinite(value) and value >= least):
                raise ValueError(f"sweep: {name} must be a number of {least:g} or more: {value!r}.")


@dataclasses.dataclass(frozen=True)
class Cluster:
    """Where trials run, and how often one may lose its place.

    Args:
        address: of a Ray cluster to use, such as "auto" or "10.0.0.1:6379", that its own versions
            of Python, Ray and tnjax match (Ray's RAY_AUTH_MODE and RAY_AUTH_TOKEN let one in); by
            default Ray is started on this machine and ends with the sweep.
        workers: most trials at a time; as many as the cores allow by default.
        dashboard: whether to start Ray's dashboard (on loopback), where Ray is started.
        open_ports: whether others may connect to a Ray that is started; whoever can reach its
            ports can run programs on this machine. By default all are on loopback.
        retries: how often a trial may lose its worker.

    Raises:
        ValueError: if there is no worker, or `retries` is not a number of 0 or more.

    Example:
        >>> from tnjax.sweep import Cluster
        >>> Cluster(workers=4).alone
        True
    """

    address: str | None = None
    workers: int | None = None
    dashboard: bool = False
    open_ports: bool = False
    retries: int = 2

    def __post_init__(self) -> None:
        if isinstance(self.retries, bool) or self.retries < 0:
            raise ValueError(f"sweep: retries must be 0 or more, got {self.retries!r}.")
        if self.workers is not None and self.workers < 1:
            raise ValueError(f"sweep: workers must be 1 or more, got {self.workers}.")

    @property
    def alone(self) -> bool:
        """Whether nobody else may connect."""
        return self.address is None and not self.open_ports


def need_ray(cluster: Cluster) -> Any:
    """Ray, imported so that it will listen where it should.

    Raises:
        ImportError: naming the extra, if it is not installed.
        ConnectionError: (an `OSError`) if nothing answers at the address of the cluster.
    """
    if cluster.alone and sys.modules.get("ray") is not None and _clusters_allowed():
        warnings.warn(
            "Ray was imported before tnjax could ask it to listen on loopback only; set "
            "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER=0 to be sure.",
            stacklevel=3,
        )
    with environment(cluster):
        try:
            import ray
            import ray.tune
        except ImportError as error:
            raise ImportError(f"sweeps run on Ray ({error}): {install_hint('ray')}.") from error
    if cluster.address is not None:
        _check_address(cluster.address)
    return ray


def _check_address(address: str) -> None:
    """Raise `ConnectionError` soon if nothing answers; Ray itself takes minutes to give up."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not (colon and port.isdigit()):  # "auto" and names that Ray knows
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_PATIENCE).close()
    except OSError as error:
        raise ConnectionError(f"no Ray cluster answers at {address} ({error}).") from error


@contextlib.contextmanager
def session(cluster: Cluster, resources: Resources) -> Iterator[None]:
    """Ray is there inside; what was started here is gone afterwards, files included.

    Raises:
        ImportError: if Ray is not installed.
        ConnectionError: (an `OSError`) if there is no cluster at the address.
        ValueError: if the cluster can never give a trial what it needs.
    """
    ray = need_ray(cluster)
    with environment(cluster), _temporary() as temp:
        if ray.is_initialized():
            _check(ray, resources)
            yield
            return
        common: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
        if cluster.address is None:
            cores = os.cpu_count() or 1
            workers = cluster.workers or max(1, int(cores / resources.cpus))
            common |= {
                "num_cpus": math.ceil(workers * resources.cpus),
                "include_dashboard": cluster.dashboard,
                "object_store_memory": _OBJECT_STORE,
                "_temp_dir": str(temp),
            }
        try:
            ray.init(cluster.address, **common)
        except (ConnectionError, TimeoutError, RuntimeError) as error:
            if cluster.address is None:
                raise
            raise ConnectionError(
                f"the Ray cluster at {cluster.address} does not take us in ({error}). If it asks "
                "for a token, set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN where it is another "
                "machine's."
            ) from error
        try:
            _check(ray, resources)
            yield
        finally:
            ray.shutdown()


def _clusters_allowed() -> bool:
    """Whether a Ray that is imported already would listen on all interfaces."""
    from ray._private import ray_constants

    return bool(getattr(ray_constants, "ENABLE_RAY_CLUSTER", True))


def _check(ray: Any, resources: Resources) -> None:
    there = ray.cluster_resources()
    for name, need in (("CPU", resources.cpus), ("GPU", resources.gpus)):
        if need > there.get(name, 0):
            raise ValueError(
                f"a trial needs {need:g} {name}s, but Ray has {there.get(name, 0):g}; ask for "
                "fewer, or give the --address of a cluster that has them."
            )


@functools.cache
def _password() -> dict[str, str]:
    """For the servers on loopback, which other users of this machine could reach. Without it Ray
    would leave one in the home folder."""
    return {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}


@contextlib.contextmanager
def environment(cluster: Cluster) -> Iterator[None]:
    """Ray's environment variables for a while; those that the user has set stay as they are."""
    values = _QUIET | (_ALONE | _password() if cluster.alone else {})
    new = [name for name in values if name not in os.environ]
    os.environ.update({name: values[name] for name in new})
    try:
        yield
    finally:
        for name in new:
            os.environ.pop(name, None)


@contextlib.contextmanager
def _temporary() -> Iterator[Path]:
    """A folder with a short name, removed in the end."""
    base = tempfile.gettempdir()
    if len(base) > _LONGEST_TEMP and Path("/tmp").is_dir():
        base = "/tmp"
    folder = Path(tempfile.mkdtemp(dir=base, prefix="tnjax-ray-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
