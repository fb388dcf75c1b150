"""Steps as curves of TensorBoard (extra `tensorboard`)."""

import os
from typing import Any

from .._install import install_hint
from .._search.result import Step
from ._logger import Logger


class TensorBoard(Logger):
    """Write error, parameters, compression and seconds of each step for TensorBoard.

    The curves are `search/error` and so on over the number of the step; the move is text. Look at
    them with `tensorboard --logdir FOLDER`. If it cannot be written, it warns once and writes no
    more; the search goes on.

    Args:
        folder: for the event file; made if it is not there.
        first: number of the first step, for a search that goes on.

    Raises:
        ImportError: if tensorboardX is not installed.

    Example:
        >>> import jax, pathlib, tempfile, tnjax
        >>> problem = tnjax.Decomposition(jax.numpy.ones((3, 4)))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with tnjax.log.TensorBoard(folder) as log:
        ...         _ = tnjax.search(problem, key=jax.random.key(0), target_error=0.1, on_step=log)
        ...     len(list(pathlib.Path(folder).glob("events.out.tfevents.*")))
        1
    """

    def __init__(self, folder: str | os.PathLike[str], *, first: int = 0):
        try:
            from tensorboardX import SummaryWriter
        except ImportError as error:
            raise ImportError(
                f"The TensorBoard logger needs tensorboardX: {install_hint('tensorboard')}."
            ) from error
        self._writer: Any = SummaryWriter(os.fspath(folder))
        self._step = first

    def log(self, step: Step) -> None:
        numbers = {
            "error": step.error,
            "params": step.num_params,
            "compression": step.structure.compression_ratio,
            "seconds": step.seconds,
            "compile_seconds": step.compile_seconds,
        }
        for name, value in numbers.items():
            self._writer.add_scalar(f"search/{name}", value, self._step)
        self._writer.add_text("search/move", str(step.move), self._step)
        self._writer.flush()
        self._step += 1

    def close(self) -> None:
        """Close the event file; `with` does it, too."""
        self._writer.close()

    def __enter__(self) -> "TensorBoard":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
