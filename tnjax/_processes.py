"""Several processes that run one search: what they tell each other, and what they must agree on.

Every process takes all decisions itself, from values that all of them have. What they cannot know
alike (clocks, signals, files) one of them tells the others; and every step is compared, so that
processes that have come apart end with the reason instead of waiting for each other.
"""

import hashlib
from collections.abc import Callable, Iterable

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh
from jaxtyping import Array

_TEXT = 200


class Diverged(RuntimeError):
    """Processes of one search have taken different steps."""


def shared(mesh: Mesh | None) -> bool:
    """Whether a mesh has devices of several processes."""
    return mesh is not None and mesh.is_multi_process


def leads(mesh: Mesh | None) -> bool:
    """Whether this process is the one that reads and writes files and looks at the clock."""
    return not shared(mesh) or jax.process_index() == 0


def agree(mesh: Mesh | None, over: bool, stopped: bool) -> tuple[bool, bool]:
    """Whether the first process's time is over, and whether any process was stopped."""
    if not shared(mesh):
        return over, stopped
    found = multihost_utils.process_allgather(np.asarray([over, stopped], np.uint8))
    return bool(found[0, 0]), bool(found[:, 1].any())


def check_same(mesh: Mesh | None, what: str, arrays: Iterable[Array | np.ndarray]) -> None:
    """Compare a step with that of the other processes, to the bit.

    Args:
        what: the step in words.
        arrays: the numbers that it led to.

    Raises:
        Diverged: with what each process did, if they differ.
    """
    if not shared(mesh):
        return
    digest = hashlib.sha256(what.encode())
    for array in arrays:
        digest.update(np.asarray(array).tobytes())
    text = what.encode()[:_TEXT].ljust(_TEXT)
    line = np.frombuffer(digest.digest() + text, np.uint8)
    found = multihost_utils.process_allgather(line)
    if (found == found[0]).all():
        return
    steps = (bytes(row[len(digest.digest()) :]).decode(errors="replace") for row in found)
    told = "; ".join(f"process {n}: {step.strip()}" for n, step in enumerate(steps))
    raise Diverged(
        f"The processes have come apart ({told}; compared to the last bit). They must have the "
        "same data, options and versions, and the same kind of machine."
    )


def from_first(mesh: Mesh | None, function: Callable[[], bytes]) -> bytes:
    """What `function` returns in the first process, in every process.

    Raises:
        ValueError: in every process, if it does in the first one.
    """
    if not shared(mesh):
        return function()
    return broadcast(function)


def broadcast(function: Callable[[], bytes]) -> bytes:
    """`from_first` of all processes there are."""
    failed, content = False, b""
    if jax.process_index() == 0:
        try:
            content = function()
        except (ValueError, OSError) as error:
            failed, content = True, str(error).encode()
    head = np.frombuffer(len(content).to_bytes(8, "little") + bytes([failed]), np.uint8)
    head = multihost_utils.broadcast_one_to_all(head).tobytes()
    size = int.from_bytes(head[:8], "little")
    body = np.frombuffer(content.ljust(size, b"\0")[:size], np.uint8)
    content = multihost_utils.broadcast_one_to_all(body).tobytes() if size else b""
    if head[8]:
        raise ValueError(content.decode())
    return content
