"""`tnjax decompose --stability`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._common import strategy_of
from ._options import DecomposeOptions

if TYPE_CHECKING:
    from .._report import Section
    from .._search.result import SearchResult
    from ..problems import Problem
    from ._progress import Display


def bonds_again(
    options: DecomposeOptions, problem: Problem, result: SearchResult, display: Display
) -> tuple[Section, ...]:
    """The section of a report on bonds that come back; none if it is not asked for, or the command
    was interrupted."""
    import jax

    from .. import Limits, Status, stability
    from .._report.stability import stability_table

    count = options.stability
    if not count or result.status is Status.INTERRUPTED:
        return ()
    tell = lambda done: display.status(f"searched on {done} of {count} resampled tensors")
    tell(0)
    given = Limits(target_error=options.target_error, max_params=options.max_params)
    try:
        found = stability(
            problem,
            result,
            key=jax.random.fold_in(jax.random.key(options.seed), 1),
            resamplings=count,
            strategy=strategy_of(options),
            limits=given if given.given() else None,
            on_search=tell,
        )
    except KeyboardInterrupt:
        display.line("interrupted: the report does not tell which bonds come back")
        return ()
    return (stability_table(found),)
