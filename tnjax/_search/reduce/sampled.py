"""The end of a search on a subset of the entries: the network found, fitted to all of them."""

import contextlib
import dataclasses
import time

from ... import _interrupt
from ..._status import Status
from ...problems import StreamedCompletion
from ...solve import fit_from_disk
from ..result import SearchResult


def fitted_to_all(
    problem: StreamedCompletion,
    found: SearchResult,
    target_error: float | None,
    max_seconds: float | None,
    begin: float,
) -> SearchResult:
    """The result for all entries on disk: one sweep over them, or as many as pay, and the error on
    those of validation. After an interruption, or where no time is left, nothing is fitted, and
    the error is that on the subset.

    Args:
        problem: all entries.
        found: by the search on its subset.
        target_error, max_seconds: of the search.
        begin: when it began.
    """
    network, error = found.network, found.error
    if found.status is not Status.INTERRUPTED:
        left = None
        if max_seconds is not None:
            left = max(1e-3, max_seconds - (time.perf_counter() - begin))
        with contextlib.suppress(_interrupt.Stopped):  # no time is left for it
            fitted = fit_from_disk(problem, network, target_error=target_error, max_seconds=left)
            network, error = fitted.network, fitted.error
    path = (*found.path[:-1], dataclasses.replace(found.path[-1], error=error))
    seconds = time.perf_counter() - begin
    return dataclasses.replace(found, network=network, error=error, path=path, seconds=seconds)
