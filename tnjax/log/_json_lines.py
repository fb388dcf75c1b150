"""Steps as lines of JSON."""

import json
import math
import os
from pathlib import Path

from .._report import step_record
from .._search.result import Step
from ._logger import Logger


class JSONLines(Logger):
    """Append each step to a file, one JSON object in a line, written out at once.

    The keys are the columns of a run's `path.csv`; an error that is not finite becomes null.

    Args:
        path: of the file; lines are added to one that exists, so that a resumed search goes on in
            it, and the number of its lines is the number of the next step.

    If the file cannot be written, it warns once and writes no more; the search goes on.

    Example:
        >>> import jax, json, pathlib, tempfile, tnjax
        >>> problem = tnjax.Decomposition(jax.numpy.ones((3, 4)))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     log = tnjax.log.JSONLines(pathlib.Path(folder) / "steps.jsonl")
        ...     _ = tnjax.search(problem, key=jax.random.key(0), target_error=0.1, on_step=log)
        ...     json.loads(log.path.read_text().splitlines()[0])["move"]
        'start'
    """

    def __init__(self, path: str | os.PathLike[str]):
        self.path: Path = Path(path)
        self._next: int | None = None

    def log(self, step: Step) -> None:
        if self._next is None:
            there = self.path.read_text(encoding="utf-8") if self.path.exists() else ""
            self._next = len(there.splitlines())
        record = step_record(self._next, step)
        for key, value in record.items():
            if isinstance(value, float) and not math.isfinite(value):
                record[key] = None
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record, allow_nan=False) + "\n")
        self._next += 1
